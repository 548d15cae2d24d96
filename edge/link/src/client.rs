//! The client of nodes and gateways: joining, and the server as a peer.

use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use attestation::mechanism::Role;
use credential::TokenText;
use env::{
    AssignedCredential, Delegation, IssueOrder, PeerFault, Peers, RenewOrder, Renewed, Unavailable,
};
use jose::Jwk;
use provisioning::renewal::Trouble;
use rustls::sign::CertifiedKey;
use time::UnixTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use wimse::{Bundles, WorkloadId};

use crate::answered::{self, Joined, senseless};
use crate::asked;
use crate::connector::{Calls, Session};
use crate::service::fault;
use crate::tls::{ExpectedServer, Presented};
use crate::wire;

/// How long the server may take for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// How long joining may take, the host's own part included.
const JOIN_TIME_MAX: Duration = Duration::from_secs(60);
/// The pause after the first failure, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Where a server is: a host, or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// `server.example:8445`, `192.0.2.1:8445` or `[2001:db8::1]:8445`.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let wrong = || NotAnAddress(text.chars().take(256).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let is_bare = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        let fits = (1..=255).contains(&host.len()) && is_bare;
        match port.parse::<u16>() {
            Ok(port) if fits && port > 0 => Ok(Self(text.to_owned())),
            _ => Err(wrong()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host and a port")]
pub struct NotAnAddress(String);

/// What a host presents to join.
#[derive(Clone)]
pub struct JoinOrder {
    /// The name of the attestation mechanism.
    pub mechanism: String,
    /// What it wants to be.
    pub role: Role,
    /// The evidence, which may be a join token.
    pub evidence: Vec<u8>,
    /// PKCS#10 request, DER, of the key that its identity will have.
    pub request: Vec<u8>,
}

impl fmt::Debug for JoinOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinOrder({} by {})", self.role.name(), self.mechanism)
    }
}

/// Joins the server `server` at `address`: it must show exactly that identity under `trust`, which
/// the host was given by other means. `answer` is asked if the mechanism has a challenge.
pub async fn join<F>(
    address: &Address,
    server: &WorkloadId,
    trust: Bundles,
    now: UnixTime,
    order: JoinOrder,
    answer: impl FnOnce(Vec<u8>) -> F + Send,
) -> Result<Joined, PeerFault>
where
    F: Future<Output = Result<Vec<u8>, Unavailable>> + Send,
{
    let peer = ExpectedServer { id: server.clone(), trust: Arc::new(trust), now };
    let opened = Session::open(address, None, peer).await;
    let session = opened.map_err(|why| Unavailable::of("server", why))?;
    let late = |_| Unavailable::of("server", "joining took too long");
    let talk = talk(session.calls.clone(), order, answer);
    let joined = timeout(JOIN_TIME_MAX, talk).await.map_err(late)??;
    let is_ours = joined.id.is_member_of(&server.origin());
    if is_ours { Ok(joined) } else { Err(senseless(format!("joined as `{}`", joined.id))) }
}

async fn talk<F>(
    mut calls: Calls,
    order: JoinOrder,
    answer: impl FnOnce(Vec<u8>) -> F,
) -> Result<Joined, PeerFault>
where
    F: Future<Output = Result<Vec<u8>, Unavailable>>,
{
    use wire::join_response::Said;
    let attempt = wire::Attempt {
        mechanism: order.mechanism,
        role: asked::role(order.role).into(),
        evidence: order.evidence,
        csr: order.request,
    };
    let (say, said) = mpsc::channel(2);
    let gone = |_| Unavailable::of("server", "the connection was lost");
    let attempt = wire::JoinRequest { said: Some(wire::join_request::Said::Attempt(attempt)) };
    say.send(attempt).await.map_err(gone)?;
    let answers = calls.join(ReceiverStream::new(said)).await;
    let mut answers = answers.map_err(|status| fault(&status))?.into_inner();
    let mut answer = Some(answer);
    loop {
        let next = answers.message().await.map_err(|status| fault(&status))?;
        let said = next.and_then(|message| message.said);
        match said.ok_or_else(|| senseless("it ended without an outcome"))? {
            Said::Joined(joined) => return answered::joined(joined),
            Said::Refused(refused) => return Err(answered::refusal(refused)),
            Said::Challenge(challenge) => {
                let answer = answer.take().ok_or_else(|| senseless("a second challenge"))?;
                let response = answer(answered::challenge(challenge)?).await?;
                let said = Some(wire::join_request::Said::Response(response));
                say.send(wire::JoinRequest { said }).await.map_err(gone)?;
            }
        }
    }
}

/// The server, as a node or gateway has it: one connection, made when it is needed, and made again
/// with a new credential, under a new bundle, and after it was lost. Clones share it.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    address: Address,
    server: WorkloadId,
    presented: Presented,
    now: Box<dyn Fn() -> UnixTime + Send + Sync>,
    trust: Mutex<Arc<Bundles>>,
    /// One at a time connects.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    failures: u32,
    again_at: Option<Instant>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(`{}` at `{}`)", self.0.server, self.0.address)
    }
}

