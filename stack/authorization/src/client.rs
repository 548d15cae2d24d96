//! The OAuth facet of an agent's record.

use jose::Algorithm;
use oauth::ScopeSet;
use oauth::redirect_uri::{RedirectKind, RedirectUri};
use serde::{Deserialize, Serialize};

/// What an agent may do as an OAuth client. Its client id is its identifier (AUTHZ-23).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facet {
    /// The widest scope it may ever ask for; none given: policy alone decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_max: Option<ScopeSet>,
    /// Whether others may get tokens whose audience it is.
    pub callable: bool,
    /// What ID tokens for it are signed by; none given: ES256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token_signed_response_alg: Option<Algorithm>,
    /// Where browsers bring its users back to; without it, it has no users in browsers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirects: Option<Redirects>,
}

/// What a client registered for the authorization endpoint (RFC 7591 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redirects {
    /// `redirect_uris`.
    pub redirect_uris: Vec<RedirectUri>,
    /// Whether it is an app on the user's device (`application_type`: `native`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub native: bool,
    /// `require_pushed_authorization_requests` (RFC 9126 §6).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_pushed: bool,
    /// `require_signed_request_object` (RFC 9101 §10.5).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_signed: bool,
}

impl Redirects {
    /// The endpoint that a request means by `asked`, as it is to be answered there: the text of the
    /// request, which differs from what is registered at most by a loopback port.
    pub fn find(&self, asked: Option<&str>) -> Result<RedirectUri, NoRedirect> {
        match (asked, self.redirect_uris.as_slice()) {
            // RFC 6749 §3.1.2.3: "If multiple redirection URIs have been registered [...] the
            // client MUST include a redirection URI with the authorization request".
            (None, [one]) => Ok(one.clone()),
            (None, _) => Err(NoRedirect::Absent),
            (Some(asked), registered) => {
                let known = registered.iter().any(|one| one.matches(asked));
                let read = RedirectUri::parse(asked).ok().filter(|_| known);
                read.ok_or_else(|| NoRedirect::Unknown(oauth::parameter::evidence(asked)))
            }
        }
    }

    /// Whether other programs could take what is sent there (RFC 8252 §8.6): nobody but the user
    /// can tell then that it is this client.
    pub fn may_be_another(&self, uri: &RedirectUri) -> bool {
        self.native || uri.kind() != RedirectKind::Https
    }
}

/// Why an answer has nowhere to go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRedirect {
    /// None was named, and there is not just one.
    #[error("`redirect_uri` is absent, and the client did not register exactly one")]
    Absent,
    /// Not one of the client's.
    #[error("`redirect_uri` `{0}` is none that the client registered")]
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(registered: &[&str]) -> Redirects {
        let redirect_uris = registered.iter().map(|one| RedirectUri::parse(one).unwrap()).collect();
        Redirects { redirect_uris, ..Redirects::default() }
    }

    /// docs/past-defects.md 10.
    #[test]
    fn rfc6749_3_1_2_3_answers_go_where_the_client_registered() {
        let one = of(&["https://app.example/back"]);
        let found = |registered: &Redirects, asked| {
            registered.find(asked).map(|uri| uri.as_str().to_owned())
        };
        assert_eq!(found(&one, None).unwrap(), "https://app.example/back");
        assert!(one.find(Some("https://app.example/back")).is_ok());
        for evil in [
            "https://app.example/back/",
            "https://app.example/back?x=1",
            "https://app.example/back/..;/evil",
            "https://app.example/%2e%2e/back",
            "https://app.example@evil.example/back",
            "https://evil.example@app.example/back",
            "https://app.example:443/back",
            "https://app.example.evil.example/back",
            "HTTPS://app.example/back",
            "http://app.example/back",
            "javascript:alert(1)",
            "",
        ] {
            let refused = one.find(Some(evil)).unwrap_err();
            assert!(matches!(refused, NoRedirect::Unknown(_)), "{evil}");
        }
        let two = of(&["https://app.example/a", "https://app.example/b"]);
        assert_eq!(two.find(None), Err(NoRedirect::Absent));
        assert_eq!(of(&[]).find(None), Err(NoRedirect::Absent));
        // RFC 8252 §7.3: any port, and the answer goes to the port that asked.
        let native = of(&["http://127.0.0.1/back"]);
        let asked = "http://127.0.0.1:49152/back";
        assert_eq!(found(&native, Some(asked)).unwrap(), asked);
        assert!(native.find(Some("http://localhost:49152/back")).is_err());
    }

    #[test]
    fn rfc8252_8_6_an_app_may_be_another() {
        for (uri, may) in [
            ("https://app.example/back", false),
            ("http://127.0.0.1/back", true),
            ("http://localhost:1/back", true),
            ("com.example.app:/back", true),
        ] {
            let registered = of(&[uri]);
            assert_eq!(registered.may_be_another(&registered.find(None).unwrap()), may, "{uri}");
        }
        let native = Redirects { native: true, ..of(&["https://app.example/back"]) };
        assert!(native.may_be_another(&native.find(None).unwrap()));
    }
}
