//! The [SPIFFE Workload API](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md)
//! on a unix socket, as the
//! [Workload Endpoint](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_Endpoint.md)
//! serves it, and a client of it (PROV-08, PROV-10); and beside it, on the same socket,
//! [Envoy's secret discovery service](https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret).
//! At a socket of its own, over mutual TLS, the SPIFFE Broker API ([`broker`]).
//!
//! In scope: the transport: the socket, the mandatory header, who is at the other end, bounds, the
//! messages and their status codes; the client. Not here: which identity a process gets
//! ([`Workloads`] is answered by flows), how a process is told from another ([`Attest`] is answered
//! by `edge/attestors`), and gRPC server reflection (a SHOULD of the endpoint: a client assumes the
//! Workload API without it, and Envoy assumes SDS).
//!
//! Trusting it means: every local process may ask, and what it gets depends on the kernel's word
//! about who connected. It hands out private keys; they are wiped here, and not in the buffers of
//! the transport.

mod answer;
mod attest;
pub mod authority;
pub mod broker;
pub mod client;
mod convert;
mod header;
pub mod listener;
pub mod pem;
mod sds;
mod secret;
pub mod server;
mod service;
mod wire;
mod workloads;

pub use answer::{
    Bundles, HINT_BYTES_MAX, JwtAnswer, Validated, WitAnswer, WitSvid, X509Answer, X509Bundles,
    X509Svid,
};
pub use attest::Attest;
pub use secret::{SecretBytes, SecretText};
pub use service::{AUDIENCE_BYTES_MAX, AUDIENCES_MAX};
pub use workloads::{Denied, Workloads};

/// The largest request, in bytes: a token to validate and an audience.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The largest answer, in bytes: what gRPC clients accept unless told otherwise.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
