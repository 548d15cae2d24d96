//! The SSH certificate of a host and its key, from the files in which `sshd` has them, and the
//! proof that the host has the key (the pure half is `attestation::sshpop`).
//!
//! Trusting it means: whoever can read the key file can join as this host.

use std::fmt;
use std::path::Path;

use attestation::sshpop::{Challenge, Evidence, NONCE_BYTES, Response, Signed, signed};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ssh::{Certificate, CertificateError, PrivateKeyError, PrivateKeyFile, PublicKey, put_string};

use crate::secret_file::{self, SecretFileError};
use crate::x509pop::AnswerError;

/// The longest file, in bytes.
const FILE_BYTES_MAX: usize = 32 * 1024;
/// The longest challenge that is read, in bytes.
const CHALLENGE_BYTES_MAX: usize = 1024;
/// Where `sshd` has the key of a host that was set up as usual, best first.
pub const USUAL_KEYS: [&str; 2] = ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key"];

/// A host certificate and its key.
pub struct Credential {
    certificate: Certificate,
    key: Key,
}

impl Credential {
    /// Reads both files. The key is the certificate's, in a file that others cannot read.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, CredentialError> {
        let text = crate::bounded_file::read(certificate, FILE_BYTES_MAX);
        let text = text.map_err(|why| CredentialError::Unreadable {
            path: certificate.display().to_string(),
            why,
        })?;
        let certificate = Certificate::parse_line(text.trim_end())?;
        let bytes = secret_file::read(key, FILE_BYTES_MAX)?;
        let file = PrivateKeyFile::parse(&String::from_utf8_lossy(&bytes))?;
        if &file.public != certificate.key() {
            return Err(CredentialError::OtherKey);
        }
        Ok(Self { certificate, key: Key::of(&file)? })
    }

    /// What the host sends first.
    pub fn evidence(&self) -> Result<Vec<u8>, AnswerError> {
        let certificate = STANDARD.encode(self.certificate.as_bytes());
        serde_json::to_vec(&Evidence { certificate }).map_err(AnswerError::unwritable)
    }

    /// What the host answers to a challenge, with 32 fresh random bytes of its own.
    pub fn answer(
        &self,
        challenge: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Vec<u8>, AnswerError> {
        if challenge.len() > CHALLENGE_BYTES_MAX {
            return Err(AnswerError::TooLong { bytes: challenge.len() });
        }
        let challenge: Challenge =
            serde_json::from_slice(challenge).map_err(|_| AnswerError::Malformed)?;
        let theirs = STANDARD.decode(&challenge.nonce).map_err(|_| AnswerError::Malformed)?;
        if theirs.len() != NONCE_BYTES {
            return Err(AnswerError::Nonce { bytes: theirs.len() });
        }
        let blob = self.key.sign(&signed(&theirs, &nonce))?;
        let format = self.certificate.key().kind().to_owned();
        let signature = Signed { format, blob: STANDARD.encode(blob), rest: None };
        let response = Response { nonce: STANDARD.encode(nonce), signature };
        serde_json::to_vec(&response).map_err(AnswerError::unwritable)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?})", self.certificate.key())
    }
}

/// A private key. The library wipes it when it is dropped.
enum Key {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Key {
    /// The key, if the public half in the file is its own.
    fn of(file: &PrivateKeyFile) -> Result<Self, CredentialError> {
        let other = |_| CredentialError::OtherKey;
        match &file.public {
            PublicKey::Ed25519(public) => {
                Ed25519KeyPair::from_seed_and_public_key(file.secret.as_slice(), public)
                    .map(Self::Ed25519)
                    .map_err(other)
            }
            PublicKey::P256(point) => EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                file.secret.as_slice(),
                point,
            )
            .map(Self::P256)
            .map_err(other),
            PublicKey::Rsa { .. } => Err(CredentialError::OtherKey),
        }
    }

