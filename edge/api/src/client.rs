//! A client of the operators' socket, for the command line: one connection an order.

mod approvals;
mod people;

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use credential::federation::Terms;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use identifier::AgentName;
use provisioning::{Act, NodeAct};
use registry::{AgentRecord, Registration};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::Span;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use wimse::WorkloadId;

use crate::admin::messages::{
    ClientInformation, ClientTokenShown, DocumentOrder, DocumentShown, Ending, EvidenceShown,
    JoinTokenShown, KeyOrder, Line, NewClientToken, NewJoinToken, NodeShown, Page, PolicyApplied,
    PolicyFiles, PolicyInForce, PolicyOrder, PolicyPlan, Problem, Reason, RelationShown, RingShown,
    RotateOrder, Status, TraceShown,
};
use crate::answer::{AUDIT_ID, JSON};
use crate::lines::Broken;

/// Bytes of an answer: a page of records of full size.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bytes of one line of a stream: a record of full size as an OCSF event.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// How long an order may take.
const ORDER_MAX: Duration = Duration::from_secs(60);

/// What was done, and the record of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<T> {
    /// What was answered.
    pub value: T,
    /// The audit id of the decision.
    pub audit_id: Option<String>,
}

/// Why an order was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The server says why.
    #[error("{}", .0.message)]
    Problem(Box<Problem>),
    /// Nobody listens on the socket.
    #[error("no server listens on `{}`: {why}", .socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        why: String,
    },
    /// An order about nobody.
    #[error("the name or id is empty")]
    Nameless,
    /// The server did not answer as a server does.
    #[error("the answer of the server does not read: {why}")]
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
}

impl Fault {
    /// What the command line exits with (docs/design.md §4).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Problem(problem) => problem.outcome.exit_code(),
            Self::Nameless => Ending::Misused.exit_code(),
            Self::Unreachable { .. } | Self::Unreadable { .. } => Ending::Unavailable.exit_code(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => problem.hint.as_deref(),
            Self::Nameless => None,
            Self::Unreachable { .. } => {
                Some("is the server running, and is this its directory, and are you its user?")
            }
            Self::Unreadable { .. } => {
                Some("the server may be of another version than the command")
            }
        }
    }

    fn unreadable(why: impl ToString) -> Self {
        Self::Unreadable { why: why.to_string() }
    }
}

