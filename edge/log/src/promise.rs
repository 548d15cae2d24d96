//! Checkpoints of this log: what it has promised, signed and durable before anyone sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog::note::{AttachError, Draft, KeyError, KeyKind, VerifierKey};
use tlog::{Checkpoint, CheckpointParseError, CheckpointRefused, CheckpointWriteError, Hash};

use crate::disk::Disk;

/// Signs checkpoints with an Ed25519 key that stays where it is.
pub trait NoteSigner: Send + Sync {
    /// The key's name, by convention the log's origin.
    fn name(&self) -> &str;

    fn public_key(&self) -> [u8; 32];

    /// The Ed25519 signature over `message`.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// Why a key did not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key did not sign: {reason}")]
pub struct SignError {
    pub reason: String,
}

/// Why there is no new checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum PromiseError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Text(#[from] CheckpointParseError),
    #[error(transparent)]
    Write(#[from] CheckpointWriteError),
    #[error(transparent)]
    Note(#[from] tlog::note::ParseError),
    #[error(transparent)]
    Disk(#[from] std::io::Error),
}

/// A checkpoint that is durable.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) text: Arc<str>,
}

/// Makes checkpoints for one origin.
pub(crate) struct Notary {
    origin: String,
    signer: Arc<dyn NoteSigner>,
    key: VerifierKey,
}

impl Notary {
    pub(crate) fn new(origin: &str, signer: Arc<dyn NoteSigner>) -> Result<Self, KeyError> {
        let key = VerifierKey::new(signer.name(), KeyKind::Ed25519, signer.public_key())?;
        Ok(Self { origin: origin.to_owned(), signer, key })
    }

    pub(crate) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Signs a checkpoint and makes it durable. What it promises must be durable before.
    pub(crate) fn promise(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        (size, root): (u64, Hash),
    ) -> Result<Promise, PromiseError> {
        let draft = Draft::new(Checkpoint::new(&self.origin, size, root)?.text()?)?;
        let signature = self.signer.sign(draft.signing_input())?;
        let text: Arc<str> = draft.attach(&self.key, &signature)?.to_string().into();
        // tlog-checkpoint, Signatures: "A log MUST not sign any checkpoint which is inconsistent
        // with any checkpoint it previously signed." Hence it remembers this one first.
        disk.replace(&path(dir), text.as_bytes(), true)?;
        Ok(Promise { size, root, text })
    }
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("checkpoint")
}

/// The checkpoint on disk, if there is one.
pub(crate) fn read(
    dir: &Path,
    origin: &str,
    keys: &[VerifierKey],
) -> Result<Option<Checkpoint>, Unreadable> {
    let bytes = match std::fs::read(path(dir)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let opened = Checkpoint::open(&bytes, origin, keys, &[])?;
    Ok(Some(opened.checkpoint().clone()))
}

/// Why the checkpoint on disk tells nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Refused(#[from] CheckpointRefused),
    #[error(transparent)]
    Disk(#[from] std::io::Error),
}
