//! Public keys of credentials: a closed list of algorithms, each with the one form of its key.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::cbor::{self, Malformed, Value};

/// Bits of an RSA modulus (NIST SP 800-131A: shorter ones are disallowed).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Octets of an RSA exponent.
const RSA_EXPONENT_OCTETS_MAX: usize = 4;
/// Octets of a coordinate of P-256, and of a key of Ed25519.
const COORDINATE_OCTETS: usize = 32;

/// Labels of a `COSE_Key` (RFC 9052 §7.1; RFC 9053 §7.1; RFC 8230 §4).
const KTY: i64 = 1;
const ALG: i64 = 3;
const CRV: i64 = -1;
const X: i64 = -2;
const Y: i64 = -3;
const N: i64 = -1;
const E: i64 = -2;

/// Algorithms by their number in the registry of COSE that are named in refusals.
const NAMES: &[(i64, &str)] = &[
    (-7, "ES256"),
    (-8, "EdDSA"),
    (-9, "ESP256"),
    (-19, "Ed25519"),
    (-35, "ES384"),
    (-36, "ES512"),
    (-37, "PS256"),
    (-38, "PS384"),
    (-39, "PS512"),
    (-47, "ES256K"),
    (-48, "ML-DSA-44"),
    (-49, "ML-DSA-65"),
    (-50, "ML-DSA-87"),
    (-51, "ESP384"),
    (-52, "ESP512"),
    (-53, "Ed448"),
    (-257, "RS256"),
    (-258, "RS384"),
    (-259, "RS512"),
    (-65_535, "RS1"),
];

/// What a credential signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// All that are taken, the one that is liked best first.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// Its number in the registry of COSE.
    pub const fn cose(self) -> i64 {
        match self {
            Self::Es256 => -7,
            Self::EdDsa => -8,
            Self::Rs256 => -257,
        }
    }

    /// Its name in the registry of COSE.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    fn of_cose(number: i64) -> Result<Self, KeyError> {
        let known = Self::ALL.into_iter().find(|known| known.cose() == number);
        known.ok_or_else(|| {
            let named = NAMES.iter().find(|(known, _)| *known == number);
            KeyError::Algorithm { name: named.map_or("unknown", |(_, name)| name), number }
        })
    }

    /// `kty` of its keys (RFC 9053 §7.1, RFC 8230 §4), and the labels that they have.
    const fn key_form(self) -> (i64, &'static [i64]) {
        match self {
            Self::Es256 => (2, &[KTY, ALG, CRV, X, Y]),
            Self::EdDsa => (1, &[KTY, ALG, CRV, X]),
            Self::Rs256 => (3, &[KTY, ALG, N, E]),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The public key of a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialKey {
    material: Material,
    cose: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// An uncompressed point.
    Es256([u8; 1 + 2 * COORDINATE_OCTETS]),
    EdDsa([u8; COORDINATE_OCTETS]),
    /// Numbers without leading zeros.
    Rs256 {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl CredentialKey {
    /// Reads a `COSE_Key`, all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let value = cbor::whole(bytes)?;
        Self::of_value(&value, bytes)
    }

    /// The key that `value` says, written as `bytes`.
    pub(crate) fn of_value(value: &Value<'_>, bytes: &[u8]) -> Result<Self, KeyError> {
        let entries = value.map().ok_or(KeyError::NotAMap)?;
        let of = |label: i64| {
            let found = entries.iter().find(|(key, _)| key.integer() == Some(label));
            found.map(|(_, value)| value).ok_or(KeyError::Absent { label })
        };
        let number = |label: i64| of(label)?.integer().ok_or(KeyError::Parameter { label });
        let octets = |label: i64| of(label)?.bytes().ok_or(KeyError::Parameter { label });
        // §6.5.1: "The COSE_Key-encoded credential public key MUST contain the "alg" parameter and
        // MUST NOT contain any other OPTIONAL parameters."
        let algorithm = Algorithm::of_cose(number(ALG)?)?;
        let (kty, labels) = algorithm.key_form();
        if number(KTY)? != kty {
            return Err(KeyError::KeyType { algorithm });
        }
        let is_known = |key: &Value<'_>| key.integer().is_some_and(|key| labels.contains(&key));
        if !entries.iter().all(|(key, _)| is_known(key)) {
            return Err(KeyError::Optional);
        }
        let material = match algorithm {
            // §5.8.5: "Keys with algorithm -7 (ES256) MUST specify 1 (P-256) as the crv parameter
            // and MUST NOT use the compressed point form."
            Algorithm::Es256 if number(CRV)? != 1 => return Err(KeyError::Curve { algorithm }),
            Algorithm::Es256 => es256(octets(X)?, octets(Y)?)?,
            // §5.8.5: "Keys with algorithm -8 (EdDSA) MUST specify 6 (Ed25519) as the crv
            // parameter."
            Algorithm::EdDsa if number(CRV)? != 6 => return Err(KeyError::Curve { algorithm }),
            Algorithm::EdDsa => {
                let key = octets(X)?.try_into().map_err(|_| KeyError::Parameter { label: X })?;
                Material::EdDsa(key)
            }
            Algorithm::Rs256 => rs256(octets(N)?, octets(E)?)?,
        };
        Ok(Self { material, cose: bytes.to_vec() })
    }

    /// What it verifies.
    pub const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Es256(_) => Algorithm::Es256,
            Material::EdDsa(_) => Algorithm::EdDsa,
            Material::Rs256 { .. } => Algorithm::Rs256,
        }
    }

    /// The `COSE_Key`, to keep it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.cose
    }

    /// Whether the holder of the private key signed `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let verified = match &self.material {
            // §6.5.5: "For COSEAlgorithmIdentifier -7 (ES256), and other ECDSA-based algorithms,
            // the sig value MUST be encoded as an ASN.1 DER Ecdsa-Sig-Value"
            Material::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Material::EdDsa(key) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            Material::Rs256 { modulus, exponent } => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    message,
                    signature,
                )
            }
        };
        verified.map_err(|_| BadSignature)
    }
}

