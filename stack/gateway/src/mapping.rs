//! What a call asks for: the action and the thing it is done to, as policy names them.

use agentic::{Headers, Malformed, Message, Meta, Method, Mismatch, Misread, Revision};
use authorization::{Protocol, ResourcePolicy};
use oauth::Scope;

use crate::call::Call;

/// The kind of thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedKind {
    /// A tool of an MCP server.
    Tool {
        /// Its name.
        name: String,
    },
    /// What a session of the protocol needs and that changes nothing: to begin, to list.
    Session,
    /// A request of plain HTTP.
    Request {
        /// The method.
        method: String,
        /// The path below the resource.
        path: String,
    },
}

/// What is asked for, and what the resource's policy says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub kind: WantedKind,
    /// The scope that a token needs for it.
    pub scope: Option<Scope>,
    /// True when it changes nothing.
    pub read_only: bool,
    /// The id of the JSON-RPC request, so that a refusal can answer it.
    pub rpc: Option<agentic::Id>,
    /// The MCP revision, where one is spoken.
    pub revision: Option<Revision>,
    /// The W3C trace that the call belongs to.
    pub trace: Option<String>,
}

impl Wanted {
    /// The action that the PDP is asked about.
    pub const fn action(&self) -> &'static str {
        match self.kind {
            WantedKind::Tool { .. } => "tool.call",
            WantedKind::Session => "tool.list",
            WantedKind::Request { .. } => "http.request",
        }
    }

    /// The thing in words, for records and messages.
    pub fn what(&self, resource: &str) -> String {
        match &self.kind {
            WantedKind::Tool { name } => format!("{resource}#{name}"),
            WantedKind::Session => resource.to_owned(),
            WantedKind::Request { method, path } => format!("{method} {resource}{path}"),
        }
    }
}

/// Reads what a call asks of `resource`. Nothing is decided here but what the question is.
pub fn map(call: &Call, resource: &ResourcePolicy) -> Result<Wanted, MapRefusal> {
    match resource.protocol {
        Protocol::Mcp => map_mcp(call, resource),
        Protocol::Http => map_http(call, resource),
    }
}

/// The scope that a request will need, for who asks for a token before it calls. The gateway maps
/// the call itself again, headers and all.
pub fn scope(
    method: &str,
    below: &str,
    body: &[u8],
    resource: &ResourcePolicy,
) -> Result<Option<Scope>, MapRefusal> {
    let no_action = |what: String| MapRefusal::NoAction { what, resource: resource.name.clone() };
    if resource.protocol == Protocol::Http {
        let action = resource.request(method, below);
        return action
            .map(|action| action.scope.clone())
            .ok_or_else(|| no_action(format!("{method} {below}")));
    }
    if method != "POST" {
        return Ok(None);
    }
    let Message::Request(request) = Message::parse(body)? else { return Ok(None) };
    match Method::of_request(&request)? {
        Method::ToolsCall { name, .. } => resource
            .tool(&name)
            .map(|action| action.scope.clone())
            .ok_or_else(|| no_action(format!("the tool `{name}`"))),
        _ => Ok(None),
    }
}

fn map_http(call: &Call, resource: &ResourcePolicy) -> Result<Wanted, MapRefusal> {
    let path = call.target.below();
    let action = resource.request(&call.method, path).ok_or_else(|| MapRefusal::NoAction {
        what: format!("{} {path}", call.method),
        resource: resource.name.clone(),
    })?;
    let kind = WantedKind::Request { method: call.method.clone(), path: path.to_owned() };
    let trace = call
        .values("traceparent")
        .next()
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(agentic::TraceParent::parse)
        .map(|trace| trace.trace_id);
    let (scope, read_only) = (action.scope.clone(), action.read_only);
    Ok(Wanted { kind, scope, read_only, rpc: None, revision: None, trace })
}

