//! The node's agent proxy: an agent speaks plain HTTP to it on this machine, and it speaks to the
//! gateway in the agent's name. The agent holds no secret (SEC-01); which process it is, is found
//! out for each connection.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use gateway::forwardable;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming as IncomingBody;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::accept::{Arrival, accept};
use crate::drive::{Activity, drive};
use crate::gateway::{http1_builder, patience};
use crate::intake::{self, Budget, Doors};
use crate::limits::Limits;
use crate::refused::{OnRefused, Refused};
use crate::relay::{self, Body};
use crate::upstream::{Forward, Upstream};
use crate::wire::{Heads, Watched};

/// Seconds after which a client may try again when a signature could not be had.
const RETRY_AFTER_SECONDS: &str = "2";
/// Where clients look for an authorization server of a resource (RFC 9728 §3, RFC 8414 §3, OIDC
/// Discovery §4): there is none to be found here.
const DISCOVERY: &[&str] = &["/.well-known/oauth-", "/.well-known/openid-"];

/// Who may call, and what speaks for it.
pub trait Caller: Send + Sync + 'static {
    /// What a connection was admitted as.
    type Pass: Send + Sync + 'static;

    /// Whether the process at the other end (`peer`, as it sees itself) of a connection to `local`
    /// may call. An `Err` is shown to it: why not, and what to do.
    fn admit(
        &self,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Self::Pass, String>> + Send;

    /// The headers that speak for it in exactly this request to the gateway.
    fn sign(
        &self,
        pass: &Self::Pass,
        method: &str,
        url: &str,
        body: &[u8],
    ) -> impl Future<Output = Result<Vec<(String, Vec<u8>)>, SignFault>> + Send;
}

/// What the agent is answered by whoever would speak for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The HTTP status.
    pub status: u16,
    /// The header fields.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing speaks for a request. The texts are shown to the agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    /// It must not be made.
    #[error("{0}")]
    Refused(String),
    /// The same, in the gateway's words.
    #[error("answered with {}", .0.status)]
    Answered(Said),
    /// Just now nothing can be signed.
    #[error("{0}")]
    Unavailable(String),
}

/// An agent proxy, not yet listening.
pub struct Agent<C: Caller> {
    /// Who may call.
    pub caller: Arc<C>,
    /// The way to the gateway.
    pub upstream: Upstream,
    /// Base URL of the gateway, without a slash at its end.
    pub gateway: String,
    /// Its bounds.
    pub limits: Limits,
    /// Told of what it refuses by itself.
    pub on_refused: OnRefused,
}

/// A listener on 127.0.0.1, at a port that the kernel chooses.
pub async fn bind_loopback() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

impl<C: Caller> Agent<C> {
    /// Serves until `shutdown` resolves. Fails at once if the listener can be reached from another
    /// machine.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let local = listener.local_addr()?;
        // MCP 2026-07-28, Security & Endpoint: "When running locally, servers SHOULD bind only to
        // localhost (127.0.0.1) rather than all network interfaces (0.0.0.0)."
        if !local.ip().is_loopback() {
            let what = format!("`{local}` can be reached from other machines");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let hosts = ["127.0.0.1", "localhost"].map(|host| format!("{host}:{}", local.port()));
        let doors = Doors { authorities: hosts.to_vec(), origins: Vec::new() };
        let budget = Budget::new(&self.limits);
        let shared = Arc::new(Shared { agent: self, doors, budget });
        let (limits, on_refused) = (&shared.agent.limits, &shared.agent.on_refused);
        accept(listener, limits, on_refused, shutdown, |arrival| {
            connection(Arc::clone(&shared), arrival)
        })
        .await;
        Ok(())
    }
}

/// What all connections share.
struct Shared<C: Caller> {
    agent: Agent<C>,
    doors: Doors,
    budget: Budget,
}

/// What all requests of a connection share.
struct Line<C: Caller> {
    shared: Arc<Shared<C>>,
    /// What the connection was admitted as, or why it was not.
    pass: Result<C::Pass, String>,
    source: IpAddr,
    heads: Heads,
    activity: Arc<Activity>,
}

