//! The requests at the server: read, prove who asks, run the flow, answer.

use std::sync::Arc;
use std::time::Duration;

use env::{PeerFault, Recorded, Seq, Unavailable, World};
use flow::join::{Attempt, Challenge, End};
use oauth::client_attestation_pop::{ATTESTATION_FIELD, POP_FIELD};
use oauth::dpop;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::asked::{self, Malformed};
use crate::caller::{self, Caller, Callers, Unproved};
use crate::connection::Connection;
use crate::publisher::{self, Feed};
use crate::server::{Door, Shared, TokenCall};
use crate::wire::node_server::Node;
use crate::{answered, wire};

/// How long a host may take for each thing that it says.
pub(crate) const JOIN_WAIT_MAX: Duration = Duration::from_secs(10);
/// The headers that authenticate a client of the token endpoint.
pub(crate) const TOKEN_HEADERS: &[&str] = &[ATTESTATION_FIELD, POP_FIELD, dpop::FIELD];

/// The requests of one connection.
pub(crate) struct Service<W> {
    shared: Arc<Shared<W>>,
    connection: Arc<Connection>,
    stopping: watch::Receiver<bool>,
}

type Answers = ReceiverStream<Result<wire::JoinResponse, Status>>;

impl<W: World> Service<W> {
    pub(crate) const fn new(
        shared: Arc<Shared<W>>,
        connection: Arc<Connection>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { shared, connection, stopping }
    }

    /// Who asks, by the bundles and the time of this request.
    async fn caller(&self) -> Result<Caller, Status> {
        let proved =
            caller::caller(&*self.shared.world, &self.connection.chain, Callers::Components).await;
        proved.map_err(unavailable)?.map_err(|unproved| {
            self.shared.count(self.connection.address, unproved.check());
            denied(&unproved)
        })
    }

    fn joining(&self) -> Joining<W> {
        Joining { shared: Arc::clone(&self.shared), connection: Arc::clone(&self.connection) }
    }
}

#[tonic::async_trait]
impl<W: World> Node for Service<W> {
    type JoinStream = Answers;
    type FeedStream = Feed;

