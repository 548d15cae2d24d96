//! One connection to the server, from the client's side.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;
use time::UnixTime;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use wimse::Bundles;
use x509::Certificate;

use crate::ANSWER_BYTES_MAX;
use crate::caller::is_past;
use crate::client::Address;
use crate::tls::{ExpectedServer, client_config, explain, read_chain};
use crate::wire::node_client::NodeClient;

/// How long it may take to connect, the handshake included.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How often the server is asked whether it lives, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIME_MAX: Duration = Duration::from_secs(5);
/// What the server may send ahead in one stream, in bytes, and in all together.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// What requests call the server. Who it is stands in its certificate.
pub(crate) const ORIGIN: &str = "https://server.aims.invalid";

/// The client of an open connection.
pub(crate) type Calls = NodeClient<Sender>;

/// An open connection, and what it was checked by.
pub(crate) struct Session {
    /// Requests. Clones share the connection, which ends with the last of them.
    pub(crate) calls: Calls,
    sender: SendRequest<Body>,
    server: Vec<Certificate>,
    until: UnixTime,
    own: Option<Arc<CertifiedKey>>,
    trust: Mutex<Arc<Bundles>>,
}

impl Session {
    /// Connects to the server that `peer` describes, and shows `own`.
    pub(crate) async fn open(
        address: &Address,
        own: Option<Arc<CertifiedKey>>,
        peer: ExpectedServer,
    ) -> Result<Self, String> {
        let opening = Self::open_slowly(address, own, peer);
        timeout(CONNECT_TIME_MAX, opening).await.unwrap_or_else(|_| {
            Err(format!("`{address}` took more than {} s", CONNECT_TIME_MAX.as_secs()))
        })
    }

    async fn open_slowly(
        address: &Address,
        own: Option<Arc<CertifiedKey>>,
        peer: ExpectedServer,
    ) -> Result<Self, String> {
        let dialled = dial(address, own.clone(), &peer).await?;
        let Dialled { sender, server, until } = dialled;
        let calls = NodeClient::with_origin(Sender(sender.clone()), Uri::from_static(ORIGIN))
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        let trust = Mutex::new(peer.trust);
        Ok(Self { calls, sender, server, until, own, trust })
    }

    /// Whether it was made with `own`.
    pub(crate) fn shows(&self, own: &Arc<CertifiedKey>) -> bool {
        self.own.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, own))
    }

    /// Whether it is open, and its server is still the one that `peer` describes, by the newest
    /// bundles and now (AUTHN-12).
    pub(crate) fn leads_to(&self, peer: &ExpectedServer) -> bool {
        if self.sender.is_closed() || is_past(self.until, peer.now) {
            return false;
        }
        let mut checked = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&checked, &peer.trust) {
            return true;
        }
        match peer.check(&self.server) {
            Ok(_) => {
                *checked = Arc::clone(&peer.trust);
                true
            }
            Err(fault) => {
                tracing::warn!(%fault, "node api: the server is not trusted any longer");
                false
            }
        }
    }
}

/// A connection that was made, and what was seen of the server.
pub(crate) struct Dialled {
    sender: SendRequest<Body>,
    server: Vec<Certificate>,
    until: UnixTime,
}

impl Dialled {
    /// Sends requests over it.
    pub(crate) fn sender(&self) -> Sender {
        Sender(self.sender.clone())
    }
}

/// Connects to the server that `peer` describes, and shows `own`. The caller sees to the time.
pub(crate) async fn dial(
    address: &Address,
    own: Option<Arc<CertifiedKey>>,
    peer: &ExpectedServer,
) -> Result<Dialled, String> {
    let at = |error: &dyn std::fmt::Display| format!("`{address}`: {error}");
    let stream = TcpStream::connect(address.as_str()).await.map_err(|error| at(&error))?;
    stream.set_nodelay(true).map_err(|error| at(&error))?;
    let remote = stream.peer_addr().map_err(|error| at(&error))?;
    let config = client_config(own, peer.clone()).map_err(|error| at(&error))?;
    // Never sent and never checked: the server is told by its SPIFFE ID.
    let name = ServerName::from(remote.ip());
    let connector = TlsConnector::from(Arc::new(config));
    let tls = connector.connect(name, stream).await.map_err(|error| at(&explain(&error)))?;
    let state = tls.get_ref().1;
    if state.alpn_protocol() != Some(::tls::HTTP2) {
        return Err(at(&"the other end does not speak http/2"));
    }
    let server = read_chain(state.peer_certificates().unwrap_or_default());
    let server = server.map_err(|fault| at(&fault))?;
    let proved = peer.check(&server).map_err(|fault| at(&fault))?;
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME_MAX)
        .handshake(TokioIo::new(tls))
        .await
        .map_err(|error| at(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "node api: a connection ended");
        }
    });
    Ok(Dialled { sender, server, until: proved.not_after() })
}

/// Sends requests over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Sender(SendRequest<Body>);

type Sending = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

impl tower::Service<Request<Body>> for Sender {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Sending;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Sending {
        Box::pin(self.0.send_request(request))
    }
}
