//! Operators and our own signing keys: a new one before its time, one that is mistrusted, one that
//! nothing may be verified with any longer (S1 §8; CRED-11, PROV-06).
//!
//! A key goes in two steps, so that nobody is down: tainted, it signs no longer and is trusted on,
//! and every node replaces at once what it signed; revoked, it is trusted no longer.

use credential::authority::RingRefusal;
use credential::{KeyRing, Purpose};
use env::rows::{InForce, Taint, Taints};
use env::{Change, Clock, Expect, Key, Recorded, Store, Stored, Unavailable, World, Write};
use jose::KeyId;
use monitoring::{Event, Record};
use time::{Span, UnixTime};
use x509::Certificate;

use crate::issuing;
use crate::record::{begin, refused};
use crate::turns::{Operator, overtaken, settled};
use crate::turns::{TRIES_MAX, pause};
use crate::workload::{hex, signer_of, taints};
use crate::{rings, rotate};

/// Why a key stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its ring says no.
    #[error(transparent)]
    Ring(#[from] RingRefusal),
    /// A ring without a schedule.
    #[error("keys of this purpose are not rotated")]
    NotRotated,
    /// It would begin to sign after the keys that follow it by themselves.
    #[error("a key is not prepared for more than {} s ahead", .longest.seconds())]
    TooFar {
        /// How long policy publishes keys ahead.
        longest: Span,
    },
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Ring(RingRefusal::Unknown { .. }) => "authority::Unknown",
            Self::Ring(RingRefusal::Delegated { .. }) => "authority::Delegated",
            Self::Ring(RingRefusal::Tainted { .. }) => "authority::Tainted",
            Self::Ring(RingRefusal::NoOther { .. }) => "authority::NoOther",
            Self::Ring(RingRefusal::NotTainted { .. }) => "authority::NotTainted",
            Self::NotRotated => "authority::NotRotated",
            Self::TooFar { .. } => "authority::TooFar",
        }
    }
}

/// An order's end; recorded either way.
pub type Done = Result<Recorded<Result<KeyRing, Refusal>>, Unavailable>;

/// What is done to a key of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It signs no longer. `urgent`: although no other key is ready.
    Taint {
        /// Whether the next key is to begin, or to be made, at once.
        urgent: bool,
    },
    /// It is trusted no longer.
    Revoke,
}

impl Act {
    const fn action(self) -> &'static str {
        match self {
            Self::Taint { .. } => "authority.taint",
            Self::Revoke => "authority.revoke",
        }
    }
}