/// The socket of a server.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The server whose operators' socket is at this path.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// A join token, shown once.
    pub async fn create_join_token(
        &self,
        order: &NewJoinToken,
    ) -> Result<Told<JoinTokenShown>, Fault> {
        self.post("/v1/join-tokens", order).await
    }

    /// Registers an agent.
    pub async fn register_agent(&self, entry: &Registration) -> Result<Told<AgentRecord>, Fault> {
        self.post("/v1/agents", entry).await
    }

    /// A page of agents.
    pub async fn agents(
        &self,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<AgentRecord>, Fault> {
        self.get(&paged("/v1/agents", after, limit)).await
    }

    /// One agent.
    pub async fn agent(&self, name: &AgentName) -> Result<AgentRecord, Fault> {
        self.get(&format!("/v1/agents/{name}")).await
    }

    /// Suspends, resumes, revokes or retires an agent.
    pub async fn move_agent(
        &self,
        name: &AgentName,
        act: Act,
        reason: &str,
    ) -> Result<Told<AgentRecord>, Fault> {
        let reason = Reason { reason: reason.to_owned() };
        self.post(&format!("/v1/agents/{name}/{act}"), &reason).await
    }

    /// The documents of an agent, and what was found out about it.
    pub async fn evidence(&self, name: &AgentName) -> Result<EvidenceShown, Fault> {
        self.get(&format!("/v1/evidence/{name}")).await
    }

    /// Brings a document about an agent, or takes away the one of that kind.
    pub async fn change_evidence(
        &self,
        name: &AgentName,
        kind: &str,
        document: Option<&[u8]>,
    ) -> Result<Told<Vec<DocumentShown>>, Fault> {
        let kind = segment(kind);
        let order = DocumentOrder { document: document.map(attestation::evidence::to_text) };
        self.post(&format!("/v1/evidence/{name}/{kind}"), &order).await
    }

    /// Registers a client: RFC 7591 metadata as JSON, any members.
    pub async fn register_client(
        &self,
        metadata: &serde_json::Value,
    ) -> Result<Told<ClientInformation>, Fault> {
        self.post("/v1/clients", metadata).await
    }

    /// A page of clients.
    pub async fn clients(
        &self,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<ClientInformation>, Fault> {
        self.get(&paged("/v1/clients", after, limit)).await
    }

    /// Makes an initial access token.
    pub async fn client_token(
        &self,
        order: &NewClientToken,
    ) -> Result<Told<ClientTokenShown>, Fault> {
        self.post("/v1/client-tokens", order).await
    }

    /// Enables a client.
    pub async fn enable_client(&self, id: &str) -> Result<Told<ClientInformation>, Fault> {
        let nothing = serde_json::json!({});
        self.post(&format!("/v1/clients/{}/enable", segment(id)), &nothing).await
    }

    /// One client.
    pub async fn client(&self, id: &str) -> Result<ClientInformation, Fault> {
        self.get(&format!("/v1/clients/{}", segment(id))).await
    }

    /// Disables a client.
    pub async fn disable_client(&self, id: &str) -> Result<Told<ClientInformation>, Fault> {
        let nothing = serde_json::json!({});
        self.post(&format!("/v1/clients/{}/disable", segment(id)), &nothing).await
    }

    /// Begins a relation to another trust domain.
    pub async fn add_relation(&self, terms: &Terms) -> Result<Told<RelationShown>, Fault> {
        self.post("/v1/federation", terms).await
    }

    /// Every relation, by trust domain.
    pub async fn relations(&self) -> Result<Vec<RelationShown>, Fault> {
        self.get("/v1/federation").await
    }

    /// One relation.
    pub async fn relation(&self, domain: &str) -> Result<RelationShown, Fault> {
        self.get(&format!("/v1/federation/{}", segment(domain))).await
    }

    /// Has its endpoint asked now.
    pub async fn refresh_relation(&self, domain: &str) -> Result<Told<RelationShown>, Fault> {
        let nothing = serde_json::json!({});
        self.post(&format!("/v1/federation/{}/refresh", segment(domain)), &nothing).await
    }

    /// Ends a relation.
    pub async fn remove_relation(&self, domain: &str) -> Result<Told<RelationShown>, Fault> {
        let nothing = serde_json::json!({});
        self.post(&format!("/v1/federation/{}/remove", segment(domain)), &nothing).await
    }

    /// What a policy set would change.
    pub async fn plan_policy(&self, order: &PolicyFiles) -> Result<PolicyPlan, Fault> {
        self.post("/v1/policy/plan", order).await.map(|told| told.value)
    }

    /// Puts a policy set into force.
    pub async fn apply_policy(&self, order: &PolicyOrder) -> Result<Told<PolicyPlan>, Fault> {
        self.post("/v1/policy/apply", order).await
    }

    /// The sets that were in force, the newest first.
    pub async fn policy_history(&self) -> Result<Vec<PolicyApplied>, Fault> {
        self.get("/v1/policy/history").await
    }

    /// The set in force.
    pub async fn current_policy(&self) -> Result<PolicyInForce, Fault> {
        self.get("/v1/policy/current").await
    }

    /// A page of hosts and gateways.
    pub async fn nodes(
        &self,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<NodeShown>, Fault> {
        self.get(&paged("/v1/nodes", after, limit)).await
    }

    /// One host or gateway, and the agents there.
    pub async fn node(&self, id: &WorkloadId) -> Result<NodeShown, Fault> {
        self.get(&format!("/v1/nodes/{}", segment(id.as_str()))).await
    }

    /// Suspends, resumes, revokes or forgets a host or gateway.
    pub async fn move_node(
        &self,
        id: &WorkloadId,
        act: NodeAct,
        reason: &str,
    ) -> Result<Told<NodeShown>, Fault> {
        let reason = Reason { reason: reason.to_owned() };
        self.post(&format!("/v1/nodes/{}/{act}", segment(id.as_str())), &reason).await
    }

    /// The public side of our signing keys.
    pub async fn keys(&self) -> Result<Vec<RingShown>, Fault> {
        self.get("/v1/keys").await
    }

    /// Makes a signing key that begins after `lead`.
    pub async fn rotate_key(
        &self,
        purpose: &str,
        lead: Option<Span>,
        reason: &str,
    ) -> Result<Told<RingShown>, Fault> {
        let order =
            RotateOrder { lead_seconds: lead.map(Span::seconds), reason: reason.to_owned() };
        self.post(&format!("/v1/authorities/{}/rotate", segment(purpose)), &order).await
    }

    /// Lets a key sign no longer.
    pub async fn taint_key(
        &self,
        kid: &str,
        urgent: bool,
        reason: &str,
    ) -> Result<Told<RingShown>, Fault> {
        let order = KeyOrder { urgent, reason: reason.to_owned() };
        self.post(&format!("/v1/keys/{}/taint", segment(kid)), &order).await
    }

    /// Trusts a tainted key no longer.
    pub async fn revoke_key(&self, kid: &str, reason: &str) -> Result<Told<RingShown>, Fault> {
        let order = KeyOrder { urgent: false, reason: reason.to_owned() };
        self.post(&format!("/v1/keys/{}/revoke", segment(kid)), &order).await
    }

    /// How the server is.
    pub async fn status(&self) -> Result<Status, Fault> {
        self.get("/v1/status").await
    }

    /// The end of a log: `from` an index, or the `last` so many; with `follow` for ever.
    pub async fn tail(
        &self,
        log: Option<&str>,
        (from, last): (Option<u64>, Option<u64>),
        follow: bool,
    ) -> Result<Lines, Fault> {
        let (from, last) = (from.map(|n| n.to_string()), last.map(|n| n.to_string()));
        let given = [
            ("log", log),
            ("from", from.as_deref()),
            ("last", last.as_deref()),
            ("follow", follow.then_some("true")),
        ];
        self.stream(&with("/v1/audit/tail", &given)).await
    }

    /// A log, or a span of it in milliseconds since the epoch; `format` is `aims` or `ocsf`.
    pub async fn export(
        &self,
        log: Option<&str>,
        (from, to): (Option<u64>, Option<u64>),
        format: &str,
    ) -> Result<Lines, Fault> {
        let (from, to) = (from.map(|n| n.to_string()), to.map(|n| n.to_string()));
        let given = [
            ("log", log),
            ("from_ms", from.as_deref()),
            ("to_ms", to.as_deref()),
            ("format", Some(format)),
        ];
        self.stream(&with("/v1/audit/export", &given)).await
    }

    /// One record by its audit id.
    pub async fn record(&self, id: &str) -> Result<Line, Fault> {
        self.get(&format!("/v1/audit/records/{}", segment(id))).await
    }

    /// Records with a term, oldest first.
    pub async fn find(
        &self,
        (term, value): (&str, &str),
        log: Option<&str>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<Line>, Fault> {
        let limit = limit.map(|limit| limit.to_string());
        let given = [
            ("term", Some(term)),
            ("value", Some(value)),
            ("log", log),
            ("after", after),
            ("limit", limit.as_deref()),
        ];
        self.get(&with("/v1/audit/find", &given)).await
    }

    /// The story of a task: by root, transaction or token id.
    pub async fn trace(&self, root: &str) -> Result<TraceShown, Fault> {
        self.get(&format!("/v1/audit/trace/{}", segment(root))).await
    }

    /// A proof that an entry is in its log: a `c2sp.org/tlog-proof@v1` file.
    pub async fn prove(&self, log: &str, index: u64) -> Result<String, Fault> {
        let path = format!("/v1/audit/proof/{}/{index}", segment(log));
        let answer = self.send(Method::GET, &path, None).await?;
        let bytes = whole(answer).await?;
        String::from_utf8(bytes).map_err(Fault::unreadable)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let answer = self.send(Method::GET, path, None).await?;
        read(&whole(answer).await?)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        order: &impl Serialize,
    ) -> Result<Told<T>, Fault> {
        let body = serde_json::to_vec(order).map_err(Fault::unreadable)?;
        let answer = self.send(Method::POST, path, Some(body)).await?;
        let id = answer.response.headers().get(AUDIT_ID);
        let audit_id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        Ok(Told { value: read(&whole(answer).await?)?, audit_id })
    }

    async fn stream(&self, path: &str) -> Result<Lines, Fault> {
        let answer = self.send(Method::GET, path, None).await?;
        if !answer.response.status().is_success() {
            return Err(problem(&whole(answer).await?));
        }
        Ok(Lines { answer, pending: Vec::new(), ended: false })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Fault> {
        let names = path.split('?').next().unwrap_or_default();
        if names.ends_with('/') || names.contains("//") {
            return Err(Fault::Nameless);
        }
        let unreachable = |why: &dyn std::fmt::Display| Fault::Unreachable {
            socket: self.socket.clone(),
            why: why.to_string(),
        };
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| unreachable(&error))?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| unreachable(&error))?;
        let driver = Driver(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the operators' socket broke");
            }
        }));
        let mut request = Request::builder().method(method).uri(path).header(HOST, "admin");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(Fault::unreadable)?;
        let response = tokio::time::timeout(ORDER_MAX, sender.send_request(request)).await;
        let response = response.map_err(|_| unreachable(&"it did not answer in time"))?;
        let response = response.map_err(|error| unreachable(&error))?;
        Ok(Answer { response, _driver: driver })
    }
}

