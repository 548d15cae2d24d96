//! A host or gateway joins: evidence in, X.509-SVID out (S1 §7; ATT-02, ATT-12, PROV-01, PROV-07).

use attestation::join_token::JoinToken;
use attestation::mechanism::{ALL, Facts, Mechanism, Question, Role, named};
use attestation::policy::NodeRule;
use attestation::{Appraisal, Refusal as EvidenceRefusal};
use credential::{KeyRing, Purpose, x509_svid};
use env::{
    Change, Clock, CommitFault, Entropy, Expect, Key, Recorded, Store, Unavailable, World, Write,
};
use jose::PublicKey;
use monitoring::{Event, Record};
use provisioning::NotInForce;
use registry::NodeRecord;
use time::UnixTime;
use wimse::{Origin, WorkloadId};
use x509::{Request, RequestError};

use crate::facts::{Basis, basis};
use crate::issuing;
use crate::join_token::hash_of;
use crate::record::{begin, refused, single_use};
use crate::sign::{self, CERTIFICATE_ALGORITHM};
use crate::turns::overtaken;

/// What a host presents.
#[derive(Clone)]
pub struct Attempt {
    /// The mechanism's name.
    pub mechanism: String,
    /// What it wants to be.
    pub role: Role,
    /// The evidence.
    pub evidence: Vec<u8>,
    /// PKCS#10 request, DER, of the key that its identity will have.
    pub request: Vec<u8>,
    /// Where it comes from, for the record.
    pub source: String,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attempt({} by {} from {})", self.role.name(), self.mechanism, self.source)
    }
}

/// A challenge that was sent, and its nonce, which lives as long as the connection.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What the answer must be bound to.
    pub nonce: [u8; 32],
}

/// What a host gets.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its identifier.
    pub id: WorkloadId,
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// True when what it joined by serves once: it renews, and cannot attest again.
    pub once: bool,
}

/// Why a host may not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceRefusal),
    /// PROV-07.
    #[error("the request is not proved: {0}")]
    Request(RequestError),
    /// It is known, and not in force.
    #[error("`{id}` is not in force: {why}")]
    NotInForce {
        /// Its identifier.
        id: String,
        /// Why.
        why: NotInForce,
    },
    /// CRED-11.
    #[error("the key is that of the credential before; make a new one")]
    SameKey,
    /// What is found out makes no identifier.
    #[error("no identifier can be made of `{0}`")]
    Identifier(String),
    /// The evidence, or a part of it, was accepted before.
    #[error("the evidence was used before")]
    Replayed,
    /// Trust on first use: the host joined before.
    #[error(
        "`{id}` joined at {joined} already; an operator forgets it, or policy lets it attest again"
    )]
    Known {
        /// Its identifier.
        id: String,
        /// When it joined first.
        joined: UnixTime,
    },
    /// The mechanism has to ask somebody, and nothing here can.
    #[error("{whom} would have to be asked, and nothing here can")]
    CannotAsk {
        /// Whom.
        whom: String,
    },
    /// Who was asked did not answer.
    #[error("{whom} did not answer: {why}")]
    NoAnswer {
        /// Whom.
        whom: String,
        /// Why.
        why: String,
    },
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Evidence(EvidenceRefusal::TokenUsed { .. }) => "attestation::TokenUsed",
            Self::Evidence(EvidenceRefusal::TokenExpired { .. }) => "attestation::TokenExpired",
            Self::Evidence(EvidenceRefusal::TokenUnknown) => "attestation::TokenUnknown",
            Self::Evidence(EvidenceRefusal::Signature) => "attestation::Signature",
            Self::Evidence(EvidenceRefusal::Failed { step, .. }) => step.check(),
            Self::Evidence(EvidenceRefusal::Chain { .. }) => "attestation::Chain",
            Self::Evidence(EvidenceRefusal::TpmDevid(why)) => why.check(),
            Self::Evidence(_) => "attestation::Evidence",
            Self::Request(_) => "join::Request",
            Self::NotInForce { .. } => "join::NotInForce",
            Self::SameKey => "join::SameKey",
            Self::Identifier(_) => "join::Identifier",
            Self::Replayed => "join::Replayed",
            Self::Known { .. } => "join::Known",
            Self::CannotAsk { .. } => "join::CannotAsk",
            Self::NoAnswer { .. } => "join::NoAnswer",
        }
    }

    /// True when the host proved nothing at all: such refusals are counted per source.
    pub const fn is_strangers(&self) -> bool {
        if let Self::Evidence(EvidenceRefusal::TpmDevid(why)) = self {
            return why.is_strangers();
        }
        if let Self::Evidence(EvidenceRefusal::Failed { step, .. }) = self {
            return step.is_before_proof();
        }
        matches!(
            self,
            Self::Evidence(
                EvidenceRefusal::TokenUnknown
                    | EvidenceRefusal::Unknown { .. }
                    | EvidenceRefusal::NotAllowed { .. }
                    | EvidenceRefusal::TooLarge { .. }
                    | EvidenceRefusal::Malformed { .. }
                    | EvidenceRefusal::Chain { .. }
                    // A certificate is public: whoever shows one without its key is anybody.
                    | EvidenceRefusal::Signature
            ) | Self::Request(_)
                | Self::CannotAsk { .. }
                | Self::NoAnswer { .. }
        )
    }
}

