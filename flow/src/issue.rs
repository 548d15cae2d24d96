//! A node asks for a credential for a workload that it measured (S1 §7, §8; CRED-02 to CRED-04,
//! PROV-01, PROV-03, PROV-07): sign, record, release.

use attestation::Selectors;
use credential::{KeyRing, Purpose, TokenText, jwt_svid, wit, x509_svid};
use env::{
    AssignedCredential, Change, Entropy, IssueKind, IssueOrder, Key, Recorded, Store, Unavailable,
    World,
};
use jose::PublicKey;
use monitoring::Event;
use provisioning::{CredentialKind, Demand, IssueRefusal};
use registry::{AgentRecord, NodeRecord};
use spiffe::SpiffeId;
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::{Request, RequestError};

use crate::agents::{overtaken, settled};
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::record::{begin, public_id, refused};
use crate::sign::{self, ALGORITHM, CERTIFICATE_ALGORITHM};

/// Why no credential is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node is not one of ours, or not in force.
    #[error("the node is not in force: {0}")]
    Node(String),
    /// The agent is not in the registry, or has no SPIFFE ID.
    #[error("no agent `{0}` in the registry")]
    Unknown(WorkloadId),
    /// The evidence, the record or policy says no.
    #[error(transparent)]
    Issue(#[from] IssueRefusal),
    /// PROV-07: the request does not prove that the asker has the key.
    #[error("the request is not proved: {0}")]
    Request(RequestError),
    /// The key in the request is of a kind that this credential cannot bind.
    #[error("the key of the request cannot be bound: {0}")]
    Key(String),
    /// What was asked for cannot be made.
    #[error("{0}")]
    Order(String),
    /// What the node measured is too much.
    #[error("the evidence does not read: {0}")]
    Evidence(String),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Node(_) => "issue::Node",
            Self::Unknown(_) => "issue::Unknown",
            Self::Issue(IssueRefusal::NotInForce(_)) => "provisioning::NotInForce",
            Self::Issue(IssueRefusal::Node { .. }) => "provisioning::Node",
            Self::Issue(IssueRefusal::Evidence { .. }) => "provisioning::Evidence",
            Self::Issue(IssueRefusal::RuleTooWeak { .. }) => "provisioning::RuleTooWeak",
            Self::Issue(IssueRefusal::Kind { .. }) => "provisioning::Kind",
            Self::Request(_) => "issue::Request",
            Self::Key(_) => "issue::Key",
            Self::Order(_) => "issue::Order",
            Self::Evidence(_) => "issue::Evidence",
        }
    }
}

/// A credential, or why there is none; recorded either way.
pub type Issued = Recorded<Result<AssignedCredential, Refusal>>;

