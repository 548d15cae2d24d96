//! What is signed for clients: ID tokens (OpenID Connect Core 1.0 §2), logout tokens, signed
//! answers (JARM, RFC 9701), each by the algorithm that the client registered. An algorithm has a
//! ring of keys of its own; save the usual one, it has its first key when somebody asks for one
//! (docs/decisions/0021-one-ring-an-algorithm.md).
//!
//! Not here: what a client registered (`registry`), and when the next key is due (`flow`).

use credential::{KeyRing, Purpose};
use env::{CannotMake, Change, Clock, Expect, Handle, Key, Keys, Snapshot, Store};
use env::{Stored, Unavailable, World, Write};
use jose::{Algorithm, KeyId};
use time::{Span, UnixTime};

use crate::facts::{Basis, basis, one};
use crate::issuing;
use crate::rings;
use crate::sign;
use crate::turns::{overtaken, settled};

/// What ID tokens of ours may be signed by.
pub const ALGORITHMS: [Algorithm; 4] = {
    let [one, two, three, four] = Purpose::FOR_CLIENTS;
    [one.algorithm(), two.algorithm(), three.algorithm(), four.algorithm()]
};

/// How long is waited between two looks whether another one made the first key.
const LOOK_EVERY: Span = Span::from_millis(50);
/// After so many looks, 10 s, it is made here: who began it may have ended. An RSA key takes some
/// hundred milliseconds of a processor, on one that is busy some seconds.
const LOOKS_MAX: u32 = 200;

/// A key that signs for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The key.
    pub handle: Handle,
    /// Its `kid`.
    pub kid: KeyId,
    /// What it signs by.
    pub algorithm: Algorithm,
}

impl Signer {
    fn of(ring: &KeyRing, now: UnixTime) -> Result<Self, Unavailable> {
        let key = sign::signer(ring, now)?;
        let handle = sign::handle(ring.purpose, key);
        Ok(Self { handle, kid: key.kid.clone(), algorithm: ring.purpose.algorithm() })
    }
}

/// The key that signs by `algorithm` now. Of the rows that were read for the request, that of the
/// usual ring is used; a ring that is used less is read here, and has a key when this answers.
pub async fn signer<W: World>(
    world: &W,
    rows: &Snapshot,
    algorithm: Algorithm,
    now: UnixTime,
) -> Result<Signer, Unavailable> {
    let purpose = Purpose::for_clients(algorithm).ok_or_else(|| no_ring(algorithm))?;
    if !purpose.is_on_demand() {
        let missing = || Unavailable::of("store", format!("no {} keys yet", purpose.name()));
        return Signer::of(&*rows.get::<KeyRing>(purpose.name())?.ok_or_else(missing)?, now);
    }
    let ring = one::<W, KeyRing>(world, purpose.name()).await?;
    if let Some(ring) = ring.filter(|ring| ring.signer(now).is_some()) {
        return Signer::of(&ring, now);
    }
    // It ended while nobody rotated it, or an operator revoked it.
    if let Err(cannot) = Box::pin(ready(world, algorithm)).await? {
        return Err(Unavailable::of("keys", cannot));
    }
    let ring = one::<W, KeyRing>(world, purpose.name()).await?;
    Signer::of(&*ring.ok_or_else(|| no_ring(algorithm))?, world.clock().now())
}

/// The ring that a token of ours by `algorithm` is verified with; without keys where there is none.
pub async fn ring<W: World>(world: &W, algorithm: Algorithm) -> Result<KeyRing, Unavailable> {
    let purpose = Purpose::for_clients(algorithm).unwrap_or(Purpose::IdToken);
    let ring = one::<W, KeyRing>(world, purpose.name()).await?;
    Ok(ring.map_or_else(|| KeyRing::empty(purpose), |ring| (*ring.value).clone()))
}

/// What can be signed by here, the usual first.
pub fn offered<W: World>(world: &W) -> impl Iterator<Item = Algorithm> {
    let made = |purpose: &Purpose| {
        !purpose.is_on_demand() || world.keys().makes(*purpose, purpose.algorithm()).is_ok()
    };
    Purpose::FOR_CLIENTS.into_iter().filter(made).map(Purpose::algorithm)
}

/// Makes sure that there is a key which signs by `algorithm`, published, before a client is told
/// that it may rely on one. Of all that ask at once, one makes it.
pub async fn ready<W: World>(
    world: &W,
    algorithm: Algorithm,
) -> Result<Result<(), CannotMake>, Unavailable> {
    let purpose = Purpose::for_clients(algorithm).ok_or_else(|| no_ring(algorithm))?;
    if !purpose.is_on_demand() {
        return Ok(Ok(()));
    }
    let mut is_ours_to_make = false;
    for look in 0..=2 * LOOKS_MAX {
        let facts = basis(world, vec![Key::of::<KeyRing>(purpose.name())]).await?;
        let now = issuing::now(world, &facts)?;
        let ring = facts.rows.get::<KeyRing>(purpose.name())?;
        if ring.as_ref().is_some_and(|ring| ring.signer(now).is_some()) {
            return Ok(Ok(()));
        }
        if let Err(cannot) = world.keys().makes(purpose, algorithm) {
            return Ok(Err(cannot));
        }
        match ring {
            None => is_ours_to_make = begun(world, purpose).await?,
            Some(ring) if is_ours_to_make || look >= LOOKS_MAX => {
                make(world, &facts, ring, now).await?;
            }
            Some(_) => world.clock().sleep(LOOK_EVERY).await,
        }
    }
    Err(overtaken())
}

/// Takes away the rings whose first key a server that has ended was making, so that nobody waits
/// for it. If another one makes it, it begins again.
pub async fn abandoned<W: World>(world: &W) -> Result<(), Unavailable> {
    for purpose in Purpose::FOR_CLIENTS.into_iter().filter(|purpose| purpose.is_on_demand()) {
        let ring = one::<W, KeyRing>(world, purpose.name()).await?;
        let Some(ring) = ring.filter(|ring| ring.keys.is_empty()) else { continue };
        let expect = Expect::Version(ring.version);
        let writes = vec![Write::delete::<KeyRing>(purpose.name(), expect)];
        let change = Change { writes, uses: Vec::new(), records: Vec::new() };
        settled(world.store().commit(change).await)?;
    }
    Ok(())
}

/// A ring without a key says that somebody makes its first one; false where another one said so.
async fn begun<W: World>(world: &W, purpose: Purpose) -> Result<bool, Unavailable> {
    let writes = vec![Write::put(&KeyRing::empty(purpose), Expect::Absent)];
    let change = Change { writes, uses: Vec::new(), records: Vec::new() };
    Ok(settled(world.store().commit(change).await)?.is_some())
}

async fn make<W: World>(
    world: &W,
    facts: &Basis,
    ring: Stored<KeyRing>,
    now: UnixTime,
) -> Result<(), Unavailable> {
    let purpose = ring.purpose;
    let (handle, public) = world.keys().generate(purpose, purpose.algorithm()).await?;
    let schedule = facts.set().domain().lifetimes.schedule(purpose);
    let key = rings::key(&handle, &public, &schedule, (now, now))?;
    rings::put(world, Some(ring), key, purpose, now, None).await.map(|_| ())
}

fn no_ring(algorithm: Algorithm) -> Unavailable {
    Unavailable::of("keys", format!("nothing is signed for clients by {algorithm}"))
}
