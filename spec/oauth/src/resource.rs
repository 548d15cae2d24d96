//! Where a token is to be used: `resource` (RFC 8707) by address, `audience` (RFC 8693) by name.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

/// Bytes of a resource or an audience.
const MAX_TARGET_BYTES: usize = 2_048;

/// An absolute URI without fragment. Compared character by character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(String);

impl Resource {
    /// The text, if it is such a URI as it stands; nothing is repaired.
    pub fn parse(text: &str) -> Result<Self, NotAResource> {
        if text.len() > MAX_TARGET_BYTES {
            return Err(NotAResource::TooLong { length: text.len(), max: MAX_TARGET_BYTES });
        }
        // RFC 8707 §2: "The URI MUST NOT include a fragment component."
        if text.contains('#') {
            return Err(NotAResource::Fragment);
        }
        if !has_uri_characters(text) {
            return Err(NotAResource::Character);
        }
        // RFC 8707 §2: "Its value MUST be an absolute URI, as specified by Section 4.3 of
        // [RFC3986]."
        let (scheme, rest) = text.split_once(':').ok_or(NotAResource::NotAbsolute)?;
        if !is_scheme(scheme) || rest.is_empty() {
            return Err(NotAResource::NotAbsolute);
        }
        if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            let url = Url::parse(text).map_err(|_| NotAResource::NotAbsolute)?;
            if !rest.starts_with("//") || !url.username().is_empty() || url.password().is_some() {
                return Err(NotAResource::Authority);
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, and the query if there is one, at which the metadata of this resource stands.
    pub fn well_known_path(&self) -> String {
        format!("/.well-known/oauth-protected-resource{}", self.after_host())
    }

    /// The URL of that document.
    pub fn well_known_url(&self) -> String {
        format!("{}{}", self.origin(), self.well_known_path())
    }

    fn origin(&self) -> &str {
        self.split().0
    }

    /// RFC 9728 §3.1: "any terminating / following the host component MUST be removed before
    /// inserting".
    fn after_host(&self) -> String {
        let after = self.split().1;
        match after.split_once('?') {
            Some(("/", query)) => format!("?{query}"),
            None if after == "/" => String::new(),
            _ => after.to_owned(),
        }
    }

    fn split(&self) -> (&str, &str) {
        let host = self.0.find("://").map_or(0, |at| at + 3);
        let rest = self.0.get(host..).unwrap_or_default();
        let end = rest.find(['/', '?']).map_or(self.0.len(), |end| end + host);
        self.0.split_at(end)
    }
}

/// Why a text is no resource indicator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAResource {
    #[error("resource of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("resource with a fragment")]
    Fragment,
    #[error("resource with a character that no URI has")]
    Character,
    #[error("resource that is no absolute URI")]
    NotAbsolute,
    #[error("resource without a host, or with user information")]
    Authority,
}

/// A logical name that client and server both know: a trust domain, an issuer, a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudienceName(String);

impl AudienceName {
    /// Any text of 1 to 2,048 bytes without control characters.
    pub fn parse(text: &str) -> Result<Self, NotAnAudience> {
        if text.is_empty() || text.len() > MAX_TARGET_BYTES {
            return Err(NotAnAudience::Length { length: text.len(), max: MAX_TARGET_BYTES });
        }
        if text.chars().any(char::is_control) {
            return Err(NotAnAudience::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no audience.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAudience {
    #[error("audience of {length} bytes, not 1 to {max}")]
    Length { length: usize, max: usize },
    #[error("audience with a control character")]
    Character,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl fmt::Display for AudienceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 3986 §3.1: "scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )"
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// RFC 3986 §2: unreserved, reserved (less `#`), and `%` before two hexadecimal digits.
fn has_uri_characters(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let allowed = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=".contains(&byte),
        };
        if !allowed {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8707_2_resource_is_an_absolute_uri() {
        for text in [
            "https://api.example.com/",
            "https://api.example.com/app/?tenant=a%20b",
            "http://localhost:8446/tools",
            "spiffe://example.org/agent",
            "urn:example:tool",
        ] {
            assert_eq!(Resource::parse(text).unwrap().as_str(), text);
        }
        for (text, expect) in [
            ("", NotAResource::NotAbsolute),
            ("api", NotAResource::NotAbsolute),
            ("/api", NotAResource::NotAbsolute),
            ("//api.example.com", NotAResource::NotAbsolute),
            (":x", NotAResource::NotAbsolute),
            ("1http://x", NotAResource::NotAbsolute),
            ("https:", NotAResource::NotAbsolute),
            ("https://", NotAResource::NotAbsolute),
            ("https:api.example.com", NotAResource::Authority),
            ("https://a@api.example.com", NotAResource::Authority),
            ("HTTPS://a:b@api.example.com", NotAResource::Authority),
            ("https://api.example.com/#x", NotAResource::Fragment),
            ("https://api.example.com/a b", NotAResource::Character),
            ("https://api.example.com/%zz", NotAResource::Character),
            ("https://api.example.com/%2", NotAResource::Character),
            ("https://api.example.com/\\x", NotAResource::Character),
            ("https://api.example.com/\n", NotAResource::Character),
            ("https://\u{e4}pi.example.com/", NotAResource::Character),
        ] {
            assert_eq!(Resource::parse(text), Err(expect), "{text}");
        }
        let long = format!("https://a/{}", "a".repeat(3_000));
        assert!(matches!(Resource::parse(&long), Err(NotAResource::TooLong { .. })));
    }

    #[test]
    fn rfc9728_3_1_well_known_is_inserted() {
        for (resource, path) in [
            ("https://r.example", "/.well-known/oauth-protected-resource"),
            ("https://r.example/", "/.well-known/oauth-protected-resource"),
            ("https://r.example/a", "/.well-known/oauth-protected-resource/a"),
            ("https://r.example/a/", "/.well-known/oauth-protected-resource/a/"),
            ("https://r.example/a?b=c", "/.well-known/oauth-protected-resource/a?b=c"),
            ("https://r.example?b=c", "/.well-known/oauth-protected-resource?b=c"),
            ("https://r.example/?b=c", "/.well-known/oauth-protected-resource?b=c"),
        ] {
            let resource = Resource::parse(resource).unwrap();
            assert_eq!(resource.well_known_path(), path);
            assert_eq!(resource.well_known_url(), format!("https://r.example{path}"));
        }
    }

    #[test]
    fn rfc8693_2_1_audience_is_a_name() {
        assert_eq!(
            AudienceName::parse("trust-domain.example").unwrap().as_str(),
            "trust-domain.example"
        );
        assert!(matches!(AudienceName::parse(""), Err(NotAnAudience::Length { .. })));
        assert_eq!(AudienceName::parse("a\nb"), Err(NotAnAudience::Character));
    }
}
