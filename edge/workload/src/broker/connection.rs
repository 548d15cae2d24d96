//! Connections of brokers: the handshake, and the certificates that came with it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::CONNECTIONS_MAX;
use crate::authority::Readable;

/// How long a handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait when the system has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Accepts for ever. At the bound nothing is accepted until a connection ends.
pub(super) async fn accept(
    socket: Socket,
    acceptor: TlsAcceptor,
    accepted: mpsc::Sender<Connection>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match socket.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "broker api: cannot accept");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
                Ok(Ok(tls)) => {
                    let shown = tls.get_ref().1.peer_certificates().unwrap_or_default();
                    let chain = shown.iter().map(|der| der.to_vec()).collect();
                    let shown = Shown { chain: Arc::new(chain) };
                    let stream = Readable::new(tls);
                    let _ = accepted.send(Connection { stream, shown, _place: place }).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "broker api: no handshake"),
                Err(_) => tracing::debug!("broker api: a handshake took too long"),
            }
        });
    }
}

/// A connection, and who is at its other end.
pub(super) struct Connection {
    stream: Readable<TlsStream<UnixStream>>,
    shown: Shown,
    _place: OwnedSemaphorePermit,
}

/// The certificates that the other end showed, DER, leaf first; the key of the leaf is proved.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) chain: Arc<Vec<Vec<u8>>>,
}

impl Connected for Connection {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        self.shown.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
