//! Another server's authority below ours (SPIRE 1.15, `NewDownstreamX509CA`, `PublishJWTAuthority`
//! and `PublishWITAuthority`; CRED-02, CRED-12): whose record says `downstream` gets an
//! intermediate, and its keys of JWT-SVIDs and WITs into our bundle. Nobody else.
//!
//! In scope: what such a server may get. Not here: how one asks (`crate::superior`), and whether
//! the caller's certificate is of ours and not of a server below us (`edge/link`).
//!
//! Trusting one means: whoever has its keys can be anybody of this trust domain. Name constraints
//! cannot bound it, as most verifiers do not look at those on URIs.

use credential::x509_intermediate::{self, BuildFault};
use credential::{AuthorityKey, KeyRing, Purpose};
use env::{
    Change, Entropy, Expect, Key, Recorded, Store, Stored, SuperiorAnswer, SuperiorKey,
    Unavailable, World, Write,
};
use jose::{KeyError, KeyId, PublicKey};
use monitoring::{Event, Outcome, Record};
use provisioning::{Epoch, NotInForce};
use registry::AgentRecord;
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::{Request, RequestError};

use crate::facts::{Basis, basis};
use crate::record::{begin, refused};
use crate::rotate;
use crate::sign::{self, CERTIFICATE_ALGORITHM};
use crate::turns::{TRIES_MAX, overtaken, pause, settled};
use crate::{issuing, superior};

/// The most keys of one purpose that one server has published here: its own, and those of servers
/// below it.
pub const KEYS_OF_ONE_MAX: usize = 8;
/// The same of all servers: ours have room beside them.
pub const KEYS_OF_ALL_MAX: usize = 24;
/// The longest time until such a key ends.
pub const KEY_LIFE_MAX: Span = Span::from_seconds(30 * 86_400);
/// The purposes whose keys a server has published.
const PUBLISHED: [Purpose; 2] = [Purpose::JwtSvid, Purpose::Wit];

/// Why a server gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its record does not say so, or there is none.
    #[error("`{0}` is no downstream server")]
    NotDownstream(WorkloadId),
    /// Its record is not in force, or its credential was issued before it was suspended.
    #[error("`{id}`: {why}")]
    NotInForce {
        /// Whose.
        id: WorkloadId,
        /// Why.
        why: NotInForce,
    },
    /// Policy wants no authority below ours.
    #[error("policy lets no authority stand below ours (`levels` of `[nested]` in domain.toml)")]
    NoLevels,
    /// PROV-07: the request does not prove that the asker has the key.
    #[error("the request is not proved: {0}")]
    Request(#[from] RequestError),
    /// It asks for another name than the trust domain's.
    #[error("the request asks for `{asked}`; an authority of this trust domain is `{domain}`")]
    OtherName {
        /// What it asks for.
        asked: String,
        /// The name it may have.
        domain: String,
    },
    /// The key cannot verify anything here.
    #[error("the key is not used: {0}")]
    Key(#[from] KeyError),
    /// Keys serve one authority (docs/design.md §5).
    #[error("the key is one of ours")]
    OurKey,
    /// No certificate can be made.
    #[error("{0}")]
    Build(String),
    /// What should be its id is none.
    #[error("the id of the key: {0}")]
    KeyId(String),
    /// Another key is published under that id.
    #[error("another key with the id `{0}` is published already")]
    Taken(String),
    /// Its end is not said, has come, or is too far.
    #[error("the key must end within {} s from now", KEY_LIFE_MAX.seconds())]
    Ends,
    /// The bundle would grow without a bound.
    #[error("{count} keys are published already, at most {max} are")]
    TooMany {
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NotDownstream(_) => "nested::NotDownstream",
            Self::NotInForce { .. } => "nested::NotInForce",
            Self::NoLevels => "nested::NoLevels",
            Self::Request(_) => "nested::Request",
            Self::OtherName { .. } => "nested::OtherName",
            Self::Key(_) => "nested::Key",
            Self::OurKey => "nested::OurKey",
            Self::Build(_) => "nested::Build",
            Self::KeyId(_) => "nested::KeyId",
            Self::Taken(_) => "nested::Taken",
            Self::Ends => "nested::Ends",
            Self::TooMany { .. } => "nested::TooMany",
        }
    }
}

