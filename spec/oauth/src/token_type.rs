//! Token type identifiers (RFC 8693 §3).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a token in an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenType {
    AccessToken,
    RefreshToken,
    IdToken,
    Saml1,
    Saml2,
    Jwt,
    /// draft-ietf-oauth-identity-assertion-authz-grant.
    IdJag,
    /// draft-ietf-oauth-transaction-tokens §11.1.
    TxnToken,
    /// draft-ietf-oauth-transaction-tokens §11.2.1.
    SelfSigned,
    /// draft-ietf-oauth-transaction-tokens §11.2.2.
    UnsignedJson,
}

/// What all identifiers begin with.
const PREFIX: &str = "urn:ietf:params:oauth:token-type:";

impl TokenType {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("urn:ietf:params:oauth:token-type:access_token", Self::AccessToken),
        ("urn:ietf:params:oauth:token-type:refresh_token", Self::RefreshToken),
        ("urn:ietf:params:oauth:token-type:id_token", Self::IdToken),
        ("urn:ietf:params:oauth:token-type:saml1", Self::Saml1),
        ("urn:ietf:params:oauth:token-type:saml2", Self::Saml2),
        ("urn:ietf:params:oauth:token-type:jwt", Self::Jwt),
        ("urn:ietf:params:oauth:token-type:id-jag", Self::IdJag),
        ("urn:ietf:params:oauth:token-type:txn_token", Self::TxnToken),
        ("urn:ietf:params:oauth:token-type:self_signed", Self::SelfSigned),
        ("urn:ietf:params:oauth:token-type:unsigned_json", Self::UnsignedJson),
    ];

    /// The type of that identifier.
    pub fn parse(urn: &str) -> Option<Self> {
        // Fletcher's chaining draft spells it so; what we write is the working group's spelling.
        if urn.strip_prefix(PREFIX) == Some("txn-token") {
            return Some(Self::TxnToken);
        }
        Self::NAMES.iter().find(|(name, _)| *name == urn).map(|(_, kind)| *kind)
    }

    /// The identifier.
    pub fn as_str(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, kind)| *kind == self);
        named.map_or(PREFIX, |(name, _)| name)
    }
}

impl fmt::Display for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TokenType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TokenType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let urn = String::deserialize(deserializer)?;
        Self::parse(&urn).ok_or_else(|| de::Error::custom("unknown token type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8693_3_identifiers() {
        for (name, kind) in TokenType::NAMES {
            assert_eq!(TokenType::parse(name), Some(*kind));
            assert_eq!(kind.as_str(), *name);
            assert!(name.starts_with(PREFIX));
        }
        let alias = "urn:ietf:params:oauth:token-type:txn-token";
        assert_eq!(TokenType::parse(alias), Some(TokenType::TxnToken));
        for unknown in ["", "access_token", PREFIX, "urn:ietf:params:oauth:token-type:Jwt"] {
            assert_eq!(TokenType::parse(unknown), None, "{unknown}");
        }
    }
}
