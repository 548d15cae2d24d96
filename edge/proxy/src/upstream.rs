//! The client to upstreams: pooled, bounded in time, without redirects and without repeats.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::header::{HOST, VIA};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::connect::{BadRoot, ConnectFault, Connector};
use crate::gate::Outgoing;
use crate::relay;

/// Time for a connection: name, TCP and TLS.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Time from the request to the head of its answer.
const HEAD_MAX: Duration = Duration::from_secs(120);
/// Time for which an idle connection is kept: less than the 5 s after which Node.js closes it, so
/// that a request seldom meets a connection that is just being closed.
const POOL_IDLE_MAX: Duration = Duration::from_secs(4);
/// Idle connections to one upstream.
const POOL_IDLE_CONNECTIONS_MAX: usize = 256;
/// Header lines of an answer.
const HEADERS_MAX: usize = 128;
/// Bytes that are buffered of an answer, its head included.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// How we call ourselves in `Via`.
const VIA_US: &str = "1.1 aims";

/// Which upstreams can be reached, and how long they may take.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Roots (DER) that certificates of upstreams must chain to.
    pub roots: Vec<Vec<u8>>,
    /// Hosts besides this machine that may be reached by plain HTTP.
    pub plain_hosts: Vec<String>,
    /// Time for a connection: name, TCP and TLS.
    pub connect_max: Duration,
    /// Time from the request to the head of its answer.
    pub head_max: Duration,
}

impl Default for Peer {
    fn default() -> Self {
        let (roots, plain_hosts) = (Vec::new(), Vec::new());
        Self { roots, plain_hosts, connect_max: CONNECT_MAX, head_max: HEAD_MAX }
    }
}

/// A client to upstreams. Clones share one pool.
#[derive(Clone)]
pub struct Upstream {
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    head_max: Duration,
}

/// What is to be sent.
#[derive(Clone)]
pub struct Forward {
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// The method.
    pub method: String,
    /// Names in lower case; those of a connection are left out in any case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Bytes,
}

/// The head of an upstream's answer, and its body as it comes.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Those that the caller may see; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer: still at the upstream, or here.
pub struct AnswerBody(pub(crate) Content);

pub(crate) enum Content {
    Coming(Incoming),
    Here(Bytes),
}

/// Why there is no answer: one variant a reason. The texts are for the operator; the caller gets
/// [`UpstreamFault::reply`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFault {
    /// The URL or the method to send cannot be used.
    #[error("`{0}` is no url, method or header that can be sent")]
    Unsendable(String),
    /// Plain HTTP to a host that is neither this machine nor listed.
    #[error("plain http to `{host}`, which is neither this machine nor listed")]
    Plain {
        /// That host.
        host: String,
    },
    /// No connection.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(String),
    /// No connection in time.
    #[error("no connection to the upstream within {} s", .0.as_secs_f32())]
    ConnectTimedOut(Duration),
    /// No head of an answer in time.
    #[error("no answer of the upstream within {} s", .0.as_secs_f32())]
    AnswerTimedOut(Duration),
    /// The connection broke before there was an answer, or the answer is not HTTP. Whether the
    /// request had effects is not known.
    #[error("the exchange with the upstream broke: {0}")]
    Broken(String),
    /// The body of the answer is longer than the gate wants to read.
    #[error("the answer of the upstream has more than {bytes_max} bytes")]
    TooLarge {
        /// How much it wants.
        bytes_max: usize,
    },
    /// The client went away; the exchange with the upstream was ended.
    #[error("the client went away")]
    ClientGone,
}

impl Upstream {
    /// A client to the upstreams of `peer`.
    pub fn new(peer: &Peer) -> Result<Self, BadRoot> {
        let connector = Connector::new(&peer.roots, &peer.plain_hosts, peer.connect_max)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_MAX)
            .pool_max_idle_per_host(POOL_IDLE_CONNECTIONS_MAX)
            .http1_max_headers(HEADERS_MAX)
            .http1_max_buf_size(BUFFER_BYTES_MAX)
            // RFC 9110 §9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests."
            // This repeats only what was never written to a connection, because the pool handed
            // out one that had been closed.
            .retry_canceled_requests(true)
            .build(connector.clone());
        Ok(Self { client, connector, head_max: peer.head_max })
    }

    /// From now on trusts these roots (DER) alone, in new connections.
    pub fn trust(&self, roots: &[Vec<u8>]) -> Result<(), BadRoot> {
        self.connector.trust(roots)
    }

    /// Sends a request and waits for the head of its answer. Dropping the future, or the body of
    /// the answer, ends the exchange.
    pub async fn send(&self, forward: Forward) -> Result<Answer, UpstreamFault> {
        let request = request(forward)?;
        let answer = timeout(self.head_max, self.client.request(request))
            .await
            .map_err(|_| UpstreamFault::AnswerTimedOut(self.head_max))?
            .map_err(|error| fault(&error))?;
        let (head, body) = answer.into_parts();
        // RFC 9110 §7.8: a switch of protocols was never asked for.
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamFault::Broken("it wants to switch protocols".to_owned()));
        }
        let headers = relay::to_pairs(&head.headers);
        Ok(Answer {
            status: head.status.as_u16(),
            headers: gateway::answerable(&headers),
            body: AnswerBody(Content::Coming(body)),
        })
    }
}

