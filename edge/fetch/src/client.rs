//! One document, fetched: resolve, choose an address, connect to that very address, prove who
//! answers, ask, read.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE,
    HOST, LOCATION, USER_AGENT,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use spiffe::{BundleSet, SpiffeId};
use time::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
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

/// A document, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its text.
    pub text: String,
    /// How long it may be kept; `None` where its server does not say.
    pub keep: Option<Duration>,
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

    /// The same that reaches these addresses, besides what is public, and no others.
    #[must_use]
    pub fn reaching(self, listed: Vec<Network>) -> Self {
        Self { listed, ..self }
    }

    /// The same that believes these authorities, in place of the Web PKI's.
    #[must_use]
    pub fn believing(self, roots: Roots) -> Self {
        Self { roots, ..self }
    }

    /// Fetches a text.
    pub async fn get(&self, url: &Url, peer: &Peer) -> Result<String, FetchFault> {
        let config = self.config(peer)?;
        self.timed(self.follow(url.clone(), &config)).await
    }

    /// Reads a JSON document of a host of the Web PKI, and how long it may be kept. A redirect is
    /// no document, wherever it leads.
    pub async fn page(&self, url: &Url, bytes_max: usize) -> Result<Page, FetchFault> {
        let config = self.config(&Peer::Web)?;
        let limits = Limits { bytes_max, ..self.limits };
        self.timed(async {
            check(url)?;
            let tls = self.secure(url, &config).await?;
            let request = request(url, Method::GET);
            let answer = exchange(tls, request, url.as_str(), String::new()).await?;
            let headers = answer.response.headers();
            let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            if answer.response.status() == StatusCode::OK && !is_json(media.unwrap_or_default()) {
                return Err(FetchFault::Broken { why: "its media type is not JSON".to_owned() });
            }
            let keep = keep(headers);
            let text = text(answer.read(&[StatusCode::OK], limits).await?)?;
            Ok(Page { text, keep })
        })
        .await
    }

    /// Posts a JSON text to a host of the Web PKI, with a bearer token, and reads the answer. It is
    /// told to no other place: a redirect is an answer like any that is not wanted.
    pub async fn post(&self, url: &Url, bearer: &str, body: String) -> Result<String, FetchFault> {
        let config = self.config(&Peer::Web)?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {bearer}"))
            .map_err(|_| FetchFault::Broken { why: "the bearer token is no header".to_owned() })?;
        bearer.set_sensitive(true);
        self.timed(async {
            check(url)?;
            let tls = self.secure(url, &config).await?;
            let request = request(url, Method::POST)
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, bearer);
            let answer = exchange(tls, request, url.as_str(), body).await?;
            let bytes = answer.read(&[StatusCode::OK, StatusCode::CREATED], self.limits).await?;
            text(bytes)
        })
        .await
    }

    /// Tells a host of the Web PKI something, a JSON text with a bearer token, and reads of the
    /// answer no more than its status. CIBA Core 1.0 §10.2: "The OP SHOULD also accept responses
    /// with HTTP 200 OK and any body in the response SHOULD be ignored." and "The OP MUST NOT
    /// follow redirects."
    pub async fn tell(&self, url: &Url, bearer: &str, body: String) -> Result<(), FetchFault> {
        let config = self.config(&Peer::Web)?;
        let bearer = header(&format!("Bearer {bearer}"))?;
        self.timed(async {
            check(url)?;
            let tls = self.secure(url, &config).await?;
            let request = request(url, Method::POST)
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, bearer);
            let answer = exchange(tls, request, url.as_str(), body).await?;
            match answer.response.status() {
                StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
                status => Err(FetchFault::Status { status: status.as_u16() }),
            }
        })
        .await
    }

    /// Fetches a text from a host of the Web PKI, with a bearer token. It is told to no other
    /// place: redirects are not followed.
    pub async fn get_as(&self, url: &Url, bearer: &str) -> Result<String, FetchFault> {
        let config = self.config(&Peer::Web)?;
        let bearer = header(&format!("Bearer {bearer}"))?;
        self.timed(async {
            check(url)?;
            let tls = self.secure(url, &config).await?;
            let request = request(url, Method::GET).header(AUTHORIZATION, bearer);
            let answer = exchange(tls, request, url.as_str(), String::new()).await?;
            text(answer.read(&[StatusCode::OK], self.limits).await?)
        })
        .await
    }

    /// Posts a form to a host of the Web PKI, with a password where we have one there, and reads
    /// the answer. It is told to no other place: a redirect is an answer like any that is not
    /// wanted.
    pub async fn form(
        &self,
        url: &Url,
        basic: Option<&Basic>,
        body: String,
    ) -> Result<String, FetchFault> {
        self.send_form(url, basic, body, &[StatusCode::OK, StatusCode::NO_CONTENT]).await
    }

    /// The same at a token endpoint, which refuses what it is shown with 400 (RFC 6749 §5.2): that
    /// is an answer too.
    pub async fn redeem(
        &self,
        url: &Url,
        basic: Option<&Basic>,
        body: String,
    ) -> Result<String, FetchFault> {
        self.send_form(url, basic, body, &[StatusCode::OK, StatusCode::BAD_REQUEST]).await
    }

    async fn send_form(
        &self,
        url: &Url,
        basic: Option<&Basic>,
        body: String,
        wanted: &[StatusCode],
    ) -> Result<String, FetchFault> {
        let config = self.config(&Peer::Web)?;
        let basic = basic.map(|basic| header(&basic.0)).transpose()?;
        self.timed(async {
            check(url)?;
            let tls = self.secure(url, &config).await?;
            let mut request = request(url, Method::POST)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            if let Some(basic) = basic {
                request = request.header(AUTHORIZATION, basic);
            }
            let answer = exchange(tls, request, url.as_str(), body).await?;
            text(answer.read(wanted, self.limits).await?)
        })
        .await
    }

    /// Reads a small document over plain HTTP, from a name alone: what it says proves who answers
    /// under that name, and nothing else. Redirects are not followed.
    pub async fn plain(
        &self,
        host: &str,
        port: u16,
        path: &str,
        bytes_max: usize,
    ) -> Result<Vec<u8>, FetchFault> {
        let whole = format!("http://{host}:{port}{path}");
        let bad = || FetchFault::Url { url: whole.clone() };
        let url = Url::parse(&whole).map_err(|_| bad())?;
        // What is read as an address is no name, and what is normalised is not what policy allows.
        if url.domain() != Some(host) || url.path() != path || url.query().is_some() {
            return Err(bad());
        }
        let limits = Limits { bytes_max, ..self.limits };
        self.timed(async {
            let stream = self.connect(&url, port).await?;
            let request = request(&url, Method::GET);
            let answer = exchange(stream, request, url.as_str(), String::new()).await?;
            answer.read(&[StatusCode::OK], limits).await
        })
        .await
    }

    fn config(&self, peer: &Peer) -> Result<Arc<ClientConfig>, FetchFault> {
        let config = match peer {
            Peer::Web => of_web(&self.roots),
            Peer::Spiffe { id, trust, now } => of_spiffe(id.clone(), trust.clone(), *now),
        };
        config.map(Arc::new).map_err(|error| FetchFault::Broken { why: error.to_string() })
    }

    async fn timed<T>(
        &self,
        whole: impl Future<Output = Result<T, FetchFault>>,
    ) -> Result<T, FetchFault> {
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
            let tls = self.secure(&url, config).await?;
            let request = request(&url, Method::GET);
            let answer = exchange(tls, request, url.as_str(), String::new()).await?;
            let status = answer.response.status();
            if !status.is_redirection() {
                return text(answer.read(&[StatusCode::OK], self.limits).await?);
            }
            let to = answer.response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| url.join(to).ok());
            let to = to.ok_or(FetchFault::Status { status: status.as_u16() })?;
            if to.origin() != url.origin() {
                return Err(FetchFault::Elsewhere { to: to.to_string() });
            }
            url = to;
        }
        Err(FetchFault::Redirects { max: REDIRECTS_MAX })
    }

    /// Connects, and proves who answers.
    async fn secure(
        &self,
        url: &Url,
        config: &Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, FetchFault> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let stream = self.connect(url, HTTPS_PORT).await?;
        let name = server_name(url)?;
        let connector = TlsConnector::from(Arc::clone(config));
        connector.connect(name, stream).await.map_err(|error| {
            // What is no fault of TLS says nothing about who is there.
            match explain(&error) {
                Some(why) => FetchFault::Peer { host, why },
                None => FetchFault::Broken { why: error.to_string() },
            }
        })
    }

    /// Connects to the first address of the host that may be reached and answers. What is checked
    /// is what is connected to: no name is looked up twice.
    async fn connect(&self, url: &Url, default: u16) -> Result<TcpStream, FetchFault> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port().unwrap_or(default));
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
}

