//! Redirection endpoints (RFC 6749 §3.1.2, RFC 8252, RFC 9700 §4.1): what may be registered, and
//! which one a request means. Both are texts that are compared as they stand.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::{Host, Url};

/// Bytes of a redirection endpoint.
const MAX_URI_BYTES: usize = 2_048;
/// Hosts of RFC 8252 §7.3, as they stand in a URI.
const LOOPBACK: &[&str] = &["127.0.0.1", "[::1]"];
/// What answers put into the query (RFC 6749 §4.1.2, §4.1.2.1, RFC 9207 §2, JARM §2.3.1).
const OF_ANSWERS: &[&str] =
    &["code", "error", "error_description", "error_uri", "iss", "response", "state"];

/// A redirection endpoint that may be registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedirectUri {
    text: String,
    kind: RedirectKind,
}

/// Where a redirection endpoint leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedirectKind {
    /// `https`: a site, or an app that claims it (RFC 8252 §7.2).
    Https,
    /// `http` on a loopback address literal, any port (RFC 8252 §7.3).
    Loopback,
    /// `http` on `localhost`, the port as registered (RFC 8252 §8.3: "NOT RECOMMENDED").
    Localhost,
    /// A scheme of the app's own (RFC 8252 §7.1).
    PrivateUse,
}

