//! The agents that policy keeps: putting a set into force brings their records to what it says, in
//! the same commit.
//!
//! Policy registers, changes, stops for now and lets go on. It never ends an agent: that would take
//! its identifier for good, and a file that was moved by mistake must not. What an operator did to
//! an agent stands: policy does not wake whom an operator suspended.

use std::fmt;

use env::rows::DomainEpoch;
use env::{Clock, Expect, Key, Store, Unavailable, World, Write};
use identifier::{AgentName, Assignment, assign};
use monitoring::{Event, Record};
use policy::PolicySet;
use provisioning::{Act, Epoch, Lifecycle, State};
use registry::{AgentRecord, Overlap, Registration};
use wimse::WorkloadId;

use crate::agents::signable;
use crate::overlap;
use crate::record::begin;

/// Why an agent is suspended that policy kept and keeps no longer.
pub const WITHDRAWN: &str = "policy keeps it no longer";

/// What happens to one agent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// Which agent.
    pub agent: WorkloadId,
    /// What.
    pub does: Does,
}

/// What happens to an agent when a set comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// It gets its identifier and its record.
    Register,
    /// Its record changes, and what it holds goes on.
    Change,
    /// Its record changes in what decides who it is or what it gets: what it holds is dead, and it
    /// gets new.
    Renew,
    /// Policy keeps it no longer: what it holds is dead, and it gets nothing.
    Suspend,
    /// Policy keeps it again.
    Resume,
}

impl Does {
    /// The name in records and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Change => "change",
            Self::Renew => "renew",
            Self::Suspend => Act::Suspend.name(),
            Self::Resume => Act::Resume.name(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agent = &self.agent;
        match self.does {
            Does::Register => write!(f, "registers {agent}"),
            Does::Change => write!(f, "changes {agent}"),
            Does::Renew => write!(f, "changes {agent}; what it holds ends, and it gets new"),
            Does::Suspend => write!(f, "suspends {agent}; what it holds ends"),
            Does::Resume => write!(f, "resumes {agent}"),
        }
    }
}

/// Why policy cannot keep an agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is that of something that ended.
    #[error("agent `{name}`: `{id}` is {state} since {since}; it is never given out again")]
    Ended {
        /// The name in the file.
        name: AgentName,
        /// Whose it was.
        id: WorkloadId,
        /// How it ended.
        state: State,
        /// When.
        since: time::UnixTime,
    },
    /// The name stands for another kind.
    #[error("agent `{name}`: it is `{id}` already, which is no {}", .kind.segment())]
    Kind {
        /// The name in the file.
        name: AgentName,
        /// What it is.
        id: WorkloadId,
        /// What the file says.
        kind: identifier::Kind,
    },
    /// What it wants signed cannot be.
    #[error("agent `{name}`: {why}")]
    KeyStore {
        /// The name in the file.
        name: AgentName,
        /// Why.
        why: env::CannotMake,
    },
    /// Its processes are another's, or the other way round.
    #[error("agent `{name}`: {}", overlap::told(.overlap))]
    Overlap {
        /// The name in the file.
        name: AgentName,
        /// With which record.
        overlap: Overlap,
    },
    /// No identifier can be made of it.
    #[error("agent `{name}`: {why}")]
    Assign {
        /// The name in the file.
        name: AgentName,
        /// Why.
        why: identifier::AssignRefusal,
    },
}

/// The steps, and what they write.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) steps: Vec<Step>,
    pub(super) writes: Vec<Write>,
    pub(super) records: Vec<Record>,
}

