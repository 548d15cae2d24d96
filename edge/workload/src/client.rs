//! A client of the Workload API, ours or anybody's, over a unix socket or loopback TCP.

use std::time::Duration;

use spiffe::{EndpointAddress, SpiffeId};
use tokio_stream::{Stream, StreamExt};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::answer::{Bundles, JwtAnswer, Validated, WitAnswer, X509Answer, X509Bundles};
use crate::convert::{self, Lacks, Message};
use crate::secret::SecretText;
use crate::wire;
use crate::wire::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use crate::{ANSWER_BYTES_MAX, header};

/// How long connecting may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

type Intercept = fn(Request<()>) -> Result<Request<()>, Status>;

/// A connection. Cheap to clone; it connects again by itself when it was lost.
#[derive(Clone, Debug)]
pub struct Client {
    calls: SpiffeWorkloadApiClient<InterceptedService<Channel, Intercept>>,
}

impl Client {
    /// Connects.
    pub async fn connect(address: &EndpointAddress) -> Result<Self, CallError> {
        let uri = match address {
            EndpointAddress::Unix(path) => format!("unix:{path}"),
            EndpointAddress::Tcp(address) => format!("http://{address}"),
        };
        let unreachable = |error: &dyn std::error::Error| CallError::Unavailable {
            message: error.source().map_or_else(|| error.to_string(), ToString::to_string),
        };
        let endpoint = Endpoint::from_shared(uri).map_err(|error| unreachable(&error))?;
        let channel = endpoint.connect_timeout(CONNECT_TIME_MAX).connect().await;
        let channel = channel.map_err(|error| unreachable(&error))?;
        let calls = SpiffeWorkloadApiClient::with_interceptor(channel, header::add as Intercept)
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { calls })
    }

    /// X.509-SVIDs with their keys: each item replaces the one before wholly.
    pub async fn x509(
        &self,
    ) -> Result<impl Stream<Item = Result<X509Answer, CallError>> + Send + use<>, CallError> {
        let answers = self.calls.clone().fetch_x509svid(wire::X509svidRequest {}).await?;
        Ok(answers.into_inner().map(|answer| Ok(X509Answer::from_wire(answer?)?)))
    }

    /// The CA certificates to validate others with.
    pub async fn x509_bundles(
        &self,
    ) -> Result<impl Stream<Item = Result<X509Bundles, CallError>> + Send + use<>, CallError> {
        let answers = self.calls.clone().fetch_x509_bundles(wire::X509BundlesRequest {}).await?;
        Ok(answers.into_inner().map(|answer| Ok(X509Bundles::from_wire(answer?)?)))
    }

    /// JWT-SVIDs for these audiences, of one SPIFFE ID or of all.
    pub async fn jwt(
        &self,
        audiences: &[&str],
        spiffe_id: Option<&SpiffeId>,
    ) -> Result<Vec<JwtAnswer>, CallError> {
        let asked = wire::JwtsvidRequest {
            audience: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
            spiffe_id: spiffe_id.map(SpiffeId::to_string).unwrap_or_default(),
        };
        Ok(Message::from_wire(self.calls.clone().fetch_jwtsvid(asked).await?.into_inner())?)
    }

    /// JWK Sets of JWT-SVID keys.
    pub async fn jwt_bundles(
        &self,
    ) -> Result<impl Stream<Item = Result<Bundles, CallError>> + Send + use<>, CallError> {
        let answers = self.calls.clone().fetch_jwt_bundles(wire::JwtBundlesRequest {}).await?;
        Ok(answers.into_inner().map(|answer| Ok(convert::jwt_bundles_from_wire(answer?)?)))
    }

    /// Whose JWT-SVID this is, if it is valid for `audience`.
    pub async fn validate_jwt(
        &self,
        audience: &str,
        token: &SecretText,
    ) -> Result<Validated, CallError> {
        let asked = wire::ValidateJwtsvidRequest {
            audience: audience.to_owned(),
            svid: token.expose().to_owned(),
        };
        Ok(Message::from_wire(self.calls.clone().validate_jwtsvid(asked).await?.into_inner())?)
    }

    /// WIT-SVIDs with their keys, of one SPIFFE ID or of all.
    pub async fn wit(
        &self,
        spiffe_id: Option<&SpiffeId>,
    ) -> Result<impl Stream<Item = Result<WitAnswer, CallError>> + Send + use<>, CallError> {
        let asked = wire::WitsvidRequest {
            spiffe_id: spiffe_id.map(SpiffeId::to_string).unwrap_or_default(),
        };
        let answers = self.calls.clone().fetch_witsvid(asked).await?;
        Ok(answers.into_inner().map(|answer| Ok(WitAnswer::from_wire(answer?)?)))
    }

    /// JWK Sets of WIT keys.
    pub async fn wit_bundles(
        &self,
    ) -> Result<impl Stream<Item = Result<Bundles, CallError>> + Send + use<>, CallError> {
        let answers = self.calls.clone().fetch_wit_bundles(wire::WitBundlesRequest {}).await?;
        Ok(answers.into_inner().map(|answer| Ok(convert::wit_bundles_from_wire(answer?)?)))
    }
}

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No identity (yet, or no longer): what was received before is no longer to be used.
    #[error("denied: {message}")]
    Denied {
        /// What the server said.
        message: String,
    },
    /// What was asked for is wrong.
    #[error("invalid request: {message}")]
    Invalid {
        /// What the server said.
        message: String,
    },
    /// The server cannot be reached, or cannot answer now.
    #[error("unavailable: {message}")]
    Unavailable {
        /// What the server or the system said.
        message: String,
    },
    /// The server does not serve this profile.
    #[error("not served here: {message}")]
    Unimplemented {
        /// What the server said.
        message: String,
    },
    /// The answer lacks a mandatory field and was discarded.
    #[error("the answer lacks a usable `{field}`")]
    Incomplete {
        /// Its name in the interface.
        field: &'static str,
    },
    /// Anything else.
    #[error("the call failed with code {code}: {message}")]
    Failed {
        /// The gRPC status code.
        code: i32,
        /// What the server said.
        message: String,
    },
}

impl CallError {
    /// Whether to try again, after a pause that grows.
    // Workload Endpoint §6: "Clients receiving this code OR clients which are unable to reach the
    // SPIFFE Workload Endpoint MAY retry with a backoff." (Unavailable; the same of
    // PermissionDenied), and of InvalidArgument: "SHOULD NOT retry".
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Unavailable { .. })
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::PermissionDenied => Self::Denied { message },
            Code::InvalidArgument => Self::Invalid { message },
            Code::Unavailable => Self::Unavailable { message },
            Code::Unimplemented => Self::Unimplemented { message },
            code => Self::Failed { code: code as i32, message },
        }
    }
}

impl From<Lacks> for CallError {
    fn from(Lacks(field): Lacks) -> Self {
        Self::Incomplete { field }
    }
}
