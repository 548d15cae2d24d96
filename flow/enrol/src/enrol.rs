//! An agent that lives on no host of ours is enrolled (S2 §3.1, REG-01; PROV-01, PROV-05, PROV-07,
//! ATT-01, ATT-04): session, proof of possession, evidence, documents, result, credentials.
//!
//! The order of the checks is that of an issuing authority, each with a refusal of its own: the
//! session's nonce; the key, proved; the evidence of the platform, bound to both; the agent whose
//! record claims that evidence; the documents about it; the result; what policy gives for it. Then
//! sign, record, release, in one commit that also uses up nonce and key.

use std::collections::{BTreeMap, BTreeSet};

use attestation::Appraisal;
use credential::{KeyRing, Purpose};
use enrolment::EnrolRequest;
use enrolment::session::{self, Session, Sessions};
use env::rows::{Documents, Enrolment};
use env::{
    AssignedCredential, Change, Entropy, Expect, Index, Key, Recorded, Store, Table, Unavailable,
    World, Write,
};
use flow::appraise::kept_basis;
use flow::facts::{Basis, basis};
use flow::record::begin;
use flow::turns::{TRIES_MAX, overtaken, pause};
use flow::{issuing, join};
use identifier::{AgentName, Assignment};
use jose::{PublicKey, TokenHash};
use monitoring::{Event, Record};
use registry::AgentRecord;
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::Request;

use crate::appraised::{Judged, judge};
use crate::made::{self, Making};
use crate::open::{allowed, platform};
use crate::refusal::Refusal;
use crate::settle::{KEY_SPACE, NONCE_SPACE, Of, Uses, key_kept, settle};

/// The most instances of an agent that are enrolled at once.
pub const INSTANCES_MAX: usize = 1_024;
/// The shortest time that a result must still count, if anything is to be issued on it.
pub const LIFE_MIN: Span = Span::from_seconds(30);

/// Who asks for what, and from where.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The request.
    pub request: EnrolRequest,
    /// Where it comes from, for the record.
    pub source: String,
}

/// What an agent gets.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Whom it is.
    pub id: WorkloadId,
    /// One credential of each kind that it asked for.
    pub credentials: Vec<AssignedCredential>,
    /// When the first of them ends.
    pub expires: UnixTime,
    /// When it should be renewed.
    pub renew_after: UnixTime,
    /// Until when it may be renewed; then it must enrol again.
    pub until: UnixTime,
    /// What it names the enrolment by. Worth nothing without the key of its credentials.
    pub handle: String,
}

/// The end of an attempt.
#[derive(Debug)]
pub enum End {
    /// It was decided, and recorded.
    Decided(Recorded<Result<Enrolled, Refusal>>),
    /// The asker proved nothing: count it, tell it no more than that.
    Stranger(Refusal),
}

