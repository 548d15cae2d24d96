//! SHA-256 of a token (`ath`, `wth`) and of a key (RFC 7638).

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::base64url;

/// Octets of a SHA-256 value.
const LENGTH: usize = 32;

/// SHA-256 of the ASCII of a compact token: what `ath` and `wth` carry, and how records name a
/// token without holding it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; LENGTH]);

impl TokenHash {
    /// The hash of `token`, as it stands in the message, without a scheme before it.
    pub fn of(token: &str) -> Self {
        // RFC 9449 §4.2: "hash of the ASCII encoding of the associated access token's value."
        Self(sha256(token.as_bytes()))
    }

    /// As `ath` and `wth` write it: base64url, 43 characters.
    pub fn parse(text: &str) -> Result<Self, NotAHash> {
        base64url::decode_array(text).map(Self).ok_or(NotAHash)
    }

    /// A hash that was kept as octets.
    pub const fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 32 octets.
    pub const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// Base64url without padding, 43 characters.
    pub fn to_base64url(self) -> String {
        base64url::encode(&self.0)
    }
}

/// JWK SHA-256 thumbprint (RFC 7638): names a key, whatever else its JWK says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint([u8; LENGTH]);

impl Thumbprint {
    /// From the JSON of the required members in their order.
    pub(crate) fn of_canonical(json: &str) -> Self {
        Self(sha256(json.as_bytes()))
    }

    /// As `cnf.jkt` writes it: base64url, 43 characters.
    pub fn parse(text: &str) -> Result<Self, NotAHash> {
        base64url::decode_array(text).map(Self).ok_or(NotAHash)
    }

    /// A thumbprint that was kept as octets.
    pub const fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 32 octets.
    pub const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// Base64url without padding, 43 characters.
    pub fn to_base64url(self) -> String {
        base64url::encode(&self.0)
    }
}

/// Text that is no SHA-256 value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the base64url of a SHA-256 value")]
pub struct NotAHash;

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64url())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64url())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What `Debug` of a token shows: its kind and the first 8 hexadecimal digits of its hash.
pub(crate) fn redacted(
    f: &mut fmt::Formatter<'_>,
    state: &str,
    types: &[&str],
    hash: TokenHash,
) -> fmt::Result {
    let kind = types.first().copied().unwrap_or("JWT");
    write!(f, "{state}<{kind}>(")?;
    for byte in hash.0.iter().take(4) {
        write!(f, "{byte:02x}")?;
    }
    f.write_str("…)")
}

fn sha256(bytes: &[u8]) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
