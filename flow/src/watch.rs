//! The server watches over what has to be renewed in time, its own and others' (S1 §8; PROV-09):
//! what begins to go wrong is recorded once, and what is mended too.
//!
//! Which nodes are heard is known to the process that they are linked to, and told to these flows.

use std::collections::{BTreeMap, BTreeSet};

use attestation::mechanism::by_name;
use credential::policy::Lifetimes;
use credential::{KeyRing, Purpose};
use env::rows::{Alarms, Troubles};
use env::{Change, Clock, Expect, Key, Snapshot, Store, Unavailable, World, Write};
use monitoring::{Event, Outcome, Why};
use provisioning::State;
use provisioning::alarm::{Alarm, AlarmKind, Outage, Standing};
use provisioning::renewal::{Heard, TROUBLES_MAX, Trouble, WHY_BYTES_MAX};
use time::{Span, UnixTime};

use crate::agents::PAGE_MAX;
use crate::facts::{basis, one};
use crate::record::begin;
use crate::turns::settled;

/// The most alarms that stand at once; more are counted as these are mended.
const ALARMS_MAX: usize = 500;
/// How late the successor of a key may be.
const KEY_SPARE: Span = Span::from_seconds(120);

/// What the server sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What is wrong now, at most 500.
    pub alarms: Vec<Alarm>,
    /// How long others go on without us, by the policy in force.
    pub outage: Outage,
    /// Nodes and gateways in force whose credential lives.
    pub nodes: usize,
    /// When the first of their credentials ends.
    pub first_end: Option<UnixTime>,
    /// When the last good bundle of a relation was fetched: the oldest of them.
    pub oldest_bundle: Option<UnixTime>,
    /// When the signing key of each purpose ends that signs now.
    pub keys: Vec<(Purpose, UnixTime)>,
    /// Of those that were heard: whose credential does not count, or has ended.
    pub gone: Vec<String>,
}

/// Looks once. What entered or left since the last look is recorded, in one commit with what stands
/// now; another server that looks at the same time may be first.
pub async fn look<W: World>(
    world: &W,
    heard: &BTreeMap<String, Heard>,
) -> Result<Seen, Unavailable> {
    let seen = see(world, heard).await?;
    let row = one::<W, Alarms>(world, Alarms::ID).await?;
    let known = row.as_ref().map(|row| row.standing.clone()).unwrap_or_default();
    let key = |alarm: &Alarm| (alarm.kind, alarm.subject.clone());
    let (was, is): (BTreeSet<_>, BTreeSet<_>) =
        (known.iter().map(key).collect(), seen.alarms.iter().map(key).collect());
    if was == is {
        return Ok(seen);
    }
    let mut change = Change::default();
    let entered = seen.alarms.iter().filter(|alarm| !was.contains(&key(alarm)));
    let left = known.iter().filter(|alarm| !is.contains(&key(alarm)));
    let all = entered.map(|alarm| (alarm, true)).chain(left.map(|alarm| (alarm, false)));
    for (alarm, enters) in all.filter(|(alarm, _)| alarm.kind != AlarmKind::BundleFailing) {
        change.records.push(told(world, alarm, enters));
    }
    let expect = row.map_or(Expect::Absent, |row| Expect::Version(row.version));
    change.writes.push(Write::put(&Alarms { standing: seen.alarms.clone() }, expect));
    settled(world.store().commit(change).await)?;
    Ok(seen)
}

fn told<W: World>(world: &W, alarm: &Alarm, enters: bool) -> monitoring::Record {
    let mut record = begin(world, Event::Alarm);
    record.action = if enters { "alarm.enter" } else { "alarm.leave" }.to_owned();
    record.outcome = if enters { Outcome::Failed } else { Outcome::Done };
    record.resource = Some(alarm.subject.clone());
    record.facts = serde_json::json!({
        "kind": alarm.kind.name(), "since": alarm.since, "ends": alarm.ends,
    });
    if enters {
        let check = format!("watch::{}", alarm.kind.name());
        record.why = Some(Why { check, message: alarm.why.clone(), needs: None });
    }
    record
}

