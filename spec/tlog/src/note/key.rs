//! Verifier keys (signed-note, "Verifier keys").

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::sha256;

/// Bytes of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;
/// What comes before the point in the `SubjectPublicKeyInfo` of a P-256 key (RFC 5480 §2).
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point on P-256.
const P256_POINT_BYTES: usize = 65;
/// Characters a key name can have.
const NAME_BYTES_MAX: usize = 255;

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `0x01`: the text itself.
    Ed25519,
    /// `0x02`: the text itself, by ECDSA on P-256.
    Ecdsa,
    /// `0x04`: a checkpoint and a time, by a witness.
    Cosignature,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Ecdsa => 0x02,
            Self::Cosignature => 0x04,
        }
    }
}

/// A key that signs notes, under its name: `name+id+key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: KeyKind,
    public: Vec<u8>,
}

impl VerifierKey {
    /// A key under a name, with the id that follows from both.
    pub fn new(
        name: &str,
        kind: KeyKind,
        public: [u8; PUBLIC_KEY_BYTES],
    ) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name { name: name.to_owned() });
        }
        // signed-note, Signatures: "key ID = SHA-256(key name || 0x0A || signature type || public
        // key)[:4]"
        let hash = sha256(&[name.as_bytes(), b"\n", &[kind.byte()], &public]);
        let id = hash.0.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        Ok(Self { name: name.to_owned(), id, kind, public: public.to_vec() })
    }

    /// A P-256 key under a name, from its `SubjectPublicKeyInfo`: what logs sign with that are
    /// older than the format.
    pub fn ecdsa(name: &str, spki: &[u8]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name { name: name.to_owned() });
        }
        let point = spki.strip_prefix(&P256_SPKI_PREFIX);
        let point = point.filter(|point| point.len() == P256_POINT_BYTES);
        let point = point.ok_or(KeyError::NotP256)?;
        // signed-note, Signature types: "Note that the key ID for these signatures is the truncated
        // SHA-256 hash of the DER encoded public key in SPKI format."
        let id = sha256(&[spki]).0.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        Ok(Self { name: name.to_owned(), id, kind: KeyKind::Ecdsa, public: point.to_vec() })
    }

    /// Reads a vkey.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        // signed-note, Verifier keys: "<key name>+hex(32-bit key ID)+base64(signature type ||
        // public key)". A name has no plus, base64 may.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Parts);
        };
        let bytes = STANDARD.decode(key).map_err(|_| KeyError::Base64)?;
        let (kind, public) = bytes.split_first().ok_or(KeyError::Base64)?;
        // Type 0x02 has no text form that is agreed upon: such keys come by `VerifierKey::ecdsa`.
        let kind = match kind {
            0x01 => KeyKind::Ed25519,
            0x04 => KeyKind::Cosignature,
            other => return Err(KeyError::Kind { byte: *other }),
        };
        let public = public.try_into().map_err(|_| KeyError::Length { bytes: public.len() })?;
        let key = Self::new(name, kind, public)?;
        // "the fixed length lowercase Base 16 encoding of its zero-padded big endian
        // representation"
        if format!("{:08x}", key.id) != id {
            return Err(KeyError::Id { found: id.to_owned(), expected: key.id });
        }
        Ok(key)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), ()> {
        let wrong = |_| ();
        match self.kind {
            KeyKind::Ed25519 | KeyKind::Cosignature => {
                let key = UnparsedPublicKey::new(&ED25519, &self.public);
                key.verify(message, signature).map_err(wrong)
            }
            KeyKind::Ecdsa => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.public);
                key.verify(message, signature).map_err(wrong)
            }
        }
    }
}

/// The vkey.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.byte()];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

/// Why a text is no verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a verifier key has a name, an id and a key, with `+` between")]
    Parts,
    #[error(
        "a key name that is empty, too long, or has spaces, `+` or control characters: `{name}`"
    )]
    Name { name: String },
    #[error("the key is not standard base64")]
    Base64,
    #[error("signature type {byte:#04x} is not supported")]
    Kind { byte: u8 },
    #[error("an Ed25519 key of {bytes} bytes")]
    Length { bytes: usize },
    #[error("not an uncompressed P-256 key as `SubjectPublicKeyInfo`")]
    NotP256,
    #[error("key id `{found}` does not belong to this name and key, {expected:08x} does")]
    Id { found: String, expected: u32 },
}

pub(super) fn is_name(name: &str) -> bool {
    // signed-note, Format: "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or
    // plus (U+002B) characters."
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(allowed)
}
