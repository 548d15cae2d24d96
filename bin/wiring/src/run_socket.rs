//! The node's socket for `aims run`: the process that asks will become the agent (it calls `exec`),
//! and gets a loopback listener that serves it alone (SEC-01, SEC-04).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use attestors::{Attestors, Peer, tcp};
use env::{Index, Store, Table, World};
use flow::proxy::{Outbound, Tokens, sign};
use flow::workload::{Attested, attest};
use gateway::Target;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy::{Agent, Caller, Limits, Outgoing, Said, SignFault, Upstream, bind_loopback};
use registry::AgentRecord;
use socket::{Budget, Permit, Socket};
use tokio::net::UnixStream;

use super::prepare::Strangers;
use super::workloads::{RECORD_ON_ITS_WAY, is_pending, measure};

/// Of the socket: whoever may start an agent is told by its record, not by the file.
const MODE: u32 = 0o666;
/// The longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 4_096;
/// How long a connection may last: there is one request on it.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(15);
/// The most connections at once, and the most of them of one user.
const CONNECTIONS_MAX: usize = 512;
const USER_CONNECTIONS_MAX: usize = 64;
/// The most listeners of one process, whatever it becomes: it asks once.
const PROCESS_LISTENERS_MAX: usize = 4;
/// The most listeners of one user, and of all: each is a port, and a task that waits.
const USER_LISTENERS_MAX: usize = 1_024;
const LISTENERS_MAX: usize = 8_192;
/// The most agents that one node's records are searched for a name.
const RECORDS_MAX: usize = 100_000;

/// What serves `aims run` on a node.
pub struct Runs<W> {
    /// The node's world.
    pub world: Arc<W>,
    /// What measures a process.
    pub attestors: Arc<Attestors>,
    /// The way to the gateway.
    pub upstream: Upstream,
    /// Access tokens of the agents here.
    pub tokens: Arc<Tokens>,
    /// Refusals of callers that proved nothing.
    pub strangers: Arc<Strangers>,
}

/// How much is open: nobody takes what others need.
#[derive(Clone)]
struct Places {
    connections: Arc<Budget>,
    of_processes: Arc<Budget>,
    of_users: Arc<Budget>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            connections: Budget::new(USER_CONNECTIONS_MAX, CONNECTIONS_MAX),
            of_processes: Budget::new(PROCESS_LISTENERS_MAX, LISTENERS_MAX),
            of_users: Budget::new(USER_LISTENERS_MAX, LISTENERS_MAX),
        }
    }
}

impl Places {
    /// Room for one listener more.
    fn listener(&self, peer: &Peer) -> Result<(Permit, Permit), socket::Exhausted> {
        let user = self.of_users.take(peer.uid().into())?;
        Ok((self.of_processes.take(peer.pid().into())?, user))
    }
}

/// Binds the socket.
pub fn bind(path: &Path) -> Result<Socket, String> {
    Socket::bind(path, MODE).map_err(|error| error.to_string())
}

