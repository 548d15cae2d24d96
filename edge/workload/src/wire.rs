//! The messages as `build.rs` makes them from `proto/workload.proto`.

use std::fmt;

use zeroize::Zeroize;

#[allow(
    unreachable_pub,
    clippy::too_many_lines,
    clippy::large_futures,
    clippy::allow_attributes_without_reason,
    reason = "generated: the generator knows nothing of these rules"
)]
mod generated {
    tonic::include_proto!("_");
}

pub(crate) use generated::*;

impl Drop for X509svid {
    fn drop(&mut self) {
        self.x509_svid_key.zeroize();
    }
}

impl Drop for Jwtsvid {
    fn drop(&mut self) {
        self.svid.zeroize();
    }
}

impl Drop for Witsvid {
    fn drop(&mut self) {
        self.wit_svid_key.zeroize();
    }
}

impl fmt::Debug for X509svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("X509svid");
        shown.field("spiffe_id", &self.spiffe_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwtsvid").field("spiffe_id", &self.spiffe_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Witsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witsvid").field("spiffe_id", &self.spiffe_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for ValidateJwtsvidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ValidateJwtsvidRequest");
        shown.field("audience", &self.audience).finish_non_exhaustive()
    }
}
