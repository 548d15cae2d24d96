//! SVIDs for the workloads of an agent, and authorities for servers below ours.

use credential::jwt_svid::{AUDIENCE_BYTES_MAX, AUDIENCES_MAX};
use env::{AssignedCredential, IssueKind, Unavailable, World};
use flow::nested::Asker;
use flow::spire::{Claimed, Refusal};
use time::Span;
use tonic::{Code, Request, Response, Status};

use super::wire::svid::batch_new_x509svid_response::Result as One;
use super::wire::svid::svid_server::Svid;
use super::wire::svid::{
    BatchNewX509svidRequest, BatchNewX509svidResponse, NewDownstreamX509caRequest,
    NewDownstreamX509caResponse, NewJwtsvidRequest, NewJwtsvidResponse, NewX509svidParams,
};
use super::wire::types;
use super::{Spire, convert, status};
use crate::asked::{self, Malformed};
use crate::caller::Caller;
use crate::service::{malformed, unavailable};

/// The most X.509-SVIDs of one request: as many as an agent asks for at most.
const BATCH_MAX: usize = 500;
/// The longest id of an entry, in bytes.
const ENTRY_BYTES_MAX: usize = 255;

#[tonic::async_trait]
impl<W: World> Svid for Spire<W> {
    async fn batch_new_x509svid(
        &self,
        request: Request<BatchNewX509svidRequest>,
    ) -> Result<Response<BatchNewX509svidResponse>, Status> {
        let caller = self.standing().await?;
        let params = request.into_inner().params;
        asked::many("params", params.len(), BATCH_MAX).map_err(malformed)?;
        if params.is_empty() {
            return Err(malformed(Malformed::Missing("params")));
        }
        let mut results = Vec::with_capacity(params.len());
        for params in params {
            results.push(self.x509(&caller, params).await.map_err(unavailable)?);
        }
        Ok(Response::new(BatchNewX509svidResponse { results }))
    }

    async fn new_downstream_x509ca(
        &self,
        request: Request<NewDownstreamX509caRequest>,
    ) -> Result<Response<NewDownstreamX509caResponse>, Status> {
        self.authority(request.into_inner()).await.map(Response::new)
    }

    async fn new_jwtsvid(
        &self,
        request: Request<NewJwtsvidRequest>,
    ) -> Result<Response<NewJwtsvidResponse>, Status> {
        let caller = self.standing().await?;
        let NewJwtsvidRequest { entry_id, audience } = request.into_inner();
        asked::text("entry_id", &entry_id, ENTRY_BYTES_MAX).map_err(malformed)?;
        asked::many("audience", audience.len(), AUDIENCES_MAX).map_err(malformed)?;
        if audience.is_empty() {
            return Err(malformed(Malformed::Missing("audience")));
        }
        for one in &audience {
            asked::text("audience", one, AUDIENCE_BYTES_MAX).map_err(malformed)?;
        }
        let kind = IssueKind::Jwt { audiences: audience };
        let issued = self.issue(&caller, &entry_id, &kind).await.map_err(unavailable)?;
        match issued {
            Ok(Claimed {
                credential: AssignedCredential::Jwt { token, expires },
                spiffe_id,
                issued,
            }) => {
                let svid = types::Jwtsvid {
                    token: token.expose().to_owned(),
                    id: Some(convert::id(&spiffe_id)),
                    expires_at: convert::seconds(expires),
                    issued_at: convert::seconds(issued),
                    hint: String::new(),
                };
                Ok(Response::new(NewJwtsvidResponse { svid: Some(svid) }))
            }
            Ok(_) => Err(Status::internal("another credential than asked for")),
            Err(why) => {
                let refused = status::not_issued(&why);
                Err(Status::new(Code::from(refused.code), refused.message))
            }
        }
    }
}

impl<W: World> Spire<W> {
    /// An authority of a server below ours.
    async fn authority(
        &self,
        asked: NewDownstreamX509caRequest,
    ) -> Result<NewDownstreamX509caResponse, Status> {
        let caller = self.server().await?;
        let request = asked::csr("csr", asked.csr).map_err(malformed)?;
        let wanted = match u64::try_from(asked.preferred_ttl) {
            Ok(0) => None,
            Ok(seconds) => Some(Span::from_seconds(seconds)),
            Err(_) => return Err(Status::invalid_argument("`preferred_ttl` is negative")),
        };
        let asker = Asker { id: &caller.id, epoch: caller.epoch };
        let world = &*self.shared.world;
        let made = flow::nested::certify(world, asker, &request, wanted).await;
        let made = made.map_err(unavailable)?.into_value();
        let answer = made.map_err(|why| status::not_nested(&why))?;
        Ok(NewDownstreamX509caResponse {
            ca_cert_chain: answer.chain,
            x509_authorities: answer.roots,
        })
    }

    /// One of a batch: what is wrong with it is no matter of the others.
    async fn x509(&self, caller: &Caller, params: NewX509svidParams) -> Result<One, Unavailable> {
        let NewX509svidParams { entry_id, csr } = params;
        let read = asked::text("entry_id", &entry_id, ENTRY_BYTES_MAX)
            .and_then(|()| asked::csr("csr", csr));
        let request = match read {
            Ok(request) => request,
            Err(why) => {
                let (code, message) = (Code::InvalidArgument.into(), why.to_string());
                return Ok(One { status: Some(types::Status { code, message }), svid: None });
            }
        };
        Ok(match self.issue(caller, &entry_id, &IssueKind::X509 { request }).await? {
            Ok(Claimed { credential: AssignedCredential::X509 { chain }, spiffe_id, .. }) => One {
                status: Some(types::Status { code: Code::Ok.into(), message: "OK".to_owned() }),
                svid: Some(convert::svid(&chain, Some(convert::id(&spiffe_id)))),
            },
            Ok(_) => {
                let message = "another credential than asked for".to_owned();
                let status = types::Status { code: Code::Internal.into(), message };
                One { status: Some(status), svid: None }
            }
            Err(why) => One { status: Some(status::not_issued(&why)), svid: None },
        })
    }

    async fn issue(
        &self,
        caller: &Caller,
        entry: &str,
        kind: &IssueKind,
    ) -> Result<Result<Claimed, Refusal>, Unavailable> {
        let world = &*self.shared.world;
        let recorded = flow::spire::issue(world, &caller.id, caller.epoch, entry, kind).await?;
        Ok(recorded.into_value())
    }
}