/// Lines of JSON as they come.
#[derive(Debug)]
pub struct Lines {
    answer: Answer,
    pending: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// The next line without its end; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<String>, Fault> {
        loop {
            if let Some(at) = self.pending.iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(at + 1);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.pop();
                let line = String::from_utf8(line).map_err(Fault::unreadable)?;
                return match serde_json::from_str::<Broken>(&line) {
                    Ok(broken) => Err(Fault::Problem(broken.problem)),
                    Err(_) => Ok(Some(line)),
                };
            }
            if self.ended {
                let whole = self.pending.is_empty();
                return if whole { Ok(None) } else { Err(Fault::unreadable("half a line")) };
            }
            if self.pending.len() > LINE_BYTES_MAX {
                return Err(Fault::unreadable("a line that is too long"));
            }
            match self.answer.response.body_mut().frame().await {
                None => self.ended = true,
                Some(Err(error)) => return Err(Fault::unreadable(error)),
                Some(Ok(frame)) => {
                    self.pending.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
            }
        }
    }
}

/// An answer, and the task that drives its connection.
#[derive(Debug)]
struct Answer {
    response: Response<Incoming>,
    _driver: Driver,
}

/// Ends the connection when it is dropped.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of an answer that is no problem.
async fn whole(answer: Answer) -> Result<Vec<u8>, Fault> {
    let Answer { response, _driver } = answer;
    let is_success = response.status().is_success();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    let body = tokio::time::timeout(ORDER_MAX, body).await.map_err(Fault::unreadable)?;
    let body = body.map_err(Fault::unreadable)?.to_bytes().to_vec();
    if is_success { Ok(body) } else { Err(problem(&body)) }
}

