//! Looking again at enrolments that count (PROV-11, OBS-10): when policy or a document that an
//! operator keeps changed. What the agent proved and brought itself is not asked for anew, and
//! counts as it did; everything that is known here is looked at again, and where that leaves the
//! agent less than it holds, it ends as its risk class says.

use std::collections::BTreeSet;

use attestation::class::{Fall, Grade};
use attestation::evidence;
use attestation::verifier::{self, Document, Inquiry, PLATFORM, Platform, Summary};
use env::rows::{Documents, DomainEpoch, Enrolment};
use env::{Change, Clock, Expect, Index, Key, Store, Stored, Table, Unavailable, World, Write};
use flow::facts::{Basis, basis};
use flow::reassess::{Which, action, end, least, longest};
use flow::record::begin;
use flow::turns::{TRIES_MAX, overtaken, pause, settled};
use monitoring::{Event, Outcome};
use rats::Vector;
use registry::AgentRecord;
use time::UnixTime;

/// Enrolments of one page.
const PAGE: usize = 200;

/// Looks, and ends what is to be ended. Returns how many agents fell.
pub async fn step<W: World>(world: &W, which: &Which) -> Result<usize, Unavailable> {
    let (index, value) = match which {
        Which::All => (Index::All, ""),
        Which::Agent(agent) => (Index::Agent, agent.as_str()),
        // They have no host, and nothing that is issued on them lives longer than they do.
        Which::Host(_) | Which::Due { .. } | Which::Fallen => return Ok(0),
    };
    let (mut after, mut fallen) = (None::<String>, 0);
    loop {
        let store = world.store();
        let page = store.scan(Table::Enrolments, index, value, after.as_deref(), PAGE).await?;
        for row in &page.rows {
            // A row that does not read keeps no other from being looked at.
            let Ok(Some(seen)) = row.value::<Enrolment>() else { continue };
            if settle(world, &seen).await? {
                fallen += 1;
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(fallen);
        }
    }
}

/// Looks at one until nothing comes between; true if its agent fell.
async fn settle<W: World>(world: &W, seen: &Enrolment) -> Result<bool, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(fell) = look(world, seen).await? {
            return Ok(fell);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Looks once; `None`: another commit came first.
async fn look<W: World>(world: &W, seen: &Enrolment) -> Result<Option<bool>, Unavailable> {
    let keys = vec![
        Key::of::<Enrolment>(&seen.handle),
        Key::of::<AgentRecord>(&seen.agent),
        Key::of::<Documents>(&seen.agent),
        Key::of::<DomainEpoch>(DomainEpoch::ID),
    ];
    let facts = basis(world, keys).await?;
    let row = facts.rows.get::<Enrolment>(&seen.handle)?;
    let agent = facts.rows.get::<AgentRecord>(&seen.agent)?;
    let (Some(row), Some(agent)) = (row, agent) else { return Ok(Some(false)) };
    let now = world.clock().now();
    // Whoever is not in force holds nothing that counts.
    if row.until <= now || row.held.is_none() || agent.lifecycle.is_active().is_err() {
        return Ok(Some(false));
    }
    let found = grade(&facts, &row, &agent, now)?;
    let too_much = found.and_then(|grade| too_much(&facts, &row, &agent, grade, now));
    let has_fallen = found < row.held;
    if !has_fallen && too_much.is_none() {
        return Ok(Some(false));
    }
    let class = facts.set().attestation().class.get(&agent.entry.rule.class);
    let fall = class.map_or(Fall::End, |class| class.fall);
    let fall = if has_fallen { fall } else { least(fall) };
    let name = |grade: Option<Grade>| grade.map_or("none", Grade::name);
    let reason = match too_much {
        Some(too_much) if !has_fallen => too_much,
        _ => format!("its attestation fell from `{}` to `{}`", name(row.held), name(found)),
    };
    let held = if has_fallen { found } else { row.held };
    let settled_row = Enrolment { held, given: [].into(), ..(*row.value).clone() };
    let mut change = Change::default();
    change.writes.push(Write::put(&settled_row, Expect::Version(row.version)));
    let mut record = begin(world, Event::AgentLifecycle);
    record.action = format!("agent.{}", action(fall));
    record.agent = Some(row.agent.clone());
    record.proof = Some(row.mechanism.clone());
    record.policy = Some(facts.version());
    record.outcome = Outcome::Done;
    record.facts = serde_json::json!({ "reason": reason, "result": row.digest, "fall": fall });
    end(&facts, &agent, fall, reason, now, &mut change, &mut record)?;
    change.records.push(record);
    Ok(settled(world.store().commit(change).await)?.map(|_| true))
}

/// What was given that policy would not give today: a kind, or a life that long.
fn too_much(
    facts: &Basis,
    row: &Enrolment,
    agent: &AgentRecord,
    grade: Grade,
    now: UnixTime,
) -> Option<String> {
    let live = row.given.iter().filter(|(_, end)| now < **end);
    let mut over = live.filter_map(|(kind, end)| match longest(facts, agent, grade, kind) {
        None => Some(format!("policy issues no `{kind}` any more")),
        Some(life) => (now.plus(life) < *end)
            .then(|| format!("policy gives `{kind}` {} s, and it ends at {end}", life.seconds())),
    });
    over.next()
}

/// What the enrolment would get now; `None`: nothing.
fn grade(
    facts: &Basis,
    row: &Enrolment,
    agent: &Stored<AgentRecord>,
    now: UnixTime,
) -> Result<Option<Grade>, Unavailable> {
    let rule = &agent.entry.rule;
    let Some(class) = facts.set().attestation().class.get(&rule.class) else { return Ok(None) };
    let fits = facts.set().attestation().enrol.contains_key(&row.mechanism)
        && rule.nodes.is_empty()
        && rule.matches(&row.selectors)
        && class.undemanded(&rule.selectors).is_none()
        && !class.issues.is_empty();
    if !fits {
        return Ok(None);
    }
    Ok(class.grade(&summary(facts, row, agent, now)?).ok())
}

/// The result of the enrolment, with what an operator keeps as it stands now.
fn summary(
    facts: &Basis,
    row: &Enrolment,
    agent: &Stored<AgentRecord>,
    now: UnixTime,
) -> Result<Summary, Unavailable> {
    let kept = facts.rows.get::<Documents>(&row.agent)?;
    let kept: Vec<_> = kept
        .iter()
        .flat_map(|kept| &kept.kinds)
        .map(|(kind, one)| (kind, one, evidence::from_text(&one.text).unwrap_or_default()))
        .collect();
    let documents: Vec<_> = kept
        .iter()
        .map(|(kind, one, bytes)| Document { kind, sha256: &one.sha256, bytes })
        .collect();
    let policy = facts.version();
    let mut assessment = verifier::assess(&Inquiry {
        agent: &agent.id,
        host: None,
        // What it proved stands in the row; here it is what documents must be about.
        platform: Some(Platform {
            mechanism: &row.mechanism,
            vector: Vector::NONE,
            found: &row.selectors,
        }),
        found: None,
        rule: &agent.entry.rule,
        key: Some(&row.first).filter(|key| !key.is_empty()).map(String::as_str),
        documents: &documents,
        rules: &facts.set().attestation().evidence,
        policy: &policy,
        now,
        life: row.until.since(now),
        skew: facts.set().domain().bounds.clock_skew,
    });
    for (kind, _, _) in kept.iter().filter(|(_, one, _)| one.spent) {
        assessment.used_before(kind, "a value of this document");
    }
    let mut summary = row.summary.clone();
    let anew: BTreeSet<_> = row.kept.iter().chain(kept.iter().map(|(kind, ..)| *kind)).collect();
    for kind in anew {
        summary.parts.remove(kind);
        // A fact begins with the kind of the document that gave it.
        let of_kind = |fact: &String| fact.split_once(':').is_some_and(|(of, _)| of == kind);
        summary.facts.retain(|fact| !of_kind(fact));
    }
    let now = assessment.summary(None);
    summary.facts.extend(now.facts);
    summary.parts.extend(now.parts.into_iter().filter(|(label, _)| label != PLATFORM));
    Ok(summary)
}