/// What a server has, or why it has nothing; recorded either way.
pub type Done<T> = Result<Recorded<Result<T, Refusal>>, Unavailable>;

/// Who asks: the identity that its connection proved, and the epoch of that credential.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Its identifier.
    pub id: &'a WorkloadId,
    /// The epoch.
    pub epoch: Option<u64>,
}

impl Asker<'_> {
    fn key(&self) -> Key {
        Key::of::<AgentRecord>(self.id.to_string())
    }

    /// Whether its record says that it is a server below ours.
    fn admitted(&self, facts: &Basis) -> Result<Result<(), Refusal>, Unavailable> {
        let agent = facts.rows.get::<AgentRecord>(&self.id.to_string())?;
        let Some(agent) = agent.filter(|agent| agent.entry.downstream) else {
            return Ok(Err(Refusal::NotDownstream(self.id.clone())));
        };
        let admitted = agent.lifecycle.admits(self.epoch.map(Epoch));
        Ok(admitted.map_err(|why| Refusal::NotInForce { id: self.id.clone(), why }))
    }

    fn record<W: World>(&self, world: &W, facts: &Basis, action: &str) -> Record {
        let mut record = begin(world, Event::KeyRotated);
        record.action = action.to_owned();
        record.agent = Some(self.id.to_string());
        record.transport = Some(self.id.to_string());
        record.proof = Some("x509-svid".to_owned());
        record.policy = Some(facts.version());
        record.epoch = Some(facts.epoch.0);
        record
    }
}

/// Whether this is a server below ours, for its place among those who are served.
pub async fn is_downstream<W: World>(world: &W, id: &WorkloadId) -> Result<bool, Unavailable> {
    let found = crate::facts::one::<W, AgentRecord>(world, &id.to_string()).await?;
    Ok(found.is_some_and(|agent| agent.entry.downstream && agent.lifecycle.is_active().is_ok()))
}

/// An intermediate for the key of the request (PKCS#10, DER), for `wanted` at the most.
pub async fn certify<W: World>(
    world: &W,
    asker: Asker<'_>,
    request: &[u8],
    wanted: Option<Span>,
) -> Done<SuperiorAnswer> {
    let name = Purpose::X509Authority.name();
    let facts = basis(world, vec![asker.key(), Key::of::<KeyRing>(name)]).await?;
    let now = issuing::now(world, &facts)?;
    let ring = facts.rows.get::<KeyRing>(name)?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no X.509 authority yet"))?;
    let mut record = asker.record(world, &facts, "nested.certify");
    let decided = match asker.admitted(&facts)? {
        Ok(()) => decide(&facts, &ring, request),
        Err(refusal) => Err(refusal),
    };
    let made = match decided {
        Ok(request) => {
            let order = (&request, wanted, now);
            certified(world, &facts, &ring, order, &mut record).await?
        }
        Err(refusal) => Err(refusal),
    };
    match &made {
        Ok(_) => record.outcome = Outcome::Permitted,
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(made, &receipt))
}

/// Whether the request may have an authority's certificate.
fn decide(facts: &Basis, ring: &KeyRing, request: &[u8]) -> Result<Request, Refusal> {
    if facts.set().domain().nested.levels == 0 {
        return Err(Refusal::NoLevels);
    }
    let request = Request::verify(request)?;
    let domain = facts.trust.own.to_string();
    if let Some(asked) = request.uri_names().iter().find(|name| **name != domain) {
        return Err(Refusal::OtherName { asked: asked.clone(), domain });
    }
    let public = PublicKey::from_spki_der(request.spki_der())?;
    let is_ours = |key: &AuthorityKey| {
        key.public.verification_key().is_ok_and(|ours| ours.spki_der() == public.spki_der())
    };
    if ring.keys.iter().any(is_ours) {
        return Err(Refusal::OurKey);
    }
    Ok(request)
}

