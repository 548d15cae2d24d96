//! The unix socket: bound where nobody else listens, open to every local process, and each
//! connection with the process that made it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket::{Budget, Permit, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

use crate::attest::Attest;
use crate::authority::Readable;

pub use socket::{BindError, PATH_BYTES_MAX};

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
pub struct Listener(Socket);

impl Listener {
    /// Binds the socket at `path`, as [`Socket::bind`] does.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Socket::bind(path, MODE).map(Self)
    }

    /// The next connection whose process could be told. Others are closed, and logged.
    pub(crate) async fn accept<A: Attest>(
        &self,
        attest: &A,
        budget: &Arc<Budget>,
    ) -> Connection<A::Peer> {
        loop {
            let stream = match self.0.accept().await {
                Ok(stream) => stream,
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
            match budget.take(attest.process(&peer).into()) {
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
