//! The four methods: which broker asks, for which process, and the answer as a message or a status.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::mem::take;
use std::sync::Arc;

use prost::Message as _;
use prost_types::Any;
use socket::Budget;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use super::connection::Shown;
use super::wire::api::api_server::Api as Service;
use super::wire::{api, rpc};
use super::{Brokers, NotAdmitted};
use crate::answer::{JwtAnswer, X509Answer, X509Bundles};
use crate::convert::{self, Lacks, Message};
use crate::service::{Answers, Call, read_audiences, read_spiffe_id, reply};
use crate::workloads::{Denied, Workloads};

const HEADER: &str = "broker.spiffe.io";
const HEADER_VALUE: &str = "true";
/// How a process is referred to.
const PID_REFERENCE: &str = "/spiffe.broker.WorkloadPIDReference";
/// How the details of an error are called.
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// Lets a request pass that has the header, once, with its one value.
///
/// It is looked at when the message was read: an answer before that ends a stream that the client
/// still writes to, and some (curl 7.88) then drop the answer.
fn demand_header(metadata: &MetadataMap) -> Result<(), Status> {
    // Broker Endpoint §3: "every client request to the SPIFFE Broker Endpoint MUST include the
    // static gRPC metadata key `broker.spiffe.io` with a value of `true` (case sensitive)."
    let mut values = metadata.get_all(HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_encoded_bytes() == HEADER_VALUE.as_bytes() => Ok(()),
        // Broker Endpoint §6: "MUST respond with gRPC status code "InvalidArgument"."
        _ => Err(Status::invalid_argument(format!(
            "the request must have the header `{HEADER}: {HEADER_VALUE}`, once"
        ))),
    }
}

