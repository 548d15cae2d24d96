//! An operator applies a policy set: checked whole, then in force for everyone, or not at all.

use env::rows::{InForce, PolicyRow};
use env::{Change, Expect, Key, Recorded, Store, Unavailable, World, Write};
use monitoring::Event;
use policy::{Difference, Fault, Files, PolicySet, difference};

use crate::agents::{Operator, PAGE_MAX, overtaken, settled};
use crate::record::{begin, refused};

/// What applying a set would change.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version in force.
    pub from: Option<String>,
    /// The version that was planned.
    pub to: String,
    /// What differs.
    pub changes: Vec<Difference>,
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
}

/// Shows what would change. Nothing is recorded: nothing was decided.
pub async fn plan<W: World>(world: &W, files: Files) -> Result<Result<Plan, Refusal>, Unavailable> {
    let current = crate::facts::one::<W, InForce>(world, InForce::ID).await?;
    let set = match PolicySet::compile(files) {
        Ok(set) => set,
        Err(faults) => return Ok(Err(Refusal::Faults(faults))),
    };
    let old = current.as_ref().map(|row| &row.set);
    let from = old.map(|set| set.version().as_str().to_owned());
    let changes = difference(old, &set);
    Ok(Ok(Plan { from, to: set.version().as_str().to_owned(), changes }))
}

/// Puts a set into force. `expected`: the version that it replaces, where the operator planned.
pub async fn apply<W: World>(
    world: &W,
    operator: &Operator,
    files: Files,
    reason: String,
    expected: Option<String>,
) -> Result<Recorded<Result<Plan, Refusal>>, Unavailable> {
    let current = world.store().snapshot(&[Key::of::<InForce>(InForce::ID)]).await?;
    let current = current.get::<InForce>(InForce::ID)?;
    let old = current.as_ref().map(|row| &row.set);
    let from = old.map(|set| set.version().as_str().to_owned());
    let decided = decide(files, old, expected);
    let mut record = begin(world, Event::PolicyApplied);
    record.operator = Some(operator.0.clone());
    let mut change = Change::default();
    let decided = decided.map(|set| {
        let to = set.version().as_str().to_owned();
        let changes = difference(old, &set);
        record.policy = Some(to.clone());
        record.facts = serde_json::json!({ "from": from, "reason": reason, "changes": changes });
        let row = PolicyRow { set, applied: record.time, by: operator.0.clone(), reason };
        change.writes.push(Write::put(&row, Expect::Any));
        let expect = current.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
        change.writes.push(Write::put(&InForce(row), expect));
        Plan { from, to, changes }
    });
    if let Err(refusal) = &decided {
        refused(&mut record, "policy::Refusal", &describe(refusal), None);
    }
    change.records.push(record);
    let receipt = settled(world.store().commit(change).await)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(decided, &receipt))
}

fn decide(
    files: Files,
    old: Option<&PolicySet>,
    expected: Option<String>,
) -> Result<PolicySet, Refusal> {
    let set = PolicySet::compile(files).map_err(Refusal::Faults)?;
    if let (Some(old), Some(expected)) = (old, expected) {
        let found = old.version().as_str().to_owned();
        if found != expected {
            return Err(Refusal::Moved { expected, found });
        }
    }
    let to = &set.domain().trust_domain;
    if let Some(from) = old.map(|old| &old.domain().trust_domain).filter(|from| *from != to) {
        return Err(Refusal::OtherDomain { from: from.to_string(), to: to.to_string() });
    }
    Ok(set)
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
