//! A relying party has evidence appraised (RFC 9334 §5.2, background check; ATT-04): a session, one
//! submission to it, a signed result.
//!
//! In scope: the order of things, and what is recorded. Not here: sessions and messages as they are
//! read (`stack/verification`), what evidence proves (`stack/attestation`), HTTP (`edge/api`).
//!
//! The order of the checks: the session; the form; the request, which proves the key; the evidence;
//! the result. Who proves nothing is counted; the result about who proves something is recorded and
//! signed, also where it is that the evidence was refused.

use attestation::background::{self, Question};
use attestation::mechanism::{Facts, Mechanism, Role, Step, by_name};
use attestation::{Appraisal, Refusal as EvidenceRefusal};
use credential::{KeyRing, Purpose, TokenText};
use env::{Change, Clock, CommitFault, Entropy, Key, Recorded, Store, Unavailable, World};
use flow::facts::{Basis, basis};
use flow::record::{begin, single_use};
use flow::{appraise, issuing, join};
use jose::KeySet;
use monitoring::{Event, Outcome};
use rats::Ear;
use time::UnixTime;
use verification::session;
use verification::{Nonce, NotANonce, Session, Sessions, Submission, Unfit};
use x509::Request;

/// In what space the names of sessions serve once.
const SESSION_SPACE: &str = "verify/session";

/// Why nothing is appraised: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy has no table `verify`.
    #[error("nothing is appraised for others: policy has no table `verify`")]
    Off,
    /// The nonce asked for.
    #[error(transparent)]
    Nonce(#[from] NotANonce),
    /// The session.
    #[error(transparent)]
    Session(#[from] session::Refusal),
    /// The submission.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The request, or evidence that proves nothing.
    #[error(transparent)]
    Proof(#[from] join::Refusal),
    /// Evidence was submitted to the session before.
    #[error("evidence was submitted to the session before")]
    Replayed,
}

impl Refusal {
    /// The variant's name, for counting.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Off => "verify::Off",
            Self::Nonce(_) => "verify::Nonce",
            Self::Session(_) => "verify::Session",
            Self::Unfit(_) => "verify::Unfit",
            Self::Proof(refusal) => refusal.check(),
            Self::Replayed => "verify::Replayed",
        }
    }
}

/// A result, signed, and until when it counts.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The session.
    pub session: Session,
    /// The result: an EAR as JWT.
    pub result: TokenText,
}

/// The end of a submission.
#[derive(Debug)]
pub enum End {
    /// There is a result, and it is recorded.
    Decided(Box<Recorded<Verified>>),
    /// The asker proved nothing: count it, tell it no more than that.
    Stranger(Refusal),
}

/// What a session takes, as policy says now.
pub async fn accepted<W: World>(world: &W) -> Result<Result<Vec<String>, Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    Ok(mechanisms(&facts).map(|all| verification::accepted(&all)))
}

/// Opens a session, with the nonce of the caller or one of ours. Nothing is decided, and nothing
/// kept.
pub async fn open<W: World>(
    world: &W,
    sessions: &Sessions,
    nonce: Option<&str>,
    size: Option<&str>,
) -> Result<Result<(Session, Vec<String>), Refusal>, Unavailable> {
    let accept = match accepted(world).await? {
        Ok(accept) => accept,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut random = [0; 64];
    for (to, from) in random.chunks_mut(16).zip(std::iter::repeat_with(|| world.entropy().public()))
    {
        to.copy_from_slice(&from);
    }
    let nonce = match Nonce::asked(nonce, size, &random) {
        Ok(nonce) => nonce,
        Err(error) => return Ok(Err(error.into())),
    };
    let session = sessions.open(nonce, world.entropy().public(), world.clock().now());
    Ok(Ok((session, accept)))
}

/// Appraises what is submitted to a session.
pub async fn submit<W: World>(
    world: &W,
    sessions: &Sessions,
    id: &str,
    (media_type, body): (&str, &[u8]),
    source: &str,
) -> Result<End, Unavailable> {
    let keys = vec![Key::of::<KeyRing>(Purpose::AttestationResult.name())];
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let asked = match Asked::read(&facts, sessions, id, (media_type, body), now) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(End::Stranger(refusal)),
    };
    let found = match asked.appraise(world, &facts, now).await {
        Ok(found) => Ok(found),
        Err(refusal) => match proved(&refusal) {
            Some(step) => Err((step, refusal)),
            None => return Ok(End::Stranger(refusal.into())),
        },
    };
    let result = asked.result(&facts, &found, now);
    let token = appraise::signed(world, &facts, &result, now).await?;
    let change = asked.change(world, &facts, &result, &token, &found, source);
    match world.store().commit(change).await {
        Ok(receipt) => {
            let verified = Verified { session: asked.session, result: token };
            Ok(End::Decided(Box::new(Recorded::new(verified, &receipt))))
        }
        // What was submitted proves something, and this was recorded when it was taken first.
        Err(CommitFault::Used(_)) => Ok(End::Stranger(Refusal::Replayed)),
        Err(CommitFault::Conflict(_)) => Err(flow::turns::overtaken()),
        Err(CommitFault::Unavailable(why)) => Err(why),
    }
}

/// The keys that results are verified with: those before, now and to come.
pub async fn keys<W: World>(world: &W) -> Result<KeySet, Unavailable> {
    let ring = ring(world).await?;
    let now = world.clock().now();
    let keys = ring.published(now).map(|key| key.public.clone().with_use("sig"));
    KeySet::new(keys.collect()).map_err(|error| Unavailable::of("store", error))
}

