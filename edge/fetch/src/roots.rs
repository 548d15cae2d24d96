//! The authorities of the Web PKI that are believed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

/// Where distributions keep the roots that their owner trusts, in one file.
pub const SYSTEM_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The roots of one process.
#[derive(Clone)]
pub struct Roots(pub(crate) Arc<RootCertStore>);

impl Roots {
    /// Those of the system; none where it keeps none.
    ///
    /// SPIFFE Federation §5.2.1: "endpoints using the `https_web` profile type are authenticated
    /// using the same public CA certificates commonly installed in modern operating systems."
    pub fn of_system() -> Self {
        let found = SYSTEM_FILES.iter().find_map(|path| Self::read(Path::new(path)).ok());
        found.unwrap_or_else(|| Self(Arc::new(RootCertStore::empty())))
    }

    /// Those of a PEM file, and no others.
    pub fn read(path: &Path) -> Result<Self, BadRoots> {
        let bad = |why: &dyn fmt::Display| BadRoots { path: path.to_owned(), why: why.to_string() };
        let text = std::fs::read_to_string(path).map_err(|error| bad(&error))?;
        Self::of_pem(&text).map_err(|why| bad(&why))
    }

    /// Those of a PEM text, and no others; the error says what is wrong.
    pub fn of_pem(text: &str) -> Result<Self, String> {
        let read = x509::CertificateDer::from_pem_many(text).map_err(|error| error.to_string())?;
        let certificates = read.into_iter().map(|one| CertificateDer::from(one.into_bytes()));
        let mut store = RootCertStore::empty();
        // A root that the library cannot use is one that is not believed.
        let (used, _) = store.add_parsable_certificates(certificates);
        if used == 0 {
            return Err("no certificate in it can be used".to_owned());
        }
        Ok(Self(Arc::new(store)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.count())
    }
}

/// A file without roots.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` has no roots to trust: {why}", .path.display())]
pub struct BadRoots {
    path: PathBuf,
    why: String,
}
