//! A host or gateway joins: evidence in, X.509-SVID out (S1 §7; ATT-02, ATT-12, PROV-01, PROV-07).

use attestation::join_token::JoinToken;
use attestation::mechanism::{Facts, Mechanism, Role, by_name};
use attestation::policy::NodeRule;
use attestation::{Appraisal, Refusal as EvidenceRefusal};
use credential::{KeyRing, Purpose, x509_svid};
use env::{Change, Clock, Entropy, Expect, Key, Recorded, Store, Unavailable, World, Write};
use jose::PublicKey;
use monitoring::Event;
use provisioning::NotInForce;
use registry::NodeRecord;
use spiffe::SpiffeId;
use time::UnixTime;
use wimse::WorkloadId;
use x509::{Request, RequestError};

use crate::agents::{overtaken, settled};
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::join_token::hash_of;
use crate::record::{begin, refused};
use crate::sign::{self, CERTIFICATE_ALGORITHM};

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
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Evidence(EvidenceRefusal::TokenUsed { .. }) => "attestation::TokenUsed",
            Self::Evidence(EvidenceRefusal::TokenExpired { .. }) => "attestation::TokenExpired",
            Self::Evidence(EvidenceRefusal::TokenUnknown) => "attestation::TokenUnknown",
            Self::Evidence(EvidenceRefusal::Signature) => "attestation::Signature",
            Self::Evidence(EvidenceRefusal::Chain { .. }) => "attestation::Chain",
            Self::Evidence(EvidenceRefusal::TpmDevid(why)) => why.check(),
            Self::Evidence(_) => "attestation::Evidence",
            Self::Request(_) => "join::Request",
            Self::NotInForce { .. } => "join::NotInForce",
            Self::SameKey => "join::SameKey",
            Self::Identifier(_) => "join::Identifier",
        }
    }

    /// True when the host proved nothing at all: such refusals are counted per source.
    pub const fn is_strangers(&self) -> bool {
        if let Self::Evidence(EvidenceRefusal::TpmDevid(why)) = self {
            return why.is_strangers();
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
            ) | Self::Request(_)
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
    let facts = basis(world, Vec::new()).await?;
    let nonce = world.entropy().secret();
    let now = world.clock().now();
    let found = mechanism(&facts, attempt).and_then(|(mechanism, rule)| {
        let facts = Facts { role: attempt.role, rule, token: None, nonce: &nonce, now };
        mechanism.challenge(&attempt.evidence, &facts)
    });
    Ok(found.map(|bytes| bytes.map(|bytes| Challenge { bytes, nonce })).map_err(Refusal::Evidence))
}

