//! The messages as `build.rs` makes them from `proto/node.proto`.

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
    tonic::include_proto!("aims.node.v1");
}

pub(crate) use generated::*;

impl Drop for Attempt {
    fn drop(&mut self) {
        self.evidence.zeroize();
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl Drop for SignedToken {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

impl Drop for TokenResponse {
    fn drop(&mut self) {
        self.body.zeroize();
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for SignedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = || "top-secret".to_owned();
        let mut attempt = Attempt::default();
        attempt.evidence = secret().into_bytes();
        let pair = Pair { name: "DPoP".to_owned(), value: secret() };
        let token = SignedToken { token: secret(), expires: 0 };
        let answer = TokenResponse { status: 200, body: secret().into_bytes() };
        let asked = TokenRequest { form: vec![pair.clone()], headers: vec![pair] };
        let issued = IssueResponse { outcome: Some(issue_response::Outcome::Wit(token.clone())) };
        let join = JoinRequest { said: Some(join_request::Said::Attempt(attempt.clone())) };
        let shown = format!("{attempt:?} {token:?} {answer:?} {asked:?} {issued:?} {join:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(!shown.contains("116, 111, 112"), "{shown}");
    }
}
