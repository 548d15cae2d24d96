//! A node asks for a credential for a workload that it measured (S1 §7, §8; CRED-02 to CRED-04,
//! PROV-01, PROV-03, PROV-07): appraise, decide, sign, record, release. A SPIRE agent asks for one
//! in the same way, and says only which record the workload matches (docs/decisions/0014).

pub mod making;

use std::collections::BTreeSet;
use std::sync::Arc;

use attestation::Selectors;
use attestation::class::{RiskClass, Shortfall};
use attestation::mechanism::Role;
use attestation::unix::Process;
use credential::{KeyRing, Purpose};
use env::rows::{Hosted, ResultRow};
use env::{
    AssignedCredential, Change, CommitFault, Expect, IssueKind, IssueOrder, Key, Recorded, Store,
    Unavailable, World, Write,
};
use monitoring::Event;
use provisioning::{CredentialKind, Demand, IssueRefusal, KeyHolding};
use registry::{AgentRecord, NodeRecord};
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::{Request, RequestError};

use self::making::Making;
use crate::appraise::{self, Asking};
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::record::{begin, public_id, refused};
use crate::sign;
use crate::turns::{TRIES_MAX, pause};
use crate::turns::{overtaken, settled};

/// How many lives of a credential a row about its node lasts.
const HOSTED_LIVES: u64 = 4;

/// Why no credential is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node is not one of ours, or not in force.
    #[error("the node is not in force: {0}")]
    Node(String),
    /// The agent is not in the registry.
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
    /// A JWT-SVID says a SPIFFE ID, and nothing else.
    #[error("`{0}` is no spiffe id, and a jwt-svid is issued to one alone")]
    NotSpiffe(WorkloadId),
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
            Self::Claimed(_) => "issue::Claimed",
            Self::KeysKept(_) => "issue::KeysKept",
            Self::NotSpiffe(_) => "issue::NotSpiffe",
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

impl Asked<'_> {
    /// What the results of such a process are known by.
    fn measured(&self) -> String {
        let found = self.process.and_then(|process| process.selectors().ok());
        found.as_ref().map(ResultRow::measured).unwrap_or_default()
    }
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
    Ok(issue_asked(world, node, proved, &asked).await?.0)
}

/// The same for a SPIRE agent, whose word is all there is; and when it was issued.
pub async fn issue_claimed<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
    agent: &WorkloadId,
    kind: &IssueKind,
) -> Result<(Issued, UnixTime), Unavailable> {
    issue_asked(world, node, proved, &Asked { agent, process: None, kind }).await
}

