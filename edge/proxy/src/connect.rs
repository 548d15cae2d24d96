//! Connections to upstreams and peers that an operator configured: plain ones to this machine or to
//! listed hosts, all others over TLS.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Silence on a connection before the kernel asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered questions after which the connection is dead.
const KEEPALIVE_COUNT: u32 = 3;

/// Why a root certificate is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRoot {
    /// It is not a certificate, or not one that can be an anchor.
    #[error("root certificate {at} cannot be read: {why}")]
    Unreadable {
        /// Its position in the list, from 0.
        at: usize,
        /// What the TLS library says.
        why: String,
    },
    /// The TLS library refuses its own defaults.
    #[error("tls cannot be set up: {0}")]
    Tls(String),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFault {
    #[error("the url has no host or an unknown scheme")]
    Url,
    #[error("plain http to `{host}`, which is neither this machine nor listed")]
    Plain { host: String },
    #[error("no connection within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("no connection: {0}")]
    Io(#[from] io::Error),
}

/// Opens connections.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    tls: Arc<ArcSwap<ClientConfig>>,
    plain_hosts: Arc<[String]>,
    connect_max: Duration,
}

impl Connector {
    /// `plain_hosts`: hosts, as they stand in URLs, that may be reached without TLS.
    pub(crate) fn new(
        roots: &[Vec<u8>],
        plain_hosts: &[String],
        connect_max: Duration,
    ) -> Result<Self, BadRoot> {
        let tls = Arc::new(ArcSwap::from_pointee(client_config(roots)?));
        Ok(Self { tls, plain_hosts: plain_hosts.into(), connect_max })
    }

    /// From now on trusts these roots (DER) alone, in new connections.
    pub(crate) fn trust(&self, roots: &[Vec<u8>]) -> Result<(), BadRoot> {
        self.tls.store(Arc::new(client_config(roots)?));
        Ok(())
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Wire>, ConnectFault> {
        let patience = self.connect_max;
        timeout(patience, self.connect_patiently(uri))
            .await
            .unwrap_or(Err(ConnectFault::TimedOut(patience)))
    }

    async fn connect_patiently(self, uri: Uri) -> Result<TokioIo<Wire>, ConnectFault> {
        let host = uri.host().ok_or(ConnectFault::Url)?;
        // RFC 3986 §3.2.2: "enclosing the IP literal within square brackets".
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match uri.scheme_str() {
            Some("https") => {
                let stream = open(host, uri.port_u16().unwrap_or(443), |_| true).await?;
                let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectFault::Url)?;
                let stream = TlsConnector::from(self.tls.load_full()).connect(name, stream).await?;
                Ok(TokioIo::new(Wire::Tls(Box::new(stream))))
            }
            Some("http") => {
                let listed = self.plain_hosts.iter().any(|other| other.eq_ignore_ascii_case(host));
                let may = |address: &SocketAddr| listed || address.ip().is_loopback();
                let stream = open(host, uri.port_u16().unwrap_or(80), may).await?;
                Ok(TokioIo::new(Wire::Plain(stream)))
            }
            _ => Err(ConnectFault::Url),
        }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = ConnectFault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Asks the kernel to find out by itself that a peer is gone, and to send small pieces at once.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}

/// Connects to the first address of `host` that `may` be connected to and answers. What is checked
/// is the very address that is connected to: a name can mean another one a moment later.
async fn open(
    host: &str,
    port: u16,
    may: impl Fn(&SocketAddr) -> bool,
) -> Result<TcpStream, ConnectFault> {
    let mut fault = ConnectFault::Plain { host: host.to_owned() };
    for address in tokio::net::lookup_host((host, port)).await?.filter(may) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                tune(&stream)?;
                return Ok(stream);
            }
            Err(error) => fault = error.into(),
        }
    }
    Err(fault)
}

fn client_config(roots: &[Vec<u8>]) -> Result<ClientConfig, BadRoot> {
    let mut store = RootCertStore::empty();
    for (at, root) in roots.iter().enumerate() {
        let root = CertificateDer::from(root.as_slice()).into_owned();
        store.add(root).map_err(|why| BadRoot::Unreadable { at, why: why.to_string() })?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| BadRoot::Tls(why.to_string()))?;
    let mut config = config.with_root_certificates(store).with_no_client_auth();
    // A resumed session was verified against the roots of its first handshake.
    config.resumption = Resumption::disabled();
    // One exchange a connection: a slow reader of one answer must not hold up another's.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A connection to an upstream.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
