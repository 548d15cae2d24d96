//! Our signing keys, rotated by overlap: a job that any server may run at any time (S1 §8).

use credential::authority::Step;
use credential::policy::Lifetimes;
use credential::x509_authority::{self, Role};
use credential::{AuthorityKey, KeyRing, Purpose};
use env::rows::{DomainEpoch, InForce, TrustRow};
use env::{
    Change, Clock, Entropy, Expect, Handle, Key, Keys, Receipt, Store, Stored, Unavailable, World,
    Write,
};
use jose::{KeyId, PublicKey};
use monitoring::{Event, Record};
use spiffe::{Bundle, TrustDomain};
use spiffe::{BundleKey, SpiffeId};
use time::{Span, UnixTime};

use crate::agents::settled;
use crate::issuing;
use crate::record::begin;
use crate::sign::{self, ALGORITHM, CERTIFICATE_ALGORITHM};

/// How often peers are told to look at our bundle.
const REFRESH_HINT: Span = Span::from_seconds(300);
/// The longest pause between two looks at the rings.
const LOOK_AGAIN: Span = Span::from_seconds(600);

/// Does what is due, and says when to look again.
pub async fn step<W: World>(world: &W, web_names: &[String]) -> Result<UnixTime, Unavailable> {
    let now = world.clock().now();
    let mut again = now.plus(LOOK_AGAIN);
    for purpose in Purpose::ROTATED {
        if let Some(until) = due(world, purpose, web_names).await? {
            again = again.min(until);
        }
    }
    publish(world, now).await?;
    Ok(again)
}

/// Makes a key of this purpose if one is due; otherwise says when to look again.
pub(crate) async fn due<W: World>(
    world: &W,
    purpose: Purpose,
    web_names: &[String],
) -> Result<Option<UnixTime>, Unavailable> {
    let keys = [
        Key::of::<KeyRing>(purpose.name()),
        Key::of::<InForce>(InForce::ID),
        Key::of::<DomainEpoch>(DomainEpoch::ID),
    ];
    let rows = world.store().snapshot(&keys).await?;
    let Some(policy) = rows.get::<InForce>(InForce::ID)? else {
        return Err(Unavailable::of("store", "no policy is in force yet"));
    };
    let domain = policy.set.domain();
    let now = issuing::now_within(world, domain.bounds.clock_skew)?;
    let ring = rows.get::<KeyRing>(purpose.name())?;
    let current = ring.as_ref().map_or_else(|| KeyRing::empty(purpose), |row| (*row.value).clone());
    let schedule = domain.lifetimes.schedule(purpose);
    match current.next(&schedule, now) {
        Step::Wait(until) => Ok(Some(until)),
        Step::Make { signs_from } => {
            let making = Making { purpose, signs_from, now, domain: &domain.trust_domain };
            make(world, &making, ring, &domain.lifetimes, web_names, None).await?;
            Ok(None)
        }
    }
}

/// A key that is to be made.
pub(crate) struct Making<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) signs_from: UnixTime,
    pub(crate) now: UnixTime,
    pub(crate) domain: &'a TrustDomain,
}

/// Makes a key and puts it into its ring, under `record` where somebody ordered it. If another
/// server was first, ours is destroyed.
pub(crate) async fn make<W: World>(
    world: &W,
    making: &Making<'_>,
    ring: Option<Stored<KeyRing>>,
    lifetimes: &Lifetimes,
    web_names: &[String],
    record: Option<Record>,
) -> Result<Option<(Receipt, KeyRing)>, Unavailable> {
    let (handle, public) = world.keys().generate(making.purpose, ALGORITHM).await?;
    let schedule = lifetimes.schedule(making.purpose);
    let (signs_until, kept_until) = KeyRing::windows(&schedule, making.signs_from);
    let role = match making.purpose {
        Purpose::X509Authority => Some(Role::TrustDomain(making.domain)),
        Purpose::WebAuthority => Some(Role::Web(web_names)),
        _ => None,
    };
    let certificate = match role {
        Some(role) => {
            Some(self_signed(world, &handle, &public, &role, making.now, kept_until).await?)
        }
        None => None,
    };
    let kid = KeyId::parse(&handle.id).map_err(|error| Unavailable::of("keys", error))?;
    let key = AuthorityKey {
        kid: kid.clone(),
        public: public.to_jwk().with_kid(kid),
        certificate,
        published: making.now,
        signs_from: making.signs_from,
        signs_until,
        kept_until,
        holder: None,
        tainted: None,
    };
    let (expect, old) = match &ring {
        Some(row) => (Expect::Version(row.version), (*row.value).clone()),
        None => (Expect::Absent, KeyRing::empty(making.purpose)),
    };
    let mut record = record.unwrap_or_else(|| begin(world, Event::KeyRotated));
    record.resource = Some(handle.to_string());
    let mut windows = serde_json::json!({
        "signs_from": making.signs_from.to_string(), "signs_until": signs_until.to_string(),
    });
    if let (Some(facts), Some(reason)) = (windows.as_object_mut(), record.facts.get("reason")) {
        facts.insert("reason".to_owned(), reason.clone());
    }
    record.facts = windows;
    let ring = old.with(key, making.now);
    let writes = vec![Write::put(&ring, expect)];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    match settled(world.store().commit(change).await)? {
        Some(receipt) => {
            forget(world, &old, &ring).await?;
            Ok(Some((receipt, ring)))
        }
        None => {
            world.keys().destroy(&handle).await?;
            Ok(None)
        }
    }
}