    /// The blob of a signature.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AnswerError> {
        match self {
            Self::Ed25519(key) => {
                let made = key.try_sign(message).map_err(|_| AnswerError::Signing)?;
                Ok(made.as_ref().to_vec())
            }
            Self::P256(key) => {
                let made = key.sign(&SystemRandom::new(), message);
                let made = made.map_err(|_| AnswerError::Signing)?;
                let (r, s) = made.as_ref().split_at_checked(32).ok_or(AnswerError::Signing)?;
                let mut blob = Vec::new();
                for half in [r, s] {
                    put_string(&mut blob, &number(half));
                }
                Ok(blob)
            }
        }
    }
}

/// RFC 4251 §5: "mpint [...] Unnecessary leading bytes with the value 0 or 255 MUST NOT be
/// included", and a number whose first bit is set has a zero byte before it.
fn number(bytes: &[u8]) -> Vec<u8> {
    let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let short = bytes.get(from..).unwrap_or_default();
    let sign: &[u8] = if short.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    [sign, short].concat()
}

/// Why there is no credential in two files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The certificate's file cannot be read.
    #[error("cannot read `{path}`: {why}")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// It holds no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The file of the key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] SecretFileError),
    /// It holds no key.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The key and the certificate do not belong together.
    #[error("the key is not the key of the certificate")]
    OtherKey,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use attestation::mechanism::{Facts, Mechanism as _, Role};
    use attestation::policy::NodeRule;
    use attestation::sshpop::Mechanism;
    use time::UnixTime;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    fn vector(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/ssh/")).join(name)
    }

    /// The credential of two vectors, the key in a file of its own with this mode.
    fn read(certificate: &str, key: &str, mode: u32) -> Result<Credential, CredentialError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::copy(vector(key), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Credential::read(&vector(certificate), &path)
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_host_proves_that_it_has_the_key_of_its_ssh_certificate() {
        for kind in ["ed25519", "ecdsa"] {
            let (certificate, key) =
                (format!("host_{kind}-cert.pub"), format!("host_{kind}.private"));
            let credential = read(&certificate, &key, 0o600).unwrap();
            let authority = fs::read_to_string(vector(&format!("ca_{kind}.pub"))).unwrap();
            let own = serde_json::json!({ "cert_authorities": [authority] });
            let own = own.as_object().unwrap().clone();
            let rule = NodeRule { own, ..NodeRule::default() };
            let facts = Facts::new(Role::Node, &rule, &[1; 32], NOW);
            let evidence = credential.evidence().unwrap();
            let challenge = Mechanism.challenge(&evidence, &facts).unwrap().unwrap();
            // A number of a signature may begin with zeros or a set bit: sooner or later each does.
            for own in 0..=255 {
                let answer = credential.answer(&challenge, [own; 32]).unwrap();
                let found = Mechanism.appraise(&evidence, Some(&answer), &facts);
                assert!(found.is_ok(), "{kind} {own}: {found:?}");
            }
        }
    }

    #[test]
    fn s7_files_that_make_no_ssh_credential_are_refused() {
        let check = |certificate: &str, key: &str, mode: u32| {
            read(certificate, key, mode).err().unwrap().to_string()
        };
        let (good, good_key) = ("host_ed25519-cert.pub", "host_ed25519.private");
        assert_eq!(check(good, "host_ecdsa.private", 0o600), CredentialError::OtherKey.to_string());
        assert_eq!(check(good, "locked.private", 0o600), "the key has a passphrase");
        assert!(check(good, "host_rsa.private", 0o600).contains("ssh-rsa"));
        assert!(check(good, good_key, 0o604).contains("0604"));
        assert!(check("ca_rsa.pub", good_key, 0o600).contains("not that of a certificate"));
        assert!(check("missing", good_key, 0o600).contains("missing"));
    }

    #[test]
    fn s7_a_challenge_of_another_form_is_not_answered() {
        let credential = read("host_ed25519-cert.pub", "host_ed25519.private", 0o600).unwrap();
        let answer = |challenge: &[u8]| credential.answer(challenge, [0; 32]).unwrap_err();
        assert_eq!(answer(b"{}"), AnswerError::Malformed);
        assert_eq!(answer(&[b' '; 2_000]), AnswerError::TooLong { bytes: 2_000 });
        assert_eq!(answer(br#"{"Nonce":"AAAA"}"#), AnswerError::Nonce { bytes: 3 });
        assert!(!format!("{credential:?}").contains("secret"));
    }
}
