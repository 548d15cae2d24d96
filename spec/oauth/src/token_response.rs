//! Successful answer of the token endpoint (RFC 6749 §5.1, RFC 8693 §2.2.1).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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

/// The answer. There is no refresh token: a new token needs a new proof of who asks.
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
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("token_type", &self.token_type)
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .field("issued_token_type", &self.issued_token_type)
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
            access_token: "eyJ.e30.AA".to_owned(),
            token_type: TokenUse::Bearer,
            expires_in: Some(300),
            scope: Some(ScopeSet::parse("read").unwrap()),
            issued_token_type: Some(TokenType::AccessToken),
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
