//! Our rings of signing keys: a key more, and what becomes of those that go (S1 §8).
//!
//! Not here: when one is due, and the certificates of authorities (`flow`).

use credential::authority::Schedule;
use credential::{AuthorityKey, KeyRing, Purpose};
use env::rows::Discarded;
use env::{
    Change, Entity, Expect, Handle, KeyFault, Keys, Receipt, Store, Stored, Unavailable, World,
    Write,
};
use jose::{KeyId, PublicKey};
use monitoring::{Event, Record};
use time::UnixTime;

use crate::facts::one;
use crate::record::begin;
use crate::sign;
use crate::turns::settled;

/// A key that was made now and signs from a later time on, as its ring has it.
pub fn key(
    handle: &Handle,
    public: &PublicKey,
    schedule: &Schedule,
    (now, signs_from): (UnixTime, UnixTime),
) -> Result<AuthorityKey, Unavailable> {
    let (signs_until, kept_until) = KeyRing::windows(schedule, signs_from);
    let kid = KeyId::parse(&handle.id).map_err(|error| Unavailable::of("keys", error))?;
    Ok(AuthorityKey {
        kid: kid.clone(),
        public: public.to_jwk().with_kid(kid),
        certificate: None,
        above: None,
        published: now,
        signs_from,
        signs_until,
        kept_until,
        holder: None,
        tainted: None,
    })
}

/// Puts a key that was made into its ring, under `record` where somebody ordered it. If another
/// server was first, the key is destroyed, and there is none.
pub async fn put<W: World>(
    world: &W,
    ring: Option<Stored<KeyRing>>,
    key: AuthorityKey,
    purpose: Purpose,
    now: UnixTime,
    record: Option<Record>,
) -> Result<Option<(Receipt, KeyRing)>, Unavailable> {
    let handle = sign::handle(purpose, &key);
    let (expect, old) = match &ring {
        Some(row) => (Expect::Version(row.version), (*row.value).clone()),
        None => (Expect::Absent, KeyRing::empty(purpose)),
    };
    let mut record = record.unwrap_or_else(|| begin(world, Event::KeyRotated));
    record.resource = Some(handle.to_string());
    let mut windows = serde_json::json!({
        "signs_from": key.signs_from.to_string(), "signs_until": key.signs_until.to_string(),
    });
    if let (Some(facts), Some(reason)) = (windows.as_object_mut(), record.facts.get("reason")) {
        facts.insert("reason".to_owned(), reason.clone());
    }
    record.facts = windows;
    let ring = old.with(key, now);
    let mut writes = vec![Write::put(&ring, expect)];
    writes.extend(discarded(world, &old, &ring).await?);
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    match settled(world.store().commit(change).await)? {
        Some(receipt) => Ok(Some((receipt, ring))),
        None => {
            discard(world, handle).await?;
            Ok(None)
        }
    }
}

/// Notes the keys that are in the ring no longer, to be written with it: nothing that they sign
/// would be believed, and [`forget`] destroys their private halves.
pub async fn discarded<W: World>(
    world: &W,
    old: &KeyRing,
    new: &KeyRing,
) -> Result<Option<Write>, Unavailable> {
    let gone = |key: &&AuthorityKey| {
        key.holder.is_none() && new.keys.iter().all(|kept| kept.kid != key.kid)
    };
    let gone = old.keys.iter().filter(gone).map(|key| sign::handle(old.purpose, key));
    let gone: Vec<_> = gone.collect();
    if gone.is_empty() { Ok(None) } else { noted(world, gone).await.map(Some) }
}

async fn noted<W: World>(world: &W, gone: Vec<Handle>) -> Result<Write, Unavailable> {
    let all = Discarded { keys: gone };
    let row = one::<W, Discarded>(world, &all.id()).await?;
    let expect = row.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
    let before = row.map(|row| row.keys.clone()).unwrap_or_default();
    Ok(Write::put(&Discarded { keys: [before, all.keys].concat() }, expect))
}

/// Destroys a key that is in no ring; one that the key store keeps for now is noted.
pub async fn discard<W: World>(world: &W, handle: Handle) -> Result<(), Unavailable> {
    if destroyed(world, &handle).await.is_ok() {
        return Ok(());
    }
    let writes = vec![noted(world, vec![handle]).await?];
    let change = Change { writes, uses: Vec::new(), records: Vec::new() };
    settled(world.store().commit(change).await).map(|_| ())
}

/// Destroys the private halves of the keys that no ring has any longer: those that the key store
/// does not let go stay noted for the next time.
pub async fn forget<W: World>(world: &W) -> Result<(), Unavailable> {
    let mut fault = None;
    for row in Discarded::ROWS {
        if let Err(why) = forget_those_of(world, row).await {
            fault = Some(why);
        }
    }
    fault.map_or(Ok(()), Err)
}

async fn forget_those_of<W: World>(world: &W, id: &str) -> Result<(), Unavailable> {
    let Some(row) = one::<W, Discarded>(world, id).await? else { return Ok(()) };
    let (mut left, mut fault) = (Vec::new(), None);
    for handle in &row.keys {
        if let Err(why) = destroyed(world, handle).await {
            left.push(handle.clone());
            fault = Some(why);
        }
    }
    if left.len() < row.keys.len() {
        let rest = Discarded { keys: left };
        let write = if rest.keys.is_empty() {
            Write::delete::<Discarded>(id, Expect::Version(row.version))
        } else {
            Write::put(&rest, Expect::Version(row.version))
        };
        let change = Change { writes: vec![write], uses: Vec::new(), records: Vec::new() };
        // Who comes second finds it done.
        settled(world.store().commit(change).await)?;
    }
    fault.map_or(Ok(()), Err)
}

async fn destroyed<W: World>(world: &W, handle: &Handle) -> Result<(), Unavailable> {
    match world.keys().destroy(handle).await {
        Ok(()) | Err(KeyFault::Unknown(_)) => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}
