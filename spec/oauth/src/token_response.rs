//! Successful answer of the token endpoint (RFC 6749 §5.1, RFC 8693 §2.2.1, RFC 9396 §7, OpenID
//! Connect Core 1.0 §3.1.3.3).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::authorization_details::AuthorizationDetails;
use crate::scope::ScopeSet;
use crate::token_type::TokenType;

/// How a token is used (`token_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// RFC 6750; also where another proof must come with it.
    Bearer,
    /// RFC 9449.
    Dpop,
    /// RFC 8693 §2.2.1: "If the issued token is not an access token or usable as an access token".
    NotApplicable,
}

impl TokenUse {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
            Self::NotApplicable => "N_A",
        }
    }

    /// RFC 6749 §5.1: "Value is case insensitive."
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::Bearer, Self::Dpop, Self::NotApplicable];
        all.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name))
    }
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenResponse {
    pub access_token: String,
    pub token_type: TokenUse,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<TokenType>,
    /// RFC 6749 §5.1: "OPTIONAL. The refresh token".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// OpenID Connect Core 1.0 §3.1.3.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// RFC 9396 §7: "the authorization details as granted by the resource owner".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<AuthorizationDetails>,
}

impl TokenResponse {
    /// The least that there is; the rest is filled in by its fields.
    pub const fn new(access_token: String, token_type: TokenUse) -> Self {
        Self {
            access_token,
            token_type,
            expires_in: None,
            scope: None,
            issued_token_type: None,
            refresh_token: None,
            id_token: None,
            authorization_details: None,
        }
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("token_type", &self.token_type)
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .field("issued_token_type", &self.issued_token_type)
            .field("refresh_token", &self.refresh_token.is_some())
            .field("id_token", &self.id_token.is_some())
            .field("authorization_details", &self.authorization_details)
            .finish_non_exhaustive()
    }
}

impl Serialize for TokenUse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TokenUse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| de::Error::custom("unknown token type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8693_2_2_1_answer() {
        let answer = TokenResponse {
            expires_in: Some(300),
            scope: Some(ScopeSet::parse("read").unwrap()),
            issued_token_type: Some(TokenType::AccessToken),
            ..TokenResponse::new("eyJ.e30.AA".to_owned(), TokenUse::Bearer)
        };
        insta::assert_snapshot!(serde_json::to_string_pretty(&answer).unwrap(), @r#"
        {
          "access_token": "eyJ.e30.AA",
          "token_type": "Bearer",
          "expires_in": 300,
          "scope": "read",
          "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"
        }
        "#);
        assert!(!format!("{answer:?}").contains("eyJ"));
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<TokenResponse>(&text).unwrap(), answer);
    }

    /// The example of OpenID Connect Core 1.0 §3.1.3.3, with RFC 9396 §7.
    #[test]
    fn openid_core_3_1_3_3_answer() {
        let text = r#"{"access_token":"SlAV32hkKG","token_type":"Bearer","expires_in":3600,
            "refresh_token":"8xLOxBtZp8","id_token":"eyJ.e30.AA",
            "authorization_details":[{"type":"a","actions":["b"]}]}"#;
        let answer: TokenResponse = serde_json::from_str(text).unwrap();
        assert_eq!(answer.refresh_token.as_deref(), Some("8xLOxBtZp8"));
        assert_eq!(answer.id_token.as_deref(), Some("eyJ.e30.AA"));
        assert_eq!(answer.authorization_details.as_ref().unwrap().iter().count(), 1);
        let written: serde_json::Value = serde_json::to_value(&answer).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
        let shown = format!("{answer:?}");
        for secret in ["SlAV32hkKG", "8xLOxBtZp8", "eyJ"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn rfc6749_5_1_token_type_is_case_insensitive() {
        let read = |text: &str| serde_json::from_str::<TokenResponse>(text).map(|a| a.token_type);
        let of = |name: &str| format!(r#"{{"access_token":"a","token_type":"{name}","x":1}}"#);
        assert_eq!(read(&of("bearer")).unwrap(), TokenUse::Bearer);
        assert_eq!(read(&of("dpop")).unwrap(), TokenUse::Dpop);
        assert_eq!(read(&of("N_A")).unwrap(), TokenUse::NotApplicable);
        assert!(read(&of("mac")).is_err());
        assert!(read(r#"{"access_token":"a"}"#).is_err());
    }
}