async fn connection<C: Caller>(shared: Arc<Shared<C>>, arrival: Arrival) {
    let Arrival { stream, peer, closing } = arrival;
    let Agent { limits, on_refused, caller, .. } = &shared.agent;
    let Ok(local) = stream.local_addr() else { return };
    let pass = timeout(limits.handshake_max, caller.admit(local, peer)).await;
    let pass = pass.unwrap_or_else(|_| Err("who is calling could not be found out in time".into()));
    let (stream, heads) = Watched::http1(stream, patience(limits));
    let activity: Arc<Activity> = Arc::default();
    let line = Arc::new(Line {
        shared: Arc::clone(&shared),
        pass,
        source: peer.ip(),
        heads,
        activity: Arc::clone(&activity),
    });
    let service = service_fn(move |request| answer(Arc::clone(&line), request));
    let connection = http1_builder(limits).serve_connection(TokioIo::new(stream), service);
    drive(connection, &activity, limits, closing, (peer.ip(), on_refused)).await;
}

/// One request, to its answer.
async fn answer<C: Caller>(
    line: Arc<Line<C>>,
    request: Request<IncomingBody>,
) -> Result<Response<Body>, Infallible> {
    let serving = line.activity.begin();
    let version = request.version();
    let seen = line.heads.next();
    let fault = seen.map_or(Some(Refused::Malformed), |seen| seen.fault);
    let outcome = match fault {
        Some(fault) => Err(fault),
        None => serve(&line, request).await,
    };
    let mut response = outcome.unwrap_or_else(|refused| {
        (line.shared.agent.on_refused)(line.source, refused);
        match (&line.pass, refused) {
            (Err(why), Refused::NotAdmitted) => denied(why),
            _ => relay::refusal(refused, version),
        }
    });
    if line.pass.is_err() || seen.is_some_and(|seen| seen.is_last) {
        relay::close(&mut response, version);
    }
    Ok(response.map(|body| body.holding(serving)))
}

async fn serve<C: Caller>(
    line: &Line<C>,
    request: Request<IncomingBody>,
) -> Result<Response<Body>, Refused> {
    let Shared { agent, doors, budget } = &*line.shared;
    let (head, body) = request.into_parts();
    intake::check(&head, doors)?;
    // Read even for a process that is not admitted: a connection that is closed on a client that is
    // still sending would take the answer with it.
    let (body, _spent) = intake::read_body(body, &agent.limits, budget).await?;
    let Ok(pass) = &line.pass else { return Err(Refused::NotAdmitted) };
    if DISCOVERY.iter().any(|prefix| head.uri.path().starts_with(prefix)) {
        let why = "the agent proxy signs for the agent, no authorization server is needed";
        return Ok(relay::error_response(StatusCode::NOT_FOUND, "not_found", why));
    }
    let url = gateway_url(&agent.gateway, &head);
    let signed = agent.caller.sign(pass, head.method.as_str(), &url, &body).await;
    let signed = match signed {
        Ok(signed) => signed,
        Err(SignFault::Refused(why)) => return Ok(denied(&why)),
        Err(SignFault::Answered(Said { status, headers, body })) => {
            return Ok(relay::said(status, headers, body));
        }
        Err(SignFault::Unavailable(why)) => return Ok(unavailable(&why)),
    };
    // The agent's own credentials, if it has some, are not ours to pass on.
    let mut headers = forwardable(&relay::to_pairs(&head.headers));
    headers.extend(signed);
    let method = head.method.to_string();
    match agent.upstream.send(Forward { url, method, headers, body }).await {
        // `WWW-Authenticate` is among what does not cross: the client must not start a dance with
        // the issuer by itself.
        Ok(answer) => Ok(relay::passed_on(answer)),
        Err(fault) => {
            tracing::warn!(%fault, "the gateway gave no answer");
            let (status, error, _) = fault.on_the_wire();
            let mut response = relay::error_response(status, error, "the gateway gave no answer");
            retry(&mut response);
            Ok(response)
        }
    }
}

/// The same path and query, at the gateway.
fn gateway_url(base: &str, head: &Parts) -> String {
    let (path, query) = (head.uri.path(), head.uri.query());
    query.map_or_else(|| format!("{base}{path}"), |query| format!("{base}{path}?{query}"))
}

fn denied(why: &str) -> Response<Body> {
    relay::error_response(StatusCode::FORBIDDEN, "access_denied", why)
}

fn unavailable(why: &str) -> Response<Body> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = relay::error_response(status, "temporarily_unavailable", why);
    retry(&mut response);
    response
}

fn retry(response: &mut Response<Body>) {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
}