/// Decides what coming from `old` to `new` does to the agents.
pub(super) async fn decide<W: World>(
    world: &W,
    old: Option<&PolicySet>,
    new: &PolicySet,
) -> Result<Result<Kept, Refusal>, Unavailable> {
    let before = old.map(PolicySet::agents).unwrap_or_default();
    let names = before.iter().chain(new.agents()).map(|entry| &entry.name);
    let keys: Vec<_> = names.map(|name| Key::of::<Assignment>(name.as_str())).collect();
    if keys.is_empty() {
        return Ok(Ok(Kept::default()));
    }
    let assigned = world.store().snapshot(&keys).await?;
    let mut keys = vec![Key::of::<DomainEpoch>(DomainEpoch::ID)];
    let mut draft = Draft { now: world.clock().now(), ..Draft::default() };
    for entry in new.agents() {
        if let Err(why) = signable(world, entry) {
            return Ok(Err(Refusal::KeyStore { name: entry.name.clone(), why }));
        }
        let taken =
            assigned.get::<Assignment>(entry.name.as_str())?.map(|row| row.value.id.clone());
        let was_kept = before.iter().any(|one| one.name == entry.name);
        keys.extend(taken.iter().map(|id| Key::of::<AgentRecord>(&id.to_string())));
        draft.wanted.push(Wanted { entry, taken, was_kept });
    }
    for entry in before {
        let gone = new.agents().iter().all(|one| one.name != entry.name);
        let Some(taken) = assigned.get::<Assignment>(entry.name.as_str())? else { continue };
        if gone {
            keys.push(Key::of::<AgentRecord>(&taken.value.id.to_string()));
            draft.gone.push(taken.value.id.clone());
        }
    }
    let rows = world.store().snapshot(&keys).await?;
    let mut moves = Vec::new();
    for wanted in &draft.wanted {
        match draft.step(wanted, new, &rows)? {
            Ok(found) => moves.extend(found),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    for id in &draft.gone {
        let found = rows.get::<AgentRecord>(&id.to_string())?;
        let active = found.filter(|agent| agent.lifecycle.state == State::Active);
        moves.extend(active.map(|agent| Move::Of {
            does: Does::Suspend,
            version: agent.version,
            entry: agent.entry.clone(),
            agent: Box::new((*agent.value).clone()),
        }));
    }
    if let Err(refusal) = apart(world, new, &moves).await? {
        return Ok(Err(refusal));
    }
    let epoch = rows.get::<DomainEpoch>(DomainEpoch::ID)?;
    write(world, moves, epoch, draft.now).map(Ok)
}

/// That no rule which begins to count contains another one in force, or is contained in it.
async fn apart<W: World>(
    world: &W,
    new: &PolicySet,
    moves: &[Move],
) -> Result<Result<(), Refusal>, Unavailable> {
    let begins = |one: &Move| match one {
        Move::New { .. } => true,
        Move::Of { does: Does::Suspend, .. } => false,
        Move::Of { does, agent, entry, .. } => {
            *does == Does::Resume
                || agent.lifecycle.state == State::Active && agent.entry.rule != entry.rule
        }
    };
    if !moves.iter().any(begins) {
        return Ok(Ok(()));
    }
    let mut after = overlap::in_force(world).await?;
    for one in moves {
        match one {
            Move::Of { does: Does::Suspend, agent, .. } => {
                after.remove(&agent.entry.name);
            }
            Move::Of { does, agent, .. }
                if *does != Does::Resume && agent.lifecycle.state != State::Active => {}
            Move::New { entry, .. } | Move::Of { entry, .. } => {
                after.insert(entry.name.clone(), entry.clone());
            }
        }
    }
    for one in moves.iter().filter(|one| begins(one)) {
        let (Move::New { entry, .. } | Move::Of { entry, .. }) = one;
        if let Some(overlap) = overlap::first(entry, after.values(), new) {
            return Ok(Err(Refusal::Overlap { name: entry.name.clone(), overlap }));
        }
    }
    Ok(Ok(()))
}

/// What is known before the records are read.
#[derive(Default)]
struct Draft<'a> {
    now: time::UnixTime,
    wanted: Vec<Wanted<'a>>,
    gone: Vec<WorkloadId>,
}

/// An agent of the new set.
struct Wanted<'a> {
    entry: &'a Registration,
    taken: Option<WorkloadId>,
    was_kept: bool,
}

/// One agent's step, with the record it begins from.
enum Move {
    /// There is none.
    New { assignment: Assignment, entry: Registration },
    /// There is one.
    Of { does: Does, version: u64, agent: Box<AgentRecord>, entry: Registration },
}

