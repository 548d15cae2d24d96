//! Keys in a folder.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use env::{CannotMake, Handle, KeyFault, Keys, Purpose, Unavailable};
use jose::{Algorithm, PrivateKey, PublicKey, Signature};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::file::{self, FileError, HALF, NOT_OWNER};
use crate::form::{self, TEXT_BYTES_MAX};
use crate::generate::{generate, is_slow};
use crate::sealing::{self, SealingKey, Unsealable};

/// The most keys of a folder: some per purpose, those that were replaced for as long as what they
/// signed lives.
pub const KEYS_MAX: usize = 1_000;
/// The most workload keys that are held at once.
pub const WORKLOAD_KEYS_MAX: usize = 20_000;

/// The longest file of a key, in bytes.
const FILE_BYTES_MAX: usize = TEXT_BYTES_MAX + 64;
/// The extension of a file with a key.
const KEY: &str = "key";

/// The purposes whose keys are kept: all but those of workloads, whose keys end with the process.
pub(crate) const KEPT: [Purpose; 15] = [
    Purpose::X509Authority,
    Purpose::JwtSvid,
    Purpose::Wit,
    Purpose::AccessToken,
    Purpose::TxnToken,
    Purpose::AttestationResult,
    Purpose::IdToken,
    Purpose::IdTokenRs256,
    Purpose::IdTokenPs256,
    Purpose::IdTokenEddsa,
    Purpose::ClientAssertion,
    Purpose::WebAuthority,
    Purpose::WebServer,
    Purpose::Log,
    Purpose::Component,
];

/// Why the keys of a folder are not used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder is not used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is sealed, and no sealing key was given.
    #[error("`{}` is sealed", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// Another key sealed the file: the passphrase or credential is not the one of then.
    #[error("`{}` was sealed with another passphrase or credential", path.display())]
    OtherSealingKey {
        /// The file.
        path: PathBuf,
    },
    /// A sealed file was changed, or took another one's name.
    #[error("`{}` was changed or moved since it was sealed", path.display())]
    Tampered {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no key.
    #[error("`{}` holds no private key", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// A file holds another key than its name says.
    #[error("`{}` holds the key `{found}`", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The id of the key in it.
        found: String,
    },
    /// There are more keys than may be.
    #[error("`{}` holds more than {KEYS_MAX} keys", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::File(error) => return error.hint(),
            Self::Sealed { .. } => "name the passphrase file or credential it was sealed with",
            Self::OtherSealingKey { .. } => {
                "give the passphrase or credential that was used when it was made; \
                 a passphrase needs the salt file of then, too"
            }
            Self::Tampered { .. } | Self::Malformed { .. } | Self::Misnamed { .. } => {
                "restore it from a backup, or move it away: what it signed stays valid, \
                 it signs nothing more"
            }
            Self::TooMany { .. } => "move away what is no longer needed",
            Self::Library => "start again",
        }
        .to_owned()
    }
}

/// The keys of one component, in a folder that nobody else may read.
///
/// Keys of workloads live in memory only, and [`Purpose::Workload`] keys may be exported; all
/// others are kept and stay.
pub struct Disk {
    folder: PathBuf,
    sealing: Option<Arc<SealingKey>>,
    kept: Shelf,
    workloads: Shelf,
    /// Who makes a key that takes long.
    slow: Semaphore,
}

struct Held {
    key: PrivateKey,
    /// PKCS #8 in DER, of workload keys alone.
    exportable: Option<Zeroizing<Vec<u8>>>,
}

impl Disk {
    /// Reads all keys of `folder`, which it makes if it is not there. With a sealing key, what was
    /// plain is sealed now.
    pub fn open(folder: &Path, sealing: Option<SealingKey>) -> Result<Self, OpenError> {
        file::private_folder(folder)?;
        let sealing = sealing.map(Arc::new);
        let kept = Shelf::default();
        for purpose in KEPT {
            let place = folder.join(purpose.name());
            let paths = file::names(&place)?;
            if !paths.is_empty() {
                file::private_folder(&place)?;
            }
            for path in paths {
                if let Some((handle, key)) = load(&path, purpose, sealing.as_deref())? {
                    let put = kept.put(handle, Held { key, exportable: None }, KEYS_MAX);
                    put.map_err(|_| OpenError::TooMany { path: folder.to_owned() })?;
                }
            }
        }
        let (workloads, slow) = (Shelf::default(), Semaphore::new(1));
        Ok(Self { folder: folder.to_owned(), sealing, kept, workloads, slow })
    }

