//! Our own other components, as a node or a gateway sees the server.

use std::future::Future;

use attestation::unix::Process;
use credential::TokenText;
use jose::{Jwk, KeyId};
use provisioning::renewal::Trouble;
use time::UnixTime;
use wimse::WorkloadId;

use crate::Unavailable;

/// Which credential a node asks for, for a workload that it attested.
#[derive(Clone, Debug)]
pub enum IssueKind {
    /// An X.509-SVID for the key that signed this PKCS#10 request (DER).
    X509 {
        /// The request.
        request: Vec<u8>,
    },
    /// A WIT for the key that signed this PKCS#10 request (DER).
    Wit {
        /// The request.
        request: Vec<u8>,
    },
    /// A JWT-SVID for these audiences: a bearer credential, so without a key.
    Jwt {
        /// Its audiences, at least one.
        audiences: Vec<String>,
    },
}

/// What a node asks of the server: this process was measured here, and is to be this agent.
#[derive(Clone, Debug)]
pub struct IssueOrder {
    /// The agent whose rule the process matches.
    pub agent: WorkloadId,
    /// What was measured, at this issuance (PROV-03).
    pub process: Process,
    /// Which credential.
    pub kind: IssueKind,
}

/// What the server answers.
#[derive(Clone, Debug)]
pub enum AssignedCredential {
    /// Certificates in DER, leaf first, without the authority's own.
    X509 {
        /// The chain.
        chain: Vec<Vec<u8>>,
    },
    /// A workload identity token.
    Wit {
        /// The compact token.
        token: TokenText,
    },
    /// A JWT-SVID.
    Jwt {
        /// The compact token.
        token: TokenText,
        /// When it ends.
        expires: UnixTime,
    },
}

/// A node or gateway asks for a new credential of its own.
#[derive(Clone, Debug)]
pub struct RenewOrder {
    /// PKCS#10 request, DER, for the new key.
    pub request: Vec<u8>,
}

/// The new credential.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
}

/// The right of a gateway to sign transaction tokens with a key of its own.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The key's id in the published key set.
    pub kid: KeyId,
    /// Until when tokens may be signed with it.
    pub until: UnixTime,
}

/// Why a component did not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// The server decided against it; asking again does not help.
    #[error("the server refused: {message}")]
    Refused {
        /// The check that fired.
        check: String,
        /// In words.
        message: String,
    },
    /// No answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The server, for nodes and gateways. The connection is mutually authenticated by X.509-SVIDs.
pub trait Peers: Send + Sync + 'static {
    /// A credential for a workload here.
    fn issue(
        &self,
        order: IssueOrder,
    ) -> impl Future<Output = Result<AssignedCredential, PeerFault>> + Send;

    /// A new credential for this component.
    fn renew(&self, order: RenewOrder) -> impl Future<Output = Result<Renewed, PeerFault>> + Send;

    /// Leave for this gateway to sign transaction tokens with the key `public`.
    fn delegate(&self, public: Jwk) -> impl Future<Output = Result<Delegation, PeerFault>> + Send;

    /// Tells which renewals fail here, all of them; none when all is well again.
    fn report(&self, troubles: Vec<Trouble>) -> impl Future<Output = Result<(), PeerFault>> + Send;

    /// Whether there is anything for this component that the feed has not told after `since`.
    fn pending(&self, since: u64) -> impl Future<Output = Result<bool, PeerFault>> + Send;

    /// A request to the token endpoint in the name of an agent here: the form, and the headers
    /// that authenticate it. Answers the status and the JSON body.
    fn token(
        &self,
        form: Vec<(String, String)>,
        headers: Vec<(&'static str, TokenText)>,
    ) -> impl Future<Output = Result<(u16, Vec<u8>), PeerFault>> + Send;
}