    async fn join(
        &self,
        request: Request<Streaming<wire::JoinRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (answers, answered) = mpsc::channel(1);
        let (joining, said) = (self.joining(), request.into_inner());
        tokio::spawn(async move {
            if let Err(status) = joining.run(said, &answers).await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        use wire::renew_response::Outcome;
        let caller = self.caller().await?;
        let order = asked::renew(request.into_inner()).map_err(malformed)?;
        let recorded = flow::renew::renew(&*self.shared.world, &caller.id, caller.epoch, order);
        let recorded = recorded.await.map_err(unavailable)?;
        let outcome = match recorded.value() {
            Ok(renewed) => Outcome::Renewed(wire::Chain { certificates: renewed.chain.clone() }),
            Err(why) => Outcome::Refused(answered::refused(&recorded, why, why.check())),
        };
        Ok(Response::new(wire::RenewResponse { outcome: Some(outcome) }))
    }

    async fn issue(
        &self,
        request: Request<wire::IssueRequest>,
    ) -> Result<Response<wire::IssueResponse>, Status> {
        use wire::issue_response::Outcome;
        let caller = self.caller().await?;
        let order = asked::issue(request.into_inner()).map_err(malformed)?;
        let recorded = flow::issue::issue(&*self.shared.world, &caller.id, caller.epoch, order);
        let recorded = recorded.await.map_err(unavailable)?;
        let outcome = match recorded.value() {
            Ok(credential) => answered::issued_to_wire(credential),
            Err(why) => Outcome::Refused(answered::refused(&recorded, why, why.check())),
        };
        Ok(Response::new(wire::IssueResponse { outcome: Some(outcome) }))
    }

    async fn feed(&self, request: Request<wire::FeedRequest>) -> Result<Response<Feed>, Status> {
        let caller = self.caller().await?;
        let since = Seq(request.into_inner().since);
        let (shared, connection) = (Arc::clone(&self.shared), Arc::clone(&self.connection));
        Ok(Response::new(publisher::open(shared, connection, caller, since, self.stopping.clone())))
    }

    async fn delegate(
        &self,
        request: Request<wire::DelegateRequest>,
    ) -> Result<Response<wire::DelegateResponse>, Status> {
        use wire::delegate_response::Outcome;
        let caller = self.caller().await?;
        let public = asked::delegate(&request.into_inner()).map_err(malformed)?;
        let world = &*self.shared.world;
        let recorded = flow::delegate::delegate(world, &caller.id, caller.epoch, public);
        let recorded = recorded.await.map_err(unavailable)?;
        let outcome = match recorded.value() {
            Ok(leave) => Outcome::Delegation(wire::Delegation {
                kid: leave.kid.as_str().to_owned(),
                until: leave.until.millis(),
            }),
            Err(why) => Outcome::Refused(answered::refused(&recorded, why, why.check())),
        };
        Ok(Response::new(wire::DelegateResponse { outcome: Some(outcome) }))
    }

    async fn pending(
        &self,
        request: Request<wire::PendingRequest>,
    ) -> Result<Response<wire::PendingResponse>, Status> {
        let caller = self.caller().await?;
        let since = Seq(request.into_inner().since);
        let world = &*self.shared.world;
        let found = flow::feed::pending(world, &caller.id, caller.epoch, since).await;
        let pending = found.map_err(unavailable)?.map_err(|why| {
            self.shared.count(self.connection.address, "link::NotInForce");
            Status::permission_denied(why.to_string())
        })?;
        Ok(Response::new(wire::PendingResponse { pending }))
    }

    async fn report(
        &self,
        request: Request<wire::ReportRequest>,
    ) -> Result<Response<wire::ReportResponse>, Status> {
        let caller = self.caller().await?;
        let in_force = caller::is_in_force(&*self.shared.world, &caller).await;
        in_force.map_err(unavailable)?.map_err(|why| {
            self.shared.count(self.connection.address, "link::NotInForce");
            Status::permission_denied(why.to_string())
        })?;
        let troubles = asked::report(request.into_inner()).map_err(malformed)?;
        self.shared.heard(&caller.id, Some(troubles));
        Ok(Response::new(wire::ReportResponse {}))
    }

    async fn token(
        &self,
        request: Request<wire::TokenRequest>,
    ) -> Result<Response<wire::TokenResponse>, Status> {
        let caller = self.caller().await?;
        let in_force = caller::is_in_force(&*self.shared.world, &caller).await;
        in_force.map_err(unavailable)?.map_err(|why| {
            self.shared.count(self.connection.address, "link::NotInForce");
            Status::permission_denied(why.to_string())
        })?;
        let parts = asked::token(request.into_inner(), TOKEN_HEADERS).map_err(malformed)?;
        let (form, headers) = parts;
        let source = self.connection.address;
        let call = TokenCall { component: caller.id, source, form, headers };
        let Door::Nodes { token_endpoint, .. } = &self.shared.door else {
            return Err(Status::unimplemented("no token endpoint here"));
        };
        let answer = token_endpoint(call).await;
        let (status, body) = answer.map_err(unavailable)?;
        Ok(Response::new(wire::TokenResponse { status: status.into(), body }))
    }
}

/// One attempt to join.
struct Joining<W> {
    shared: Arc<Shared<W>>,
    connection: Arc<Connection>,
}

impl<W: World> Joining<W> {
    async fn run(
        self,
        mut said: Streaming<wire::JoinRequest>,
        answers: &mpsc::Sender<Result<wire::JoinResponse, Status>>,
    ) -> Result<(), Status> {
        use wire::join_response::Said;
        let _place = place(&self.shared, &self.connection)?;
        let attempt = self.attempt(&mut said).await?;
        let challenge = flow::join::challenge(&*self.shared.world, &attempt).await;
        let challenge = challenge.map_err(unavailable)?.map_err(|why| self.stranger(&why))?;
        let answer = match &challenge {
            None => None,
            Some(challenge) => {
                let bytes = challenge.bytes.clone();
                say(answers, Said::Challenge(bytes)).await?;
                Some((challenge, self.response(&mut said).await?))
            }
        };
        let answer = answer.as_ref().map(|(challenge, said)| (*challenge, said.as_slice()));
        let outcome = self.decide(&attempt, answer).await?;
        say(answers, outcome).await
    }

    async fn attempt(&self, said: &mut Streaming<wire::JoinRequest>) -> Result<Attempt, Status> {
        match next(said).await? {
            wire::join_request::Said::Attempt(attempt) => {
                asked::attempt(attempt, self.connection.address.to_string())
            }
            wire::join_request::Said::Response(_) => Err(Malformed::OutOfTurn("response")),
        }
        .map_err(|why| {
            self.shared.count(self.connection.address, "link::Malformed");
            malformed(why)
        })
    }

    async fn response(&self, said: &mut Streaming<wire::JoinRequest>) -> Result<Vec<u8>, Status> {
        match next(said).await? {
            wire::join_request::Said::Response(response) => asked::response(response),
            wire::join_request::Said::Attempt(_) => Err(Malformed::OutOfTurn("attempt")),
        }
        .map_err(|why| {
            self.shared.count(self.connection.address, "link::Malformed");
            malformed(why)
        })
    }

    async fn decide(
        &self,
        attempt: &Attempt,
        answer: Option<(&Challenge, &[u8])>,
    ) -> Result<wire::join_response::Said, Status> {
        use wire::join_response::Said;
        let world = &*self.shared.world;
        let end = flow::join::join(world, attempt, answer).await.map_err(unavailable)?;
        let recorded: Recorded<_> = match end {
            End::Decided(recorded) => recorded,
            End::Stranger(why) => return Err(self.stranger(&why)),
        };
        match recorded.value() {
            Ok(joined) => Ok(Said::Joined(wire::Joined {
                id: joined.id.to_string(),
                chain: joined.chain.clone(),
                bundle: caller::bundle(world).await.map_err(unavailable)?,
            })),
            Err(why) => Ok(Said::Refused(answered::refused(&recorded, why, why.check()))),
        }
    }

    fn stranger(&self, why: &flow::join::Refusal) -> Status {
        stranger(&self.shared, &self.connection, why)
    }
}

/// One place among the attempts to join of this source.
pub(crate) fn place<'a, W>(
    shared: &Shared<W>,
    connection: &'a Connection,
) -> Result<tokio::sync::SemaphorePermit<'a>, Status> {
    let source = &connection.source;
    let place = source.joins.try_acquire().ok().filter(|_| source.may_join(Instant::now()));
    place.ok_or_else(|| {
        shared.count(connection.address, "link::Rate");
        Status::resource_exhausted("too many attempts from this address; try again later")
    })
}

