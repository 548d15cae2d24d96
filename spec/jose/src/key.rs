//! Public keys, parsed once and used often.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::ParsedPublicKey;

use crate::algorithm::{Algorithm, KeyType};
use crate::base64url;
use crate::der;
use crate::hash::Thumbprint;
use crate::jwk::{Jwk, JwkError};

/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Octets of an RSA exponent.
const MAX_RSA_EXPONENT_OCTETS: usize = 4;
/// Octets of a `SubjectPublicKeyInfo` with a named curve and an uncompressed point (RFC 5480 §2).
const P256_SPKI_OCTETS: usize = 91;
const P384_SPKI_OCTETS: usize = 120;
const P521_SPKI_OCTETS: usize = 158;
/// The same for Ed25519 (RFC 8410 §4).
const ED25519_SPKI_OCTETS: usize = 44;

/// A public key to verify with. The type of the key fixes the algorithm; an RSA key may be for
/// several until its JWK or [`PublicKey::for_algorithm`] names one. Cloning is cheap.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    material: Material,
    spki: Vec<u8>,
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

/// The members of the JWK, as base64url.
#[derive(Clone)]
pub(crate) enum Material {
    Ec { key_type: KeyType, x: String, y: String },
    Ed25519 { x: String },
    Rsa { n: String, e: String },
}

impl PublicKey {
    /// The key of a JWK that may be used to verify signatures.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, JwkError> {
        jwk.verification_key().cloned()
    }

    /// From a DER `SubjectPublicKeyInfo`, as certificates and requests carry it (RFC 5280 §4.1).
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        let key = match spki.len() {
            P256_SPKI_OCTETS => Self::of_point(KeyType::P256, spki)?,
            P384_SPKI_OCTETS => Self::of_point(KeyType::P384, spki)?,
            P521_SPKI_OCTETS => Self::of_point(KeyType::P521, spki)?,
            ED25519_SPKI_OCTETS => Self::of_point(KeyType::Ed25519, spki)?,
            _ => {
                let (n, e) = der::rsa_components(spki).ok_or(KeyError::UnsupportedSpki)?;
                Self::rsa(n, e, None)?
            }
        };
        // One encoding for each key: what is not written so (another algorithm identifier, a
        // compressed point, explicit parameters) is refused.
        if key.spki_der() != spki {
            return Err(KeyError::UnsupportedSpki);
        }
        Ok(key)
    }

    /// What the key is.
    pub fn key_type(&self) -> KeyType {
        match &self.0.material {
            Material::Ec { key_type, .. } => *key_type,
            Material::Ed25519 { .. } => KeyType::Ed25519,
            Material::Rsa { .. } => KeyType::Rsa,
        }
    }

    /// The algorithms that signatures by this key may be of; exactly one, save for an RSA key
    /// that was not given one.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.0.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether signatures by this key may be of `algorithm`.
    pub fn may_verify(&self, algorithm: Algorithm) -> bool {
        self.algorithms().any(|known| known == algorithm)
    }

    /// The same key, for `algorithm` alone.
    pub fn for_algorithm(&self, algorithm: Algorithm) -> Result<Self, KeyError> {
        // draft-ietf-oauth-rfc8725bis §3.1: "each key MUST be used with exactly one algorithm."
        if !self.may_verify(algorithm) {
            return Err(KeyError::WrongAlgorithm { algorithm, key_type: self.key_type() });
        }
        Self::assemble(self.0.material.clone(), Some(algorithm), self.spki_der())
    }

    /// Checks a signature over `message`, written as JWS writes it (ECDSA: `r || s`).
    pub fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let mut verifiers = self.0.verifiers.iter();
        let (_, verifier) = verifiers.find(|(known, _)| *known == algorithm).ok_or(BadSignature)?;
        verifier.verify_sig(message, signature).map_err(|_| BadSignature)
    }

    /// The JWK, with `alg` where there is only one.
    pub fn to_jwk(&self) -> Jwk {
        Jwk::of(self.clone())
    }

    /// RFC 7638, SHA-256.
    pub fn thumbprint(&self) -> Thumbprint {
        // RFC 7638 §3: "containing only the required members of a JWK representing the key and
        // with no whitespace or line breaks before or after any syntactic elements and with the
        // required members ordered lexicographically by the Unicode [...] code points of the member
        // names"
        let crv = self.key_type().crv().unwrap_or_default();
        let kty = self.key_type().kty();
        Thumbprint::of_canonical(&match &self.0.material {
            Material::Ec { x, y, .. } => {
                format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#)
            }
            Material::Ed25519 { x } => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"}}"#),
            Material::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"{kty}","n":"{n}"}}"#),
        })
    }

    /// DER `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    pub(crate) fn material(&self) -> &Material {
        &self.0.material
    }

    /// An elliptic curve key of affine coordinates.
    pub(crate) fn ec(
        key_type: KeyType,
        x: &[u8],
        y: &[u8],
        algorithm: Option<Algorithm>,
    ) -> Result<Self, KeyError> {
        // RFC 7518 §6.2.1.2: "The length of this octet string MUST be the full size of a
        // coordinate for the curve specified in the "crv" parameter."
        check_length(key_type, "x", x)?;
        check_length(key_type, "y", y)?;
        // SEC 1 §2.3.3: an uncompressed point.
        let point = [&[0x04], x, y].concat();
        let material = Material::Ec { key_type, x: base64url::encode(x), y: base64url::encode(y) };
        Self::assemble(material, algorithm, &point)
    }

    /// An Ed25519 key.
    pub(crate) fn ed25519(x: &[u8], algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        check_length(KeyType::Ed25519, "x", x)?;
        Self::assemble(Material::Ed25519 { x: base64url::encode(x) }, algorithm, x)
    }

    /// An RSA key of big-endian integers without leading zeros.
    pub(crate) fn rsa(n: &[u8], e: &[u8], algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        // RFC 7518 §3.3: "A key of size 2048 bits or larger MUST be used with these algorithms."
        let bits = bit_length(n)?;
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::ModulusSize { bits });
        }
        bit_length(e)?;
        let odd = e.last().is_some_and(|last| last & 1 == 1);
        if !odd || e == [1] || e.len() > MAX_RSA_EXPONENT_OCTETS {
            return Err(KeyError::Exponent);
        }
        let spki = PublicKeyComponents { n, e }.as_der().map_err(|_| KeyError::Invalid)?;
        let material = Material::Rsa { n: base64url::encode(n), e: base64url::encode(e) };
        Self::assemble(material, algorithm, spki.as_ref())
    }

    /// The key whose coordinates are the end of `spki`.
    fn of_point(key_type: KeyType, spki: &[u8]) -> Result<Self, KeyError> {
        let length = key_type.coordinate_length().unwrap_or_default();
        let coordinates = if key_type == KeyType::Ed25519 { length } else { 2 * length };
        let start = spki.len().checked_sub(coordinates).ok_or(KeyError::UnsupportedSpki)?;
        let (_, point) = spki.split_at(start);
        match key_type {
            KeyType::Ed25519 => Self::ed25519(point, None),
            _ => {
                let (x, y) = point.split_at(length);
                Self::ec(key_type, x, y, None)
            }
        }
    }

    /// Lets the library parse `encoded` for each algorithm: it refuses what is no key, a point
    /// that is not on its curve among it.
    fn assemble(
        material: Material,
        algorithm: Option<Algorithm>,
        encoded: &[u8],
    ) -> Result<Self, KeyError> {
        let key_type = material.key_type();
        let algorithms: Vec<Algorithm> = match algorithm {
            Some(algorithm) if algorithm.key_type() != key_type => {
                return Err(KeyError::WrongAlgorithm { algorithm, key_type });
            }
            Some(algorithm) => vec![algorithm],
            None => key_type.algorithms().collect(),
        };
        let mut verifiers = Vec::with_capacity(algorithms.len());
        for algorithm in algorithms {
            // draft-ietf-oauth-rfc8725bis §3.4: "The JWS/JWE library MUST validate these inputs
            // before using them or use underlying cryptographic libraries that do so"
            let parsed = ParsedPublicKey::new(algorithm.verifier(), encoded)
                .map_err(|_| KeyError::Invalid)?;
            verifiers.push((algorithm, parsed));
        }
        let first = verifiers.first().map(|(_, verifier)| verifier.as_der());
        let spki = first.and_then(Result::ok).ok_or(KeyError::Invalid)?.as_ref().to_vec();
        Ok(Self(Arc::new(Inner { material, spki, verifiers })))
    }
}

