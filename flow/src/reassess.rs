//! Looking again at results that count (ATT-07, PROV-11, OBS-10): when their time is up, when
//! policy or a document changed. Where an agent's result got worse, what it holds is ended as the
//! agent's risk class says. A job that any server may run at any time.

use std::collections::BTreeMap;

use attestation::class::{Fall, Grade};
use attestation::mechanism::Role;
use credential::policy::CREDENTIAL_SECONDS_MAX;
use env::rows::{Documents, DomainEpoch, Given, ResultRow};
use env::{Change, Clock, Entity, Expect, Index, Key, Store, Unavailable, World, Write};
use monitoring::{Event, Outcome};
use provisioning::{Act, CredentialKind, Epoch};
use registry::{AgentRecord, NodeRecord};
use time::{Span, UnixTime};

use crate::appraise::{self, Asking};
use crate::facts::{Basis, basis};
use crate::record::begin;
use crate::turns::{TRIES_MAX, overtaken, pause, settled};

/// Results of one page.
const PAGE: usize = 200;

/// Which results are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of agents that hold more than their result allows.
    Fallen,
    /// Those of an agent: a document of it changed.
    Agent(String),
    /// Those on a host: what is known of it changed.
    Host(String),
    /// Those whose time was up in a span.
    Due {
        /// Since then.
        after: UnixTime,
        /// Until now.
        before: UnixTime,
    },
    /// All.
    All,
}

impl Which {
    fn index(&self) -> (Index, &str) {
        match self {
            Self::Fallen => (Index::State, ResultRow::FALLEN),
            Self::Agent(agent) => (Index::Agent, agent),
            Self::Host(host) => (Index::Node, host),
            Self::Due { .. } | Self::All => (Index::All, ""),
        }
    }
}

