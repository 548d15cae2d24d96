//! The server: bounds, the header, the accept loop, and an orderly end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use socket::Budget;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server as Transport;

use crate::attest::Attest;
use crate::header;
use crate::listener::{CONNECTIONS_MAX, Listener, PROCESS_CONNECTIONS_MAX};
use crate::sds::{SecretDiscoveryServiceServer, Secrets};
use crate::service::Service;
use crate::wire::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use crate::workloads::Workloads;
use crate::{ANSWER_BYTES_MAX, REQUEST_BYTES_MAX};

/// The most calls of one process at once; a stream is a call as long as it lasts.
pub const PROCESS_CALLS_MAX: usize = 64;
/// The most calls at once.
pub const CALLS_MAX: usize = 16_384;

/// The longest header of a request, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// How long a call may take until its answer, or its stream, begins.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How long open connections may take to end when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// Which profiles are served.
// Workload API §1: "The X.509-SVID and JWT-SVID profiles are mandatory and MUST be supported by
// SPIFFE implementations. However, operators MAY administratively disable a specific profile in
// their deployment. The WIT-SVID Profile is optional"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profiles {
    /// X.509-SVIDs and CA certificates.
    pub x509: bool,
    /// JWT-SVIDs, their keys, and their validation.
    pub jwt: bool,
    /// WIT-SVIDs and their keys (Incubating).
    pub wit: bool,
}

impl Profiles {
    /// All of them.
    pub const ALL: Self = Self { x509: true, jwt: true, wit: true };
}

/// A Workload API that can be served, and Envoy's secret discovery beside it.
#[derive(Debug)]
pub struct Server<A, W> {
    attest: Arc<A>,
    workloads: Arc<W>,
    profiles: Profiles,
}

impl<A, W> Server<A, W>
where
    A: Attest,
    A::Peer: Unpin,
    W: Workloads<A::Peer>,
{
    /// `attest` tells who connects, `workloads` what they get.
    pub fn new(attest: Arc<A>, workloads: Arc<W>, profiles: Profiles) -> Self {
        Self { attest, workloads, profiles }
    }

    /// Serves until `stop` ends; then every stream ends with `Unavailable`, and clients come back.
    pub async fn serve(
        self,
        listener: Listener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let (stops, stopping) = watch::channel(false);
        let service = Arc::new(Service {
            attest: Arc::clone(&self.attest),
            workloads: self.workloads,
            profiles: self.profiles,
            calls: Budget::new(PROCESS_CALLS_MAX, CALLS_MAX),
            stopping: stopping.clone(),
        });
        let secrets = SecretDiscoveryServiceServer::new(Secrets(Arc::clone(&service)))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let service = SpiffeWorkloadApiServer::from_arc(service)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let (accepted, connections) = mpsc::channel(1);
        let attest = self.attest;
        let accepting = async move {
            let budget = Budget::new(PROCESS_CONNECTIONS_MAX, CONNECTIONS_MAX);
            loop {
                let connection = listener.accept(attest.as_ref(), &budget).await;
                if accepted.send(connection).await.is_err() {
                    return;
                }
            }
        };
        let mut ended = stopping.clone();
        let serving = Transport::builder()
            .max_concurrent_streams(u32::try_from(PROCESS_CALLS_MAX).ok())
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .timeout(CALL_TIME_MAX)
            .add_service(InterceptedService::new(service, header::demand))
            .add_service(secrets)
            .serve_with_incoming_shutdown(
                ReceiverStream::new(connections).map(Ok::<_, std::io::Error>),
                async move {
                    let _ = ended.wait_for(|stops| *stops).await;
                },
            );
        let stopped = async move {
            stop.await;
            stops.send_replace(true);
            tokio::time::sleep(STOP_TIME_MAX).await;
        };
        tokio::select! {
            served = serving => served.map_err(|error| ServeError { why: error.to_string() }),
            () = stopped => Ok(()),
            () = accepting => Ok(()),
        }
    }
}

/// The transport failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the workload api cannot be served: {why}")]
pub struct ServeError {
    /// What it said.
    pub why: String,
}
