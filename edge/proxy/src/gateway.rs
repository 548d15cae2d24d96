//! The gateway's listener: TLS in, a request checked and read whole, the gate asked, its answer
//! streamed back.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming as IncomingBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::accept::{Arrival, accept};
use crate::drive::{Activity, drive};
use crate::gate::{Gate, Incoming, Onward};
use crate::intake::{self, Budget, Doors};
use crate::limits::Limits;
use crate::refused::{OnRefused, Refused};
use crate::relay::{self, Body};
use crate::upstream::Upstream;
use crate::wire::{Heads, Patience, Watched};

// RFC 9728 §3: "by default, the well-known URI string used is
// /.well-known/oauth-protected-resource".
/// Where metadata of resources stands.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource";
/// Seconds after which a client that met a full house may come again.
const RETRY_AFTER_SECONDS: &str = "1";
/// Bytes that a client of HTTP/2 may send on one stream before it is read.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes that a client of HTTP/2 may send on all streams before they are read.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of answers that wait on one stream of HTTP/2.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that a client reset before they were taken up, after which its connection is closed
/// (CVE-2023-44487, rapid reset).
const PENDING_RESETS_MAX: usize = 20;
/// Streams that had to be reset because of a client's faults, after which its connection is closed.
const FAULTY_RESETS_MAX: usize = 64;

/// A gateway's listener, not yet listening.
pub struct Gateway<G: Gate> {
    /// What decides.
    pub gate: Arc<G>,
    /// The way out.
    pub upstream: Upstream,
    /// Of [`crate::server_config`].
    pub tls: Arc<ServerConfig>,
    /// Under which names it is called, and from which web pages.
    pub doors: Doors,
    /// Its bounds.
    pub limits: Limits,
    /// Told of what it refuses by itself.
    pub on_refused: OnRefused,
}

impl<G: Gate> Gateway<G> {
    /// Serves until `shutdown` resolves, then lets what is under way finish, for as long as the
    /// limits say: requests, streams, and the gate's own work for clients that went away.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let (working, mut done) = mpsc::channel::<Infallible>(1);
        let gateway = self;
        let shared = Arc::new(Shared {
            requests: Arc::new(Semaphore::new(gateway.limits.requests_max)),
            budget: Budget::new(&gateway.limits),
            working,
            gateway,
        });
        let (limits, on_refused) = (&shared.gateway.limits, &shared.gateway.on_refused);
        accept(listener, limits, on_refused, shutdown, |arrival| {
            connection(Arc::clone(&shared), arrival)
        })
        .await;
        let drain_max = limits.drain_max;
        drop(shared);
        if timeout(drain_max, done.recv()).await.is_err() {
            tracing::warn!("decisions were still under way at the end of the drain");
        }
    }
}

/// What all connections share.
struct Shared<G: Gate> {
    gateway: Gateway<G>,
    requests: Arc<Semaphore>,
    budget: Budget,
    /// Held by all that must end before the listener has.
    working: mpsc::Sender<Infallible>,
}

/// What all requests of a connection share.
struct Door<G: Gate> {
    shared: Arc<Shared<G>>,
    peer: SocketAddr,
    certificates: Vec<Vec<u8>>,
    activity: Arc<Activity>,
    /// Only of HTTP/1.1.
    heads: Option<Heads>,
}

async fn connection<G: Gate>(shared: Arc<Shared<G>>, arrival: Arrival) {
    let Arrival { stream, peer, mut closing } = arrival;
    let Gateway { limits, on_refused, tls, .. } = &shared.gateway;
    let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    let stream = tokio::select! {
        outcome = timeout(limits.handshake_max, handshake) => match outcome {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a handshake failed");
                return on_refused(peer.ip(), Refused::Handshake);
            }
            Err(_) => return on_refused(peer.ip(), Refused::SlowHandshake),
        },
        _ = closing.wait_for(|closing| *closing) => return,
    };
    let (_, session) = stream.get_ref();
    let is_http2 = session.alpn_protocol() == Some(tls::HTTP2);
    let certificates = session.peer_certificates().unwrap_or_default();
    let door = Door {
        peer,
        certificates: certificates.iter().map(|der| der.to_vec()).collect(),
        activity: Arc::default(),
        heads: None,
        shared: Arc::clone(&shared),
    };
    // The protocol is the one that TLS agreed on; the first bytes are not guessed from.
    if is_http2 { http2(door, stream, closing).await } else { http1(door, stream, closing).await }
}

type Tls = TlsStream<TcpStream>;

async fn http1<G: Gate>(door: Door<G>, stream: Tls, closing: watch::Receiver<bool>) {
    let shared = Arc::clone(&door.shared);
    let Gateway { limits, on_refused, .. } = &shared.gateway;
    let (stream, heads) = Watched::http1(stream, patience(limits));
    let door = Arc::new(Door { heads: Some(heads), ..door });
    let (peer, activity) = (door.peer, Arc::clone(&door.activity));
    let service = service_fn(move |request| answer(Arc::clone(&door), request));
    let connection = http1_builder(limits).serve_connection(TokioIo::new(stream), service);
    drive(connection, &activity, limits, closing, (peer.ip(), on_refused)).await;
}