async fn issue_asked<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
    asked: &Asked<'_>,
) -> Result<(Issued, UnixTime), Unavailable> {
    let mut spent = BTreeSet::new();
    for turn in 0..TRIES_MAX {
        match once(world, node, proved, asked, &spent).await? {
            Ok(issued) => return Ok(issued),
            // Of these documents a value was accepted before: they count for nothing.
            Err(used) if !used.is_empty() => spent.extend(used),
            // Somebody else's result came first: look again, which shows it.
            Err(_) => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

/// Issues, unless another commit came first, or a document of these kinds was used before.
async fn once<W: World>(
    world: &W,
    node: &WorkloadId,
    proved: Option<u64>,
    asked: &Asked<'_>,
    spent: &BTreeSet<String>,
) -> Result<Result<(Issued, UnixTime), BTreeSet<String>>, Unavailable> {
    let (agent, purpose) = (asked.agent.to_string(), purpose_of(kind_of(asked.kind)));
    let mut keys = vec![
        Key::of::<AgentRecord>(&agent),
        Key::of::<NodeRecord>(node.to_string()),
        Key::of::<KeyRing>(purpose.name()),
        Key::of::<Hosted>(Hosted::id_of(&node.to_string(), &agent)),
    ];
    keys.extend(appraise::keys(&agent, &node.to_string(), &asked.measured()));
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let mut record = record_of(world, &facts, node, asked);
    let ring = facts.rows.get::<KeyRing>(purpose.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no signing keys yet"))?;
    let mut change = Change::default();
    let (made, appraised) = match admitted(&facts, node, proved, asked) {
        Ok(admitted) => {
            let issuing = Issuing { facts: &facts, ring: &ring, node, asked, spent, now };
            issued(world, &issuing, &admitted, &mut change, &mut record).await?
        }
        Err(refusal) => (Err(refusal), Appraised::default()),
    };
    let mut is_new_here = false;
    match &made {
        Ok(_) => {
            record.outcome = monitoring::Outcome::Permitted;
            let hosting = hosting(&facts, node, asked.agent, now)?;
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
                let gone = gone(world, &facts, node, asked, why).await?;
                return Ok(Ok((gone, now)));
            }
            let is_new = appraised.is_stored && made.is_ok();
            if is_new && !appraise::still_stands(world, &facts, &agent).await? {
                // What was made is not released: it is decided again, by what counts now.
                return Ok(Err(BTreeSet::new()));
            }
            Ok(Ok((Recorded::new(made, &receipt), now)))
        }
        // Of this document, and of no other.
        Err(CommitFault::Used(found)) => {
            let taken = appraised.taken.into_iter().filter(|(hash, _)| *hash == found.hash);
            Ok(Err(taken.map(|(_, kind)| kind).collect()))
        }
        Err(CommitFault::Conflict(_)) => Ok(Err(BTreeSet::new())),
        Err(CommitFault::Unavailable(why)) => Err(why),
    }
}

/// What an issuance is decided and made of.
struct Issuing<'a> {
    facts: &'a Basis,
    ring: &'a KeyRing,
    node: &'a WorkloadId,
    asked: &'a Asked<'a>,
    spent: &'a BTreeSet<String>,
    now: UnixTime,
}

/// What of an appraisal goes into the change.
#[derive(Default)]
struct Appraised {
    /// Documents whose single-use values are taken.
    taken: appraise::Taken,
    /// Whether a row of the result is stored.
    is_stored: bool,
}

/// Appraises, decides and makes; what is to be stored and recorded of the appraisal goes into the
/// change.
async fn issued<W: World>(
    world: &W,
    issuing: &Issuing<'_>,
    admitted: &Admitted<'_>,
    change: &mut Change,
    record: &mut monitoring::Record,
) -> Result<(Result<AssignedCredential, Refusal>, Appraised), Unavailable> {
    let (facts, kind, now) = (issuing.facts, kind_of(issuing.asked.kind), issuing.now);
    let demand = admitted.demand(facts, issuing.node, kind);
    if let Err(refusal) = demand.fits() {
        return Ok((Err(refusal.into()), Appraised::default()));
    }
    let Admitted { host, agent, class, .. } = admitted;
    let asking = Asking { agent, host, found: admitted.measured(), class, now };
    let mut judged = appraise::judge(world, facts, &asking, issuing.spent).await?;
    judged.describe(record);
    let decided = demand.decide(&judged.row.summary);
    let granted = decided.as_ref().ok().map(|life| (kind, *life));
    let is_stored = judged.put(world, change, now, granted);
    let appraised = Appraised { taken: judged.taken(), is_stored };
    let life = match decided {
        // Nothing outlives the key that it is verified with, nor what stands above that.
        Ok(life) => sign::life(sign::signer(issuing.ring, now)?, life, now),
        Err(refusal) => return Ok((Err(refusal.into()), appraised)),
    };
    let jti = public_id(world);
    record.jti = Some(jti.clone());
    record.facts = reasons(facts, agent, kind, (now, life));
    let said = making::attributes(asking.agent, asking.class, kind, &judged.row.digest);
    let making = Making::new(facts, agent, life, jti, now, &said);
    Ok((making.make(world, issuing.ring, issuing.asked.kind).await?, appraised))
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
    facts: &Basis,
    node: &WorkloadId,
    asked: &Asked<'_>,
    why: String,
) -> Result<Issued, Unavailable> {
    let refusal = Refusal::Node(why);
    let mut record = record_of(world, facts, node, asked);
    refused(&mut record, refusal.check(), &refusal, None);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(Err(refusal), &receipt))
}

fn record_of<W: World>(
    world: &W,
    facts: &Basis,
    node: &WorkloadId,
    asked: &Asked<'_>,
) -> monitoring::Record {
    let mut record = begin(world, Event::CredentialIssued);
    record.action = format!("credential.issue.{}", kind_of(asked.kind).name());
    record.agent = Some(asked.agent.to_string());
    record.transport = Some(node.to_string());
    record.proof = Some("x509-svid".to_owned());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    describe(&mut record, asked);
    record
}

/// A host in force, an agent that policy knows, and what its process is said to be.
struct Admitted<'a> {
    host: Arc<NodeRecord>,
    agent: Arc<AgentRecord>,
    class: &'a RiskClass,
    /// What a node of ours measured, or the record's rule, where a SPIRE agent says that it is met.
    found: Selectors,
    is_measured: bool,
}

