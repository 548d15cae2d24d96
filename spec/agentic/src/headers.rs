//! The HTTP headers that repeat what is in the body, and whether they do.
//!
//! In scope: `MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name`, `Mcp-Session-Id`. Not here:
//! `Mcp-Param-*` (forwarded as they are; their check needs the tool's schema).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::method::{Meta, Method};
use crate::{Code, NAME_BYTES_MAX, URI_BYTES_MAX};

/// Longest value of a header that is read, in bytes: a URI in Base64, with its marks.
const VALUE_BYTES_MAX: usize = URI_BYTES_MAX / 3 * 4 + 16;
/// Marks around a value in Base64.
const SENTINEL: (&str, &str) = ("=?base64?", "?=");

/// A revision of MCP that is spoken here, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl Revision {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] =
        [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The revision of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.name() == text)
    }

    /// As written in headers and bodies.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether every request of this revision describes itself, without a session.
    pub fn is_stateless(self) -> bool {
        self >= Self::V2026_07_28
    }
}

/// The MCP headers of one HTTP request, not yet compared with its body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    version: Option<&'a str>,
    method: Option<&'a str>,
    name: Option<&'a str>,
    session: Option<&'a str>,
}

impl<'a> Headers<'a> {
    /// Picks the headers out of all of a request's.
    pub fn read(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Mismatch> {
        let mut read = Self::default();
        for (field, value) in fields {
            // MCP 2026-07-28, Case Sensitivity: "Clients and servers MUST use case-insensitive
            // comparisons for header names. Header values (such as method names) are
            // case-sensitive."
            let is = |name: &str| field.eq_ignore_ascii_case(name);
            let (header, slot) = if is("mcp-protocol-version") {
                ("MCP-Protocol-Version", &mut read.version)
            } else if is("mcp-method") {
                ("Mcp-Method", &mut read.method)
            } else if is("mcp-name") {
                ("Mcp-Name", &mut read.name)
            } else if is("mcp-session-id") {
                ("Mcp-Session-Id", &mut read.session)
            } else {
                continue;
            };
            if slot.is_some() {
                return Err(Mismatch::Repeated { header });
            }
            *slot = Some(plain(header, value)?);
        }
        // MCP 2025-11-25, Session Management: "The session ID MUST only contain visible ASCII
        // characters (ranging from 0x21 to 0x7E)."
        if read.session.is_some_and(|id| id.is_empty() || id.contains([' ', '\t'])) {
            return Err(Mismatch::Characters { header: "Mcp-Session-Id" });
        }
        Ok(read)
    }

    /// Compares the headers with the body; the revision that both agree on.
    ///
    /// A header that is there must agree in every revision; those of 2026-07-28 must be there.
    pub fn check(&self, method: &Method<'_>, meta: &Meta) -> Result<Revision, Mismatch> {
        let revision = self.revision(meta)?;
        let is_request = !matches!(method, Method::Notification(_));
        // MCP 2026-07-28, Standard Request Headers (table): `Mcp-Method`, required for "All
        // requests"; Sending Messages, note: "header requirements for notification POSTs are not
        // defined by this revision".
        let required = revision.is_stateless() && is_request;
        match self.method {
            None if required => return Err(Mismatch::Missing { header: "Mcp-Method" }),
            None => {}
            // MCP 2026-07-28, Server Validation: "Servers that process the request body MUST
            // reject requests where the values specified in the headers do not match the
            // corresponding values in the request body."
            Some(header) => same("Mcp-Method", header, method.name())?,
        }
        if let Some(target) = method.target() {
            match self.name {
                None if required => return Err(Mismatch::Missing { header: "Mcp-Name" }),
                None => {}
                Some(header) => same("Mcp-Name", &decoded(header)?, target)?,
            }
        }
        Ok(revision)
    }

    /// The session that the call belongs to, to be forwarded as it is.
    pub fn session(&self, revision: Revision) -> Option<&'a str> {
        // MCP 2026-07-28, Earlier Streamable HTTP Revisions: "An Mcp-Session-Id header on a
        // request: ignore it, and do not mint or echo session IDs."
        self.session.filter(|_| !revision.is_stateless())
    }