impl AnswerBody {
    /// A body that is here already.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Content::Here(bytes.into()))
    }

    /// Reads the body to its end, for a gate that must see it before it is released.
    pub async fn read(self, bytes_max: usize) -> Result<Bytes, UpstreamFault> {
        match self.0 {
            Content::Here(bytes) if bytes.len() <= bytes_max => Ok(bytes),
            Content::Coming(body) if !is_longer(&body, bytes_max) => {
                match Limited::new(body, bytes_max).collect().await {
                    Ok(body) => Ok(body.to_bytes()),
                    Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                        Err(UpstreamFault::TooLarge { bytes_max })
                    }
                    Err(error) => Err(UpstreamFault::Broken(error.to_string())),
                }
            }
            Content::Here(_) | Content::Coming(_) => Err(UpstreamFault::TooLarge { bytes_max }),
        }
    }
}

impl UpstreamFault {
    /// What the caller is told: nothing of where the upstream is or what it said.
    pub fn reply<L>(&self) -> Outgoing<L> {
        let (status, error, description) = self.on_the_wire();
        Outgoing::Reply {
            status: status.as_u16(),
            headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
            body: relay::error_json(error, description),
        }
    }

    /// The one table from faults to the wire: status, error code, what the caller may know.
    pub(crate) fn on_the_wire(&self) -> (StatusCode, &'static str, &'static str) {
        let unreachable = "upstream_unavailable";
        match self {
            // RFC 9110 §15.6.5: "the server, while acting as a gateway or proxy, did not receive a
            // timely response from an upstream server".
            Self::ConnectTimedOut(_) | Self::AnswerTimedOut(_) => {
                (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "the upstream took too long")
            }
            // RFC 9110 §15.6.3: "the server, while acting as a gateway or proxy, received an
            // invalid response from an inbound server".
            Self::Unreachable(_) => {
                (StatusCode::BAD_GATEWAY, unreachable, "the upstream cannot be reached")
            }
            Self::Broken(_) | Self::TooLarge { .. } | Self::ClientGone => {
                (StatusCode::BAD_GATEWAY, unreachable, "the upstream gave no usable answer")
            }
            Self::Unsendable(_) | Self::Plain { .. } => {
                (StatusCode::BAD_GATEWAY, unreachable, "the upstream is not configured rightly")
            }
        }
    }
}

/// No value of a header, no body: they may hold tokens.
impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let mut debug = f.debug_struct("Forward");
        debug.field("url", &self.url).field("method", &self.method).field("headers", &headers);
        debug.field("body_bytes", &self.body.len()).finish()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("head_max", &self.head_max).finish_non_exhaustive()
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Coming(_) => f.write_str("AnswerBody(coming)"),
            Content::Here(bytes) => write!(f, "AnswerBody({} bytes)", bytes.len()),
        }
    }
}

/// The request as the library sends it.
fn request(forward: Forward) -> Result<Request<Full<Bytes>>, UpstreamFault> {
    let Forward { url, method, headers, body } = forward;
    let unsendable = |what: &str| UpstreamFault::Unsendable(what.to_owned());
    let uri: Uri = url.parse().map_err(|_| unsendable(&url))?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().filter(|_| is_web).ok_or_else(|| unsendable(&url))?;
    // RFC 9110 §4.2.4: "Before making use of an "http" or "https" URI reference received from an
    // untrusted source, a recipient SHOULD parse for userinfo and treat its presence as an error".
    if authority.as_str().contains('@') {
        return Err(unsendable("userinfo in a url"));
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| unsendable(&url))?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method.parse().map_err(|_| unsendable(&method))?;
    *request.uri_mut() = uri;
    let map = request.headers_mut();
    for (name, value) in gateway::sendable(headers) {
        let value = HeaderValue::from_bytes(&value).map_err(|_| unsendable(&name))?;
        map.append(HeaderName::try_from(&name).map_err(|_| unsendable(&name))?, value);
    }
    map.insert(HOST, host);
    // RFC 9110 §7.6.3: "An HTTP-to-HTTP gateway MUST send an appropriate Via header field in each
    // inbound request message".
    map.append(VIA, HeaderValue::from_static(VIA_US));
    Ok(request)
}

/// What an error of the library means.
fn fault(error: &hyper_util::client::legacy::Error) -> UpstreamFault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut text = error.to_string();
    while let Some(current) = cause {
        match current.downcast_ref::<ConnectFault>() {
            Some(ConnectFault::TimedOut(after)) => return UpstreamFault::ConnectTimedOut(*after),
            Some(ConnectFault::Plain { host }) => {
                return UpstreamFault::Plain { host: host.clone() };
            }
            Some(other) => return UpstreamFault::Unreachable(other.to_string()),
            None => {}
        }
        text = current.to_string();
        cause = current.source();
    }
    UpstreamFault::Broken(text)
}

/// Whether a body announces that it is longer.
fn is_longer(body: &Incoming, bytes_max: usize) -> bool {
    body.size_hint().lower() > bytes_max as u64
}
