//! A DevID: its certificates and the two blobs of its key, from files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use attestation::tpm_devid::CERTIFICATES_MAX;
use chip::Made;
use tpm::wire::contents;
use tpm::{Curve, Hash, Key, Malformed, Public, STRUCTURE_BYTES_MAX, Scheme, SchemeKind};
use x509::{CertificateDer, PemError};
use zeroize::Zeroizing;

use crate::secret_file::{self, SecretFileError};

/// The longest file of certificates, in bytes.
const CERTIFICATE_FILE_BYTES_MAX: usize = 256 * 1024;
/// The longest authorization, in bytes: the largest digest of a TPM.
const AUTHORIZATION_BYTES_MAX: usize = 64;

/// Where the parts of a DevID are. The blobs are what `TPM2_Create` gave, with or without their
/// sizes before them: SPIRE keeps them without, tpm2-tools with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DevidFiles {
    /// PEM, leaf first.
    pub certificates: PathBuf,
    /// TPM2B_PUBLIC or TPMT_PUBLIC.
    pub public: PathBuf,
    /// TPM2B_PRIVATE: sealed by the TPM, of use to no other.
    pub private: PathBuf,
    /// The password of the key, if it has one.
    pub devid_auth: Option<PathBuf>,
    /// The password of the owner hierarchy, if it has one.
    pub owner_auth: Option<PathBuf>,
    /// The password of the endorsement hierarchy, if it has one.
    pub endorsement_auth: Option<PathBuf>,
}

/// A DevID, read.
pub struct Devid {
    pub(super) chain: Vec<CertificateDer>,
    pub(super) key: Public,
    pub(super) blobs: Made,
    pub(super) auth: Zeroizing<Vec<u8>>,
    pub(super) owner_auth: Zeroizing<Vec<u8>>,
    pub(super) endorsement_auth: Zeroizing<Vec<u8>>,
}

impl Devid {
    /// Reads the files. The blobs belong to the first certificate.
    pub fn read(files: &DevidFiles) -> Result<Self, DevidError> {
        let text = read(&files.certificates, CERTIFICATE_FILE_BYTES_MAX)?;
        let text = String::from_utf8(text).map_err(|_| PemError::None)?;
        let chain = CertificateDer::from_pem_many(&text)?;
        if chain.len() > CERTIFICATES_MAX {
            return Err(DevidError::TooManyCertificates { count: chain.len() });
        }
        let public = read(&files.public, STRUCTURE_BYTES_MAX)?;
        let key = Public::parse_file(&public)?;
        let leaf = chain.first().ok_or(PemError::None)?.parse().map_err(|_| PemError::None)?;
        if key.spki_der().as_deref() != Some(leaf.spki_der()) {
            return Err(DevidError::OtherKey);
        }
        let private = contents(&read(&files.private, STRUCTURE_BYTES_MAX)?).to_vec();
        scheme(&key)?;
        Ok(Self {
            chain,
            blobs: Made { private, public: key.to_bytes() },
            key,
            auth: authorization(files.devid_auth.as_deref())?,
            owner_auth: authorization(files.owner_auth.as_deref())?,
            endorsement_auth: authorization(files.endorsement_auth.as_deref())?,
        })
    }
}

impl std::fmt::Debug for Devid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devid").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// How the key signs a challenge: what [`x509::Certificate::verify_signature`] expects of its kind.
pub(super) fn scheme(key: &Public) -> Result<Scheme, DevidError> {
    let expected = match &key.key {
        Key::Rsa { .. } => Scheme { kind: SchemeKind::RsaSsa, hash: Hash::Sha256 },
        Key::Ecc { curve: Curve::P256, .. } => {
            Scheme { kind: SchemeKind::Ecdsa, hash: Hash::Sha256 }
        }
        Key::Ecc { curve: Curve::P384, .. } => {
            Scheme { kind: SchemeKind::Ecdsa, hash: Hash::Sha384 }
        }
    };
    match key.scheme {
        Some(scheme) if scheme != expected => Err(DevidError::Scheme),
        _ => Ok(expected),
    }
}

/// Why there is no DevID in the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevidError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {kind}")]
    Unreadable {
        /// Its path.
        path: String,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// A file is too long.
    #[error("`{path}` is longer than {max} bytes")]
    TooLong {
        /// Its path.
        path: String,
        /// The bound.
        max: usize,
    },
    /// There are no readable certificates.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// No server would read so many.
    #[error("{count} certificates, at most {CERTIFICATES_MAX} are sent")]
    TooManyCertificates {
        /// How many.
        count: usize,
    },
    /// The public blob does not read.
    #[error("the public blob does not read: {0}")]
    Blob(#[from] Malformed),
    /// The blob and the certificate do not belong together.
    #[error("the devid key is not the key of the first certificate")]
    OtherKey,
    /// The key signs in another way than servers expect.
    #[error(
        "the devid key signs by another scheme than rsassa with sha-256, ecdsa on p-256 with \
         sha-256 or on p-384 with sha-384"
    )]
    Scheme,
    /// A file with a password cannot be used.
    #[error(transparent)]
    Authorization(#[from] SecretFileError),
}

fn authorization(path: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, DevidError> {
    let Some(path) = path else { return Ok(Zeroizing::default()) };
    let mut bytes = secret_file::read(path, AUTHORIZATION_BYTES_MAX + 2)?;
    while bytes.last().is_some_and(|last| b"\r\n".contains(last)) {
        bytes.pop();
    }
    Ok(bytes)
}

fn read(path: &Path, max: usize) -> Result<Vec<u8>, DevidError> {
    let name = || path.display().to_string();
    let unreadable = |error: io::Error| DevidError::Unreadable { path: name(), kind: error.kind() };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > max {
        return Err(DevidError::TooLong { path: name(), max });
    }
    Ok(bytes)
}