/// Decides. `answer` is what the host said to the challenge that this connection was sent.
pub async fn join<W: World>(
    world: &W,
    attempt: &Attempt,
    answer: Option<(&Challenge, &[u8])>,
) -> Result<End, Unavailable> {
    let hash = std::str::from_utf8(&attempt.evidence).map(hash_of).unwrap_or_default();
    let purpose = Purpose::X509Authority;
    let keys = vec![Key::of::<JoinToken>(&hash), Key::of::<KeyRing>(purpose.name())];
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let token = facts.rows.get::<JoinToken>(&hash)?;
    let appraised = appraise(&facts, attempt, token.as_deref(), answer, now);
    let mut record = begin(world, Event::NodeAttested);
    record.action = format!("{}.join", attempt.role.name());
    record.proof = Some(attempt.mechanism.clone());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    record.attestation.insert("source".to_owned(), attempt.source.clone());
    let mut change = Change::default();
    let decided = match appraised {
        Ok(found) => {
            for selector in found.appraisal.selectors.iter() {
                record.attestation.insert(selector.to_string(), String::new());
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
    let receipt = match settled(world.store().commit(change).await)? {
        Some(receipt) => receipt,
        // Somebody else used the token between our look and our commit: look again, which tells.
        None if answer.is_none() => return Box::pin(join(world, attempt, None)).await,
        None => return Err(overtaken()),
    };
    Ok(End::Decided(Recorded::new(decided, &receipt)))
}

fn mechanism<'a>(
    facts: &'a Basis,
    attempt: &Attempt,
) -> Result<(&'static dyn Mechanism, &'a NodeRule), EvidenceRefusal> {
    let name = &attempt.mechanism;
    let unknown = || EvidenceRefusal::Unknown { name: name.clone() };
    let mechanism = by_name(name).ok_or_else(unknown)?;
    let role = attempt.role.name();
    let rule = facts.set().attestation().node.get(name);
    let rule = rule.ok_or_else(|| EvidenceRefusal::NotAllowed { name: name.clone(), role })?;
    Ok((mechanism, rule))
}

struct Found {
    appraisal: Appraisal,
    id: WorkloadId,
    spki: Vec<u8>,
    key: String,
}

fn appraise(
    facts: &Basis,
    attempt: &Attempt,
    token: Option<&JoinToken>,
    answer: Option<(&Challenge, &[u8])>,
    now: UnixTime,
) -> Result<Found, Refusal> {
    let (mechanism, rule) = mechanism(facts, attempt)?;
    let request = Request::verify(&attempt.request).map_err(Refusal::Request)?;
    let nonce = answer.map_or(&[0; 32], |(challenge, _)| &challenge.nonce);
    let asked = Facts { role: attempt.role, rule, token, nonce, now };
    let response = answer.map(|(_, response)| response);
    let appraisal = mechanism.appraise(&attempt.evidence, response, &asked)?;
    let domain = &facts.set().domain().trust_domain;
    let id = NodeRecord::identifier(domain, attempt.role, appraisal.mechanism, &appraisal.name)
        .map_err(|_| Refusal::Identifier(appraisal.name.clone()))?;
    let spki = request.spki_der().to_vec();
    let key = PublicKey::from_spki_der(&spki)
        .map_err(|_| Refusal::Identifier("the key of the request".to_owned()))?
        .thumbprint()
        .to_base64url();
    Ok(Found { appraisal, id, spki, key })
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
    }
    let WorkloadId::Spiffe(id) = &found.id else {
        return Ok(Err(Refusal::Identifier(found.id.to_string())));
    };
    let chain = component_svid(world, facts, id, &found.spki, now).await?;
    let mut node = NodeRecord::new(
        found.id.clone(),
        attempt.role,
        &found.appraisal,
        found.key,
        facts.epoch,
        now,
    );
    let expect = match &known {
        Some(known) => {
            node.joined = known.joined;
            node.lifecycle = known.lifecycle.clone();
            Expect::Version(known.version)
        }
        None => Expect::Absent,
    };
    change.writes.push(Write::put(&node, expect));
    if let Some(token) = token.filter(|_| found.appraisal.once) {
        let used = token.used_by(found.id.clone(), now);
        change.writes.push(Write::put(&used, Expect::Version(token.version)));
    }
    Ok(Ok(Joined { id: found.id, chain }))
}

/// An X.509-SVID for a component of ours.
pub(crate) async fn component_svid<W: World>(
    world: &W,
    facts: &Basis,
    id: &SpiffeId,
    spki: &[u8],
    now: UnixTime,
) -> Result<Vec<Vec<u8>>, Unavailable> {
    let purpose = Purpose::X509Authority;
    let ring = facts.rows.get::<KeyRing>(purpose.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no X.509 authority yet"))?;
    let signer = sign::signer(&ring, now)?;
    let authority = sign::authority(signer)?;
    let order = x509_svid::Order {
        id,
        spki_der: spki,
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        authority: &authority,
        random: world.entropy().public(),
        now,
        life: facts.set().domain().lifetimes.component,
        epoch: facts.epoch.0,
    };
    let checked = x509_svid::build(&order, CERTIFICATE_ALGORITHM)
        .map_err(|fault| Unavailable::of("keys", fault))?;
    let leaf = sign::certificate(world, &sign::handle(purpose, signer), checked).await?;
    Ok(vec![leaf.into_bytes()])
}
