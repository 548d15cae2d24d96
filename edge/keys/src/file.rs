//! Files and folders that nobody else may read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Everybody but the owner.
pub(crate) const NOT_OWNER: u32 = 0o077;
/// Everybody but the owner, save that the group may read: so the mode of a systemd credential
/// looks, for its access list shows there.
pub(crate) const NOT_OWNER_NOR_READING_GROUP: u32 = 0o037;

/// Why a file or folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others than its owner can use it.
    #[error("`{}` has mode {mode:04o}: others can use it", path.display())]
    TooOpen {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a folder, a link, a device or a pipe.
    #[error("`{}` is no regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It is no folder.
    #[error("`{}` is no folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// It is longer than what belongs in it.
    #[error("`{}` is longer than {max} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The bound.
        max: usize,
    },
}

impl FileError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } => "check that it exists and that this user may read it".to_owned(),
            Self::TooOpen { path, .. } => format!("run `chmod go= {}`", path.display()),
            Self::NotAFile { .. } | Self::NotAFolder { .. } => "move it away".to_owned(),
            Self::TooLong { .. } => "check that this is the file that was meant".to_owned(),
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

/// The content of a file of at most `max` bytes that gives nobody the bits of `forbidden`. What was
/// opened is what is checked; a link is not followed.
pub(crate) fn read(
    path: &Path,
    forbidden: u32,
    max: usize,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    use rustix::fs::{Mode, OFlags};
    // Without waiting for the other end, should it be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => {
            return Err(FileError::NotAFile { path: path.to_owned() });
        }
        other => File::from(other.map_err(|errno| FileError::io(path)(errno.into()))?),
    };
    let metadata = file.metadata().map_err(FileError::io(path))?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    check_mode(path, metadata.mode(), forbidden)?;
    // As long as it may get from the start, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max.saturating_add(1)));
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(FileError::io(path))?;
    if bytes.len() > max {
        return Err(FileError::TooLong { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// Puts a file of mode 0600 in its place: whole and durable when it answers, or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let half = path.with_extension(HALF);
    remove_if_there(&half)?;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&half)
        .map_err(FileError::io(&half))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(FileError::io(&half))?;
    fs::rename(&half, path).map_err(FileError::io(path))?;
    sync_folder_of(path)
}

/// The extension of a file that was not put in its place yet.
pub(crate) const HALF: &str = "half";

/// Removes a file for good.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    fs::remove_file(path).map_err(FileError::io(path))?;
    sync_folder_of(path)
}

/// Removes what an interrupted [`write`] left behind.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Makes the folder with mode 0700 if it is not there, and checks that nobody else may use it.
pub(crate) fn private_folder(path: &Path) -> Result<(), FileError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_folder_of(path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(FileError::io(path)(error)),
    }
    let metadata = fs::metadata(path).map_err(FileError::io(path))?;
    if !metadata.is_dir() {
        return Err(FileError::NotAFolder { path: path.to_owned() });
    }
    check_mode(path, metadata.mode(), NOT_OWNER)
}

/// The names in a folder; none if it is not there.
pub(crate) fn names(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(FileError::io(folder))?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<io::Result<_>>().map_err(FileError::io(folder))
}

fn check_mode(path: &Path, mode: u32, forbidden: u32) -> Result<(), FileError> {
    let mode = mode & 0o7777;
    if mode & forbidden != 0 {
        return Err(FileError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(())
}

fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(FileError::io(folder))
}