    /// The revision that header and body name.
    fn revision(&self, meta: &Meta) -> Result<Revision, Mismatch> {
        let known = |text: &str| {
            Revision::parse(text).ok_or_else(|| Mismatch::Unsupported { requested: text.into() })
        };
        match (self.version, meta.protocol_version.as_deref()) {
            (Some(header), Some(body)) => {
                // MCP 2026-07-28, Protocol Version Header: "The header value MUST match the
                // io.modelcontextprotocol/protocolVersion field carried in the request body's
                // _meta."
                same("MCP-Protocol-Version", header, body)?;
                known(header)
            }
            (Some(header), None) => {
                let revision = known(header)?;
                // MCP 2026-07-28, _meta: "fields marked as required MUST be included on every
                // request"; protocolVersion is.
                if revision.is_stateless() {
                    return Err(Mismatch::NoVersionInBody);
                }
                Ok(revision)
            }
            (None, Some(_)) => Err(Mismatch::Missing { header: "MCP-Protocol-Version" }),
            // MCP 2025-11-25, Protocol Version Header: "if the server does not receive an
            // MCP-Protocol-Version header, and has no other way to identify the version […] the
            // server SHOULD assume protocol version 2025-03-26."
            (None, None) => Ok(Revision::V2025_03_26),
        }
    }
}

