//! Issuer identifier of an authorization server (RFC 8414 §2).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

/// Bytes of an issuer.
const MAX_ISSUER_BYTES: usize = 2_048;

/// An `https` URL without query and fragment, in its one form. Compared character by character:
/// with and without a trailing slash are two issuers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issuer(String);

impl Issuer {
    /// The text, if it is an issuer as it stands; nothing is repaired.
    pub fn parse(text: &str) -> Result<Self, NotAnIssuer> {
        if text.len() > MAX_ISSUER_BYTES {
            return Err(NotAnIssuer::TooLong { length: text.len(), max: MAX_ISSUER_BYTES });
        }
        let url = Url::parse(text).map_err(|_| NotAnIssuer::NotAUrl)?;
        // RFC 8414 §2: "a URL that uses the "https" scheme and has no query or fragment
        // components."
        if url.scheme() != "https" {
            return Err(NotAnIssuer::Scheme { scheme: url.scheme().to_owned() });
        }
        if text.contains(['?', '#']) {
            return Err(NotAnIssuer::QueryOrFragment);
        }
        if text.contains('@') {
            return Err(NotAnIssuer::UserInfo);
        }
        // What the library changed (case of the host, a default port, dot segments, whitespace)
        // was another text for the same URL.
        let canonical = url.as_str();
        if canonical != text && canonical.strip_suffix('/') != Some(text) {
            return Err(NotAnIssuer::NotCanonical);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        self.split().0
    }

    /// The path of a well-known document of this issuer: `suffix` is its registered name, such as
    /// `oauth-authorization-server`.
    pub fn well_known_path(&self, suffix: &str) -> String {
        // RFC 8414 §3.1: "any terminating "/" MUST be removed before inserting "/.well-known/" and
        // the well-known URI suffix between the host component and the path component."
        let path = self.split().1;
        format!("/.well-known/{suffix}{}", path.strip_suffix('/').unwrap_or(path))
    }

    /// The URL of such a document.
    pub fn well_known_url(&self, suffix: &str) -> String {
        format!("{}{}", self.origin(), self.well_known_path(suffix))
    }

    fn split(&self) -> (&str, &str) {
        const SCHEME: usize = "https://".len();
        let host_end = self.0.get(SCHEME..).and_then(|rest| rest.find('/'));
        let end = host_end.map_or(self.0.len(), |end| end + SCHEME);
        self.0.split_at(end)
    }
}

/// Why a text is no issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIssuer {
    #[error("issuer of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("issuer that is no URL")]
    NotAUrl,
    #[error("issuer with the scheme `{scheme}`, not `https`")]
    Scheme { scheme: String },
    #[error("issuer with a query or a fragment")]
    QueryOrFragment,
    #[error("issuer with user information")]
    UserInfo,
    #[error("issuer that is not in its canonical form")]
    NotCanonical,
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Issuer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Issuer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8414_2_issuer_is_an_https_url() {
        for text in [
            "https://example.com",
            "https://example.com/",
            "https://localhost:8443",
            "https://127.0.0.1:8443/tenant",
            "https://[::1]:8443",
            "https://example.com/a/b/",
        ] {
            assert_eq!(Issuer::parse(text).unwrap().as_str(), text);
        }
        let scheme = |scheme: &str| NotAnIssuer::Scheme { scheme: scheme.to_owned() };
        for (text, expect) in [
            ("http://example.com", scheme("http")),
            ("http://localhost:8443", scheme("http")),
            ("http://127.0.0.1", scheme("http")),
            ("spiffe://example.com", scheme("spiffe")),
            ("javascript:alert(1)", scheme("javascript")),
            ("example.com", NotAnIssuer::NotAUrl),
            ("", NotAnIssuer::NotAUrl),
            ("https://", NotAnIssuer::NotAUrl),
            ("https://example.com?x", NotAnIssuer::QueryOrFragment),
            ("https://example.com/#", NotAnIssuer::QueryOrFragment),
            ("https://user@example.com", NotAnIssuer::UserInfo),
            ("https://example.com@evil.example", NotAnIssuer::UserInfo),
            ("https://Example.com", NotAnIssuer::NotCanonical),
            ("https://example.com:443", NotAnIssuer::NotCanonical),
            ("https://example.com/a/../b", NotAnIssuer::NotCanonical),
            ("https://example.com/%2e%2e/b", NotAnIssuer::NotCanonical),
            (" https://example.com", NotAnIssuer::NotCanonical),
            ("https://example.com\n", NotAnIssuer::NotCanonical),
            ("https:/example.com", NotAnIssuer::NotCanonical),
            ("https:\\\\example.com", NotAnIssuer::NotCanonical),
            ("https://ex\u{e4}mple.com", NotAnIssuer::NotCanonical),
            ("https://0x7f000001", NotAnIssuer::NotCanonical),
        ] {
            assert_eq!(Issuer::parse(text), Err(expect), "{text}");
        }
        let long = format!("https://example.com/{}", "a".repeat(3_000));
        assert!(matches!(Issuer::parse(&long), Err(NotAnIssuer::TooLong { .. })));
    }

    #[test]
    fn rfc8414_3_1_well_known_is_inserted() {
        for (issuer, path) in [
            ("https://example.com", "/.well-known/oauth-authorization-server"),
            ("https://example.com/", "/.well-known/oauth-authorization-server"),
            ("https://example.com/issuer1", "/.well-known/oauth-authorization-server/issuer1"),
            ("https://example.com/a/b/", "/.well-known/oauth-authorization-server/a/b"),
        ] {
            let issuer = Issuer::parse(issuer).unwrap();
            assert_eq!(issuer.well_known_path("oauth-authorization-server"), path);
            let url = format!("https://example.com{path}");
            assert_eq!(issuer.well_known_url("oauth-authorization-server"), url);
        }
    }
}
