//! The loop that takes connections in, within the bounds, and serves each until it ends or the
//! listener stops.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use socket::{Full, Places};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::answer::Answer;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, Limits};
use crate::refused::{OnRefused, Source, Unread};

/// Pause after the kernel had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Streams that a client reset before they were taken up, after which its connection is closed
/// (CVE-2023-44487, rapid reset).
const PENDING_RESETS_MAX: usize = 20;
/// Streams that had to be reset because of a client's faults, after which its connection is closed.
const FAULTY_RESETS_MAX: usize = 64;
/// Bytes of answers that wait on one stream of HTTP/2.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Where it came from.
    pub(crate) address: IpAddr,
    /// The client certificates in DER, leaf first; `None` where TLS asks for none. They prove the
    /// key of the leaf and nothing else.
    pub(crate) chain: Option<Arc<[Vec<u8>]>>,
}

/// What answers requests.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    /// The answer to one request; a refusal is an answer.
    fn answer(
        &self,
        peer: Peer,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send + 'static;
}

/// A listener's parts that all of its connections share.
pub(crate) struct Listening<A> {
    pub(crate) answers: A,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) limits: Limits,
    pub(crate) on_refused: OnRefused,
    pub(crate) connections: Places,
}

/// Serves until `stop` ends; then lets what is under way finish, for as long as the limits say.
pub(crate) async fn listen<A: Answers>(
    listener: TcpListener,
    listening: Listening<A>,
    stop: impl Future<Output = ()>,
) {
    let listening = Arc::new(listening);
    let (close, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.as_mut() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match listening.connections.take(peer.ip()) {
            Err(full) => {
                let unread = match full {
                    Full::All => Unread::Connections,
                    Full::Source => Unread::ConnectionsOfSource,
                };
                (listening.on_refused)(&Source::Address(peer.ip()), &unread);
            }
            Ok(place) => {
                let serving = connection(Arc::clone(&listening), stream, peer, closing.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    close.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(listening.limits.drain_max, all).await.is_err() {
        tracing::info!("connections were cut at the end of the drain");
    }
}

async fn connection<A: Answers>(
    listening: Arc<Listening<A>>,
    stream: TcpStream,
    peer: SocketAddr,
    mut closing: watch::Receiver<bool>,
) {
    let Listening { answers, tls, limits, on_refused, .. } = &*listening;
    let refuse = |unread| on_refused(&Source::Address(peer.ip()), &unread);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection could not be tuned");
    }
    let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    let stream = tokio::select! {
        outcome = timeout(limits.handshake_max, handshake) => match outcome {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a handshake failed");
                return refuse(Unread::Handshake);
            }
            Err(_) => return refuse(Unread::SlowHandshake),
        },
        _ = closing.wait_for(|closing| *closing) => return,
    };
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates();
    let chain = chain.map(|chain| chain.iter().map(|der| der.to_vec()).collect());
    let who = Peer { address: peer.ip(), chain };
    // The protocol is the one that TLS agreed on; the first bytes are not guessed from.
    let builder = builder(limits, session.alpn_protocol() == Some(tls::HTTP2));
    let service = service_fn(|request| {
        let answer = answers.answer(who.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        _ = closing.wait_for(|closing| *closing) => None,
        () = sleep(limits.connection_age_max) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            served.as_mut().graceful_shutdown();
            timeout(limits.drain_max, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke");
        if is_malformed(error.as_ref()) {
            refuse(Unread::NotHttp);
        }
    }
}

fn builder(limits: &Limits, is_http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_max)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        // The library bounds the CONTINUATION frames of a head by this as well.
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(FAULTY_RESETS_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(limits.ping_after)
        .keep_alive_timeout(limits.head_max);
    if is_http2 { builder.http2_only() } else { builder.http1_only() }
}

/// What the library refused by itself: bytes that are no HTTP, heads that are too large. A peer
/// that goes away is none of it.
fn is_malformed(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref::<hyper::Error>();
    error.is_some_and(|error| error.is_parse() || error.is_parse_too_large())
}
