//! How an agent joins, renews, and says its version.

use std::sync::Arc;

use attestation::mechanism::{ANSWER_BYTES_MAX, EVIDENCE_BYTES_MAX, Role};
use env::{RenewOrder, World};
use flow::join::{Attempt, Challenge, End};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::wire::agent::agent_server::Agent;
use super::wire::agent::attest_agent_request::{Params, Step as Said};
use super::wire::agent::attest_agent_response::{Result as Joined, Step as Answer};
use super::wire::agent::{
    AgentX509svidParams, AttestAgentRequest, AttestAgentResponse, PostStatusRequest,
    PostStatusResponse, RenewAgentRequest, RenewAgentResponse,
};
use super::{Spire, convert, status};
use crate::asked::{self, MECHANISM_BYTES_MAX, Malformed};
use crate::connection::Connection;
use crate::server::Shared;
use crate::service::{self, JOIN_WAIT_MAX, malformed, unavailable};

/// The longest version that an agent may have, in bytes: SPIRE's own bound.
const VERSION_BYTES_MAX: usize = 255;

type Answers = ReceiverStream<Result<AttestAgentResponse, Status>>;

#[tonic::async_trait]
impl<W: World> Agent for Spire<W> {
    type AttestAgentStream = Answers;

    async fn attest_agent(
        &self,
        request: Request<Streaming<AttestAgentRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (answers, answered) = mpsc::channel(1);
        let (shared, connection) = (Arc::clone(&self.shared), Arc::clone(&self.connection));
        let attesting = Attesting { shared, connection };
        let said = request.into_inner();
        tokio::spawn(async move {
            let end = attesting.run(said, &answers).await;
            let last = end.map(|joined| AttestAgentResponse { step: Some(joined) });
            let _ = answers.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn renew_agent(
        &self,
        request: Request<RenewAgentRequest>,
    ) -> Result<Response<RenewAgentResponse>, Status> {
        let caller = self.caller().await?;
        let request = csr(request.into_inner().params).map_err(malformed)?;
        let (world, order) = (&*self.shared.world, RenewOrder { request });
        let renewed = flow::renew::renew(world, &caller.id, caller.epoch, order).await;
        let renewed = renewed.map_err(unavailable)?.into_value();
        match renewed {
            Ok(renewed) => {
                let svid = convert::svid(&renewed.chain, convert::workload(&caller.id));
                Ok(Response::new(RenewAgentResponse { svid: Some(svid) }))
            }
            Err(why) => {
                self.standing().await?;
                Err(status::not_renewed(&why))
            }
        }
    }

    async fn post_status(
        &self,
        request: Request<PostStatusRequest>,
    ) -> Result<Response<PostStatusResponse>, Status> {
        let caller = self.standing().await?;
        let version = request.into_inner().agent_version;
        asked::bytes("agent_version", version.as_bytes(), VERSION_BYTES_MAX).map_err(malformed)?;
        tracing::info!(agent = %caller.id, ?version, "spire api: an agent told its version");
        Ok(Response::new(PostStatusResponse {}))
    }
}

fn csr(params: Option<AgentX509svidParams>) -> Result<Vec<u8>, Malformed> {
    asked::csr("csr", params.ok_or(Malformed::Missing("params"))?.csr)
}

/// One attempt to join.
struct Attesting<W> {
    shared: Arc<Shared<W>>,
    connection: Arc<Connection>,
}

impl<W: World> Attesting<W> {
    async fn run(
        self,
        mut said: Streaming<AttestAgentRequest>,
        answers: &mpsc::Sender<Result<AttestAgentResponse, Status>>,
    ) -> Result<Answer, Status> {
        let _place = service::place(&self.shared, &self.connection)?;
        let attempt = self.read(self.attempt(next(&mut said).await?))?;
        let challenge = flow::join::challenge(&*self.shared.world, &attempt).await;
        let challenge = challenge.map_err(unavailable)?;
        let challenge =
            challenge.map_err(|why| service::stranger(&self.shared, &self.connection, &why))?;
        let Some(challenge) = challenge else { return self.decide(&attempt, None).await };
        let asked = AttestAgentResponse { step: Some(Answer::Challenge(challenge.bytes.clone())) };
        let sent = answers.send(Ok(asked)).await;
        sent.map_err(|_| Status::cancelled("the other end went"))?;
        let response = self.read(response(next(&mut said).await?))?;
        self.decide(&attempt, Some((&challenge, &response))).await
    }

    fn read<T>(&self, read: Result<T, Malformed>) -> Result<T, Status> {
        read.map_err(|why| {
            self.shared.count(self.connection.address, "link::Malformed");
            malformed(why)
        })
    }

    fn attempt(&self, said: Said) -> Result<Attempt, Malformed> {
        let Said::Params(Params { data, params }) = said else {
            return Err(Malformed::OutOfTurn("challenge_response"));
        };
        let mut data = data.ok_or(Malformed::Missing("data"))?;
        asked::text("type", &data.r#type, MECHANISM_BYTES_MAX)?;
        asked::bytes("payload", &data.payload, EVIDENCE_BYTES_MAX)?;
        Ok(Attempt {
            mechanism: std::mem::take(&mut data.r#type),
            role: Role::SpireAgent,
            evidence: std::mem::take(&mut data.payload),
            request: csr(params)?,
            source: self.connection.address.to_string(),
        })
    }

    async fn decide(
        &self,
        attempt: &Attempt,
        answer: Option<(&Challenge, &[u8])>,
    ) -> Result<Answer, Status> {
        let end = flow::join::join(&*self.shared.world, attempt, answer).await;
        let recorded = match end.map_err(unavailable)? {
            End::Decided(recorded) => recorded,
            End::Stranger(why) => {
                return Err(service::stranger(&self.shared, &self.connection, &why));
            }
        };
        match recorded.into_value() {
            Ok(joined) => Ok(Answer::Result(Joined {
                svid: Some(convert::svid(&joined.chain, convert::workload(&joined.id))),
                reattestable: !joined.once,
            })),
            Err(why) => Err(status::not_joined(&why)),
        }
    }
}

fn response(said: Said) -> Result<Vec<u8>, Malformed> {
    let Said::ChallengeResponse(response) = said else {
        return Err(Malformed::OutOfTurn("params"));
    };
    asked::bytes("challenge_response", &response, ANSWER_BYTES_MAX)?;
    Ok(response)
}

async fn next(said: &mut Streaming<AttestAgentRequest>) -> Result<Said, Status> {
    let message = timeout(JOIN_WAIT_MAX, said.message()).await;
    let message = message.map_err(|_| Status::deadline_exceeded("nothing was said"))??;
    let step = message.and_then(|message| message.step);
    step.ok_or_else(|| malformed(Malformed::Missing("step")))
}