/// Counts one who proved nothing, and tells no more than that: neither what exists here nor what
/// policy allows.
pub(crate) fn stranger<W>(
    shared: &Shared<W>,
    connection: &Connection,
    why: &flow::join::Refusal,
) -> Status {
    tracing::debug!(%why, address = %connection.address, "node api: a stranger");
    shared.count(connection.address, why.check());
    Status::permission_denied("the attempt to join was refused; ask the operator")
}

async fn next(said: &mut Streaming<wire::JoinRequest>) -> Result<wire::join_request::Said, Status> {
    let message = timeout(JOIN_WAIT_MAX, said.message()).await;
    let message = message.map_err(|_| Status::deadline_exceeded("nothing was said"))??;
    let said = message.and_then(|message| message.said);
    said.ok_or_else(|| malformed(Malformed::Missing("said")))
}

async fn say(
    answers: &mpsc::Sender<Result<wire::JoinResponse, Status>>,
    said: wire::join_response::Said,
) -> Result<(), Status> {
    let message = wire::JoinResponse { said: Some(said) };
    answers.send(Ok(message)).await.map_err(|_| Status::cancelled("the other end went"))
}

/// An answer cannot be given now. Why is for the operator alone.
pub(crate) fn unavailable(unavailable: Unavailable) -> Status {
    tracing::warn!(%unavailable, "node api: no answer");
    Status::unavailable("the server cannot answer now; try again")
}

/// RFC 9110 §15.5.2 keeps "who are you" apart from "you may not", and so do the statuses of gRPC:
/// with another credential the first may end well.
pub(crate) fn denied(unproved: &Unproved) -> Status {
    match unproved {
        Unproved::NoCertificate | Unproved::Svid(_) => {
            Status::unauthenticated(unproved.to_string())
        }
        Unproved::Foreign(_) | Unproved::Below(_) | Unproved::NotAComponent(..) => {
            Status::permission_denied(unproved.to_string())
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a conversion, for `map_err`")]
pub(crate) fn malformed(why: Malformed) -> Status {
    Status::invalid_argument(why.to_string())
}

/// What a status says to a client: whether to ask again.
pub(crate) fn fault(status: &Status) -> PeerFault {
    use tonic::Code;
    let refused = |check: &str| PeerFault::Refused {
        check: check.to_owned(),
        message: status.message().to_owned(),
    };
    match status.code() {
        Code::Unauthenticated => refused("link::Unauthenticated"),
        Code::PermissionDenied => refused("link::PermissionDenied"),
        Code::InvalidArgument => refused("link::InvalidArgument"),
        // The message is over a bound.
        Code::OutOfRange => refused("link::OutOfRange"),
        code => Unavailable::of("server", format!("{code:?}: {}", status.message())).into(),
    }
}
