//! Signature algorithms (RFC 7518 §3, RFC 8037 §3.1): one table from the name to the type of key,
//! the length of the signature and the verifier.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    VerificationAlgorithm,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An asymmetric signature algorithm. `none`, `HS256` and the like have no value here, so that no
/// step after parsing can be led to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Es256,
    Es384,
    Es512,
    EdDsa,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: &'static [Self] = &[
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];

    /// The name in the registry of IANA, as it stands in `alg`.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The algorithm of that name, exactly as it is written in the registry.
    pub fn parse(name: &str) -> Option<Self> {
        // draft-ietf-oauth-rfc8725bis §2.11: an attacker could change the "alg" value to "noNE";
        // RFC 7515 §4.1.1: "The "alg" value is a case-sensitive ASCII string".
        match name {
            // RFC 9864 §2.2 names the one curve that is understood here under `EdDSA`.
            "Ed25519" => Some(Self::EdDsa),
            _ => Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == name),
        }
    }

    /// The only type of key that this algorithm works with.
    pub const fn key_type(self) -> KeyType {
        self.row().key_type
    }

    /// Length of a signature in octets; `None` where it is the length of the modulus.
    pub const fn signature_length(self) -> Option<usize> {
        self.row().signature_length
    }

    pub(crate) const fn verifier(self) -> &'static dyn VerificationAlgorithm {
        self.row().verifier
    }

    /// The table.
    const fn row(self) -> Row {
        use KeyType::{Ed25519, P256, P384, P521, Rsa};
        match self {
            // RFC 7518 §3.4: "The JWS Signature value MUST be a 64-octet sequence."
            Self::Es256 => row("ES256", P256, Some(64), &ECDSA_P256_SHA256_FIXED),
            Self::Es384 => row("ES384", P384, Some(96), &ECDSA_P384_SHA384_FIXED),
            Self::Es512 => row("ES512", P521, Some(132), &ECDSA_P521_SHA512_FIXED),
            Self::EdDsa => row("EdDSA", Ed25519, Some(64), &ED25519),
            Self::Rs256 => row("RS256", Rsa, None, &RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => row("RS384", Rsa, None, &RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => row("RS512", Rsa, None, &RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => row("PS256", Rsa, None, &RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => row("PS384", Rsa, None, &RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => row("PS512", Rsa, None, &RSA_PSS_2048_8192_SHA512),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| de::Error::custom("unknown signature algorithm"))
    }
}

/// What a key is: its `kty` and, where there is one, its `crv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    P256,
    P384,
    P521,
    Ed25519,
    Rsa,
}

impl KeyType {
    /// `kty` (RFC 7518 §6.1, RFC 8037 §2).
    pub const fn kty(self) -> &'static str {
        match self {
            Self::P256 | Self::P384 | Self::P521 => "EC",
            Self::Ed25519 => "OKP",
            Self::Rsa => "RSA",
        }
    }

    /// `crv`, where the type has one.
    pub const fn crv(self) -> Option<&'static str> {
        match self {
            Self::P256 => Some("P-256"),
            Self::P384 => Some("P-384"),
            Self::P521 => Some("P-521"),
            Self::Ed25519 => Some("Ed25519"),
            Self::Rsa => None,
        }
    }

    /// Octets of one coordinate, for the types that have coordinates.
    pub(crate) const fn coordinate_length(self) -> Option<usize> {
        match self {
            Self::P256 | Self::Ed25519 => Some(32),
            Self::P384 => Some(48),
            Self::P521 => Some(66),
            Self::Rsa => None,
        }
    }

    /// The algorithms for such keys; exactly one, save for RSA.
    pub(crate) fn algorithms(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.iter().copied().filter(move |algorithm| algorithm.key_type() == self)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.crv().unwrap_or(self.kty()))
    }
}

struct Row {
    name: &'static str,
    key_type: KeyType,
    signature_length: Option<usize>,
    verifier: &'static dyn VerificationAlgorithm,
}

const fn row(
    name: &'static str,
    key_type: KeyType,
    signature_length: Option<usize>,
    verifier: &'static dyn VerificationAlgorithm,
) -> Row {
    Row { name, key_type, signature_length, verifier }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7518_3_1_names_are_exact() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(*algorithm));
            assert_eq!(Algorithm::parse(&algorithm.as_str().to_lowercase()), None);
        }
        assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::EdDsa));
        for name in ["none", "noNE", "", "HS256", "HS512", "ES256K", "Ed448", "RSA1_5", " ES256"] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }
}
