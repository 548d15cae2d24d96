//! Client authentication by attestation (draft-ietf-oauth-attestation-based-client-auth-10): an
//! attester that policy trusts vouches for the key of one instance of a client.

use jose::{KeySet, Malformed, PublicKey, Refused, Unverified};
use oauth::attestation_client::{self, AttestationRefused, ClientAttestation};
use oauth::client_attestation_pop::{self, Challenge, ClientAttestationPop, Expected, PopRefused};
use oauth::dpop::{NonceKey, Proven};
use oauth::{ClientId, Issuer};
use time::{Span, UnixTime};

use crate::caller::{Caller, Method, Who};
use crate::once::Once;
use crate::private_key_jwt::ALGORITHMS;
use crate::proof::Proved;

/// How the instance proves its key.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// By a proof of its own (§5.1).
    Jwt(&'a str),
    /// By the key of a DPoP proof that was verified (§5.2), which serves once as that proof.
    Dpop(&'a Proven),
}

/// What it is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// This server.
    pub issuer: &'a Issuer,
    /// Now.
    pub now: UnixTime,
    /// How far clocks may differ.
    pub skew: Span,
    /// How old a proof may be.
    pub max_age: Span,
    /// What challenges are made with, where a proof must repeat one.
    pub challenges: Option<&'a NonceKey>,
}

/// Whom an attestation says it is from: to find the attester's keys, and nothing else.
pub fn attester(attestation: &str) -> Result<Option<String>, Refusal> {
    Ok(Unverified::<ClientAttestation>::parse(attestation)?.hint())
}

/// Authenticates the instance of `client_id` by an attestation signed with one of `keys`, and a
/// proof of the key that it vouches for.
pub fn authenticate(
    (attestation, proof): (&str, Proof<'_>),
    client_id: &ClientId,
    keys: &KeySet,
    facts: Facts<'_>,
) -> Result<Proved, Refusal> {
    let token = Unverified::<ClientAttestation>::parse(attestation)?;
    let token = token.verify(keys, ALGORITHMS, facts.now, facts.skew)?;
    let key = attestation_client::instance_key(&token, client_id)?;
    let thumbprint = key.thumbprint();
    let (method, once) = match proof {
        Proof::Jwt(pop) => (Method::Attestation, Some(possession(pop, &key, facts)?)),
        Proof::Dpop(proven) => {
            attestation_client::dpop_combined(&key, proven)?;
            (Method::AttestationDpop, None)
        }
    };
    let who = Who::Client(client_id.as_str().to_owned());
    let caller = Caller::new(who, method, token.claims().exp.time());
    Ok(Proved { caller: caller.with_key(thumbprint), once })
}

/// Checks a proof of its own, and says what it uses up.
fn possession(pop: &str, key: &PublicKey, facts: Facts<'_>) -> Result<Once, Refusal> {
    let pop = Unverified::<ClientAttestationPop>::parse(pop).map_err(Refusal::PopMalformed)?;
    let pop = pop.verify(key, ALGORITHMS, facts.now, facts.skew).map_err(Refusal::PopRefused)?;
    let challenge = facts.challenges.map_or(Challenge::None, Challenge::Timed);
    let (audience, max_age) = (facts.issuer.as_str(), facts.max_age);
    let expected = Expected { audience, challenge, max_age };
    let pop = client_attestation_pop::check(&pop, &expected, facts.now)?;
    Ok(Once {
        space: format!("{} attestation pop", facts.issuer.as_str()),
        value: format!("{}.{}", key.thumbprint(), pop.jti().as_str()),
        until: pop.remember_until().plus(facts.skew),
    })
}

/// Why the two fields authenticate no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The attestation does not read.
    #[error("the client attestation: {0}")]
    Malformed(#[from] Malformed),
    /// It does not hold: signature, key, lifetime.
    #[error("the client attestation: {0}")]
    Refused(#[from] Refused),
    /// It vouches for another client, or for no key.
    #[error("the client attestation: {0}")]
    Attestation(#[from] AttestationRefused),
    /// The proof does not read.
    #[error("the proof of possession: {0}")]
    PopMalformed(Malformed),
    /// The proof is not of that key, or not of now.
    #[error("the proof of possession: {0}")]
    PopRefused(Refused),
    /// The proof is for another server, or old.
    #[error("the proof of possession: {0}")]
    Pop(#[from] PopRefused),
    /// Neither proof stands beside it.
    #[error("no proof beside the attestation: `OAuth-Client-Attestation-PoP`, or one of DPoP")]
    NoProof,
    /// Policy trusts no such attester, for this client.
    #[error("no attester that policy trusts for this client: `{0}`")]
    Attester(String),
}
