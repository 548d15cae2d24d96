//! One process at a time for each component of a folder: whoever comes second changes nothing in
//! it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::layout::{Layout, unwritten};

/// The file whose lock the running process holds, in the folder of the component's keys.
const FILE: &str = "lock";

/// Held as long as the component runs. A child of this process has the file until it runs another
/// program, so closing it would not be enough.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // It goes with the file at the latest.
        let _ = self.0.unlock();
    }
}

/// Why a folder is not ours to run in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Locked {
    /// Another process runs there.
    #[error(
        "`{dir}` is in use: another process runs its {part}\n  hint: nothing was changed; stop \
         that process first, or give another folder"
    )]
    InUse {
        /// The folder.
        dir: String,
        /// `server`, `node` or `gateway`.
        part: String,
    },
    /// The file of the lock cannot be made.
    #[error("{0}")]
    Unwritten(String),
}

/// Locks one component of a folder.
pub fn lock(layout: &Layout, part: &str) -> Result<Lock, Locked> {
    let folder = layout.keys(part);
    let path = folder.join(FILE);
    let fault = |error: &dyn std::fmt::Display| Locked::Unwritten(unwritten(&path, error));
    make_private(&layout.at("keys"))
        .and_then(|()| make_private(&folder))
        .map_err(Locked::Unwritten)?;
    let opened =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|error| fault(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            let dir = layout.dir.display().to_string();
            Err(Locked::InUse { dir, part: part.to_owned() })
        }
        Err(TryLockError::Error(error)) => Err(fault(&error)),
    }
}

/// Makes a folder that is open to its owner alone, if it is not there.
pub(crate) fn make_private(folder: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| unwritten(folder, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_second_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::make(folder.path()).unwrap();
        let first = lock(&layout, "server").unwrap();
        let refused = lock(&layout, "server").unwrap_err();
        assert!(refused.to_string().contains("another process runs its server"), "{refused}");
        drop(lock(&layout, "node").unwrap());
        drop(first);
        drop(lock(&layout, "server").unwrap());
    }
}
