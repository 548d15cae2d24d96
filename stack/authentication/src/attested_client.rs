//! Client authentication by attestation (draft-ietf-oauth-attestation-based-client-auth-10): an
//! attester that policy trusts vouches for the key of one instance of a client.

use jose::{KeySet, Malformed, Refused, Unverified};
use oauth::attestation_client::{self, AttestationRefused, ClientAttestation};
use oauth::client_attestation_pop::{self, ClientAttestationPop, Expected, PopRefused};
use oauth::{ClientId, Issuer};
use time::{Span, UnixTime};

use crate::caller::{Caller, Method, Who};
use crate::once::Once;
use crate::private_key_jwt::ALGORITHMS;
use crate::proof::Proved;

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
}

/// Whom an attestation says it is from: to find the attester's keys, and nothing else.
pub fn attester(attestation: &str) -> Result<Option<String>, Refusal> {
    Ok(Unverified::<ClientAttestation>::parse(attestation)?.hint())
}

/// Authenticates the instance of `client_id` by an attestation signed with one of `keys`, and a
/// proof of the key that it vouches for.
pub fn authenticate(
    (attestation, pop): (&str, &str),
    client_id: &ClientId,
    keys: &KeySet,
    facts: Facts<'_>,
) -> Result<Proved, Refusal> {
    let token = Unverified::<ClientAttestation>::parse(attestation)?;
    let token = token.verify(keys, ALGORITHMS, facts.now, facts.skew)?;
    let key = attestation_client::instance_key(&token, client_id)?;
    let pop = Unverified::<ClientAttestationPop>::parse(pop).map_err(Refusal::PopMalformed)?;
    let pop = pop.verify(&key, ALGORITHMS, facts.now, facts.skew).map_err(Refusal::PopRefused)?;
    let expected =
        Expected { audience: facts.issuer.as_str(), challenge: None, max_age: facts.max_age };
    let pop = client_attestation_pop::check(&pop, &expected, facts.now)?;
    let thumbprint = key.thumbprint();
    let once = Once {
        space: format!("{} attestation pop", facts.issuer.as_str()),
        value: format!("{thumbprint}.{}", pop.jti().as_str()),
        until: pop.remember_until().plus(facts.skew),
    };
    let who = Who::Client(client_id.as_str().to_owned());
    let caller = Caller::new(who, Method::Attestation, token.claims().exp.time());
    Ok(Proved { caller: caller.with_key(thumbprint), once: Some(once) })
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
    /// Policy trusts no such attester, for this client.
    #[error("no attester that policy trusts for this client: `{0}`")]
    Attester(String),
}