async fn certified<W: World>(
    world: &W,
    facts: &Basis,
    ring: &KeyRing,
    (request, wanted, now): (&Request, Option<Span>, UnixTime),
    record: &mut Record,
) -> Result<Result<SuperiorAnswer, Refusal>, Unavailable> {
    let nested = &facts.set().domain().nested;
    let key = sign::signer(ring, now)?;
    let issuer = sign::authority(key)?;
    let life = wanted.map_or(nested.life, |wanted| wanted.min(nested.life));
    // What policy counts from here, and no more than there is room for below our own certificate.
    let levels = nested.levels.saturating_sub(1);
    let room = x509_intermediate::room_below(&issuer).unwrap_or(levels);
    let order = x509_intermediate::Order {
        origin: &facts.trust.own,
        spki_der: request.spki_der(),
        issuer: &issuer,
        random: world.entropy().public(),
        now,
        until: now.plus(sign::life(key, life, now)),
        below: levels.min(room),
    };
    let checked = match x509_intermediate::build(&order, CERTIFICATE_ALGORITHM) {
        Ok(checked) => checked,
        Err(BuildFault::Fault(fault)) => return Err(Unavailable::of("keys", fault)),
        Err(why) => return Ok(Err(Refusal::Build(why.to_string()))),
    };
    let made = sign::certificate(world, &sign::handle(ring.purpose, key), checked).await?;
    let read = made.parse().map_err(|error| Unavailable::of("keys", error))?;
    record.resource = Some(format!("{}/{}", ring.purpose.name(), key.kid.as_str()));
    record.facts = serde_json::json!({
        "until": read.not_after().to_string(), "levels_below": order.below,
        "key": PublicKey::from_spki_der(request.spki_der())
            .map(|key| key.thumbprint().to_base64url()).unwrap_or_default(),
    });
    let chain = std::iter::once(made.into_bytes()).chain(sign::issuers(key)).collect();
    let bundle = facts.trust.bundles.get(&facts.trust.own);
    let roots = bundle.map(spiffe::Bundle::x509_authorities).unwrap_or_default();
    let roots = roots.iter().map(|root| root.der().to_vec()).collect();
    Ok(Ok(SuperiorAnswer { chain, roots }))
}

