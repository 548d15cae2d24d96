//! A node asks for a credential for a workload that it measured (S1 §7, §8; CRED-02 to CRED-04,
//! PROV-01, PROV-03, PROV-07): sign, record, release.

use std::collections::BTreeSet;

use attestation::Selectors;
use attestation::class::{Attribute, RiskClass, Shortfall};
use credential::{KeyRing, Purpose, TokenText, jwt_svid, wit, x509_svid};
use env::rows::Hosted;
use env::{
    AssignedCredential, Change, CommitFault, Entropy, Expect, IssueKind, IssueOrder, Key, Recorded,
    Store, Unavailable, World, Write,
};
use jose::PublicKey;
use monitoring::Event;
use provisioning::{CredentialKind, Demand, IssueRefusal};
use registry::{AgentRecord, NodeRecord};
use spiffe::{Attributes, SpiffeId};
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::{DnsName, Request, RequestError};

use crate::agents::{overtaken, settled};
use crate::appraise::{self, Asking};
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::record::{begin, public_id, refused};
use crate::sign::{self, ALGORITHM, CERTIFICATE_ALGORITHM};
use crate::turns::{TRIES_MAX, pause};

/// How many lives of a credential a row about its node lasts.
const HOSTED_LIVES: u64 = 4;

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
            Self::Issue(IssueRefusal::Node { .. } | IssueRefusal::NoNode) => "provisioning::Node",
            Self::Issue(IssueRefusal::Evidence { .. }) => "provisioning::Evidence",
            Self::Issue(IssueRefusal::RuleTooWeak { .. }) => "provisioning::RuleTooWeak",
            Self::Issue(IssueRefusal::Attestation(Shortfall::Contraindicated { .. })) => {
                "attestation::Contraindicated"
            }
            Self::Issue(IssueRefusal::Attestation(Shortfall::Demand { .. })) => {
                "attestation::Demand"
            }
            Self::Issue(IssueRefusal::Attestation(Shortfall::Fact { .. })) => "attestation::Fact",
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
    let mut spent = BTreeSet::new();
    for turn in 0..TRIES_MAX {
        match once(world, node, proved, &order, &spent).await? {
            Ok(issued) => return Ok(issued),
            // Of these documents a value was accepted before: they count for nothing.
            Err(used) if !used.is_empty() => spent.extend(used),
            // Somebody else's result came first: look again, which shows it.
            Err(_) => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

/// [`issue`], unless another commit came first, or a document of these kinds was used before.
async fn once<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
    order: &IssueOrder,
    spent: &BTreeSet<String>,
) -> Result<Result<Issued, BTreeSet<String>>, Unavailable> {
    let kind = kind_of(&order.kind);
    let purpose = purpose_of(kind);
    let mut keys = vec![
        Key::of::<AgentRecord>(order.agent.to_string()),
        Key::of::<NodeRecord>(node.to_string()),
        Key::of::<KeyRing>(purpose.name()),
        Key::of::<Hosted>(Hosted::id_of(&node.to_string(), &order.agent.to_string())),
    ];
    keys.extend(appraise::keys(&order.agent.to_string(), &node.to_string()));
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let mut record = record_of(world, &facts, node, order, kind);
    let ring = facts.rows.get::<KeyRing>(purpose.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no signing keys yet"))?;
    let mut change = Change::default();
    let (made, kinds) = match admitted(&facts, node, proved, order) {
        Ok(admitted) => {
            let asking = admitted.asking(&facts, now)?;
            let issuing = Issuing { facts: &facts, ring: &ring, asking, node, order, kind, spent };
            issued(world, &issuing, &mut change, &mut record).await?
        }
        Err(refusal) => (Err(refusal), BTreeSet::new()),
    };
    let mut is_new_here = false;
    match &made {
        Ok(_) => {
            record.outcome = monitoring::Outcome::Permitted;
            let hosting = hosting(&facts, node, &order.agent, now)?;
            is_new_here = hosting.is_some();
            change.writes.extend(hosting);
        }
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    // The decision first: it is what the answer names.
    change.records.insert(0, record);
    match world.store().commit(change).await {
        Ok(receipt) => {
            // INVARIANT: whoever revokes the node sees the row, or we see that it is revoked.
            if is_new_here && let Err(why) = standing(world, node, proved).await? {
                return gone(world, order, node, why).await.map(Ok);
            }
            Ok(Ok(Recorded::new(made, &receipt)))
        }
        Err(CommitFault::Used(_)) => Ok(Err(kinds)),
        Err(CommitFault::Conflict(_)) => Ok(Err(BTreeSet::new())),
        Err(CommitFault::Unavailable(why)) => Err(why),
    }
}

/// What an issuance is decided and made of.
struct Issuing<'a> {
    facts: &'a Basis,
    ring: &'a KeyRing,
    asking: Asking<'a>,
    node: &'a WorkloadId,
    order: &'a IssueOrder,
    kind: CredentialKind,
    spent: &'a BTreeSet<String>,
}

/// Appraises, decides and makes; what is to be stored and recorded of the appraisal goes into the
/// change. Beside the credential: the documents whose single-use values are taken.
async fn issued<W: World>(
    world: &W,
    issuing: &Issuing<'_>,
    change: &mut Change,
    record: &mut monitoring::Record,
) -> Result<(Result<AssignedCredential, Refusal>, BTreeSet<String>), Unavailable> {
    let Issuing { facts, ring, asking, node, order, kind, spent } = issuing;
    let demand = demand(facts, node, *kind, asking);
    if let Err(refusal) = demand.fits() {
        return Ok((Err(refusal.into()), BTreeSet::new()));
    }
    let mut judged = appraise::judge(world, facts, asking, spent).await?;
    judged.describe(record);
    let decided = demand.decide(&judged.row.summary);
    judged.put(world, change, asking.now, decided.is_ok());
    let life = match decided {
        Ok(life) => life,
        Err(refusal) => return Ok((Err(refusal.into()), judged.kinds())),
    };
    let (jti, now) = (public_id(world), asking.now);
    record.jti = Some(jti.clone());
    record.facts = reasons(facts, asking.agent, *kind, (now, life));
    let said = attributes(asking.agent, asking.class, *kind, &judged.row.digest);
    let making = Making::new(facts, asking.agent, life, jti, now, &said)?;
    Ok((make(world, ring, &making, &order.kind).await?, judged.kinds()))
}

/// The row that this node has credentials for this agent, where there is none that lasts: it lasts
/// several lives, so that renewals write nothing.
fn hosting(
    facts: &Basis,
    node: &WorkloadId,
    agent: &WorkloadId,
    now: UnixTime,
) -> Result<Option<Write>, Unavailable> {
    let (node, agent) = (node.to_string(), agent.to_string());
    let lifetimes = &facts.set().domain().lifetimes;
    let life = lifetimes.x509_svid.max(lifetimes.wit).max(lifetimes.jwt_svid);
    let found = facts.rows.get::<Hosted>(&Hosted::id_of(&node, &agent))?;
    if found.is_some_and(|row| now.plus(life) < row.until) {
        return Ok(None);
    }
    let until = now.plus(Span::from_millis(life.millis().saturating_mul(HOSTED_LIVES)));
    Ok(Some(Write::put(&Hosted { node, agent, until }, Expect::Any)))
}

/// Whether the node is still in force.
async fn standing<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
) -> Result<Result<(), String>, Unavailable> {
    let found = crate::facts::one::<W, NodeRecord>(world, &node.to_string()).await?;
    let admitted = found.map(|node| node.lifecycle.admits(proved.map(provisioning::Epoch)));
    Ok(match admitted {
        Some(admitted) => admitted.map_err(|why| why.to_string()),
        None => Err("it is not in the registry".to_owned()),
    })
}

/// It was revoked while we signed: what was made is not released, and that is recorded.
async fn gone<W: World>(
    world: &W,
    order: &IssueOrder,
    node: &WorkloadId,
    why: String,
) -> Result<Issued, Unavailable> {
    let refusal = Refusal::Node(why);
    let mut record = begin(world, Event::CredentialIssued);
    record.action = format!("credential.issue.{}", kind_of(&order.kind).name());
    record.agent = Some(order.agent.to_string());
    record.transport = Some(node.to_string());
    refused(&mut record, refusal.check(), &refusal, None);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(Err(refusal), &receipt))
}

