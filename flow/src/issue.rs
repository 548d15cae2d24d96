//! A node asks for a credential for a workload that it measured (S1 §7, §8; CRED-02 to CRED-04,
//! PROV-01, PROV-03, PROV-07): sign, record, release. A SPIRE agent asks for one in the same way,
//! and says only which record the workload matches (docs/decisions/0014).

use attestation::Selectors;
use attestation::mechanism::Role;
use attestation::policy::RiskClass;
use attestation::unix::Process;
use credential::{KeyRing, Purpose, TokenText, jwt_svid, wit, x509_svid};
use env::{
    AssignedCredential, Change, Entropy, IssueKind, IssueOrder, Key, Receipt, Recorded, Store,
    Unavailable, World,
};
use jose::PublicKey;
use monitoring::Event;
use provisioning::{CredentialKind, Demand, IssueRefusal, KeyHolding};
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
    /// Policy takes no SPIRE agent's word for workloads of this risk class, or of agents that
    /// joined in this way.
    #[error("policy takes no spire agent's word for `{0}`")]
    Claimed(String),
    /// SEC-01, SEC-04: the record lets the process hold no key.
    #[error("`{0}` holds no keys, and a spire agent hands them out")]
    KeysKept(WorkloadId),
    /// The request asks for another identifier than the record's.
    #[error("the request asks for `{asked}`; the record is that of `{id}`")]
    OtherName {
        /// What it asks for.
        asked: String,
        /// Whose record it is.
        id: WorkloadId,
    },
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
            Self::Claimed(_) => "issue::Claimed",
            Self::KeysKept(_) => "issue::KeysKept",
            Self::OtherName { .. } => "issue::OtherName",
        }
    }
}

/// A credential, or why there is none; recorded either way.
pub type Issued = Recorded<Result<AssignedCredential, Refusal>>;

/// What is asked for, and what is said of the process that gets it.
struct Asked<'a> {
    agent: &'a WorkloadId,
    /// What a node of ours measured; `None` where a SPIRE agent says that it matches.
    process: Option<&'a Process>,
    kind: &'a IssueKind,
}

/// Issues. `node` is the identity that the connection proved, `proved` the epoch of its credential.
pub async fn issue<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
    order: IssueOrder,
) -> Result<Issued, Unavailable> {
    let process = Some(&order.process);
    let asked = Asked { agent: &order.agent, process, kind: &order.kind };
    let (made, receipt, _) = issue_asked(world, node, proved, &asked).await?;
    Ok(Recorded::new(made, &receipt))
}

/// The same for a SPIRE agent, whose word is all there is; and when it was issued.
pub async fn issue_claimed<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
    agent: &WorkloadId,
    kind: &IssueKind,
) -> Result<(Issued, UnixTime), Unavailable> {
    let asked = Asked { agent, process: None, kind };
    let (made, receipt, now) = issue_asked(world, node, proved, &asked).await?;
    Ok((Recorded::new(made, &receipt), now))
}