/// Looks, and ends what is to be ended. Returns how many agents fell.
pub async fn step<W: World>(world: &W, which: &Which) -> Result<usize, Unavailable> {
    let (index, value) = which.index();
    let (mut after, mut fallen) = (None::<String>, 0);
    loop {
        let store = world.store();
        let page = store.scan(ResultRow::TABLE, index, value, after.as_deref(), PAGE).await?;
        for row in &page.rows {
            // A row that does not read keeps no other from being looked at.
            let Ok(Some(result)) = row.value::<ResultRow>() else { continue };
            let waits = match which {
                Which::Due { after, before } => result.until < *after || *before <= result.until,
                _ => false,
            };
            if !waits && settle(world, &result).await? {
                fallen += 1;
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(fallen);
        }
    }
}

/// Looks at one result until nothing comes between; true if its agent fell.
async fn settle<W: World>(world: &W, seen: &ResultRow) -> Result<bool, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(fell) = look(world, seen).await? {
            return Ok(fell);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Looks once; `None`: another commit came first.
async fn look<W: World>(world: &W, seen: &ResultRow) -> Result<Option<bool>, Unavailable> {
    let mut keys = vec![
        Key::of::<AgentRecord>(&seen.agent),
        Key::of::<NodeRecord>(&seen.host),
        Key::of::<DomainEpoch>(DomainEpoch::ID),
    ];
    keys.extend(appraise::keys(&seen.agent, &seen.host, &seen.measured));
    let facts = basis(world, keys).await?;
    let row = facts.rows.get::<ResultRow>(&seen.id())?;
    let agent = facts.rows.get::<AgentRecord>(&seen.agent)?;
    let (Some(row), Some(agent)) = (row, agent) else { return Ok(Some(false)) };
    let now = world.clock().now();
    let found = grade(&facts, &row, &agent, now)?;
    let held = row.held;
    let too_much = found.and_then(|grade| too_much(&facts, &agent, grade, &row.given, now));
    if found >= held && too_much.is_none() {
        return Ok(Some(false));
    }
    if agent.lifecycle.is_active().is_err() {
        // What it held is dead already: whoever lets it go on is not overruled by that.
        let change = Change {
            writes: vec![Write::put(
                &ResultRow {
                    grade: found,
                    held: None,
                    given: BTreeMap::new(),
                    ..(*row.value).clone()
                },
                Expect::Version(row.version),
            )],
            records: vec![noted(world, &facts, seen)],
            ..Change::default()
        };
        return Ok(settled(world.store().commit(change).await)?.map(|_| false));
    }
    let class = facts.set().attestation().class.get(&agent.entry.rule.class);
    // A class that is gone gives nothing, and leaves nothing.
    let fall = class.map_or(Fall::End, |class| class.fall);
    let has_fallen = found < held;
    let fall = if has_fallen { fall } else { least(fall) };
    // All of it is dead, or lives on because policy lets it.
    let given = BTreeMap::new();
    let held_now = if has_fallen { found } else { held };
    let settled_row = ResultRow { grade: found, held: held_now, given, ..(*row.value).clone() };
    let mut change = Change::default();
    change.writes.push(Write::put(&settled_row, Expect::Version(row.version)));
    let mut record = begin(world, Event::AgentLifecycle);
    record.action = format!("agent.{}", action(fall));
    record.agent = Some(seen.agent.clone());
    record.transport = Some(seen.host.clone());
    record.policy = Some(facts.version());
    record.outcome = Outcome::Done;
    let name = |grade: Option<Grade>| grade.map_or("none", Grade::name);
    let reason = match too_much {
        Some(too_much) if !has_fallen => too_much,
        _ => format!("its attestation fell from `{}` to `{}`", name(held), name(found)),
    };
    record.facts = serde_json::json!({ "reason": reason, "result": row.digest, "fall": fall });
    end(&facts, &agent, fall, reason, now, &mut change, &mut record)?;
    change.records.push(record);
    Ok(settled(world.store().commit(change).await)?.map(|_| true))
}

/// Where nothing is wrong with the agent, it is not suspended.
pub const fn least(fall: Fall) -> Fall {
    match fall {
        Fall::Keep => Fall::Keep,
        Fall::End | Fall::Suspend => Fall::End,
    }
}

/// What of all that was given policy would not give today: a kind, or a life that long.
fn too_much(
    facts: &Basis,
    agent: &AgentRecord,
    grade: Grade,
    given: &BTreeMap<String, Given>,
    now: UnixTime,
) -> Option<String> {
    let live = given.iter().filter(|(_, one)| now < one.end());
    let mut over = live.filter_map(|(kind, one)| match longest(facts, agent, grade, kind) {
        None => Some(format!("policy issues no `{kind}` any more")),
        Some(life) => (life < one.life && now.plus(life) < one.end()).then(|| {
            let (had, life) = (one.life.seconds(), life.seconds());
            format!("policy gives `{kind}` {life} s, and it had {had} s")
        }),
    });
    over.next()
}

/// The longest life that the agent's class lets a credential of this kind have today; `None`: it
/// issues none. `[lifetimes]` of the domain are no judgement of an agent: they say how long new
/// credentials live, and what was issued under longer ones ends by itself.
pub fn longest(facts: &Basis, agent: &AgentRecord, grade: Grade, kind: &str) -> Option<Span> {
    let class = facts.set().attestation().class.get(&agent.entry.rule.class)?;
    let kinds = [CredentialKind::X509, CredentialKind::Wit, CredentialKind::Jwt];
    let kind = kinds.into_iter().find(|one| one.name() == kind)?;
    let bound = class.issues(kind.name(), grade)?;
    Some(bound.unwrap_or(Span::from_seconds(CREDENTIAL_SECONDS_MAX)))
}

/// That a result got worse of an agent that is not in force: nothing is to be ended.
fn noted<W: World>(world: &W, facts: &Basis, seen: &ResultRow) -> monitoring::Record {
    let mut record = begin(world, Event::AgentLifecycle);
    record.action = format!("agent.{}", action(Fall::Keep));
    record.agent = Some(seen.agent.clone());
    record.transport = Some(seen.host.clone());
    record.policy = Some(facts.version());
    record
}

/// Adds to the change what ends the agent's credentials. The row of the epoch is among the facts.
pub fn end(
    facts: &Basis,
    agent: &env::Stored<AgentRecord>,
    fall: Fall,
    reason: String,
    now: UnixTime,
    change: &mut Change,
    record: &mut monitoring::Record,
) -> Result<(), Unavailable> {
    let row = facts.rows.get::<DomainEpoch>(DomainEpoch::ID)?;
    let next = row.as_ref().map_or(Epoch(0), |row| row.epoch).next();
    let lifecycle = match fall {
        Fall::Keep => return Ok(()),
        Fall::End => agent.lifecycle.renewed(next),
        Fall::Suspend => agent
            .lifecycle
            .after(Act::Suspend, next, reason, now)
            .map_err(|refusal| Unavailable::of("store", refusal))?,
    };
    record.epoch = Some(next.0);
    let moved = AgentRecord { lifecycle, ..(*agent.value).clone() };
    change.writes.push(Write::put(&moved, Expect::Version(agent.version)));
    let expect = row.map_or(Expect::Absent, |row| Expect::Version(row.version));
    change.writes.push(Write::put(&DomainEpoch { epoch: next }, expect));
    Ok(())
}

/// What the records call it.
pub const fn action(fall: Fall) -> &'static str {
    match fall {
        Fall::Keep => "fell",
        Fall::End => "end",
        Fall::Suspend => "suspend",
    }
}

/// What the evidence shows now: as much as it did, or less.
fn grade(
    facts: &Basis,
    row: &ResultRow,
    agent: &AgentRecord,
    now: UnixTime,
) -> Result<Option<Grade>, Unavailable> {
    let host = facts.rows.get::<NodeRecord>(&row.host)?;
    let class = facts.set().attestation().class.get(&agent.entry.rule.class);
    let (Some(host), Some(class)) = (host, class) else { return Ok(None) };
    // A process that was measured has a user at the least.
    let found = Some(&row.selectors).filter(|found| !found.is_empty());
    let rule = &agent.entry.rule;
    let is_claimed = host.role == Role::SpireAgent;
    // What would refuse the process today, before any appraisal, leaves it nothing either.
    let fits = rule.allows_node(&host.id)
        && found.is_none_or(|found| rule.matches(found))
        && class.undemanded(&rule.selectors).is_none()
        && !class.issues.is_empty()
        && (!is_claimed || class.spire_agents);
    if !fits {
        return Ok(None);
    }
    let asking = Asking { agent, host: &host, found, class, now };
    appraise::look(facts, &asking)
}

/// Which results a change of rows makes worth a look.
pub fn concerned(row: &env::Row) -> Option<Which> {
    if row.key.table == Documents::TABLE {
        return Some(Which::Agent(row.key.id.clone()));
    }
    if row.key.table == NodeRecord::TABLE {
        return Some(Which::Host(row.key.id.clone()));
    }
    let is_policy = row.key == Key::of::<env::rows::InForce>(env::rows::InForce::ID);
    is_policy.then_some(Which::All)
}
