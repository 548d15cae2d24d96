//! Who calls: the identity behind a connection, asked anew at each request (AUTHN-01, AUTHN-12).

use attestation::mechanism::Role;
use credential::{AuthorityKey, KeyRing};
use env::rows::TrustRow;
use env::{Clock, Key, Purpose, Store, Stored, Unavailable, World};
use provisioning::{Epoch, NotInForce};
use registry::NodeRecord;
use time::UnixTime;
use wimse::{Wic, WicError, WorkloadId};
use x509::{Certificate, Purpose as Usage};

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Our own nodes and gateways.
    Components,
    /// SPIRE agents.
    SpireAgents,
    /// Servers below ours: any workload, as far as its path says.
    Servers,
}

impl Callers {
    /// Their roles, which begin their paths.
    const fn roles(self) -> &'static [Role] {
        match self {
            Self::Components => &[Role::Node, Role::Gateway],
            Self::SpireAgents => &[Role::SpireAgent],
            Self::Servers => &[],
        }
    }

    /// Whether the path is `/<role's path>/<mechanism>/…`, as the registry makes them.
    fn has(self, id: &WorkloadId) -> bool {
        self == Self::Servers
            || self.roles().iter().any(|role| {
                let mut segments = id.segments();
                role.path().split('/').all(|one| segments.next() == Some(one))
                    && segments.next().is_some()
            })
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Components => "neither a node nor a gateway",
            Self::SpireAgents => "no spire agent",
            Self::Servers => "no server",
        }
    }
}

/// A component of ours, as of the moment it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Its identifier.
    pub(crate) id: WorkloadId,
    /// The epoch of its credential.
    pub(crate) epoch: Option<u64>,
    /// The last second of its credential.
    pub(crate) until: UnixTime,
    /// The version of the bundles that vouched for it.
    pub(crate) trust_version: u64,
}

/// Why nobody is proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproved {
    #[error("no client certificate")]
    NoCertificate,
    #[error("the client certificate: {0}")]
    Svid(#[from] WicError),
    #[error("`{0}` is of another trust domain")]
    Foreign(WorkloadId),
    #[error("the certificate of `{0}` is not of an authority of this server")]
    Below(WorkloadId),
    #[error("`{0}` is {words}", words = .1.words())]
    NotAComponent(WorkloadId, Callers),
}

impl Unproved {
    /// The variant's name: what is counted.
    pub(crate) const fn check(&self) -> &'static str {
        match self {
            Self::NoCertificate => "link::NoCertificate",
            Self::Svid(_) => "link::Svid",
            Self::Foreign(_) => "link::Foreign",
            Self::Below(_) => "link::Below",
            Self::NotAComponent(..) => "link::NotAComponent",
        }
    }
}

/// Who shows `chain` (leaf first, its key proved in the handshake), by the bundles and the time of
/// this moment.
pub(crate) async fn caller<W: World>(
    world: &W,
    chain: &[Certificate],
    callers: Callers,
) -> Result<Result<Caller, Unproved>, Unavailable> {
    if chain.is_empty() {
        return Ok(Err(Unproved::NoCertificate));
    }
    let (trust, ring) = trust(world).await?;
    Ok(decide(chain, &trust, ring.as_deref(), world.clock().now(), callers))
}

/// Whether `caller`, a component of ours, still stands, cheaply: looks at the chain again only if
/// the bundles changed.
pub(crate) async fn still<W: World>(
    world: &W,
    chain: &[Certificate],
    caller: Caller,
) -> Result<Result<Caller, Unproved>, Unavailable> {
    let (trust, ring) = trust(world).await?;
    let now = world.clock().now();
    if trust.version == caller.trust_version && !is_past(caller.until, now) {
        return Ok(Ok(caller));
    }
    Ok(decide(chain, &trust, ring.as_deref(), now, Callers::Components))
}

/// Whether the component is in force, for requests whose flow does not ask.
pub(crate) async fn is_in_force<W: World>(
    world: &W,
    caller: &Caller,
) -> Result<Result<(), NotInForce>, Unavailable> {
    let id = caller.id.to_string();
    let rows = world.store().snapshot(&[Key::of::<NodeRecord>(&id)]).await?;
    let Some(node) = rows.get::<NodeRecord>(&id)? else {
        return Err(Unavailable::of("store", format!("no record of `{id}`")));
    };
    Ok(node.lifecycle.admits(caller.epoch.map(Epoch)))
}

/// The newest bundle of our own trust domain, as JSON.
pub(crate) async fn bundle<W: World>(world: &W) -> Result<String, Unavailable> {
    let (trust, _) = trust(world).await?;
    let bundle = trust.bundles.get(&trust.own);
    let missing = || Unavailable::of("store", "no bundle of our own trust domain");
    Ok(bundle.ok_or_else(missing)?.to_value().to_string())
}

/// Whether the second `until` is over. RFC 5280 §4.1.2.5: "The validity period for a certificate is
/// the period of time from notBefore through notAfter, inclusive."
pub(crate) const fn is_past(until: UnixTime, now: UnixTime) -> bool {
    now.seconds() > until.seconds()
}

/// The bundles, and the authorities of this server.
type Trust = (Stored<TrustRow>, Option<Stored<KeyRing>>);

async fn trust<W: World>(world: &W) -> Result<Trust, Unavailable> {
    let name = Purpose::X509Authority.name();
    let keys = [Key::of::<TrustRow>(TrustRow::ID), Key::of::<KeyRing>(name)];
    let rows = world.store().snapshot(&keys).await?;
    let missing = || Unavailable::of("store", "no trust bundle yet");
    let trust = rows.get::<TrustRow>(TrustRow::ID)?.ok_or_else(missing)?;
    Ok((trust, rows.get::<KeyRing>(name)?))
}

/// Whether an authority of this server issued the leaf, and not one of a server below: what stands
/// between it and a root is what stands there for a key of ours, and nothing else.
///
/// A server below can certify whom it likes in this trust domain. Our components and the servers
/// below are those that we certified: a name that it gave out is none of theirs.
fn is_ours(chain: &[Certificate], ring: Option<&KeyRing>, now: UnixTime) -> bool {
    let shown = chain.get(1..).unwrap_or_default().iter().map(Certificate::der);
    let ours = |key: &AuthorityKey| flow::sign::issuers(key).eq(shown.clone().map(<[u8]>::to_vec));
    ring.is_some_and(|ring| ring.published(now).any(ours))
}

fn decide(
    chain: &[Certificate],
    trust: &Stored<TrustRow>,
    ring: Option<&KeyRing>,
    now: UnixTime,
    callers: Callers,
) -> Result<Caller, Unproved> {
    let wic = Wic::verify(chain, &trust.bundles, Usage::Client, now)?;
    let id = wic.workload_id().clone();
    // The bundles hold other origins too, perhaps of our name under another scheme: those have no
    // components of ours, whatever their paths say.
    if !id.is_member_of(&trust.own) {
        return Err(Unproved::Foreign(id));
    }
    if !is_ours(chain, ring, now) {
        return Err(Unproved::Below(id));
    }
    if !callers.has(&id) {
        return Err(Unproved::NotAComponent(id, callers));
    }
    let (epoch, until) = (wic.epoch(), wic.not_after());
    let trust_version = trust.version;
    Ok(Caller { id, epoch, until, trust_version })
}