impl Draft<'_> {
    fn step(
        &self,
        wanted: &Wanted<'_>,
        new: &PolicySet,
        rows: &env::Snapshot,
    ) -> Result<Result<Option<Move>, Refusal>, Unavailable> {
        let (entry, name) = (wanted.entry, wanted.entry.name.clone());
        let assignment = match assign(new.origin(), entry.kind, name.clone(), None, self.now) {
            Ok(assignment) => assignment,
            Err(why) => return Ok(Err(Refusal::Assign { name, why })),
        };
        let Some(id) = &wanted.taken else {
            return Ok(Ok(Some(Move::New { assignment, entry: entry.clone() })));
        };
        if *id != assignment.id {
            return Ok(Err(Refusal::Kind { name, id: id.clone(), kind: entry.kind }));
        }
        let missing = || Unavailable::of("store", format!("`{id}` has no record"));
        let agent = rows.get::<AgentRecord>(&id.to_string())?.ok_or_else(missing)?;
        let (state, since) = (agent.lifecycle.state, agent.lifecycle.since);
        let does = match state {
            // It was ended since: that an operator ended it does not keep every other change away.
            State::Revoked | State::Retired if wanted.was_kept => return Ok(Ok(None)),
            State::Revoked | State::Retired => {
                return Ok(Err(Refusal::Ended { name, id: id.clone(), state, since }));
            }
            State::Suspended if !wanted.was_kept && agent.lifecycle.reason == WITHDRAWN => {
                Does::Resume
            }
            State::Active | State::Suspended if agent.entry == *entry => return Ok(Ok(None)),
            State::Active | State::Suspended if decides_more(&agent.entry, entry) => Does::Renew,
            State::Active | State::Suspended => Does::Change,
        };
        let (version, agent) = (agent.version, Box::new((*agent.value).clone()));
        Ok(Ok(Some(Move::Of { does, version, agent, entry: entry.clone() })))
    }
}

/// Whether what was issued under `old` could not have been issued under `new`: who may claim the
/// record, who keeps its keys, and what it may do as a client.
fn decides_more(old: &Registration, new: &Registration) -> bool {
    (&old.rule, old.keys, &old.client) != (&new.rule, new.keys, &new.client)
}

fn write<W: World>(
    world: &W,
    moves: Vec<Move>,
    epoch: Option<env::Stored<DomainEpoch>>,
    now: time::UnixTime,
) -> Result<Kept, Unavailable> {
    let current = epoch.as_ref().map_or(Epoch(0), |row| row.epoch);
    let kills = |one: &Move| matches!(one, Move::Of { does: Does::Renew | Does::Suspend, .. });
    let raises = moves.iter().any(kills);
    let next = if raises { current.next() } else { current };
    let mut kept = Kept::default();
    for one in moves {
        let mut record = begin(world, Event::AgentLifecycle);
        record.epoch = Some(next.0);
        let (does, agent, expect) = match one {
            Move::New { assignment, entry } => {
                record = begin(world, Event::AgentRegistered);
                record.epoch = Some(next.0);
                record.facts = serde_json::to_value(&entry).unwrap_or_default();
                let agent = AgentRecord::new(&assignment, entry, next, now);
                kept.writes.push(Write::put(&assignment, Expect::Absent));
                (Does::Register, agent, Expect::Absent)
            }
            Move::Of { does, version, agent, entry } => {
                record.facts = serde_json::json!({
                    "was": agent.lifecycle.state, "before": agent.entry, "after": entry,
                });
                let lifecycle = lifecycle(&agent.lifecycle, does, next, now)?;
                record.action = format!("agent.{}", does.name());
                let agent = AgentRecord { entry, lifecycle, ..*agent };
                (does, agent, Expect::Version(version))
            }
        };
        record.agent = Some(agent.id.to_string());
        kept.writes.push(Write::put(&agent, expect));
        kept.records.push(record);
        kept.steps.push(Step { agent: agent.id, does });
    }
    if raises {
        let expect = epoch.map_or(Expect::Absent, |row| Expect::Version(row.version));
        kept.writes.push(Write::put(&DomainEpoch { epoch: next }, expect));
    }
    Ok(kept)
}

fn lifecycle(
    old: &Lifecycle,
    does: Does,
    epoch: Epoch,
    now: time::UnixTime,
) -> Result<Lifecycle, Unavailable> {
    let moved = match does {
        Does::Register | Does::Change => return Ok(old.clone()),
        Does::Renew => return Ok(old.renewed(epoch)),
        Does::Suspend => old.after(Act::Suspend, epoch, WITHDRAWN.to_owned(), now),
        Does::Resume => old.after(Act::Resume, epoch, "policy keeps it again".to_owned(), now),
    };
    // INVARIANT: the step was chosen for the state.
    moved.map_err(|refusal| Unavailable::of("registry", refusal))
}