fn problem(body: &[u8]) -> Fault {
    match serde_json::from_slice(body) {
        Ok(problem) => Fault::Problem(Box::new(problem)),
        Err(error) => Fault::unreadable(error),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(Fault::unreadable)
}

fn paged(path: &str, after: Option<&str>, limit: Option<usize>) -> String {
    let limit = limit.map(|limit| limit.to_string());
    with(path, &[("after", after), ("limit", limit.as_deref())])
}

/// A path with the parameters that were given.
fn with(path: &str, given: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in given {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A text as one segment of a path (RFC 3986 §2.1: all but unreserved characters are encoded).
fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            // Writing to a string does not fail.
            _ => drop(write!(segment, "%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id that is empty is nobody's: what was asked for then is something else, or nothing.
    #[tokio::test]
    async fn an_order_about_nobody_is_misused() {
        let nowhere = Client::new(Path::new("/nonexistent/admin.sock"));
        let fault = nowhere.user("").await.unwrap_err();
        assert_eq!(
            (fault.to_string(), fault.exit_code()),
            ("the name or id is empty".to_owned(), 2)
        );
        assert!(matches!(nowhere.end_session("", "why").await, Err(Fault::Nameless)));
        assert!(matches!(nowhere.user("ada").await, Err(Fault::Unreachable { .. })));
    }
}
