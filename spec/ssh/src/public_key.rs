//! Public keys, and the signatures they verify: one table from key and format to verifier.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::wire::{self, Malformed, Reader, put_string};

/// Bits of an RSA modulus (NIST SP 800-131A: shorter ones are disallowed).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

const ED25519_NAME: &str = "ssh-ed25519";
const P256_NAME: &str = "ecdsa-sha2-nistp256";
const P256_CURVE: &str = "nistp256";
const RSA_NAME: &str = "ssh-rsa";

/// A public key of a kind that counts.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RFC 8709.
    Ed25519([u8; 32]),
    /// RFC 5656, on P-256: an uncompressed point.
    P256(Vec<u8>),
    /// RFC 4253 §6.6.
    Rsa {
        /// Without leading zeros.
        exponent: Vec<u8>,
        /// Without leading zeros.
        modulus: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads the wire form, all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader::new(wire::bounded(bytes)?);
        let name = reader.text()?;
        let key = Self::of_name(name, &mut reader)?;
        reader.end()?;
        Ok(key)
    }

    /// Reads a line `ssh-ed25519 AAAA… comment`.
    pub fn parse_line(text: &str) -> Result<Self, KeyError> {
        Self::parse(&wire::line(text)?)
    }

    /// The fields of a key of type `name`.
    pub(crate) fn of_name(name: &str, reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        match name {
            ED25519_NAME => {
                // RFC 8709 §4: "Here, 'key' is the 32-octet public key".
                let key = reader.string()?.try_into().map_err(|_| KeyError::Point)?;
                Ok(Self::Ed25519(key))
            }
            P256_NAME => {
                if reader.text()? != P256_CURVE {
                    return Err(KeyError::Point);
                }
                let point = reader.string()?;
                // RFC 5656 §3.1: "point compression MAY be used": nobody does, nor do we.
                let is_plain = point.len() == 65 && point.first() == Some(&4);
                is_plain.then(|| Self::P256(point.to_vec())).ok_or(KeyError::Point)
            }
            RSA_NAME => {
                // RFC 4253 §6.6: "string "ssh-rsa" mpint e mpint n"
                let (exponent, modulus) = (reader.number()?, reader.number()?);
                let zeros = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                let bits = modulus.len() * 8 - zeros;
                if !RSA_BITS.contains(&bits) {
                    return Err(KeyError::RsaBits { bits });
                }
                Ok(Self::Rsa { exponent: exponent.to_vec(), modulus: modulus.to_vec() })
            }
            other => Err(KeyError::Kind { kind: other.chars().take(64).collect() }),
        }
    }

    /// The name of its type.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => ED25519_NAME,
            Self::P256(_) => P256_NAME,
            Self::Rsa { .. } => RSA_NAME,
        }
    }

    /// The wire form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_string(&mut bytes, self.kind().as_bytes());
        match self {
            Self::Ed25519(key) => put_string(&mut bytes, key),
            Self::P256(point) => {
                put_string(&mut bytes, P256_CURVE.as_bytes());
                put_string(&mut bytes, point);
            }
            Self::Rsa { exponent, modulus } => {
                for number in [exponent, modulus] {
                    let sign = number.first().is_some_and(|first| *first >= 0x80);
                    let sign: &[u8] = if sign { &[0] } else { &[] };
                    put_string(&mut bytes, &[sign, number].concat());
                }
            }
        }
        bytes
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, &self.to_bytes());
        format!("SHA256:{}", STANDARD_NO_PAD.encode(hash.as_ref()))
    }

    /// Whether the holder of the key signed `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let wrong = |_| BadSignature::Wrong;
        match (self, signature.format.as_str()) {
            (Self::Ed25519(key), ED25519_NAME) => UnparsedPublicKey::new(&ED25519, key)
                .verify(message, &signature.blob)
                .map_err(wrong),
            (Self::P256(point), P256_NAME) => {
                let fixed = fixed(&signature.blob).map_err(BadSignature::Malformed)?;
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, &fixed)
                    .map_err(wrong)
            }
            (Self::Rsa { exponent, modulus }, "rsa-sha2-256" | "rsa-sha2-512") => {
                let algorithm = if signature.format == "rsa-sha2-256" {
                    &RSA_PKCS1_2048_8192_SHA256
                } else {
                    &RSA_PKCS1_2048_8192_SHA512
                };
                RsaPublicKeyComponents { n: modulus, e: exponent }
                    .verify(algorithm, message, &signature.blob)
                    .map_err(wrong)
            }
            // RFC 8332 §1: signatures of the format "ssh-rsa" are made with SHA-1, and are refused.
            (_, other) => Err(BadSignature::Format { format: other.to_owned(), kind: self.kind() }),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.fingerprint())
    }
}

/// `r || s` of 32 bytes each.
fn fixed(blob: &[u8]) -> Result<Vec<u8>, Malformed> {
    // RFC 5656 §3.1.2: "The ecdsa_signature_blob value has the following specific encoding: mpint
    // r mpint s"
    let mut reader = Reader::new(blob);
    let halves = [reader.number()?, reader.number()?];
    reader.end()?;
    let mut fixed = Vec::with_capacity(64);
    for half in halves {
        let padding = 32_usize.checked_sub(half.len()).ok_or(Malformed::Number)?;
        fixed.extend(std::iter::repeat_n(0, padding));
        fixed.extend_from_slice(half);
    }
    Ok(fixed)
}

/// A signature: how it was made, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `ssh-ed25519`, `rsa-sha2-256`.
    pub format: String,
    /// What the format says.
    pub blob: Vec<u8>,
}

impl Signature {
    /// Reads the wire form, all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(wire::bounded(bytes)?);
        let (format, blob) = (reader.text()?.to_owned(), reader.string()?.to_vec());
        reader.end()?;
        Ok(Self { format, blob })
    }
}

/// Why bytes are no key that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a key of type `{kind}`; known are ssh-ed25519, ecdsa-sha2-nistp256 and ssh-rsa")]
    Kind { kind: String },
    #[error("no point of the key's curve, in plain form")]
    Point,
    #[error("an rsa key of {bits} bits; {} to {} are taken", RSA_BITS.start(), RSA_BITS.end())]
    RsaBits { bits: usize },
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("a signature of format `{format}` with a key of type `{kind}`")]
    Format { format: String, kind: &'static str },
    #[error("the signature does not read: {0}")]
    Malformed(Malformed),
    #[error("the signature does not verify")]
    Wrong,
}