impl Material {
    fn key_type(&self) -> KeyType {
        match self {
            Self::Ec { key_type, .. } => *key_type,
            Self::Ed25519 { .. } => KeyType::Ed25519,
            Self::Rsa { .. } => KeyType::Rsa,
        }
    }
}

/// Keys are equal when they are the same key, whatever algorithms they are for.
impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.key_type(), self.thumbprint())
    }
}

/// Why a key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("coordinate `{name}` of {length} octets, not {expected} as {key_type} has")]
    CoordinateLength { name: &'static str, length: usize, expected: usize, key_type: KeyType },
    #[error("not a key, or not on its curve")]
    Invalid,
    #[error("integer with a leading zero, or none")]
    NotMinimal,
    #[error("modulus of {bits} bits, not 2048 to 8192")]
    ModulusSize { bits: usize },
    #[error("exponent that is even, 1 or longer than 32 bits")]
    Exponent,
    #[error("algorithm `{algorithm}` does not fit a key that is {key_type}")]
    WrongAlgorithm { algorithm: Algorithm, key_type: KeyType },
    #[error("public key info of a type or encoding that is not supported")]
    UnsupportedSpki,
}

/// The signature is not by this key, not over this message, or not of this algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

fn check_length(key_type: KeyType, name: &'static str, octets: &[u8]) -> Result<(), KeyError> {
    let expected = key_type.coordinate_length().unwrap_or_default();
    if octets.len() != expected {
        let length = octets.len();
        return Err(KeyError::CoordinateLength { name, length, expected, key_type });
    }
    Ok(())
}

/// Bits of a big-endian integer in the fewest octets.
fn bit_length(integer: &[u8]) -> Result<usize, KeyError> {
    // RFC 7518 §2: "The octet sequence MUST utilize the minimum number of octets needed to
    // represent the value."
    match integer.first() {
        None | Some(0) => Err(KeyError::NotMinimal),
        Some(first) => Ok(integer.len() * 8 - first.leading_zeros() as usize),
    }
}
