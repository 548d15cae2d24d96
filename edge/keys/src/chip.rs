//! Keys in a TPM 2.0: made below its storage key, signing there, and kept as blobs that no other
//! TPM can open. They live beside the state, not in the TPM, whose own memory holds a handful.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use chip::{Address, Made, OWNER, Tpm, TpmError};
use env::{Handle, Purpose};
use jose::{Algorithm, PublicKey, Signature};
use tpm::wire::{Reader, Writer};
use tpm::{
    Attributes, Curve, Hash, Key, Malformed, Public, STRUCTURE_BYTES_MAX, Scheme, SchemeKind,
    Symmetric,
};
use zeroize::Zeroizing;

use crate::file::{self, FileError, NOT_OWNER, NOT_OWNER_NOR_READING_GROUP};

/// How many keys stay loaded: with the storage key three, what a TPM without help has place for and
/// what the kernel's resource manager gives each of its users.
const LOADED_MAX: usize = 2;
/// The least time between two attempts to reach a TPM that was away.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The longest password of the owner hierarchy, in bytes: the largest digest of a TPM.
const AUTHORIZATION_BYTES_MAX: usize = 64;
const BLOB_BYTES_MAX: usize = 2 * STRUCTURE_BYTES_MAX;
/// The extension of a file with the blob of a key.
const BLOB: &str = "tpm";
/// `TPM_RC_HANDLE`, `TPM_RC_REFERENCE_H0` and their like: what was loaded is not there any longer.
const GONE: [u32; 5] = [0x18b, 0x28b, 0x910, 0x911, 0x912];
/// `TPM_RC_INITIALIZE`: it was reset, and nobody started it yet.
const NOT_STARTED: u32 = 0x100;
/// What a new key signs before it is believed.
const PROBE: &[u8] = b"aims: does this key sign";
const SCHEME: Scheme = Scheme { kind: SchemeKind::Ecdsa, hash: Hash::Sha256 };

/// Which TPM, as the settings name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmPlace {
    /// Where it is.
    pub address: Address,
    /// The file with the password of the owner hierarchy, if it has one.
    pub owner_auth: Option<PathBuf>,
}

/// Why a TPM did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ChipError {
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder cannot be listed.
    #[error("`{}`: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file holds no blob.
    #[error("`{}` holds no key of a tpm: {why}", path.display())]
    Blob {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: Malformed,
    },
    /// A file holds another key than its name says.
    #[error("`{}` holds the key `{found}`", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The id of the key in it.
        found: String,
    },
    /// A key was not made as it was asked for.
    #[error("the tpm made a key that {0}")]
    BadKey(&'static str),
    /// It was gone a moment ago.
    #[error("the tpm is away")]
    Away,
    /// Nobody waits for the answer any longer.
    #[error("the tpm answered too late")]
    TooLate,
}

impl ChipError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Tpm(TpmError::Unreachable { .. }) | Self::Away => {
                "check `tpm` in `[keys]`, and that this user may use it (group `tss`)"
            }
            Self::Tpm(_) | Self::BadKey(_) | Self::TooLate => {
                "see what `tpm2_getcap properties-variable` says; after the tpm was cleared its \
                 keys are gone: begin with new ones"
            }
            Self::File(error) => return error.hint(),
            Self::Folder { .. } => "check that this user may read it",
            Self::Blob { .. } | Self::Misnamed { .. } => {
                "restore it from a backup, or move it away: what it signed stays valid, \
                 it signs nothing more"
            }
        }
        .to_owned()
    }

    /// Whether another try may help: what was loaded is not there any longer, or the way is.
    fn is_lost(&self) -> bool {
        match self {
            Self::Tpm(TpmError::Unreachable { .. }) => true,
            Self::Tpm(TpmError::Refused { code, .. }) => {
                GONE.contains(code) || *code == NOT_STARTED
            }
            _ => false,
        }
    }
}

/// A key as its TPM wrapped it.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    made: Arc<Made>,
    pub(crate) key: PublicKey,
}

impl Blob {
    fn new(made: Made) -> Result<Self, Malformed> {
        let size = |what| Malformed::Size { what, bytes: made.public.len() };
        let public = Public::parse(&made.public)?;
        let spki = public.spki_der().ok_or_else(|| size("a public key"))?;
        let key = PublicKey::from_spki_der(&spki).and_then(|it| it.for_algorithm(Algorithm::Es256));
        let key = key.map_err(|_| size("a public key"))?;
        Ok(Self { made: Arc::new(made), key })
    }

