//! Private key files as `ssh-keygen` writes them (OpenSSH's PROTOCOL.key), without a passphrase:
//! those of hosts have none.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::public_key::{KeyError, PublicKey};
use crate::wire::{self, Malformed, Reader};

const HEAD: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const TAIL: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// A private key and its public half.
pub struct PrivateKeyFile {
    /// The public half, as the private part of the file has it.
    pub public: PublicKey,
    /// Ed25519: the seed. P-256: the number, of 32 bytes.
    pub secret: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for PrivateKeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKeyFile({:?})", self.public)
    }
}

impl PrivateKeyFile {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, PrivateKeyError> {
        if text.len() > crate::BLOB_BYTES_MAX {
            let max = crate::BLOB_BYTES_MAX;
            return Err(Malformed::TooLong { bytes: text.len(), max }.into());
        }
        let (_, after) = text.split_once(HEAD).ok_or(PrivateKeyError::NoKey)?;
        let (body, _) = after.split_once(TAIL).ok_or(PrivateKeyError::NoKey)?;
        let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
        base64.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let bytes = STANDARD.decode(&base64).map_err(|_| Malformed::Base64)?;
        Self::read(&Zeroizing::new(bytes))
    }

    fn read(bytes: &[u8]) -> Result<Self, PrivateKeyError> {
        let mut reader = Reader::new(wire::bounded(bytes)?);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(PrivateKeyError::NoKey);
        }
        // PROTOCOL.key: "string ciphername, string kdfname, string kdfoptions, uint32 number of
        // keys N, string publickey1, [...] string encrypted, padded list of private keys"
        let (cipher, derivation) = (reader.string()?, reader.string()?);
        if cipher != b"none" || derivation != b"none" {
            return Err(PrivateKeyError::Encrypted);
        }
        reader.string()?;
        if reader.u32()? != 1 {
            return Err(PrivateKeyError::Several);
        }
        let outer = PublicKey::parse(reader.string()?)?;
        let mut private = Reader::new(reader.string()?);
        reader.end()?;
        // PROTOCOL.key: "uint32 checkint, uint32 checkint": after decryption both are the same.
        if private.u32()? != private.u32()? {
            return Err(PrivateKeyError::Encrypted);
        }
        let name = private.text()?;
        let (public, secret) = match name {
            "ssh-ed25519" => ed25519(&mut private)?,
            "ecdsa-sha2-nistp256" => p256(name, &mut private)?,
            other => {
                return Err(PrivateKeyError::Kind { kind: other.chars().take(64).collect() });
            }
        };
        if public != outer {
            return Err(PrivateKeyError::OtherKey);
        }
        Ok(Self { public, secret })
    }
}

type Halves = (PublicKey, Zeroizing<[u8; 32]>);

/// The public key, and both halves in 64 bytes.
fn ed25519(private: &mut Reader<'_>) -> Result<Halves, PrivateKeyError> {
    let public: [u8; 32] = private.string()?.try_into().map_err(|_| KeyError::Point)?;
    let both = private.string()?;
    let (seed, again) = both.split_at_checked(32).ok_or(Malformed::Cut)?;
    if again != public {
        return Err(PrivateKeyError::OtherKey);
    }
    let seed = seed.try_into().map_err(|_| KeyError::Point)?;
    Ok((PublicKey::Ed25519(public), Zeroizing::new(seed)))
}

/// Curve, point and number.
fn p256(name: &str, private: &mut Reader<'_>) -> Result<Halves, PrivateKeyError> {
    let public = PublicKey::of_name(name, private)?;
    let number = private.number()?;
    let mut secret = Zeroizing::new([0; 32]);
    let from = 32_usize.checked_sub(number.len()).ok_or(Malformed::Number)?;
    secret.get_mut(from..).ok_or(Malformed::Number)?.copy_from_slice(number);
    Ok((public, secret))
}

/// Why a file holds no private key that is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    #[error("no `OPENSSH PRIVATE KEY` in it")]
    NoKey,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the key has a passphrase")]
    Encrypted,
    #[error("not one key, but several or none")]
    Several,
    #[error("a private key of type `{kind}`; ssh-ed25519 and ecdsa-sha2-nistp256 are used")]
    Kind { kind: String },
    #[error("the public half is that of another key")]
    OtherKey,
}
