//! The key that seals the others at rest, and the sealed form.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, hmac, pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use env::Handle;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::file::{self, FileError, NOT_OWNER, NOT_OWNER_NOR_READING_GROUP};

/// Rounds of PBKDF2-HMAC-SHA256 over a passphrase (RFC 8018 §5.2); fewer are refused.
pub const PBKDF2_ITERATIONS: u32 = 600_000;
/// The most rounds that a file may ask for, so that it cannot keep the start from ending.
const PBKDF2_ITERATIONS_MAX: u32 = 20_000_000;
/// The shortest passphrase, in bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 12;
/// The shortest credential, in bytes: it is taken for a key, not for a passphrase.
const CREDENTIAL_BYTES_MIN: usize = 32;
/// The longest credential or passphrase, in bytes.
const SECRET_BYTES_MAX: usize = 4_096;
const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
/// The name of the file, in the folder of the keys, that says how a passphrase becomes a key.
const SALT_FILE: &str = "passphrase.salt";
const SALT_FILE_BYTES_MAX: usize = 256;
const SALT_KIND: &str = "pbkdf2-hmac-sha256";

/// The first bytes of a sealed file: what it is, and version 1 of it.
const MAGIC: &[u8; 8] = b"AIMSKEY\x01";
const MARK_BYTES: usize = 8;

/// Seals and opens key files. Neither shown nor compared; wiped on drop.
#[derive(ZeroizeOnDrop)]
pub struct SealingKey {
    secret: [u8; KEY_BYTES],
    /// Tells which key sealed a file, so that another key is not mistaken for damage.
    mark: [u8; MARK_BYTES],
}

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// A file is not used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The secret is too short to be one.
    #[error("`{}` has {found} bytes, fewer than {min}", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length without the line end.
        found: usize,
        /// The least.
        min: usize,
    },
    /// The file with the salt does not read.
    #[error("`{}` does not say how a passphrase becomes a key", path.display())]
    Salt {
        /// The file.
        path: PathBuf,
    },
    /// The file with the salt asks for too few or too many rounds.
    #[error(
        "`{}` asks for {found} rounds, not {PBKDF2_ITERATIONS} to {PBKDF2_ITERATIONS_MAX}",
        path.display()
    )]
    Rounds {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        found: u32,
    },
    /// The system gave no random bytes, or the library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl SealingError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::TooShort { min, .. } => format!("make one of {min} random bytes or more"),
            Self::Salt { .. } | Self::Rounds { .. } => {
                "restore it from a backup; without it the sealed keys cannot be opened".to_owned()
            }
            Self::Library => "start again".to_owned(),
        }
    }
}

impl SealingKey {
    /// From the file of a systemd credential (`$CREDENTIALS_DIRECTORY/<name>`): at least 32
    /// random bytes, in any form.
    pub fn from_credential(path: &Path) -> Result<Self, SealingError> {
        let secret = file::read(path, NOT_OWNER_NOR_READING_GROUP, SECRET_BYTES_MAX)?;
        let secret = without_line_end(&secret);
        long_enough(path, secret, CREDENTIAL_BYTES_MIN)?;
        Ok(Self::from_secret(secret))
    }

    /// From a file with a passphrase. How it becomes a key stands in a file in `folder`, the
    /// folder of the keys, and is made the first time. Takes some tenths of a second.
    pub fn from_passphrase(path: &Path, folder: &Path) -> Result<Self, SealingError> {
        let secret = file::read(path, NOT_OWNER, SECRET_BYTES_MAX)?;
        let passphrase = without_line_end(&secret);
        long_enough(path, passphrase, PASSPHRASE_BYTES_MIN)?;
        let Salt { rounds, salt } = Salt::read_or_make(folder)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        // RFC 8018 §5.2, with HMAC-SHA-256 (its appendix B.1.2).
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, passphrase, &mut *key);
        Ok(Self::from_secret(&*key))
    }

    /// From a secret of full strength.
    fn from_secret(secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |label: &[u8], into: &mut [u8]| {
            let derived = hmac::sign(&root, label);
            into.iter_mut().zip(derived.as_ref()).for_each(|(to, from)| *to = *from);
        };
        let mut key = Self { secret: [0; KEY_BYTES], mark: [0; MARK_BYTES] };
        derive(b"aims keys at rest: seal, version 1", &mut key.secret);
        derive(b"aims keys at rest: mark, version 1", &mut key.mark);
        key
    }

    /// The sealed form of `text` under the name `handle`.
    pub(crate) fn seal(&self, handle: &Handle, text: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let mut sealed = Zeroizing::new(Vec::with_capacity(text.len().saturating_add(64)));
        sealed.extend_from_slice(text);
        // NIST SP 800-38D §8.3: a random nonce serves 2^32 times under one key; there are at most
        // some thousand seals.
        let nonce = self
            .key()?
            .seal_in_place_append_tag(Aad::from(self.bound_to(handle)), &mut *sealed)
            .map_err(|_| Unsealable::Library)?;
        Ok([MAGIC.as_slice(), &self.mark, nonce.as_ref(), &sealed].concat())
    }

    /// The text that was sealed under that name.
    pub(crate) fn open(
        &self,
        handle: &Handle,
        file: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let parts = || {
            let (mark, rest) = file.strip_prefix(MAGIC)?.split_at_checked(MARK_BYTES)?;
            let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
            Some((mark, nonce, sealed))
        };
        let (mark, nonce, sealed) = parts().ok_or(Unsealable::Tampered)?;
        if constant_time::verify_slices_are_equal(mark, &self.mark).is_err() {
            return Err(Unsealable::OtherKey);
        }
        let mut text = Zeroizing::new(sealed.to_vec());
        let length = self
            .key()?
            .open_in_place(Nonce::from(nonce), Aad::from(self.bound_to(handle)), &mut text)
            .map_err(|_| Unsealable::Tampered)?
            .len();
        text.truncate(length);
        Ok(text)
    }

    fn key(&self) -> Result<RandomizedNonceKey, Unsealable> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.secret).map_err(|_| Unsealable::Library)
    }

    /// What a seal is bound to: the version, the key, and which private key it is, so that files
    /// cannot change places.
    fn bound_to(&self, handle: &Handle) -> Vec<u8> {
        [MAGIC.as_slice(), &self.mark, handle.to_string().as_bytes()].concat()
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// Whether a file is of the sealed form.
pub(crate) fn is_sealed(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// Why a file was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsealable {
    /// Another key sealed it.
    OtherKey,
    /// It was changed, or it stands under another name.
    Tampered,
    /// The library failed.
    Library,
}

/// How a passphrase becomes a key.
struct Salt {
    rounds: NonZeroU32,
    salt: Vec<u8>,
}

impl Salt {
    fn read_or_make(folder: &Path) -> Result<Self, SealingError> {
        file::private_folder(folder)?;
        let path = folder.join(SALT_FILE);
        let is_there = path.try_exists();
        let is_there = is_there.map_err(|error| FileError::Io { path: path.clone(), error })?;
        if !is_there {
            Self::make(&path)?;
        }
        let text = file::read(&path, NOT_OWNER, SALT_FILE_BYTES_MAX)?;
        let (rounds, salt) = parse_salt(&text).ok_or(SealingError::Salt { path: path.clone() })?;
        match NonZeroU32::new(rounds) {
            Some(nonzero) if (PBKDF2_ITERATIONS..=PBKDF2_ITERATIONS_MAX).contains(&rounds) => {
                Ok(Self { rounds: nonzero, salt })
            }
            _ => Err(SealingError::Rounds { path, found: rounds }),
        }
    }

    fn make(path: &Path) -> Result<(), SealingError> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| SealingError::Library)?;
        let text = format!("{SALT_KIND} {PBKDF2_ITERATIONS} {}\n", STANDARD.encode(salt));
        salt.zeroize();
        Ok(file::write(path, text.as_bytes())?)
    }
}