/// Who we are there, and a secret: RFC 7617.
pub struct Basic(String);

impl Basic {
    /// RFC 6749 §2.3.1: both "encoded using the "application/x-www-form-urlencoded" encoding".
    pub fn new(user: &str, password: &str) -> Self {
        let pair = format!("{}:{}", encoded(user), encoded(password));
        Self(format!("Basic {}", STANDARD.encode(pair)))
    }

    /// The value of `Authorization`, which is never shown.
    pub fn field(&self) -> Result<HeaderValue, FetchFault> {
        header(&self.0)
    }
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Basic(…)")
    }
}

/// A value of a form (RFC 6749 appendix B): each octet but the unreserved ones is encoded.
pub fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A credential as a header, which is never shown.
fn header(text: &str) -> Result<HeaderValue, FetchFault> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| FetchFault::Broken { why: "the credential is no header".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

fn request(url: &Url, method: Method) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(&url[Position::BeforePath..])
        .header(HOST, &url[Position::BeforeHost..Position::BeforePath])
        .header(USER_AGENT, concat!("aims/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity")
}

/// RFC 6839 §3.1: `application/json`, or what is JSON by its suffix.
fn is_json(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let of_application = essence.strip_prefix("application/");
    of_application.is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}

/// RFC 9111 §5.2.2, as far as it says less than we would take: `no-store` and `no-cache` are
/// nothing, `max-age` is what it says, less the `Age` (§5.1) that is over.
fn keep(headers: &http::HeaderMap) -> Option<Duration> {
    let mut keep = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or("no-store").split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Some(Duration::ZERO),
                "max-age" => {
                    // What does not read is stale (§4.2.1).
                    let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
                    let least = keep.map_or(seconds, |kept: u64| kept.min(seconds));
                    keep = Some(least);
                }
                _ => {}
            }
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).and_then(|age| age.parse().ok());
    keep.map(|seconds| Duration::from_secs(seconds.saturating_sub(age.unwrap_or(0))))
}

