//! A component that joins by the DevID in its TPM.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use attestors::tpm::{Address, Attester, Devid, DevidFiles};
use serde::{Deserialize, Serialize};

/// `[join_tpm]` in `aims.toml`: a DevID in the TPM, to join by `tpm_devid`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTpm {
    /// Where the TPM is.
    #[serde(default = "device")]
    pub tpm: String,
    /// The DevID certificate (PEM, leaf first).
    pub certificates: PathBuf,
    /// The public blob of its key.
    pub public: PathBuf,
    /// The private blob of its key.
    pub private: PathBuf,
    /// A file with the password of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devid_auth: Option<PathBuf>,
    /// A file with the password of the owner hierarchy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_auth: Option<PathBuf>,
    /// A file with the password of the endorsement hierarchy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement_auth: Option<PathBuf>,
}

fn device() -> String {
    "/dev/tpmrm0".to_owned()
}

/// A TPM, opened for the attempt to join: the keys that made the evidence answer the challenge.
#[derive(Clone)]
pub struct TpmDevid {
    address: Address,
    files: DevidFiles,
    attester: Arc<Mutex<Option<Attester>>>,
}

impl TpmDevid {
    /// By its settings, whose paths start at `dir`.
    pub fn new(settings: &JoinTpm, dir: &Path) -> Result<Self, String> {
        let at = |path: &PathBuf| dir.join(path);
        let address = Address::parse(&settings.tpm).map_err(|error| error.to_string())?;
        let files = DevidFiles {
            certificates: at(&settings.certificates),
            public: at(&settings.public),
            private: at(&settings.private),
            devid_auth: settings.devid_auth.as_ref().map(at),
            owner_auth: settings.owner_auth.as_ref().map(at),
            endorsement_auth: settings.endorsement_auth.as_ref().map(at),
        };
        // What is wrong with the files is told before anything is started.
        Devid::read(&files).map_err(|error| error.to_string())?;
        Ok(Self { address, files, attester: Arc::default() })
    }

    /// Opens the TPM, which may take seconds, and says what it has.
    pub async fn evidence(&self) -> Result<Vec<u8>, String> {
        let this = self.clone();
        blocking(move || {
            let devid = Devid::read(&this.files).map_err(|error| error.to_string())?;
            let mut attester =
                Attester::open(&this.address, devid).map_err(|error| error.to_string())?;
            let evidence = attester.evidence().map_err(|error| error.to_string())?;
            *this.attester.lock().unwrap_or_else(PoisonError::into_inner) = Some(attester);
            Ok(evidence)
        })
        .await
    }

    /// Answers the challenge, and lets go of the TPM.
    pub async fn answer(&self, challenge: Vec<u8>) -> Result<Vec<u8>, String> {
        let this = self.clone();
        blocking(move || {
            let attester = this.attester.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut attester = attester.ok_or("a challenge without evidence")?;
            attester.answer(&challenge).map_err(|error| error.to_string())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
