//! The certificate that a listener shows.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate that is replaced in place: handshakes from then on use the new one, connections
/// that stand are left alone.
pub struct Certificates(ArcSwap<CertifiedKey>);

impl Certificates {
    /// Begins with this certificate.
    pub fn new(certificate: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(certificate)))
    }

    /// Uses this one from now on.
    pub fn replace(&self, certificate: CertifiedKey) {
        self.0.store(Arc::new(certificate));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates(..)")
    }
}

/// A chain (DER, leaf first) and its key (DER PKCS #8), which must belong together.
pub fn certified(chain: &[Vec<u8>], pkcs8: &[u8]) -> Result<CertifiedKey, BadCertificate> {
    if chain.is_empty() {
        return Err(BadCertificate::Empty);
    }
    let chain = chain.iter().map(|der| CertificateDer::from(der.as_slice()).into_owned());
    let key = PrivateKeyDer::Pkcs8(pkcs8.to_vec().into());
    CertifiedKey::from_der(chain.collect(), key, &aws_lc_rs::default_provider())
        .map_err(|why| BadCertificate::Key(why.to_string()))
}

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// The chain has no certificate.
    #[error("the chain is empty")]
    Empty,
    /// The key is no PKCS #8, of an unsupported kind, or another one than the certificate's.
    #[error("the key cannot be used with the certificate: {0}")]
    Key(String),
}
