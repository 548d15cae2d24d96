//! The key store of a component: a device where the settings name one, and a folder for what the
//! device does not take.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use env::{CannotMake, Handle, KeyFault, Keys, Purpose, Unavailable};
use jose::{Algorithm, PrivateKey, PublicKey, Signature};

use crate::chip::{self, Blob, Chip, ChipError, TpmPlace};
use crate::device::Devices;
use crate::disk::{Disk, KEPT, KEYS_MAX, WORKLOAD_KEYS_MAX};
use crate::file;
use crate::pkcs11::{Session, Token, TokenError};
use crate::workers::Workers;

/// Where the keys of a component are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In files.
    #[default]
    Disk,
    /// In a token, by PKCS #11.
    Pkcs11(Token),
    /// In the TPM.
    Tpm(TpmPlace),
}

/// Why a device is not used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] ChipError),
    /// It cannot do what is needed of it.
    #[error("the token `{label}` makes no {algorithm} keys")]
    Incapable {
        /// The token.
        label: String,
        /// What is needed.
        algorithm: Algorithm,
    },
    /// Its thread cannot be started, or does not answer.
    #[error("{0}")]
    Silent(String),
}

impl DeviceError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Token(error) => error.hint(),
            Self::Tpm(error) => error.hint(),
            Self::Incapable { .. } => "use another token, or `store = \"disk\"`".to_owned(),
            Self::Silent(_) => "see what the device's own tools and log say".to_owned(),
        }
    }
}

impl From<DeviceError> for Unavailable {
    fn from(error: DeviceError) -> Self {
        Self::of("keys", format!("{error}; {}", error.hint()))
    }
}

/// How many keys of a component are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// In the device.
    pub device: usize,
    /// In files.
    pub disk: usize,
}

/// The keys of one component. Those that may be exported live in memory; others are made in the
/// device, if there is one that takes them, and in files if not. Files of before are used on, until
/// their keys are replaced.
pub struct KeyStore {
    disk: Disk,
    device: Option<Device>,
}

/// A device, and what of this component is in it.
struct Device {
    owner: String,
    folder: PathBuf,
    backend: Backend,
    takes: Vec<Algorithm>,
    held: RwLock<HashMap<Handle, Held>>,
}

enum Backend {
    Token(Arc<Workers<Session>>),
    Tpm(Arc<Workers<Chip>>),
}

impl Backend {
    /// As settings name it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "pkcs11",
            Self::Tpm(_) => "tpm",
        }
    }
}

#[derive(Clone)]
enum Held {
    Token(PublicKey),
    Tpm(Blob),
}

impl Held {
    const fn key(&self) -> &PublicKey {
        match self {
            Self::Token(key) => key,
            Self::Tpm(blob) => &blob.key,
        }
    }
}

impl KeyStore {
    /// The keys of `disk` alone.
    pub const fn on_disk(disk: Disk) -> Self {
        Self { disk, device: None }
    }

    /// The keys of `owner` in a device, beside those of `disk`. Blobs of a TPM are in `folder`.
    pub async fn open(
        disk: Disk,
        place: &Place,
        devices: &Devices,
        owner: &str,
        folder: &Path,
    ) -> Result<Self, DeviceError> {
        let device = match place {
            Place::Disk => return Ok(Self::on_disk(disk)),
            Place::Pkcs11(token) => Device::token(token, devices, owner, folder).await?,
            Place::Tpm(place) => Device::tpm(place, devices, owner, folder).await?,
        };
        Ok(Self { disk, device: Some(device) })
    }

    /// Whether no private key can be read off the disk without another secret or the device.
    pub fn is_sealed(&self) -> bool {
        self.disk.is_sealed() || (self.device.is_some() && self.count().disk == 0)
    }

    /// How many keys that are kept are where.
    pub fn count(&self) -> Count {
        let on_disk = KEPT.into_iter().map(|purpose| self.disk.handles(purpose).len()).sum();
        let device = self.device.as_ref().map_or(0, |device| device.held().len());
        Count { device, disk: on_disk }
    }

    /// The keys of `purpose`, by id.
    pub fn handles(&self, purpose: Purpose) -> Vec<Handle> {
        let mut handles = self.disk.handles(purpose);
        if let Some(device) = &self.device {
            let held = device.held();
            handles.extend(held.keys().filter(|handle| handle.purpose == purpose).cloned());
        }
        handles.sort();
        handles
    }

    fn find(&self, handle: &Handle) -> Option<(&Device, Held)> {
        let device = self.device.as_ref()?;
        let held = device.held().get(handle).cloned()?;
        Some((device, held))
    }