    /// TPM2B_PUBLIC and TPM2B_PRIVATE, one after the other.
    fn to_bytes(&self) -> Vec<u8> {
        Writer::default().sized(&self.made.public).sized(&self.made.private).into_bytes()
    }

    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let (public, private) = (reader.sized()?.to_vec(), reader.sized()?.to_vec());
        reader.end()?;
        Self::new(Made { private, public })
    }

    /// Keeps it under the name of its key: durable when it answers.
    pub(crate) fn store(&self, path: &Path) -> Result<(), FileError> {
        let parents: Vec<_> = path.ancestors().skip(1).take(2).collect();
        for folder in parents.into_iter().rev() {
            file::private_folder(folder)?;
        }
        file::write(path, &self.to_bytes())
    }
}

/// Where the blob of a key is kept.
pub(crate) fn path(folder: &Path, handle: &Handle) -> PathBuf {
    folder.join(BLOB).join(handle.purpose.name()).join(&handle.id).with_added_extension(BLOB)
}

/// The blobs of a purpose.
pub(crate) fn stored(folder: &Path, purpose: Purpose) -> Result<Vec<(Handle, Blob)>, ChipError> {
    let place = folder.join(BLOB).join(purpose.name());
    let entries = match fs::read_dir(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| ChipError::Folder { path: place.clone(), error })?,
    };
    let mut blobs = Vec::new();
    for entry in entries.take(crate::KEYS_MAX) {
        let entry = entry.map_err(|error| ChipError::Folder { path: place.clone(), error })?;
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != BLOB) {
            // What an interrupted write left: nobody was told of that key.
            file::remove_if_there(&path)?;
            continue;
        }
        let bytes = file::read(&path, NOT_OWNER, BLOB_BYTES_MAX)?;
        let blob =
            Blob::parse(&bytes).map_err(|why| ChipError::Blob { path: path.clone(), why })?;
        let found = blob.key.thumbprint().to_base64url();
        if path.file_stem().is_none_or(|stem| stem != found.as_str()) {
            return Err(ChipError::Misnamed { path, found });
        }
        blobs.push((Handle { purpose, id: found }, blob));
    }
    Ok(blobs)
}

/// The one thread's way to a TPM; opened when it is needed, and again when it was lost.
pub(crate) struct Chip {
    place: TpmPlace,
    open: Option<Open>,
    lost: Option<Instant>,
}

struct Open {
    tpm: Tpm,
    storage: chip::Handle,
    loaded: VecDeque<(String, chip::Handle)>,
}

impl Chip {
    pub(crate) fn new(place: TpmPlace) -> Self {
        Self { place, open: None, lost: None }
    }

    fn with<T>(
        &mut self,
        work: impl Fn(&mut Open) -> Result<T, ChipError>,
    ) -> Result<T, ChipError> {
        let was_open = self.open.is_some();
        match self.once(&work) {
            Err(why) if why.is_lost() => {
                self.open = None;
                if was_open {
                    return self.once(&work);
                }
                self.lost = Some(Instant::now());
                Err(why)
            }
            other => other,
        }
    }

