//! Challenges of a protected resource that wants one transaction approved
//! (draft-rosomakho-oauth-txn-challenge of 24 June 2026).
//!
//! In scope: the signal that a client takes one, the claims, what the authorization server answers
//! with. Not here: who approves, and the token that comes of it.

use std::fmt;

use jose::{Audience, Kind, NumericDate, Window};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::act::Act;
use crate::identifier::{ClientId, LineageId, SubjectText, TokenId, TransactionId};
use crate::issuer::Issuer;

/// §4.1: how a client says that it takes challenges; in lower case.
pub const FIELD: &str = "accept-txn-challenge";
/// §4.2: the error of a resource.
pub const ERROR: &str = "transaction_authorization_required";
/// Characters of `reason`.
pub const REASON_CHARS_MAX: usize = 512;

/// Whether the values of [`FIELD`] say that challenges are taken.
///
/// §4.1: "Its value MUST be a Boolean. Any other value type MUST be handled by recipients as if the
/// field were not present. For example, if this field is included multiple times, its type will
/// become a List and the field will be ignored." and "Receivers MUST ignore unknown parameters."
pub fn is_accepted<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let text = value.trim_ascii();
    let item = text.split(|byte| *byte == b';').next().unwrap_or_default();
    // RFC 9651 §4.2.3.2: a parameter may stand behind spaces after the semicolon, and what is no
    // item with parameters is no Boolean.
    item.trim_ascii_end() == b"?1" && !text.contains(&b',')
}

/// The kind `txn-authz-challenge+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct TxnChallenge;

/// §4.2.2, and whom and what the challenged call came of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnChallengeClaims {
    /// The resource: what the token will be for.
    pub iss: String,
    /// The authorization server.
    pub aud: Audience,
    pub iat: NumericDate,
    pub exp: NumericDate,
    pub jti: TokenId,
    pub txn: TransactionId,
    /// What is to be approved (RFC 9396).
    pub authorization_details: Vec<Value>,
    /// Why, for people.
    pub reason: String,
    /// Everybody who acted in the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// In whose name.
    pub sub: SubjectText,
    /// Who called.
    pub client_id: ClientId,
    /// What the token of the call, and all that came of it, began with.
    pub aims_root: LineageId,
    /// That token.
    pub aims_parent: TokenId,
}

impl Kind for TxnChallenge {
    // §4.2.1: "The JOSE header typ value MUST be txn-authz-challenge+jwt."
    const TYPES: &'static [&'static str] = &["txn-authz-challenge+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = TxnChallengeClaims;
    type Hint = String;

    fn hint(claims: &TxnChallengeClaims) -> String {
        claims.iss.clone()
    }

    fn window(claims: &TxnChallengeClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: None, iat: Some(claims.iat) }
    }
}

/// Refuses a challenge that is not for `issuer`, of `resource`.
pub fn check(claims: &TxnChallengeClaims, issuer: &Issuer) -> Result<(), NotForUs> {
    // §4.6: "the aud claim identifies the authorization server".
    if claims.aud.sole() != Some(issuer.as_str()) {
        let (found, expected) = (claims.aud.clone(), issuer.clone());
        return Err(NotForUs::Audience { found, expected });
    }
    if claims.reason.chars().count() > REASON_CHARS_MAX {
        return Err(NotForUs::Reason);
    }
    Ok(())
}

/// Why a challenge that was verified is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotForUs {
    #[error("challenge for {found}, expected `{expected}` alone")]
    Audience { found: Audience, expected: Issuer },
    #[error("`reason` of more than {REASON_CHARS_MAX} characters")]
    Reason,
}

/// The answer to a challenge that was handed in (§5.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnResponse {
    pub transaction_authorization_id: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_uri: Option<String>,
}

impl fmt::Debug for TxnResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxnResponse(… for {} s)", self.expires_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: AUTHZ-32 (part)
    #[test]
    fn txn_challenge_4_1_one_true_boolean_says_yes() {
        let check = |values: &[&str], expect| {
            let found = is_accepted(values.iter().map(|value| value.as_bytes()));
            assert_eq!(found, expect, "{values:?}");
        };
        check(&["?1"], true);
        check(&[" ?1 "], true);
        check(&["?1;q=2"], true);
        for no in ["?0", "1", "true", "?1, ?1", "\"?1\"", "", "?11"] {
            check(&[no], false);
        }
        check(&[], false);
        check(&["?1", "?1"], false);
    }
}