async fn issue_asked<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
    asked: &Asked<'_>,
) -> Result<(Result<AssignedCredential, Refusal>, Receipt, UnixTime), Unavailable> {
    let kind = kind_of(asked.kind);
    let purpose = purpose_of(kind);
    let keys = vec![
        Key::of::<AgentRecord>(asked.agent.to_string()),
        Key::of::<NodeRecord>(node.to_string()),
        Key::of::<KeyRing>(purpose.name()),
    ];
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let mut record = begin(world, Event::CredentialIssued);
    record.action = format!("credential.issue.{}", kind.name());
    record.agent = Some(asked.agent.to_string());
    record.transport = Some(node.to_string());
    record.proof = Some("x509-svid".to_owned());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    describe(&mut record, asked);
    let ring = facts.rows.get::<KeyRing>(purpose.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no signing keys yet"))?;
    let made = match decide(&facts, node, proved, asked, kind, now) {
        Ok((agent, id, life)) => {
            let jti = public_id(world);
            record.jti = Some(jti.clone());
            record.facts = reasons(&facts, &agent, kind, (now, life));
            let issuer = facts.set().domain().jwt_svid.issuer.as_ref();
            let epoch = facts.epoch.0;
            let making = Making { agent: &agent, id: &id, life, jti, now, epoch, issuer };
            make(world, &ring, &making, asked.kind).await?
        }
        Err(refusal) => Err(refusal),
    };
    match &made {
        Ok(_) => record.outcome = monitoring::Outcome::Permitted,
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok((made, receipt, now))
}

/// Everything before a signature: the node, the agent, the evidence, the policy.
fn decide(
    facts: &Basis,
    node: &WorkloadId,
    proved: Option<u64>,
    asked: &Asked<'_>,
    kind: CredentialKind,
    now: UnixTime,
) -> Result<(AgentRecord, SpiffeId, Span), Refusal> {
    let unknown = || Refusal::Unknown(asked.agent.clone());
    let store = |error: Unavailable| Refusal::Order(error.to_string());
    let host = facts.rows.get::<NodeRecord>(&node.to_string()).map_err(store)?;
    let host = host.ok_or_else(|| Refusal::Node("it is not in the registry".to_owned()))?;
    let issued = proved.map(provisioning::Epoch);
    host.lifecycle.admits(issued).map_err(|error| Refusal::Node(error.to_string()))?;
    let agent = facts.rows.get::<AgentRecord>(&asked.agent.to_string()).map_err(store)?;
    let agent = agent.ok_or_else(unknown)?;
    let WorkloadId::Spiffe(id) = &agent.id else { return Err(unknown()) };
    let life = match asked.process {
        Some(process) => {
            if host.role == Role::SpireAgent {
                return Err(Refusal::Node("it is a spire agent".to_owned()));
            }
            let found = process.selectors();
            let found = found.map_err(|error| Refusal::Evidence(error.to_string()))?;
            demand(facts, node, &agent, &found, kind)?
        }
        None => {
            asks_for(asked.kind, &agent.id)?;
            claimed(facts, &host, &agent, kind)?
        }
    };
    debug_assert!(now > UnixTime::EPOCH, "a clock that was set");
    Ok(((*agent.value).clone(), id.clone(), life))
}

/// The life of what a SPIRE agent gets for a workload of which it says that it is this one.
pub(crate) fn claimed(
    facts: &Basis,
    host: &NodeRecord,
    agent: &AgentRecord,
    kind: CredentialKind,
) -> Result<Span, Refusal> {
    if host.role != Role::SpireAgent {
        return Err(Refusal::Node("it is no spire agent".to_owned()));
    }
    // Policy may have changed since it joined.
    let rule = facts.set().attestation().node.get(&host.mechanism);
    if !rule.is_some_and(|rule| rule.spire_agents) {
        return Err(Refusal::Claimed(host.mechanism.clone()));
    }
    if !class_of(facts, agent)?.spire_agents {
        return Err(Refusal::Claimed(agent.entry.rule.class.clone()));
    }
    if agent.keys() == KeyHolding::Kept {
        return Err(Refusal::KeysKept(agent.id.clone()));
    }
    // It is asked by the record's name, so what it says of the process is the record's rule.
    demand(facts, &host.id, agent, &agent.entry.rule.selectors, kind)
}

fn demand(
    facts: &Basis,
    node: &WorkloadId,
    agent: &AgentRecord,
    found: &Selectors,
    kind: CredentialKind,
) -> Result<Span, Refusal> {
    let demand = Demand {
        kind,
        node,
        found,
        rule: &agent.entry.rule,
        lifecycle: &agent.lifecycle,
        class: class_of(facts, agent)?,
        lifetimes: &facts.set().domain().lifetimes,
    };
    Ok(demand.decide()?)
}

fn class_of<'a>(facts: &'a Basis, agent: &AgentRecord) -> Result<&'a RiskClass, Refusal> {
    let name = &agent.entry.rule.class;
    let missing = || Refusal::Order(format!("policy has no risk class `{name}`"));
    facts.set().attestation().class.get(name).ok_or_else(missing)
}

/// A SPIRE agent writes into the request whose it is: then it is this one's.
fn asks_for(kind: &IssueKind, id: &WorkloadId) -> Result<(), Refusal> {
    let (IssueKind::X509 { request } | IssueKind::Wit { request }) = kind else { return Ok(()) };
    let request = Request::verify(request).map_err(Refusal::Request)?;
    match request.uri_names().iter().find(|asked| **asked != id.to_string()) {
        None => Ok(()),
        Some(asked) => Err(Refusal::OtherName { asked: asked.clone(), id: id.clone() }),
    }
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
        life: making.life,
        epoch: making.epoch,
    };
    let checked = match x509_svid::build(&order, CERTIFICATE_ALGORITHM) {
        Ok(checked) => checked,
        Err(fault) => return Ok(Err(Refusal::Order(fault.to_string()))),
    };
    let leaf = sign::certificate(world, &sign::handle(ring.purpose, key), checked).await?;
    Ok(Ok(AssignedCredential::X509 { chain: vec![leaf.into_bytes()] }))
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
fn describe(record: &mut monitoring::Record, asked: &Asked<'_>) {
    let mut put = |name: &str, value: String| record.attestation.insert(name.to_owned(), value);
    match asked.process {
        Some(process) => {
            put("mechanism", "unix".to_owned());
            put("uid", process.uid.to_string());
            if let Some(path) = &process.path {
                put("path", path.clone());
            }
            if let Some(sha256) = &process.sha256 {
                put("sha256", sha256.clone());
            }
        }
        // Nothing was measured for us; the rule that it says is met stands in the facts.
        None => {
            put("mechanism", "spire-agent".to_owned());
            put("selectors", "as the spire agent says".to_owned());
        }
    }
    if let IssueKind::Jwt { audiences } = asked.kind {
        record.resource = audiences.first().cloned();
    }
}
