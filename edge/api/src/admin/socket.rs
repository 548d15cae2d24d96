//! The unix socket: bound where nobody else listens, for its owner alone.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The longest path of a socket: unix(7) gives it 108 bytes with the closing zero.
pub const PATH_BYTES_MAX: usize = 107;
/// Its owner, and root. The peer's uid is checked besides, at each connection.
const MODE: u32 = 0o600;

/// A socket that listens. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Socket {
    /// Binds the socket at `path`. A socket file that nobody listens on is what a killed server
    /// left behind and is replaced; anything else that is there stays, and is an error. It must be
    /// called within a runtime, and by the one process that owns the folder.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let bytes = path.as_os_str().len();
        if bytes > PATH_BYTES_MAX {
            return Err(BindError::PathTooLong { bytes });
        }
        let system = |error: io::Error| BindError::system(path, &error);
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(system)?;
        let found = fs::symlink_metadata(path).map_err(system)?;
        let (device, inode) = (found.dev(), found.ino());
        let socket = Self { listener, path: path.to_owned(), device, inode };
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(system)?;
        Ok(socket)
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours {
            // What is left behind is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why there is no socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// No socket has so long a path.
    #[error("a socket path of {bytes} bytes, at most {PATH_BYTES_MAX} can be bound")]
    PathTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Another server listens there.
    #[error("`{path}` is in use: another server listens on it")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// There is a file that is no socket; it is not removed.
    #[error("`{path}` is no socket: it is left alone")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot bind `{path}`: {kind}")]
    System {
        /// The path.
        path: PathBuf,
        /// What it said.
        kind: io::ErrorKind,
    },
}

impl BindError {
    fn system(path: &Path, error: &io::Error) -> Self {
        Self::System { path: path.to_owned(), kind: error.kind() }
    }
}

/// Removes a socket file only if the kernel says that nobody listens on it.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let system = |error: io::Error| BindError::system(path, &error);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    match BlockingStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(system)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(system(error)),
        _ => Err(BindError::InUse { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_bound_where_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(Socket::bind(&path).unwrap_err(), BindError::InUse { path: path.clone() });
        drop(first);
        assert!(!path.exists());
        // What a killed server leaves.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(Socket::bind(&path).unwrap());
        fs::write(&path, "kept").unwrap();
        let refused = Socket::bind(&path).unwrap_err();
        assert_eq!(refused, BindError::NotASocket { path: path.clone() });
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        let long = folder.path().join("a".repeat(120));
        assert!(matches!(Socket::bind(&long), Err(BindError::PathTooLong { .. })));
        let nowhere = folder.path().join("no/admin.sock");
        assert!(matches!(Socket::bind(&nowhere), Err(BindError::System { .. })));
    }
}
