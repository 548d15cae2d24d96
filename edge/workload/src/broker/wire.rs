//! The messages as `build.rs` makes them from `proto/broker.proto`. Two of them hold a secret: they
//! are wiped and never shown.

use std::fmt;

use zeroize::Zeroize as _;

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
    ::tonic::include_proto!("broker");
}

pub(crate) use generated::aims::broker::rpc;
pub(crate) use generated::spiffe::broker as api;

impl Drop for api::X509svid {
    fn drop(&mut self) {
        self.x509_svid_key.zeroize();
    }
}

impl fmt::Debug for api::X509svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509svid").field("spiffe_id", &self.spiffe_id).finish_non_exhaustive()
    }
}

impl Drop for api::Jwtsvid {
    fn drop(&mut self) {
        self.svid.zeroize();
    }
}

impl fmt::Debug for api::Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwtsvid").field("spiffe_id", &self.spiffe_id).finish_non_exhaustive()
    }
}
