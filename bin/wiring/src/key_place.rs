//! Where keys are made, by the settings.

use std::path::{Path, PathBuf};

use keys::{Address, Place, Token, TpmPlace};
use serde::{Deserialize, Serialize};

/// `[keys]` in `aims.toml`: where private keys are made. Without it: on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "store", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyPlace {
    /// In files.
    Disk {},
    /// In a token that speaks PKCS #11.
    Pkcs11(TokenPlace),
    /// In the TPM of this machine.
    Tpm {
        /// Where the TPM is.
        #[serde(default = "device")]
        tpm: String,
        /// A file with the password of the owner hierarchy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner_auth: Option<PathBuf>,
    },
}

/// A token that speaks PKCS #11.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPlace {
    /// The module: a shared library of the token's maker.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// A file with its PIN: mode 0600, or a systemd credential.
    pub pin_file: PathBuf,
}

fn device() -> String {
    "/dev/tpmrm0".to_owned()
}

impl TokenPlace {
    /// The same with paths that start at `dir`.
    pub fn at(&self, dir: &Path) -> Token {
        Token {
            module: dir.join(&self.module),
            label: self.token.clone(),
            pin_file: dir.join(&self.pin_file),
        }
    }
}

impl KeyPlace {
    /// The same with paths that start at `dir`.
    pub fn at(&self, dir: &Path) -> Result<Place, String> {
        Ok(match self {
            Self::Disk {} => Place::Disk,
            Self::Pkcs11(token) => Place::Pkcs11(token.at(dir)),
            Self::Tpm { tpm, owner_auth } => Place::Tpm(TpmPlace {
                address: Address::parse(tpm).map_err(|error| error.to_string())?,
                owner_auth: owner_auth.as_ref().map(|path| dir.join(path)),
            }),
        })
    }

    /// Where, in words.
    pub fn described(&self) -> String {
        match self {
            Self::Disk {} => "in files".to_owned(),
            Self::Pkcs11(token) => format!("in the pkcs#11 token `{}`", token.token),
            Self::Tpm { tpm, .. } => format!("in the tpm at `{tpm}`"),
        }
    }
}
