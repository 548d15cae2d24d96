//! One connection at the server: the handshake, who is at the other end, the requests, and the end,
//! which comes with the end of its certificate or of its right to be here (AUTHN-12).

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use env::{Clock, World};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use time::{Span, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::Status;
use tonic::body::Body;
use tower::Service as _;
use x509::Certificate;

use crate::REQUEST_BYTES_MAX;
use crate::caller::{self, Callers, is_past};
use crate::server::{Door, Shared};
use crate::service::Service;
use crate::sources::Connected;
use crate::spire;
use crate::tls::read_chain;
use crate::wire::node_server::NodeServer;

/// How long a connection may wait for its handshake, and for its place among strangers.
const WAIT_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a request may take until its answer, or its stream, begins.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How long one who proved nothing may stay.
const STRANGER_TIME_MAX: Duration = Duration::from_secs(60);
/// How long requests under way have when the connection ends.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// How often the end of the certificate is looked for.
const EXPIRY_CHECKED_EVERY: Span = Span::from_seconds(1);
/// The most requests of a component at once; a feed is one as long as it lasts.
const STREAMS_MAX: u32 = 64;
/// The same of a server below ours.
const SERVER_STREAMS_MAX: u32 = 16;
/// The same of one who proved nothing.
const STRANGER_STREAMS_MAX: u32 = 2;
/// What a request may send ahead, in bytes, and all of a connection together.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What is buffered of an answer beside the message that is being sent, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// The longest header of a request, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// How often a silent peer is asked whether it lives, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_TIME_MAX: Duration = Duration::from_secs(10);

/// Until when a server below ours is served, at the listener that it asks.
async fn server_until<W: World>(shared: &Shared<W>, chain: &[Certificate]) -> Option<UnixTime> {
    if !matches!(shared.door, Door::Spire) {
        return None;
    }
    let world = &*shared.world;
    let caller = caller::caller(world, chain, Callers::Servers).await.ok()?.ok()?;
    let is_server = flow::nested::is_downstream(world, &caller.id).await.ok()?;
    is_server.then_some(caller.until)
}

/// What one connection may do at once, and ask at once.
struct Bounds {
    streams: u32,
    spire_bytes: usize,
}

/// What requests know of their connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Where it comes from.
    pub(crate) address: IpAddr,
    /// What that address has taken.
    pub(crate) source: Connected,
    /// The certificates of the other end, leaf first; the key of the leaf is proved.
    pub(crate) chain: Vec<Certificate>,
    /// Told when the other end has no right to be here any longer.
    pub(crate) ends: Notify,
}

/// Serves one connection to its end.
pub(crate) async fn attend<W: World>(
    shared: Arc<Shared<W>>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: IpAddr,
    source: Connected,
    stopping: watch::Receiver<bool>,
) {
    let shake = handshake(&shared, &acceptor, stream, &source);
    let tls = match timeout(WAIT_TIME_MAX, shake).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(check)) => return shared.count(address, check),
        Err(_) => return shared.count(address, "link::Timeout"),
    };
    let shown = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let Ok(chain) = read_chain(shown) else { return };
    let connection = Arc::new(Connection { address, source, chain, ends: Notify::new() });
    match caller::caller(&*shared.world, &connection.chain, shared.door.callers()).await {
        Ok(Ok(caller)) => {
            let end = end_of(&*shared.world, caller.until);
            let end = async {
                tokio::select! { () = end => {} () = connection.ends.notified() => {} }
            };
            let bounds = Bounds { streams: STREAMS_MAX, spire_bytes: spire::REQUEST_BYTES_MAX };
            requests(&shared, &connection, tls, bounds, end, stopping).await;
        }
        // What is wrong is told to each request.
        Ok(Err(_)) => {
            if let Some(until) = server_until(&shared, &connection.chain).await {
                let end = end_of(&*shared.world, until);
                let bounds = Bounds { streams: SERVER_STREAMS_MAX, spire_bytes: REQUEST_BYTES_MAX };
                return requests(&shared, &connection, tls, bounds, end, stopping).await;
            }
            // A source waits for its own before it takes a place from all.
            let places = async {
                (connection.source.strangers.acquire().await, shared.strangers.acquire().await)
            };
            let Ok(_places) = timeout(WAIT_TIME_MAX, places).await else {
                return shared.count(address, "link::Strangers");
            };
            let end = tokio::time::sleep(STRANGER_TIME_MAX);
            let bounds = Bounds { streams: STRANGER_STREAMS_MAX, spire_bytes: REQUEST_BYTES_MAX };
            requests(&shared, &connection, tls, bounds, end, stopping).await;
        }
        Err(unavailable) => tracing::warn!(%unavailable, "node api: a connection was closed"),
    }
}

