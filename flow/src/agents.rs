//! Operators and the registry: registering an agent, and moving it through its life.

use credential::Purpose;
use env::rows::DomainEpoch;
use env::{
    CannotMake, Change, Clock, Entity, Expect, Index, Key, Keys, Recorded, Store, Unavailable,
    World, Write,
};
use identifier::{AgentName, AssignRefusal, Assignment, assign};
use monitoring::{Event, Record};
use provisioning::{Act, Epoch, Lifecycle, TransitionRefusal};
use registry::{AgentRecord, Overlap, Registration, RegistrationRefusal};

use crate::facts::{Basis, basis};
use crate::record::{begin, refused};
use crate::turns::{TRIES_MAX, overtaken, pause, settled};
use crate::{nested, overlap, rotate};

pub use crate::turns::Operator;

/// The most records of one page.
pub const PAGE_MAX: usize = 500;

/// Why an order of an operator is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was given cannot be a record.
    #[error(transparent)]
    Registration(#[from] RegistrationRefusal),
    /// The name is taken, for good.
    #[error(transparent)]
    Assign(#[from] AssignRefusal),
    /// Policy has no such risk class.
    #[error("policy has no risk class `{name}`; it has {known}")]
    Class {
        /// The class asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// The rule is too weak for its risk class.
    #[error("the risk class `{class}` demands a `{name}` selector, and the rule has none")]
    Weak {
        /// The class.
        class: String,
        /// The selector that is missing.
        name: String,
    },
    /// Its processes are another's, or the other way round.
    #[error("{}", overlap::told(.0))]
    Overlap(Overlap),
    /// What it wants signed cannot be.
    #[error(transparent)]
    KeyStore(#[from] CannotMake),
    /// No such agent.
    #[error("no agent `{name}`")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The act does not fit the state.
    #[error(transparent)]
    Transition(#[from] TransitionRefusal),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Registration(_) => "registry::Registration",
            Self::Assign(_) => "identifier::Assign",
            Self::Class { .. } => "attestation::Class",
            Self::Weak { .. } => "attestation::Weak",
            Self::Overlap(_) => "registry::Overlap",
            Self::KeyStore(_) => "registry::KeyStore",
            Self::Unknown { .. } => "registry::Unknown",
            Self::Transition(_) => "provisioning::Transition",
        }
    }
}

/// An order's end: what was done, or why not; recorded either way.
pub type Done<T> = Result<Recorded<Result<T, Refusal>>, Unavailable>;

/// Registers an agent: its name, identifier and record in one commit, or nothing.
pub async fn register<W: World>(
    world: &W,
    operator: &Operator,
    entry: Registration,
) -> Done<AgentRecord> {
    for turn in 0..TRIES_MAX {
        let key = Key::of::<Assignment>(entry.name.as_str());
        let facts = basis(world, vec![key]).await?;
        let taken = facts.rows.get::<Assignment>(entry.name.as_str())?;
        let now = world.clock().now();
        let decided = decide_register(&entry, taken.as_deref(), &facts, now)
            .and_then(|made| Ok((made, signable(world, &entry)?).0));
        let decided = match decided {
            Ok(made) => overlap::none(world, &entry, facts.set()).await?.map(|()| made),
            refused => refused,
        };
        let mut record = begin(world, Event::AgentRegistered);
        record.operator = Some(operator.0.clone());
        record.policy = Some(facts.version());
        record.epoch = Some(facts.epoch.0);
        let mut change = Change::default();
        match &decided {
            Ok((assignment, agent)) => {
                record.agent = Some(agent.id.to_string());
                record.facts = serde_json::to_value(&agent.entry).unwrap_or_default();
                change.writes.push(Write::put(assignment, Expect::Absent));
                change.writes.push(Write::put(agent, Expect::Absent));
            }
            Err(refusal) => {
                record.resource = Some(entry.name.to_string());
                refused(&mut record, refusal.check(), refusal, None);
            }
        }
        change.records.push(record);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            return Ok(Recorded::new(decided.map(|(_, agent)| agent), &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Whether ID tokens for it can be signed as its record says. Their key is made with the first one:
/// at the first start of an installation there is no time for it.
pub(crate) fn signable<W: World>(world: &W, entry: &Registration) -> Result<(), CannotMake> {
    let named = entry.client.id_token_signed_response_alg;
    match named.and_then(Purpose::for_clients) {
        Some(purpose) => world.keys().makes(purpose, purpose.algorithm()),
        None => Ok(()),
    }
}

fn decide_register(
    entry: &Registration,
    taken: Option<&Assignment>,
    facts: &Basis,
    now: time::UnixTime,
) -> Result<(Assignment, AgentRecord), Refusal> {
    let classes = &facts.set().attestation().class;
    entry.check_new(classes.get(&entry.rule.class))?;
    let class = classes.get(&entry.rule.class).ok_or_else(|| Refusal::Class {
        name: entry.rule.class.clone(),
        known: classes.keys().cloned().collect::<Vec<_>>().join(", "),
    })?;
    if let Some(name) = class.undemanded(&entry.rule.selectors) {
        return Err(Refusal::Weak { class: entry.rule.class.clone(), name });
    }
    let assignment = assign(facts.set().origin(), entry.kind, entry.name.clone(), taken, now)?;
    let agent = AgentRecord::new(&assignment, entry.clone(), facts.epoch, now);
    Ok((assignment, agent))
}

/// Moves an agent: suspend, resume, revoke, retire. What kills raises the epoch in the same commit.
pub async fn act<W: World>(
    world: &W,
    operator: &Operator,
    name: &AgentName,
    act: Act,
    reason: String,
) -> Done<AgentRecord> {
    for turn in 0..TRIES_MAX {
        let Some(id) = identifier_of(world, name).await? else {
            return unknown(world, operator, name, act).await;
        };
        let keys = [Key::of::<AgentRecord>(&id), Key::of::<DomainEpoch>(DomainEpoch::ID)];
        let rows = world.store().snapshot(&keys).await?;
        let Some(agent) = rows.get::<AgentRecord>(&id)? else {
            return unknown(world, operator, name, act).await;
        };
        let epoch = rows.get::<DomainEpoch>(DomainEpoch::ID)?;
        let current = epoch.as_ref().map_or(Epoch(0), |row| row.epoch);
        let next = if Lifecycle::raises(act) { current.next() } else { current };
        let now = world.clock().now();
        let decided = agent.lifecycle.after(act, next, reason.clone(), now);
        let mut record = begin(world, Event::AgentLifecycle);
        record.action = format!("agent.{act}");
        record.agent = Some(id.clone());
        record.operator = Some(operator.0.clone());
        record.epoch = Some(next.0);
        record.facts = serde_json::json!({ "reason": reason, "was": agent.lifecycle.state });
        let mut change = Change::default();
        let decided = decided.map(|lifecycle| AgentRecord { lifecycle, ..(*agent.value).clone() });
        match &decided {
            Ok(moved) => {
                change.writes.push(Write::put(moved, Expect::Version(agent.version)));
                if next != current {
                    let expect = epoch.map_or(Expect::Absent, |row| Expect::Version(row.version));
                    change.writes.push(Write::put(&DomainEpoch { epoch: next }, expect));
                }
            }
            Err(refusal) => {
                refused(&mut record, "provisioning::Transition", refusal, None);
            }
        }
        change.records.push(record);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            if agent.entry.downstream && next != current {
                nested::settle(world).await?;
                rotate::publish(world, now).await?;
            }
            return Ok(Recorded::new(decided.map_err(Refusal::Transition), &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

async fn unknown<W: World>(
    world: &W,
    operator: &Operator,
    name: &AgentName,
    act: Act,
) -> Done<AgentRecord> {
    let refusal = Refusal::Unknown { name: name.to_string() };
    let mut record: Record = begin(world, Event::AgentLifecycle);
    record.action = format!("agent.{act}");
    record.operator = Some(operator.0.clone());
    record.resource = Some(name.to_string());
    refused(&mut record, refusal.check(), &refusal, None);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(Err(refusal), &receipt))
}

/// The identifier that a name stands for.
pub async fn identifier_of<W: World>(
    world: &W,
    name: &AgentName,
) -> Result<Option<String>, Unavailable> {
    let found = crate::facts::one::<W, Assignment>(world, name.as_str()).await?;
    Ok(found.map(|assignment| assignment.id.to_string()))
}

/// One agent's record.
pub async fn show<W: World>(
    world: &W,
    name: &AgentName,
) -> Result<Option<AgentRecord>, Unavailable> {
    let Some(id) = identifier_of(world, name).await? else { return Ok(None) };
    let found = crate::facts::one::<W, AgentRecord>(world, &id).await?;
    Ok(found.map(|agent| (*agent.value).clone()))
}

/// A page of records, by identifier, and where the next begins.
pub async fn list<W: World>(
    world: &W,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<AgentRecord>, Option<String>), Unavailable> {
    page::<W, AgentRecord>(world, after, limit).await
}

/// A page of any table, for the records that operators list.
pub(crate) async fn page<W: World, E: Entity + Clone>(
    world: &W,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<E>, Option<String>), Unavailable> {
    let limit = limit.min(PAGE_MAX);
    let page = world.store().scan(E::TABLE, Index::All, "", after, limit).await?;
    let mut found = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let value = row.value::<E>().map_err(|error| Unavailable::of("store", error))?;
        found.extend(value.map(|one| (*one).clone()));
    }
    Ok((found, page.next))
}