/// Answers the methods of the published interface.
pub(super) struct Api<B> {
    pub(super) brokers: Arc<B>,
    pub(super) calls: Arc<Budget>,
    /// Becomes true when the server stops.
    pub(super) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl<B: Brokers> Service for Api<B> {
    type SubscribeToX509SVIDStream = Answers<api::SubscribeToX509svidResponse>;
    type SubscribeToX509BundlesStream = Answers<api::SubscribeToX509BundlesResponse>;
    type SubscribeToJWTBundlesStream = Answers<api::SubscribeToJwtBundlesResponse>;

    async fn subscribe_to_x509svid(
        &self,
        request: Request<api::SubscribeToX509svidRequest>,
    ) -> Result<Response<Self::SubscribeToX509SVIDStream>, Status> {
        let (call, answers) = self.begin(&request, request.get_ref().reference.as_ref()).await?;
        let found = answers.x509(call.peer.clone());
        Ok(call.stream(found.map(|answer| entitled(answer, x509))))
    }

    async fn subscribe_to_x509_bundles(
        &self,
        request: Request<api::SubscribeToX509BundlesRequest>,
    ) -> Result<Response<Self::SubscribeToX509BundlesStream>, Status> {
        let (call, answers) = self.begin(&request, request.get_ref().reference.as_ref()).await?;
        let found = answers.x509_bundles(call.peer.clone());
        Ok(call.stream(found.map(|answer| entitled(answer, x509_bundles))))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<api::FetchJwtsvidRequest>,
    ) -> Result<Response<api::FetchJwtsvidResponse>, Status> {
        let asked = request.get_ref();
        let audiences = read_audiences(asked.audience.clone())?;
        let spiffe_id = read_spiffe_id(&asked.spiffe_id)?;
        let (call, answers) = self.begin(&request, asked.reference.as_ref()).await?;
        let found = answers.jwt(call.peer.clone(), audiences, spiffe_id);
        entitled(call.wait(found).await?, jwt).map(Response::new)
    }

    async fn subscribe_to_jwt_bundles(
        &self,
        request: Request<api::SubscribeToJwtBundlesRequest>,
    ) -> Result<Response<Self::SubscribeToJWTBundlesStream>, Status> {
        let (call, answers) = self.begin(&request, request.get_ref().reference.as_ref()).await?;
        let found = answers.jwt_bundles(call.peer.clone());
        Ok(call.stream(found.map(|answer| {
            entitled(answer, |bundles| {
                let bundles = convert::jwt_bundles_into_wire(bundles)?.bundles;
                Ok(api::SubscribeToJwtBundlesResponse { bundles })
            })
        })))
    }
}

impl<B: Brokers> Api<B> {
    /// What every call begins with: is it a broker, which process does it mean, and is there room.
    async fn begin<T: Send + Sync>(
        &self,
        request: &Request<T>,
        reference: Option<&api::WorkloadReference>,
    ) -> Result<(Call<B::Peer>, B::Answers), Status> {
        demand_header(request.metadata())?;
        let shown = request.extensions().get::<Shown>().cloned();
        let shown = shown.ok_or_else(|| Status::unauthenticated("no client certificate"))?;
        let answers = self.brokers.admit(&shown.chain).await.map_err(|why| match why {
            NotAdmitted::Unproved(_) => Status::unauthenticated(why.to_string()),
            NotAdmitted::NoBroker(_) => Status::permission_denied(why.to_string()),
            NotAdmitted::Unavailable(_) => Status::unavailable(why.to_string()),
        })?;
        let pid = pid(reference)
            .map_err(|why| status(Code::InvalidArgument, "WORKLOAD_REFERENCE_INVALID", why))?;
        let not_found = |why| status(Code::NotFound, "WORKLOAD_NOT_FOUND", why);
        let peer = self.brokers.find(pid).map_err(not_found)?;
        let permit = self.calls.take(broker_number(&shown).into()).map_err(|exhausted| {
            tracing::warn!(%exhausted, "broker api: a call was shed");
            Status::unavailable("too many calls at once")
        })?;
        let (exited, expired) = (self.brokers.exited(&peer), self.brokers.expired(&shown.chain));
        let used = shown.uses.begin();
        let mut stopping = self.stopping.clone();
        // Broker API §4.9: "Once the workload has stopped, the server MUST stop sending responses
        // for that workload".
        let end = async move {
            let _used = used;
            tokio::select! {
                // Broker Endpoint §3.1: "mutual TLS": it lasts as long as what was shown in it.
                () = expired => Status::unauthenticated("the broker's certificate has ended"),
                () = exited => not_found("the process has exited".to_owned()),
                _ = stopping.wait_for(|stops| *stops) => Status::unavailable("stopping"),
            }
        };
        Ok((Call::new(peer, permit, Box::pin(end)), answers))
    }
}

/// What a broker's calls are counted under: its certificate.
fn broker_number(shown: &Shown) -> i32 {
    let mut hasher = DefaultHasher::new();
    shown.chain.first().hash(&mut hasher);
    let [first, second, third, fourth, ..] = hasher.finish().to_be_bytes();
    i32::from_be_bytes([first, second, third, fourth])
}

/// The process that is meant.
fn pid(reference: Option<&api::WorkloadReference>) -> Result<i32, String> {
    let reference = reference.and_then(|one| one.reference.as_ref());
    let reference = reference.ok_or_else(|| "no reference".to_owned())?;
    // Broker API §3.1.4: "Servers that receive a reference type they do not recognize MUST reject
    // the request with an InvalidArgument status."
    if !reference.type_url.ends_with(PID_REFERENCE) {
        return Err("only references by process id are known here".to_owned());
    }
    let read = api::WorkloadPidReference::decode(reference.value.as_slice());
    let pid = read.map_err(|_| "the reference does not read".to_owned())?.pid;
    // Broker API §3.1.3: "The PID MUST be a positive integer."
    if pid > 0 { Ok(pid) } else { Err("the process id is not positive".to_owned()) }
}

/// The one table from answers to messages and status codes (Broker API §4.8).
fn entitled<T, M>(
    answer: Result<T, Denied>,
    into_wire: impl FnOnce(T) -> Result<M, Lacks>,
) -> Result<M, Status> {
    reply(answer, into_wire).map_err(|refused| match refused.code() {
        Code::PermissionDenied => {
            let message = refused.message().to_owned();
            status(Code::PermissionDenied, "WORKLOAD_NOT_ENTITLED", message)
        }
        _ => refused,
    })
}

/// Broker API §4.8: "Servers SHOULD include `google.rpc.ErrorInfo` details with the error
/// response".
fn status(code: Code, reason: &str, message: String) -> Status {
    let domain = "spiffe.io".to_owned();
    let info = rpc::ErrorInfo { reason: reason.to_owned(), domain, ..Default::default() };
    let details = vec![Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() }];
    let whole = rpc::Status { code: code.into(), message: message.clone(), details };
    Status::with_details(code, message, whole.encode_to_vec().into())
}

fn x509(answer: X509Answer) -> Result<api::SubscribeToX509svidResponse, Lacks> {
    let mut answer = answer.into_wire()?;
    let svid = |svid: &mut crate::wire::X509svid| api::X509svid {
        spiffe_id: take(&mut svid.spiffe_id),
        x509_svid: take(&mut svid.x509_svid),
        x509_svid_key: take(&mut svid.x509_svid_key),
        bundle: take(&mut svid.bundle),
        hint: take(&mut svid.hint),
    };
    Ok(api::SubscribeToX509svidResponse {
        svids: answer.svids.iter_mut().map(svid).collect(),
        crl: take(&mut answer.crl),
        federated_bundles: take(&mut answer.federated_bundles),
    })
}

fn x509_bundles(answer: X509Bundles) -> Result<api::SubscribeToX509BundlesResponse, Lacks> {
    let answer = answer.into_wire()?;
    Ok(api::SubscribeToX509BundlesResponse { crl: answer.crl, bundles: answer.bundles })
}

fn jwt(answer: Vec<JwtAnswer>) -> Result<api::FetchJwtsvidResponse, Lacks> {
    let mut answer = answer.into_wire()?;
    let svid = |svid: &mut crate::wire::Jwtsvid| api::Jwtsvid {
        spiffe_id: take(&mut svid.spiffe_id),
        svid: take(&mut svid.svid),
        hint: take(&mut svid.hint),
    };
    Ok(api::FetchJwtsvidResponse { svids: answer.svids.iter_mut().map(svid).collect() })
}
