//! `WWW-Authenticate` (RFC 9110 §11.6.1) with the parameters of RFC 6750 §3, RFC 9728 §5.1 and
//! RFC 9470 §3.

use std::fmt;

use jose::Algorithm;

use crate::error::{Description, ErrorCode};
use crate::scope::ScopeSet;

/// One challenge. What the resource needs is in it, so that a client can come back with that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: &'static str,
    parameters: Vec<(&'static str, String)>,
}

impl Challenge {
    /// RFC 6750 §3: "All challenges defined by this specification MUST use the auth-scheme value
    /// "Bearer"."
    pub const fn bearer() -> Self {
        Self { scheme: "Bearer", parameters: Vec::new() }
    }

    /// RFC 9449 §7.1.
    pub const fn dpop() -> Self {
        Self { scheme: "DPoP", parameters: Vec::new() }
    }

    /// The scope of protection.
    #[must_use]
    pub fn realm(self, realm: &str) -> Self {
        self.with("realm", realm.to_owned())
    }

    /// Only where a token was presented: RFC 6750 §3.1: "If the request lacks any authentication
    /// information [...], the resource server SHOULD NOT include an error code or other error
    /// information."
    #[must_use]
    pub fn error(self, error: ErrorCode) -> Self {
        self.with("error", error.as_str().to_owned())
    }

    /// Words for whoever develops the client.
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        self.with("error_description", Description::of(text).as_str().to_owned())
    }

    /// The scope that the request needs, all of it.
    #[must_use]
    pub fn scope(self, scope: &ScopeSet) -> Self {
        self.with("scope", scope.to_string())
    }

    /// RFC 9728 §5.1: "The URL of the protected resource metadata."
    #[must_use]
    pub fn resource_metadata(self, url: &str) -> Self {
        self.with("resource_metadata", url.to_owned())
    }

    /// RFC 9470 §3: the authentication context that is needed.
    #[must_use]
    pub fn acr_values(self, values: &[&str]) -> Self {
        self.with("acr_values", values.join(" "))
    }

    /// RFC 9470 §3: seconds since the user authenticated, at most.
    #[must_use]
    pub fn max_age(self, seconds: u64) -> Self {
        self.with("max_age", seconds.to_string())
    }

    /// draft-rosomakho-oauth-txn-challenge §4.2: the signed challenge of one transaction.
    #[must_use]
    pub fn transaction(self, challenge: &str) -> Self {
        let one = self.with("error", crate::txn_challenge::ERROR.to_owned());
        one.with("transaction_challenge", challenge.to_owned())
    }

    /// RFC 9449 §7.1: "An algs parameter SHOULD be included to signal to the client".
    #[must_use]
    pub fn algs(self, algorithms: &[Algorithm]) -> Self {
        let names: Vec<&str> = algorithms.iter().map(|one| one.as_str()).collect();
        self.with("algs", names.join(" "))
    }

    /// RFC 6750 §3: attributes "MUST NOT appear more than once": the last one given counts.
    fn with(mut self, name: &'static str, value: String) -> Self {
        self.parameters.retain(|(known, _)| *known != name);
        self.parameters.push((name, value));
        self
    }
}

/// The value of the header field: ASCII, on one line.
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme)?;
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            let separator = if index == 0 { " " } else { ", " };
            write!(f, "{separator}{name}=\"{}\"", quoted(value))?;
        }
        Ok(())
    }
}

/// RFC 9110 §5.6.4: the inside of a quoted-string. Characters that have no place in a header field
/// become `?`.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: AUTHZ-25 (part)
    #[test]
    fn rfc6750_3_challenges() {
        let metadata = "https://r.example/.well-known/oauth-protected-resource/tools";
        let scope = ScopeSet::parse("write read").unwrap();
        let unauthenticated =
            Challenge::bearer().resource_metadata(metadata).scope(&scope).to_string();
        insta::assert_snapshot!(unauthenticated, @r#"Bearer resource_metadata="https://r.example/.well-known/oauth-protected-resource/tools", scope="read write""#);
        let expired = Challenge::bearer()
            .realm("example")
            .error(ErrorCode::InvalidToken)
            .description("The access token expired")
            .to_string();
        insta::assert_snapshot!(expired, @r#"Bearer realm="example", error="invalid_token", error_description="The access token expired""#);
        let too_little = Challenge::bearer()
            .error(ErrorCode::InsufficientScope)
            .scope(&scope)
            .resource_metadata(metadata)
            .to_string();
        insta::assert_snapshot!(too_little, @r#"Bearer error="insufficient_scope", scope="read write", resource_metadata="https://r.example/.well-known/oauth-protected-resource/tools""#);
        let step_up = Challenge::dpop()
            .error(ErrorCode::InsufficientUserAuthentication)
            .acr_values(&["phr", "phrh"])
            .max_age(300)
            .to_string();
        insta::assert_snapshot!(step_up, @r#"DPoP error="insufficient_user_authentication", acr_values="phr phrh", max_age="300""#);
    }

    /// The example of RFC 9449 §9.
    #[test]
    fn rfc9449_7_1_a_challenge_names_algorithms() {
        let challenge = Challenge::dpop()
            .error(ErrorCode::UseDpopNonce)
            .algs(&[Algorithm::Es256, Algorithm::Ps256])
            .to_string();
        assert_eq!(challenge, r#"DPoP error="use_dpop_nonce", algs="ES256 PS256""#);
    }

    /// Defect: a header field split by what a stranger wrote.
    #[test]
    fn rfc9110_5_6_4_values_are_quoted() {
        for (realm, expect) in [
            ("a\"b", r#"Bearer realm="a\"b""#),
            ("a\\b", r#"Bearer realm="a\\b""#),
            ("a\r\nSet-Cookie: b", r#"Bearer realm="a??Set-Cookie: b""#),
            ("é\u{0}", r#"Bearer realm="??""#),
        ] {
            assert_eq!(Challenge::bearer().realm(realm).to_string(), expect);
        }
        let twice = Challenge::bearer().realm("a").realm("b").to_string();
        assert_eq!(twice, r#"Bearer realm="b""#);
    }
}
