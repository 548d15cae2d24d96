//! The messages as `build.rs` makes them from `proto/node.proto`.

grpc::messages! { "aims.node.v1":
    Attempt { wipes evidence, shows mechanism }
    Pair { wipes value, shows name }
    SignedToken { wipes token, shows expires }
    TokenResponse { wipes body, shows status }
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
