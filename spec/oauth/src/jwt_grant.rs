//! JWT authorization grants (RFC 7523 §2.1, §3): what another issuer says of its subject.

use jose::{Audience, Kind, NumericDate, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The kind of such a JWT.
#[derive(Clone, Copy, Debug)]
pub struct JwtGrant;

/// RFC 7523 §3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtGrantClaims {
    pub iss: String,
    pub sub: String,
    pub aud: Audience,
    pub exp: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// What else its issuer says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Kind for JwtGrant {
    // RFC 7523 names no `typ`. What is a token of another kind by its `typ` is none of these.
    const TYPES: &'static [&'static str] = &["JWT", "authorization-grant+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = JwtGrantClaims;
    type Hint = String;

    fn hint(claims: &JwtGrantClaims) -> String {
        claims.iss.clone()
    }

    fn window(claims: &JwtGrantClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: claims.iat }
    }
}