/// The one that results are signed with now.
pub async fn key<W: World>(world: &W) -> Result<jose::Jwk, Unavailable> {
    let ring = ring(world).await?;
    Ok(flow::sign::signer(&ring, world.clock().now())?.public.clone())
}

async fn ring<W: World>(world: &W) -> Result<std::sync::Arc<KeyRing>, Unavailable> {
    let name = Purpose::AttestationResult.name();
    let row = flow::facts::one::<W, KeyRing>(world, name).await?;
    Ok(row.ok_or_else(|| Unavailable::of("store", "the verifier has no key yet"))?.value)
}

fn mechanisms(facts: &Basis) -> Result<Vec<&'static dyn Mechanism>, Refusal> {
    let rules = &facts.set().attestation().verify;
    let all: Vec<_> = rules.keys().filter_map(|name| by_name(name)).collect();
    if all.is_empty() { Err(Refusal::Off) } else { Ok(all) }
}

/// What the evidence proved, or at which step it was refused, and why.
type Found = Result<Appraisal, (Step, join::Refusal)>;

/// A submission as far as it reads, and the session that it is for.
struct Asked {
    session: Session,
    submission: Submission,
    /// The key that a request proved, as `SubjectPublicKeyInfo`.
    key: Option<Vec<u8>>,
}

impl Asked {
    fn read(
        facts: &Basis,
        sessions: &Sessions,
        id: &str,
        (media_type, body): (&str, &[u8]),
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let mechanisms = mechanisms(facts)?;
        let session = sessions.find(id, now)?;
        let submission = verification::read(&mechanisms, media_type, body)?;
        let request = submission.request.as_deref().map(Request::verify);
        let request = request.transpose().map_err(join::Refusal::Request)?;
        let key = request.map(|request| request.spki_der().to_vec());
        Ok(Self { session, submission, key })
    }

    async fn appraise<W: World>(
        &self,
        world: &W,
        facts: &Basis,
        now: UnixTime,
    ) -> Result<Appraisal, join::Refusal> {
        let Submission { mechanism: name, evidence, response, .. } = &self.submission;
        let unknown = || EvidenceRefusal::Unknown { name: (*name).to_owned() };
        let mechanism = by_name(name).ok_or_else(unknown)?;
        let rule = facts.set().attestation().verify.get(*name).ok_or_else(unknown)?;
        let challenge = self.session.nonce.challenge(self.key.as_deref());
        let known = Facts::new(Role::Node, rule, &challenge, now);
        let domain = facts.set().domain().trust_domain.as_str();
        let key = self.key.as_deref().unwrap_or_default();
        let mut known = Facts { domain, key, ..known };
        let keys = match mechanism.keys(evidence, &known)? {
            Some(question) => Some(join::ask(world, &question).await?),
            None => None,
        };
        known.keys = keys.as_deref();
        Ok(mechanism.appraise(evidence, response.as_deref(), &known)?)
    }

    fn result(&self, facts: &Basis, found: &Found, now: UnixTime) -> Ear {
        let issuer = appraise::issuer(facts.set().origin());
        let question = Question {
            issuer: &issuer,
            mechanism: self.submission.mechanism,
            nonce: &self.session.nonce.to_text(),
            key: self.key.as_deref(),
            policy: &facts.version(),
            now,
        };
        background::result(&question, found.as_ref().map_err(|(step, _)| *step))
    }

    fn change<W: World>(
        &self,
        world: &W,
        facts: &Basis,
        result: &Ear,
        token: &TokenText,
        found: &Found,
        source: &str,
    ) -> Change {
        let mut record = begin(world, Event::EvidenceAppraised);
        record.action = "evidence.verify".to_owned();
        record.proof = Some(self.submission.mechanism.to_owned());
        record.policy = Some(facts.version());
        record.jti = Some(token.hash().to_base64url());
        record.resource.clone_from(&result.subject);
        record.facts = serde_json::to_value(result).unwrap_or_default();
        record.outcome = Outcome::Done;
        record.attestation.insert("source".to_owned(), source.to_owned());
        record.attestation.insert("tier".to_owned(), result.tier().to_string());
        if let Err((_, refusal)) = found {
            record.attestation.insert("refused".to_owned(), refusal.to_string());
        }
        let mut change = Change::default();
        let (use_, used) = single_use(SESSION_SPACE, &self.session.id, self.session.until);
        change.uses.push(use_);
        record.used.push(used);
        for one in found.iter().flat_map(|found| &found.uses) {
            // The space of hosts that join: what was shown at one door serves at neither again.
            let space = format!("join/{}", self.submission.mechanism);
            let (use_, used) = single_use(&space, &one.value, one.until);
            change.uses.push(use_);
            record.used.push(used);
        }
        change.records.push(record);
        change
    }
}

/// At which step evidence was refused that is true and of this session. Anything before that can be
/// shown by whoever saw the evidence once, and says nothing of its owner.
const fn proved(refusal: &join::Refusal) -> Option<Step> {
    match refusal {
        join::Refusal::Evidence(EvidenceRefusal::Failed { step, .. }) => match step {
            Step::Content | Step::Policy => Some(*step),
            Step::Form | Step::Signature | Step::Chain | Step::Binding => None,
        },
        _ => None,
    }
}
