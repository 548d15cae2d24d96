//! An operator applies a policy set: checked whole, then in force for everyone, or not at all.

mod kept;
mod relations;

use env::rows::{InForce, PolicyRow};
use env::{Change, Expect, Recorded, Store, Unavailable, World, Write};
use monitoring::Event;
use policy::{Difference, Fault, Files, PolicySet, Reached, Review, difference, review};

use crate::agents::PAGE_MAX;
use crate::record::{begin, refused};
use crate::turns::{Operator, overtaken, settled};
use crate::turns::{TRIES_MAX, pause};

pub use crate::federate::Refusal as FederationRefusal;
pub use kept::{Does, Refusal as AgentRefusal, Step, WITHDRAWN};

/// What applying a set would change.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version in force.
    pub from: Option<String>,
    /// The version that was planned.
    pub to: String,
    /// What differs.
    pub changes: Vec<Difference>,
    /// What it does to the agents that policy keeps.
    pub agents: Vec<Step>,
    /// What is likely a mistake.
    pub warnings: Vec<Fault>,
}

/// Why a set is not put into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not compile.
    Faults(Vec<Fault>),
    /// The trust domain is another: everything issued so far would be foreign.
    OtherDomain {
        /// The domain in force.
        from: String,
        /// The one in the set.
        to: String,
    },
    /// The set in force is no longer the one that the plan was made against.
    Moved {
        /// The version that was expected.
        expected: String,
        /// The version in force.
        found: String,
    },
    /// An agent of the set cannot be kept.
    Agent(AgentRefusal),
    /// Its relations to other trust domains cannot be kept.
    Federation(FederationRefusal),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Faults(_) => "policy::Faults",
            Self::OtherDomain { .. } => "policy::OtherDomain",
            Self::Moved { .. } => "policy::Moved",
            Self::Agent(_) => "policy::Agent",
            Self::Federation(_) => "policy::Federation",
        }
    }
}

