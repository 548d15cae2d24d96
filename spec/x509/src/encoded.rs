//! Certificates as bytes: DER and PEM (RFC 7468), not yet looked into.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;

use crate::CERTIFICATE_BYTES_MAX;
use crate::certificate::{Certificate, Malformed};

/// Longest text with certificates, in bytes.
const PEM_BYTES_MAX: usize = 1024 * 1024;
/// Most certificates in one text.
const PEM_CERTIFICATES_MAX: usize = 256;
// RFC 7468 §2: "Generators MUST wrap the base64-encoded lines so that each line consists of
// exactly 64 characters except for the final line"
/// Characters of base64 in a line.
const PEM_LINE: usize = 64;

/// The DER of a certificate, of bounded length. Nothing else about it is checked: see
/// [`Certificate::parse`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CertificateDer(Vec<u8>);

impl CertificateDer {
    /// DER bytes, if they are not too many.
    pub fn from_der(der: Vec<u8>) -> Result<Self, Malformed> {
        let bytes = der.len();
        if bytes > CERTIFICATE_BYTES_MAX {
            return Err(Malformed::TooLong { bytes });
        }
        Ok(Self(der))
    }

    /// Every `CERTIFICATE` block of a text, at least one; other blocks and text between are passed
    /// over.
    pub fn from_pem_many(text: &str) -> Result<Vec<Self>, PemError> {
        if text.len() > PEM_BYTES_MAX {
            return Err(PemError::TooLong { bytes: text.len() });
        }
        let mut found = Vec::new();
        for block in rustls_pki_types::CertificateDer::pem_slice_iter(text.as_bytes()) {
            let block = block.map_err(|_| PemError::Block { after: found.len() })?;
            if found.len() == PEM_CERTIFICATES_MAX {
                return Err(PemError::TooMany);
            }
            found.push(Self::from_der(block.to_vec())?);
        }
        if found.is_empty() { Err(PemError::None) } else { Ok(found) }
    }

    /// Made here, of parts that are bounded.
    pub(crate) fn made(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// The DER.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The DER, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Reads it.
    pub fn parse(&self) -> Result<Certificate, Malformed> {
        Certificate::parse(&self.0)
    }

    /// The textual form.
    pub fn to_pem(&self) -> String {
        let base64 = STANDARD.encode(&self.0);
        let mut pem = String::with_capacity(base64.len() + base64.len() / PEM_LINE + 64);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for (index, character) in base64.chars().enumerate() {
            if index > 0 && index % PEM_LINE == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END CERTIFICATE-----\n");
        pem
    }
}

impl fmt::Debug for CertificateDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateDer({} bytes)", self.0.len())
    }
}

/// Why a text gives no certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    #[error("the text has no certificate")]
    None,
    #[error("a text of {bytes} bytes; at most {PEM_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("the text has more than {PEM_CERTIFICATES_MAX} certificates")]
    TooMany,
    /// A block is cut or is not base64.
    #[error("the block after {after} certificates is broken")]
    Block { after: usize },
    #[error(transparent)]
    Certificate(#[from] Malformed),
}
