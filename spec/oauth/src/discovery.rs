//! The way of a client from a protected resource to its authorization server: where metadata may
//! stand (RFC 9728 §3.1, RFC 8414 §3.1 and §5) and what a client that found them by itself believes
//! of them.
//!
//! In scope: addresses in the order in which they are tried, the members that a client acts by, and
//! the checks of whoever reads them. Other than documents of configured servers
//! ([`crate::metadata`]) these may be of this very machine, in plain `http`: what is developed here
//! has no certificate. Not here: fetching, and which of several servers is asked.

use std::fmt;

use jose::json::{self, NotStrict};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::{Host, Url};

use crate::metadata::{MAX_DOCUMENT_BYTES, WELL_KNOWN, WELL_KNOWN_OPENID};
use crate::pkce;
use crate::scope::Scope;

/// Registered name of the document of a resource (RFC 9728 §3).
const WELL_KNOWN_RESOURCE: &str = "oauth-protected-resource";
/// Bytes of a URL.
const MAX_URL_BYTES: usize = 2_048;

/// A URL that a client may call: `https`, or `http` to this very machine; without fragment and user
/// information. Compared character by character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebUrl(String);

impl WebUrl {
    /// The text, if it is such a URL as it stands; nothing is repaired.
    pub fn parse(text: &str) -> Result<Self, NotAWebUrl> {
        if text.len() > MAX_URL_BYTES {
            return Err(NotAWebUrl::TooLong { length: text.len(), max: MAX_URL_BYTES });
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
        let url = Url::parse(text).map_err(|_| NotAWebUrl::NotAUrl)?;
        match url.scheme() {
            "https" => {}
            // OAuth 2.1 §1.5 wants TLS for all that leaves the machine.
            "http" if is_this_machine(&url) => {}
            other => return Err(NotAWebUrl::Scheme { scheme: other.to_owned() }),
        }
        if text.contains('#') {
            return Err(NotAWebUrl::Fragment);
        }
        if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
            return Err(NotAWebUrl::UserInfo);
        }
        // What the library changed (case of the host, a default port, dot segments, whitespace)
        // was another text for the same URL.
        let canonical = url.as_str();
        let same = canonical == text || canonical.strip_suffix('/') == Some(text);
        if !same || !text.bytes().all(plain) {
            return Err(NotAWebUrl::NotCanonical);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is plain `http`.
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("http:")
    }

    /// Where the metadata of this resource may stand, the likeliest first.
    ///
    /// MCP, authorization server discovery: "At the path of the server's MCP endpoint", then "At
    /// the root".
    pub fn resource_metadata_urls(&self) -> Vec<String> {
        let mut urls = vec![self.inserted(WELL_KNOWN_RESOURCE)];
        urls.push(format!("{}/.well-known/{WELL_KNOWN_RESOURCE}", self.split().0));
        urls.dedup();
        urls
    }

    /// Where the metadata of this issuer may stand: RFC 8414 §3.1, §5, and `OpenID` Connect
    /// Discovery 1.0 §4, which appends.
    pub fn server_metadata_urls(&self) -> Vec<String> {
        let appended = format!("{}/.well-known/{WELL_KNOWN_OPENID}", self.0.trim_end_matches('/'));
        let mut urls = vec![self.inserted(WELL_KNOWN), self.inserted(WELL_KNOWN_OPENID), appended];
        urls.dedup();
        urls
    }

    /// RFC 8414 §3.1: "inserting "/.well-known/" and the well-known URI suffix between the host
    /// component and the path component."
    fn inserted(&self, suffix: &str) -> String {
        let (origin, path) = self.split();
        let path = match path.split_once('?') {
            // RFC 9728 §3.1: "any terminating / following the host component MUST be removed
            // before inserting".
            Some(("/", query)) => format!("?{query}"),
            None if path == "/" => String::new(),
            _ if suffix == WELL_KNOWN_RESOURCE => path.to_owned(),
            _ => path.strip_suffix('/').unwrap_or(path).to_owned(),
        };
        format!("{origin}/.well-known/{suffix}{path}")
    }

    /// Whether this is `other`, or a place in it: the same origin, and each segment of its path.
    fn is_within(&self, other: &Self) -> bool {
        let ((origin, path), (other, above)) = (self.split(), other.split());
        let above = above.strip_suffix('/').unwrap_or(above);
        let rest = path.strip_prefix(above);
        origin == other && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The text, where a lone `/` after the host says nothing.
    ///
    /// MCP, canonical server URI: "implementations SHOULD consistently use the form without the
    /// trailing slash [...] unless the trailing slash is semantically significant".
    pub fn plain_text(&self) -> &str {
        match self.split() {
            (origin, "/") => origin,
            _ => &self.0,
        }
    }

    /// The origin, and what follows.
    fn split(&self) -> (&str, &str) {
        let host = self.0.find("://").map_or(0, |at| at.saturating_add(3));
        let rest = self.0.get(host..).unwrap_or_default();
        let end = rest.find(['/', '?']).map_or(self.0.len(), |end| end.saturating_add(host));
        self.0.split_at(end)
    }
}

/// RFC 6761 §6.3: `localhost` is this machine; and so are the addresses of its loopback.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Why a text is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAWebUrl {
    #[error("URL of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("not a URL")]
    NotAUrl,
    #[error("URL with the scheme `{scheme}`: `https`, or `http` to this machine alone")]
    Scheme { scheme: String },
    #[error("URL with a fragment")]
    Fragment,
    #[error("URL with user information")]
    UserInfo,
    #[error("URL that is not in its canonical form")]
    NotCanonical,
}

/// What a client acts by in the metadata of a resource (RFC 9728 §2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FoundResource {
    pub resource: WebUrl,
    #[serde(default)]
    pub authorization_servers: Vec<WebUrl>,
    #[serde(default)]
    pub scopes_supported: Vec<Scope>,
    #[serde(default)]
    pub dpop_bound_access_tokens_required: bool,
}

