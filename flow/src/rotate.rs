//! Our signing keys, rotated by overlap: a job that any server may run at any time (S1 §8).

use std::collections::BTreeSet;

use credential::authority::{Schedule, Step};
use credential::policy::Lifetimes;
use credential::x509_authority::{self, Role};
use credential::{AuthorityKey, KeyRing, Purpose};
use env::rows::{DomainEpoch, InForce, KeyAbove, SuperiorRow, Taints, TrustRow};
use env::{
    Change, Clock, Entropy, Expect, Handle, Key, Keys, Receipt, Snapshot, Store, Stored, Superior,
    SuperiorFault, Unavailable, World, Write,
};
use jose::PublicKey;
use monitoring::{Event, Record};
use spiffe::{Bundle, BundleKey};
use time::{Span, UnixTime};
use wimse::{Origin, WorkloadId};
use x509::Certificate;

use crate::issuing;
use crate::nested;
use crate::record::begin;
use crate::rings;
use crate::sign::{self, ALGORITHM, CERTIFICATE_ALGORITHM};
use crate::superior;
use crate::turns::settled;

pub use crate::rings::forget;

/// How often peers are told to look at our bundle.
const REFRESH_HINT: Span = Span::from_seconds(300);
/// The longest pause between two looks at the rings.
const LOOK_AGAIN: Span = Span::from_seconds(600);
/// The longest pause between two looks at what a server above publishes.
const LOOK_ABOVE: Span = Span::from_seconds(10);

/// Does what is due, and says when to look again.
pub async fn step<W: World>(world: &W, web_names: &[String]) -> Result<UnixTime, Unavailable> {
    let mut again = first(world, web_names).await?;
    for purpose in Purpose::ROTATED.into_iter().filter(|purpose| purpose.is_on_demand()) {
        if let Some(until) = due(world, purpose, web_names).await? {
            again = again.min(until);
        }
    }
    Ok(again)
}

/// The part of it that a server cannot begin to serve without: keys that somebody demanded may take
/// a while to be made.
pub(crate) async fn first<W: World>(
    world: &W,
    web_names: &[String],
) -> Result<UnixTime, Unavailable> {
    let now = world.clock().now();
    let mut again = now.plus(LOOK_AGAIN);
    if let Some(superior) = world.superior() {
        superior::refresh(world, superior, now).await?;
        if superior.is_server() {
            again = now.plus(LOOK_ABOVE);
        }
    }
    let mut unsigned = None;
    for purpose in Purpose::ROTATED.into_iter().filter(|purpose| !purpose.is_on_demand()) {
        match due(world, purpose, web_names).await {
            Ok(Some(until)) => again = again.min(until),
            Ok(None) => {}
            // Without the authority above there is no first intermediate; the other keys are ours.
            Err(why) if why.part == superior::PART => unsigned = Some(why),
            Err(why) => return Err(why),
        }
    }
    nested::settle(world).await?;
    superior::announce(world, now).await?;
    publish(world, now).await?;
    unsigned.map_or(Ok(again), Err)
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
    // Nobody asked for one, or whoever did now makes it; or the settings name another key store
    // since then, which makes none.
    let is_needed = !current.keys.is_empty();
    let is_made = world.keys().makes(purpose, purpose.algorithm()).is_ok();
    if purpose.is_on_demand() && !(is_needed && is_made) {
        return Ok(None);
    }
    let schedule = domain.lifetimes.schedule(purpose);
    let superior = superior_of(world, purpose);
    let step = match current.has_superior() {
        // The authority changed its place: known to all before the first use, as any new root.
        Some(has) if purpose == Purpose::X509Authority && has != superior.is_some() => {
            Step::Make { signs_from: now.plus(schedule.ahead) }
        }
        // RFC 5280 §4.2.1.9: the room below an authority stands in its certificate.
        Some(false) if has_less_room(&current, purpose, domain.nested.levels)? => {
            Step::Make { signs_from: now.plus(schedule.ahead) }
        }
        _ => current.next(&schedule, now),
    };
    let signs_from = match step {
        Step::Wait(until) => return Ok(Some(until)),
        Step::Make { signs_from } => signs_from,
    };
    let making = Making {
        purpose,
        signs_from,
        now,
        origin: policy.set.origin(),
        below: domain.nested.levels,
    };
    let Some(superior) = superior else {
        make(world, &making, ring, &domain.lifetimes, web_names, None).await?;
        return Ok(None);
    };
    let signs = current.signer(now).is_some();
    if let Some(again) = superior::waits(world, now).await?.filter(|_| signs) {
        return Ok(Some(again));
    }
    match make(world, &making, ring, &domain.lifetimes, web_names, None).await {
        Ok(_) => superior::answered(world, superior, true).await.map(|()| None),
        Err(MakeFault::Superior(fault)) => {
            let again = superior::failed(world, superior, &fault, true, now).await?;
            if signs { Ok(Some(again)) } else { Err(MakeFault::Superior(fault).into()) }
        }
        Err(MakeFault::Unavailable(why)) => Err(why),
    }
}

