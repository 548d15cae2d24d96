//! The word of an operator that an agent is what it should be: a JWT
//! ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) of our own kind, for minutes and once.

use jose::{Audience, Kind, NumericDate, Window};
use serde::{Deserialize, Serialize};

use crate::identifier::TokenId;

/// The kind `operator-assertion+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct OperatorAssertion;

/// What an operator says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatorAssertionClaims {
    /// The operator.
    pub iss: String,
    /// The agent's identifier.
    pub sub: String,
    /// SHA-256 of what runs, lower-case hexadecimal.
    pub sha256: String,
    pub exp: NumericDate,
    pub iat: NumericDate,
    /// Accepted once.
    pub jti: TokenId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
}

impl Kind for OperatorAssertion {
    // RFC 8725 §3.11: "Explicit typing is RECOMMENDED for new uses of JWTs."
    const TYPES: &'static [&'static str] = &["operator-assertion+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = OperatorAssertionClaims;
    type Hint = String;

    fn hint(claims: &OperatorAssertionClaims) -> String {
        claims.iss.clone()
    }

    fn window(claims: &OperatorAssertionClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: None, iat: Some(claims.iat) }
    }
}
