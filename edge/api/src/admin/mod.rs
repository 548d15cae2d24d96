//! The operators' socket: HTTP/1.1 and JSON over a unix socket, for `aims` on the same machine.
//! Who calls is what the kernel says of the peer; orders are taken from root and from the user that
//! the server runs as. Whoever can be one of them can order anything, and each order is recorded
//! with the uid.

mod agents;
mod approvals;
mod authorities;
mod clients;
mod evidence;
mod federation;
pub mod messages;
mod nodes;
mod operator;
mod people;
mod policy;
pub(crate) mod problem;
mod query;
pub(crate) mod records;
mod router;
mod state;

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use env::World;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Service;

use crate::answer::Answer;
use crate::audit::Audit;
use crate::health::Health;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::refused::{OnRefused, Source, Unread};

pub use operator::own_uid;
pub use socket::{BindError, Socket};

use operator::Uid;
use problem::Undone;

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// Time for a head; also how long a connection may be idle.
const HEAD_MAX: Duration = Duration::from_secs(60);
/// Time for what is under way when the socket closes.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Of the socket: its owner, and root. The peer's uid is checked besides, at each connection.
const MODE: u32 = 0o600;
/// How long to wait when the system has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Binds the socket at `path`, as [`Socket::bind`] does.
pub fn bind(path: &Path) -> Result<Socket, BindError> {
    Socket::bind(path, MODE)
}

/// What the desk is made of.
pub struct Parts<W> {
    /// The doors to the world.
    pub world: Arc<W>,
    /// The logs.
    pub audit: Arc<dyn Audit>,
    /// What the process knows of itself.
    pub health: Arc<dyn Health>,
    /// Told of what is refused before it reaches a flow.
    pub on_refused: OnRefused,
    /// The user that the server runs as, [`own_uid`]: who gives orders beside root.
    pub owner: u32,
}

/// Takes orders from operators of this machine.
pub struct Desk<W> {
    shared: Arc<Shared<W>>,
    router: Router,
}

impl<W> Clone for Desk<W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), router: self.router.clone() }
    }
}

/// What all orders share.
pub(crate) struct Shared<W> {
    pub(crate) world: Arc<W>,
    pub(crate) audit: Arc<dyn Audit>,
    pub(crate) health: Arc<dyn Health>,
    on_refused: OnRefused,
    owner: u32,
}

impl<W: World> Desk<W> {
    /// The desk of these parts.
    pub fn new(parts: Parts<W>) -> Self {
        let Parts { world, audit, health, on_refused, owner } = parts;
        let shared = Arc::new(Shared { world, audit, health, on_refused, owner });
        let router = router::router(&shared);
        Self { shared, router }
    }

    /// Serves until `stop` ends.
    pub async fn serve(&self, socket: Socket, stop: impl Future<Output = ()>) {
        let (close, closing) = watch::channel(false);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = stop.as_mut() => break,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "operators' socket: cannot accept");
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!("operators' socket: a connection was closed, there are too many");
                continue;
            };
            connections.spawn(connection(self.clone(), stream, place, closing.clone()));
        }
        drop(socket);
        close.send_replace(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(DRAIN_MAX, all).await.is_err() {
            tracing::info!("operators' socket: connections were cut at the end of the drain");
        }
    }

    async fn answer(self, uid: u32, request: Request<Incoming>) -> Answer {
        let Self { shared, mut router } = self;
        if uid != 0 && uid != shared.owner {
            let unread = Unread::NotAnOperator { uid };
            (shared.on_refused)(&Source::Uid(uid), &unread);
            return Undone::from(&unread).into_answer();
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Uid(uid));
        match router.call(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }
}

async fn connection<W: World>(
    desk: Desk<W>,
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
    mut closing: watch::Receiver<bool>,
) {
    // SO_PEERCRED: who connected, as the kernel saw it then.
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => {
            tracing::warn!(%error, "operators' socket: a connection was closed, its user unknown");
            return;
        }
    };
    let service = service_fn(|request| {
        let answer = desk.clone().answer(uid, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        _ = closing.wait_for(|closing| *closing) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(uid, %error, "operators' socket: a connection broke");
    }
}
