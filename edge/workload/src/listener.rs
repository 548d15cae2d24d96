//! The unix socket: bound where nobody else listens, open to every local process, and each
//! connection with the process that made it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::server::Connected;

use crate::attest::Attest;
use crate::authority::Readable;
use crate::budget::{Budget, Permit};

/// The longest path of a socket: unix(7) gives it 108 bytes with the closing zero.
pub const PATH_BYTES_MAX: usize = 107;
/// The most connections of one process at once.
pub const PROCESS_CONNECTIONS_MAX: usize = 16;
/// The most connections at once.
pub const CONNECTIONS_MAX: usize = 8_192;

/// Everybody may connect: what a process gets depends on what it is, not on file permissions.
const MODE: u32 = 0o777;
/// How long to wait when the system has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A socket that listens. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    _file: SocketFile,
    _lock: File,
}

impl Listener {
    /// Binds the socket at `path`. A socket file that nobody listens on is what a killed server
    /// left behind and is replaced; anything else that is there stays, and is an error. A file
    /// beside it, `<path>.lock`, is locked as long as this lives, and stays. It must be called
    /// within a runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
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
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(system)?;
        Ok(Self { listener, _file: file, _lock: lock })
    }

    /// The next connection whose process could be told. Others are closed, and logged.
    pub(crate) async fn accept<A: Attest>(
        &self,
        attest: &A,
        budget: &Arc<Budget>,
    ) -> Connection<A::Peer> {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "workload api: cannot accept");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let peer = match attest.identify(&stream) {
                Ok(peer) => peer,
                Err(why) => {
                    tracing::warn!(%why, "workload api: the process is unknown, closed");
                    continue;
                }
            };
            match budget.take(attest.process(&peer)) {
                Ok(permit) => {
                    return Connection { stream: Readable::new(stream), peer, _permit: permit };
                }
                Err(exhausted) => {
                    tracing::warn!(%exhausted, "workload api: a connection was closed");
                }
            }
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

/// A connection and the process that made it.
#[derive(Debug)]
pub(crate) struct Connection<Peer> {
    stream: Readable<UnixStream>,
    peer: Peer,
    _permit: Permit,
}

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller<Peer> {
    pub(crate) peer: Peer,
}

impl<Peer: Clone + Send + Sync + 'static> Connected for Connection<Peer> {
    type ConnectInfo = Caller<Peer>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Caller { peer: self.peer.clone() }
    }
}

impl<Peer: Unpin> AsyncRead for Connection<Peer> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<Peer: Unpin> AsyncWrite for Connection<Peer> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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

/// A lock that only who may write in the folder can hold: a lock on the folder itself could be held
/// by everybody who can read it, and no server would start.
fn lock_beside(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(Path::new(&name), flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| BindError::system(path, &errno.into()))?;
    match rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(File::from(opened)),
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