/// Serves as long as it is polled.
pub async fn serve<W: World>(runs: Arc<Runs<W>>, socket: Socket) {
    let places = Places::default();
    loop {
        match socket.accept().await {
            Ok(stream) => {
                let peer = match Peer::of(&stream) {
                    Ok(peer) => peer,
                    Err(error) => {
                        tracing::warn!(%error, "run socket");
                        continue;
                    }
                };
                let place = match places.connections.take(peer.uid().into()) {
                    Ok(place) => place,
                    Err(exhausted) => {
                        tracing::warn!(%exhausted, "run socket: a connection was closed");
                        continue;
                    }
                };
                let (runs, places) = (Arc::clone(&runs), places.clone());
                tokio::spawn(async move {
                    let served = connection(runs, places, (stream, peer));
                    if tokio::time::timeout(CONNECTION_TIME_MAX, served).await.is_err() {
                        tracing::debug!("run socket: a connection took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "run socket");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection<W: World>(
    runs: Arc<Runs<W>>,
    places: Places,
    (stream, peer): (UnixStream, Peer),
) {
    let service = service_fn(move |request| {
        let (runs, places, peer) = (Arc::clone(&runs), places.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(runs, places, peer, request).await) }
    });
    let mut served = http1::Builder::new();
    let served = served.keep_alive(false).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "run socket");
    }
}

async fn answer<W: World>(
    runs: Arc<Runs<W>>,
    places: Places,
    peer: Peer,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::POST || request.uri().path() != "/v1/run" {
        return told(StatusCode::NOT_FOUND, "not_found", "there is only `POST /v1/run`", "");
    }
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await;
    let Ok(body) = body else {
        return told(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request is too long", "");
    };
    #[derive(serde::Deserialize)]
    struct Asked {
        agent: String,
    }
    let Ok(asked) = serde_json::from_slice::<Asked>(&body.to_bytes()) else {
        return told(StatusCode::BAD_REQUEST, "malformed", "send `{\"agent\": NAME}`", "");
    };
    match start(runs, &places, peer, &asked.agent).await {
        Ok((base_url, agent)) => {
            let body = serde_json::json!({ "base_url": base_url, "agent": agent });
            json(StatusCode::OK, &body)
        }
        Err((code, message, hint)) => told(StatusCode::FORBIDDEN, code, &message, hint),
    }
}

type Refused = (&'static str, String, &'static str);

/// Finds the record, looks whether this user may start it, and opens a listener for the process.
async fn start<W: World>(
    runs: Arc<Runs<W>>,
    places: &Places,
    peer: Peer,
    name: &str,
) -> Result<(String, String), Refused> {
    let unavailable = |why: String| ("unavailable", why, "the node cannot answer; try again");
    let agent = awaited(runs.world.as_ref(), name).await.map_err(unavailable)?;
    let agent = agent.ok_or_else(|| {
        let message = format!("no agent `{name}` on this node");
        ("unknown", message, "`aims agent list` shows the agents; `aims agent register` makes one")
    })?;
    let users: Vec<_> = agent
        .entry
        .rule
        .selectors
        .iter()
        .filter(|selector| selector.name() == "unix:uid")
        .map(|selector| selector.as_str().to_owned())
        .collect();
    let own = format!("unix:uid:{}", peer.uid());
    if !users.is_empty() && !users.contains(&own) {
        let message = format!("user {} may not start `{name}`", peer.uid());
        return Err(("refused", message, "the agent's record names the user that runs it"));
    }
    let place = places.listener(&peer).map_err(|exhausted| {
        tracing::warn!(%exhausted, "run socket: no listener more");
        let message = "too many agents were started".to_owned();
        ("unavailable", message, "end some that this user runs, or try again")
    })?;
    let fault = |error: std::io::Error| ("unavailable", error.to_string(), "");
    let listener = bind_loopback().await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    let id = agent.id.to_string();
    let caller = Running {
        world: Arc::clone(&runs.world),
        attestors: Arc::clone(&runs.attestors),
        tokens: Arc::clone(&runs.tokens),
        peer: peer.clone(),
        agent: id.clone(),
    };
    let strangers = Arc::clone(&runs.strangers);
    let serving = Agent {
        caller: Arc::new(caller),
        upstream: runs.upstream.clone(),
        gateway: runs.world.site().gateway.clone(),
        limits: Limits::default(),
        on_refused: Arc::new(move |source, refused| strangers.count(&source, refused.check())),
    };
    tokio::spawn(async move {
        let gone = async move {
            // An error means that it can no longer be watched: then it is served no longer.
            let _ = peer.exited().await;
        };
        if let Err(error) = serving.serve(listener, gone).await {
            tracing::warn!(%error, "agent proxy");
        }
        drop(place);
    });
    Ok((format!("http://{address}"), id))
}

/// The record of that name; one that was registered a moment ago is on its way to this node.
async fn awaited<W: World>(world: &W, name: &str) -> Result<Option<Arc<AgentRecord>>, String> {
    let until = tokio::time::Instant::now() + RECORD_ON_ITS_WAY;
    loop {
        let fault = |why: env::Unavailable| why.to_string();
        let told = flow::feed::told(world).await.map_err(fault)?;
        let heard = flow::feed::heard(world).await.map_err(fault)?;
        let found = named(world, name).await?;
        let seq = heard.map_or(0, |feed| feed.seq);
        if found.is_some() || !is_pending(world, seq).await {
            return Ok(found);
        }
        let news = flow::feed::news(world, told);
        if tokio::time::timeout_at(until, news).await.is_err() {
            return Ok(found);
        }
    }
}

async fn named<W: World>(world: &W, name: &str) -> Result<Option<Arc<AgentRecord>>, String> {
    let page = world.store().scan(Table::Agents, Index::All, "", None, RECORDS_MAX).await;
    for row in &page.map_err(|error| error.to_string())?.rows {
        let agent = row.value::<AgentRecord>().map_err(|error| error.to_string())?;
        if let Some(agent) = agent.filter(|agent| agent.entry.name.as_str() == name) {
            return Ok(Some(agent));
        }
    }
    Ok(None)
}

/// The one process that a listener serves.
struct Running<W> {
    world: Arc<W>,
    attestors: Arc<Attestors>,
    tokens: Arc<Tokens>,
    peer: Peer,
    agent: String,
}

impl<W: World> Caller for Running<W> {
    type Pass = Attested;

    /// Whether the connection is the started process's own, and that process is the agent, measured
    /// now.
    async fn admit(&self, local: SocketAddr, peer: SocketAddr) -> Result<Attested, String> {
        let process = self.peer.clone();
        let owned = tokio::task::spawn_blocking(move || tcp::owner_is(&process, local, peer)).await;
        match owned {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                return Err(not_the_one(self.peer.pid()));
            }
            Ok(Err(error)) => return Err(error.to_string()),
            Err(error) => return Err(error.to_string()),
        }
        let measured = measure(self.world.as_ref(), &self.peer, &self.attestors).await;
        let process = measured.map_err(|error| error.to_string())?.map_err(|not| {
            let audit = not.id.map(|id| format!(" (audit {id})")).unwrap_or_default();
            format!("this process cannot be measured{audit}")
        })?;
        let end = attest(self.world.as_ref(), process, false).await;
        let end = end.map_err(|error| error.to_string())?;
        let id = end.audit_id().map(|id| format!(" (audit {id})")).unwrap_or_default();
        let attested = end.into_value().map_err(|refusal| format!("{refusal}{id}"))?;
        if attested.agent.id.as_str() != self.agent {
            return Err(format!("this process is `{}`, not `{}`", attested.agent.id, self.agent));
        }
        Ok(attested)
    }

    async fn sign(
        &self,
        pass: &Attested,
        method: &str,
        url: &str,
        body: &[u8],
    ) -> Result<Vec<(String, Vec<u8>)>, SignFault> {
        let base = &self.world.site().gateway;
        let rest = url.strip_prefix(base.as_str()).unwrap_or(url);
        let (path, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let target =
            Target::parse(path, query).map_err(|error| SignFault::Refused(error.to_string()))?;
        let call = Outbound { method, target: &target, body };
        match sign(self.world.as_ref(), &self.tokens, pass, call).await {
            Ok(Ok(signed)) => Ok(signed
                .headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.expose().as_bytes().to_vec()))
                .collect()),
            Ok(Err(refused)) => Err(told_of(base, &refused)),
            Err(why) => Err(SignFault::Unavailable(why.to_string())),
        }
    }
}

/// What a process is told that is not the one which `aims run` became.
fn not_the_one(pid: i32) -> String {
    format!(
        "this address serves process {pid} alone, the one that `aims run` started, and none of its \
         children (`sh -c`, `npm` and `npx` start one); let a script `exec` the program, \
         or name the program itself: `aims run --agent NAME -- PROGRAM`"
    )
}

/// What the agent is told of a call that is not signed. What the gateway would refuse, too, it is
/// told as by the gateway.
fn told_of(base: &str, refused: &flow::proxy::Refused) -> SignFault {
    let Some(refusal) = refused.refusal.as_gateways() else {
        let id = refused.audit.map(|id| format!(" (audit {id})")).unwrap_or_default();
        return SignFault::Refused(format!("{}{id}", refused.refusal));
    };
    let mut same = flow::call::Refused::bare(refusal);
    (same.rpc, same.policy) = (refused.rpc.clone(), Some(refused.policy.clone()));
    match super::gate::refusal::<()>(base, &same, refused.audit) {
        Outgoing::Reply { status, headers, body } => {
            SignFault::Answered(Said { status, headers, body })
        }
        Outgoing::Relay(..) => SignFault::Refused(refused.refusal.to_string()),
    }
}

fn told(status: StatusCode, error: &str, message: &str, hint: &str) -> Response<Full<Bytes>> {
    let mut body = serde_json::json!({ "error": error, "message": message });
    if let (false, Some(body)) = (hint.is_empty(), body.as_object_mut()) {
        body.insert("hint".to_owned(), hint.into());
    }
    json(status, &body)
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listeners_of_a_process_are_bounded() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&socket).unwrap();
        let places = Places::default();
        let held: Vec<_> =
            (0..PROCESS_LISTENERS_MAX).map(|_| places.listener(&peer).unwrap()).collect();
        assert!(places.listener(&peer).is_err());
        // A refusal takes no place of the user's.
        for _ in 0..USER_LISTENERS_MAX {
            assert!(places.listener(&peer).is_err());
        }
        drop(held);
        assert!(places.listener(&peer).is_ok());
    }
}