impl Link {
    /// The server `server` at `address`, to which we show what is `presented`. `trust` is what we
    /// know before the first feed; `now` is the world's clock.
    pub fn new(
        address: Address,
        server: WorkloadId,
        presented: Presented,
        trust: Bundles,
        now: impl Fn() -> UnixTime + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            address,
            server,
            presented,
            now: Box::new(now),
            trust: Mutex::new(Arc::new(trust)),
            state: tokio::sync::Mutex::default(),
        }))
    }

    pub(crate) fn presented(&self) -> &Presented {
        &self.0.presented
    }

    /// Believes the newest bundles from now on.
    pub(crate) fn trust(&self, bundles: &Bundles) {
        let mut trust = self.0.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if **trust != *bundles {
            *trust = Arc::new(bundles.clone());
        }
    }

    fn expected(&self) -> ExpectedServer {
        let trust = self.0.trust.lock().unwrap_or_else(PoisonError::into_inner);
        ExpectedServer { id: self.0.server.clone(), trust: Arc::clone(&trust), now: (self.0.now)() }
    }

    /// Whether `session` still leads to our server.
    pub(crate) fn is_trusted(&self, session: &Session) -> bool {
        session.leads_to(&self.expected())
    }

    /// The connection, made now if there is none that may be used.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Unavailable> {
        let mut state = self.0.state.lock().await;
        let own = self.0.presented.current();
        let peer = self.expected();
        let usable = state.session.clone().filter(|session| session.leads_to(&peer));
        if let Some(session) = usable.clone().filter(|session| session.shows(&own)) {
            return Ok(session);
        }
        let opened = self.open(&state, own, peer).await;
        match opened {
            Ok(session) => {
                let session = Arc::new(session);
                let (failures, again_at) = (0, None);
                *state = State { session: Some(Arc::clone(&session)), failures, again_at };
                Ok(session)
            }
            Err(fault) => {
                // With the credential before, as long as it serves.
                state.session.clone_from(&usable);
                if !matches!(fault, Fault::Early) {
                    state.failures = state.failures.saturating_add(1);
                    state.again_at = Some(Instant::now() + self.pause(state.failures));
                }
                usable.ok_or_else(|| Unavailable::of("server", fault))
            }
        }
    }

    async fn open(
        &self,
        state: &State,
        own: Arc<CertifiedKey>,
        peer: ExpectedServer,
    ) -> Result<Session, Fault> {
        if state.again_at.is_some_and(|at| Instant::now() < at) {
            return Err(Fault::Early);
        }
        let opened = Session::open(&self.0.address, Some(own), peer).await;
        opened.map_err(Fault::Connection)
    }

    /// The pause after so many failures: twice as long each time, and between half and all of that,
    /// so that many components do not come back at once. Which part is decided by our certificate:
    /// no two have the same.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let own = self.0.presented.current();
        let longest = PAUSE_MIN.saturating_mul(1_u32 << failures.saturating_sub(1).min(16));
        let longest = longest.min(PAUSE_MAX);
        let mut hasher = DefaultHasher::new();
        (own.cert.first().map(AsRef::as_ref), failures).hash(&mut hasher);
        let part = u32::try_from(hasher.finish() % 1_024).unwrap_or_default();
        longest / 2 + longest / 2 * part / 1_024
    }

    /// One request over the current connection.
    async fn ask<T, F>(&self, request: impl FnOnce(Calls) -> F + Send) -> Result<T, PeerFault>
    where
        F: Future<Output = Result<Response<T>, Status>> + Send,
        T: Send,
    {
        let session = self.session().await?;
        let asking = request(session.calls.clone());
        let late = |_| Unavailable::of("server", "it took too long to answer");
        let answer = timeout(ANSWER_TIME_MAX, asking).await.map_err(late)?;
        answer.map(Response::into_inner).map_err(|status| fault(&status))
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("it could not be reached a moment ago")]
    Early,
    #[error("{0}")]
    Connection(String),
}

impl Peers for Link {
    async fn issue(&self, order: IssueOrder) -> Result<AssignedCredential, PeerFault> {
        let request = asked::issue_to_wire(order);
        let ask = |mut calls: Calls| async move { calls.issue(request).await };
        answered::issued(self.ask(ask).await?)
    }

    async fn renew(&self, order: RenewOrder) -> Result<Renewed, PeerFault> {
        let request = wire::RenewRequest { csr: order.request };
        let ask = |mut calls: Calls| async move { calls.renew(request).await };
        answered::renewed(self.ask(ask).await?)
    }

    async fn delegate(&self, public: Jwk) -> Result<Delegation, PeerFault> {
        let request = wire::DelegateRequest { jwk: public.to_value().to_string() };
        let ask = |mut calls: Calls| async move { calls.delegate(request).await };
        answered::delegated(self.ask(ask).await?)
    }

    async fn pending(&self, since: u64) -> Result<bool, PeerFault> {
        let request = wire::PendingRequest { since };
        let ask = |mut calls: Calls| async move { calls.pending(request).await };
        self.ask(ask).await.map(|answer| answer.pending)
    }

    async fn report(&self, troubles: Vec<Trouble>) -> Result<(), PeerFault> {
        let request = asked::report_to_wire(troubles);
        let ask = |mut calls: Calls| async move { calls.report(request).await };
        self.ask(ask).await.map(|wire::ReportResponse {}| ())
    }

    async fn token(
        &self,
        form: Vec<(String, String)>,
        headers: Vec<(&'static str, TokenText)>,
    ) -> Result<(u16, Vec<u8>), PeerFault> {
        let request = asked::token_to_wire(form, &headers);
        let ask = |mut calls: Calls| async move { calls.token(request).await };
        answered::token_answer(self.ask(ask).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, fits) in [
            ("server.example:8445", true),
            ("192.0.2.1:8445", true),
            ("[2001:db8::1]:8445", true),
            ("2001:db8::1:8445", false),
            ("server.example", false),
            ("server.example:0", false),
            ("server.example:65536", false),
            (":8445", false),
            ("", false),
        ] {
            assert_eq!(Address::parse(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn an_order_does_not_show_its_evidence() {
        let order = JoinOrder {
            mechanism: "join_token".to_owned(),
            role: Role::Node,
            evidence: b"top-secret".to_vec(),
            request: Vec::new(),
        };
        assert_eq!(format!("{order:?}"), "JoinOrder(node by join_token)");
    }
}
