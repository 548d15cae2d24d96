//! The DPoP proof of a request to one of our own endpoints (RFC 9449 §5, §8).

use authentication::{Once, private_key_jwt};
use env::{Clock, Unavailable, World};
use jose::{Algorithm, Thumbprint};
use oauth::TokenText;
use oauth::attestation_client::ChallengeResponse;
use oauth::dpop::{Expected, Freshness, NonceKey, Proof, ProofRefused, Proven, target};
use policy::Domain;
use time::UnixTime;

use crate::facts::Basis;
use crate::secret;

/// What proofs may be signed with.
pub const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

/// A key that was shown, and what the proof used up.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The key.
    pub key: Thumbprint,
    /// What the proof used up.
    pub once: Once,
    pub(crate) proven: Proven,
}

/// The request that a proof is of: the endpoint, and the token beside it.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, below the origin.
    pub path: &'a str,
    /// The token, and the key that it is bound to.
    pub access_token: Option<(&'a TokenText, &'a Thumbprint)>,
}

/// Verifies the proof of a request to an endpoint of ours, where there is one.
pub async fn of<W: World>(
    world: &W,
    facts: &Basis,
    values: &[Vec<u8>],
    at: At<'_>,
    now: UnixTime,
) -> Result<Result<Option<Shown>, ProofRefused>, Unavailable> {
    if values.is_empty() {
        return Ok(Ok(None));
    }
    let bounds = &facts.set().domain().bounds;
    let nonces = match bounds.dpop_nonces {
        true => Some(nonces(world).await?),
        false => None,
    };
    let freshness = match &nonces {
        Some(key) => Freshness::Nonce { key, max_age: bounds.proof_lifetime },
        None => Freshness::Clock { max_age: bounds.proof_lifetime, skew: bounds.clock_skew },
    };
    // The same endpoint is reached in two ways (RFC 8705 §5): the proof is for one of them.
    let site = world.site();
    let mut refused = None;
    for origin in [&site.issuer, &site.mtls_origin] {
        let Some(uri) = target(&format!("{origin}{}", at.path)) else { continue };
        let (method, access_token) = (at.method, at.access_token);
        let expected = Expected { method, uri: &uri, freshness, access_token };
        let proof = Proof::of_field(values.iter().map(Vec::as_slice), ALGORITHMS);
        match proof.and_then(|proof| proof.verify(&expected, now)) {
            Ok(proven) => {
                // Two keys may use one `jti`: each has a window of its own.
                let space = format!("{} dpop {}", site.issuer, proven.thumbprint());
                let value = proven.jti().as_str().to_owned();
                let once = Once { space, value, until: proven.remember_until() };
                let key = *proven.thumbprint();
                return Ok(Ok(Some(Shown { key, once, proven })));
            }
            Err(why) => match (&refused, &why) {
                // The reason that is not only about the other of the two URLs.
                (Some(_), ProofRefused::Uri { .. }) => {}
                _ => refused = Some(why),
            },
        }
    }
    Ok(Err(refused.unwrap_or(ProofRefused::NoKey)))
}

/// The key of a DPoP proof that comes with a form of a client, and what it uses up; `None` where
/// there is no proof.
pub async fn shown_key<W: World>(
    world: &W,
    facts: &Basis,
    values: &[Vec<u8>],
    path: &str,
    now: UnixTime,
) -> Result<Result<Option<(Thumbprint, Once)>, ProofRefused>, Unavailable> {
    let shown = of(world, facts, values, At { method: "POST", path, access_token: None }, now);
    Ok(shown.await?.map(|shown| shown.map(|shown| (shown.key, shown.once))))
}

/// What a proof that was verified is signed with.
pub fn algorithm(proofs: &[Vec<u8>]) -> Option<Algorithm> {
    let text = proofs.first().and_then(|proof| std::str::from_utf8(proof).ok())?;
    private_key_jwt::algorithm(text)
}

/// A nonce for the next proof, where policy asks for nonces. RFC 9449 §8.2: "The authorization
/// server MAY supply the new nonce in the same way that the initial one was supplied: by using a
/// DPoP-Nonce HTTP header in the response."
pub async fn nonce<W: World>(world: &W) -> Result<Option<String>, Unavailable> {
    let facts = crate::facts::basis(world, Vec::new()).await?;
    if !facts.set().domain().bounds.dpop_nonces {
        return Ok(None);
    }
    Ok(Some(nonces(world).await?.nonce(world.clock().now())))
}

/// A challenge for the proof of an attested instance: it serves as a nonce of DPoP as well, for
/// that may be the proof. `None` where policy asks for none, or trusts no attester.
///
/// draft-ietf-oauth-attestation-based-client-auth §6.1: "If the Authorization Server offers a
/// challenge endpoint, the Client MUST retrieve a challenge and MUST use this challenge".
pub async fn challenge<W: World>(world: &W) -> Result<Option<ChallengeResponse>, Unavailable> {
    let facts = crate::facts::basis(world, Vec::new()).await?;
    if !gives_challenges(facts.set().domain()) {
        return Ok(None);
    }
    let attestation_challenge = nonces(world).await?.nonce(world.clock().now());
    Ok(Some(ChallengeResponse { attestation_challenge }))
}

/// Whether attested instances must repeat a challenge of ours.
pub(crate) fn gives_challenges(domain: &Domain) -> bool {
    domain.bounds.dpop_nonces && !domain.registration.attesters.is_empty()
}

/// What nonces and challenges are made with.
pub(crate) async fn nonces<W: World>(world: &W) -> Result<NonceKey, Unavailable> {
    Ok(NonceKey::of(secret::of(world).await?.expose()))
}