/// Whether the newest key of ours, its own authority, has room for fewer levels below it than
/// policy wants.
fn has_less_room(ring: &KeyRing, purpose: Purpose, levels: u8) -> Result<bool, Unavailable> {
    let ours = ring.keys.iter().filter(|key| key.holder.is_none() && key.tainted.is_none());
    match ours.max_by_key(|key| key.signs_until) {
        Some(key) if purpose == Purpose::X509Authority => {
            Ok(sign::authority(key)?.path_len().is_some_and(|room| room < levels))
        }
        _ => Ok(false),
    }
}

fn superior_of<W: World>(world: &W, purpose: Purpose) -> Option<&dyn Superior> {
    world.superior().filter(|_| purpose == Purpose::X509Authority)
}

/// Why there is no new key.
#[derive(Debug)]
pub(crate) enum MakeFault {
    /// The authority above.
    Superior(superior::Fault),
    /// A door of ours.
    Unavailable(Unavailable),
}

impl From<Unavailable> for MakeFault {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

impl From<MakeFault> for Unavailable {
    fn from(fault: MakeFault) -> Self {
        match fault {
            MakeFault::Superior(superior::Fault::Superior(SuperiorFault::Unavailable(why))) => {
                Self::of(superior::PART, why.why)
            }
            MakeFault::Superior(fault) => Self::of(superior::PART, fault),
            MakeFault::Unavailable(why) => why,
        }
    }
}

/// The name of the host that our own listeners are reached by: what an authority signs must serve
/// for it.
pub(crate) fn own_names<W: World>(world: &W) -> Vec<String> {
    let issuer = world.site().issuer.trim_start_matches("https://");
    let host = issuer.split(['/', ':']).next().unwrap_or_default();
    let is_name = host.chars().any(|c| c.is_ascii_alphabetic());
    is_name.then(|| host.to_owned()).into_iter().collect()
}

/// A key that is to be made.
pub(crate) struct Making<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) signs_from: UnixTime,
    pub(crate) now: UnixTime,
    pub(crate) origin: &'a Origin,
    /// How many levels of authorities may stand below it.
    pub(crate) below: u8,
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
) -> Result<Option<(Receipt, KeyRing)>, MakeFault> {
    let made = world.keys().generate(making.purpose, making.purpose.algorithm()).await;
    let (handle, public) = made.map_err(Unavailable::from)?;
    let schedule = lifetimes.schedule(making.purpose);
    let key = match new_key(world, making, (&handle, &public), &schedule, web_names).await {
        Ok(key) => key,
        Err(fault) => {
            rings::discard(world, handle).await?;
            return Err(fault);
        }
    };
    Ok(rings::put(world, ring, key, making.purpose, making.now, record).await?)
}