/// Shows what would change. Nothing is recorded: nothing was decided.
pub async fn plan<W: World>(world: &W, files: Files) -> Result<Result<Plan, Refusal>, Unavailable> {
    let current = crate::facts::one::<W, InForce>(world, InForce::ID).await?;
    let old = current.as_ref().map(|row| &row.set);
    let (set, warnings) = match decide(world, files, old, None) {
        Ok(decided) => decided,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let kept = decide_kept(world, old, &set).await?;
    Ok(kept.map(|kept| planned(old, &set, kept.steps, warnings)))
}

/// What the set does to the agents and the relations that policy keeps.
async fn decide_kept<W: World>(
    world: &W,
    old: Option<&PolicySet>,
    set: &PolicySet,
) -> Result<Result<kept::Kept, Refusal>, Unavailable> {
    let mut kept = match kept::decide(world, old, set).await? {
        Ok(kept) => kept,
        Err(refusal) => return Ok(Err(Refusal::Agent(refusal))),
    };
    match relations::decide(world, set).await? {
        Ok(mut relations) => {
            kept.writes.append(&mut relations.writes);
            kept.records.append(&mut relations.records);
            Ok(Ok(kept))
        }
        Err(refusal) => Ok(Err(Refusal::Federation(refusal))),
    }
}

fn planned(
    old: Option<&PolicySet>,
    set: &PolicySet,
    agents: Vec<Step>,
    warnings: Vec<Fault>,
) -> Plan {
    let version = |set: &PolicySet| set.version().as_str().to_owned();
    let (from, to, changes) = (old.map(version), version(set), difference(old, set));
    Plan { from, to, changes, agents, warnings }
}

/// Puts a set into force. `expected`: the version that it replaces, where the operator planned.
pub async fn apply<W: World>(
    world: &W,
    operator: &Operator,
    files: Files,
    reason: String,
    expected: Option<String>,
) -> Result<Recorded<Result<Plan, Refusal>>, Unavailable> {
    for turn in 0..TRIES_MAX {
        let current = crate::facts::one::<W, InForce>(world, InForce::ID).await?;
        let old = current.as_ref().map(|row| &row.set);
        let mut record = begin(world, Event::PolicyApplied);
        record.operator = Some(operator.0.clone());
        let decided = match decide(world, files.clone(), old, expected.as_deref()) {
            Ok((set, warnings)) => {
                decide_kept(world, old, &set).await?.map(|kept| (set, warnings, kept))
            }
            Err(refusal) => Err(refusal),
        };
        let mut change = Change::default();
        let decided = decided.map(|(set, warnings, mut kept)| {
            let plan = planned(old, &set, kept.steps, warnings);
            record.policy = Some(plan.to.clone());
            record.facts = serde_json::json!({
                "from": plan.from, "reason": reason, "changes": plan.changes, "agents": plan.agents,
            });
            for record in &mut kept.records {
                record.operator = Some(operator.0.clone());
                record.policy = Some(plan.to.clone());
            }
            let (by, reason) = (operator.0.clone(), reason.clone());
            let row = PolicyRow { set, applied: record.time, by, reason };
            change.writes.push(Write::put(&row, Expect::Any));
            let expect =
                current.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
            change.writes.push(Write::put(&InForce(row), expect));
            change.writes.append(&mut kept.writes);
            (plan, kept.records)
        });
        let (decided, records) = match decided {
            Ok((plan, records)) => (Ok(plan), records),
            Err(refusal) => {
                refused(&mut record, refusal.check(), &describe(&refusal), None);
                (Err(refusal), Vec::new())
            }
        };
        // The first record is the one that the operator is told of.
        change.records.push(record);
        change.records.extend(records);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            return Ok(Recorded::new(decided, &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

fn decide<W: World>(
    world: &W,
    files: Files,
    old: Option<&PolicySet>,
    expected: Option<&str>,
) -> Result<(PolicySet, Vec<Fault>), Refusal> {
    let set = PolicySet::compile(files).map_err(Refusal::Faults)?;
    if let (Some(old), Some(expected)) = (old, expected) {
        let found = old.version().as_str().to_owned();
        if found != expected {
            return Err(Refusal::Moved { expected: expected.to_owned(), found });
        }
    }
    // The same name under another scheme is another domain: nothing that was issued is of it.
    let to = set.origin();
    if let Some(from) = old.map(PolicySet::origin).filter(|from| *from != to) {
        return Err(Refusal::OtherDomain { from: from.to_string(), to: to.to_string() });
    }
    let site = world.site();
    let Review { faults, warnings } =
        review(&set, Some(Reached { issuer: &site.issuer, gateway: &site.gateway }));
    if faults.is_empty() { Ok((set, warnings)) } else { Err(Refusal::Faults(faults)) }
}

/// A refusal in words.
pub fn describe(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Faults(faults) => {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Refusal::OtherDomain { from, to } => {
            format!(
                "the trust domain is `{from}`; a set for `{to}` belongs to another installation"
            )
        }
        Refusal::Moved { expected, found } => {
            format!("`{found}` is in force, not `{expected}`: plan again")
        }
        Refusal::Agent(why) => why.to_string(),
        Refusal::Federation(why) => why.to_string(),
    }
}

/// One set that was in force: version, when, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    /// Its version.
    pub version: String,
    /// When it was last applied.
    pub applied: String,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether it is in force now.
    pub in_force: bool,
}

/// The sets that were applied, the newest first.
pub async fn history<W: World>(world: &W) -> Result<Vec<Applied>, Unavailable> {
    let current = crate::facts::one::<W, InForce>(world, InForce::ID).await?;
    let current = current.map(|row| row.set.version().as_str().to_owned());
    let index = env::Index::All;
    let page = world.store().scan(env::Table::Policies, index, "", None, PAGE_MAX).await?;
    let mut sets = Vec::new();
    for row in &page.rows {
        let value = row.value::<PolicyRow>().map_err(|error| Unavailable::of("store", error))?;
        sets.extend(value);
    }
    sets.sort_by_key(|row| std::cmp::Reverse(row.applied));
    let told = sets.iter().map(|row| {
        let version = row.set.version().as_str().to_owned();
        let in_force = current.as_ref() == Some(&version);
        let (applied, by, reason) = (row.applied.to_string(), row.by.clone(), row.reason.clone());
        Applied { version, applied, by, reason, in_force }
    });
    Ok(told.collect())
}
