//! Where the demo plays: a folder of its own, which is gone when it is over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exit::Failure;

/// How often the removal of the folder is tried, and the pause between.
const REMOVALS: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);

/// The folder of the demo.
#[derive(Debug)]
pub struct Folder {
    folder: tempfile::TempDir,
    keep: bool,
}

impl Folder {
    /// An empty one.
    pub fn new(keep: bool) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("aims-demo-").tempdir();
        Ok(Self { folder: folder.map_err(Failure::unavailable)?, keep })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes it, or leaves it where that was asked for. A process that was stopped just now may
    /// still write there: then again.
    pub async fn end(self) -> Option<PathBuf> {
        if self.keep {
            return Some(self.folder.keep());
        }
        for _ in 0..REMOVALS {
            match std::fs::remove_dir_all(self.folder.path()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tokio::time::sleep(REMOVAL_PAUSE).await;
                }
                _ => break,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Defect: what stopped the demo left its folder.
    #[tokio::test]
    async fn a_folder_goes_with_what_is_in_it_unless_it_is_kept() {
        for keep in [false, true] {
            let folder = Folder::new(keep).ok().unwrap();
            let path = folder.path().to_owned();
            std::fs::create_dir(path.join("data")).unwrap();
            std::fs::write(path.join("data/state.db"), "x").unwrap();
            let kept = folder.end().await;
            assert_eq!(kept, keep.then(|| path.clone()));
            assert_eq!(path.exists(), keep);
            if keep {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
    }
}