async fn http2<G: Gate>(door: Door<G>, stream: Tls, closing: watch::Receiver<bool>) {
    let shared = Arc::clone(&door.shared);
    let Gateway { limits, on_refused, .. } = &shared.gateway;
    let stream = Watched::http2(stream, patience(limits));
    let door = Arc::new(door);
    let (peer, activity) = (door.peer, Arc::clone(&door.activity));
    let service = service_fn(move |request| answer(Arc::clone(&door), request));
    let head_bytes_max = u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX);
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        // The library bounds the CONTINUATION frames of a head by this as well.
        .max_header_list_size(head_bytes_max)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(FAULTY_RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(limits.idle_max)
        .keep_alive_timeout(limits.stall_max)
        .serve_connection(TokioIo::new(stream), service);
    drive(connection, &activity, limits, closing, (peer.ip(), on_refused)).await;
}

/// HTTP/1.1 as every listener here speaks it.
pub(crate) fn http1_builder(limits: &Limits) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Heads are timed where their bytes arrive, idle connections where they are driven.
        .header_read_timeout(None)
        .max_header_size(limits.head_bytes_max)
        .max_headers(limits.headers_max)
        .max_buf_size(limits.head_bytes_max.max(HTTP1_BUFFER_BYTES_MIN));
    builder
}

/// The smallest buffer that the library takes.
const HTTP1_BUFFER_BYTES_MIN: usize = 8 * 1024;

pub(crate) fn patience(limits: &Limits) -> Patience {
    Patience { head: limits.head_max, stall: limits.stall_max }
}

/// One request, to its answer.
async fn answer<G: Gate>(
    door: Arc<Door<G>>,
    request: Request<IncomingBody>,
) -> Result<Response<Body>, Infallible> {
    let serving = door.activity.begin();
    let version = request.version();
    let is_head = request.method() == Method::HEAD;
    let seen = door.heads.as_ref().map(Heads::next);
    let mut response = match seen {
        // INVARIANT: each head that the library reads was seen before.
        Some(None) => refuse(&door, Refused::Malformed, version),
        Some(Some(seen)) if seen.fault.is_some() => {
            refuse(&door, seen.fault.unwrap_or(Refused::Malformed), version)
        }
        Some(Some(_)) | None => serve(&door, request).await.unwrap_or_else(|refused| {
            let mut response = refuse(&door, refused, version);
            if refused == Refused::Busy {
                let after = HeaderValue::from_static(RETRY_AFTER_SECONDS);
                response.headers_mut().insert(RETRY_AFTER, after);
            }
            response
        }),
    };
    if seen.flatten().is_some_and(|seen| seen.is_last) {
        relay::close(&mut response, version);
    }
    if is_head && version == Version::HTTP_2 {
        response = relay::head_alone(response);
    }
    Ok(response.map(|body| body.holding(serving)))
}

fn refuse<G: Gate>(door: &Door<G>, refused: Refused, version: Version) -> Response<Body> {
    (door.shared.gateway.on_refused)(door.peer.ip(), refused);
    relay::refusal(refused, version)
}

async fn serve<G: Gate>(
    door: &Door<G>,
    request: Request<IncomingBody>,
) -> Result<Response<Body>, Refused> {
    let Shared { gateway, requests, budget, working } = &*door.shared;
    let (head, body) = request.into_parts();
    let authority = intake::check(&head, &gateway.doors)?;
    if let Some(resource) = metadata_path(head.uri.path()) {
        return Ok(metadata(&*gateway.gate, &head.method, resource));
    }
    let (body, spent) = intake::read_body(body, &gateway.limits, budget).await?;
    let place = Arc::clone(requests).try_acquire_owned().map_err(|_| Refused::Busy)?;
    let request = Incoming {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        authority,
        headers: relay::to_pairs(&head.headers),
        body,
        peer: door.peer,
        certificates: door.certificates.clone(),
    };
    let (onward, client) = Onward::new(gateway.upstream.clone());
    let (gate, working) = (Arc::clone(&gateway.gate), working.clone());
    // On a task of its own: if the client goes away this future is dropped, and `client` with it;
    // the gate then finds the way closed, and still records what it did.
    let calling = tokio::spawn(async move {
        let outgoing = gate.call(request, onward).await;
        drop((place, spent, working));
        outgoing
    });
    let outgoing = calling.await;
    drop(client);
    Ok(outgoing.map_or_else(
        |error| {
            tracing::error!(%error, "a decision broke off");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            relay::error_response(status, "server_error", "the request could not be decided")
        },
        |outgoing| relay::outgoing(&gateway.gate, outgoing),
    ))
}

/// The path of the resource whose metadata `path` asks for.
pub(crate) fn metadata_path(path: &str) -> Option<&str> {
    // RFC 9728 §3.1: "any terminating slash (/) following the host component MUST be removed before
    // inserting /.well-known/ and the well-known URI path suffix between the host component and the
    // path and/or query components."
    path.strip_prefix(METADATA).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn metadata<G: Gate>(gate: &G, method: &Method, resource: &str) -> Response<Body> {
    // RFC 9728 §3.1: "A protected resource metadata document MUST be queried using an HTTP GET
    // request at the previously specified URL."
    if method != Method::GET && method != Method::HEAD {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let mut response = relay::error_response(status, "invalid_request", "metadata is read");
        response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match gate.metadata(resource) {
        Some(document) => relay::json(StatusCode::OK, document),
        None => relay::error_response(StatusCode::NOT_FOUND, "not_found", "no such resource"),
    }
}
