//! The server: the accept loop and what all connections share.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use credential::TokenText;
use env::{Unavailable, World};
use provisioning::renewal::Trouble;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use wimse::WorkloadId;

use crate::caller::Callers;
use crate::connection::attend;
use crate::sources::Sources;
use crate::tls::{self, Presented};

/// The most connections at once.
pub const CONNECTIONS_MAX: usize = 16_384;
/// The most handshakes at once; more wait, each as a bare socket.
pub const HANDSHAKES_MAX: usize = 512;
/// The most connections at once whose other end proved nothing; more wait.
pub const STRANGERS_MAX: usize = 512;
/// The most that all feeds together hold for readers that have not taken it, in KiB.
pub(crate) const FEED_KIB_MAX: usize = 256 * 1024;
/// The most feeds that gather rows at once.
const GATHERING_MAX: usize = 64;

/// How long open connections may take to end when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(6);
/// How long to wait when the system has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Counts what was refused before anything was decided: where it came from, and which check fired.
pub type OnRefused = Box<dyn Fn(IpAddr, &'static str) + Send + Sync>;

/// A request to the token endpoint that came through a component.
#[derive(Debug)]
pub struct TokenCall {
    /// Which component.
    pub component: WorkloadId,
    /// Its address.
    pub source: IpAddr,
    /// The form, in order, repeated names too.
    pub form: Vec<(String, String)>,
    /// The headers that authenticate the client, each at most once.
    pub headers: Vec<(&'static str, TokenText)>,
}

/// The status and the JSON body.
pub type TokenAnswer =
    Pin<Box<dyn Future<Output = Result<(u16, Vec<u8>), Unavailable>> + Send + 'static>>;

/// The token endpoint, which reads the form, runs its flow, and alone knows which refusal is which
/// error of OAuth.
pub type TokenEndpoint = Box<dyn Fn(TokenCall) -> TokenAnswer + Send + Sync>;

/// A component took what it was sent, or told which of its renewals fail.
pub type OnHeard = Box<dyn Fn(&WorkloadId, Option<Vec<Trouble>>) + Send + Sync>;

/// What the wiring gives a server beside its world.
pub struct Wiring {
    /// The server's own X.509-SVID.
    pub presented: Presented,
    /// Counts refusals of strangers.
    pub on_refused: OnRefused,
    /// Is told of whom the server hears.
    pub on_heard: OnHeard,
    /// Where requests for tokens go.
    pub token_endpoint: TokenEndpoint,
}

impl std::fmt::Debug for Wiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wiring").field("presented", &self.presented).finish_non_exhaustive()
    }
}

/// What the wiring gives a server of SPIRE's API beside its world.
pub struct SpireWiring {
    /// The X.509-SVID of `spiffe://<domain>/spire/server`.
    pub presented: Presented,
    /// Counts refusals of strangers.
    pub on_refused: OnRefused,
}

impl std::fmt::Debug for SpireWiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpireWiring").field("presented", &self.presented).finish_non_exhaustive()
    }
}

/// Which API is spoken.
pub(crate) enum Door {
    /// The node API.
    Nodes {
        /// Where its requests for tokens go.
        token_endpoint: TokenEndpoint,
        /// Is told of whom the server hears.
        on_heard: OnHeard,
    },
    /// SPIRE's.
    Spire,
}

impl Door {
    pub(crate) const fn callers(&self) -> Callers {
        match self {
            Self::Nodes { .. } => Callers::Components,
            Self::Spire => Callers::SpireAgents,
        }
    }
}

/// What all connections share.
pub(crate) struct Shared<W> {
    pub(crate) world: Arc<W>,
    pub(crate) door: Door,
    on_refused: OnRefused,
    pub(crate) handshakes: Semaphore,
    pub(crate) strangers: Semaphore,
    pub(crate) gathering: Semaphore,
    pub(crate) feed_kib: Arc<Semaphore>,
}

impl<W> Shared<W> {
    pub(crate) fn count(&self, source: IpAddr, check: &'static str) {
        (self.on_refused)(source, check);
    }

    /// A component took what it was sent, or told what fails.
    pub(crate) fn heard(&self, caller: &WorkloadId, troubles: Option<Vec<Trouble>>) {
        if let Door::Nodes { on_heard, .. } = &self.door {
            on_heard(caller, troubles);
        }
    }
}

/// Serves the node API until `stop` ends; then feeds end with `Unavailable`, and requests under way
/// have a few seconds.
pub async fn serve<W: World>(
    listener: TcpListener,
    world: Arc<W>,
    wiring: Wiring,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let Wiring { presented, on_refused, token_endpoint, on_heard } = wiring;
    let door = Door::Nodes { token_endpoint, on_heard };
    serve_door(listener, world, &presented, on_refused, door, stop).await
}

/// Serves SPIRE's API to SPIRE agents until `stop` ends; then requests under way have a few
/// seconds.
pub async fn serve_spire<W: World>(
    listener: TcpListener,
    world: Arc<W>,
    wiring: SpireWiring,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let SpireWiring { presented, on_refused } = wiring;
    serve_door(listener, world, &presented, on_refused, Door::Spire, stop).await
}

async fn serve_door<W: World>(
    listener: TcpListener,
    world: Arc<W>,
    presented: &Presented,
    on_refused: OnRefused,
    door: Door,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let config =
        tls::server_config(presented).map_err(|error| ServeError { why: error.to_string() })?;
    let acceptor = TlsAcceptor::from(config);
    let shared = Arc::new(Shared {
        world,
        door,
        on_refused,
        handshakes: Semaphore::new(HANDSHAKES_MAX),
        strangers: Semaphore::new(STRANGERS_MAX),
        gathering: Semaphore::new(GATHERING_MAX),
        feed_kib: Arc::new(Semaphore::new(FEED_KIB_MAX)),
    });
    let (stops, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::select! {
        () = stop => {}
        () = accept(&listener, &acceptor, &shared, &stopping, &mut connections) => {}
    }
    drop(listener);
    stops.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_TIME_MAX, drained).await;
    Ok(())
}

/// TLS cannot be spoken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the api cannot be served: {why}")]
pub struct ServeError {
    /// What the library said.
    pub why: String,
}

async fn accept<W: World>(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    shared: &Arc<Shared<W>>,
    stopping: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let sources = Sources::default();
    loop {
        // At the bound nothing is accepted until a connection ends; the rest waits in the system's
        // queue, and clients come again.
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let (stream, address) = match listener.accept().await {
            Ok((stream, address)) => (stream, address.ip().to_canonical()),
            Err(error) => {
                tracing::warn!(%error, "node api: cannot accept");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        match sources.connect(address) {
            Some(source) => {
                let (shared, acceptor) = (Arc::clone(shared), acceptor.clone());
                let stopping = stopping.clone();
                connections.spawn(attend(shared, acceptor, stream, address, source, stopping));
            }
            None => shared.count(address, "link::Connections"),
        }
    }
}
