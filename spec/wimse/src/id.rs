//! Identifiers of the `wimse` scheme (wimse-identifier §4.4): canonical or refused, never repaired.

use core::net::Ipv4Addr;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use spiffe::form::{self, FormError};

// wimse-identifier §4.1: "MUST support identifiers whose canonical ASCII URI serialization is up to
// and including 2048 octets. Workload Identifiers SHOULD NOT exceed 2048 octets in length."
/// Longest identifier, in bytes.
const ID_BYTES_MAX: usize = 2048;
// wimse-identifier §4.4: "The canonical serialization MUST use the literal lowercase prefix
// `wimse://`."
/// What every identifier of the scheme begins with.
pub(crate) const PREFIX: &str = "wimse://";

/// An identifier of the `wimse` scheme: `wimse://trust.example/service/payment`. Two are equal if
/// their bytes are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WimseId {
    text: Arc<str>,
    path_at: usize,
}

impl WimseId {
    /// Reads an identifier in canonical form.
    pub fn parse(text: &str) -> Result<Self, WimseIdError> {
        if text.is_empty() {
            return Err(WimseIdError::Empty);
        }
        if text.len() > ID_BYTES_MAX {
            return Err(WimseIdError::TooLong { bytes: text.len() });
        }
        let rest = text.strip_prefix(PREFIX).ok_or(WimseIdError::Scheme)?;
        // wimse-identifier §4.1: "Consumers MUST reject identifiers that are not in canonical form
        // and MUST NOT repair or normalize".
        let (authority, path) = form::split(rest)?;
        check_trust_domain(authority)?;
        check_path(path)?;
        Ok(Self { text: text.into(), path_at: PREFIX.len() + authority.len() })
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain that it belongs to.
    pub fn trust_domain(&self) -> &str {
        self.text.get(PREFIX.len()..self.path_at).unwrap_or_default()
    }

    /// The path with its leading slash, never empty.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }
}

impl fmt::Display for WimseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for WimseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for WimseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for WimseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Why a text is no identifier of the `wimse` scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WimseIdError {
    #[error("an empty identifier")]
    Empty,
    #[error("{bytes} bytes; an identifier has at most {ID_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("the identifier does not begin with `{PREFIX}`, in lower case")]
    Scheme,
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("a trust domain that ends with a dot")]
    TrailingDot,
    #[error("the trust domain is the ip address {0}")]
    IpAddress(Ipv4Addr),
    #[error("no path")]
    PathMissing,
}

// wimse-identifier §4.4: "The trust domain MUST contain only lowercase ASCII letters, digits, dots,
// hyphens, and underscores. It MUST NOT contain percent-encoding or end with a dot."
pub(crate) fn check_trust_domain(name: &str) -> Result<(), WimseIdError> {
    form::check_trust_domain(name)?;
    if name.ends_with('.') {
        return Err(WimseIdError::TrailingDot);
    }
    // wimse-identifier §4.3: IP addresses "MUST NOT be used to represent trust domains except in
    // the case where they are needed for compatibility with legacy naming schemes": this scheme is
    // none.
    name.parse().map_or(Ok(()), |address| Err(WimseIdError::IpAddress(address)))
}