/// The end of an attempt.
#[derive(Debug)]
pub enum End {
    /// It was decided, and recorded.
    Decided(Recorded<Result<Joined, Refusal>>),
    /// The host proved nothing: count it, tell it no more than that.
    Stranger(Refusal),
}

/// The challenge of the mechanism, if it has one. Nothing is decided yet.
pub async fn challenge<W: World>(
    world: &W,
    attempt: &Attempt,
) -> Result<Result<Option<Challenge>, Refusal>, Unavailable> {
    challenge_by(world, ALL, attempt).await
}

/// The same where there are these mechanisms: the issuer knows none by its name (ATT-12).
pub async fn challenge_by<W: World>(
    world: &W,
    mechanisms: &'static [&'static dyn Mechanism],
    attempt: &Attempt,
) -> Result<Result<Option<Challenge>, Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let nonce = world.entropy().secret();
    let found = Asked::read(&facts, mechanisms, attempt).and_then(|asked| {
        let facts = asked.facts(attempt, &nonce, world.clock().now());
        Ok(asked.mechanism.challenge(&attempt.evidence, &facts)?)
    });
    Ok(found.map(|bytes| bytes.map(|bytes| Challenge { bytes, nonce })))
}

/// Decides. `answer` is what the host said to the challenge that this connection was sent.
pub async fn join<W: World>(
    world: &W,
    attempt: &Attempt,
    answer: Option<(&Challenge, &[u8])>,
) -> Result<End, Unavailable> {
    join_by(world, ALL, attempt, answer).await
}

