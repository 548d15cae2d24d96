//! The [SPIFFE Broker API](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Broker_API.md)
//! (Incubating, as of 1 July 2026) on a unix socket of its own, over mutual TLS (PROV-10): a
//! workload that policy lets be a broker gets what others on its node would get, each named by its
//! process id.
//!
//! Not here: who may be a broker and for whom it may ask ([`Brokers`] is answered by flows), and
//! references to objects of Kubernetes, which are refused as unknown.
//!
//! Trusting it means: a broker holds the keys of the workloads that it asks for.

mod connection;
mod service;
mod wire;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use socket::{BindError, Budget, Socket};
use tls::{Clients, HTTP2, TlsFault};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server as Transport;

use self::service::Api;
use self::wire::api::api_server::ApiServer;
use crate::server::ServeError;
use crate::workloads::Workloads;
use crate::{ANSWER_BYTES_MAX, REQUEST_BYTES_MAX};

/// The most connections at once, handshakes among them.
pub const CONNECTIONS_MAX: usize = 64;
/// The most of them of one process.
pub const PROCESS_CONNECTIONS_MAX: usize = 8;
/// How long a connection stays on which nothing is asked.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
/// The most calls of one broker at once: one or two for each workload of its node.
pub const BROKER_CALLS_MAX: usize = 4_096;
/// The most calls at once.
const CALLS_MAX: usize = 8_192;
/// The longest header of a request, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// How long a call may take until its answer, or its stream, begins.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How long open connections may take to end when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// Who may open the socket: the owner of the node and the socket's group. Broker Endpoint §2:
/// "accessibility SHOULD be restricted to designated clients only and not be available to
/// workloads."
const MODE: u32 = 0o660;

/// What the service asks of those who decide.
pub trait Brokers: Send + Sync + 'static {
    /// A process of this node.
    type Peer: Clone + Send + Sync + 'static;
    /// What one broker gets for it.
    type Answers: Workloads<Self::Peer>;

    /// The broker whose certificates these are, DER, leaf first, the key of the leaf proved: what
    /// it gets, at this request.
    fn admit(
        &self,
        chain: &[Vec<u8>],
    ) -> impl Future<Output = Result<Self::Answers, NotAdmitted>> + Send;

    /// Ends when these certificates prove nothing any longer.
    fn expired(&self, chain: &[Vec<u8>]) -> impl Future<Output = ()> + Send + 'static;

    /// The process that has this id now.
    fn find(&self, pid: i32) -> Result<Self::Peer, String>;

    /// Ends when the process has.
    fn exited(&self, peer: &Self::Peer) -> impl Future<Output = ()> + Send + 'static;
}

/// Why a caller is no broker. The text goes to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Its certificate proves nothing.
    #[error("not proved: {0}")]
    Unproved(String),
    /// It is somebody, and no broker.
    #[error("no broker: {0}")]
    NoBroker(String),
    /// It cannot be told now.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// A socket that listens. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener(Socket);

impl Listener {
    /// Binds the socket at `path`, as [`Socket::bind`] does.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Socket::bind(path, MODE).map(Self)
    }
}

/// What the endpoint does in TLS: it shows `own`, and lets nobody in without a certificate.
// Broker Endpoint §3.1: "The SPIFFE Broker Endpoint requires transport security in the form of
// mutual TLS."
pub fn config(own: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, TlsFault> {
    tls::server_config(own, Clients::Demanded, &[HTTP2])
}

/// Serves until `stop` ends; then every stream ends with `Unavailable`, and brokers come back. A
/// connection on which nothing is asked for `idle` is closed ([`IDLE_TIME_MAX`]).
pub async fn serve<B: Brokers>(
    listener: Listener,
    config: Arc<ServerConfig>,
    brokers: Arc<B>,
    idle: Duration,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (stops, stopping) = watch::channel(false);
    let calls = Budget::new(BROKER_CALLS_MAX, CALLS_MAX);
    let api = ApiServer::new(Api { brokers, calls, stopping: stopping.clone() })
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let (accepted, connections) = mpsc::channel(1);
    let acceptor = TlsAcceptor::from(config);
    let accepting = connection::accept(listener.0, acceptor, accepted, idle);
    let mut ended = stopping;
    let serving = Transport::builder()
        .max_concurrent_streams(u32::try_from(BROKER_CALLS_MAX).ok())
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .timeout(CALL_TIME_MAX)
        .add_service(api)
        .serve_with_incoming_shutdown(
            ReceiverStream::new(connections).map(Ok::<_, std::io::Error>),
            async move {
                let _ = ended.wait_for(|stops| *stops).await;
            },
        );
    let stopped = async move {
        stop.await;
        stops.send_replace(true);
        tokio::time::sleep(STOP_TIME_MAX).await;
    };
    tokio::select! {
        served = serving => served.map_err(|error| ServeError { why: error.to_string() }),
        () = stopped => Ok(()),
        () = accepting => Ok(()),
    }
}
