//! Envoy's secret discovery service, SDS version 3, beside the Workload API on the same socket
//! (PROV-08): an Envoy gets the same X.509-SVID and the same bundles, by the names that SPIRE's
//! agent has for them, and is told of every rotation.
//!
//! | name | secret |
//! |---|---|
//! | `default`, or the SPIFFE ID itself | certificate and key of the process |
//! | `ROOTCA`, or the SPIFFE ID of a trust domain | whom to trust in that trust domain |
//! | `ALL` | whom to trust in every trust domain that is known |
//! | none | everything, under SPIFFE IDs |
//!
//! The header of the Workload API is not asked for: Envoy sends none, and SPIRE's agent asks for
//! none. What is withdrawn ends the stream; an Envoy keeps what it has until that expires, for the
//! protocol has no word to take a secret back.

mod secrets;
mod service;
mod subscription;
mod wire;

pub(crate) use service::Secrets;
pub(crate) use wire::SecretDiscoveryServiceServer;
