//! The certificate of a host and its key, from the files in which an operator or a manufacturer put
//! them, and the proof that the host has the key (the pure half is `attestation::x509pop`).
//!
//! Trusting it means: whoever can read the key file can join as this host.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use attestation::x509pop::{CERTIFICATES_MAX, Challenge, Evidence, NONCE_BYTES, Response};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509::{CertificateDer, Malformed, PemError};
use zeroize::Zeroizing;

use crate::secret_file::{self, SecretFileError};

/// The longest file of certificates, in bytes.
pub const CERTIFICATE_FILE_BYTES_MAX: usize = 256 * 1024;
/// The longest file with a private key, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 16 * 1024;
/// The longest challenge that is read, in bytes.
const CHALLENGE_BYTES_MAX: usize = 1024;

/// A certificate chain, leaf first, and the key of the leaf.
pub struct Credential {
    chain: Vec<CertificateDer>,
    key: Key,
}

impl Credential {
    /// Reads both files, PEM. The key is PKCS #8 in a file that others cannot read, and is the key
    /// of the first certificate.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, CredentialError> {
        let chain = CertificateDer::from_pem_many(&read_text(certificates)?)?;
        if chain.len() > CERTIFICATES_MAX {
            return Err(CredentialError::TooManyCertificates { count: chain.len() });
        }
        let key = Key::from_pem(&secret_file::read(key, KEY_FILE_BYTES_MAX)?)?;
        let leaf = chain.first().ok_or(PemError::None)?.parse()?;
        if key.spki().as_deref() != Some(leaf.spki_der()) {
            return Err(CredentialError::OtherKey);
        }
        Ok(Self { chain, key })
    }

    /// What the host sends first.
    pub fn evidence(&self) -> Result<Vec<u8>, AnswerError> {
        let certificates = self.chain.iter().map(|one| STANDARD.encode(one.as_bytes())).collect();
        serde_json::to_vec(&Evidence { certificates }).map_err(AnswerError::unwritable)
    }

    /// What the host answers to a challenge, with 32 fresh random bytes of its own: without them
    /// the server could have it sign what it likes.
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
        // attestation-and-audit §2: "the signed digest is `SHA-256(challenge nonce || response
        // nonce)`"
        let signature = self.key.sign(&[theirs.as_slice(), &nonce].concat())?;
        let response =
            Response { nonce: STANDARD.encode(nonce), signature: STANDARD.encode(signature) };
        serde_json::to_vec(&response).map_err(AnswerError::unwritable)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Why there is no credential in two files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The file of certificates cannot be read.
    #[error("cannot read `{path}`: {kind}")]
    Unreadable {
        /// Its path.
        path: String,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The file of certificates is too long.
    #[error("`{path}` is longer than {CERTIFICATE_FILE_BYTES_MAX} bytes")]
    TooLong {
        /// Its path.
        path: String,
    },
    /// It has no readable certificates.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The first certificate does not read.
    #[error(transparent)]
    Certificate(#[from] Malformed),
    /// No server would read so many.
    #[error("{count} certificates, at most {CERTIFICATES_MAX} are sent")]
    TooManyCertificates {
        /// How many.
        count: usize,
    },
    /// The file of the key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] SecretFileError),
    /// It has no `PRIVATE KEY` block.
    #[error("the key file has no readable `PRIVATE KEY` block (pkcs #8)")]
    NoKey,
    /// The key is of a kind that is not used.
    #[error("the key is none of p-256, p-384, ed25519 and rsa")]
    KeyKind,
    /// The key and the certificate do not belong together.
    #[error("the key is not the key of the first certificate")]
    OtherKey,
}

/// Why a challenge is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is longer than any challenge.
    #[error("a challenge of {bytes} bytes, at most {CHALLENGE_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It does not read.
    #[error("the challenge does not read")]
    Malformed,
    /// Its nonce has another length.
    #[error("a nonce of {bytes} bytes instead of {NONCE_BYTES}")]
    Nonce {
        /// Its length.
        bytes: usize,
    },
    /// The library would not sign with the key.
    #[error("the key does not sign")]
    Signing,
    /// It cannot be written as JSON.
    #[error("the answer cannot be written: {why}")]
    Unwritable {
        /// What is wrong.
        why: String,
    },
}

impl AnswerError {
    pub(crate) fn unwritable(error: serde_json::Error) -> Self {
        Self::Unwritable { why: error.to_string() }
    }
}

/// A private key. The library wipes it when it is dropped.
enum Key {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    fn from_pem(pem: &[u8]) -> Result<Self, CredentialError> {
        let der = private_key_block(pem).ok_or(CredentialError::NoKey)?;
        for curve in [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING] {
            if let Ok(key) = EcdsaKeyPair::from_pkcs8(curve, &der) {
                return Ok(Self::Ecdsa(key));
            }
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Ok(Self::Ed25519(key));
        }
        RsaKeyPair::from_pkcs8(&der).map(Self::Rsa).map_err(|_| CredentialError::KeyKind)
    }

    /// The `SubjectPublicKeyInfo` of its public key.
    fn spki(&self) -> Option<Vec<u8>> {
        let spki = match self {
            Self::Ecdsa(key) => key.public_key().as_der(),
            Self::Ed25519(key) => key.public_key().as_der(),
            Self::Rsa(key) => key.public_key().as_der(),
        };
        spki.ok().map(|der| der.as_ref().to_vec())
    }

    /// Signs with the algorithm that [`x509::Certificate::verify_signature`] expects of its kind.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AnswerError> {
        let random = SystemRandom::new();
        let signed = match self {
            Self::Ecdsa(key) => key.sign(&random, message).map(|made| made.as_ref().to_vec()),
            Self::Ed25519(key) => key.try_sign(message).map(|made| made.as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut made = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut made).map(|()| made)
            }
        };
        signed.map_err(|_| AnswerError::Signing)
    }
}

/// Certificates are no secret, and may come from anywhere.
fn read_text(path: &Path) -> Result<String, CredentialError> {
    let name = || path.display().to_string();
    let unreadable =
        |error: io::Error| CredentialError::Unreadable { path: name(), kind: error.kind() };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(CERTIFICATE_FILE_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() > CERTIFICATE_FILE_BYTES_MAX {
        return Err(CredentialError::TooLong { path: name() });
    }
    Ok(text)
}

/// The DER in the first `PRIVATE KEY` block.
fn private_key_block(pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // RFC 7468 §10: "Unencrypted PKCS #8 Private Key Information Syntax structures [...] are
    // encoded using the "PRIVATE KEY" label."
    let text = std::str::from_utf8(pem).ok()?;
    let (_, after) = text.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = after.split_once("-----END PRIVATE KEY-----")?;
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    STANDARD.decode(&base64).ok().map(Zeroizing::new)
}