impl RedirectUri {
    /// The text, if it may be registered as it stands; nothing is repaired.
    pub fn parse(text: &str) -> Result<Self, NotARedirectUri> {
        if text.is_empty() || text.len() > MAX_URI_BYTES {
            return Err(NotARedirectUri::Length { length: text.len(), max: MAX_URI_BYTES });
        }
        // What a library would repair, two libraries repair in two ways.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte)) {
            return Err(NotARedirectUri::Character);
        }
        // RFC 6749 §3.1.2: "The endpoint URI MUST NOT include a fragment component."
        if text.contains('#') {
            return Err(NotARedirectUri::Fragment);
        }
        // RFC 6749 §3.1.2: "The redirection endpoint URI MUST be an absolute URI as defined by
        // [RFC3986] Section 4.3."
        let url = Url::parse(text).map_err(|_| NotARedirectUri::NotAbsolute)?;
        let path = text.split_once(':').map_or("", |(_, rest)| rest);
        let path = path.split('?').next().unwrap_or_default();
        if path.split('/').any(is_dot_segment) {
            return Err(NotARedirectUri::DotSegment);
        }
        // RFC 6749 §3.1: "Request and response parameters MUST NOT be included more than once." A
        // client that reads the first of two would read what somebody else wrote.
        if let Some(name) = url.query_pairs().find_map(|(name, _)| of_answers(&name)) {
            return Err(NotARedirectUri::OfAnswers { name });
        }
        let kind = kind(text, &url)?;
        Ok(Self { text: text.to_owned(), kind })
    }

    /// Whether a request that says `asked` means this endpoint.
    pub fn matches(&self, asked: &str) -> bool {
        // RFC 9700 §2.1: "authorization servers MUST utilize exact string matching except for port
        // numbers in localhost redirection URIs of native apps".
        if self.text == asked {
            return true;
        }
        // RFC 8252 §7.3: "The authorization server MUST allow any port to be specified at the time
        // of the request for loopback IP redirect URIs".
        let asked = match (self.kind, Self::parse(asked)) {
            (RedirectKind::Loopback, Ok(asked)) if asked.kind == RedirectKind::Loopback => asked,
            _ => return false,
        };
        without_port(&self.text) == without_port(&asked.text)
    }

    /// Where it leads.
    pub const fn kind(&self) -> RedirectKind {
        self.kind
    }

    /// The host, for people to look at; `None` for a scheme of an app's own.
    pub fn host(&self) -> Option<String> {
        Url::parse(&self.text).ok()?.host_str().map(str::to_owned)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Why a text may not be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARedirectUri {
    #[error("redirect URI of {length} bytes, not 1 to {max}")]
    Length { length: usize, max: usize },
    #[error("redirect URI with a character that no URI has (RFC 3986 §2)")]
    Character,
    #[error("redirect URI with a fragment (RFC 6749 §3.1.2)")]
    Fragment,
    #[error("redirect URI that is not absolute (RFC 6749 §3.1.2)")]
    NotAbsolute,
    #[error("redirect URI with a dot segment (RFC 3986 §5.2.4)")]
    DotSegment,
    #[error("redirect URI whose query has `{name}`, which answers put there (RFC 6749 §3.1)")]
    OfAnswers { name: &'static str },
    #[error("redirect URI with user information (RFC 3986 §7.5)")]
    UserInfo,
    #[error("redirect URI with a wildcard (RFC 9700 §4.1.3)")]
    Wildcard,
    #[error("redirect URI that is not in its canonical form (RFC 9700 §4.1.3)")]
    NotCanonical,
    #[error("redirect URI with `http` to `{host}`, which is no loopback (RFC 8252 §8.3)")]
    Cleartext { host: String },
    #[error("redirect URI with the scheme `{scheme}`, which has no dot (RFC 8252 §7.1)")]
    Scheme { scheme: String },
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for RedirectUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for RedirectUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn of_answers(name: &str) -> Option<&'static str> {
    OF_ANSWERS.iter().find(|one| **one == name).copied()
}

fn kind(text: &str, url: &Url) -> Result<RedirectKind, NotARedirectUri> {
    let scheme = url.scheme();
    if !matches!(scheme, "http" | "https") {
        // RFC 8252 §7.1: "apps MUST use a URI scheme based on a domain name under their control,
        // expressed in reverse order"; §8.4: "any private-use URI scheme that doesn't contain a
        // period character (".") SHOULD be rejected." So are `javascript`, `data` and `file`.
        if !scheme.contains('.') {
            return Err(NotARedirectUri::Scheme { scheme: scheme.to_owned() });
        }
        if !text.starts_with(scheme) || text.len() == scheme.len() + 1 {
            return Err(NotARedirectUri::NotCanonical);
        }
        return Ok(RedirectKind::PrivateUse);
    }
    // Each `@` counts: two of them split one authority in two ways.
    let authority = text.split("//").nth(1).and_then(|rest| rest.split(['/', '?']).next());
    if authority.is_none_or(|authority| authority.contains('@')) {
        return Err(NotARedirectUri::UserInfo);
    }
    if authority.is_some_and(|authority| authority.contains('*')) {
        return Err(NotARedirectUri::Wildcard);
    }
    if !is_canonical(text, url) {
        return Err(NotARedirectUri::NotCanonical);
    }
    match (scheme, url.host()) {
        ("https", Some(_)) => Ok(RedirectKind::Https),
        (_, Some(Host::Domain("localhost"))) => Ok(RedirectKind::Localhost),
        (_, Some(_)) if LOOPBACK.contains(&url.host_str().unwrap_or_default()) => {
            Ok(RedirectKind::Loopback)
        }
        _ => {
            let host = url.host_str().unwrap_or_default().to_owned();
            Err(NotARedirectUri::Cleartext { host })
        }
    }
}

/// What the library changed (case, a default port, whitespace) was another text for the same URI.
fn is_canonical(text: &str, url: &Url) -> bool {
    let canonical = url.as_str();
    let (origin, rest) = text.split_at(text.find('?').unwrap_or(text.len()));
    canonical == text || canonical == format!("{origin}/{rest}")
}

/// `.` and `..`, also with parameters (`..;a`) and in percent-encoding.
fn is_dot_segment(segment: &str) -> bool {
    let name = segment.to_ascii_lowercase().replace("%2e", ".").replace("%3b", ";");
    matches!(name.split(';').next(), Some("." | ".."))
}

fn without_port(text: &str) -> (&str, &str) {
    let host = text.find("//").map_or(0, |at| at + 2);
    let rest = text.get(host..).unwrap_or_default();
    let end = rest.find(['/', '?']).map_or(text.len(), |at| at + host);
    let (authority, rest) = text.split_at(end);
    let port = authority.rfind(':').filter(|at| *at > host && !authority.ends_with(']'));
    (port.and_then(|at| authority.get(..at)).unwrap_or(authority), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8252_7_what_may_be_registered() {
        for (text, kind) in [
            ("https://client.example.com/cb", RedirectKind::Https),
            ("https://client.example.com", RedirectKind::Https),
            ("https://client.example.com?a=b", RedirectKind::Https),
            ("https://client.example.com/cb?a=b%20c", RedirectKind::Https),
            ("https://client.example.com/cb?barcode=1&to=code", RedirectKind::Https),
            ("http://127.0.0.1/cb", RedirectKind::Loopback),
            ("http://127.0.0.1:51004/oauth2redirect/example-provider", RedirectKind::Loopback),
            ("http://[::1]:61023/oauth2redirect/example-provider", RedirectKind::Loopback),
            ("http://localhost:8080/cb", RedirectKind::Localhost),
            ("com.example.app:/oauth2redirect/example-provider", RedirectKind::PrivateUse),
        ] {
            assert_eq!(RedirectUri::parse(text).unwrap().kind(), kind, "{text}");
        }
    }

    /// Defects: `..;/`, several `@`, wildcards, `%25@`, schemes that a browser runs.
    #[test]
    fn rfc9700_4_1_what_may_not() {
        let cleartext = |host: &str| NotARedirectUri::Cleartext { host: host.to_owned() };
        let of_answers = |name| NotARedirectUri::OfAnswers { name };
        let scheme = |scheme: &str| NotARedirectUri::Scheme { scheme: scheme.to_owned() };
        for (text, expect) in [
            ("https://a.example/cb#", NotARedirectUri::Fragment),
            ("https://a.example/cb?code=x", of_answers("code")),
            ("https://a.example/cb?a=b&state=x", of_answers("state")),
            ("https://a.example/cb?%69ss=x", of_answers("iss")),
            ("http://127.0.0.1/cb?error", of_answers("error")),
            ("com.example.app:/cb?response=", of_answers("response")),
            ("https://a.example/..;/cb", NotARedirectUri::DotSegment),
            ("https://a.example/%2e%2E/cb", NotARedirectUri::DotSegment),
            ("https://a.example/a/./cb", NotARedirectUri::DotSegment),
            ("com.example.app:/a/../b", NotARedirectUri::DotSegment),
            ("https://a@b.example/cb", NotARedirectUri::UserInfo),
            ("https://a.example@b@c.example/cb", NotARedirectUri::UserInfo),
            ("https://a.example%25@c.example/cb", NotARedirectUri::UserInfo),
            ("https://:@c.example/cb", NotARedirectUri::UserInfo),
            ("https://*.example/cb", NotARedirectUri::Wildcard),
            ("https://A.example/cb", NotARedirectUri::NotCanonical),
            ("https://a.example:443/cb", NotARedirectUri::NotCanonical),
            ("https:/a.example/cb", NotARedirectUri::UserInfo),
            ("https:///a.example/cb", NotARedirectUri::NotCanonical),
            ("https://a.example\\@b.example/cb", NotARedirectUri::Character),
            ("https://a.example/c b", NotARedirectUri::Character),
            ("https://a.example/\n", NotARedirectUri::Character),
            ("http://a.example/cb", cleartext("a.example")),
            ("http://127.0.0.2/cb", cleartext("127.0.0.2")),
            ("http://127.0.0.1.example/cb", cleartext("127.0.0.1.example")),
            ("http://localhost.example/cb", cleartext("localhost.example")),
            ("http://2130706433/cb", NotARedirectUri::NotCanonical),
            ("javascript:alert(1)", scheme("javascript")),
            ("data:text/html,x", scheme("data")),
            ("file:///etc/passwd", scheme("file")),
            ("myapp:/cb", scheme("myapp")),
            ("com.example.app:", NotARedirectUri::NotCanonical),
            ("/cb", NotARedirectUri::NotAbsolute),
            ("", NotARedirectUri::Length { length: 0, max: MAX_URI_BYTES }),
        ] {
            assert_eq!(RedirectUri::parse(text), Err(expect), "{text}");
        }
    }

    /// req: AUTHZ-09 (part)
    #[test]
    fn rfc9700_2_1_match_is_exact_but_for_ports_of_loopback_literals() {
        for (registered, asked, expect) in [
            ("https://a.example/cb", "https://a.example/cb", true),
            ("https://a.example/cb", "https://a.example/cb/", false),
            ("https://a.example/cb", "https://a.example/cb?x", false),
            ("https://a.example/cb", "https://a.example:8443/cb", false),
            ("https://a.example/cb", "https://a.example/CB", false),
            ("https://a.example/cb", "https://a.example/%63b", false),
            ("https://a.example/", "https://a.example", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:50000/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true),
            ("http://[::1]:1/cb?a", "http://[::1]:2/cb?a", true),
            ("http://127.0.0.1/cb", "http://[::1]/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb/x", false),
            ("http://127.0.0.1/cb", "https://127.0.0.1:1/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1#/cb", false),
            ("http://127.0.0.1/cb", "http://localhost/cb", false),
            ("http://localhost:1/cb", "http://localhost:2/cb", false),
            ("http://localhost:1/cb", "http://localhost:1/cb", true),
            ("com.example.app:/cb", "com.example.app:/cb", true),
            ("com.example.app:/cb", "com.example.app:/CB", false),
        ] {
            let registered = RedirectUri::parse(registered).unwrap();
            assert_eq!(registered.matches(asked), expect, "{registered} {asked}");
        }
    }
}
