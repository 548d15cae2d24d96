//! ID tokens ([OpenID Connect Core 1.0](https://openid.net/specs/openid-connect-core-1_0.html) §2),
//! as platforms sign them about what runs on them: the claims that all have, and those that the
//! issuer adds.

use jose::{Audience, Kind, NumericDate, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An ID token.
#[derive(Debug)]
pub struct IdToken;

impl Kind for IdToken {
    // OpenID Connect Core 1.0 §2 is older than explicit typing, and names no `typ`.
    const TYPES: &'static [&'static str] = &["JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = Claims;
    type Hint = ();

    fn hint(_: &Claims) {}

    fn window(claims: &Claims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: Some(claims.iat) }
    }
}

/// What every such token says, and what its issuer adds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed it.
    pub iss: String,
    /// What it is about.
    pub sub: String,
    /// Whom it is for.
    pub aud: Audience,
    /// Its end.
    pub exp: NumericDate,
    /// When it was made.
    pub iat: NumericDate,
    /// Its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The issuer's own.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Claims {
    /// The text of a claim of the issuer's own by JSON pointer; numbers and truth values as they
    /// are written.
    pub fn text(&self, pointer: &str) -> Option<String> {
        let (first, rest) = pointer.strip_prefix('/')?.split_once('/').map_or_else(
            || (pointer.get(1..).unwrap_or_default(), String::new()),
            |(first, rest)| (first, format!("/{rest}")),
        );
        match self.more.get(first)?.pointer(&rest)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}
