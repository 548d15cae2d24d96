//! The authorization code (RFC 6749 §4.1.2).

use jose::TokenHash;
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

/// How a code begins, so that it is taken for nothing else (docs/past-defects.md 7).
pub const PREFIX: &str = "aims_ac_";
/// How long a code's row outlives the code, so that a late second use is told for what it is.
pub const KEPT: Span = Span::from_seconds(86_400);

/// A code, as it is stored: the code itself is known by its hash alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Its row: [`hash_of`] the code.
    pub hash: String,
    /// The grant that it leads to.
    pub grant: String,
    /// Whom it was given to.
    pub client_id: String,
    /// Where the browser took it; `None` where the request named none.
    pub redirect_uri: Option<String>,
    /// RFC 7636 §4.3: `code_challenge`, by S256.
    pub challenge: String,
    /// RFC 9449 §10: the key that alone may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// `nonce` of the request, for the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The audiences that the request named: the token endpoint may ask for one of them.
    pub resources: Vec<String>,
    /// Until when.
    pub until: UnixTime,
    /// When it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UnixTime>,
}

/// The text of a code with these random bytes.
pub fn text(secret: &[u8; 32]) -> String {
    format!("{PREFIX}{}", TokenHash::from_bytes(*secret).to_base64url())
}

/// How a code is known in the store; `None` for a text that is no code of ours.
pub fn hash_of(text: &str) -> Option<String> {
    text.starts_with(PREFIX).then(|| TokenHash::of(text).to_base64url())
}

impl Code {
    /// Refuses a code that is over. RFC 6749 §4.1.2: "The client MUST NOT use the authorization
    /// code more than once."
    pub fn is_fresh(&self, now: UnixTime) -> Result<(), Stale> {
        if let Some(at) = self.used {
            return Err(Stale::Used { at });
        }
        if now >= self.until {
            return Err(Stale::Expired { at: self.until });
        }
        Ok(())
    }
}

/// Why a code leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// It was used. RFC 6749 §4.1.2: "the authorization server MUST deny the request and SHOULD
    /// revoke (when possible) all tokens previously issued based on that authorization code."
    #[error("the code was used at {at}")]
    Used {
        /// When.
        at: UnixTime,
    },
    /// It came too late.
    #[error("the code expired at {at}")]
    Expired {
        /// When.
        at: UnixTime,
    },
}
