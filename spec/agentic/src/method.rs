//! What a message asks for: the typed view of `method` and of the few params that decide.
//!
//! In scope: the target of a call and the protocol's own `_meta`. Not here: the meaning of
//! arguments (the server's), and which methods are allowed (`stack/gateway`, `stack/pdp`).

use json::Unreadable;
use serde_json::value::RawValue;

use crate::message::{Notification, Request};
use crate::{Code, NAME_BYTES_MAX, URI_BYTES_MAX};

/// What every notification's method begins with.
const NOTIFICATIONS: &str = "notifications/";
/// `_meta` key of the protocol version of a request.
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// A method with what a decision needs of its params.
#[derive(Debug, Clone)]
pub enum Method<'a> {
    /// `arguments` is an object, as the sender wrote it.
    ToolsCall {
        name: String,
        arguments: Option<&'a RawValue>,
    },
    ToolsList,
    ResourcesRead {
        uri: String,
    },
    ResourcesList,
    PromptsGet {
        name: String,
    },
    PromptsList,
    /// Revisions up to 2025-11-25: opens a session.
    Initialize {
        protocol_version: String,
    },
    /// Revisions up to 2025-11-25.
    Ping,
    /// Revision 2026-07-28.
    ServerDiscover,
    /// Revision 2026-07-28: a long-lived stream of notifications.
    SubscriptionsListen,
    /// A one-way message; the name begins with `notifications/`.
    Notification(String),
    /// A request with a method that is none of these.
    Other(String),
}

impl<'a> Method<'a> {
    /// What a request asks for.
    pub fn of_request(request: &Request<'a>) -> Result<Self, Misread> {
        let params = Params { method: &request.method, raw: request.params };
        Ok(match request.method.as_str() {
            "tools/call" => {
                let [name, arguments] = params.members(["name", "arguments"])?;
                let name = params.text("name", name, NAME_BYTES_MAX)?;
                if arguments.is_some_and(|arguments| !json::is_object(arguments)) {
                    return Err(params.wrong_kind("arguments"));
                }
                Self::ToolsCall { name, arguments }
            }
            "resources/read" => {
                let [uri] = params.members(["uri"])?;
                Self::ResourcesRead { uri: params.text("uri", uri, URI_BYTES_MAX)? }
            }
            "prompts/get" => {
                let [name] = params.members(["name"])?;
                Self::PromptsGet { name: params.text("name", name, NAME_BYTES_MAX)? }
            }
            "initialize" => {
                let [version] = params.members(["protocolVersion"])?;
                let protocol_version = params.text("protocolVersion", version, NAME_BYTES_MAX)?;
                Self::Initialize { protocol_version }
            }
            "tools/list" => Self::ToolsList,
            "resources/list" => Self::ResourcesList,
            "prompts/list" => Self::PromptsList,
            "ping" => Self::Ping,
            "server/discover" => Self::ServerDiscover,
            "subscriptions/listen" => Self::SubscriptionsListen,
            // COAZ MCP binding, Pass-through Operations: "all notifications (notifications/*),
            // which carry no id". With an id it is no notification, and passes for none.
            other => Self::Other(other.to_owned()),
        })
    }

    /// What a notification says.
    ///
    /// A method that is not a notification's is refused: without an `id` it would pass as one, and
    /// a lenient server might still do what it says.
    pub fn of_notification(notification: &Notification<'a>) -> Result<Self, Misread> {
        let method = notification.method.clone();
        if !method.starts_with(NOTIFICATIONS) {
            return Err(Misread::NotANotification { method });
        }
        Ok(Self::Notification(method))
    }

    /// The name of the method, as in the message.
    pub fn name(&self) -> &str {
        match self {
            Self::ToolsCall { .. } => "tools/call",
            Self::ToolsList => "tools/list",
            Self::ResourcesRead { .. } => "resources/read",
            Self::ResourcesList => "resources/list",
            Self::PromptsGet { .. } => "prompts/get",
            Self::PromptsList => "prompts/list",
            Self::Initialize { .. } => "initialize",
            Self::Ping => "ping",
            Self::ServerDiscover => "server/discover",
            Self::SubscriptionsListen => "subscriptions/listen",
            Self::Notification(name) | Self::Other(name) => name,
        }
    }

    /// What `Mcp-Name` must repeat: `params.name` or `params.uri`.
    pub fn target(&self) -> Option<&str> {
        // MCP 2026-07-28, Standard Request Headers (table): `Mcp-Name`, source "params.name or
        // params.uri", required for "tools/call, resources/read, prompts/get requests"
        match self {
            Self::ToolsCall { name, .. } | Self::PromptsGet { name } => Some(name),
            Self::ResourcesRead { uri } => Some(uri),
            _ => None,
        }
    }
}

