//! A unix socket ([unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html)), bound where nobody
//! else listens, and its file removed at the end: the same for the Workload API, the operators and
//! `aims run`.
//!
//! In scope: the file, who may open it, what an earlier server left behind, and how much of a
//! bounded number one holder may have. Not here: who connects
//! (told by the kernel, judged by each door), what is spoken.
//!
//! Trusting it means: whoever may write in the folder can put a socket of its own there. Peers that
//! must not be fooled by that look at who owns the folder.

mod budget;
mod places;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

pub use budget::{Budget, Exhausted, Permit};
pub use places::{Full, Place, Places};

/// The longest path of a socket: unix(7) gives it 108 bytes with the closing zero.
pub const PATH_BYTES_MAX: usize = 107;

/// A socket that listens. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    _file: SocketFile,
    _lock: Lock,
}

impl Socket {
    /// Binds the socket at `path`, to be opened by whom `mode` lets. A socket file that nobody
    /// listens on is what a killed server left behind and is replaced; anything else that is there
    /// stays, and is an error. A file beside it, `<path>.lock`, is locked as long as this lives,
    /// and stays. It must be called within a runtime.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, BindError> {
        let bytes = path.as_os_str().len();
        if bytes > PATH_BYTES_MAX {
            return Err(BindError::PathTooLong { bytes });
        }
        let system = |error: io::Error| BindError::system(path, &error);
        // Two servers that start at once must not take the other's fresh socket for a stale one.
        let lock = lock_beside(path)?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(system)?;
        let file = SocketFile::at(path).map_err(system)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(system)?;
        Ok(Self { listener, _file: file, _lock: lock })
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
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
    /// Another server listens there, or is about to.
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

/// The file of a bound socket.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file that is locked. A child that was forked meanwhile may have it for a moment more: the lock
/// goes when this does.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // It goes with the file at the latest.
        let _ = self.0.unlock();
    }
}

/// A lock that only who may write in the folder can hold: a lock on the folder itself could be held
/// by everybody who can read it, and no server would start.
fn lock_beside(path: &Path) -> Result<Lock, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(Path::new(&name), flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| BindError::system(path, &errno.into()))?;
    match rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(File::from(opened))),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BindError::InUse { path: path.to_owned() }),
        Err(errno) => Err(BindError::system(path, &errno.into())),
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

    const MODE: u32 = 0o600;

    #[tokio::test]
    async fn a_socket_is_bound_where_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = Socket::bind(&path, MODE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(Socket::bind(&path, MODE).unwrap_err(), BindError::InUse { path: path.clone() });
        drop(first);
        assert!(!path.exists());
        // What a killed server leaves.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(Socket::bind(&path, MODE).unwrap());
        fs::write(&path, "kept").unwrap();
        let refused = Socket::bind(&path, MODE).unwrap_err();
        assert_eq!(refused, BindError::NotASocket { path: path.clone() });
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        let long = folder.path().join("a".repeat(120));
        assert!(matches!(Socket::bind(&long, MODE), Err(BindError::PathTooLong { .. })));
        let nowhere = folder.path().join("no/admin.sock");
        assert!(matches!(Socket::bind(&nowhere, MODE), Err(BindError::System { .. })));
    }
}