/// MCP 2025-11-25, Transports: POST carries one message; GET opens a stream of the server's own
/// messages; DELETE ends a session. Revision 2026-07-28 has POST alone.
fn map_mcp(call: &Call, resource: &ResourcePolicy) -> Result<Wanted, MapRefusal> {
    // MCP 2025-11-25, Transports: "The server MUST provide a single HTTP endpoint path". What lies
    // below it is no MCP, and a session's permit is none for it.
    if call.target.below() != "/" {
        let what = format!("the path `{}`", call.target.below());
        return Err(MapRefusal::NoAction { what, resource: resource.name.clone() });
    }
    let headers =
        Headers::read(call.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())))?;
    let session = |rpc, revision, trace| {
        let (kind, scope, read_only) = (WantedKind::Session, None, false);
        Wanted { kind, scope, read_only, rpc, revision, trace }
    };
    match call.method.as_str() {
        "POST" => {}
        // A body would travel on unread: an upstream could take it for a message.
        "GET" | "DELETE" if !call.body.is_empty() => {
            return Err(MapRefusal::UnreadBody { method: call.method.clone() });
        }
        "GET" | "DELETE" => return Ok(session(None, None, None)),
        other => return Err(MapRefusal::HttpMethod { method: other.to_owned() }),
    }
    let message = Message::parse(&call.body)?;
    let (method, params, rpc) = match &message {
        Message::Request(request) => {
            (Method::of_request(request)?, request.params, Some(request.id.clone()))
        }
        Message::Notification(one) => (Method::of_notification(one)?, one.params, None),
        // The client's answer to a question of the server, within a session that was permitted.
        Message::Response(_) => return Ok(session(None, None, None)),
    };
    let meta = Meta::read(method.name(), params)?;
    let revision = Some(headers.check(&method, &meta)?);
    let trace = meta.trace_parent.map(|trace| trace.trace_id);
    match &method {
        Method::ToolsCall { name, .. } => {
            let action = resource.tool(name).ok_or_else(|| MapRefusal::NoAction {
                what: format!("the tool `{name}`"),
                resource: resource.name.clone(),
            })?;
            let kind = WantedKind::Tool { name: name.clone() };
            let (scope, read_only) = (action.scope.clone(), action.read_only);
            Ok(Wanted { kind, scope, read_only, rpc, revision, trace })
        }
        Method::Initialize { .. }
        | Method::Ping
        | Method::ServerDiscover
        | Method::ToolsList
        | Method::SubscriptionsListen
        | Method::Notification(_) => Ok(session(rpc, revision, trace)),
        // Default deny: what the gateway does not know may have effects that policy cannot name.
        Method::ResourcesRead { .. }
        | Method::ResourcesList
        | Method::PromptsGet { .. }
        | Method::PromptsList
        | Method::Other(_) => {
            let (method, rpc) = (method.name().to_owned(), rpc.clone());
            Err(MapRefusal::RpcMethod { method, rpc })
        }
    }
}

/// Why a call is not understood, or asks for what no policy speaks of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapRefusal {
    /// The resource's policy lists no such action.
    #[error("{what} is not among the actions of `{resource}`")]
    NoAction {
        /// What was asked for.
        what: String,
        /// The resource.
        resource: String,
    },
    /// An HTTP method that the protocol does not use.
    #[error("mcp does not use the http method `{method}`")]
    HttpMethod {
        /// The method.
        method: String,
    },
    /// A body where the protocol has none.
    #[error("mcp has no body with the http method `{method}`")]
    UnreadBody {
        /// The method.
        method: String,
    },
    /// A JSON-RPC method that the gateway lets nobody use.
    #[error("the method `{method}` is not let through")]
    RpcMethod {
        /// The method.
        method: String,
        /// The request to answer.
        rpc: Option<agentic::Id>,
    },
    /// The body is no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The message's params do not fit its method.
    #[error(transparent)]
    Misread(#[from] Misread),
    /// Headers and body differ.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}