/// What the protocol itself puts into `params._meta`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    pub protocol_version: Option<String>,
    pub trace_parent: Option<TraceParent>,
}

impl Meta {
    /// Reads `_meta` of a message's params; without any, nothing is known.
    pub fn read(method: &str, params: Option<&RawValue>) -> Result<Self, Misread> {
        let params = Params { method, raw: params };
        let [Some(meta)] = params.members(["_meta"])? else { return Ok(Self::default()) };
        if !json::is_object(meta) {
            return Err(params.wrong_kind("_meta"));
        }
        let [version, trace] = json::members(meta, [META_VERSION, "traceparent"])?;
        let protocol_version = match version {
            Some(_) => Some(params.text(META_VERSION, version, NAME_BYTES_MAX)?),
            None => None,
        };
        // W3C Trace Context §3.2.2: "If the value of traceparent cannot be parsed, the vendor
        // creates a new traceparent header": a trace is never a reason to refuse a call.
        let trace_parent = trace.and_then(json::string).and_then(|text| TraceParent::parse(&text));
        Ok(Self { protocol_version, trace_parent })
    }
}

/// W3C Trace Context: the trace a call belongs to. All in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 digits, not all zero.
    pub trace_id: String,
    /// 16 digits, not all zero.
    pub parent_id: String,
    /// 2 digits.
    pub flags: String,
}

impl TraceParent {
    /// Reads `00-<trace id>-<parent id>-<flags>`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace_id = hex(fields.next()?, 32)?;
        let parent_id = hex(fields.next()?, 16)?;
        let flags = hex(fields.next()?, 2)?;
        // W3C Trace Context §3.2.2.1: "Version ff is forbidden." §3.2.2.3: "All bytes as zero is
        // considered an invalid value." Later versions may have more fields behind these.
        let zero = |digits: &str| digits.bytes().all(|digit| digit == b'0');
        if version == "ff" || zero(&trace_id) || zero(&parent_id) {
            return None;
        }
        if version == "00" && fields.next().is_some() {
            return None;
        }
        Some(Self { trace_id, parent_id, flags })
    }
}