    /// Whether keys are sealed at rest. Without a sealing key they lie in files of mode 0600,
    /// which is not called sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealing.is_some()
    }

    /// The keys of `purpose`, by id.
    pub fn handles(&self, purpose: Purpose) -> Vec<Handle> {
        let keys = self.shelf(purpose).read();
        let mut handles: Vec<_> =
            keys.keys().filter(|handle| handle.purpose == purpose).cloned().collect();
        handles.sort();
        handles
    }

    fn find(&self, handle: &Handle) -> Result<Arc<Held>, KeyFault> {
        let keys = self.shelf(handle.purpose).read();
        keys.get(handle).cloned().ok_or_else(|| KeyFault::Unknown(handle.clone()))
    }

    fn shelf(&self, purpose: Purpose) -> &Shelf {
        if is_kept(purpose) { &self.kept } else { &self.workloads }
    }

    /// Signs without waiting: the keys are in memory.
    pub(crate) fn sign_now(&self, handle: &Handle, message: &[u8]) -> Result<Signature, KeyFault> {
        self.find(handle).map(|held| held.key.sign(message))
    }

    fn path(&self, handle: &Handle) -> PathBuf {
        self.folder.join(handle.purpose.name()).join(&handle.id).with_added_extension(KEY)
    }
}

fn is_kept(purpose: Purpose) -> bool {
    KEPT.contains(&purpose)
}

/// Keys that were read or made.
#[derive(Default)]
struct Shelf(RwLock<HashMap<Handle, Arc<Held>>>);

impl Shelf {
    fn check_room(&self, max: usize) -> Result<(), Unavailable> {
        room(self.read().len(), max)
    }

    fn put(&self, handle: Handle, held: Held, max: usize) -> Result<(), Unavailable> {
        let mut keys = self.write();
        room(keys.len(), max)?;
        keys.insert(handle, Arc::new(held));
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Handle, Arc<Held>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Handle, Arc<Held>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn room(held: usize, max: usize) -> Result<(), Unavailable> {
    if held < max {
        return Ok(());
    }
    Err(Unavailable::of("keys", format!("{max} keys are held, the most there can be")))
}

impl Keys for Disk {
    async fn generate(
        &self,
        purpose: Purpose,
        algorithm: Algorithm,
    ) -> Result<(Handle, PublicKey), KeyFault> {
        let max = if is_kept(purpose) { KEYS_MAX } else { WORKLOAD_KEYS_MAX };
        let shelf = self.shelf(purpose);
        shelf.check_room(max)?;
        let made = if is_slow(algorithm) {
            // One at a time: whoever waits for others' keys leaves a processor to who serves.
            let _turn = self.slow.acquire().await;
            blocking(move || generate(algorithm)).await?
        } else {
            generate(algorithm)
        };
        let pkcs8 = made.map_err(|_| Unavailable::of("keys", "no key could be made"))?;
        let key = parse(&pkcs8, algorithm)?;
        let public = key.public().clone();
        let handle = Handle { purpose, id: public.thumbprint().to_base64url() };
        if is_kept(purpose) {
            let (path, sealing) = (self.path(&handle), self.sealing.clone());
            let (handle, text) = (handle.clone(), form::write(algorithm, &pkcs8));
            let stored = blocking(move || store(&path, &handle, &text, sealing.as_deref())).await?;
            stored.map_err(|error| Unavailable::of("keys", error))?;
        }
        let exportable = (purpose == Purpose::Workload).then_some(pkcs8);
        shelf.put(handle.clone(), Held { key, exportable }, max)?;
        Ok((handle, public))
    }

    fn makes(&self, _: Purpose, _: Algorithm) -> Result<(), CannotMake> {
        Ok(())
    }

    fn public(&self, handle: &Handle) -> Result<PublicKey, KeyFault> {
        self.find(handle).map(|held| held.key.public().clone())
    }

    async fn sign(&self, handle: &Handle, message: &[u8]) -> Result<Signature, KeyFault> {
        let held = self.find(handle)?;
        if !is_slow(held.key.algorithm()) {
            return Ok(held.key.sign(message));
        }
        // Some milliseconds, in which a thread of the runtime could serve many.
        let message = message.to_vec();
        Ok(blocking(move || held.key.sign(&message)).await?)
    }

    fn export(&self, handle: &Handle) -> Result<PrivateKey, KeyFault> {
        let held = self.find(handle)?;
        let Some(pkcs8) = &held.exportable else {
            return Err(KeyFault::NotExportable(handle.clone()));
        };
        Ok(parse(pkcs8, held.key.algorithm())?)
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), KeyFault> {
        self.find(handle)?;
        if is_kept(handle.purpose) {
            let path = self.path(handle);
            let removed = blocking(move || file::remove(&path)).await?;
            removed.map_err(|error| Unavailable::of("keys", error))?;
        }
        self.shelf(handle.purpose).write().remove(handle);
        Ok(())
    }
}

/// Which keys, never the keys.
impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("folder", &self.folder)
            .field("is_sealed", &self.is_sealed())
            .field("kept", &self.kept.read().len())
            .field("workloads", &self.workloads.read().len())
            .finish()
    }
}