/// Publishes a key of a server's among ours, until it ends. The same again changes nothing.
pub async fn publish<W: World>(world: &W, asker: Asker<'_>, key: SuperiorKey) -> Done<()> {
    for turn in 0..TRIES_MAX {
        let mut keys: Vec<_> =
            PUBLISHED.iter().map(|purpose| Key::of::<KeyRing>(purpose.name())).collect();
        keys.push(asker.key());
        let facts = basis(world, keys).await?;
        let now = issuing::now(world, &facts)?;
        let mut record = asker.record(world, &facts, "nested.publish");
        record.resource = Some(format!("{}/{}", key.purpose.name(), key.kid));
        let ring = facts.rows.get::<KeyRing>(key.purpose.name())?;
        let ring = ring.ok_or_else(|| Unavailable::of("store", "no signing keys yet"))?;
        let decided = match asker.admitted(&facts)? {
            Ok(()) => publishable(&facts, &ring, asker.id, &key, now)?,
            Err(refusal) => Err(refusal),
        };
        let mut change = Change::default();
        match &decided {
            Ok(added) => {
                record.outcome = Outcome::Permitted;
                if let Some(added) = added {
                    record.facts = serde_json::json!({ "until": added.kept_until.to_string() });
                    let changed = ring.with(added.clone(), now);
                    change.writes.push(Write::put(&changed, Expect::Version(ring.version)));
                }
            }
            Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
        }
        let is_new = !change.writes.is_empty();
        change.records.push(record);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            if is_new {
                rotate::publish(world, now).await?;
                superior::announce(world, now).await?;
            }
            return Ok(Recorded::new(decided.map(|_| ()), &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// The key as its ring will have it; `None` where the ring has it already.
fn publishable(
    facts: &Basis,
    ring: &Stored<KeyRing>,
    holder: &WorkloadId,
    key: &SuperiorKey,
    now: UnixTime,
) -> Result<Result<Option<AuthorityKey>, Refusal>, Unavailable> {
    let public = match PublicKey::from_spki_der(&key.spki_der) {
        Ok(public) => public,
        Err(why) => return Ok(Err(why.into())),
    };
    // The keys of a bundle are of one algorithm here, as our own are.
    if let Err(why) = public.for_algorithm(sign::ALGORITHM) {
        return Ok(Err(why.into()));
    }
    let kid = match KeyId::parse(&key.kid) {
        Ok(kid) => kid,
        Err(why) => return Ok(Err(Refusal::KeyId(why.to_string()))),
    };
    let holder = holder.to_string();
    for purpose in PUBLISHED {
        let Some(other) = facts.rows.get::<KeyRing>(purpose.name())? else { continue };
        let Some(known) = other.keys.iter().find(|known| known.kid == kid) else { continue };
        let same = known.public.verification_key().is_ok_and(|known| *known == public);
        let is_it = same && purpose == key.purpose && known.holder.as_ref() == Some(&holder);
        if !is_it || known.kept_until <= now {
            return Ok(Err(Refusal::Taken(key.kid.clone())));
        }
        return Ok(Ok(None));
    }
    let Some(until) = key.until.filter(|until| now < *until && *until <= now.plus(KEY_LIFE_MAX))
    else {
        return Ok(Err(Refusal::Ends));
    };
    let held: Vec<_> = ring.published(now).filter_map(|key| key.holder.as_ref()).collect();
    let own = held.iter().filter(|other| ***other == holder).count();
    for (count, max) in [(own, KEYS_OF_ONE_MAX), (held.len(), KEYS_OF_ALL_MAX)] {
        if count >= max {
            return Ok(Err(Refusal::TooMany { count, max }));
        }
    }
    Ok(Ok(Some(AuthorityKey {
        public: public.to_jwk().with_kid(kid.clone()),
        kid,
        certificate: None,
        above: None,
        published: now,
        signs_from: now,
        signs_until: until,
        kept_until: until,
        holder: Some(holder),
        tainted: None,
    })))
}

/// Takes the keys out of the rings whose server is one no longer: its record ended, is suspended,
/// or says otherwise. It announces them again when it is one anew.
pub async fn settle<W: World>(world: &W) -> Result<(), Unavailable> {
    for purpose in PUBLISHED {
        let ring = crate::facts::one::<W, KeyRing>(world, purpose.name()).await?;
        let Some(ring) = ring else { continue };
        let mut holders: Vec<_> =
            ring.keys.iter().filter_map(|key| key.holder.as_deref()).collect();
        holders.sort_unstable();
        holders.dedup();
        let (mut left, mut gone) = ((*ring.value).clone(), Vec::new());
        for holder in holders {
            let id = WorkloadId::parse(holder).map_err(|why| Unavailable::of("store", why))?;
            if is_downstream(world, &id).await? {
                continue;
            }
            if let Some((without, kids)) = left.without_holder(holder) {
                left = without;
                gone.extend(kids.iter().map(|kid| kid.as_str().to_owned()));
            }
        }
        if gone.is_empty() {
            continue;
        }
        let mut record = begin(world, Event::KeyRotated);
        record.action = "nested.withdraw".to_owned();
        record.outcome = Outcome::Permitted;
        record.facts = serde_json::json!({ "keys": gone });
        let writes = vec![Write::put(&left, Expect::Version(ring.version))];
        let change = Change { writes, uses: Vec::new(), records: vec![record] };
        settled(world.store().commit(change).await)?;
    }
    Ok(())
}
