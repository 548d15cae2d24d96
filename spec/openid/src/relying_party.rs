//! The code flow as its client (OpenID Connect Core 1.0 §3.1): sign-in at an outside provider.
//!
//! In scope: the URL that a browser is sent to, and the form that redeems its code. Not here: what
//! is kept meanwhile, and the checks of the answer ([`oauth::authorization_response::receive`],
//! [`crate::id_token::check`]).

use oauth::metadata::Endpoint;
use oauth::pkce::{self, CodeVerifier};
use oauth::redirect_uri::RedirectUri;
use oauth::{ClientId, ScopeSet, TokenText};

/// What is asked of the provider.
#[derive(Clone, Debug)]
pub struct SignIn<'a> {
    pub client_id: &'a ClientId,
    pub redirect_uri: &'a RedirectUri,
    /// With `openid` among it.
    pub scope: &'a ScopeSet,
    /// Random, bound to the session of the browser.
    pub state: &'a str,
    /// Random, to be found in the ID token.
    pub nonce: &'a str,
    pub verifier: &'a CodeVerifier,
    pub max_age: Option<u64>,
    pub acr_values: &'a [String],
    pub login_hint: Option<&'a str>,
}

impl SignIn<'_> {
    /// The URL that the browser is sent to.
    pub fn url(&self, authorization_endpoint: &Endpoint) -> String {
        let endpoint = authorization_endpoint.as_str();
        // RFC 6749 §3.1: "The endpoint URI MAY include an "application/x-www-form-urlencoded"
        // formatted [...] query component [...], which MUST be retained when adding additional
        // query parameters."
        let joint = if endpoint.contains('?') { "&" } else { "?" };
        format!("{endpoint}{joint}{}", encode(&self.parameters()))
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.client_id.to_string()),
            ("redirect_uri", self.redirect_uri.to_string()),
            ("scope", self.scope.to_string()),
            ("state", self.state.to_owned()),
            ("nonce", self.nonce.to_owned()),
            ("code_challenge", self.verifier.challenge().to_base64url()),
            ("code_challenge_method", pkce::METHOD.to_owned()),
        ];
        all.extend(self.max_age.map(|seconds| ("max_age", seconds.to_string())));
        if !self.acr_values.is_empty() {
            all.push(("acr_values", self.acr_values.join(" ")));
        }
        all.extend(self.login_hint.map(|hint| ("login_hint", hint.to_owned())));
        all
    }
}

/// The body that redeems a code (Core 1.0 §3.1.3.1); what authenticates the client goes beside it.
pub fn redeem(code: &TokenText, redirect_uri: &RedirectUri, verifier: &CodeVerifier) -> String {
    encode(&[
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.as_str().to_owned()),
        ("redirect_uri", redirect_uri.to_string()),
        ("code_verifier", verifier.expose().to_owned()),
    ])
}

/// RFC 6749 appendix B: each octet but the unreserved ones in percent-encoding.
fn encode(parameters: &[(&'static str, String)]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for (name, value) in parameters {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