/// Issues. `node` is the identity that the connection proved, `proved` the epoch of its credential.
pub async fn issue<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
    order: IssueOrder,
) -> Result<Issued, Unavailable> {
    let kind = kind_of(&order.kind);
    let purpose = purpose_of(kind);
    let keys = vec![
        Key::of::<AgentRecord>(order.agent.to_string()),
        Key::of::<NodeRecord>(node.to_string()),
        Key::of::<KeyRing>(purpose.name()),
    ];
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let mut record = begin(world, Event::CredentialIssued);
    record.action = format!("credential.issue.{}", kind.name());
    record.agent = Some(order.agent.to_string());
    record.transport = Some(node.to_string());
    record.proof = Some("x509-svid".to_owned());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    describe(&mut record, &order);
    let ring = facts.rows.get::<KeyRing>(purpose.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no signing keys yet"))?;
    let made = match decide(&facts, node, proved, &order, kind, now) {
        Ok((agent, id, life)) => {
            let jti = public_id(world);
            record.jti = Some(jti.clone());
            record.facts = reasons(&facts, &agent, kind, (now, life));
            let issuer = facts.set().domain().jwt_svid.issuer.as_ref();
            let epoch = facts.epoch.0;
            let making = Making { agent: &agent, id: &id, life, jti, now, epoch, issuer };
            make(world, &ring, &making, &order.kind).await?
        }
        Err(refusal) => Err(refusal),
    };
    match &made {
        Ok(_) => record.outcome = monitoring::Outcome::Permitted,
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(made, &receipt))
}

/// Everything before a signature: the node, the agent, the evidence, the policy.
fn decide(
    facts: &Basis,
    node: &WorkloadId,
    proved: Option<u64>,
    order: &IssueOrder,
    kind: CredentialKind,
    now: UnixTime,
) -> Result<(AgentRecord, SpiffeId, Span), Refusal> {
    let unknown = || Refusal::Unknown(order.agent.clone());
    let store = |error: Unavailable| Refusal::Order(error.to_string());
    let host = facts.rows.get::<NodeRecord>(&node.to_string()).map_err(store)?;
    let host = host.ok_or_else(|| Refusal::Node("it is not in the registry".to_owned()))?;
    let issued = proved.map(provisioning::Epoch);
    host.lifecycle.admits(issued).map_err(|error| Refusal::Node(error.to_string()))?;
    let agent = facts.rows.get::<AgentRecord>(&order.agent.to_string()).map_err(store)?;
    let agent = agent.ok_or_else(unknown)?;
    let WorkloadId::Spiffe(id) = &agent.id else { return Err(unknown()) };
    let found = selectors(order)?;
    let classes = &facts.set().attestation().class;
    let class = classes.get(&agent.entry.rule.class).ok_or_else(|| {
        Refusal::Order(format!("policy has no risk class `{}`", agent.entry.rule.class))
    })?;
    let demand = Demand {
        kind,
        node,
        found: &found,
        rule: &agent.entry.rule,
        lifecycle: &agent.lifecycle,
        class,
        lifetimes: &facts.set().domain().lifetimes,
    };
    let life = demand.decide()?;
    debug_assert!(now > UnixTime::EPOCH, "a clock that was set");
    Ok(((*agent.value).clone(), id.clone(), life))
}

fn selectors(order: &IssueOrder) -> Result<Selectors, Refusal> {
    order.process.selectors().map_err(|error| Refusal::Evidence(error.to_string()))
}

struct Making<'a> {
    agent: &'a AgentRecord,
    id: &'a SpiffeId,
    life: Span,
    jti: String,
    now: UnixTime,
    epoch: u64,
    /// `iss` of JWT-SVIDs.
    issuer: Option<&'a oauth::Issuer>,
}