fn record_of<W: World>(
    world: &W,
    facts: &Basis,
    node: &WorkloadId,
    order: &IssueOrder,
    kind: CredentialKind,
) -> monitoring::Record {
    let mut record = begin(world, Event::CredentialIssued);
    record.action = format!("credential.issue.{}", kind.name());
    record.agent = Some(order.agent.to_string());
    record.transport = Some(node.to_string());
    record.proof = Some("x509-svid".to_owned());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    describe(&mut record, order);
    record
}

/// A host in force, an agent that policy knows, and what was measured.
struct Admitted {
    host: NodeRecord,
    agent: AgentRecord,
    found: Selectors,
}

impl Admitted {
    fn asking<'a>(&'a self, facts: &'a Basis, now: UnixTime) -> Result<Asking<'a>, Unavailable> {
        let class = facts.set().attestation().class.get(&self.agent.entry.rule.class);
        let class = class.ok_or_else(|| Unavailable::of("store", "a class that is gone"))?;
        Ok(Asking { agent: &self.agent, host: &self.host, found: &self.found, class, now })
    }
}

/// Who asks, and for whom.
fn admitted(
    facts: &Basis,
    node: &WorkloadId,
    proved: Option<u64>,
    order: &IssueOrder,
) -> Result<Admitted, Refusal> {
    let unknown = || Refusal::Unknown(order.agent.clone());
    let store = |error: Unavailable| Refusal::Order(error.to_string());
    let host = facts.rows.get::<NodeRecord>(&node.to_string()).map_err(store)?;
    let host = host.ok_or_else(|| Refusal::Node("it is not in the registry".to_owned()))?;
    let issued = proved.map(provisioning::Epoch);
    host.lifecycle.admits(issued).map_err(|error| Refusal::Node(error.to_string()))?;
    let agent = facts.rows.get::<AgentRecord>(&order.agent.to_string()).map_err(store)?;
    let agent = agent.ok_or_else(unknown)?;
    if !matches!(agent.id, WorkloadId::Spiffe(_)) {
        return Err(unknown());
    }
    let class = &agent.entry.rule.class;
    if !facts.set().attestation().class.contains_key(class) {
        return Err(Refusal::Order(format!("policy has no risk class `{class}`")));
    }
    let found = selectors(order)?;
    Ok(Admitted { host: (*host.value).clone(), agent: (*agent.value).clone(), found })
}

