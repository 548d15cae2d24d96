//! The node API:
//! [gRPC](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) over mutual TLS 1.3
//! between the server and its nodes and gateways, with
//! [X.509-SVIDs](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md) on both sides
//! (S1 §9.1, AUTHN-01).
//!
//! In scope: the connection and who is at each end of it, at each request and not only at its start
//! (AUTHN-12); the messages and their bounds; the feed, resumed and begun anew; a client that
//! connects again; and for SPIRE agents the part of SPIRE's server API that they call, at a
//! listener of its own (docs/decisions/0014). Not here: what is decided (`flow`), when a credential
//! is renewed and who makes its key (`bin/aims`, `edge/keys`), how a process or host is measured
//! (`edge/attestors`).
//!
//! Trusting it means: whoever has the key of the server's SVID tells nodes and gateways what to
//! believe about agents and policy, but cannot sign in their name; whoever has the key of a node's
//! SVID gets what that node's agents may get, until an operator revokes the node.

mod answered;
mod asked;
mod caller;
mod client;
mod connection;
mod connector;
mod follow;
mod publisher;
mod server;
mod service;
mod sources;
mod spire;
mod tls;
mod wire;

pub use self::tls::{ChainFault, Presented, ServerFault};
pub use answered::Joined;
pub use client::{Address, JoinOrder, Link, NotAnAddress, join};
pub use server::{
    CONNECTIONS_MAX, HANDSHAKES_MAX, OnHeard, OnRefused, STRANGERS_MAX, ServeError, SpireWiring,
    TokenAnswer, TokenCall, TokenEndpoint, Wiring, serve, serve_spire,
};
pub use spire::{ShownAbove, Source, Upstream};

use std::future::Future;

use env::{
    AssignedCredential, Delegation, IssueOrder, PeerFault, Peers, RenewOrder, Renewed, Unavailable,
};
use provisioning::renewal::Trouble;

/// The largest request, in bytes: evidence, or a form with its proofs.
pub const REQUEST_BYTES_MAX: usize = 128 * 1024;
/// The largest answer, in bytes: the feed's row with a policy set of the largest size, written as
/// JSON.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a message of the feed is cut at, in bytes; a row is never cut.
pub(crate) const PART_BYTES: usize = 1024 * 1024;

/// The peers of a server: it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoPeers;

impl Peers for NoPeers {
    async fn issue(&self, _: IssueOrder) -> Result<AssignedCredential, PeerFault> {
        Err(nobody())
    }

    async fn renew(&self, _: RenewOrder) -> Result<Renewed, PeerFault> {
        Err(nobody())
    }

    async fn delegate(&self, _: jose::Jwk) -> Result<Delegation, PeerFault> {
        Err(nobody())
    }

    async fn pending(&self, _: u64) -> Result<bool, PeerFault> {
        Err(nobody())
    }

    async fn report(&self, _: Vec<Trouble>) -> Result<(), PeerFault> {
        Err(nobody())
    }

    fn token(
        &self,
        _: Vec<(String, String)>,
        _: Vec<(&'static str, credential::TokenText)>,
    ) -> impl Future<Output = Result<(u16, Vec<u8>), PeerFault>> + Send {
        std::future::ready(Err(nobody()))
    }
}

fn nobody() -> PeerFault {
    Unavailable::of("server", "this component has no server above it").into()
}