/// Why headers and body do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("header `{header}` is missing")]
    Missing { header: &'static str },
    #[error("header `{header}` appears twice")]
    Repeated { header: &'static str },
    #[error("header `{header}` has a character that is not allowed")]
    Characters { header: &'static str },
    #[error("header `{header}` of {bytes} bytes is longer than {max}")]
    TooLong { header: &'static str, bytes: usize, max: usize },
    #[error("header `Mcp-Name` has broken Base64")]
    Encoding,
    #[error("header `{header}` is `{found}`, the body says `{body}`")]
    Differs { header: &'static str, found: String, body: String },
    #[error("`_meta` does not name the protocol version")]
    NoVersionInBody,
    #[error("protocol version `{requested}` is not supported")]
    Unsupported { requested: String },
}

impl Mismatch {
    /// What MCP calls it.
    pub fn code(&self) -> Code {
        match self {
            // MCP 2026-07-28, Protocol Version Header: "it MUST respond with 400 Bad Request and
            // an UnsupportedProtocolVersionError listing its supported versions."
            Self::Unsupported { .. } => Code::UnsupportedProtocolVersion,
            // MCP 2026-07-28, _meta: "A request missing any required field is malformed; the
            // server MUST reject it with JSON-RPC error code -32602 (Invalid params)."
            Self::NoVersionInBody => Code::InvalidParams,
            // MCP 2026-07-28, Server Validation: -32020: "The HTTP headers do not match the
            // corresponding values in the request body, or required headers are
            // missing/malformed."
            _ => Code::HeaderMismatch,
        }
    }
}

/// A header's value as text, without the white space around it.
fn plain<'a>(header: &'static str, value: &'a [u8]) -> Result<&'a str, Mismatch> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Mismatch::TooLong { header, bytes: value.len(), max: VALUE_BYTES_MAX });
    }
    // MCP 2026-07-28, Value Encoding: "HTTP header field values must consist of visible ASCII
    // characters (0x21-0x7E), space (0x20), and horizontal tab (0x09)."
    let allowed = |byte: &u8| matches!(byte, 0x20..=0x7e | 0x09);
    match std::str::from_utf8(value) {
        Ok(text) if value.iter().all(allowed) => Ok(text.trim_matches([' ', '\t'])),
        _ => Err(Mismatch::Characters { header }),
    }
}

/// The value of `Mcp-Name`, decoded where it is in Base64.
fn decoded(value: &str) -> Result<String, Mismatch> {
    // MCP 2026-07-28, Value Encoding: "These markers are case-sensitive and MUST appear exactly as
    // shown (lowercase)." "servers MUST decode an encoded Mcp-Name […] value before comparing it"
    let inner = value.strip_prefix(SENTINEL.0).and_then(|rest| rest.strip_suffix(SENTINEL.1));
    let Some(inner) = inner else { return Ok(value.to_owned()) };
    let bytes = STANDARD.decode(inner).map_err(|_| Mismatch::Encoding)?;
    String::from_utf8(bytes).map_err(|_| Mismatch::Encoding)
}

fn same(header: &'static str, found: &str, body: &str) -> Result<(), Mismatch> {
    if found == body {
        return Ok(());
    }
    let short = |text: &str| text.chars().take(NAME_BYTES_MAX).collect();
    Err(Mismatch::Differs { header, found: short(found), body: short(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "2026-07-28";

    fn call(name: &str) -> Method<'static> {
        Method::ToolsCall { name: name.into(), arguments: None }
    }

    fn meta(version: &str) -> Meta {
        Meta { protocol_version: (!version.is_empty()).then(|| version.into()), trace_parent: None }
    }

    fn check(
        fields: &[(&'static str, &'static str)],
        method: &Method<'_>,
        version: &str,
        expect: Result<Revision, Mismatch>,
    ) {
        let fields_read = fields.iter().map(|(field, value)| (*field, value.as_bytes()));
        let found = Headers::read(fields_read).and_then(|read| read.check(method, &meta(version)));
        assert_eq!(found, expect, "{fields:?}");
    }

    fn differs(header: &'static str, found: &str, body: &str) -> Result<Revision, Mismatch> {
        Err(Mismatch::Differs { header, found: found.into(), body: body.into() })
    }

    #[test]
    fn mcp_transport_headers_must_equal_the_body() {
        let (version, method) = (("MCP-Protocol-Version", NEW), ("Mcp-Method", "tools/call"));
        let name = ("mcp-NAME", "get_weather");
        let tool = call("get_weather");
        let missing = |header| Err(Mismatch::Missing { header });
        check(&[version, method, name], &tool, NEW, Ok(Revision::V2026_07_28));
        check(&[version, name], &tool, NEW, missing("Mcp-Method"));
        check(&[version, method], &tool, NEW, missing("Mcp-Name"));
        check(&[method, name], &tool, NEW, missing("MCP-Protocol-Version"));
        check(&[version, method, name], &call("x"), NEW, differs("Mcp-Name", "get_weather", "x"));
        check(
            &[version, ("Mcp-Method", "Tools/call"), name],
            &tool,
            NEW,
            differs("Mcp-Method", "Tools/call", "tools/call"),
        );
        check(&[version, method, name], &tool, "", Err(Mismatch::NoVersionInBody));
        check(
            &[version, method, name],
            &tool,
            "2025-11-25",
            differs("MCP-Protocol-Version", NEW, "2025-11-25"),
        );
        check(&[version, ("mcp-method", "ping")], &Method::Ping, NEW, Ok(Revision::V2026_07_28));
        let notification = Method::Notification("notifications/x".into());
        check(&[version], &notification, NEW, Ok(Revision::V2026_07_28));
    }

    #[test]
    fn mcp_transport_each_header_comes_once() {
        for header in ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id"] {
            let fields = [(header, b"a".as_slice()), ("x", b"y"), (header, b"a")];
            assert_eq!(Headers::read(fields), Err(Mismatch::Repeated { header }));
        }
    }

    #[test]
    fn mcp_transport_older_revisions_need_no_headers_but_none_may_lie() {
        check(&[], &call("a"), "", Ok(Revision::V2025_03_26));
        for (text, revision) in [
            ("2025-03-26", Revision::V2025_03_26),
            ("2025-06-18", Revision::V2025_06_18),
            ("2025-11-25", Revision::V2025_11_25),
        ] {
            check(&[("MCP-Protocol-Version", text)], &call("a"), "", Ok(revision));
        }
        check(&[("Mcp-Name", "b")], &call("a"), "", differs("Mcp-Name", "b", "a"));
        check(&[("Mcp-Method", "b")], &Method::Ping, "", differs("Mcp-Method", "b", "ping"));
    }

    #[test]
    fn mcp_transport_an_unknown_version_is_its_own_refusal() {
        for requested in ["1900-01-01", "2026-07-29", "2026-07-28 x", ""] {
            let expect = Mismatch::Unsupported { requested: requested.into() };
            assert_eq!(expect.code(), Code::UnsupportedProtocolVersion);
            check(&[("MCP-Protocol-Version", requested)], &Method::Ping, "", Err(expect));
        }
    }

    #[test]
    fn mcp_transport_value_encoding_is_undone_before_the_comparison() {
        let encoded = |value: &'static str, name: &str, expect| {
            let version = ("MCP-Protocol-Version", NEW);
            check(
                &[version, ("Mcp-Method", "tools/call"), ("Mcp-Name", value)],
                &call(name),
                NEW,
                expect,
            );
        };
        let good = Ok(Revision::V2026_07_28);
        // The examples of "Value Encoding".
        encoded("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界", good.clone());
        encoded("=?base64?IHBhZGRlZCA=?=", " padded ", good.clone());
        encoded("=?base64?bGluZTEKbGluZTI=?=", "line1\nline2", good.clone());
        encoded("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?=", good.clone());
        encoded("us-west1", "us-west1", good);
        encoded("=?BASE64?YQ==?=", "a", differs("Mcp-Name", "=?BASE64?YQ==?=", "a"));
        for broken in ["=?base64?YQ?=", "=?base64?Y?=", "=?base64?Y Q=?=", "=?base64?/w==?="] {
            encoded(broken, "a", Err(Mismatch::Encoding));
        }
    }

    #[test]
    fn mcp_transport_values_have_visible_characters_only() {
        let characters = |header| Err(Mismatch::Characters { header });
        for value in [b"a\0".as_slice(), b"a\nb", b"\xff", "é".as_bytes(), b"\x7f"] {
            assert_eq!(Headers::read([("Mcp-Name", value)]), characters("Mcp-Name"));
        }
        for value in [b"".as_slice(), b"a b"] {
            assert_eq!(Headers::read([("Mcp-Session-Id", value)]), characters("Mcp-Session-Id"));
        }
        let long = vec![b'a'; VALUE_BYTES_MAX + 1];
        let expect = Mismatch::TooLong {
            header: "Mcp-Name",
            bytes: VALUE_BYTES_MAX + 1,
            max: VALUE_BYTES_MAX,
        };
        assert_eq!(Headers::read([("Mcp-Name", long.as_slice())]), Err(expect));
    }

    #[test]
    fn mcp_transport_a_session_exists_in_older_revisions_only() {
        let read = Headers::read([("MCP-Session-Id", b"1868a90c".as_slice())]).unwrap();
        assert_eq!(read.session(Revision::V2025_11_25), Some("1868a90c"));
        assert_eq!(read.session(Revision::V2026_07_28), None);
    }

    #[test]
    fn mcp_basic_codes_of_refused_headers() {
        assert_eq!(Mismatch::Encoding.code().number(), -32020);
        assert_eq!(Mismatch::Missing { header: "Mcp-Name" }.code().number(), -32020);
        assert_eq!(Mismatch::NoVersionInBody.code().number(), -32602);
        assert_eq!(Mismatch::Unsupported { requested: "x".into() }.code().number(), -32022);
    }
}