/// `path` is empty, or begins with a slash.
fn check_path(path: &str) -> Result<(), WimseIdError> {
    // wimse-identifier §4.4: "The path MUST contain at least one non-empty segment."
    if path.is_empty() || path == "/" {
        return Err(WimseIdError::PathMissing);
    }
    // wimse-identifier §4.4: "Each segment MUST contain only URI unreserved characters";
    // RFC 3986 §2.3: `unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~"`.
    Ok(form::check_path(path, &['-', '.', '_', '~'])?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// req: ID-02 (part)
    #[test]
    fn wimse_identifier_4_4_canonical_identifiers_are_accepted() {
        for (text, domain, path) in [
            ("wimse://trust.example.com/service/payment", "trust.example.com", "/service/payment"),
            ("wimse://t/p~A.9-_", "t", "/p~A.9-_"),
            ("wimse://a_b-c.9/...", "a_b-c.9", "/..."),
            ("wimse://1.2.3/p", "1.2.3", "/p"),
        ] {
            let id = WimseId::parse(text).unwrap();
            assert_eq!((id.as_str(), id.trust_domain(), id.path()), (text, domain, path));
        }
    }

    /// The last four are published counterexamples: another name of `/service/payment`, and ways
    /// out of `/service/pay`.
    ///
    /// req: ID-02
    #[test]
    fn wimse_identifier_4_4_everything_else_is_refused() {
        use FormError::*;
        use WimseIdError::{Empty, Form, IpAddress, PathMissing, Scheme, TooLong, TrailingDot};
        for (text, expect) in [
            ("", Empty),
            ("wimse:/t/p", Scheme),
            ("Wimse://t/p", Scheme),
            ("spiffe://t/p", Scheme),
            ("//t/p", Scheme),
            ("wimse://", Form(TrustDomainEmpty)),
            ("wimse:///p", Form(TrustDomainEmpty)),
            ("wimse://t", PathMissing),
            ("wimse://t/", PathMissing),
            ("wimse://t/p/", Form(TrailingSlash)),
            ("wimse://t//", Form(EmptySegment)),
            ("wimse://t//p", Form(EmptySegment)),
            ("wimse://t/p//o", Form(EmptySegment)),
            ("wimse://t/.", Form(DotSegment("."))),
            ("wimse://t/p/..", Form(DotSegment(".."))),
            ("wimse://t/p?q", Form(Query)),
            ("wimse://t/p#f", Form(Fragment)),
            ("wimse://u@t/p", Form(Userinfo)),
            ("wimse://u:s@t/p", Form(Userinfo)),
            ("wimse://t:1/p", Form(Port)),
            ("wimse://T/p", Form(UpperCase('T'))),
            ("wimse://t~/p", Form(TrustDomainCharacter('~'))),
            ("wimse://[::1]/p", Form(TrustDomainCharacter('['))),
            ("wimse://t./p", TrailingDot),
            ("wimse://10.0.0.1/p", IpAddress(Ipv4Addr::new(10, 0, 0, 1))),
            ("wimse://t/p o", Form(PathCharacter(' '))),
            ("wimse://t/p:o", Form(PathCharacter(':'))),
            ("wimse://t/*", Form(PathCharacter('*'))),
            ("wimse://t/ä", Form(PathCharacter('ä'))),
            ("wimse://%74/p", Form(PercentEncoding)),
            ("wimse://trust.example/service/%70ayment", Form(PercentEncoding)),
            ("wimse://trust.example/service/pay/%2e%2e/admin", Form(PercentEncoding)),
            ("wimse://trust.example/service/pay/../admin", Form(DotSegment(".."))),
            ("wimse://trust.example/", PathMissing),
        ] {
            assert_eq!(WimseId::parse(text), Err(expect), "{text}");
        }
        let bytes = 256;
        let domain = format!("wimse://{}/p", "d".repeat(bytes));
        assert_eq!(WimseId::parse(&domain), Err(Form(TrustDomainTooLong { bytes })));
        let longest = format!("wimse://t/{}", "p".repeat(2038));
        assert!(WimseId::parse(&longest).is_ok());
        let bytes = 2049;
        assert_eq!(WimseId::parse(&format!("{longest}p")), Err(TooLong { bytes }));
    }

    proptest! {
        #[test]
        fn wimse_identifier_4_1_parsing_gives_back_the_same_text_or_nothing(text in "\\PC{0,60}") {
            for text in [text.clone(), format!("wimse://{text}"), format!("wimse://t/{text}")] {
                if let Ok(id) = WimseId::parse(&text) {
                    prop_assert_eq!(id.as_str(), &text);
                    prop_assert_eq!(format!("wimse://{}{}", id.trust_domain(), id.path()), text);
                }
            }
        }
    }
}