/// Decides.
pub async fn enrol<W: World>(
    world: &W,
    sessions: &Sessions,
    attempt: &Attempt,
) -> Result<End, Unavailable> {
    let mut spent = BTreeSet::new();
    for turn in 0..TRIES_MAX {
        match once(world, sessions, attempt, &spent).await? {
            Ok(end) => return Ok(end),
            // Of these documents a value was accepted before: they count for nothing.
            Err(used) if !used.is_empty() => spent.extend(used),
            // Somebody else's commit came first: look again, which shows it.
            Err(_) => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

/// A request as far as it proves itself.
pub(crate) struct Asker<'a> {
    pub(crate) appraisal: Appraisal,
    pub(crate) session: Session,
    pub(crate) documents: Vec<enrolment::Brought<'a>>,
    pub(crate) key: String,
}

/// [`enrol`], unless another commit came first, or documents of these kinds were used before.
async fn once<W: World>(
    world: &W,
    sessions: &Sessions,
    attempt: &Attempt,
    spent: &BTreeSet<String>,
) -> Result<Result<End, BTreeSet<String>>, Unavailable> {
    let facts = load(world, &attempt.request.agent).await?;
    let now = issuing::now(world, &facts)?;
    let mut record = record_of(world, &facts, &attempt.request.mechanism, &attempt.source);
    let asker = match prove(world, &facts, sessions, &attempt.request, now).await {
        Ok(asker) => asker,
        Err(refusal) if refusal.is_strangers() => return Ok(Ok(End::Stranger(refusal))),
        Err(refusal) => {
            let none = Uses::default();
            let change = Change::default();
            let end = settle(world, &facts, change, record, Err(refusal), &none).await?;
            return Ok(end.map(End::Decided));
        }
    };
    for selector in asker.appraisal.selectors.iter() {
        record.attestation.insert(selector.to_string(), String::new());
    }
    let (mut change, mut uses) = (Change::default(), Uses::default());
    uses.add(Of::Nonce, NONCE_SPACE, &attempt.request.nonce, asker.session.until);
    for one in &asker.appraisal.uses {
        // The space of hosts that join: what was shown at one door serves at neither again.
        let space = format!("join/{}", asker.appraisal.mechanism);
        uses.add(Of::Evidence, &space, &one.value, one.until);
    }
    let made = match admitted(&facts, &attempt.request.agent) {
        Ok(agent) => {
            record.agent = Some(agent.id.to_string());
            let mut asking = Asking { facts: &facts, agent: &agent, asker: &asker, spent, now };
            admit(world, &mut asking, attempt, &mut change, &mut record, &mut uses).await?
        }
        Err(refusal) => Err(refusal),
    };
    if made.is_ok() {
        uses.add(Of::Key, KEY_SPACE, &asker.key, key_kept(now));
    }
    Ok(settle(world, &facts, change, record, made, &uses).await?.map(End::Decided))
}

/// Everything that an enrolment is decided by, as of one instant; the name leads to the agent.
async fn load<W: World>(world: &W, name: &AgentName) -> Result<Basis, Unavailable> {
    let assignment = flow::facts::one::<W, Assignment>(world, name.as_str()).await?;
    let id = assignment.map(|one| one.id.to_string()).unwrap_or_default();
    let mut keys = vec![
        Key::of::<Assignment>(name.as_str()),
        Key::of::<AgentRecord>(&id),
        Key::of::<Documents>(&id),
        Key::of::<KeyRing>(Purpose::AttestationResult.name()),
    ];
    keys.extend(made::rings());
    basis(world, keys).await
}

pub(crate) fn record_of<W: World>(
    world: &W,
    facts: &Basis,
    mechanism: &str,
    source: &str,
) -> Record {
    let mut record = begin(world, Event::CredentialIssued);
    record.action = "credential.enrol".to_owned();
    record.proof = Some(mechanism.to_owned());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    record.attestation.insert("source".to_owned(), source.to_owned());
    record
}

/// Nonce, key, evidence: whatever it says, it says for this key in this session.
async fn prove<'a, W: World>(
    world: &W,
    facts: &Basis,
    sessions: &Sessions,
    request: &'a EnrolRequest,
    now: UnixTime,
) -> Result<Asker<'a>, Refusal> {
    let (mechanism, rule) = allowed(facts, &request.mechanism)?;
    let (evidence, documents) = enrolment::take_apart(&request.evidence, mechanism)?;
    let session = sessions.accept(&request.nonce, &request.mechanism, evidence, now)?;
    let asked = Request::verify(&request.wanted.request).map_err(join::Refusal::Request)?;
    let key = bindable(asked.spki_der())?;
    if key.thumbprint() != session.key {
        return Err(session::Refusal::OtherKey.into());
    }
    let mut known = platform(facts, rule, asked.spki_der(), &session.challenge, now);
    let keys = match mechanism.keys(evidence, &known).map_err(join::Refusal::from)? {
        Some(question) => Some(join::ask(world, &question).await?),
        None => None,
    };
    known.keys = keys.as_deref();
    let told = match mechanism.question(evidence, &known).map_err(join::Refusal::from)? {
        Some(question) => Some(join::ask(world, &question).await?),
        None => None,
    };
    known.told = told.as_deref();
    let appraisal = mechanism.appraise(evidence, request.response.as_deref(), &known);
    let appraisal = appraisal.map_err(join::Refusal::from)?;
    if appraisal.once {
        return Err(Refusal::FirstUse { mechanism: appraisal.mechanism });
    }
    Ok(Asker { appraisal, session, documents, key: key.thumbprint().to_base64url() })
}

/// A key that a credential can bind: of a type and strength that signatures here are verified by.
pub(crate) fn bindable(spki: &[u8]) -> Result<PublicKey, Refusal> {
    let key = PublicKey::from_spki_der(spki).map_err(|error| Refusal::Key(error.to_string()))?;
    let algorithm = key.algorithms().next().ok_or_else(|| Refusal::Key("no algorithm".into()))?;
    key.for_algorithm(algorithm).map_err(|error| Refusal::Key(error.to_string()))
}

