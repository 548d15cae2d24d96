//! The methods: who asks is settled as in the Workload API, and so is what a refusal is called.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::subscription::{Subscription, Wrong, once};
use super::wire::{DiscoveryRequest, DiscoveryResponse, SecretDiscoveryService};
use crate::answer::X509Answer;
use crate::attest::Attest;
use crate::convert::{Lacks, filled};
use crate::service::{Answers, Service, reply};
use crate::workloads::{Denied, Workloads};

/// Responses that wait in one stream: the next request is read when the last response was taken.
const WAITING_MAX: usize = 1;

/// The service, over what answers the Workload API.
#[derive(Debug)]
pub(crate) struct Secrets<A, W>(pub(crate) Arc<Service<A, W>>);

#[tonic::async_trait]
impl<A: Attest, W: Workloads<A::Peer>> SecretDiscoveryService for Secrets<A, W> {
    type StreamSecretsStream = Answers<DiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let call = self.0.begin(self.0.profiles.x509, &request)?;
        let answers = self.0.workloads.x509(call.peer.clone());
        let (send, responses) = mpsc::channel(WAITING_MAX);
        tokio::spawn(follow(request.into_inner(), answers, send));
        Ok(call.stream(ReceiverStream::new(responses)))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let call = self.0.begin(self.0.profiles.x509, &request)?;
        let answers = self.0.workloads.x509(call.peer.clone());
        let first = call.wait(async move { pin!(answers).next().await }).await?;
        let answer = usable(first)?;
        once(&request.into_inner(), &answer).map(Response::new).map_err(status)
    }
}

/// Runs one stream until either side ends it.
async fn follow(
    mut requests: Streaming<DiscoveryRequest>,
    answers: impl Stream<Item = Result<X509Answer, Denied>> + Send,
    send: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    let mut answers = pin!(answers);
    let mut subscription = Subscription::default();
    loop {
        let step = tokio::select! {
            request = requests.message() => match request {
                Ok(Some(request)) => subscription.asked(request).map_err(status),
                // The client has no more to say, which ends the call, or is gone.
                Ok(None) | Err(_) => return,
            },
            answer = answers.next() => match usable(answer) {
                Ok(answer) => subscription.told(answer).map_err(status),
                Err(status) => Err(status),
            },
            () = send.closed() => return,
        };
        let (item, ends) = match step {
            Ok(None) => continue,
            Ok(Some(response)) => (Ok(response), false),
            Err(status) => (Err(status), true),
        };
        if send.send(item).await.is_err() || ends {
            return;
        }
    }
}

/// An answer with an identity in it.
fn usable(answer: Option<Result<X509Answer, Denied>>) -> Result<X509Answer, Status> {
    let answer = answer.unwrap_or_else(|| Err(Denied::Unavailable("no answer".to_owned())));
    reply(answer, |mut answer| {
        answer.svids = filled("svids", answer.svids)?;
        Ok::<_, Lacks>(answer)
    })
}

fn status(wrong: Wrong) -> Status {
    if wrong.is_ours() {
        tracing::error!(%wrong, "sds: a response was not sent");
        return Status::internal("the answer is malformed");
    }
    Status::invalid_argument(wrong.to_string())
}
