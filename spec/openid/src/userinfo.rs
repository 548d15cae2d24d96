//! Answer of the userinfo endpoint (OpenID Connect Core 1.0 §5.3.2).

use oauth::SubjectText;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id_token::CheckedIdToken;

/// What is said of the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Userinfo {
    /// Core 1.0 §5.3.2: "The "sub" (subject) Claim MUST always be returned in the UserInfo
    /// Response."
    pub sub: SubjectText,
    #[serde(flatten)]
    pub claims: Map<String, Value>,
}

impl Userinfo {
    /// The claims, if they are of the user of that ID token.
    pub fn of(self, token: &CheckedIdToken) -> Result<Map<String, Value>, OtherUser> {
        // Core 1.0 §5.3.2: "The "sub" Claim in the UserInfo Response MUST be verified to exactly
        // match the "sub" Claim in the ID Token; if they do not match, the UserInfo Response values
        // MUST NOT be used."
        if self.sub == token.claims().sub { Ok(self.claims) } else { Err(OtherUser) }
    }
}

/// The answer is about somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("userinfo of another subject than the ID token's (OpenID Connect Core 1.0 §5.3.2)")]
pub struct OtherUser;