    /// Signs from where nothing can be awaited: in TLS, and under the log.
    pub fn sign_now(&self, handle: &Handle, message: &[u8]) -> Result<Signature, KeyFault> {
        match self.find(handle) {
            Some((device, held)) => device.sign_now(handle, &held, message),
            None => self.disk.sign_now(handle, message),
        }
    }
}

impl Keys for KeyStore {
    async fn generate(
        &self,
        purpose: Purpose,
        algorithm: Algorithm,
    ) -> Result<(Handle, PublicKey), KeyFault> {
        let cannot = |why| Unavailable::of("keys", why);
        self.makes(purpose, algorithm).map_err(cannot)?;
        match &self.device {
            // A workload's own key is handed out: no device gives one away.
            Some(device) if purpose != Purpose::Workload && device.takes.contains(&algorithm) => {
                device.generate(purpose, algorithm).await
            }
            _ => self.disk.generate(purpose, algorithm).await,
        }
    }

    /// What the server can do without is made in the device, or not at all: who named one wants its
    /// keys there.
    fn makes(&self, purpose: Purpose, algorithm: Algorithm) -> Result<(), CannotMake> {
        match &self.device {
            Some(device) if purpose.is_on_demand() && !device.takes.contains(&algorithm) => {
                Err(CannotMake { store: device.backend.name(), algorithm })
            }
            _ => Ok(()),
        }
    }

    fn public(&self, handle: &Handle) -> Result<PublicKey, KeyFault> {
        match self.find(handle) {
            Some((_, held)) => Ok(held.key().clone()),
            None => self.disk.public(handle),
        }
    }

    async fn sign(&self, handle: &Handle, message: &[u8]) -> Result<Signature, KeyFault> {
        match self.find(handle) {
            Some((device, held)) => device.sign(handle, held, message).await,
            None => self.disk.sign(handle, message).await,
        }
    }

    fn export(&self, handle: &Handle) -> Result<PrivateKey, KeyFault> {
        match self.find(handle) {
            Some(_) => Err(KeyFault::NotExportable(handle.clone())),
            None => self.disk.export(handle),
        }
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), KeyFault> {
        match self.find(handle) {
            Some((device, _)) => device.destroy(handle).await,
            None => self.disk.destroy(handle).await,
        }
    }
}