/// Makes a key that is published now and signs after `lead`; the one before hands over then.
pub async fn rotate<W: World>(
    world: &W,
    operator: &Operator,
    purpose: Purpose,
    lead: Option<Span>,
    reason: String,
) -> Done {
    if !Purpose::ROTATED.contains(&purpose) {
        let refusal = Refusal::NotRotated;
        return refuse(world, operator, "authority.rotate", purpose.name(), refusal).await;
    }
    for turn in 0..TRIES_MAX {
        let (ring, policy) = ring(world, purpose).await?;
        let domain = policy.set.domain();
        let now = issuing::now_within(world, domain.bounds.clock_skew)?;
        let longest = domain.lifetimes.schedule(purpose).ahead;
        let lead = lead.unwrap_or(longest);
        if lead > longest {
            let refusal = Refusal::TooFar { longest };
            return refuse(world, operator, "authority.rotate", purpose.name(), refusal).await;
        }
        let mut record = ordered(world, operator, "authority.rotate", &reason);
        record.policy = Some(policy.set.version().as_str().to_owned());
        let making = rotate::Making {
            purpose,
            signs_from: now.plus(lead),
            now,
            origin: policy.set.origin(),
            below: domain.nested.levels,
        };
        let names = rotate::own_names(world);
        let made =
            rotate::make(world, &making, ring, &domain.lifetimes, &names, Some(record)).await?;
        if let Some((receipt, ring)) = made {
            rotate::publish(world, now).await?;
            forget(world).await;
            return Ok(Recorded::new(Ok(ring), &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Taints or revokes the key `kid`, whichever of our rings has it.
pub async fn act<W: World>(
    world: &W,
    operator: &Operator,
    kid: &KeyId,
    act: Act,
    reason: String,
) -> Done {
    for turn in 0..TRIES_MAX {
        let Some(purpose) = purpose_of(world, kid).await? else {
            let refusal = RingRefusal::Unknown { kid: kid.clone() }.into();
            return refuse(world, operator, act.action(), kid.as_str(), refusal).await;
        };
        let (stored, policy) = ring(world, purpose).await?;
        let now = issuing::now_within(world, policy.set.domain().bounds.clock_skew)?;
        let Some(stored) = stored else { return Err(overtaken()) };
        let decided = match act {
            Act::Taint { urgent } => stored.taint(kid, urgent, now),
            Act::Revoke => stored.revoke(kid),
        };
        let changed = match decided {
            Ok(changed) => changed,
            Err(refusal) => {
                return refuse(world, operator, act.action(), kid.as_str(), refusal.into()).await;
            }
        };
        let taints = world.store().snapshot(&[Key::of::<Taints>(Taints::ID)]).await?;
        let taints = taints.get::<Taints>(Taints::ID)?;
        let mut record = ordered(world, operator, act.action(), &reason);
        record.resource = Some(format!("{}/{}", purpose.name(), kid.as_str()));
        record.policy = Some(policy.set.version().as_str().to_owned());
        let mut change = Change::record(record);
        let expect = Expect::Version(stored.version);
        // A ring on demand that has no key is made again when somebody asks.
        let goes = purpose.is_on_demand() && changed.keys.is_empty();
        change.writes.push(match goes {
            true => Write::delete::<KeyRing>(purpose.name(), expect),
            false => Write::put(&changed, expect),
        });
        change.writes.push(tainted(taints, taint_of(&stored, kid)?, now));
        change.writes.extend(rings::discarded(world, &stored, &changed).await?);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            // A key that is to sign at once is made at once; the bundle says the rest.
            rotate::due(world, purpose, &rotate::own_names(world)).await?;
            rotate::publish(world, now).await?;
            forget(world).await;
            return Ok(Recorded::new(Ok(changed), &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Destroys what is no longer needed. A key store that does not let go now is asked again by the
/// job that rotates keys: the order itself is done, and published.
async fn forget<W: World>(world: &W) {
    let _ = rotate::forget(world).await;
}

/// The row of mistrusted keys with this one. A revoked key stays there until nothing that it signed
/// lives: a node that was away has not replaced it yet.
fn tainted(row: Option<Stored<Taints>>, taint: Taint, now: UnixTime) -> Write {
    let mut taints = row.as_ref().map(|row| (*row.value).clone()).unwrap_or_default();
    taints.keys.retain(|known| known.key != taint.key && now < known.until);
    taints.keys.push(taint);
    let expect = row.map_or(Expect::Absent, |row| Expect::Version(row.version));
    Write::put(&taints, expect)
}

/// The key as what it signed names it, and how long that may live.
fn taint_of(ring: &KeyRing, kid: &KeyId) -> Result<Taint, Unavailable> {
    let key = ring.keys.iter().find(|key| key.kid == *kid).ok_or_else(overtaken)?;
    let name = match &key.certificate {
        Some(_) => hex(crate::sign::authority(key)?.subject_key_id().unwrap_or_default()),
        None => kid.as_str().to_owned(),
    };
    Ok(Taint { key: name, until: key.kept_until })
}

async fn ring<W: World>(
    world: &W,
    purpose: Purpose,
) -> Result<(Option<Stored<KeyRing>>, Stored<InForce>), Unavailable> {
    let keys = [Key::of::<KeyRing>(purpose.name()), Key::of::<InForce>(InForce::ID)];
    let rows = world.store().snapshot(&keys).await?;
    let policy = rows.get::<InForce>(InForce::ID)?;
    let policy = policy.ok_or_else(|| Unavailable::of("store", "no policy is in force yet"))?;
    Ok((rows.get::<KeyRing>(purpose.name())?, policy))
}

async fn purpose_of<W: World>(world: &W, kid: &KeyId) -> Result<Option<Purpose>, Unavailable> {
    let keys = Purpose::ROTATED.map(|purpose| Key::of::<KeyRing>(purpose.name()));
    let rows = world.store().snapshot(&keys).await?;
    for purpose in Purpose::ROTATED {
        let ring = rows.get::<KeyRing>(purpose.name())?;
        if ring.is_some_and(|ring| ring.keys.iter().any(|key| key.kid == *kid)) {
            return Ok(Some(purpose));
        }
    }
    Ok(None)
}

fn ordered<W: World>(world: &W, operator: &Operator, action: &str, reason: &str) -> Record {
    let mut record = begin(world, Event::KeyRotated);
    record.action = action.to_owned();
    record.operator = Some(operator.0.clone());
    record.facts = serde_json::json!({ "reason": reason });
    record
}

async fn refuse<W: World>(
    world: &W,
    operator: &Operator,
    action: &str,
    named: &str,
    refusal: Refusal,
) -> Done {
    let mut record = ordered(world, operator, action, "");
    record.resource = Some(named.to_owned());
    refused(&mut record, refusal.check(), &refusal, None);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(Err(refusal), &receipt))
}

/// The shortest pause between two looks where a store changes all the time, and where it fails.
const LOOK_MIN: Span = Span::from_seconds(1);

/// Ends when the key that signed the leaf of this chain is mistrusted: it waits for the store to
/// change, and looks at nothing meanwhile.
pub async fn until_mistrusted<W: World>(world: &W, chain: &[Vec<u8>]) {
    loop {
        // Read before the look: what is written meanwhile is after it.
        let rows = world.store().snapshot(&[Key::of::<Taints>(Taints::ID)]).await;
        if is_mistrusted(world, chain).await {
            return;
        }
        if let Ok(rows) = rows {
            world.store().past(rows.seq).await;
            if is_mistrusted(world, chain).await {
                return;
            }
        }
        world.clock().sleep(LOOK_MIN).await;
    }
}

/// Whether the leaf of this chain, a component's own, was signed by a key that is mistrusted: then
/// it is to be renewed at once. What cannot be found out now is asked again soon.
pub async fn is_mistrusted<W: World>(world: &W, chain: &[Vec<u8>]) -> bool {
    let Some(leaf) = chain.first().and_then(|der| Certificate::parse(der).ok()) else {
        return false;
    };
    taints(world).await.is_ok_and(|taints| taints.has(&signer_of(&leaf)))
}