/// Sends the request and waits for the head of the answer.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: http::request::Builder,
    url: &str,
    body: String,
) -> Result<Answer, FetchFault> {
    let broken = |error: hyper::Error| FetchFault::Broken { why: error.to_string() };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let driver = Driver(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a fetch: the connection broke");
        }
    }));
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| FetchFault::Url { url: url.to_owned() })?;
    let response = sender.send_request(request).await.map_err(broken)?;
    Ok(Answer { response, _driver: driver })
}

fn text(bytes: Vec<u8>) -> Result<String, FetchFault> {
    String::from_utf8(bytes).map_err(|_| FetchFault::NotUtf8)
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
    /// Reads the document, not a byte more than the bound.
    async fn read(self, wanted: &[StatusCode], limits: Limits) -> Result<Vec<u8>, FetchFault> {
        let Self { response, _driver } = self;
        let (head, body) = response.into_parts();
        if !wanted.contains(&head.status) {
            return Err(FetchFault::Status { status: head.status.as_u16() });
        }
        // Nothing was offered: what comes packed all the same is not unpacked.
        if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(FetchFault::Broken { why: "a content coding nobody asked for".to_owned() });
        }
        let bytes_max = limits.bytes_max;
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(FetchFault::TooLarge { bytes_max });
        }
        match Limited::new(body, bytes_max).collect().await {
            Ok(body) => Ok(body.to_bytes().to_vec()),
            Err(error) if error.is::<LengthLimitError>() => Err(FetchFault::TooLarge { bytes_max }),
            Err(error) => Err(FetchFault::Broken { why: error.to_string() }),
        }
    }
}

/// Ends its task with itself: a fetch that is given up leaves no connection behind.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
