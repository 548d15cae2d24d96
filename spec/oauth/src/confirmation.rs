//! `cnf`: which key a token is bound to (RFC 7800 §3, RFC 8705 §3.1, RFC 9449 §6.1).

use std::fmt;

use jose::{Jwk, NotAHash, Thumbprint};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

/// SHA-256 of the DER of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertificateThumbprint(Thumbprint);

impl CertificateThumbprint {
    /// As `x5t#S256` writes it: base64url, 43 characters.
    pub fn parse(text: &str) -> Result<Self, NotAHash> {
        Thumbprint::parse(text).map(Self)
    }

    /// A hash that was computed elsewhere.
    pub const fn from_bytes(sha256: [u8; 32]) -> Self {
        Self(Thumbprint::from_bytes(sha256))
    }

    /// The 32 octets.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for CertificateThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CertificateThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateThumbprint({self})")
    }
}

/// The one key that must be proven to use the token. A binding by a method that is not known here
/// is refused: to ignore it would turn the token into a bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// `jkt`: proven by DPoP.
    Key(Thumbprint),
    /// `x5t#S256`: proven by mutual TLS.
    Certificate(CertificateThumbprint),
    /// `jwk`: proven as the kind of token says.
    Jwk(Box<Jwk>),
}

impl Serialize for Confirmation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let member = match self {
            Self::Key(thumbprint) => json!({ "jkt": thumbprint }),
            Self::Certificate(thumbprint) => json!({ "x5t#S256": thumbprint.to_string() }),
            Self::Jwk(jwk) => json!({ "jwk": jwk }),
        };
        member.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Confirmation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::<String, Value>::deserialize(deserializer)?;
        // RFC 7800 §3.1: "The "cnf" claim value MUST represent only a single proof-of-possession
        // key".
        let mut members = members.into_iter();
        let (Some((name, value)), None) = (members.next(), members.next()) else {
            return Err(de::Error::custom("`cnf` must have exactly one member"));
        };
        let hash = |text: &Value| Thumbprint::parse(text.as_str().unwrap_or_default());
        match name.as_str() {
            "jkt" => hash(&value).map(Self::Key).map_err(de::Error::custom),
            "x5t#S256" => {
                let thumbprint = hash(&value).map_err(de::Error::custom)?;
                Ok(Self::Certificate(CertificateThumbprint(thumbprint)))
            }
            "jwk" => Jwk::from_value(&value)
                .map(|jwk| Self::Jwk(Box::new(jwk)))
                .map_err(de::Error::custom),
            _ => Err(de::Error::custom("`cnf` with a method that is not known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8705 §3.1 ends in `2`, whose last bits are no part of the hash: such a
    /// second spelling is refused.
    const HASH: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0";
    const SECOND_SPELLING: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

    #[test]
    fn rfc7800_3_1_binding_is_one_known_key() {
        let jwk = r#"{"jwk":{"kty":"OKP","crv":"Ed25519","alg":"EdDSA",
            "x":"1CXXvflN_LVVsIsYXsUvB03JmlGWeCHqQVuouCF92bg"}}"#;
        for text in [&format!(r#"{{"jkt":"{HASH}"}}"#), &format!(r#"{{"x5t#S256":"{HASH}"}}"#), jwk]
        {
            let read: Confirmation = serde_json::from_str(text).unwrap();
            let written = serde_json::to_value(&read).unwrap();
            assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
        }
        for text in [
            "{}",
            "null",
            "[]",
            r#"{"kid":"a"}"#,
            r#"{"jkt":"short"}"#,
            r#"{"jkt":null}"#,
            &format!(r#"{{"x5t#S256":"{SECOND_SPELLING}"}}"#),
            &format!(r#"{{"jkt":"{HASH}=","kid":"a"}}"#),
            &format!(r#"{{"jkt":"{HASH}","x5t#S256":"{HASH}"}}"#),
            &format!(r#"{{"jkt":"{HASH}","unknown":1}}"#),
            r#"{"jwk":{"kty":"oct","k":"AQAB"}}"#,
        ] {
            assert!(serde_json::from_str::<Confirmation>(text).is_err(), "{text}");
        }
    }
}
