//! Public keys (`SubjectPublicKeyInfo`) and the signatures they verify: one table from algorithm
//! and key to verifier.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use der::asn1::AnyRef;
use der::{Decode, Tagged};

use crate::oid::Oid;
use crate::syntax::{Algorithm, RsaKey, Spki};

/// Shortest RSA modulus, in bits (NIST SP 800-131A: shorter ones are disallowed).
const RSA_BITS_MIN: usize = 2048;
/// Longest RSA modulus, in bits: longer ones cost a verifier more than they give.
const RSA_BITS_MAX: usize = 4096;

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const CURVE_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const CURVE_P384: &[u8] = &[0x2b, 0x81, 4, 0, 34];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];

/// What kind of key a `SubjectPublicKeyInfo` holds: only kinds that are strong enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// Edwards 25519.
    Ed25519,
    /// RSA with a modulus of so many bits, 2048 to 4096.
    Rsa { bits: usize },
}

impl KeyKind {
    /// Reads the DER of a `SubjectPublicKeyInfo` and judges kind and strength. Whether a point is
    /// on its curve is found out where a signature is verified with it.
    pub fn of_spki(spki_der: &[u8]) -> Result<Self, KeyError> {
        let spki = Spki::from_der(spki_der).map_err(|_| KeyError::Malformed)?;
        kind_of(&spki)
    }
}

/// Why a public key is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No `SubjectPublicKeyInfo`, or not one of its algorithm.
    #[error("the public key is malformed")]
    Malformed,
    /// An algorithm that is not supported.
    #[error("unsupported public key algorithm `{0}`")]
    Algorithm(Oid),
    /// A curve that is not supported.
    #[error("unsupported elliptic curve `{0}`")]
    Curve(Oid),
    /// A point that is not in uncompressed form.
    #[error("the public key is not an uncompressed point of its curve")]
    Point,
    /// An RSA key that is too short or too long.
    #[error("an rsa key of {bits} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken")]
    RsaBits { bits: usize },
    /// An RSA public exponent that is even or one.
    #[error("an rsa public exponent that is even or one")]
    RsaExponent,
}

/// What our side signs certificates and requests with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    EcdsaP256Sha256,
    EcdsaP384Sha384,
    Ed25519,
    RsaPkcs1Sha256,
}

impl SignatureAlgorithm {
    /// The DER of the `AlgorithmIdentifier`.
    pub(crate) fn identifier(self) -> &'static [u8] {
        match self {
            // RFC 5758 §3.2: "the encoding MUST omit the parameters field."
            Self::EcdsaP256Sha256 => &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
            Self::EcdsaP384Sha384 => &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
            // RFC 8410 §3: "the parameters MUST be absent."
            Self::Ed25519 => &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70],
            // RFC 4055 §5: "the parameters MUST be NULL."
            Self::RsaPkcs1Sha256 => {
                &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0]
            }
        }
    }

    /// Whether a key of this kind makes such signatures.
    pub fn fits(self, kind: KeyKind) -> bool {
        matches!(
            (self, kind),
            (Self::EcdsaP256Sha256, KeyKind::P256)
                | (Self::EcdsaP384Sha384, KeyKind::P384)
                | (Self::Ed25519, KeyKind::Ed25519)
                | (Self::RsaPkcs1Sha256, KeyKind::Rsa { .. })
        )
    }
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error(transparent)]
    Key(KeyError),
    #[error("signature algorithm `{0}` is unknown or does not fit the key")]
    Algorithm(Oid),
    #[error("the signature does not verify")]
    Wrong,
}

/// Verifies `signature` over `message` with the key of `spki_der`; the algorithm must be one for
/// that kind of key. Returns the kind.
pub(crate) fn verify(
    spki_der: &[u8],
    algorithm: &Algorithm<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<KeyKind, BadSignature> {
    let malformed = BadSignature::Key(KeyError::Malformed);
    let Ok(spki) = Spki::from_der(spki_der) else { return Err(malformed) };
    let kind = kind_of(&spki).map_err(BadSignature::Key)?;
    let Some(key) = spki.key.as_bytes() else { return Err(malformed) };
    let verifier = verifier(algorithm, kind).ok_or_else(|| {
        Oid::from_contents(algorithm.id.0).map_or(malformed, BadSignature::Algorithm)
    })?;
    UnparsedPublicKey::new(verifier, key)
        .verify(message, signature)
        .map_err(|_| BadSignature::Wrong)?;
    Ok(kind)
}

/// The hash of RSASSA-PSS, of its mask, and by its length the salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PssHash {
    Sha256,
    Sha384,
    Sha512,
}