impl FoundResource {
    /// Reads the document that was fetched `from` a URL for a call of `called`.
    pub fn parse(text: &str, called: &WebUrl, from: &str) -> Result<Self, DiscoveryError> {
        let document: Self = document(text)?;
        // RFC 9728 §3.3: "the resource value returned MUST be identical to the URL that the client
        // used to make the request to the resource server." Or it is the identifier whose
        // well-known address the document came from, and the URL is a place in it: that address
        // is in the hands of whoever answers for the whole of it.
        let (found, inside) = (&document.resource, called.is_within(&document.resource));
        let own = inside && found.inserted(WELL_KNOWN_RESOURCE) == from;
        if found.plain_text() != called.plain_text() && !own {
            let (found, called) = (document.resource, called.clone());
            return Err(DiscoveryError::WrongResource { found, called });
        }
        Ok(document)
    }
}

/// What a client acts by in the metadata of an authorization server (RFC 8414 §2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FoundServer {
    pub issuer: WebUrl,
    #[serde(default)]
    pub authorization_endpoint: Option<WebUrl>,
    pub token_endpoint: WebUrl,
    #[serde(default)]
    pub registration_endpoint: Option<WebUrl>,
    #[serde(default)]
    pub pushed_authorization_request_endpoint: Option<WebUrl>,
    #[serde(default)]
    pub device_authorization_endpoint: Option<WebUrl>,
    #[serde(default)]
    pub scopes_supported: Vec<String>,
    #[serde(default)]
    pub grant_types_supported: Option<Vec<String>>,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    pub token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    pub code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    pub dpop_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    pub client_id_metadata_document_supported: bool,
}

impl FoundServer {
    /// Reads the document that was fetched for `expected`.
    pub fn parse(text: &str, expected: &WebUrl) -> Result<Self, DiscoveryError> {
        let document: Self = document(text)?;
        // RFC 8414 §3.3: "If these values are not identical, the data contained in the response
        // MUST NOT be used."
        if document.issuer != *expected {
            let (found, expected) = (document.issuer, expected.clone());
            return Err(DiscoveryError::WrongIssuer { found, expected });
        }
        // RFC 8414 §2: an issuer "has no query or fragment components."
        if document.issuer.as_str().contains('?') {
            return Err(DiscoveryError::IssuerQuery { issuer: document.issuer });
        }
        // RFC 8414 §2: endpoints are what the issuer is, and that is reached by TLS but on this
        // very machine.
        let endpoints = [
            document.authorization_endpoint.as_ref(),
            Some(&document.token_endpoint),
            document.registration_endpoint.as_ref(),
            document.pushed_authorization_request_endpoint.as_ref(),
            document.device_authorization_endpoint.as_ref(),
        ];
        let plain = endpoints.into_iter().flatten().find(|url| url.is_plain());
        if let Some(endpoint) = plain.cloned().filter(|_| !document.issuer.is_plain()) {
            return Err(DiscoveryError::Plain { issuer: document.issuer, endpoint });
        }
        Ok(document)
    }

