//! One document, fetched: resolve, choose an address, connect to that very address, prove who
//! answers, ask, read.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HOST, LOCATION, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use spiffe::{BundleSet, SpiffeId};
use time::UnixTime;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use crate::address::{Network, is_public};
use crate::fault::FetchFault;
use crate::roots::Roots;
use crate::tls::{explain, of_spiffe, of_web};

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 16;
/// Bytes of a head, and its lines.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
/// Redirects within one origin.
const REDIRECTS_MAX: u32 = 3;
/// The port of a URL that names none.
const HTTPS_PORT: u16 = 443;

/// How far it goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a document.
    pub bytes_max: usize,
    /// Time to connect to one address.
    pub connect_max: Duration,
    /// Time for everything, redirects included.
    pub whole_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 256 * 1024,
            connect_max: Duration::from_secs(5),
            whole_max: Duration::from_secs(15),
        }
    }
}

/// Who must answer.
#[derive(Clone, Debug)]
pub enum Peer {
    /// The host of the URL, by the Web PKI.
    Web,
    /// Exactly this SPIFFE ID, by these bundles at this time.
    Spiffe {
        /// Who.
        id: SpiffeId,
        /// By which bundles.
        trust: BundleSet,
        /// When.
        now: UnixTime,
    },
}

/// Where names lead. A door, so that a test can say so.
pub trait Names: Send + Sync + 'static {
    /// The addresses of a name.
    fn resolve(&self, host: &str) -> impl Future<Output = std::io::Result<Vec<IpAddr>>> + Send;
}

/// The names as the system knows them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, HTTPS_PORT)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// The client.
#[derive(Clone, Debug)]
pub struct Fetcher<N = SystemNames> {
    names: N,
    listed: Vec<Network>,
    roots: Roots,
    limits: Limits,
}

impl Fetcher {
    /// A client that reaches public addresses and those that the operator `listed`.
    pub fn new(listed: Vec<Network>, roots: Roots, limits: Limits) -> Self {
        Self { names: SystemNames, listed, roots, limits }
    }
}

impl<N: Names> Fetcher<N> {
    /// The same with other names.
    pub fn with_names<M: Names>(self, names: M) -> Fetcher<M> {
        Fetcher { names, listed: self.listed, roots: self.roots, limits: self.limits }
    }

    /// Fetches a text.
    pub async fn get(&self, url: &Url, peer: &Peer) -> Result<String, FetchFault> {
        let config = match peer {
            Peer::Web => of_web(&self.roots),
            Peer::Spiffe { id, trust, now } => of_spiffe(id.clone(), trust.clone(), *now),
        };
        let config = config.map_err(|error| FetchFault::Broken { why: error.to_string() })?;
        let config = Arc::new(config);
        let whole = self.follow(url.clone(), &config);
        let bound = FetchFault::TimedOut { seconds_max: self.limits.whole_max.as_secs() };
        timeout(self.limits.whole_max, whole).await.unwrap_or(Err(bound))
    }