/// The key as its ring has it: with a certificate of its own or of the authority above, where it
/// signs certificates.
async fn new_key<W: World>(
    world: &W,
    making: &Making<'_>,
    (handle, public): (&Handle, &PublicKey),
    schedule: &Schedule,
    web_names: &[String],
) -> Result<AuthorityKey, MakeFault> {
    let begins = (making.now, making.signs_from);
    let mut key = rings::key(handle, public, schedule, begins)?;
    let role = match making.purpose {
        Purpose::X509Authority => Role::TrustDomain { origin: making.origin, below: making.below },
        Purpose::WebAuthority => Role::Web(web_names),
        _ => return Ok(key),
    };
    let Some(superior) = superior_of(world, making.purpose) else {
        let made = self_signed(world, handle, public, &role, making.now, key.kept_until).await?;
        key.certificate = Some(made);
        return Ok(key);
    };
    let pair = (handle, public);
    let proven = superior::certify(world, superior, making, pair, key.kept_until, web_names).await;
    let (certificate, above, until) = proven.map_err(MakeFault::Superior)?.into_parts();
    (key.signs_from, key.signs_until, key.kept_until) =
        KeyRing::windows_within(schedule, begins, until);
    (key.certificate, key.above) = (Some(certificate), Some(above));
    Ok(key)
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
    keys.push(Key::of::<SuperiorRow>(SuperiorRow::ID));
    keys.push(Key::of::<Taints>(Taints::ID));
    let rows = world.store().snapshot(&keys).await?;
    let Some(policy) = rows.get::<InForce>(InForce::ID)? else { return Ok(()) };
    let own = policy.set.origin().clone();
    let mut parts: [Vec<AuthorityKey>; 3] = Default::default();
    for (part, purpose) in parts.iter_mut().zip(purposes) {
        let ring = rows.get::<KeyRing>(purpose.name())?;
        part.extend(ring.iter().flat_map(|ring| ring.published(now).cloned()));
    }
    let old = rows.get::<TrustRow>(TrustRow::ID)?;
    let before = old.as_ref().and_then(|row| row.bundles.get(&own));
    let sequence = before.and_then(Bundle::sequence).unwrap_or_default();
    let above = keys_above(world, &rows, now)?;
    let unchanged = bundle(&parts, &above, sequence)?;
    if before == Some(&unchanged) {
        return Ok(());
    }
    let bundle = bundle(&parts, &above, sequence + 1)?;
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

/// The keys that a server above publishes, without those of ours that were revoked here: it may
/// know them still.
fn keys_above<W: World>(
    world: &W,
    rows: &Snapshot,
    now: UnixTime,
) -> Result<Vec<KeyAbove>, Unavailable> {
    let row = rows.get::<SuperiorRow>(SuperiorRow::ID)?;
    let taints = rows.get::<Taints>(Taints::ID)?;
    let is_server = world.superior().is_some_and(Superior::is_server);
    let Some(row) = row.filter(|_| is_server) else { return Ok(Vec::new()) };
    let is_good = |key: &&KeyAbove| {
        let is_gone = taints.as_ref().is_some_and(|taints| taints.has(key.kid.as_str()));
        key.until.is_none_or(|until| now < until) && !is_gone
    };
    Ok(row.keys.iter().filter(is_good).cloned().collect())
}

fn bundle(
    parts: &[Vec<AuthorityKey>; 3],
    above: &[KeyAbove],
    sequence: u64,
) -> Result<Bundle, Unavailable> {
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("store", error);
    let [x509, jwt, wit] = parts;
    let mut authorities: Vec<Certificate> = Vec::new();
    for key in x509 {
        for root in sign::roots(key)? {
            if authorities.iter().all(|known| known.der() != root.der()) {
                authorities.push(root);
            }
        }
    }
    let keys = |ring: &[AuthorityKey]| {
        let (ours, held): (Vec<_>, Vec<_>) = ring.iter().partition(|key| key.holder.is_none());
        ours.into_iter()
            .chain(held)
            .map(|key| {
                let public = key.public.verification_key().map_err(|error| fault(&error))?;
                let public = public.for_algorithm(ALGORITHM).map_err(|error| fault(&error))?;
                Ok(BundleKey { kid: key.kid.clone(), key: public })
            })
            .collect::<Result<Vec<_>, Unavailable>>()
    };
    let (mut jwt, mut wit) = (keys(jwt)?, keys(wit)?);
    for key in above {
        let public = key.public.verification_key().map_err(|error| fault(&error))?.clone();
        let entry = BundleKey { kid: key.kid.clone(), key: public };
        if key.purpose == Purpose::Wit { wit.push(entry) } else { jwt.push(entry) }
    }
    // WIT-SVID §6.1: "No other JWK, whether for JWT-SVID or WIT-SVID, may have the same value."
    // Those above have ours, too.
    let mut known = BTreeSet::new();
    jwt.retain(|key| known.insert(key.kid.clone()));
    wit.retain(|key| known.insert(key.kid.clone()));
    Bundle::new(sequence, REFRESH_HINT, authorities, jwt, wit).map_err(|error| fault(&error))
}

/// The identifier of the server itself.
pub fn server_id(origin: &Origin) -> Result<WorkloadId, Unavailable> {
    origin.workload("/aims/server").map_err(|error| Unavailable::of("store", error))
}