    /// MCP, authorization code protection: "If `code_challenge_methods_supported` is absent, the
    /// authorization server does not support PKCE and MCP clients MUST refuse to proceed."
    pub fn takes_pkce(&self) -> Result<(), DiscoveryError> {
        let takes = &self.code_challenge_methods_supported;
        if takes.iter().any(|method| method == pkce::METHOD) {
            return Ok(());
        }
        let (issuer, found) = (self.issuer.clone(), takes.join("`, `"));
        Err(DiscoveryError::NoPkce { issuer, found })
    }

    /// Whether clients may authenticate like this. RFC 8414 §2: "If omitted, the default is
    /// "client_secret_basic"".
    pub fn takes_method(&self, method: &str) -> bool {
        match &self.token_endpoint_auth_methods_supported {
            Some(methods) => methods.iter().any(|known| known == method),
            None => method == "client_secret_basic",
        }
    }
}

fn document<T: de::DeserializeOwned>(text: &str) -> Result<T, DiscoveryError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(DiscoveryError::TooLong { length: text.len(), max: MAX_DOCUMENT_BYTES });
    }
    Ok(json::parse(text)?)
}

/// Why a document is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    #[error("metadata of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("metadata of the resource `{found}`, where `{called}` was called (RFC 9728 §3.3)")]
    WrongResource { found: WebUrl, called: WebUrl },
    #[error(
        "metadata of the issuer `{found}`, where that of `{expected}` was expected (RFC 8414 §3.3)"
    )]
    WrongIssuer { found: WebUrl, expected: WebUrl },
    #[error("issuer `{issuer}` with a query (RFC 8414 §2)")]
    IssuerQuery { issuer: WebUrl },
    #[error("`{issuer}` has the endpoint `{endpoint}`, which is not https")]
    Plain { issuer: WebUrl, endpoint: WebUrl },
    #[error("`{issuer}` has `code_challenge_methods_supported` of `{found}`, without `S256`")]
    NoPkce { issuer: WebUrl, found: String },
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for WebUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WebUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> WebUrl {
        WebUrl::parse(text).ok().unwrap()
    }

    #[test]
    fn oauth2_1_1_5_plain_http_stays_on_this_machine() {
        for text in [
            "https://a.example",
            "https://a.example/b/?c=d",
            "http://localhost:3000/mcp",
            "http://127.0.0.1",
            "http://[::1]:8080/",
        ] {
            assert_eq!(url(text).as_str(), text);
        }
        let scheme = |scheme: &str| NotAWebUrl::Scheme { scheme: scheme.to_owned() };
        for (text, expect) in [
            ("http://a.example", scheme("http")),
            ("http://localhost.a.example", scheme("http")),
            ("http://10.0.0.1/", scheme("http")),
            ("javascript:alert(1)", scheme("javascript")),
            ("file:///etc/passwd", scheme("file")),
            ("/mcp", NotAWebUrl::NotAUrl),
            ("https://a.example/#b", NotAWebUrl::Fragment),
            ("https://b@a.example/", NotAWebUrl::UserInfo),
            ("https://a.example:443/", NotAWebUrl::NotCanonical),
            ("https://A.example/", NotAWebUrl::NotCanonical),
            ("https://a.example/b/../c", NotAWebUrl::NotCanonical),
            (" https://a.example/", NotAWebUrl::NotCanonical),
            ("https://a.example/`id`", NotAWebUrl::NotCanonical),
        ] {
            assert_eq!(WebUrl::parse(text), Err(expect), "{text}");
        }
        let long = format!("https://a.example/{}", "a".repeat(3_000));
        assert!(matches!(WebUrl::parse(&long), Err(NotAWebUrl::TooLong { .. })));
    }

    /// req: AUTHZ-22 (part)
    #[test]
    fn rfc9728_3_1_and_rfc8414_5_metadata_are_looked_for_in_order() {
        for (text, resource, server) in [
            (
                "https://a.example/b/mcp",
                &[
                    "https://a.example/.well-known/oauth-protected-resource/b/mcp",
                    "https://a.example/.well-known/oauth-protected-resource",
                ][..],
                &[
                    "https://a.example/.well-known/oauth-authorization-server/b/mcp",
                    "https://a.example/.well-known/openid-configuration/b/mcp",
                    "https://a.example/b/mcp/.well-known/openid-configuration",
                ][..],
            ),
            (
                "https://a.example",
                &["https://a.example/.well-known/oauth-protected-resource"],
                &[
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration",
                ],
            ),
            (
                "http://localhost:1/",
                &["http://localhost:1/.well-known/oauth-protected-resource"],
                &[
                    "http://localhost:1/.well-known/oauth-authorization-server",
                    "http://localhost:1/.well-known/openid-configuration",
                ],
            ),
        ] {
            assert_eq!(url(text).resource_metadata_urls(), resource, "{text}");
            assert_eq!(url(text).server_metadata_urls(), server, "{text}");
        }
        let query = url("https://a.example/b/?c=d").resource_metadata_urls();
        assert_eq!(query[0], "https://a.example/.well-known/oauth-protected-resource/b/?c=d");
    }

    /// req: AUTHZ-22 (part)
    #[test]
    fn rfc9728_3_3_document_must_be_of_what_was_called() {
        let at =
            |path: &str| format!("https://r.example/.well-known/oauth-protected-resource{path}");
        for (found, called, from, is_taken) in [
            ("https://r.example/a", "https://r.example/a", at("/a"), true),
            ("https://r.example/a", "https://r.example/a", "https://m.example/x".to_owned(), true),
            ("https://r.example/", "https://r.example", at(""), true),
            ("https://r.example", "https://r.example/a/b", at(""), true),
            ("https://r.example/a", "https://r.example/a/b", at("/a"), true),
            // A part of a host does not speak for the whole of it.
            ("https://r.example", "https://r.example/a", at("/a"), false),
            ("https://r.example", "https://r.example/a", "https://r.example/x".to_owned(), false),
            ("https://r.example/a", "https://r.example/ab", at("/a"), false),
            ("https://r.example/a/b", "https://r.example/a", at("/a"), false),
            ("https://r.example/a/", "https://r.example/a", at("/a"), false),
            ("https://evil.example/a", "https://r.example/a", at("/a"), false),
            ("https://r.example:8443/a", "https://r.example/a", at("/a"), false),
        ] {
            let text = format!(r#"{{"resource":"{found}","x":1}}"#);
            let read = FoundResource::parse(&text, &url(called), &from);
            let (found, called) = (url(found), url(called));
            match is_taken {
                true => assert_eq!(read.map(|one| one.resource), Ok(found)),
                false => assert_eq!(read, Err(DiscoveryError::WrongResource { found, called })),
            }
        }
        for text in ["{}", "[]", r#"{"resource":"http://r.example"}"#] {
            let read = FoundResource::parse(text, &url("https://r.example"), &at(""));
            assert!(matches!(read, Err(DiscoveryError::Json(_))), "{text}");
        }
        let long = " ".repeat(MAX_DOCUMENT_BYTES + 1);
        let read = FoundResource::parse(&long, &url("https://r.example"), &at(""));
        assert!(matches!(read, Err(DiscoveryError::TooLong { .. })));
    }

    /// req: AUTHZ-22 (part)
    #[test]
    fn rfc8414_3_3_document_must_be_of_its_issuer_and_take_pkce() {
        let of = |issuer: &str, more: &str| {
            format!(r#"{{"issuer":"{issuer}","token_endpoint":"https://i.example/t"{more}}}"#)
        };
        let issuer = url("https://i.example");
        let bare = FoundServer::parse(&of("https://i.example", ""), &issuer).ok().unwrap();
        assert!(matches!(bare.takes_pkce(), Err(DiscoveryError::NoPkce { .. })));
        assert!(bare.takes_method("client_secret_basic") && !bare.takes_method("none"));
        let more = r#","code_challenge_methods_supported":["plain","S256"],
            "token_endpoint_auth_methods_supported":["none"],"jwks_uri":7"#;
        let full = FoundServer::parse(&of("https://i.example", more), &issuer).ok().unwrap();
        assert_eq!(full.takes_pkce(), Ok(()));
        assert!(full.takes_method("none") && !full.takes_method("client_secret_basic"));
        let plain = r#","code_challenge_methods_supported":["plain"]"#;
        let plain = FoundServer::parse(&of("https://i.example", plain), &issuer).ok().unwrap();
        assert!(plain.takes_pkce().unwrap_err().to_string().contains("`plain`"));
        let found = url("https://i.example/");
        let wrong = DiscoveryError::WrongIssuer { found, expected: issuer.clone() };
        assert_eq!(FoundServer::parse(&of("https://i.example/", ""), &issuer), Err(wrong));
        let down = r#","registration_endpoint":"http://localhost:1/r""#;
        let read = FoundServer::parse(&of("https://i.example", down), &issuer);
        assert!(matches!(read, Err(DiscoveryError::Plain { .. })));
        let query = url("https://i.example/?a=b");
        let read = FoundServer::parse(&of(query.as_str(), ""), &query);
        assert_eq!(read, Err(DiscoveryError::IssuerQuery { issuer: query }));
        let bad = r#","authorization_endpoint":"javascript:alert(1)""#;
        let read = FoundServer::parse(&of("https://i.example", bad), &issuer);
        assert!(matches!(read, Err(DiscoveryError::Json(_))));
    }
}