/// The same where there are these mechanisms.
pub async fn join_by<W: World>(
    world: &W,
    mechanisms: &'static [&'static dyn Mechanism],
    attempt: &Attempt,
    answer: Option<(&Challenge, &[u8])>,
) -> Result<End, Unavailable> {
    let hash = std::str::from_utf8(&attempt.evidence).map(hash_of).unwrap_or_default();
    let purpose = Purpose::X509Authority;
    let keys = vec![Key::of::<JoinToken>(&hash), Key::of::<KeyRing>(purpose.name())];
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let token = facts.rows.get::<JoinToken>(&hash)?;
    let appraised = match Asked::read(&facts, mechanisms, attempt) {
        Ok(asked) => appraise(world, &asked, attempt, token.as_deref(), answer, now).await,
        Err(refusal) => Err(refusal),
    };
    let mut record = record_of(world, &facts, attempt);
    let mut change = Change::default();
    let decided = match appraised {
        Ok(found) => {
            for selector in found.appraisal.selectors.iter() {
                record.attestation.insert(selector.to_string(), String::new());
            }
            for once in &found.appraisal.uses {
                let space = format!("join/{}", found.appraisal.mechanism);
                let (use_, used) = single_use(&space, &once.value, once.until);
                change.uses.push(use_);
                record.used.push(used);
            }
            admit(world, &facts, attempt, found, token, &mut change, now).await?
        }
        Err(refusal) => Err(refusal),
    };
    match &decided {
        Ok(joined) => {
            record.outcome = monitoring::Outcome::Permitted;
            record.resource = Some(joined.id.to_string());
        }
        Err(refusal) if refusal.is_strangers() => return Ok(End::Stranger(refusal.clone())),
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    change.records.push(record);
    match world.store().commit(change).await {
        Ok(receipt) => Ok(End::Decided(Recorded::new(decided, &receipt))),
        Err(CommitFault::Used(_)) => replayed(world, &facts, attempt).await,
        // Somebody else used the token between our look and our commit: look again, which tells.
        Err(CommitFault::Conflict(_)) if answer.is_none() => {
            Box::pin(join_by(world, mechanisms, attempt, None)).await
        }
        Err(CommitFault::Conflict(_)) => Err(overtaken()),
        Err(CommitFault::Unavailable(why)) => Err(why),
    }
}

fn record_of<W: World>(world: &W, facts: &Basis, attempt: &Attempt) -> Record {
    let mut record = begin(world, Event::NodeAttested);
    record.action = format!("{}.join", attempt.role.name());
    record.proof = Some(attempt.mechanism.clone());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    record.attestation.insert("source".to_owned(), attempt.source.clone());
    record
}

/// The evidence was shown before: nothing is issued, and that is what is recorded.
async fn replayed<W: World>(
    world: &W,
    facts: &Basis,
    attempt: &Attempt,
) -> Result<End, Unavailable> {
    let mut record = record_of(world, facts, attempt);
    refused(&mut record, Refusal::Replayed.check(), &Refusal::Replayed, None);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = crate::turns::settled(commit)?.ok_or_else(overtaken)?;
    Ok(End::Decided(Recorded::new(Err(Refusal::Replayed), &receipt)))
}

/// An attempt as far as it is read before any evidence is: how, by which rule, for which key.
struct Asked<'a> {
    mechanism: &'static dyn Mechanism,
    rule: &'a NodeRule,
    origin: &'a Origin,
    request: Request,
}

impl<'a> Asked<'a> {
    fn read(
        facts: &'a Basis,
        mechanisms: &'static [&'static dyn Mechanism],
        attempt: &Attempt,
    ) -> Result<Self, Refusal> {
        let name = &attempt.mechanism;
        let unknown = || EvidenceRefusal::Unknown { name: name.clone() };
        let mechanism = named(mechanisms, name).ok_or_else(unknown)?;
        let role = attempt.role.name();
        let rule = facts.set().attestation().node.get(name);
        // A SPIRE agent is believed more than a node of ours (docs/decisions/0014): policy says so
        // by name.
        let rule = rule.filter(|rule| attempt.role != Role::SpireAgent || rule.spire_agents);
        let rule = rule.ok_or_else(|| EvidenceRefusal::NotAllowed { name: name.clone(), role })?;
        let request = Request::verify(&attempt.request).map_err(Refusal::Request)?;
        Ok(Self { mechanism, rule, origin: facts.set().origin(), request })
    }

    fn facts<'b>(&'b self, attempt: &Attempt, nonce: &'b [u8; 32], now: UnixTime) -> Facts<'b> {
        Facts {
            domain: self.origin.name(),
            key: self.request.spki_der(),
            ..Facts::new(attempt.role, self.rule, nonce, now)
        }
    }
}

struct Found {
    appraisal: Appraisal,
    id: WorkloadId,
    spki: Vec<u8>,
    key: String,
}

async fn appraise<W: World>(
    world: &W,
    asked: &Asked<'_>,
    attempt: &Attempt,
    token: Option<&JoinToken>,
    answer: Option<(&Challenge, &[u8])>,
    now: UnixTime,
) -> Result<Found, Refusal> {
    let nonce = answer.map_or(&[0; 32], |(challenge, _)| &challenge.nonce);
    let mut facts = Facts { token, ..asked.facts(attempt, nonce, now) };
    let keys = match asked.mechanism.keys(&attempt.evidence, &facts)? {
        Some(question) => Some(ask(world, &question).await?),
        None => None,
    };
    facts.keys = keys.as_deref();
    let told = match asked.mechanism.question(&attempt.evidence, &facts)? {
        Some(question) => Some(ask(world, &question).await?),
        None => None,
    };
    facts.told = told.as_deref();
    let response = answer.map(|(_, response)| response);
    let appraisal = asked.mechanism.appraise(&attempt.evidence, response, &facts)?;
    let name = &appraisal.name;
    let id = NodeRecord::identifier(asked.origin, attempt.role, appraisal.mechanism, name)
        .map_err(|_| Refusal::Identifier(name.clone()))?;
    let spki = asked.request.spki_der().to_vec();
    let key = PublicKey::from_spki_der(&spki)
        .map_err(|_| Refusal::Identifier("the key of the request".to_owned()))?
        .thumbprint()
        .to_base64url();
    Ok(Found { appraisal, id, spki, key })
}

