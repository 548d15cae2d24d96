//! What the service asks of those who decide.

use std::future::Future;

use spiffe::SpiffeId;
use tokio_stream::Stream;

use crate::answer::{Bundles, JwtAnswer, Validated, WitAnswer, X509Answer, X509Bundles};
use crate::secret::SecretText;

/// Answers for the process at the other end. Each item of a stream is a complete answer, the first
/// comes at once and the next when something changed; a stream ends with a [`Denied`] when the
/// identity is withdrawn.
// Workload API §4.3: "Every stream response message sent by the server MUST include the full set of
// information, and not just the information which has changed."
pub trait Workloads<Peer>: Send + Sync + 'static {
    /// X.509-SVIDs with their keys.
    fn x509(&self, peer: Peer) -> impl Stream<Item = Result<X509Answer, Denied>> + Send + 'static;

    /// The CA certificates to validate others with.
    fn x509_bundles(
        &self,
        peer: Peer,
    ) -> impl Stream<Item = Result<X509Bundles, Denied>> + Send + 'static;

    /// JWT-SVIDs for these audiences, at least one; for one SPIFFE ID, or all.
    fn jwt(
        &self,
        peer: Peer,
        audiences: Vec<String>,
        spiffe_id: Option<SpiffeId>,
    ) -> impl Future<Output = Result<Vec<JwtAnswer>, Denied>> + Send;

    /// JWK Sets of JWT-SVID keys alone.
    fn jwt_bundles(
        &self,
        peer: Peer,
    ) -> impl Stream<Item = Result<Bundles, Denied>> + Send + 'static;

    /// Whose JWT-SVID this is, and what it claims, if it is valid for this audience.
    fn validate_jwt(
        &self,
        peer: Peer,
        audience: String,
        token: SecretText,
    ) -> impl Future<Output = Result<Validated, Denied>> + Send;

    /// WIT-SVIDs with their keys; of one SPIFFE ID, or all.
    fn wit(
        &self,
        peer: Peer,
        spiffe_id: Option<SpiffeId>,
    ) -> impl Stream<Item = Result<WitAnswer, Denied>> + Send + 'static;

    /// JWK Sets of WIT keys; every key has a `kid`.
    fn wit_bundles(
        &self,
        peer: Peer,
    ) -> impl Stream<Item = Result<Bundles, Denied>> + Send + 'static;
}

/// Why there is no answer. The text goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No identity is defined for this process, or it was withdrawn.
    #[error("no identity: {0}")]
    NoIdentity(String),
    /// What was asked for is malformed.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// Not now: starting, overloaded, or cut off from what is needed.
    #[error("unavailable: {0}")]
    Unavailable(String),
}
