//! The seven methods: who asks, what is asked, and the answer as a message or a status.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket::{Budget, Permit};
use spiffe::SpiffeId;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::attest::Attest;
use crate::convert::{self, Lacks, Message};
use crate::listener::Caller;
use crate::secret::SecretText;
use crate::server::Profiles;
use crate::wire;
use crate::wire::spiffe_workload_api_server::SpiffeWorkloadApi;
use crate::workloads::{Denied, Workloads};

/// The most audiences of one JWT-SVID.
pub const AUDIENCES_MAX: usize = 16;
/// The longest audience, in bytes.
pub const AUDIENCE_BYTES_MAX: usize = 2_048;

/// Answers the methods of the published interface.
#[derive(Debug)]
pub(crate) struct Service<A, W> {
    pub(crate) attest: Arc<A>,
    pub(crate) workloads: Arc<W>,
    pub(crate) profiles: Profiles,
    pub(crate) calls: Arc<Budget>,
    /// Becomes true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// A stream of messages.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl<A: Attest, W: Workloads<A::Peer>> SpiffeWorkloadApi for Service<A, W> {
    type FetchX509SVIDStream = Answers<wire::X509svidResponse>;
    type FetchX509BundlesStream = Answers<wire::X509BundlesResponse>;
    type FetchJWTBundlesStream = Answers<wire::JwtBundlesResponse>;
    type FetchWITSVIDStream = Answers<wire::WitsvidResponse>;
    type FetchWITBundlesStream = Answers<wire::WitBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<wire::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let call = self.begin(self.profiles.x509, &request)?;
        let answers = self.workloads.x509(call.peer.clone());
        Ok(call.stream(answers.map(|answer| reply(answer, Message::into_wire))))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<wire::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let call = self.begin(self.profiles.x509, &request)?;
        let answers = self.workloads.x509_bundles(call.peer.clone());
        Ok(call.stream(answers.map(|answer| reply(answer, Message::into_wire))))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<wire::JwtsvidRequest>,
    ) -> Result<Response<wire::JwtsvidResponse>, Status> {
        let call = self.begin(self.profiles.jwt, &request)?;
        let asked = request.into_inner();
        let audiences = read_audiences(asked.audience)?;
        let spiffe_id = read_spiffe_id(&asked.spiffe_id)?;
        let answer = self.workloads.jwt(call.peer.clone(), audiences, spiffe_id);
        reply(call.wait(answer).await?, Message::into_wire).map(Response::new)
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<wire::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let call = self.begin(self.profiles.jwt, &request)?;
        let answers = self.workloads.jwt_bundles(call.peer.clone());
        Ok(call.stream(answers.map(|answer| reply(answer, convert::jwt_bundles_into_wire))))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<wire::ValidateJwtsvidRequest>,
    ) -> Result<Response<wire::ValidateJwtsvidResponse>, Status> {
        let call = self.begin(self.profiles.jwt, &request)?;
        let asked = request.into_inner();
        // Workload API §6.2.3: "All fields in the `ValidateJWTSVIDRequest` and
        // `ValidateJWTSVIDResponse` message are mandatory."
        let audience = read_audience(asked.audience)?;
        let token = mandatory("svid", asked.svid).map(SecretText::new)?;
        let answer = self.workloads.validate_jwt(call.peer.clone(), audience, token);
        reply(call.wait(answer).await?, Message::into_wire).map(Response::new)
    }

    async fn fetch_witsvid(
        &self,
        request: Request<wire::WitsvidRequest>,
    ) -> Result<Response<Self::FetchWITSVIDStream>, Status> {
        let call = self.begin(self.profiles.wit, &request)?;
        let spiffe_id = read_spiffe_id(&request.into_inner().spiffe_id)?;
        let answers = self.workloads.wit(call.peer.clone(), spiffe_id);
        Ok(call.stream(answers.map(|answer| reply(answer, Message::into_wire))))
    }

    async fn fetch_wit_bundles(
        &self,
        request: Request<wire::WitBundlesRequest>,
    ) -> Result<Response<Self::FetchWITBundlesStream>, Status> {
        let call = self.begin(self.profiles.wit, &request)?;
        let answers = self.workloads.wit_bundles(call.peer.clone());
        Ok(call.stream(answers.map(|answer| reply(answer, convert::wit_bundles_into_wire))))
    }
}