/// One file of a purpose's folder; `None` if it is none of ours.
fn load(
    path: &Path,
    purpose: Purpose,
    sealing: Option<&SealingKey>,
) -> Result<Option<(Handle, PrivateKey)>, OpenError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension == Some(HALF) {
        // A process ended while it wrote; nobody was told of that key.
        file::remove_if_there(path)?;
        return Ok(None);
    }
    let id = path.file_stem().and_then(|stem| stem.to_str());
    let (Some(KEY), Some(id)) = (extension, id) else {
        tracing::warn!(path = %path.display(), "a file among the keys is none");
        return Ok(None);
    };
    let handle = Handle { purpose, id: id.to_owned() };
    let content = file::read(path, NOT_OWNER, FILE_BYTES_MAX)?;
    let path = path.to_owned();
    let (text, is_plain) = if !sealing::is_sealed(&content) {
        (content, true)
    } else if let Some(sealing) = sealing {
        let opened = sealing.open(&handle, &content).map_err(|fault| match fault {
            Unsealable::OtherKey => OpenError::OtherSealingKey { path: path.clone() },
            Unsealable::Tampered => OpenError::Tampered { path: path.clone() },
            Unsealable::Library => OpenError::Library,
        });
        (opened?, false)
    } else {
        return Err(OpenError::Sealed { path });
    };
    let key = form::read(&text).ok_or_else(|| OpenError::Malformed { path: path.clone() })?;
    let found = key.public().thumbprint().to_base64url();
    if found != handle.id {
        return Err(OpenError::Misnamed { path, found });
    }
    if is_plain && let Some(sealing) = sealing {
        let sealed = sealing.seal(&handle, &text).map_err(|_| OpenError::Library)?;
        file::write(&path, &sealed)?;
    }
    Ok(Some((handle, key)))
}

/// Makes a key durable.
fn store(
    path: &Path,
    handle: &Handle,
    text: &str,
    sealing: Option<&SealingKey>,
) -> Result<(), OpenError> {
    if let Some(folder) = path.parent() {
        file::private_folder(folder)?;
    }
    match sealing {
        Some(sealing) => {
            let sealed = sealing.seal(handle, text.as_bytes()).map_err(|_| OpenError::Library)?;
            file::write(path, &sealed)?;
        }
        None => file::write(path, text.as_bytes())?,
    }
    Ok(())
}

fn parse(pkcs8: &[u8], algorithm: Algorithm) -> Result<PrivateKey, Unavailable> {
    let key = PrivateKey::from_pkcs8(pkcs8).map_err(|error| Unavailable::of("keys", error))?;
    key.for_algorithm(algorithm).map_err(|error| Unavailable::of("keys", error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unavailable> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Unavailable::of("keys", error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A ring outlives the process, and so must what its keys sign with.
    /// req: PROV-02 (part)
    #[test]
    fn s8_keys_that_are_rotated_are_kept() {
        for purpose in Purpose::ROTATED {
            assert!(is_kept(purpose), "{purpose:?}");
        }
    }

    fn new_key() -> (Handle, Zeroizing<String>, Held) {
        let pkcs8 = generate(Algorithm::Es256).unwrap();
        let key = parse(&pkcs8, Algorithm::Es256).unwrap();
        let id = key.public().thumbprint().to_base64url();
        let text = form::write(Algorithm::Es256, &pkcs8);
        (Handle { purpose: Purpose::Wit, id }, text, Held { key, exportable: None })
    }

    #[test]
    fn a_full_shelf_takes_no_more() {
        let shelf = Shelf::default();
        for _ in 0..2 {
            shelf.check_room(2).unwrap();
            let (handle, _, held) = new_key();
            shelf.put(handle, held, 2).unwrap();
        }
        let full = Err(Unavailable::of("keys", "2 keys are held, the most there can be"));
        assert_eq!(shelf.check_room(2), full);
        let (handle, _, held) = new_key();
        assert_eq!(shelf.put(handle, held, 2), full);
        assert_eq!(shelf.read().len(), 2);
    }

    #[test]
    fn a_folder_of_too_many_keys_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("keys").join(Purpose::Wit.name());
        Disk::open(&dir.path().join("keys"), None).unwrap();
        file::private_folder(&place).unwrap();
        let put = |handle: &Handle, text: &str| {
            let path = place.join(format!("{}.{KEY}", handle.id));
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        for _ in 0..KEYS_MAX {
            let (handle, text, _) = new_key();
            put(&handle, &text);
        }
        let disk = Disk::open(&dir.path().join("keys"), None).unwrap();
        assert_eq!(disk.handles(Purpose::Wit).len(), KEYS_MAX);
        let (handle, text, _) = new_key();
        put(&handle, &text);
        let refused = Disk::open(&dir.path().join("keys"), None).unwrap_err();
        assert!(matches!(refused, OpenError::TooMany { .. }), "{refused}");
    }
}