/// What is asked of policy and of the record.
fn demand<'a>(
    facts: &'a Basis,
    node: &'a WorkloadId,
    kind: CredentialKind,
    asking: &Asking<'a>,
) -> Demand<'a> {
    Demand {
        kind,
        node: Some(node),
        found: asking.found,
        rule: &asking.agent.entry.rule,
        lifecycle: &asking.agent.lifecycle,
        class: asking.class,
        lifetimes: &facts.set().domain().lifetimes,
    }
}

/// CRED-07: what policy lets the credential say about its agent.
pub fn attributes(
    agent: &AgentRecord,
    class: &RiskClass,
    kind: CredentialKind,
    result: &str,
) -> Attributes {
    let entry = &agent.entry;
    let said = |attribute| class.attributes.contains(&attribute);
    Attributes {
        owner: said(Attribute::Owner).then(|| entry.owner.clone()),
        capabilities: said(Attribute::Capabilities).then(|| entry.capabilities_hash()),
        locator: entry.locator.clone().filter(|_| said(Attribute::Locator)),
        result: said(Attribute::Result).then(|| result.to_owned()),
        methods: if said(Attribute::Methods) {
            kind.methods().iter().map(|&method| method.to_owned()).collect()
        } else {
            Vec::new()
        },
    }
}

fn selectors(order: &IssueOrder) -> Result<Selectors, Refusal> {
    order.process.selectors().map_err(|error| Refusal::Evidence(error.to_string()))
}

/// A credential as it is to be made.
pub struct Making<'a> {
    id: &'a SpiffeId,
    life: Span,
    jti: String,
    now: UnixTime,
    epoch: u64,
    /// `iss` of JWT-SVIDs.
    issuer: Option<&'a oauth::Issuer>,
    attributes: &'a Attributes,
    dns_names: &'a BTreeSet<DnsName>,
}

impl<'a> Making<'a> {
    /// For this agent, with this life and id.
    pub fn new(
        facts: &'a Basis,
        agent: &'a AgentRecord,
        life: Span,
        jti: String,
        now: UnixTime,
        attributes: &'a Attributes,
    ) -> Result<Self, Unavailable> {
        let WorkloadId::Spiffe(id) = &agent.id else {
            return Err(Unavailable::of("store", "an agent without a SPIFFE ID"));
        };
        let issuer = facts.set().domain().jwt_svid.issuer.as_ref();
        let (epoch, dns_names) = (facts.epoch.0, &agent.entry.dns_names);
        Ok(Self { id, life, jti, now, epoch, issuer, attributes, dns_names })
    }
}

/// Builds, checks and signs. The outer error is ours, the inner one the asker's.
pub async fn make<W: World>(
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
                attributes: making.attributes,
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
                attributes: making.attributes,
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
        dns_names: making.dns_names.iter().map(ToString::to_string).collect(),
        ip_names: Vec::new(),
        authority: &authority,
        random: world.entropy().public(),
        now: making.now,
        life: making.life,
        epoch: making.epoch,
        attributes: making.attributes,
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

/// Which of our keys sign it.
pub fn purpose_of(kind: CredentialKind) -> Purpose {
    match kind {
        CredentialKind::X509 => Purpose::X509Authority,
        CredentialKind::Wit => Purpose::Wit,
        CredentialKind::Jwt => Purpose::JwtSvid,
    }
}

/// What decided: the record's rule, what policy demands and gives of its risk class, and how long
/// it lives. An issuance can be explained by its record alone, under whatever policy came later.
pub fn reasons(
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