impl Admitted<'_> {
    fn demand<'a>(
        &'a self,
        facts: &'a Basis,
        node: &'a WorkloadId,
        kind: CredentialKind,
    ) -> Demand<'a> {
        demand(facts, node, &self.agent, self.class, &self.found, kind)
    }

    /// What the verifier may take as measured.
    fn measured(&self) -> Option<&Selectors> {
        self.is_measured.then_some(&self.found)
    }
}

/// Who asks, and for whom.
fn admitted<'a>(
    facts: &'a Basis,
    node: &WorkloadId,
    proved: Option<u64>,
    asked: &Asked<'_>,
) -> Result<Admitted<'a>, Refusal> {
    let unknown = || Refusal::Unknown(asked.agent.clone());
    let store = |error: Unavailable| Refusal::Order(error.to_string());
    let host = facts.rows.get::<NodeRecord>(&node.to_string()).map_err(store)?;
    let host = host.ok_or_else(|| Refusal::Node("it is not in the registry".to_owned()))?;
    let issued = proved.map(provisioning::Epoch);
    host.lifecycle.admits(issued).map_err(|error| Refusal::Node(error.to_string()))?;
    let agent = facts.rows.get::<AgentRecord>(&asked.agent.to_string()).map_err(store)?;
    let agent = agent.ok_or_else(unknown)?;
    // JWT-SVID §3.1: `sub` "MUST be set to the SPIFFE ID of the workload to which it is issued".
    if matches!(asked.kind, IssueKind::Jwt { .. }) && agent.id.as_spiffe().is_none() {
        return Err(Refusal::NotSpiffe(agent.id.clone()));
    }
    let class = class_of(facts, &agent)?;
    let found = match asked.process {
        Some(_) if host.role == Role::SpireAgent => {
            return Err(Refusal::Node("it is a spire agent".to_owned()));
        }
        Some(process) => {
            process.selectors().map_err(|error| Refusal::Evidence(error.to_string()))?
        }
        None => {
            asks_for(asked.kind, &agent.id)?;
            may_claim(facts, &host, &agent)?;
            // It is asked by the record's name, so what it says of the process is the record's
            // rule.
            agent.entry.rule.selectors.clone()
        }
    };
    let (host, agent) = (host.value, agent.value);
    Ok(Admitted { host, agent, class, found, is_measured: asked.process.is_some() })
}

/// The life of what a SPIRE agent gets at most for a workload of which it says that it is this one.
pub(crate) fn claimed(
    facts: &Basis,
    host: &NodeRecord,
    agent: &AgentRecord,
    kind: CredentialKind,
) -> Result<Span, Refusal> {
    may_claim(facts, host, agent)?;
    let (class, found) = (class_of(facts, agent)?, &agent.entry.rule.selectors);
    Ok(demand(facts, &host.id, agent, class, found, kind).at_most()?)
}

/// Whether a SPIRE agent's word counts for this record.
fn may_claim(facts: &Basis, host: &NodeRecord, agent: &AgentRecord) -> Result<(), Refusal> {
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
    Ok(())
}

/// What is asked of policy and of the record.
fn demand<'a>(
    facts: &'a Basis,
    node: &'a WorkloadId,
    agent: &'a AgentRecord,
    class: &'a RiskClass,
    found: &'a Selectors,
    kind: CredentialKind,
) -> Demand<'a> {
    Demand {
        kind,
        node: Some(node),
        found,
        rule: &agent.entry.rule,
        lifecycle: &agent.lifecycle,
        class,
        lifetimes: &facts.set().domain().lifetimes,
    }
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
fn describe(record: &mut monitoring::Record, asked: &Asked<'_>) {
    let mut put = |name: &str, value: &str| {
        record.attestation.insert(name.to_owned(), value.to_owned());
    };
    match asked.process {
        Some(process) => {
            put("mechanism", "unix");
            record.attestation.extend(process.evidence());
        }
        // Nothing was measured for us; the rule that it says is met stands in the facts.
        None => {
            put("mechanism", "spire-agent");
            put("selectors", "as the spire agent says");
        }
    }
    if let IssueKind::Jwt { audiences } = asked.kind {
        record.resource = audiences.first().cloned();
    }
}
