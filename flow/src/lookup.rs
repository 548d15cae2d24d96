//! A caller that knows a handle of a tool or agent (the URL where it is called, a name of its host)
//! learns which identifier to expect there (draft-ietf-wimse-identifier §5; ID-07).
//!
//! In scope: who may ask, and the record that says so. Not here: anything that is made out of the
//! handle itself; an identifier is never derived from a name, an address or a path.

use authentication::{Caller, Who, spiffe_x509};
use env::{Change, Entity, Index, Recorded, Store, Unavailable, World};
use monitoring::{Event, Outcome};
use provisioning::{Lifecycle, NotInForce};
use registry::{AgentRecord, HANDLE_BYTES_MAX, NodeRecord};
use wimse::WorkloadId;

use crate::facts::{Basis, basis, one};
use crate::issuing;
use crate::record::{begin, refused};
use crate::turns::{overtaken, settled};

/// The most records of one handle that are looked at: beyond two it is ambiguous, and those that
/// are not in force do not count.
const RECORDS_MAX: usize = 64;

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    /// The handle, as it is known.
    pub handle: String,
    /// The certificates of the channel, in DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
}

/// Why nothing is told: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The channel showed no certificate.
    #[error("no proof of who asks: connect with a certificate, at the mutual TLS origin")]
    NoProof,
    /// Its certificate proves nothing here.
    #[error(transparent)]
    Channel(#[from] spiffe_x509::Refusal),
    /// It is an identifier without a record here.
    #[error("no record of `{caller}`")]
    UnknownCaller {
        /// Who asks.
        caller: String,
    },
    /// The record of who asks.
    #[error("`{caller}` is not in force: {why}")]
    NotInForce {
        /// Who asks.
        caller: String,
        /// Why.
        why: NotInForce,
    },
    /// No handle, or a very long one.
    #[error("a handle of {bytes} bytes; 1 to {HANDLE_BYTES_MAX} are read")]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// No record in force has it.
    #[error("no record in force has the handle `{handle}`")]
    Unknown {
        /// What was asked for.
        handle: String,
    },
    /// Several have it: any answer would be a guess.
    #[error("several records have the handle `{handle}`")]
    Ambiguous {
        /// What was asked for.
        handle: String,
    },
}

impl Refusal {
    /// The variant's name: what records and counters call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NoProof => "lookup::NoProof",
            Self::Channel(_) => "lookup::Channel",
            Self::UnknownCaller { .. } => "lookup::UnknownCaller",
            Self::NotInForce { .. } => "lookup::NotInForce",
            Self::Length { .. } => "lookup::Length",
            Self::Unknown { .. } => "lookup::Unknown",
            Self::Ambiguous { .. } => "lookup::Ambiguous",
        }
    }
}

/// The end of a question.
#[derive(Debug)]
pub enum End {
    /// It was decided, and recorded.
    Decided(Recorded<Result<WorkloadId, Refusal>>),
    /// Who asks proved nothing: count it, tell it no more than that.
    Stranger(Refusal),
}

/// Answers.
pub async fn lookup<W: World>(world: &W, question: &Question) -> Result<End, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let caller = match authenticate(world, &facts, question)? {
        Ok(caller) => caller,
        Err(refusal) => return Ok(End::Stranger(refusal)),
    };
    let decided = match admitted(world, &caller).await? {
        Ok(()) => find(world, &question.handle).await?,
        Err(refusal) => Err(refusal),
    };
    let mut record = begin(world, Event::IdentifierLookedUp);
    record.action = "identifier.lookup".to_owned();
    record.agent = Some(caller.who().to_string());
    record.transport = caller.transport().map(ToString::to_string);
    record.proof = Some(caller.method().name().to_owned());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    let handle: String = question.handle.chars().take(HANDLE_BYTES_MAX).collect();
    record.facts = serde_json::json!({ "handle": handle });
    match &decided {
        Ok(id) => {
            record.outcome = Outcome::Permitted;
            record.resource = Some(id.to_string());
        }
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(End::Decided(Recorded::new(decided, &receipt)))
}

fn authenticate<W: World>(
    world: &W,
    facts: &Basis,
    question: &Question,
) -> Result<Result<Caller, Refusal>, Unavailable> {
    if question.certificates.is_empty() {
        return Ok(Err(Refusal::NoProof));
    }
    let now = issuing::now(world, facts)?;
    let caller = spiffe_x509::of_channel(&question.certificates, &facts.trust.bundles, now);
    Ok(caller.map_err(Refusal::from))
}

/// Whether who asks is an agent, a node or a gateway of ours, in force.
async fn admitted<W: World>(
    world: &W,
    caller: &Caller,
) -> Result<Result<(), Refusal>, Unavailable> {
    let id = caller.who().to_string();
    let lifecycle = match caller.who() {
        Who::Client(_) => None,
        Who::Workload(_) => lifecycle(world, &id).await?,
    };
    Ok(match lifecycle.map(|lifecycle| lifecycle.admits(caller.issued())) {
        None => Err(Refusal::UnknownCaller { caller: id }),
        Some(Err(why)) => Err(Refusal::NotInForce { caller: id, why }),
        Some(Ok(())) => Ok(()),
    })
}

async fn lifecycle<W: World>(world: &W, id: &str) -> Result<Option<Lifecycle>, Unavailable> {
    if let Some(agent) = one::<W, AgentRecord>(world, id).await? {
        return Ok(Some(agent.lifecycle.clone()));
    }
    Ok(one::<W, NodeRecord>(world, id).await?.map(|node| node.lifecycle.clone()))
}

/// The one record in force that has the handle, as it was registered.
async fn find<W: World>(
    world: &W,
    handle: &str,
) -> Result<Result<WorkloadId, Refusal>, Unavailable> {
    let bytes = handle.len();
    if bytes == 0 || bytes > HANDLE_BYTES_MAX {
        return Ok(Err(Refusal::Length { bytes }));
    }
    let (table, index) = (AgentRecord::TABLE, Index::Handle);
    let page = world.store().scan(table, index, handle, None, RECORDS_MAX).await?;
    let mut ids = Vec::new();
    let is_whole = page.rows.len() < RECORDS_MAX;
    for row in &page.rows {
        // The index may lag behind what is read: the record itself says what its handles are.
        let read = row.value::<AgentRecord>();
        let Some(agent) = read.map_err(|error| Unavailable::of("store", error))? else { continue };
        let has = agent.entry.handles().any(|one| one == handle);
        if has && agent.lifecycle.is_active().is_ok() {
            ids.push(agent.id.clone());
        }
    }
    let handle = handle.to_owned();
    Ok(match (ids.pop(), ids.is_empty() && is_whole) {
        (None, true) => Err(Refusal::Unknown { handle }),
        (Some(id), true) => Ok(id),
        _ => Err(Refusal::Ambiguous { handle }),
    })
}
