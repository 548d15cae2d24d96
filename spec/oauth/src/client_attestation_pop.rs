//! Proof of possession of a client attestation
//! (draft-ietf-oauth-attestation-based-client-auth §5.1, §7.2), with which a WIT-SVID
//! authenticates its workload as a client (draft-ietf-oauth-spiffe-client-auth).
//!
//! In scope: the header fields' names, the claims, and the checks of the server. Not here: the
//! attestation itself (`wimse`), whose `cnf` key this proof is verified with, and whether the
//! `jti` was seen before.

use jose::{Audience, Kind, NumericDate, Verified, Window};
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::dpop::NonceKey;
use crate::identifier::TokenId;

/// The header field of the attestation.
pub const ATTESTATION_FIELD: &str = "oauth-client-attestation";
/// The header field of the proof; read it with [`crate::TokenText::of_field`].
pub const POP_FIELD: &str = "oauth-client-attestation-pop";

/// The kind `oauth-client-attestation-pop+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct ClientAttestationPop;

/// draft-ietf-oauth-attestation-based-client-auth §5.1. `iss`, which older texts had, is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAttestationPopClaims {
    pub aud: Audience,
    pub jti: TokenId,
    pub iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// Not defined for the proof; obeyed where a client sends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
}

impl Kind for ClientAttestationPop {
    // §5.1: "The typ (JWT type) header MUST be oauth-client-attestation-pop+jwt."
    const TYPES: &'static [&'static str] = &["oauth-client-attestation-pop+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = false;
    type Claims = ClientAttestationPopClaims;
    type Hint = ();

    fn hint(_: &ClientAttestationPopClaims) {}

    fn window(claims: &ClientAttestationPopClaims) -> Window {
        Window { exp: claims.exp, nbf: claims.nbf, iat: Some(claims.iat) }
    }
}

/// What the server expects of a proof.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer identifier of the server.
    pub audience: &'a str,
    /// Which challenge it must repeat.
    pub challenge: Challenge<'a>,
    /// How old a proof may be.
    pub max_age: Span,
}

/// The challenge of a proof (§6).
#[derive(Clone, Copy, Debug)]
pub enum Challenge<'a> {
    /// None was given.
    None,
    /// This one was.
    Given(&'a str),
    /// One that tells when it was given, so that nobody has to remember it.
    Timed(&'a NonceKey),
}

/// A proof that is fresh and for this server; its `jti` is to be consumed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPop {
    jti: TokenId,
    remember_until: UnixTime,
}

impl CheckedPop {
    /// To be consumed once, for this key.
    pub const fn jti(&self) -> &TokenId {
        &self.jti
    }

    /// Until when the `jti` must be remembered.
    pub const fn remember_until(&self) -> UnixTime {
        self.remember_until
    }
}

/// Checks a proof that was verified with the key of the attestation.
pub fn check(
    token: &Verified<ClientAttestationPop>,
    expected: &Expected<'_>,
    now: UnixTime,
) -> Result<CheckedPop, PopRefused> {
    let claims = token.claims();
    // §7.2: "when validated by an Authorization Server, it MUST be the issuer identifier URL of
    // the Authorization Server"; §5.1: "intended for a single audience".
    if claims.aud.sole() != Some(expected.audience) {
        let (found, expected) = (claims.aud.clone(), expected.audience.to_owned());
        return Err(PopRefused::WrongAudience { found, expected });
    }
    // §7.2: "The creation time [...] is within an acceptable window per local policy".
    let remember_until = claims.iat.time().plus(expected.max_age);
    if remember_until < now {
        let iat = claims.iat.time();
        return Err(PopRefused::TooOld { iat, now, max_age: expected.max_age });
    }
    // §7.2: "If the server provided a challenge value to the client, the challenge claim is
    // present in the Client Attestation PoP JWT and matches the server-provided challenge value."
    match (expected.challenge, claims.challenge.as_deref()) {
        (Challenge::None, _) => {}
        (_, None) => return Err(PopRefused::ChallengeAbsent),
        (Challenge::Given(given), Some(found)) if given == found => {}
        (Challenge::Given(_), Some(_)) => return Err(PopRefused::WrongChallenge),
        (Challenge::Timed(key), Some(found)) => {
            let fresh = key.is_fresh(found, expected.max_age, now);
            fresh.map_err(|_| PopRefused::WrongChallenge)?;
        }
    }
    Ok(CheckedPop { jti: claims.jti.clone(), remember_until })
}

/// Why a verified proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PopRefused {
    #[error("proof for {found}, expected `{expected}` alone")]
    WrongAudience { found: Audience, expected: String },
    #[error("proof made at {iat}, more than {} s before {now}", max_age.seconds())]
    TooOld { iat: UnixTime, now: UnixTime, max_age: Span },
    #[error("proof without the challenge that was given")]
    ChallengeAbsent,
    #[error("proof with another challenge than was given, or with an old one")]
    WrongChallenge,
}

impl PopRefused {
    /// Whether a challenge of now would help (§7.4, `use_attestation_challenge`).
    pub const fn asks_for_challenge(&self) -> bool {
        matches!(self, Self::ChallengeAbsent | Self::WrongChallenge)
    }
}