    /// Follows redirects within the origin.
    ///
    /// SPIFFE Federation §5.2.1.4: "Bundle endpoint clients SHOULD follow the redirect if the URL
    /// meets all the requirements of a valid bundle endpoint URL": stricter here, the origin stays
    /// (docs/divergences.md). The location is not kept.
    async fn follow(&self, mut url: Url, config: &Arc<ClientConfig>) -> Result<String, FetchFault> {
        for _ in 0..=REDIRECTS_MAX {
            check(&url)?;
            let answer = self.ask(&url, config).await?;
            let status = answer.head().status();
            if !status.is_redirection() {
                return self.read(answer).await;
            }
            let to = answer.head().headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| url.join(to).ok());
            let to = to.ok_or(FetchFault::Status { status: status.as_u16() })?;
            if to.origin() != url.origin() {
                return Err(FetchFault::Elsewhere { to: to.to_string() });
            }
            url = to;
        }
        Err(FetchFault::Redirects { max: REDIRECTS_MAX })
    }

    /// Sends the request and waits for the head of the answer.
    async fn ask(&self, url: &Url, config: &Arc<ClientConfig>) -> Result<Answer, FetchFault> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let stream = self.connect(url, &host).await?;
        let name = server_name(url)?;
        let connector = TlsConnector::from(Arc::clone(config));
        let tls = connector.connect(name, stream).await.map_err(|error| {
            // What is no fault of TLS says nothing about who is there.
            match explain(&error) {
                Some(why) => FetchFault::Peer { host: host.clone(), why },
                None => FetchFault::Broken { why: error.to_string() },
            }
        })?;
        let broken = |error: hyper::Error| FetchFault::Broken { why: error.to_string() };
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(broken)?;
        let driver = Driver(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a fetch: the connection broke");
            }
        }));
        let request = Request::get(&url[Position::BeforePath..])
            .header(HOST, &url[Position::BeforeHost..Position::BeforePath])
            .header(USER_AGENT, concat!("aims/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchFault::Url { url: url.to_string() })?;
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(Answer { response, _driver: driver })
    }

    /// Connects to the first address of the host that may be reached and answers. What is checked
    /// is what is connected to: no name is looked up twice.
    async fn connect(&self, url: &Url, host: &str) -> Result<TcpStream, FetchFault> {
        let port = url.port().unwrap_or(HTTPS_PORT);
        let addresses = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            _ => self.names.resolve(host).await.map_err(|error| {
                let why = error.to_string();
                FetchFault::Name { host: host.to_owned(), why }
            })?,
        };
        let why = "it has no address".to_owned();
        let mut fault = FetchFault::Name { host: host.to_owned(), why };
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            if !self.may_reach(address) {
                fault = FetchFault::Private { host: host.to_owned(), address };
                continue;
            }
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            match timeout(self.limits.connect_max, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    let why = error.to_string();
                    fault = FetchFault::Unreachable { host: host.to_owned(), why };
                }
                Err(_) => {
                    let why = "it does not answer".to_owned();
                    fault = FetchFault::Unreachable { host: host.to_owned(), why };
                }
            }
        }
        Err(fault)
    }

    fn may_reach(&self, address: IpAddr) -> bool {
        is_public(address) || self.listed.iter().any(|network| network.contains(address))
    }

    /// Reads the document, not a byte more than the bound.
    async fn read(&self, answer: Answer) -> Result<String, FetchFault> {
        let Answer { response, _driver } = answer;
        let (head, body) = response.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(FetchFault::Status { status: head.status.as_u16() });
        }
        // Nothing was offered: what comes packed all the same is not unpacked.
        if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(FetchFault::Broken { why: "a content coding nobody asked for".to_owned() });
        }
        let bytes_max = self.limits.bytes_max;
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(FetchFault::TooLarge { bytes_max });
        }
        let bytes = match Limited::new(body, bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(FetchFault::TooLarge { bytes_max });
            }
            Err(error) => return Err(FetchFault::Broken { why: error.to_string() }),
        };
        String::from_utf8(bytes.to_vec()).map_err(|_| FetchFault::NotUtf8)
    }
}

/// What is fetched at all: also after a redirect.
fn check(url: &Url) -> Result<(), FetchFault> {
    let fits = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    if fits && url.has_host() {
        return Ok(());
    }
    Err(FetchFault::Url { url: url.to_string() })
}

/// The name that the certificate of a web host must have.
fn server_name(url: &Url) -> Result<ServerName<'static>, FetchFault> {
    let bad = || FetchFault::Url { url: url.to_string() };
    match url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(|_| bad()),
        Some(Host::Ipv4(address)) => Ok(ServerName::from(IpAddr::from(address))),
        Some(Host::Ipv6(address)) => Ok(ServerName::from(IpAddr::from(address))),
        None => Err(bad()),
    }
}

/// The head of an answer, and the connection that its body still comes over.
struct Answer {
    response: Response<Incoming>,
    _driver: Driver,
}

impl Answer {
    fn head(&self) -> &Response<Incoming> {
        &self.response
    }
}

/// Ends its task with itself: a fetch that is given up leaves no connection behind.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
