//! What an authority above publishes, followed: new roots before anything hangs on them, and of a
//! server also its keys, and what it drops or mistrusts; ours are announced to it (CRED-12).

use credential::{AuthorityKey, KeyRing, Purpose, x509_intermediate};
use env::rows::{KeyAbove, RootTainted, SuperiorRow};
use env::{
    Change, Expect, Key, Store, Superior, SuperiorKey, SuperiorTrust, Unavailable, World, Write,
};
use jose::{KeyId, PublicKey};
use monitoring::{Event, Outcome};
use time::{Span, UnixTime};
use x509::Certificate;

use super::{Fault, answered, failed, named, waits};
use crate::authorities::{self, Act};
use crate::record::begin;
use crate::turns::{Operator, settled};

/// The most keys of an authority above that are published here.
const KEYS_MAX: usize = 32;
/// The purposes whose keys a server above publishes for the whole trust domain.
const ANNOUNCED: [Purpose; 2] = [Purpose::JwtSvid, Purpose::Wit];
/// In whose name keys of ours are tainted that hang on a root which is mistrusted above.
const ABOVE: &str = "upstream authority";

/// Looks what it trusts: a new root is published before anything is signed below it. One that a
/// company drops is published on while an intermediate of ours stands below; one that a server
/// drops or taints is followed at once, as it speaks for the whole trust domain.
pub(crate) async fn refresh<W: World>(
    world: &W,
    superior: &dyn Superior,
    now: UnixTime,
) -> Result<(), Unavailable> {
    if waits(world, now).await?.is_some() {
        return Ok(());
    }
    let found = superior.trust().await.map_err(Fault::from);
    let read = found.and_then(|trust| {
        let roots = x509_intermediate::read_roots(&trust.roots)?;
        Ok((trust, roots))
    });
    let (trust, roots) = match read {
        Ok(read) => read,
        Err(fault) => return failed(world, superior, &fault, false, now).await.map(|_| ()),
    };
    if superior.is_server()
        && let Err(why) = leave(world, superior, (&trust, &roots), now).await?
    {
        return failed(world, superior, &why.into(), true, now).await.map(|_| ());
    }
    let rows = world.store().snapshot(&keys()).await?;
    let row = rows.get::<SuperiorRow>(SuperiorRow::ID)?;
    let mut told = named(superior, row.as_deref());
    told.keys = read_keys(&trust);
    told.tainted = tainted(&trust, &told.tainted, now);
    let mut change = Change::default();
    if let Some(stored) = rows.get::<KeyRing>(Purpose::X509Authority.name())? {
        let mut ring = (*stored.value).clone();
        if superior.is_server() {
            drop_roots(&mut ring, &roots);
        }
        add_roots(&mut ring, &roots, now);
        if ring != *stored.value {
            change.writes.push(Write::put(&ring, Expect::Version(stored.version)));
        }
    }
    if row.as_deref().is_none_or(|row| (&row.keys, &row.tainted) != (&told.keys, &told.tainted)) {
        let expect = row.map_or(Expect::Absent, |row| Expect::Version(row.version));
        change.writes.push(Write::put(&told, expect));
    }
    if !change.writes.is_empty() {
        let mut record = begin(world, Event::KeyRotated);
        record.action = "superior.roots".to_owned();
        record.outcome = Outcome::Permitted;
        record.resource = Some(superior.name().to_owned());
        record.facts = serde_json::json!({
            "roots": roots.len(), "tainted": told.tainted.len(), "keys": told.keys.len(),
        });
        change.records.push(record);
        settled(world.store().commit(change).await)?;
    }
    answered(world, superior, false).await
}

fn keys() -> [Key; 2] {
    let ring = Key::of::<KeyRing>(Purpose::X509Authority.name());
    [ring, Key::of::<SuperiorRow>(SuperiorRow::ID)]
}

/// Replaces the authorities of ours that hang on a root which is mistrusted or was dropped: another
/// is had first, then they are tainted. Before it is told on, so that a server below us that
/// follows finds the new one.
async fn leave<W: World>(
    world: &W,
    superior: &dyn Superior,
    (trust, roots): (&SuperiorTrust, &[Certificate]),
    now: UnixTime,
) -> Result<Result<(), Unavailable>, Unavailable> {
    let purpose = Purpose::X509Authority;
    let rows = world.store().snapshot(&keys()).await?;
    let row = rows.get::<SuperiorRow>(SuperiorRow::ID)?;
    let Some(ring) = rows.get::<KeyRing>(purpose.name())? else { return Ok(Ok(())) };
    let tainted = tainted(trust, &named(superior, row.as_deref()).tainted, now);
    let mistrusted = mistrusted_of(&ring, roots, &tainted);
    if mistrusted.is_empty() {
        return Ok(Ok(()));
    }
    let operator = Operator(ABOVE.to_owned());
    let reason = || "the root above it is mistrusted or was dropped".to_owned();
    let made = authorities::rotate(world, &operator, purpose, Some(Span::ZERO), reason()).await;
    if let Err(why) = made {
        return Ok(Err(why));
    }
    for kid in mistrusted {
        let act = Act::Taint { urgent: false };
        authorities::act(world, &operator, &kid, act, reason()).await?;
    }
    Ok(Ok(()))
}

/// Adds the roots that nothing hangs on yet to the newest intermediate.
fn add_roots(ring: &mut KeyRing, roots: &[Certificate], now: UnixTime) {
    let newest = ring.keys.iter_mut().filter(|key| key.holder.is_none());
    let above = newest.max_by_key(|key| key.signs_until).and_then(|key| key.above.as_mut());
    let Some(above) = above else { return };
    for root in roots.iter().filter(|root| now < root.not_after()) {
        let is_known = above.roots.iter().any(|known| known == root.der());
        if !is_known && above.roots.len() < x509_intermediate::ROOTS_MAX {
            above.roots.push(root.der().to_vec());
        }
    }
}

