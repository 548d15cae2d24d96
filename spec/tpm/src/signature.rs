//! Signatures by a key of a TPM (Part 2 §11.3.4, TPMT_SIGNATURE).

use aws_lc_rs::signature::{self, RsaParameters, UnparsedPublicKey, VerificationAlgorithm};

use crate::algorithm::{Curve, Hash, Scheme, SchemeKind};
use crate::malformed::Malformed;
use crate::public::{Key, Public, padded};
use crate::wire::{Reader, Writer};

/// A signature, and how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// TPMS_SIGNATURE_RSASSA or TPMS_SIGNATURE_RSAPSS.
    Rsa {
        /// Which of them, and the hash.
        scheme: Scheme,
        /// The number.
        value: Vec<u8>,
    },
    /// TPMS_SIGNATURE_ECDSA.
    Ecdsa {
        /// The hash.
        hash: Hash,
        /// The first number.
        r: Vec<u8>,
        /// The second number.
        s: Vec<u8>,
    },
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// A key without a scheme signs in whatever way it is told: nothing is bound.
    #[error("the key has no signing scheme")]
    NoScheme,
    /// The signature was made in another way than the key's.
    #[error("the signature is not of the key's scheme")]
    OtherScheme,
    /// A key and a hash that do not go together here.
    #[error("the key's scheme is not supported")]
    Unsupported,
    /// It does not verify.
    #[error("the signature does not verify")]
    Wrong,
}

impl Signature {
    /// Reads all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let signature = Self::read(&mut reader)?;
        reader.end()?;
        Ok(signature)
    }

    /// Reads it from the front of more.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = SchemeKind::of_id(reader.u16()?)?;
        let hash = Hash::of_id(reader.u16()?)?;
        Ok(match kind {
            SchemeKind::RsaSsa | SchemeKind::RsaPss => {
                Self::Rsa { scheme: Scheme { kind, hash }, value: reader.sized()?.to_vec() }
            }
            SchemeKind::Ecdsa => {
                Self::Ecdsa { hash, r: reader.sized()?.to_vec(), s: reader.sized()?.to_vec() }
            }
        })
    }

    /// The structure.
    pub fn to_bytes(&self) -> Vec<u8> {
        let front = Scheme::write(Some(self.scheme()), Writer::default());
        match self {
            Self::Rsa { value, .. } => front.sized(value),
            Self::Ecdsa { r, s, .. } => front.sized(r).sized(s),
        }
        .into_bytes()
    }

    /// How it was made.
    pub const fn scheme(&self) -> Scheme {
        match self {
            Self::Rsa { scheme, .. } => *scheme,
            Self::Ecdsa { hash, .. } => Scheme { kind: SchemeKind::Ecdsa, hash: *hash },
        }
    }

    /// The two numbers one after the other, each as long as a coordinate. `None` if it is RSA, or a
    /// number is too long.
    pub fn fixed(&self, curve: Curve) -> Option<Vec<u8>> {
        let Self::Ecdsa { r, s, .. } = self else { return None };
        let length = curve.field_bytes();
        Some([padded(r, length)?, padded(s, length)?].concat())
    }

    /// Verifies it over `message` by `key`, whose scheme must be that of the signature.
    pub fn verify(&self, key: &Public, message: &[u8]) -> Result<(), BadSignature> {
        let scheme = key.scheme.ok_or(BadSignature::NoScheme)?;
        if scheme != self.scheme() {
            return Err(BadSignature::OtherScheme);
        }
        match (&key.key, self) {
            (Key::Rsa { .. }, Self::Rsa { value, .. }) => {
                let components = key.key.rsa().ok_or(BadSignature::Unsupported)?;
                let verified = components.verify(rsa(scheme)?, message, value);
                verified.map_err(|_| BadSignature::Wrong)
            }
            (Key::Ecc { curve, .. }, Self::Ecdsa { .. }) => {
                let algorithm = ecdsa(*curve, scheme.hash)?;
                let point = key.key.point().ok_or(BadSignature::Unsupported)?;
                let fixed = self.fixed(*curve).ok_or(BadSignature::Wrong)?;
                let verified = UnparsedPublicKey::new(algorithm, point).verify(message, &fixed);
                verified.map_err(|_| BadSignature::Wrong)
            }
            _ => Err(BadSignature::Unsupported),
        }
    }
}

const fn rsa(scheme: Scheme) -> Result<&'static RsaParameters, BadSignature> {
    Ok(match (scheme.kind, scheme.hash) {
        (SchemeKind::RsaSsa, Hash::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (SchemeKind::RsaSsa, Hash::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (SchemeKind::RsaSsa, Hash::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (SchemeKind::RsaPss, Hash::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
        (SchemeKind::RsaPss, Hash::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
        (SchemeKind::RsaPss, Hash::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
        (SchemeKind::Ecdsa, _) => return Err(BadSignature::Unsupported),
    })
}

fn ecdsa(curve: Curve, hash: Hash) -> Result<&'static dyn VerificationAlgorithm, BadSignature> {
    match (curve, hash) {
        (Curve::P256, Hash::Sha256) => Ok(&signature::ECDSA_P256_SHA256_FIXED),
        (Curve::P384, Hash::Sha384) => Ok(&signature::ECDSA_P384_SHA384_FIXED),
        _ => Err(BadSignature::Unsupported),
    }
}