/// The agent of that name.
fn admitted(facts: &Basis, name: &AgentName) -> Result<AgentRecord, Refusal> {
    let unknown = || Refusal::Unknown(name.clone());
    let store = |error: Unavailable| Refusal::Order(error.to_string());
    let assignment = facts.rows.get::<Assignment>(name.as_str()).map_err(store)?;
    let id = assignment.ok_or_else(unknown)?.id.to_string();
    let agent = facts.rows.get::<AgentRecord>(&id).map_err(store)?.ok_or_else(unknown)?;
    if !facts.set().attestation().class.contains_key(&agent.entry.rule.class) {
        return Err(Refusal::Class(agent.entry.rule.class.clone()));
    }
    Ok((*agent.value).clone())
}

/// What is appraised.
pub(crate) struct Asking<'a> {
    pub(crate) facts: &'a Basis,
    pub(crate) agent: &'a AgentRecord,
    pub(crate) asker: &'a Asker<'a>,
    pub(crate) spent: &'a BTreeSet<String>,
    pub(crate) now: UnixTime,
}

/// The result, what policy gives for it, and the credentials; gathers the rows.
async fn admit<W: World>(
    world: &W,
    asking: &mut Asking<'_>,
    attempt: &Attempt,
    change: &mut Change,
    record: &mut Record,
    uses: &mut Uses,
) -> Result<Result<Enrolled, Refusal>, Unavailable> {
    let (facts, now) = (asking.facts, asking.now);
    let found = &asking.asker.appraisal.selectors;
    let wanted = &attempt.request.wanted;
    let making = Making::new(facts, asking.agent, found, wanted, now)?;
    if let Err(refusal) = making.fits() {
        return Ok(Err(refusal));
    }
    if is_full(world, &asking.agent.id, now).await? {
        return Ok(Err(Refusal::TooMany));
    }
    let judged = match judge(world, asking, uses).await? {
        Ok(judged) => judged,
        Err(refusal) => return Ok(Err(refusal)),
    };
    judged.describe(record);
    change.records.push(judged.record(world, asking));
    let handle = TokenHash::from_bytes(world.entropy().secret()).to_base64url();
    let mut row = row(asking, &judged, hash_of(&handle));
    let made = match making.make(world, &row, record).await? {
        Ok(made) => made,
        Err(refusal) => return Ok(Err(refusal)),
    };
    row.given = made.given;
    change.writes.push(Write::put(&row, Expect::Absent));
    // Only who is enrolled uses up what it was enrolled by.
    change.writes.extend(judged.accepted);
    change.records.extend(made.records);
    Ok(Ok(Enrolled {
        id: asking.agent.id.clone(),
        credentials: made.credentials,
        expires: made.expires,
        renew_after: made.renew_after,
        until: row.until,
        handle,
    }))
}

fn row(asking: &Asking<'_>, judged: &Judged, handle: String) -> Enrolment {
    Enrolment {
        handle,
        agent: asking.agent.id.to_string(),
        mechanism: asking.asker.appraisal.mechanism.to_owned(),
        selectors: asking.asker.appraisal.selectors.clone(),
        key: asking.asker.key.clone(),
        basis: kept_basis(asking.facts, asking.agent.id.as_str()),
        digest: judged.digest.clone(),
        summary: judged.summary.clone(),
        told: judged.told.clone(),
        documents: judged.documents.clone(),
        enrolled: asking.now,
        renewed: asking.now,
        until: judged.until,
        first: asking.asker.key.clone(),
        kept: judged.kept.clone(),
        held: judged.grade,
        given: BTreeMap::new(),
    }
}

/// What a handle is stored and looked up by.
pub(crate) fn hash_of(handle: &str) -> String {
    TokenHash::of(&format!("aims enrolment handle\0{handle}")).to_base64url()
}

/// Whether as many instances are enrolled as may be. Those that enrol at the same instant do not
/// see each other; the next ones see them all.
async fn is_full<W: World>(
    world: &W,
    agent: &WorkloadId,
    now: UnixTime,
) -> Result<bool, Unavailable> {
    let (mut after, mut live) = (None::<String>, 0_usize);
    loop {
        let (store, of) = (world.store(), agent.as_str());
        let table = Table::Enrolments;
        let page = store.scan(table, Index::Agent, of, after.as_deref(), PAGE).await?;
        let counts = |row: &&std::sync::Arc<env::Row>| row.expires.is_none_or(|end| now < end);
        live = live.saturating_add(page.rows.iter().filter(counts).count());
        after = page.next;
        if live >= INSTANCES_MAX || after.is_none() {
            return Ok(live >= INSTANCES_MAX);
        }
    }
}

/// Rows of one page.
const PAGE: usize = 200;
