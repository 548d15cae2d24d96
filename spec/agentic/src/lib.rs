//! MCP over streamable HTTP, as a gateway must understand it: revision
//! [2026-07-28](https://modelcontextprotocol.io/specification/2026-07-28/basic) and the older
//! ones that use the same transport (2025-03-26, 2025-06-18, 2025-11-25), on
//! [JSON-RPC 2.0](https://www.jsonrpc.org/specification).
//!
//! In scope: one message from its bytes ([`Message::parse`]), what it asks for ([`Method`]), the
//! headers that repeat it ([`Headers`]), errors ([`Fault`]), the tools in an answer ([`tools`]).
//! Not here: HTTP and server-sent events (`edge/proxy`), what a call may do (`stack/gateway`,
//! `stack/pdp`), OAuth (`spec/oauth`), `Mcp-Param-*` headers (they need the tool's schema).
//!
//! The reader is strict where a gateway and a server could read one text in two ways, because the
//! decision is made on what the gateway read and the call is made on what the server reads.
//! Params and results stay the sender's own text, so that what passes is passed unchanged.

mod error;
mod headers;
mod message;
mod method;
mod tools;

pub use error::{Code, Fault};
pub use headers::{Headers, Mismatch, Revision};
pub use message::{Id, Malformed, Message, Notification, Outcome, Request, Response};
pub use method::{Meta, Method, Misread, TraceParent};
pub use tools::{ListedTool, tools};

/// Longest message that is read, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Deepest nesting of objects and arrays in a message; the message itself is the first level.
pub const DEPTH_MAX: usize = 64;
/// How much of a message is read.
const BOUNDS: json::Bounds = json::Bounds { bytes_max: MESSAGE_BYTES_MAX, depth_max: DEPTH_MAX };
/// Longest `method`, in bytes.
pub const METHOD_BYTES_MAX: usize = 128;
/// Longest `id` that is a string, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest name of a tool or prompt, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest URI of a resource, in bytes.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// Most tools in one page of an answer.
pub const TOOLS_MAX: usize = 4_096;
