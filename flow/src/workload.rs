//! On a node: a process asks for its identity through the Workload API (S1 §7, §8; PROV-01 to
//! PROV-03, AUTHN-12). The process is measured at each issuance; what it gets is renewed at half
//! its life and withdrawn when its record says so.

mod broker;
mod holding;
mod sweep;

use std::sync::Arc;

use attestation::Selectors;
use attestation::unix::Process;
use env::rows::Feed;
use env::{Change, Clock, Index, Key, Recorded, Store, Table, Unavailable, World};
use monitoring::Event;
use provisioning::{KeyHolding, NotInForce};
use registry::AgentRecord;
use time::{Span, UnixTime};
use wimse::WorkloadId;

use self::broker::may_ask;
pub use self::broker::{Broker, NotABroker, broker};
pub use self::holding::{
    WitAnswer, X509Answer, held_wit, jwt, request, request_with, requested, wit, x509,
};
pub(crate) use self::holding::{hex, signer_of, taints};
pub use self::sweep::sweep;
use crate::facts::basis;
use crate::record::{begin, refused};
use crate::turns::{overtaken, settled};

/// The most agent records that a node looks through for one process.
const RECORDS_MAX: usize = 100_000;
/// Which of the pauses between tries follows a renewal that got no answer: four seconds.
const RETRY: u32 = 3;

/// Why a process gets no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No record's rule matches it.
    #[error("no agent record matches this process")]
    NoRecord,
    /// Several match: one process, one agent (docs/design.md §3).
    #[error("the process matches several agent records: {}", .0.join(", "))]
    Several(Vec<String>),
    /// The record is not in force.
    #[error("`{id}`: {why}")]
    NotInForce {
        /// The agent.
        id: WorkloadId,
        /// Why.
        why: NotInForce,
    },
    /// The record lets it hold no key (SEC-01, SEC-04).
    #[error("`{id}` holds no keys; start it with `aims run`, which signs for it")]
    KeysKept {
        /// The agent.
        id: WorkloadId,
    },
    /// Policy does not let this broker ask for agents of that risk class.
    #[error("`{broker}` may not ask for agents of the risk class `{class}`")]
    Broker {
        /// Who asks.
        broker: WorkloadId,
        /// The risk class of the process's agent.
        class: String,
    },
    /// A server below ours gets its identity itself.
    #[error("`{id}` is a downstream server: no broker gets its identity")]
    Downstream {
        /// Which.
        id: WorkloadId,
    },
    /// The broker's own record is not in force, or not known here.
    #[error("the broker `{broker}`: {why}")]
    BrokerGone {
        /// Who asks.
        broker: WorkloadId,
        /// Why.
        why: String,
    },
    /// The Workload API and its like know SPIFFE IDs alone.
    #[error("`{id}` is no spiffe id, so the workload api hands out nothing for it")]
    NotSpiffe {
        /// The agent.
        id: WorkloadId,
    },
    /// The caller asked for another identity than its own.
    #[error("the identity asked for is not that of this process")]
    NotItsOwn,
    /// The server refused.
    #[error("{0}")]
    Server(String),
    /// What was measured does not read.
    #[error("what was measured of the process does not read: {0}")]
    Evidence(String),
    /// Revocations could have been missed.
    #[error("the server was last heard at {heard}, not within {} seconds", .bound.seconds())]
    FeedLost {
        /// When.
        heard: UnixTime,
        /// The bound.
        bound: Span,
    },
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NoRecord => "workload::NoRecord",
            Self::Several(_) => "workload::Several",
            Self::NotInForce { .. } => "workload::NotInForce",
            Self::KeysKept { .. } => "workload::KeysKept",
            Self::Broker { .. } => "workload::Broker",
            Self::Downstream { .. } => "workload::Downstream",
            Self::BrokerGone { .. } => "workload::BrokerGone",
            Self::NotSpiffe { .. } => "workload::NotSpiffe",
            Self::NotItsOwn => "workload::NotItsOwn",
            Self::Server(_) => "workload::Server",
            Self::Evidence(_) => "workload::Evidence",
            Self::FeedLost { .. } => "workload::FeedLost",
        }
    }
}

/// A process that is known to be an agent of ours, now.
#[derive(Clone, Debug)]
pub struct Attested {
    /// The agent's record.
    pub agent: Arc<AgentRecord>,
    /// What was measured.
    pub process: Process,
}

/// For whom a process is attested.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// The process itself; whether it wants keys.
    Itself {
        /// Keys, or only to be known.
        wants_keys: bool,
    },
    /// A broker, which gets the keys.
    Broker(&'a Broker),
}

/// Finds the one record that a process matches. Recorded, whatever the end.
pub async fn attest<W: World>(
    world: &W,
    process: Process,
    wants_keys: bool,
) -> Result<Recorded<Result<Attested, Refusal>>, Unavailable> {
    attest_for(world, process, Asker::Itself { wants_keys }).await
}

/// The same for whoever asks.
pub async fn attest_for<W: World>(
    world: &W,
    process: Process,
    asker: Asker<'_>,
) -> Result<Recorded<Result<Attested, Refusal>>, Unavailable> {
    let decided = measured(world, &process, asker).await?;
    attested(world, &process, asker, decided).await
}

/// The same of a process that some record matches; where none does `None`, and nothing is recorded.
pub async fn attest_if_known<W: World>(
    world: &W,
    process: &Process,
    asker: Asker<'_>,
) -> Result<Option<Recorded<Result<Attested, Refusal>>>, Unavailable> {
    match measured(world, process, asker).await? {
        Err(Refusal::NoRecord) => Ok(None),
        decided => attested(world, process, asker, decided).await.map(Some),
    }
}

