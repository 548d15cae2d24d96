//! Connections of brokers: the handshake, and the certificates that came with it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket::{Budget, Permit, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{CONNECTIONS_MAX, PROCESS_CONNECTIONS_MAX};
use crate::authority::Readable;

/// How long a handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait when the system has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Accepts for ever. At the bound nothing is accepted until a connection ends; one on which nothing
/// is asked for `idle` is closed.
pub(super) async fn accept(
    socket: Socket,
    acceptor: TlsAcceptor,
    accepted: mpsc::Sender<Connection>,
    idle: Duration,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let budget = Budget::new(PROCESS_CONNECTIONS_MAX, CONNECTIONS_MAX);
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
        // One process leaves places for others. Without an id it is nobody's we know of.
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default();
        let own = match budget.take(process.into()) {
            Ok(own) => own,
            Err(exhausted) => {
                tracing::warn!(%exhausted, "broker api: a connection was closed");
                continue;
            }
        };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
                Ok(Ok(tls)) => {
                    let shown = tls.get_ref().1.peer_certificates().unwrap_or_default();
                    let chain = shown.iter().map(|der| der.to_vec()).collect();
                    let shown = Shown { chain: Arc::new(chain), uses: Arc::new(Uses::new(idle)) };
                    let connection = Connection {
                        stream: Readable::new(tls),
                        look: Box::pin(sleep_until(shown.uses.unused_until())),
                        shown,
                        _places: (place, own),
                    };
                    let _ = accepted.send(connection).await;
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
    /// When to look whether it is of any use.
    look: Pin<Box<Sleep>>,
    _places: (OwnedSemaphorePermit, Permit),
}

impl Connection {
    /// Whether nothing was asked on it for too long; then its end was reached.
    fn is_idle(&mut self, context: &mut Context<'_>) -> bool {
        while self.look.as_mut().poll(context).is_ready() {
            let until = self.shown.uses.unused_until();
            if until <= Instant::now() {
                return true;
            }
            self.look.as_mut().reset(until);
        }
        false
    }
}

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Uses {
    idle: Duration,
    /// How many are under way, and when the last of them began or ended.
    now: Mutex<(usize, Instant)>,
}

impl Uses {
    fn new(idle: Duration) -> Self {
        Self { idle, now: Mutex::new((0, Instant::now())) }
    }

    /// One more call, until it is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Use {
        self.change(|open| open.saturating_add(1));
        Use(Arc::clone(self))
    }

    fn change(&self, by: impl FnOnce(usize) -> usize) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (by(now.0), Instant::now());
    }

    /// Until when it may stay if nothing happens.
    fn unused_until(&self) -> Instant {
        let (open, since) = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        (if open > 0 { Instant::now() } else { since }) + self.idle
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Use(Arc<Uses>);

impl Drop for Use {
    fn drop(&mut self) {
        self.0.change(|open| open.saturating_sub(1));
    }
}

/// The certificates that the other end showed, DER, leaf first; the key of the leaf is proved.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) chain: Arc<Vec<Vec<u8>>>,
    /// What is asked on the connection.
    pub(super) uses: Arc<Uses>,
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
        if self.is_idle(context) {
            tracing::debug!("broker api: a connection was closed on which nothing was asked");
            return Poll::Ready(Ok(()));
        }
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
