//! Files that hold a secret: bounded, of somebody we trust, and closed to everybody else.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

/// Permission bits of everybody who is neither the owner nor in the group of a file.
const OTHERS: u32 = 0o007;
/// The group may read (that is how services share a secret), and no more.
const GROUP_WRITES: u32 = 0o020;

/// Why a file with a secret is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretFileError {
    /// It could not be opened or read.
    #[error("cannot read `{path}`: {kind}")]
    Unreadable {
        /// Its path.
        path: String,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// It is a folder, a device or a pipe.
    #[error("`{path}` is no regular file")]
    NotAFile {
        /// Its path.
        path: String,
    },
    /// Everybody may use it, or a group may change it.
    #[error("`{path}` has mode `{mode:04o}`: others can use it")]
    TooOpen {
        /// Its path.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It is longer than what belongs in it.
    #[error("`{path}` is longer than {max} bytes")]
    TooLong {
        /// Its path.
        path: String,
        /// The bound.
        max: usize,
    },
}

/// The content of a regular file that is closed to others. What was opened is what is checked.
pub(crate) fn read(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let name = || path.display().to_string();
    let unreadable =
        |error: io::Error| SecretFileError::Unreadable { path: name(), kind: error.kind() };
    let file = open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile { path: name() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & (OTHERS | GROUP_WRITES) != 0 {
        return Err(SecretFileError::TooOpen { path: name(), mode });
    }
    // As long as it may get from the start, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max + 1));
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > max {
        return Err(SecretFileError::TooLong { path: name(), max });
    }
    Ok(bytes)
}

/// Opens without waiting for the other end, should it be a pipe.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn s7_a_secret_that_others_can_use_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "12345").unwrap();
        let path = file.display().to_string();
        let check = |mode: u32, max: usize, expect: Result<&[u8], SecretFileError>| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&file, max).as_deref().map(Vec::as_slice), expect.as_ref().copied());
        };
        let too_open = |mode: u32| Err(SecretFileError::TooOpen { path: path.clone(), mode });
        check(0o600, 5, Ok(b"12345"));
        check(0o640, 5, Ok(b"12345"));
        check(0o604, 5, too_open(0o604));
        check(0o660, 5, too_open(0o660));
        check(0o601, 5, too_open(0o601));
        check(0o600, 4, Err(SecretFileError::TooLong { path: path.clone(), max: 4 }));
    }

    #[test]
    fn s7_a_secret_is_in_a_regular_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        assert_eq!(read(folder.path(), 1).err(), Some(SecretFileError::NotAFile { path }));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let path = pipe.display().to_string();
        assert_eq!(read(&pipe, 1).err(), Some(SecretFileError::NotAFile { path }));
        let missing = folder.path().join("missing");
        let (path, kind) = (missing.display().to_string(), io::ErrorKind::NotFound);
        assert_eq!(read(&missing, 1).err(), Some(SecretFileError::Unreadable { path, kind }));
    }
}
