//! The messages as `build.rs` makes them from `proto/spire`. Two of them hold a secret: they are
//! wiped and never shown.

use std::fmt;

use grpc::Zeroize as _;

#[allow(
    unreachable_pub,
    dead_code,
    clippy::too_many_lines,
    clippy::large_futures,
    clippy::doc_markdown,
    clippy::upper_case_acronyms,
    clippy::allow_attributes_without_reason,
    reason = "generated: the generator knows nothing of these rules, and clients are for tests"
)]
mod generated {
    ::tonic::include_proto!("spire");
}

pub(crate) use generated::google::rpc;
pub(crate) use generated::spire::api::server::agent::v1 as agent;
pub(crate) use generated::spire::api::server::bundle::v1 as bundle;
pub(crate) use generated::spire::api::server::entry::v1 as entry;
pub(crate) use generated::spire::api::server::svid::v1 as svid;
pub(crate) use generated::spire::api::types;

impl Drop for types::AttestationData {
    fn drop(&mut self) {
        self.payload.zeroize();
    }
}

impl fmt::Debug for types::AttestationData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttestationData").field("type", &self.r#type).finish_non_exhaustive()
    }
}

impl Drop for types::Jwtsvid {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

impl fmt::Debug for types::Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwtsvid").field("id", &self.id).finish_non_exhaustive()
    }
}