/// `pbkdf2-hmac-sha256 <rounds> <base64 of the salt>`
fn parse_salt(text: &[u8]) -> Option<(u32, Vec<u8>)> {
    let mut words = std::str::from_utf8(text).ok()?.split_whitespace();
    let (kind, rounds, salt) = (words.next()?, words.next()?, words.next()?);
    if kind != SALT_KIND || words.next().is_some() {
        return None;
    }
    let salt = STANDARD.decode(salt).ok().filter(|salt| salt.len() == SALT_BYTES)?;
    Some((rounds.parse().ok()?, salt))
}

/// An editor ends a file with a line end; it is no part of the secret.
fn without_line_end(secret: &[u8]) -> &[u8] {
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    secret.strip_suffix(b"\r").unwrap_or(secret)
}

fn long_enough(path: &Path, secret: &[u8], min: usize) -> Result<(), SealingError> {
    let found = secret.len();
    if found < min {
        return Err(SealingError::TooShort { path: path.to_owned(), found, min });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use env::Purpose;

    use super::*;

    fn handle(purpose: Purpose, id: &str) -> Handle {
        Handle { purpose, id: id.to_owned() }
    }

    #[test]
    fn what_was_sealed_opens_under_its_name_and_key_alone() {
        let key = SealingKey::from_secret(&[1; 32]);
        let name = handle(Purpose::Wit, "a");
        let sealed = key.seal(&name, b"text").unwrap();
        assert!(is_sealed(&sealed) && !sealed.windows(4).any(|part| part == b"text"));
        assert_eq!(key.open(&name, &sealed).unwrap().as_slice(), b"text");
        assert_ne!(key.seal(&name, b"text").unwrap(), sealed, "a nonce of its own");
        for other in [handle(Purpose::Wit, "b"), handle(Purpose::JwtSvid, "a")] {
            assert_eq!(key.open(&other, &sealed), Err(Unsealable::Tampered), "{other}");
        }
        let other = SealingKey::from_secret(&[2; 32]);
        assert_eq!(other.open(&name, &sealed), Err(Unsealable::OtherKey));
        assert_eq!(format!("{key:?}"), "SealingKey(…)");
    }

    #[test]
    fn a_change_of_any_byte_is_seen() {
        let key = SealingKey::from_secret(&[1; 32]);
        let name = handle(Purpose::Wit, "a");
        let sealed = key.seal(&name, b"text").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&name, &changed).is_err(), "byte {at}");
            assert!(key.open(&name, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(key.open(&name, &[&sealed[..], b"x"].concat()), Err(Unsealable::Tampered));
    }

    #[test]
    fn a_salt_is_read_strictly() {
        let salt = STANDARD.encode([7; SALT_BYTES]);
        let parse = |text: &str| parse_salt(text.as_bytes());
        let good = format!("{SALT_KIND} 600000 {salt}\n");
        assert_eq!(parse(&good), Some((600_000, vec![7; SALT_BYTES])));
        for bad in [
            String::new(),
            good.replace("sha256", "sha1"),
            good.replace("600000", "-1"),
            good.replace("600000", "99999999999"),
            good.replace(&salt, "AAAA"),
            good.replace(&salt, "*"),
            format!("{good} more"),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