async fn handshake<W>(
    shared: &Shared<W>,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    source: &Connected,
) -> Result<TlsStream<TcpStream>, &'static str> {
    let closed = "link::Closed";
    // A source waits for its own before it takes a place from all.
    let _own = source.handshakes.acquire().await.map_err(|_| closed)?;
    let _all = shared.handshakes.acquire().await.map_err(|_| closed)?;
    let shaken = timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await;
    match shaken {
        Ok(Ok(tls)) => Ok(tls),
        Ok(Err(error)) => {
            tracing::debug!(%error, "node api: no handshake");
            Err("link::Handshake")
        }
        Err(_) => Err("link::Timeout"),
    }
}

/// Serves requests until the other end goes, `end` comes, or the server stops.
async fn requests<W: World>(
    shared: &Arc<Shared<W>>,
    connection: &Arc<Connection>,
    tls: TlsStream<TcpStream>,
    bounds: Bounds,
    end: impl Future<Output = ()>,
    mut stopping: watch::Receiver<bool>,
) {
    let api = Api::of(shared, connection, &stopping, bounds.spire_bytes);
    let mut http = Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME_MAX);
    let serving = http.serve_connection(
        TokioIo::new(tls),
        service_fn(move |request| answer(api.clone(), request)),
    );
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = end => {}
        _ = stopping.wait_for(|stops| *stops) => {}
    }
    // RFC 9113 §6.8: "GOAWAY allows an endpoint to gracefully stop accepting new streams while
    // still finishing processing of previously established streams."
    serving.as_mut().graceful_shutdown();
    let _ = timeout(CLOSE_TIME_MAX, serving).await;
}

/// What is served: the API of the listener.
enum Api<W: World> {
    Nodes(NodeServer<Service<W>>),
    Spire(spire::Services<W>),
}

impl<W: World> Clone for Api<W> {
    fn clone(&self) -> Self {
        match self {
            Self::Nodes(node) => Self::Nodes(node.clone()),
            Self::Spire(services) => Self::Spire(services.clone()),
        }
    }
}

impl<W: World> Api<W> {
    fn of(
        shared: &Arc<Shared<W>>,
        connection: &Arc<Connection>,
        stopping: &watch::Receiver<bool>,
        spire_bytes_max: usize,
    ) -> Self {
        let (shared, connection) = (Arc::clone(shared), Arc::clone(connection));
        match shared.door {
            Door::Nodes { .. } => {
                let service = Service::new(shared, connection, stopping.clone());
                let node = NodeServer::new(service)
                    .max_decoding_message_size(REQUEST_BYTES_MAX)
                    .max_encoding_message_size(crate::ANSWER_BYTES_MAX);
                Self::Nodes(node)
            }
            Door::Spire => Self::Spire(spire::Services::new(shared, connection, spire_bytes_max)),
        }
    }

    async fn call(&mut self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        match self {
            Self::Nodes(node) => node.call(request).await,
            Self::Spire(services) => services.call(request).await,
        }
    }
}

async fn answer<W: World>(
    mut api: Api<W>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    match timeout(CALL_TIME_MAX, api.call(request)).await {
        Ok(answer) => answer,
        Err(_) => Ok(Status::deadline_exceeded("the request took too long").into_http()),
    }
}

/// Ends when `until` is over, by the world's clock, which may jump.
async fn end_of<W: World>(world: &W, until: UnixTime) {
    while !is_past(until, world.clock().now()) {
        world.clock().sleep(EXPIRY_CHECKED_EVERY).await;
    }
}