impl PssHash {
    /// The length of its values, in bytes.
    pub(crate) const fn bytes(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Verifies a signature by RSASSA-PSS with an `rsaEncryption` key.
pub(crate) fn verify_pss(
    spki_der: &[u8],
    hash: PssHash,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let malformed = || BadSignature::Key(KeyError::Malformed);
    let spki = Spki::from_der(spki_der).map_err(|_| malformed())?;
    let KeyKind::Rsa { .. } = kind_of(&spki).map_err(BadSignature::Key)? else {
        return Err(malformed());
    };
    let verifier: &'static dyn VerificationAlgorithm = match hash {
        PssHash::Sha256 => &signature::RSA_PSS_2048_8192_SHA256,
        PssHash::Sha384 => &signature::RSA_PSS_2048_8192_SHA384,
        PssHash::Sha512 => &signature::RSA_PSS_2048_8192_SHA512,
    };
    let key = spki.key.as_bytes().ok_or_else(malformed)?;
    UnparsedPublicKey::new(verifier, key)
        .verify(message, signature)
        .map_err(|_| BadSignature::Wrong)
}

/// Verifies a signature that is no part of a certificate, made with the algorithm that
/// [`SignatureAlgorithm`] has for the kind of key.
pub(crate) fn verify_by_kind(
    spki_der: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let identifier = match KeyKind::of_spki(spki_der).map_err(BadSignature::Key)? {
        KeyKind::P256 => SignatureAlgorithm::EcdsaP256Sha256,
        KeyKind::P384 => SignatureAlgorithm::EcdsaP384Sha384,
        KeyKind::Ed25519 => SignatureAlgorithm::Ed25519,
        KeyKind::Rsa { .. } => SignatureAlgorithm::RsaPkcs1Sha256,
    }
    .identifier();
    let malformed = |_| BadSignature::Key(KeyError::Malformed);
    let algorithm = Algorithm::from_der(identifier).map_err(malformed)?;
    verify(spki_der, &algorithm, message, signature).map(|_| ())
}

/// Verifies an ECDSA signature over the SHA-256 of the message, whatever the curve of the key.
pub(crate) fn verify_ecdsa_sha256(
    spki_der: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let malformed = |_| BadSignature::Key(KeyError::Malformed);
    let identifier = SignatureAlgorithm::EcdsaP256Sha256.identifier();
    let algorithm = Algorithm::from_der(identifier).map_err(malformed)?;
    verify(spki_der, &algorithm, message, signature).map(|_| ())
}

/// The table: signature algorithm and key kind to verifier.
fn verifier(
    algorithm: &Algorithm<'_>,
    kind: KeyKind,
) -> Option<&'static dyn VerificationAlgorithm> {
    let absent = algorithm.parameters.is_none();
    // RFC 4055 §5: "the parameters MUST be NULL. Implementations MUST accept the parameters being
    // absent as well as present."
    let null = algorithm.parameters.is_none_or(AnyRef::is_null);
    Some(match (algorithm.id.0, kind) {
        (ECDSA_SHA256, KeyKind::P256) if absent => &signature::ECDSA_P256_SHA256_ASN1,
        (ECDSA_SHA384, KeyKind::P256) if absent => &signature::ECDSA_P256_SHA384_ASN1,
        (ECDSA_SHA256, KeyKind::P384) if absent => &signature::ECDSA_P384_SHA256_ASN1,
        (ECDSA_SHA384, KeyKind::P384) if absent => &signature::ECDSA_P384_SHA384_ASN1,
        (ED25519, KeyKind::Ed25519) if absent => &signature::ED25519,
        (RSA_SHA256, KeyKind::Rsa { .. }) if null => &signature::RSA_PKCS1_2048_8192_SHA256,
        (RSA_SHA384, KeyKind::Rsa { .. }) if null => &signature::RSA_PKCS1_2048_8192_SHA384,
        (RSA_SHA512, KeyKind::Rsa { .. }) if null => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => return None,
    })
}

/// Kind and strength of a key.
fn kind_of(spki: &Spki<'_>) -> Result<KeyKind, KeyError> {
    let key = spki.key.as_bytes().ok_or(KeyError::Malformed)?;
    match spki.algorithm.id.0 {
        EC_PUBLIC_KEY => {
            // RFC 5480 §2.1.1: "specifiedCurve ... MUST NOT be used in PKIX": a named curve only.
            let curve = spki.algorithm.parameters.filter(|any| any.tag() == NAMED_CURVE);
            let (kind, field_bytes) = match curve.map(AnyRef::value) {
                Some(CURVE_P256) => (KeyKind::P256, 32),
                Some(CURVE_P384) => (KeyKind::P384, 48),
                Some(other) => {
                    return Err(
                        Oid::from_contents(other).map_or(KeyError::Malformed, KeyError::Curve)
                    );
                }
                None => return Err(KeyError::Malformed),
            };
            // RFC 5480 §2.2: "The first octet of the OCTET STRING indicates whether the key is
            // compressed or uncompressed. The uncompressed form is indicated by 0x04"
            let uncompressed = key.first() == Some(&4) && key.len() == 1 + 2 * field_bytes;
            uncompressed.then_some(kind).ok_or(KeyError::Point)
        }
        // RFC 8410 §3: "the parameters MUST be absent."
        ED25519 => (spki.algorithm.parameters.is_none() && key.len() == 32)
            .then_some(KeyKind::Ed25519)
            .ok_or(KeyError::Malformed),
        // RFC 3279 §2.3.1: "The parameters field MUST have ASN.1 type NULL".
        RSA_ENCRYPTION if spki.algorithm.parameters.is_some_and(AnyRef::is_null) => rsa_kind(key),
        RSA_ENCRYPTION => Err(KeyError::Malformed),
        other => Err(Oid::from_contents(other).map_or(KeyError::Malformed, KeyError::Algorithm)),
    }
}

/// The tag of `namedCurve`.
const NAMED_CURVE: der::Tag = der::Tag::ObjectIdentifier;

/// Strength of an RSA key.
fn rsa_kind(key: &[u8]) -> Result<KeyKind, KeyError> {
    let key = RsaKey::from_der(key).map_err(|_| KeyError::Malformed)?;
    let modulus = key.modulus.as_bytes();
    let unused = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = modulus.len() * 8 - unused;
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(KeyError::RsaBits { bits });
    }
    let exponent = key.exponent.as_bytes();
    if exponent == [1] || exponent.last().is_none_or(|last| last & 1 == 0) {
        return Err(KeyError::RsaExponent);
    }
    Ok(KeyKind::Rsa { bits })
}
