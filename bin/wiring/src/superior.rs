//! The authority above ours, by the settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::Superior;
use keys::{Company, CompanyFiles, CompanyKey, Devices, Token};
use serde::{Deserialize, Serialize};

/// `[upstream_authority]` in `aims.toml` of a server: who signs its X.509 authority. Without it, it
/// signs for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum UpstreamAuthority {
    /// A company's, with its key in a file.
    Disk {
        /// PEM: its certificate, then those above it.
        certificates: PathBuf,
        /// PEM: the roots, where `certificates` does not end in the one there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roots: Option<PathBuf>,
        /// Its private key: PKCS #8 in PEM, mode 0600, or a systemd credential.
        key: PathBuf,
    },
    /// A company's, with its key in a token.
    Pkcs11 {
        /// PEM: its certificate, then those above it.
        certificates: PathBuf,
        /// PEM: the roots, where `certificates` does not end in the one there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roots: Option<PathBuf>,
        /// The module: a shared library of the token's maker.
        module: PathBuf,
        /// The token's label.
        token: String,
        /// A file with its PIN: mode 0600, or a systemd credential.
        pin_file: PathBuf,
        /// The label of the private key.
        key_label: String,
    },
}

impl UpstreamAuthority {
    /// Opens it; paths start at `dir`.
    pub async fn open(&self, dir: &Path, devices: &Devices) -> Result<Arc<dyn Superior>, String> {
        let opened = Company::open(self.files(dir), devices).await;
        let company = opened.map_err(|error| format!("{error}\n  hint: {}", error.hint()))?;
        Ok(Arc::new(company))
    }

    fn files(&self, dir: &Path) -> CompanyFiles {
        let at = |path: &PathBuf| dir.join(path);
        match self {
            Self::Disk { certificates, roots, key } => CompanyFiles {
                certificates: at(certificates),
                roots: roots.as_ref().map(at),
                key: CompanyKey::File(at(key)),
            },
            Self::Pkcs11 { certificates, roots, module, token, pin_file, key_label } => {
                let (module, pin_file) = (at(module), at(pin_file));
                let token = Token { module, label: token.clone(), pin_file };
                CompanyFiles {
                    certificates: at(certificates),
                    roots: roots.as_ref().map(at),
                    key: CompanyKey::Token { token, label: key_label.clone() },
                }
            }
        }
    }
}