    fn once<T>(
        &mut self,
        work: impl Fn(&mut Open) -> Result<T, ChipError>,
    ) -> Result<T, ChipError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None if self.lost.is_some_and(|lost| lost.elapsed() < AGAIN_AFTER) => {
                return Err(ChipError::Away);
            }
            None => Open::new(&self.place)?,
        };
        self.lost = None;
        let done = work(&mut open);
        self.open = Some(open);
        done
    }

    /// Opens it now, to see that it can be.
    pub(crate) fn check(&mut self) -> Result<(), ChipError> {
        self.with(|_| Ok(()))
    }

    /// Makes a key, and tries it.
    pub(crate) fn generate(&mut self) -> Result<Blob, ChipError> {
        self.with(|open| {
            open.make_room()?;
            let made = open.tpm.create(open.storage, &signing_key())?;
            let blob = Blob::new(made).map_err(|_| ChipError::BadKey("does not read"))?;
            let signature = open.sign(&blob, PROBE)?;
            let verified = blob.key.verify(Algorithm::Es256, PROBE, signature.as_bytes());
            verified.map_err(|_| ChipError::BadKey("signs wrongly"))?;
            Ok(blob)
        })
    }

    /// Signs as JWS does.
    pub(crate) fn sign(&mut self, blob: &Blob, message: &[u8]) -> Result<Signature, ChipError> {
        self.with(|open| open.sign(blob, message))
    }

    /// Takes a key out of the TPM's memory.
    pub(crate) fn forget(&mut self, id: &str) {
        let Some(open) = &mut self.open else { return };
        let (gone, kept) = open.loaded.drain(..).partition(|(loaded, _)| loaded == id);
        open.loaded = kept;
        let gone: VecDeque<(String, chip::Handle)> = gone;
        for (_, handle) in gone {
            let _ = open.tpm.flush(handle);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // An emulator without a resource manager keeps what is loaded.
        for (_, handle) in std::mem::take(&mut self.loaded) {
            let _ = self.tpm.flush(handle);
        }
        let _ = self.tpm.flush(self.storage);
    }
}

impl Open {
    fn new(place: &TpmPlace) -> Result<Self, ChipError> {
        let auth = authorization(place.owner_auth.as_deref())?;
        let mut tpm = Tpm::open(&place.address)?;
        let (storage, _) = tpm.create_primary(OWNER, &auth, &storage_key())?;
        Ok(Self { tpm, storage, loaded: VecDeque::new() })
    }

    fn sign(&mut self, blob: &Blob, message: &[u8]) -> Result<Signature, ChipError> {
        let id = blob.key.thumbprint().to_base64url();
        let handle = self.load(&id, &blob.made)?;
        let digest = digest::digest(&digest::SHA256, message);
        let signature = self.tpm.sign_digest(handle, digest.as_ref(), None)?;
        let fixed = signature.fixed(Curve::P256).ok_or(ChipError::BadKey("signs otherwise"))?;
        Ok(Signature::from_bytes(&fixed))
    }

    /// Place for one more object: making a key takes it for a moment, too.
    fn make_room(&mut self) -> Result<(), ChipError> {
        while self.loaded.len() >= LOADED_MAX {
            if let Some((_, oldest)) = self.loaded.pop_front() {
                self.tpm.flush(oldest)?;
            }
        }
        Ok(())
    }

    /// The handle of a key, loaded if it is not; then the one that was not used for longest goes.
    fn load(&mut self, id: &str, made: &Made) -> Result<chip::Handle, ChipError> {
        if let Some(at) = self.loaded.iter().position(|(loaded, _)| loaded == id) {
            let found = self.loaded.remove(at);
            self.loaded.extend(found);
        } else {
            self.make_room()?;
            let handle = self.tpm.load(self.storage, made)?;
            self.loaded.push_back((id.to_owned(), handle));
        }
        self.loaded.back().map(|(_, handle)| *handle).ok_or(ChipError::Away)
    }
}

fn authorization(path: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let Some(path) = path else { return Ok(Zeroizing::default()) };
    let mut bytes = file::read(path, NOT_OWNER_NOR_READING_GROUP, AUTHORIZATION_BYTES_MAX + 2)?;
    while bytes.last().is_some_and(|last| b"\r\n".contains(last)) {
        bytes.pop();
    }
    Ok(bytes)
}

/// The storage key that keys lie below (Provisioning Guidance §7.5.1, on P-256): the same each time
/// it is made.
fn storage_key() -> Public {
    Public {
        name_alg: Hash::Sha256,
        attributes: Attributes::STORAGE,
        policy: Vec::new(),
        symmetric: Some(Symmetric { bits: 128 }),
        scheme: None,
        key: Key::Ecc { curve: Curve::P256, x: Vec::new(), y: Vec::new() },
    }
}

/// A key that the TPM makes, that stays below its parent in this TPM, and that signs what it is
/// given.
fn signing_key() -> Public {
    let attributes = Attributes::FIXED_TPM
        .with(Attributes::FIXED_PARENT)
        .with(Attributes::SENSITIVE_DATA_ORIGIN)
        .with(Attributes::USER_WITH_AUTH)
        .with(Attributes::NO_DA)
        .with(Attributes::SIGN);
    Public { attributes, symmetric: None, scheme: Some(SCHEME), ..storage_key() }
}