impl<A: Attest, W> Service<A, W> {
    /// What every call begins with: is the profile on, who calls, and is there room.
    pub(crate) fn begin<T>(
        &self,
        profile_on: bool,
        request: &Request<T>,
    ) -> Result<Call<A::Peer>, Status> {
        // Workload API §7: "Where a server does not support the WIT-SVID profile, calls to all RPCs
        // defined by the WIT-SVID profile MUST return the "Unimplemented" gRPC status code."
        // And §1, of the others: "operators MAY administratively disable a specific profile".
        if !profile_on {
            return Err(Status::unimplemented("the profile is switched off"));
        }
        let caller = request.extensions().get::<Caller<A::Peer>>();
        let Some(Caller { peer }) = caller.cloned() else {
            return Err(Status::permission_denied("the caller is not known"));
        };
        // Workload Endpoint §6: "if it is still initializing or it is performing load shedding,
        // clients will receive the gRPC status code "Unavailable"."
        let permit = self.calls.take(self.attest.process(&peer).into()).map_err(|exhausted| {
            tracing::warn!(%exhausted, "workload api: a call was shed");
            Status::unavailable("too many calls at once")
        })?;
        let exited = self.attest.exited(&peer);
        let mut stopping = self.stopping.clone();
        let end = async move {
            tokio::select! {
                () = exited => Status::permission_denied("the process that connected has exited"),
                _ = stopping.wait_for(|stops| *stops) => Status::unavailable("stopping"),
            }
        };
        Ok(Call { peer, permit, end: Box::pin(end) })
    }
}

/// A call that may run, until its end comes.
pub(crate) struct Call<Peer> {
    pub(crate) peer: Peer,
    permit: Permit,
    end: Pin<Box<dyn Future<Output = Status> + Send>>,
}

impl<Peer> Call<Peer> {
    pub(crate) fn new(
        peer: Peer,
        permit: Permit,
        end: Pin<Box<dyn Future<Output = Status> + Send>>,
    ) -> Self {
        Self { peer, permit, end }
    }

    pub(crate) fn stream<T>(
        self,
        answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Response<Answers<T>>
    where
        T: 'static,
    {
        Response::new(Box::pin(Guarded {
            answers: Box::pin(answers),
            end: self.end,
            permit: Some(self.permit),
        }))
    }

    pub(crate) async fn wait<T>(self, answer: impl Future<Output = T>) -> Result<T, Status> {
        tokio::select! {
            biased;
            status = self.end => Err(status),
            answer = answer => Ok(answer),
        }
    }
}

/// A stream of answers that its call can end. The next answer is made when the last one was taken:
/// a slow reader holds back nobody but itself.
struct Guarded<T> {
    answers: Answers<T>,
    end: Pin<Box<dyn Future<Output = Status> + Send>>,
    /// Gone once the stream has ended.
    permit: Option<Permit>,
}

impl<T> Stream for Guarded<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.permit.is_none() {
            return Poll::Ready(None);
        }
        let next = match self.end.as_mut().poll(context) {
            Poll::Ready(status) => Some(Err(status)),
            Poll::Pending => std::task::ready!(self.answers.as_mut().poll_next(context)),
        };
        if !matches!(next, Some(Ok(_))) {
            self.permit = None;
        }
        Poll::Ready(next)
    }
}

/// The one table from answers to messages and status codes (Workload Endpoint, Appendix A).
pub(crate) fn reply<T, M>(
    answer: Result<T, Denied>,
    into_wire: impl FnOnce(T) -> Result<M, Lacks>,
) -> Result<M, Status> {
    match answer.map(into_wire) {
        Ok(Ok(message)) => Ok(message),
        // Workload API §5.2.1: "If the client is not entitled to receive any X509-SVIDs, then the
        // server SHOULD respond with the "PermissionDenied" gRPC status code"
        Ok(Err(Lacks("svids" | "bundles"))) => Err(Status::permission_denied("no identity")),
        Ok(Err(lacks)) => {
            tracing::error!(%lacks, "workload api: an answer was not sent");
            Err(Status::internal("the answer is incomplete"))
        }
        Err(Denied::NoIdentity(why)) => Err(Status::permission_denied(why)),
        Err(Denied::Invalid(why)) => Err(Status::invalid_argument(why)),
        Err(Denied::Unavailable(why)) => Err(Status::unavailable(why)),
    }
}

/// Workload API §4.5: "Servers receiving a message in which a mandatory field has a default value
/// SHOULD respond with the "InvalidArgument" gRPC status code"
fn mandatory<T: convert::Filled>(field: &'static str, value: T) -> Result<T, Status> {
    convert::filled(field, value).map_err(|lacks| Status::invalid_argument(lacks.to_string()))
}

pub(crate) fn read_audiences(audiences: Vec<String>) -> Result<Vec<String>, Status> {
    if audiences.len() > AUDIENCES_MAX {
        let why = format!("{} audiences, at most {AUDIENCES_MAX} are taken", audiences.len());
        return Err(Status::invalid_argument(why));
    }
    mandatory("audience", audiences)?.into_iter().map(read_audience).collect()
}

fn read_audience(audience: String) -> Result<String, Status> {
    let audience = mandatory("audience", audience)?;
    if audience.len() > AUDIENCE_BYTES_MAX {
        let why = format!("an audience is longer than {AUDIENCE_BYTES_MAX} bytes");
        return Err(Status::invalid_argument(why));
    }
    Ok(audience)
}

/// Workload API §6.2.1: "If unspecified, the server MUST return JWT-SVIDs for all identities
/// authorized for the client."
pub(crate) fn read_spiffe_id(text: &str) -> Result<Option<SpiffeId>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = SpiffeId::parse(text).map(Some);
    read.map_err(|error| Status::invalid_argument(format!("`spiffe_id`: {error}")))
}
