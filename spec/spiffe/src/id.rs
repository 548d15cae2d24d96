//! SPIFFE IDs and trust domain names (SPIFFE-ID §2): canonical or refused, never repaired.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::form::{self, FormError};

// SPIFFE-ID §2.3: "SPIFFE implementations MUST support SPIFFE URIs up to 2048 bytes in length and
// SHOULD NOT generate URIs of length greater than 2048 bytes."
/// Longest SPIFFE ID, in bytes.
const ID_BYTES_MAX: usize = 2048;
/// What every SPIFFE ID begins with.
const PREFIX: &str = "spiffe://";

/// The name of a trust domain: `prod.example`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Reads a bare name, without a scheme.
    pub fn parse(name: &str) -> Result<Self, SpiffeIdError> {
        form::check_trust_domain(name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SPIFFE ID without path, which names the trust domain and its signing authority.
    pub fn id(&self) -> SpiffeId {
        SpiffeId { text: format!("{PREFIX}{}", self.0).into(), trust_domain: self.clone() }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TrustDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TrustDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A SPIFFE ID: `spiffe://prod.example/payments/web`. Cloning is cheap; two are equal if their
/// bytes are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Reads an identifier in canonical form.
    ///
    /// SPIFFE-ID §2.4 calls scheme and trust domain case-insensitive, §2.1 has the host "MUST be
    /// lowercase", and wimse-identifier §4.3 forbids consumers to normalise: other case is refused.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        if text.len() > ID_BYTES_MAX {
            return Err(SpiffeIdError::TooLong { bytes: text.len() });
        }
        // SPIFFE-ID §2: "Valid SPIFFE IDs MUST have the scheme set to `spiffe`"
        let rest = text.strip_prefix(PREFIX).ok_or(SpiffeIdError::Scheme)?;
        let (authority, path) = form::split(rest)?;
        form::check_trust_domain(authority)?;
        // SPIFFE-ID §2.2: "Individual path segments MUST contain only letters, numbers, dots,
        // dashes, and underscores ([a-zA-Z0-9.-_])."
        form::check_path(path, &['.', '-', '_'])?;
        Ok(Self { text: text.into(), trust_domain: TrustDomain(authority.into()) })
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain that it resides in.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash; empty if there is none.
    pub fn path(&self) -> &str {
        self.text.get(PREFIX.len() + self.trust_domain.0.len()..).unwrap_or_default()
    }

    /// The segments of the path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').skip(1)
    }

    /// Whether it resides in this trust domain.
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain == *trust_domain
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Why a text is no SPIFFE ID, or no name of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    #[error("an empty identifier")]
    Empty,
    #[error("{bytes} bytes; a spiffe id has at most {ID_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("a spiffe id begins with `{PREFIX}`, in lower case")]
    Scheme,
    #[error(transparent)]
    Form(#[from] FormError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: Result<(&str, &str), SpiffeIdError>) {
        let parsed = SpiffeId::parse(text);
        let parts = parsed.as_ref().map(|id| (id.trust_domain().as_str(), id.path()));
        assert_eq!(parts, expect.as_ref().map(|parts| *parts), "{text:?}");
    }

    /// req: ID-02 (part)
    #[test]
    fn spiffe_id_2_canonical_identifiers_are_accepted() {
        for (text, domain, path) in [
            ("spiffe://td", "td", ""),
            ("spiffe://td/p", "td", "/p"),
            ("spiffe://td/.path", "td", "/.path"),
            ("spiffe://td/..path", "td", "/..path"),
            ("spiffe://td/...", "td", "/..."),
            ("spiffe://1.2.3.4/a/B-c_d.9", "1.2.3.4", "/a/B-c_d.9"),
            ("spiffe://a_b-c.9/x", "a_b-c.9", "/x"),
            ("spiffe://td./x", "td.", "/x"),
        ] {
            check(text, Ok((domain, path)));
        }
        let id = SpiffeId::parse("spiffe://td/a/b").unwrap();
        assert_eq!(id.segments().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(TrustDomain::parse("td").unwrap().id().segments().count(), 0);
        assert!(id.is_member_of(&TrustDomain::parse("td").unwrap()));
        assert!(!id.is_member_of(&TrustDomain::parse("t").unwrap()));
    }

    /// Past defects 25 and 28: case, port, user, query, encoding, dots, empty segments, length.
    ///
    /// req: ID-02
    #[test]
    fn spiffe_id_2_everything_else_is_refused() {
        use FormError::*;
        use SpiffeIdError::{Empty, Form, Scheme};
        for (text, expect) in [
            ("", Empty),
            ("s", Scheme),
            ("spiffe:/", Scheme),
            ("spiffe:/td", Scheme),
            ("spiffe:td", Scheme),
            ("Spiffe://td", Scheme),
            ("SPIFFE://td/p", Scheme),
            ("wimse://td/p", Scheme),
            (" spiffe://td", Scheme),
            ("//td/p", Scheme),
            ("spiffe://", Form(TrustDomainEmpty)),
            ("spiffe:///p", Form(TrustDomainEmpty)),
            ("spiffe://td/", Form(TrailingSlash)),
            ("spiffe://td/p/", Form(TrailingSlash)),
            ("spiffe://td//", Form(EmptySegment)),
            ("spiffe://td//p", Form(EmptySegment)),
            ("spiffe://td/p//o", Form(EmptySegment)),
            ("spiffe://td/.", Form(DotSegment("."))),
            ("spiffe://td/./p", Form(DotSegment("."))),
            ("spiffe://td/..", Form(DotSegment(".."))),
            ("spiffe://td/p/../o", Form(DotSegment(".."))),
            ("spiffe://td?q", Form(Query)),
            ("spiffe://td/p?q", Form(Query)),
            ("spiffe://td/p?", Form(Query)),
            ("spiffe://td#f", Form(Fragment)),
            ("spiffe://td/p#", Form(Fragment)),
            ("spiffe://%74d/p", Form(PercentEncoding)),
            ("spiffe://td/%70", Form(PercentEncoding)),
            ("spiffe://td/p%2Fo", Form(PercentEncoding)),
            ("spiffe://user@td/p", Form(Userinfo)),
            ("spiffe://user:secret@td/p", Form(Userinfo)),
            ("spiffe://@td/p", Form(Userinfo)),
            ("spiffe://td:443/p", Form(Port)),
            ("spiffe://td:/p", Form(Port)),
            ("spiffe://[::1]/p", Form(TrustDomainCharacter('['))),
            ("spiffe://Td/p", Form(UpperCase('T'))),
            ("spiffe://t~d/p", Form(TrustDomainCharacter('~'))),
            ("spiffe://t d/p", Form(TrustDomainCharacter(' '))),
            ("spiffe://tд/p", Form(TrustDomainCharacter('д'))),
            ("spiffe://*.td/p", Form(TrustDomainCharacter('*'))),
            ("spiffe://td/p~", Form(PathCharacter('~'))),
            ("spiffe://td/p o", Form(PathCharacter(' '))),
            ("spiffe://td/ü", Form(PathCharacter('ü'))),
            ("spiffe://td/p\n", Form(PathCharacter('\n'))),
            ("spiffe://td/p\0", Form(PathCharacter('\0'))),
            ("spiffe://td/p\\o", Form(PathCharacter('\\'))),
            ("spiffe://td/*", Form(PathCharacter('*'))),
            ("spiffe://td/p;a=b", Form(PathCharacter(';'))),
        ] {
            check(text, Err(expect));
        }
    }

    #[test]
    fn spiffe_id_2_1_every_byte_outside_the_sets_is_refused() {
        for byte in 0_u8..128 {
            let character = char::from(byte);
            let host = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'/');
            let parsed = SpiffeId::parse(&format!("spiffe://a{character}b"));
            assert_eq!(parsed.is_ok(), host, "{character:?}");
            let path = host || byte.is_ascii_uppercase();
            let parsed = SpiffeId::parse(&format!("spiffe://td/a{character}b"));
            assert_eq!(parsed.is_ok(), path, "{character:?}");
        }
    }

    #[test]
    fn spiffe_id_2_3_lengths_are_bounded() {
        let domain = "d".repeat(255);
        assert!(TrustDomain::parse(&domain).is_ok());
        let bytes = 256;
        assert_eq!(
            TrustDomain::parse(&"d".repeat(bytes)),
            Err(FormError::TrustDomainTooLong { bytes }.into())
        );
        let longest = format!("spiffe://td/{}", "p".repeat(2048 - 12));
        assert!(SpiffeId::parse(&longest).is_ok());
        let bytes = 2049;
        assert_eq!(SpiffeId::parse(&format!("{longest}p")), Err(SpiffeIdError::TooLong { bytes }));
    }

    #[test]
    fn spiffe_id_2_1_names_of_trust_domains_are_bare() {
        use FormError::*;
        for (name, expect) in [
            ("", TrustDomainEmpty),
            ("spiffe://td", Port),
            ("td/p", TrustDomainCharacter('/')),
            ("td:1", Port),
            ("a@td", Userinfo),
            ("%74d", PercentEncoding),
            ("TD", UpperCase('T')),
        ] {
            assert_eq!(TrustDomain::parse(name), Err(expect.into()), "{name}");
        }
    }

    proptest! {
        #[test]
        fn spiffe_id_2_parsing_gives_back_the_same_text_or_nothing(text in "\\PC{0,60}") {
            for text in [text.clone(), format!("spiffe://{text}"), format!("spiffe://td/{text}")] {
                if let Ok(id) = SpiffeId::parse(&text) {
                    prop_assert_eq!(id.as_str(), &text);
                    let json = serde_json::to_string(&id).unwrap();
                    prop_assert_eq!(serde_json::from_str::<SpiffeId>(&json).unwrap(), id);
                }
            }
        }
    }
}