/// Takes out what a server publishes no longer.
fn drop_roots(ring: &mut KeyRing, roots: &[Certificate]) {
    for above in ring.keys.iter_mut().filter_map(|key| key.above.as_mut()) {
        above.roots.retain(|known| roots.iter().any(|root| root.der() == known));
    }
}

/// The roots that are mistrusted now, each since when that is known.
fn tainted(trust: &SuperiorTrust, before: &[RootTainted], now: UnixTime) -> Vec<RootTainted> {
    let named =
        trust.tainted.iter().filter_map(|der| Some(root_id(&Certificate::parse(der).ok()?)));
    named
        .take(x509_intermediate::ROOTS_MAX)
        .map(|root| {
            let known = before.iter().find(|known| known.root == root);
            known.cloned().unwrap_or(RootTainted { root, since: now })
        })
        .collect()
}

/// What a root is called here: its key.
pub(crate) fn root_id(root: &Certificate) -> String {
    let key = PublicKey::from_spki_der(root.spki_der());
    key.map(|key| key.thumbprint().to_base64url()).unwrap_or_default()
}

/// The keys of ours that hang on no good root: on one that was dropped, or that was tainted after
/// they were certified. What cannot be told is left alone.
fn mistrusted_of(ring: &KeyRing, roots: &[Certificate], tainted: &[RootTainted]) -> Vec<KeyId> {
    let hangs_badly = |key: &&AuthorityKey| {
        let Some(above) = key.above.as_ref().filter(|_| key.tainted.is_none()) else {
            return false;
        };
        let last = above.issuers.last().or(key.certificate.as_ref());
        let Some(last) = last.and_then(|der| Certificate::parse(der).ok()) else { return false };
        let known = above.roots.iter().filter_map(|der| Certificate::parse(der).ok());
        let mut hangs_on = known.filter(|root| last.verify_signed_by(root).is_ok()).peekable();
        let is_bad = |root: Certificate| {
            let since = tainted.iter().find(|one| one.root == root_id(&root)).map(|one| one.since);
            let is_dropped = roots.iter().all(|one| one.der() != root.der());
            is_dropped || since.is_some_and(|since| key.published < since)
        };
        hangs_on.peek().is_some() && hangs_on.all(is_bad)
    };
    ring.keys.iter().filter(hangs_badly).map(|key| key.kid.clone()).collect()
}

/// The keys that can be published on. What is of another kind is left out: a peer that meets it
/// does not know it.
fn read_keys(trust: &SuperiorTrust) -> Vec<KeyAbove> {
    let known = trust.keys.iter().filter(|key| ANNOUNCED.contains(&key.purpose));
    let read = known.filter_map(|key| {
        let kid = KeyId::parse(&key.kid).ok()?;
        let public = PublicKey::from_spki_der(&key.spki_der).ok()?.to_jwk().with_kid(kid.clone());
        Some(KeyAbove { purpose: key.purpose, public, kid, until: key.until })
    });
    read.take(KEYS_MAX).collect()
}

/// Has a server above publish the keys that tokens below it are verified with, ours and those of
/// servers below us.
pub(crate) async fn announce<W: World>(world: &W, now: UnixTime) -> Result<(), Unavailable> {
    let Some(superior) = world.superior().filter(|superior| superior.is_server()) else {
        return Ok(());
    };
    if waits(world, now).await?.is_some() {
        return Ok(());
    }
    let mut keys: Vec<_> =
        ANNOUNCED.iter().map(|purpose| Key::of::<KeyRing>(purpose.name())).collect();
    keys.push(Key::of::<SuperiorRow>(SuperiorRow::ID));
    let rows = world.store().snapshot(&keys).await?;
    let row = rows.get::<SuperiorRow>(SuperiorRow::ID)?;
    let mut told = named(superior, row.as_deref());
    let mut added = Vec::new();
    for purpose in ANNOUNCED {
        let Some(ring) = rows.get::<KeyRing>(purpose.name())? else { continue };
        for key in ring.published(now) {
            if told.keys.iter().any(|known| known.kid == key.kid) {
                continue;
            }
            let public = key.public.verification_key();
            let public = public.map_err(|error| Unavailable::of("store", error))?;
            let order = SuperiorKey {
                purpose,
                kid: key.kid.as_str().to_owned(),
                spki_der: public.spki_der().to_vec(),
                until: Some(key.kept_until),
            };
            if let Err(fault) = superior.announce(order).await {
                return failed(world, superior, &fault.into(), false, now).await.map(|_| ());
            }
            let (public, until) = (key.public.clone(), Some(key.kept_until));
            told.keys.push(KeyAbove { purpose, public, kid: key.kid.clone(), until });
            added.push(format!("{}/{}", purpose.name(), key.kid.as_str()));
        }
    }
    if added.is_empty() {
        return Ok(());
    }
    let mut record = begin(world, Event::KeyRotated);
    record.action = "superior.announce".to_owned();
    record.outcome = Outcome::Permitted;
    record.resource = Some(superior.name().to_owned());
    record.facts = serde_json::json!({ "keys": added });
    let expect = row.map_or(Expect::Absent, |row| Expect::Version(row.version));
    let writes = vec![Write::put(&told, expect)];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    settled(world.store().commit(change).await).map(|_| ())
}
