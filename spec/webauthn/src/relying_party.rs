//! Who asks: the relying party's identifier, and the one origin that it is served at.

use std::fmt;

use aws_lc_rs::digest;

/// Longest name of a host, in characters (RFC 1035 §2.3.4).
const HOST_CHARS_MAX: usize = 253;
/// Longest label of it.
const LABEL_CHARS_MAX: usize = 63;
/// Longest name that people read, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The one host that may be served without TLS.
const LOCALHOST: &str = "localhost";

/// A relying party identifier: a domain name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RpId(String);

impl RpId {
    /// Reads `login.example.org`; names in other scripts are in their ASCII form.
    pub fn parse(text: &str) -> Result<Self, NotAnRpId> {
        // §4, RP ID: "a relying party identifier is a valid domain string": an address is none.
        if is_domain(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(NotAnRpId { text: text.chars().take(HOST_CHARS_MAX).collect() })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What authenticator data has for it.
    pub fn hash(&self) -> [u8; 32] {
        // §6.1: "SHA-256 hash of the RP ID the credential is scoped to."
        sha256(self.0.as_bytes())
    }
}

impl fmt::Display for RpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no relying party identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no domain name in lower case")]
pub struct NotAnRpId {
    /// The text.
    pub text: String,
}

/// An origin: scheme, host and port, in the one form that browsers write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    text: String,
    host: String,
}

impl Origin {
    /// Reads `https://host` or `https://host:port`; `http` for `localhost` alone.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        let wrong = || NotAnOrigin { text: text.chars().take(HOST_CHARS_MAX).collect() };
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        // §13.4.8: clients "only expose the WebAuthn API in secure contexts": https, or a page of
        // this machine.
        let default = match scheme {
            "https" => 443,
            "http" if host == LOCALHOST => 80,
            _ => return Err(wrong()),
        };
        // RFC 6454 §6.2: "If the port part of the origin triple is different from the default port
        // [...] Append a U+003A COLON code point (":") and the given port, in base ten"
        let is_port = |port: &str| {
            port.parse::<u16>()
                .is_ok_and(|number| number != 0 && number != default && number.to_string() == port)
        };
        if !is_domain(host) || !port.is_none_or(is_port) {
            return Err(wrong());
        }
        Ok(Self { text: text.to_owned(), host: host.to_owned() })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text that is no origin that passkeys work at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no origin `https://HOST[:PORT]`")]
pub struct NotAnOrigin {
    /// The text.
    pub text: String,
}

/// A relying party: its identifier, its name for people, and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    id: RpId,
    name: String,
    origin: Origin,
}

impl RelyingParty {
    /// The identifier must be the host of the origin, or a domain above it; that it is no public
    /// suffix is for the browser to see.
    pub fn new(id: RpId, name: &str, origin: Origin) -> Result<Self, NotARelyingParty> {
        // §4, RP ID: "the caller-specified RP ID value is a registrable domain suffix of or is
        // equal to the caller's origin's effective domain"
        let above = origin.host.strip_suffix(id.as_str());
        if !above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) {
            return Err(NotARelyingParty::Scope { id, origin });
        }
        if !is_name(name, NAME_BYTES_MAX) {
            return Err(NotARelyingParty::Name);
        }
        Ok(Self { id, name: name.to_owned(), origin })
    }

    /// What credentials are scoped to.
    pub const fn id(&self) -> &RpId {
        &self.id
    }

    /// What people read.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is served.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Why a relying party is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARelyingParty {
    #[error("`{id}` is neither the host of `{origin}` nor a domain above it")]
    Scope { id: RpId, origin: Origin },
    #[error("a name of 1 to {NAME_BYTES_MAX} bytes is needed, without letters that are not seen")]
    Name,
}

/// Text that people are shown.
pub(crate) fn is_name(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && letters::name(text).is_ok()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_ldh = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.bytes().all(is_ldh)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // An address has a last label that is a number (URL Standard, "ends in a number checker": "If
    // last is non-empty and contains only ASCII digits, then return true").
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    text.len() <= HOST_CHARS_MAX && text.split('.').all(is_label) && !is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_an_rp_id_is_a_domain_name() {
        for text in ["example.org", "localhost", "a-b.example", "xn--mnchen-3ya.example"] {
            assert_eq!(RpId::parse(text).unwrap().as_str(), text);
        }
        let long = format!("{}.example", "a".repeat(64));
        for text in [
            "",
            ".",
            "example.org.",
            ".example",
            "Example.org",
            "a_b.example",
            "-a.example",
            "a-.example",
            "127.0.0.1",
            "a.0x1",
            "[::1]",
            "a b",
            "https://example.org",
            &long,
        ] {
            assert!(RpId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn rfc6454_6_2_an_origin_has_one_form() {
        for text in [
            "https://example.org",
            "https://example.org:8443",
            "http://localhost:8080",
            "https://localhost",
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "example.org",
            "http://example.org",
            "https://example.org/",
            "https://a@b.example",
            "https://example.org:443",
            "http://localhost:80",
            "https://example.org:08443",
            "https://example.org:0",
            "https://example.org:",
            "https://example.org:65536",
            "https://EXAMPLE.org",
            "HTTPS://example.org",
            "https://127.0.0.1",
            "null",
            "https://example.org:+84",
            "https://example.org?",
            "https://example.org:84:84",
        ] {
            assert!(Origin::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn s4_an_rp_id_covers_its_host_and_what_is_below() {
        let of = |id: &str, origin: &str| {
            RelyingParty::new(RpId::parse(id).unwrap(), "AIMS", Origin::parse(origin).unwrap())
        };
        assert!(of("example.org", "https://example.org").is_ok());
        assert!(of("example.org", "https://login.example.org:8443").is_ok());
        for (id, origin) in [
            ("login.example.org", "https://example.org"),
            ("example.org", "https://badexample.org"),
            ("example.org", "https://example.com"),
        ] {
            let refused = of(id, origin);
            assert!(matches!(refused, Err(NotARelyingParty::Scope { .. })), "{id} {origin}");
        }
        let id = || RpId::parse("localhost").unwrap();
        let origin = || Origin::parse("https://localhost").unwrap();
        for name in ["", " ", "a\nb", &"a".repeat(65)] {
            let refused = RelyingParty::new(id(), name, origin());
            assert_eq!(refused, Err(NotARelyingParty::Name), "{name:?}");
        }
    }
}