/// Destroys the private halves of the keys that are in the ring no longer: nothing that they sign
/// would be believed.
pub(crate) async fn forget<W: World>(
    world: &W,
    old: &KeyRing,
    new: &KeyRing,
) -> Result<(), Unavailable> {
    let gone = |key: &&AuthorityKey| {
        key.holder.is_none() && new.keys.iter().all(|kept| kept.kid != key.kid)
    };
    for key in old.keys.iter().filter(gone) {
        world.keys().destroy(&sign::handle(old.purpose, key)).await?;
    }
    Ok(())
}

async fn self_signed<W: World>(
    world: &W,
    handle: &Handle,
    public: &PublicKey,
    role: &Role<'_>,
    now: UnixTime,
    until: UnixTime,
) -> Result<Vec<u8>, Unavailable> {
    let random = world.entropy().public();
    let checked =
        x509_authority::build(role, public.spki_der(), random, now, until, CERTIFICATE_ALGORITHM)
            .map_err(|fault| Unavailable::of("keys", fault))?;
    Ok(sign::certificate(world, handle, checked).await?.into_bytes())
}

/// Makes the bundle of our trust domain out of the rings, if it changed.
pub async fn publish<W: World>(world: &W, now: UnixTime) -> Result<(), Unavailable> {
    let purposes = [Purpose::X509Authority, Purpose::JwtSvid, Purpose::Wit];
    let mut keys: Vec<_> =
        purposes.iter().map(|purpose| Key::of::<KeyRing>(purpose.name())).collect();
    keys.push(Key::of::<TrustRow>(TrustRow::ID));
    keys.push(Key::of::<InForce>(InForce::ID));
    let rows = world.store().snapshot(&keys).await?;
    let Some(policy) = rows.get::<InForce>(InForce::ID)? else { return Ok(()) };
    let own = policy.set.domain().trust_domain.clone();
    let mut parts: [Vec<AuthorityKey>; 3] = Default::default();
    for (part, purpose) in parts.iter_mut().zip(purposes) {
        let ring = rows.get::<KeyRing>(purpose.name())?;
        part.extend(ring.iter().flat_map(|ring| ring.published(now).cloned()));
    }
    let old = rows.get::<TrustRow>(TrustRow::ID)?;
    let before = old.as_ref().and_then(|row| row.bundles.get(&own));
    let sequence = before.and_then(Bundle::sequence).unwrap_or_default();
    let unchanged = bundle(&parts, sequence)?;
    if before == Some(&unchanged) {
        return Ok(());
    }
    let bundle = bundle(&parts, sequence + 1)?;
    // What others are trusted by stays as it is.
    let row = match &old {
        Some(row) => row.with(own, bundle),
        None => TrustRow::of_own(own, bundle),
    };
    let expect = old.map_or(Expect::Absent, |row| Expect::Version(row.version));
    let mut record = begin(world, Event::KeyRotated);
    record.action = "bundle.publish".to_owned();
    record.facts = serde_json::json!({ "sequence": sequence + 1 });
    let writes = vec![Write::put(&row, expect)];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    settled(world.store().commit(change).await).map(|_| ())
}

fn bundle(parts: &[Vec<AuthorityKey>; 3], sequence: u64) -> Result<Bundle, Unavailable> {
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("store", error);
    let [x509, jwt, wit] = parts;
    let x509 = x509.iter().map(sign::authority).collect::<Result<Vec<_>, _>>()?;
    let keys = |ring: &[AuthorityKey]| {
        ring.iter()
            .map(|key| {
                let public = key.public.verification_key().map_err(|error| fault(&error))?;
                let public = public.for_algorithm(ALGORITHM).map_err(|error| fault(&error))?;
                Ok(BundleKey { kid: key.kid.clone(), key: public })
            })
            .collect::<Result<Vec<_>, Unavailable>>()
    };
    Bundle::new(sequence, REFRESH_HINT, x509, keys(jwt)?, keys(wit)?).map_err(|error| fault(&error))
}

/// The identifier of the server itself.
pub fn server_id(domain: &TrustDomain) -> Result<SpiffeId, Unavailable> {
    SpiffeId::parse(&format!("spiffe://{domain}/aims/server"))
        .map_err(|error| Unavailable::of("store", error))
}