impl Device {
    async fn token(
        token: &Token,
        devices: &Devices,
        owner: &str,
        folder: &Path,
    ) -> Result<Self, DeviceError> {
        let workers = devices.token(token).await?;
        let (label, name) = (token.label.clone(), owner.to_owned());
        let found = workers.ask(move |session, _| {
            let mut takes = Vec::new();
            for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
                if session.takes(algorithm)? {
                    takes.push(algorithm);
                }
            }
            let mut keys = BTreeMap::new();
            for purpose in KEPT.into_iter().chain([Purpose::Agent]) {
                keys.insert(purpose, session.list(&name, purpose)?);
            }
            Ok::<_, TokenError>((takes, keys))
        });
        let (takes, keys) = found.await.map_err(|why| DeviceError::Silent(why.why))??;
        if !takes.contains(&Algorithm::Es256) {
            return Err(DeviceError::Incapable { label, algorithm: Algorithm::Es256 });
        }
        let held = keys.into_iter().flat_map(|(purpose, keys)| {
            keys.into_iter().map(move |key| {
                let id = key.thumbprint().to_base64url();
                (Handle { purpose, id }, Held::Token(key))
            })
        });
        let held = RwLock::new(held.collect());
        let (owner, folder) = (owner.to_owned(), folder.to_owned());
        Ok(Self { owner, folder, backend: Backend::Token(workers), takes, held })
    }

    async fn tpm(
        place: &TpmPlace,
        devices: &Devices,
        owner: &str,
        folder: &Path,
    ) -> Result<Self, DeviceError> {
        let workers = devices.tpm(place)?;
        let opened = workers.ask(|chip, _| chip.check()).await;
        opened.map_err(|why| DeviceError::Silent(why.why))??;
        let mut held = HashMap::new();
        for purpose in KEPT {
            let blobs = chip::stored(folder, purpose)?;
            held.extend(blobs.into_iter().map(|(handle, blob)| (handle, Held::Tpm(blob))));
        }
        let (owner, folder, held) = (owner.to_owned(), folder.to_owned(), RwLock::new(held));
        let takes = vec![Algorithm::Es256];
        Ok(Self { owner, folder, backend: Backend::Tpm(workers), takes, held })
    }

    fn held(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Handle, Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_room(&self, purpose: Purpose) -> Result<(), Unavailable> {
        let is_agents = purpose == Purpose::Agent;
        let max = if is_agents { WORKLOAD_KEYS_MAX } else { KEYS_MAX };
        let alike = |handle: &&Handle| (handle.purpose == Purpose::Agent) == is_agents;
        if self.held().keys().filter(alike).count() < max {
            return Ok(());
        }
        Err(Unavailable::of("keys", format!("{max} keys are held, the most there can be")))
    }

    async fn generate(
        &self,
        purpose: Purpose,
        algorithm: Algorithm,
    ) -> Result<(Handle, PublicKey), KeyFault> {
        self.check_room(purpose)?;
        let held = match &self.backend {
            Backend::Token(workers) => {
                let owner = self.owner.clone();
                let made = workers.ask(move |session, given_up| {
                    session.generate(&owner, purpose, algorithm, || given_up.is_so())
                });
                Held::Token(made.await?.map_err(faulty)?)
            }
            Backend::Tpm(workers) => {
                let made = workers.ask(|chip, _| chip.generate());
                Held::Tpm(made.await?.map_err(faulty)?)
            }
        };
        let key = held.key().clone();
        let handle = Handle { purpose, id: key.thumbprint().to_base64url() };
        // Keys of agents end with the process, so that nothing has to be kept of them.
        if let (Held::Tpm(blob), true) = (&held, purpose != Purpose::Agent) {
            let (path, blob) = (chip::path(&self.folder, &handle), blob.clone());
            let stored = tokio::task::spawn_blocking(move || blob.store(&path)).await;
            let stored = stored.map_err(|error| Unavailable::of("keys", error))?;
            stored.map_err(|error| Unavailable::of("keys", error))?;
        }
        self.held.write().unwrap_or_else(PoisonError::into_inner).insert(handle.clone(), held);
        Ok((handle, key))
    }

    async fn sign(
        &self,
        handle: &Handle,
        held: Held,
        message: &[u8],
    ) -> Result<Signature, KeyFault> {
        let message = message.to_vec();
        let signature = match (&self.backend, held) {
            (Backend::Token(workers), held) => {
                let (owner, handle) = (self.owner.clone(), handle.clone());
                let algorithm = algorithm_of(held.key(), &handle)?;
                let asked = workers
                    .ask(move |session, _| session.sign(&owner, &handle, algorithm, &message));
                asked.await?.map_err(faulty)?
            }
            (Backend::Tpm(workers), Held::Tpm(blob)) => {
                let asked = workers.ask(move |chip, _| chip.sign(&blob, &message));
                asked.await?.map_err(faulty)?
            }
            (Backend::Tpm(_), Held::Token(_)) => return Err(KeyFault::Unknown(handle.clone())),
        };
        Ok(signature)
    }

    fn sign_now(
        &self,
        handle: &Handle,
        held: &Held,
        message: &[u8],
    ) -> Result<Signature, KeyFault> {
        let message = message.to_vec();
        Ok(match (&self.backend, held) {
            (Backend::Token(workers), held) => {
                let (owner, handle) = (self.owner.clone(), handle.clone());
                let algorithm = algorithm_of(held.key(), &handle)?;
                let asked = workers
                    .ask_now(move |session| session.sign(&owner, &handle, algorithm, &message));
                asked?.map_err(faulty)?
            }
            (Backend::Tpm(workers), Held::Tpm(blob)) => {
                let blob = blob.clone();
                workers.ask_now(move |chip| chip.sign(&blob, &message))?.map_err(faulty)?
            }
            (Backend::Tpm(_), Held::Token(_)) => return Err(KeyFault::Unknown(handle.clone())),
        })
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), KeyFault> {
        match &self.backend {
            Backend::Token(workers) => {
                let (owner, gone) = (self.owner.clone(), handle.clone());
                let destroyed = workers.ask(move |session, _| session.destroy(&owner, &gone));
                destroyed.await?.map_err(faulty)?;
            }
            Backend::Tpm(workers) => {
                // Without its blob the key is nowhere.
                let path = chip::path(&self.folder, handle);
                let removed = tokio::task::spawn_blocking(move || file::remove_if_there(&path));
                let removed = removed.await.map_err(|error| Unavailable::of("keys", error))?;
                removed.map_err(|error| Unavailable::of("keys", error))?;
                let id = handle.id.clone();
                workers.ask(move |chip, _| chip.forget(&id)).await?;
            }
        }
        self.held.write().unwrap_or_else(PoisonError::into_inner).remove(handle);
        Ok(())
    }
}

fn faulty<E: Into<DeviceError>>(error: E) -> Unavailable {
    error.into().into()
}

fn algorithm_of(key: &PublicKey, handle: &Handle) -> Result<Algorithm, KeyFault> {
    key.algorithms().next().ok_or_else(|| KeyFault::Unknown(handle.clone()))
}

/// Which keys, never the keys.
impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.as_ref().map(|device| device.backend.name());
        f.debug_struct("KeyStore")
            .field("disk", &self.disk)
            .field("device", &device)
            .field("count", &self.count())
            .finish()
    }
}