/// Why params do not fit their method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misread {
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error("`{method}` without `{member}`")]
    Missing { method: String, member: &'static str },
    #[error("`{member}` of `{method}` is of the wrong kind")]
    Kind { method: String, member: &'static str },
    #[error("`{member}` of `{method}` has {bytes} bytes, more than {max}")]
    TooLong { method: String, member: &'static str, bytes: usize, max: usize },
    #[error("`{method}` has no `id` and is not a notification")]
    NotANotification { method: String },
    #[error("a result without `tools`, or with one that has no name")]
    Tools,
    #[error("a result with more than {max} tools")]
    TooManyTools { max: usize },
}

impl Misread {
    /// What JSON-RPC calls it.
    pub fn code(&self) -> Code {
        // JSON-RPC 2.0 §5.1: "-32602 Invalid params: Invalid method parameter(s)."
        match self {
            Self::Json(_) | Self::NotANotification { .. } => Code::InvalidRequest,
            _ => Code::InvalidParams,
        }
    }
}

/// The params of one message, while they are read.
struct Params<'m, 'a> {
    method: &'m str,
    raw: Option<&'a RawValue>,
}

impl<'a> Params<'_, 'a> {
    fn members<const N: usize>(
        &self,
        wanted: [&'static str; N],
    ) -> Result<[Option<&'a RawValue>; N], Unreadable> {
        self.raw.map_or(Ok([None; N]), |raw| json::members(raw, wanted))
    }

    fn text(
        &self,
        member: &'static str,
        raw: Option<&RawValue>,
        max: usize,
    ) -> Result<String, Misread> {
        let method = || self.method.to_owned();
        let raw = raw.ok_or_else(|| Misread::Missing { method: method(), member })?;
        let text = json::string(raw).ok_or_else(|| self.wrong_kind(member))?;
        if text.len() > max {
            return Err(Misread::TooLong { method: method(), member, bytes: text.len(), max });
        }
        Ok(text)
    }

    fn wrong_kind(&self, member: &'static str) -> Misread {
        Misread::Kind { method: self.method.to_owned(), member }
    }
}

/// `text`, if it is `digits` digits of lower-case hexadecimal.
fn hex(text: &str, digits: usize) -> Option<String> {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(lower_hex)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn read(method: &str, params: &str) -> Result<(String, Option<String>), Misread> {
        let input =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#).leak();
        let Ok(Message::Request(request)) = Message::parse(input.as_bytes()) else { panic!() };
        let method = Method::of_request(&request)?;
        Ok((method.name().to_owned(), method.target().map(str::to_owned)))
    }

    #[test]
    fn mcp_server_methods_and_their_targets() {
        for (method, params, target) in [
            ("tools/call", r#"{"name":"get_weather","arguments":{"a":1}}"#, Some("get_weather")),
            ("tools/call", r#"{"n\u0061me":"w\u00e9"}"#, Some("wé")),
            ("resources/read", r#"{"uri":"file:///a"}"#, Some("file:///a")),
            ("prompts/get", r#"{"name":"p"}"#, Some("p")),
            ("initialize", r#"{"protocolVersion":"2025-11-25"}"#, None),
            ("tools/list", r#"{"cursor":"x"}"#, None),
            ("resources/list", "{}", None),
            ("prompts/list", "{}", None),
            ("ping", "{}", None),
            ("server/discover", "{}", None),
            ("subscriptions/listen", "{}", None),
            ("tasks/get", r#"{"taskId":"1"}"#, None),
            ("Tools/Call", r#"{"name":"x"}"#, None),
        ] {
            let expect = (method.to_owned(), target.map(str::to_owned));
            assert_eq!(read(method, params), Ok(expect), "{method} {params}");
        }
    }

    #[test]
    fn mcp_server_tools_params_that_do_not_fit_are_refused() {
        let method = || "tools/call".to_owned();
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for (params, expect) in [
            ("{}", Misread::Missing { method: method(), member: "name" }),
            (r#"{"name":7}"#, Misread::Kind { method: method(), member: "name" }),
            (r#"{"name":null}"#, Misread::Kind { method: method(), member: "name" }),
            (
                r#"{"name":"a","arguments":[]}"#,
                Misread::Kind { method: method(), member: "arguments" },
            ),
            (
                &format!(r#"{{"name":"{long}"}}"#),
                Misread::TooLong {
                    method: method(),
                    member: "name",
                    bytes: NAME_BYTES_MAX + 1,
                    max: NAME_BYTES_MAX,
                },
            ),
            (
                r#"{"name":"read","Name":"delete"}"#,
                Unreadable::LookAlike { found: "Name".into(), meant: "name" }.into(),
            ),
            (
                r#"{"name":"read","ARGUMENTS":{}}"#,
                Unreadable::LookAlike { found: "ARGUMENTS".into(), meant: "arguments" }.into(),
            ),
        ] {
            assert_eq!(read("tools/call", params), Err(expect), "{params}");
        }
    }

    #[test]
    fn coaz_pass_through_takes_no_call_for_a_notification() {
        let of = |method: &str| {
            let notification = Notification { method: method.into(), params: None };
            Method::of_notification(&notification).map(|method| method.name().to_owned())
        };
        assert_eq!(of("notifications/cancelled"), Ok("notifications/cancelled".into()));
        for method in ["tools/call", "notifications", "Notifications/x", ""] {
            assert_eq!(of(method), Err(Misread::NotANotification { method: method.into() }));
        }
        let named =
            Request { id: crate::Id::Integer(1), method: "notifications/x".into(), params: None };
        assert!(matches!(Method::of_request(&named), Ok(Method::Other(_))));
    }

    #[test]
    fn mcp_basic_meta_tells_version_and_trace() {
        let meta = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            Meta::read("x", Some(&raw))
        };
        let read = meta(
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
            "traceparent":"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"}}"#,
        )
        .unwrap();
        assert_eq!(read.protocol_version.as_deref(), Some("2026-07-28"));
        assert_eq!(read.trace_parent.unwrap().trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(Meta::read("x", None), Ok(Meta::default()));
        assert_eq!(meta("{}"), Ok(Meta::default()));
        let kind = |member| Err(Misread::Kind { method: "x".into(), member });
        assert_eq!(meta(r#"{"_meta":null}"#), kind("_meta"));
        assert_eq!(
            meta(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":1}}"#),
            kind(META_VERSION)
        );
    }

    #[test]
    fn w3c_trace_context_3_2_2_what_is_no_traceparent_is_none() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-0AF7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            zeros,
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
        assert!(
            TraceParent::parse("01-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-more")
                .is_some()
        );
    }
}