/// Builds, checks and signs. The outer error is ours, the inner one the asker's.
async fn make<W: World>(
    world: &W,
    ring: &KeyRing,
    making: &Making<'_>,
    kind: &IssueKind,
) -> Result<Result<AssignedCredential, Refusal>, Unavailable> {
    let key = sign::signer(ring, making.now)?;
    let handle = sign::handle(ring.purpose, key);
    match kind {
        IssueKind::X509 { request } => make_x509(world, ring, making, request).await,
        IssueKind::Wit { request } => {
            let public = match bound_key(request) {
                Ok(public) => public,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let order = wit::Order {
                id: making.id,
                key: &public,
                jti: making.jti.clone(),
                now: making.now,
                life: making.life,
                epoch: making.epoch,
                owner: Some(&making.agent.entry.owner),
            };
            match wit::build(&order, ALGORITHM, &key.kid) {
                Ok(checked) => {
                    let token = sign::token(world, &handle, checked).await?;
                    Ok(Ok(AssignedCredential::Wit { token }))
                }
                Err(fault) => Ok(Err(Refusal::Key(fault.to_string()))),
            }
        }
        IssueKind::Jwt { audiences } => {
            let order = jwt_svid::Order {
                id: making.id,
                audiences,
                jti: making.jti.clone(),
                issuer: making.issuer.map(|issuer| issuer.as_str().to_owned()),
                now: making.now,
                life: making.life,
                epoch: making.epoch,
            };
            match jwt_svid::build(&order, ALGORITHM, &key.kid) {
                Ok(checked) => {
                    let token: TokenText = sign::token(world, &handle, checked).await?;
                    let expires = making.now.plus(making.life);
                    Ok(Ok(AssignedCredential::Jwt { token, expires }))
                }
                Err(fault) => Ok(Err(Refusal::Order(fault.to_string()))),
            }
        }
    }
}

/// [`make`] for an X.509-SVID: the key is the one that the request proves.
async fn make_x509<W: World>(
    world: &W,
    ring: &KeyRing,
    making: &Making<'_>,
    request: &[u8],
) -> Result<Result<AssignedCredential, Refusal>, Unavailable> {
    let key = sign::signer(ring, making.now)?;
    let request = match Request::verify(request) {
        Ok(request) => request,
        Err(error) => return Ok(Err(Refusal::Request(error))),
    };
    let authority = sign::authority(key)?;
    let order = x509_svid::Order {
        id: making.id,
        spki_der: request.spki_der(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        authority: &authority,
        random: world.entropy().public(),
        now: making.now,
        life: sign::life(key, making.life, making.now),
        epoch: making.epoch,
    };
    let checked = match x509_svid::build(&order, CERTIFICATE_ALGORITHM) {
        Ok(checked) => checked,
        Err(fault) => return Ok(Err(Refusal::Order(fault.to_string()))),
    };
    let leaf = sign::certificate(world, &sign::handle(ring.purpose, key), checked).await?;
    let mut chain = vec![leaf.into_bytes()];
    chain.extend(sign::issuers(key));
    Ok(Ok(AssignedCredential::X509 { chain }))
}

/// The key that a request proves, with its one algorithm.
fn bound_key(request: &[u8]) -> Result<PublicKey, Refusal> {
    let request = Request::verify(request).map_err(Refusal::Request)?;
    let key = PublicKey::from_spki_der(request.spki_der())
        .map_err(|error| Refusal::Key(error.to_string()))?;
    let algorithm = key.algorithms().next().ok_or_else(|| Refusal::Key("no algorithm".into()))?;
    key.for_algorithm(algorithm).map_err(|error| Refusal::Key(error.to_string()))
}

fn kind_of(kind: &IssueKind) -> CredentialKind {
    match kind {
        IssueKind::X509 { .. } => CredentialKind::X509,
        IssueKind::Wit { .. } => CredentialKind::Wit,
        IssueKind::Jwt { .. } => CredentialKind::Jwt,
    }
}

fn purpose_of(kind: CredentialKind) -> Purpose {
    match kind {
        CredentialKind::X509 => Purpose::X509Authority,
        CredentialKind::Wit => Purpose::Wit,
        CredentialKind::Jwt => Purpose::JwtSvid,
    }
}

/// What decided: the record's rule, what policy demands and gives of its risk class, and how long
/// it lives. An issuance can be explained by its record alone, under whatever policy came later.
fn reasons(
    facts: &Basis,
    agent: &AgentRecord,
    kind: CredentialKind,
    (now, life): (UnixTime, Span),
) -> serde_json::Value {
    let rule = &agent.entry.rule;
    let class = facts.set().attestation().class.get(&rule.class);
    let longest = kind.longest(&facts.set().domain().lifetimes);
    serde_json::json!({
        "kind": kind.name(),
        "rule": rule.selectors,
        "class": rule.class,
        "demands": class.map(|class| &class.demands),
        "issues": class.map(|class| &class.issues),
        "longest": longest,
        "life": life,
        "ends": now.plus(life),
    })
}

/// OBS-07: the attestation state stands in the record.
fn describe(record: &mut monitoring::Record, order: &IssueOrder) {
    let mut put = |name: &str, value: String| record.attestation.insert(name.to_owned(), value);
    put("mechanism", "unix".to_owned());
    put("uid", order.process.uid.to_string());
    if let Some(path) = &order.process.path {
        put("path", path.clone());
    }
    if let Some(sha256) = &order.process.sha256 {
        put("sha256", sha256.clone());
    }
    if let IssueKind::Jwt { audiences } = &order.kind {
        record.resource = audiences.first().cloned();
    }
}