impl fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialKey({})", self.algorithm())
    }
}

fn es256(x: &[u8], y: &[u8]) -> Result<Material, KeyError> {
    // RFC 9053 §7.1.1: "The octet string represents a big-endian encoding of the unsigned
    // integer", leading zeros among it.
    for (label, coordinate) in [(X, x), (Y, y)] {
        if coordinate.len() != COORDINATE_OCTETS {
            return Err(KeyError::Parameter { label });
        }
    }
    // SEC 1 §2.3.3: an uncompressed point.
    let point = [&[0x04], x, y].concat();
    // The library refuses a point that is not on the curve.
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point).map_err(|_| KeyError::Point)?;
    point.try_into().map(Material::Es256).map_err(|_| KeyError::Point)
}

fn rs256(modulus: &[u8], exponent: &[u8]) -> Result<Material, KeyError> {
    // RFC 8230 §4: "The octet sequence MUST utilize the minimum number of octets needed to
    // represent the value."
    for (label, number) in [(N, modulus), (E, exponent)] {
        if number.first().is_none_or(|first| *first == 0) {
            return Err(KeyError::Parameter { label });
        }
    }
    let zeros = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = modulus.len() * 8 - zeros;
    if !RSA_BITS.contains(&bits) {
        return Err(KeyError::RsaBits { bits });
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !is_odd(exponent) || exponent == [1] || exponent.len() > RSA_EXPONENT_OCTETS_MAX {
        return Err(KeyError::Parameter { label: E });
    }
    if !is_odd(modulus) {
        return Err(KeyError::Parameter { label: N });
    }
    Ok(Material::Rs256 { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
}

/// Why bytes are no key of a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key does not read: {0}")]
    Malformed(#[from] Malformed),
    #[error("the key is not a map")]
    NotAMap,
    #[error("the key has no parameter {label}")]
    Absent { label: i64 },
    #[error("parameter {label} of the key is of the wrong kind, length or value")]
    Parameter { label: i64 },
    #[error("algorithm {name} ({number}); taken are ES256 (-7), EdDSA (-8) and RS256 (-257)")]
    Algorithm { name: &'static str, number: i64 },
    #[error("a key of another type than {algorithm} has")]
    KeyType { algorithm: Algorithm },
    #[error("a key on another curve than {algorithm} has")]
    Curve { algorithm: Algorithm },
    #[error("the key has a parameter that it must not have")]
    Optional,
    #[error("no point of P-256")]
    Point,
    #[error("an rsa key of {bits} bits; {} to {} are taken", RSA_BITS.start(), RSA_BITS.end())]
    RsaBits { bits: usize },
}

/// The signature does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;