/// What a second look at a process found.
#[derive(Debug)]
pub enum Look {
    /// The same process is the same agent: what was recorded of it still says so.
    Same(Attested),
    /// Something else, recorded.
    New(Recorded<Result<Attested, Refusal>>),
}

/// Looks again at a process whose stream goes on. Only a change is recorded: a stream that is open
/// for days would otherwise fill the log with what it says already.
pub async fn look_again<W: World>(
    world: &W,
    process: Process,
    asker: Asker<'_>,
    last: &Attested,
) -> Result<Look, Unavailable> {
    let decided = measured(world, &process, asker).await?;
    if let Ok(now) = &decided
        && (&now.agent.id, &now.process) == (&last.agent.id, &last.process)
    {
        return Ok(Look::Same(now.clone()));
    }
    attested(world, &process, asker, decided).await.map(Look::New)
}

async fn measured<W: World>(
    world: &W,
    process: &Process,
    asker: Asker<'_>,
) -> Result<Result<Attested, Refusal>, Unavailable> {
    match process.selectors() {
        Ok(found) => decide(world, process, &found, asker).await,
        Err(error) => Ok(Err(Refusal::Evidence(error.to_string()))),
    }
}

/// Records what was decided about a process.
async fn attested<W: World>(
    world: &W,
    process: &Process,
    asker: Asker<'_>,
    decided: Result<Attested, Refusal>,
) -> Result<Recorded<Result<Attested, Refusal>>, Unavailable> {
    let mut record = begin(world, Event::WorkloadAttested);
    record.proof = Some("pidfd".to_owned());
    if let Asker::Broker(broker) = asker {
        // The broker named the process; from then on it was held.
        record.proof = Some("pid".to_owned());
        record.transport = Some(broker.id.to_string());
    }
    let told = match &decided {
        Ok(attested) => attested.process.clone(),
        Err(_) => process.clone().told_for(&Selectors::default()),
    };
    record.attestation.extend(told.evidence());
    record.attestation.insert("pid".to_owned(), process.pid.to_string());
    match &decided {
        Ok(attested) => {
            record.outcome = monitoring::Outcome::Permitted;
            record.agent = Some(attested.agent.id.to_string());
        }
        Err(refusal) => {
            if let Refusal::NotInForce { id, .. } | Refusal::KeysKept { id } = refusal {
                record.agent = Some(id.to_string());
            }
            refused(&mut record, refusal.check(), refusal, None);
        }
    }
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(decided, &receipt))
}

/// A process that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmeasured {
    /// Its id.
    pub pid: i32,
    /// Its user when it connected.
    pub uid: u32,
    /// The check that fired.
    pub check: &'static str,
    /// Why, in words.
    pub why: String,
}

/// Records that a process got no identity because it could not be measured: an attestor that is
/// switched on did not answer, or the process changed meanwhile.
pub async fn unmeasured<W: World>(
    world: &W,
    process: Unmeasured,
) -> Result<Recorded<()>, Unavailable> {
    let mut record = begin(world, Event::WorkloadAttested);
    record.proof = Some("pidfd".to_owned());
    let mut put = |name: &str, value: String| record.attestation.insert(name.to_owned(), value);
    put("uid", process.uid.to_string());
    put("pid", process.pid.to_string());
    refused(&mut record, process.check, &process.why, None);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new((), &receipt))
}

async fn decide<W: World>(
    world: &W,
    process: &Process,
    found: &Selectors,
    asker: Asker<'_>,
) -> Result<Result<Attested, Refusal>, Unavailable> {
    if let Some(lost) = feed_lost(world).await? {
        return Ok(Err(lost));
    }
    let page = world.store().scan(Table::Agents, Index::All, "", None, RECORDS_MAX).await?;
    let mut matching = Vec::new();
    for row in &page.rows {
        let agent = row.value::<AgentRecord>().map_err(|error| Unavailable::of("store", error))?;
        matching.extend(agent.filter(|agent| agent.entry.rule.matches(found)));
    }
    // A record that ended does not stand in the way of the one that took its place.
    if matching.len() > 1 {
        matching.retain(|agent| agent.lifecycle.is_active().is_ok());
    }
    let agent = match matching.as_slice() {
        [] => return Ok(Err(Refusal::NoRecord)),
        [one] => Arc::clone(one),
        several => {
            let names = several.iter().map(|agent| agent.id.to_string()).collect();
            return Ok(Err(Refusal::Several(names)));
        }
    };
    if let Err(why) = agent.lifecycle.is_active() {
        return Ok(Err(Refusal::NotInForce { id: agent.id.clone(), why }));
    }
    let wants_keys = !matches!(asker, Asker::Itself { wants_keys: false });
    if wants_keys && agent.keys() == KeyHolding::Kept {
        return Ok(Err(Refusal::KeysKept { id: agent.id.clone() }));
    }
    if let Asker::Broker(broker) = asker
        && let Err(refusal) = may_ask(world, broker, &agent).await?
    {
        return Ok(Err(refusal));
    }
    let process = process.clone().told_for(&agent.entry.rule.selectors);
    Ok(Ok(Attested { agent, process }))
}

/// A node that has lost the server for longer than its bound gives nothing out (docs/design.md §2,
/// idea 6).
async fn feed_lost<W: World>(world: &W) -> Result<Option<Refusal>, Unavailable> {
    let facts = basis(world, vec![Key::of::<Feed>(Feed::ID)]).await?;
    let domain = facts.set().domain();
    let bound = domain.revocation.feed_lost_after;
    let heard = facts.rows.get::<Feed>(Feed::ID)?.map_or(UnixTime::EPOCH, |feed| feed.heard);
    let lost = !crate::feed::is_fresh(heard, world.clock().now(), domain);
    Ok(lost.then_some(Refusal::FeedLost { heard, bound }))
}
