//! Attestation-based client authentication (draft-ietf-oauth-attestation-based-client-auth-10): an
//! attester vouches for the key of one instance of a client, and the instance proves it.
//!
//! In scope: the attestation, the two ways of proof, challenges. Not here: the proof of its own
//! ([`crate::client_attestation_pop`]), which attesters are trusted.

use jose::{Kind, NumericDate, PublicKey, Verified, Window};
use serde::{Deserialize, Serialize};

use crate::client_metadata::evidence;
use crate::confirmation::Confirmation;
use crate::dpop;
use crate::identifier::ClientId;

/// The header field that gives a challenge beside any answer (§6.2).
pub const CHALLENGE_FIELD: &str = "oauth-client-attestation-challenge";

/// How an instance proves its key (§13.5.2, `client_attestation_pop_methods_supported`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopMethod {
    /// A proof of its own (§5.1).
    Jwt,
    /// The proof of DPoP, of the same key (§5.2).
    DpopCombined,
}

impl PopMethod {
    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "attestation_pop_jwt",
            Self::DpopCombined => "dpop_combined",
        }
    }
}

/// The kind `oauth-client-attestation+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct ClientAttestation;

/// §4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAttestationClaims {
    /// §4: "The sub (subject) claim MUST specify client_id value of the OAuth Client."
    pub sub: ClientId,
    pub exp: NumericDate,
    pub cnf: Confirmation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    /// Who vouches: not required since the text names its key by trust alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}

impl Kind for ClientAttestation {
    const TYPES: &'static [&'static str] = &["oauth-client-attestation+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = ClientAttestationClaims;
    type Hint = Option<String>;

    fn hint(claims: &ClientAttestationClaims) -> Option<String> {
        claims.iss.clone()
    }

    fn window(claims: &ClientAttestationClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: claims.iat }
    }
}

/// The key that a verified attestation vouches for, for the client of the request.
pub fn instance_key(
    token: &Verified<ClientAttestation>,
    client_id: &ClientId,
) -> Result<PublicKey, AttestationRefused> {
    let claims = token.claims();
    if claims.sub != *client_id {
        let (found, expected) = (claims.sub.clone(), client_id.clone());
        return Err(AttestationRefused::WrongClient { found, expected });
    }
    // §4: "The cnf (confirmation) claim MUST specify a key", as `jwk`: a reader of JWKs refuses one
    // that is private or symmetric.
    let Confirmation::Jwk(jwk) = &claims.cnf else { return Err(AttestationRefused::NoKey) };
    let key = jwk.verification_key().cloned();
    key.map_err(|why| AttestationRefused::Key { why: evidence(&why.to_string()) })
}

/// Checks that the proof of DPoP beside the attestation is of its key (§5.2, §7.3).
pub fn dpop_combined(
    instance: &PublicKey,
    proven: &dpop::Proven,
) -> Result<(), AttestationRefused> {
    // §5.2: "The public key located in the DPoP proof MUST match the public" key of the
    // attestation.
    if instance.thumbprint() == *proven.thumbprint() {
        return Ok(());
    }
    Err(AttestationRefused::OtherKey)
}

/// The answer of the challenge endpoint (§6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeResponse {
    pub attestation_challenge: String,
}

/// Why a verified attestation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationRefused {
    #[error("attestation of the client `{found}`, expected `{expected}` (§7.5)")]
    WrongClient { found: ClientId, expected: ClientId },
    #[error("attestation whose `cnf` has no `jwk` (§4)")]
    NoKey,
    #[error("attestation of a key that verifies nothing: {why} (§4)")]
    Key { why: String },
    #[error("proof of DPoP of another key than the attestation's (§5.2)")]
    OtherKey,
}