async fn see<W: World>(world: &W, heard: &BTreeMap<String, Heard>) -> Result<Seen, Unavailable> {
    let keys = Purpose::ROTATED.map(|purpose| Key::of::<KeyRing>(purpose.name()));
    let facts = basis(world, keys.to_vec()).await?;
    let domain = facts.set().domain();
    let now = world.clock().now();
    let outage = Outage::of(&domain.lifetimes, domain.revocation.feed_lost_after);
    let (mut alarms, mut nodes, mut first_end, mut after) = (Vec::new(), 0, None, None::<String>);
    let mut gone: BTreeSet<&str> = heard.keys().map(String::as_str).collect();
    loop {
        let (page, next) = crate::nodes::list(world, after.as_deref(), PAGE_MAX).await?;
        for node in page.iter().filter(|node| node.lifecycle.state == State::Revoked) {
            // An order that stopped between two commits is carried on with.
            crate::nodes::settle_one(world, &node.id).await?;
        }
        for node in page.iter().filter(|node| node.lifecycle.state == State::Active) {
            let id = node.id.to_string();
            let ends = node.ends.unwrap_or_else(|| node.renewed.plus(domain.lifetimes.component));
            let heard = heard.get(&id);
            let is_brief = by_name(&node.mechanism).is_some_and(|one| one.is_brief());
            let standing = Standing {
                id: &id,
                renewed: node.renewed,
                ends,
                heard: heard.map(|heard| heard.at),
                troubles: heard.map_or(&[], |heard| heard.troubles.as_slice()),
                is_brief,
            };
            alarms.extend(standing.alarms(now));
            // What was cut off by its own resumption has no credential that counts.
            if now < ends {
                gone.remove(id.as_str());
                nodes += 1;
                first_end = Some(first_end.map_or(ends, |first: UnixTime| first.min(ends)));
            }
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    let keys = rings(&facts.rows, &domain.lifetimes, now, &mut alarms)?;
    let mut oldest_bundle = None;
    for relation in crate::federate::all(world).await? {
        let last = relation.fetched.as_ref().map(|fetched| fetched.at);
        oldest_bundle = oldest_bundle.into_iter().chain(last).min();
        if let Some(fault) = &relation.fault {
            alarms.push(Alarm {
                kind: AlarmKind::BundleFailing,
                subject: relation.terms.trust_domain.to_string(),
                since: fault.at,
                ends: None,
                why: fault.message.clone(),
            });
        }
    }
    alarms.sort_by_key(|alarm| (alarm.ends, alarm.kind, alarm.subject.clone()));
    alarms.truncate(ALARMS_MAX);
    let gone = gone.into_iter().map(str::to_owned).collect();
    Ok(Seen { alarms, outage, nodes, first_end, oldest_bundle, keys, gone })
}

/// The keys that sign now; those without a successor when there should be one are wrong.
fn rings(
    rows: &Snapshot,
    lifetimes: &Lifetimes,
    now: UnixTime,
    alarms: &mut Vec<Alarm>,
) -> Result<Vec<(Purpose, UnixTime)>, Unavailable> {
    let mut found = Vec::new();
    for purpose in Purpose::ROTATED {
        let Some(ring) = rows.get::<KeyRing>(purpose.name())? else { continue };
        // Made ahead of the first client that wants it: nobody lacks it yet.
        if purpose.is_on_demand() && ring.keys.iter().all(|key| now < key.signs_from) {
            continue;
        }
        let Some(current) = ring.signer(now) else {
            if let Some(last) = ring.keys.iter().map(|key| key.signs_until).max() {
                alarms.push(Alarm {
                    kind: AlarmKind::KeyOverdue,
                    subject: purpose.name().to_owned(),
                    since: last.min(now),
                    ends: None,
                    why: "no key may sign: nothing is issued".to_owned(),
                });
            }
            continue;
        };
        let until = current.signs_until;
        found.push((purpose, until));
        let due = ring.make_at(&lifetimes.schedule(purpose), now);
        if now >= due.plus(KEY_SPARE) {
            alarms.push(Alarm {
                kind: AlarmKind::KeyOverdue,
                subject: purpose.name().to_owned(),
                since: due,
                ends: Some(until),
                why: format!("`{}` has no successor", current.kid.as_str()),
            });
        }
    }
    Ok(found)
}

/// On a node: a renewal failed, and what is held until `until` goes on.
pub async fn fails<W: World>(
    world: &W,
    subject: &str,
    until: UnixTime,
    why: &str,
) -> Result<(), Unavailable> {
    let (mut troubles, expect) = troubles_of(world).await?;
    let now = world.clock().now();
    let mut why = why.to_owned();
    why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
    troubles.all.retain(|known| now < known.until || known.subject == subject);
    let is_full = troubles.all.len() >= TROUBLES_MAX;
    match troubles.all.iter_mut().find(|known| known.subject == subject) {
        Some(known) if known.until == until && known.why == why => return Ok(()),
        Some(known) => (known.until, known.why) = (until, why),
        None if is_full => return Ok(()),
        None => {
            troubles.all.push(Trouble { subject: subject.to_owned(), since: now, until, why });
        }
    }
    keep(world, &troubles, expect).await
}

/// On a node: it was renewed.
pub async fn mended<W: World>(world: &W, subject: &str) -> Result<(), Unavailable> {
    let (mut troubles, expect) = troubles_of(world).await?;
    let before = troubles.all.len();
    troubles.all.retain(|known| known.subject != subject);
    if troubles.all.len() == before { Ok(()) } else { keep(world, &troubles, expect).await }
}

/// On a node: which renewals fail.
pub async fn troubles<W: World>(world: &W) -> Result<Vec<Trouble>, Unavailable> {
    Ok(troubles_of(world).await?.0.all)
}

async fn troubles_of<W: World>(world: &W) -> Result<(Troubles, Expect), Unavailable> {
    let row = one::<W, Troubles>(world, Troubles::ID).await?;
    let expect = row.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
    Ok((row.map(|row| (*row.value).clone()).unwrap_or_default(), expect))
}

/// Who comes second is told of at the next try.
async fn keep<W: World>(world: &W, troubles: &Troubles, expect: Expect) -> Result<(), Unavailable> {
    let writes = vec![Write::put(troubles, expect)];
    let change = Change { writes, uses: Vec::new(), records: Vec::new() };
    settled(world.store().commit(change).await).map(|_| ())
}
