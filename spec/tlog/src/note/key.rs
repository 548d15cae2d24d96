//! Verifier keys (signed-note, "Verifier keys").

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::sha256;

/// Bytes of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;
/// Characters a key name can have.
const NAME_BYTES_MAX: usize = 255;

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `0x01`: the text itself.
    Ed25519,
    /// `0x04`: a checkpoint and a time, by a witness.
    Cosignature,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
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
    public: [u8; PUBLIC_KEY_BYTES],
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
        Ok(Self { name: name.to_owned(), id, kind, public })
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
        UnparsedPublicKey::new(&ED25519, self.public).verify(message, signature).map_err(|_| ())
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
    #[error("key id `{found}` does not belong to this name and key, {expected:08x} does")]
    Id { found: String, expected: u32 },
}

pub(super) fn is_name(name: &str) -> bool {
    // signed-note, Format: "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or
    // plus (U+002B) characters."
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(allowed)
}
