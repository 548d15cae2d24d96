//! A session of enrolment is opened: nothing is decided, and nothing kept.

use attestation::mechanism::{Facts, Mechanism, Role, by_name};
use attestation::policy::NodeRule;
use enrolment::SessionRequest;
use enrolment::session::Sessions;
use env::{Clock, Entropy, Unavailable, World};
use flow::facts::{Basis, basis};
use flow::join;
use jose::PublicKey;
use time::UnixTime;

use crate::refusal::Refusal;

/// A session as the asker is told of it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What it brings back, once.
    pub nonce: String,
    /// Until when.
    pub until: UnixTime,
    /// What the mechanism wants answered.
    pub challenge: Option<Vec<u8>>,
    /// Media types that the wrapper of evidence may hold.
    pub accept: Vec<String>,
}

/// Opens a session. Nothing is decided, and nothing kept.
pub async fn open<W: World>(
    world: &W,
    sessions: &Sessions,
    asked: &SessionRequest,
) -> Result<Result<Opened, Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let now = world.clock().now();
    let random = world.entropy().public();
    Ok(opened(&facts, sessions, asked, random, now))
}

fn opened(
    facts: &Basis,
    sessions: &Sessions,
    asked: &SessionRequest,
    random: [u8; 16],
    now: UnixTime,
) -> Result<Opened, Refusal> {
    let (mechanism, rule) = allowed(facts, &asked.mechanism)?;
    let key = PublicKey::from_spki_der(&asked.key);
    let key = key.map_err(|error| Refusal::Key(error.to_string()))?.thumbprint();
    let evidence = asked.evidence.as_deref();
    let session = sessions.open(&asked.mechanism, evidence, &key, random, now);
    let known = platform(facts, rule, &asked.key, &session.challenge, now);
    let challenge = mechanism.challenge(evidence.unwrap_or_default(), &known);
    let challenge = challenge.map_err(join::Refusal::from)?;
    let accept = enrolment::accepted(mechanism);
    Ok(Opened { nonce: session.nonce, until: session.until, challenge, accept })
}

/// The mechanism, and what policy says of it.
pub(crate) fn allowed<'a>(
    facts: &'a Basis,
    name: &str,
) -> Result<(&'static dyn Mechanism, &'a NodeRule), Refusal> {
    let rules = &facts.set().attestation().enrol;
    if rules.is_empty() {
        return Err(Refusal::Off);
    }
    let not_allowed = || Refusal::NotAllowed { mechanism: name.to_owned() };
    by_name(name).zip(rules.get(name)).ok_or_else(not_allowed)
}

/// What a mechanism looks at beside the evidence.
pub(crate) fn platform<'a>(
    facts: &'a Basis,
    rule: &'a NodeRule,
    key: &'a [u8],
    challenge: &'a [u8; 32],
    now: UnixTime,
) -> Facts<'a> {
    let domain = facts.set().domain().trust_domain.as_str();
    Facts { domain, key, ..Facts::new(Role::Node, rule, challenge, now) }
}