/// Asks, if there is anybody here who can.
pub async fn ask<W: World>(world: &W, question: &Question) -> Result<Vec<u8>, Refusal> {
    let whom = question.whom();
    let Some(platforms) = world.platforms() else { return Err(Refusal::CannotAsk { whom }) };
    let asked = platforms.ask(question).await;
    asked.map_err(|unavailable| Refusal::NoAnswer { whom, why: unavailable.why })
}

/// Signs, and gathers the rows: the host's record, and the token used up.
async fn admit<W: World>(
    world: &W,
    facts: &Basis,
    attempt: &Attempt,
    found: Found,
    token: Option<env::Stored<JoinToken>>,
    change: &mut Change,
    now: UnixTime,
) -> Result<Result<Joined, Refusal>, Unavailable> {
    let known = crate::facts::one::<W, NodeRecord>(world, &found.id.to_string()).await?;
    if let Some(known) = &known {
        if let Err(why) = known.lifecycle.is_active() {
            return Ok(Err(Refusal::NotInForce { id: found.id.to_string(), why }));
        }
        if known.key == found.key {
            return Ok(Err(Refusal::SameKey));
        }
        if found.appraisal.once && token.is_none() && !known.forgotten {
            let (id, joined) = (found.id.to_string(), known.joined);
            return Ok(Err(Refusal::Known { id, joined }));
        }
    }
    let (chain, ends) = component_svid(world, facts, &found.id, &found.spki, now).await?;
    let mut node = NodeRecord::new(
        found.id.clone(),
        attempt.role,
        &found.appraisal,
        found.key,
        facts.epoch,
        now,
    );
    node.ends = Some(ends);
    let expect = match &known {
        Some(known) => {
            node.joined = known.joined;
            node.lifecycle = known.lifecycle.clone();
            Expect::Version(known.version)
        }
        None => Expect::Absent,
    };
    change.writes.push(Write::put(&node, expect));
    let once = found.appraisal.once;
    if let Some(token) = token.filter(|_| found.appraisal.once) {
        let used = token.used_by(found.id.clone(), now);
        change.writes.push(Write::put(&used, Expect::Version(token.version)));
    }
    Ok(Ok(Joined { id: found.id, chain, once }))
}

/// A certificate for a component of ours, and when it ends: an intermediate may cut its life.
pub(crate) async fn component_svid<W: World>(
    world: &W,
    facts: &Basis,
    id: &WorkloadId,
    spki: &[u8],
    now: UnixTime,
) -> Result<(Vec<Vec<u8>>, UnixTime), Unavailable> {
    let purpose = Purpose::X509Authority;
    let ring = facts.rows.get::<KeyRing>(purpose.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no X.509 authority yet"))?;
    let signer = sign::signer(&ring, now)?;
    let authority = sign::authority(signer)?;
    let life = sign::life(signer, facts.set().domain().lifetimes.component, now);
    let order = x509_svid::Order {
        id,
        spki_der: spki,
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        authority: &authority,
        random: world.entropy().public(),
        now,
        life,
        epoch: facts.epoch.0,
        attributes: &spiffe::Attributes::default(),
    };
    let checked = x509_svid::build(&order, CERTIFICATE_ALGORITHM)
        .map_err(|fault| Unavailable::of("keys", fault))?;
    let leaf = sign::certificate(world, &sign::handle(purpose, signer), checked).await?;
    let mut chain = vec![leaf.into_bytes()];
    chain.extend(sign::issuers(signer));
    Ok((chain, now.plus(life)))
}
