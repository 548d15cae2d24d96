//! The body of a JSON-RPC error.
//!
//! In scope: codes and the text of an error response. Not here: which refusal gets which code
//! beyond this crate's own (`edge` has that table), and the HTTP status.

use serde_json::{Map, Value};

use crate::headers::Revision;
use crate::message::Id;

/// Longest `message` that is written, in characters; the rest is cut.
const MESSAGE_CHARS_MAX: usize = 1_024;

/// The codes a gateway answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Not JSON.
    Parse,
    /// Not a request.
    InvalidRequest,
    /// No such method here.
    MethodNotFound,
    /// Params that do not fit.
    InvalidParams,
    /// Our own failure; also when no decision could be had.
    Internal,
    /// Policy denies the call.
    Denied,
    /// Headers and body differ.
    HeaderMismatch,
    /// The client cannot do what the call needs.
    MissingClientCapability,
    /// A revision that is not spoken here.
    UnsupportedProtocolVersion,
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            // JSON-RPC 2.0 §5.1
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            // COAZ MCP binding, PDP Communication Errors: "If the PEP cannot reach the PDP or
            // receives an invalid response, it MUST return error code -32603 (Internal error)."
            Self::Internal => -32603,
            // COAZ MCP binding, Authorization Denial: "When one or more decisions are deny, the
            // PEP MUST return an error response with code -32001."
            Self::Denied => -32001,
            // MCP 2026-07-28, Error Codes: -32020 HeaderMismatch, -32021
            // MissingRequiredClientCapability, -32022 UnsupportedProtocolVersion
            Self::HeaderMismatch => -32020,
            Self::MissingClientCapability => -32021,
            Self::UnsupportedProtocolVersion => -32022,
        }
    }
}

/// An error to answer a request with.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    code: Code,
    message: String,
    data: Option<Value>,
}

impl Fault {
    /// An error with a message for a person.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into().chars().take(MESSAGE_CHARS_MAX).collect();
        Self { code, message, data: None }
    }

    /// The error for a revision that is not spoken, with those that are.
    pub fn unsupported_version(requested: &str) -> Self {
        // MCP 2026-07-28, Protocol Version Negotiation: "it MUST respond with an
        // UnsupportedProtocolVersionError listing the versions it does support"
        let supported = Revision::ALL.iter().rev().map(|revision| Value::from(revision.name()));
        let data = Map::from_iter([
            ("supported".to_owned(), supported.collect()),
            ("requested".to_owned(), Value::from(requested)),
        ]);
        Self::new(Code::UnsupportedProtocolVersion, "unsupported protocol version")
            .with_data(Value::Object(data))
    }

    /// The same error with `data`.
    #[must_use]
    pub fn with_data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The response, to the request with `id`, or to none whose `id` could be read.
    pub fn response(&self, id: Option<&Id>) -> String {
        let mut error = Map::from_iter([
            ("code".to_owned(), Value::from(self.code.number())),
            ("message".to_owned(), Value::from(self.message.as_str())),
        ]);
        error.extend(self.data.clone().map(|data| ("data".to_owned(), data)));
        let mut response = Map::from_iter([("jsonrpc".to_owned(), Value::from("2.0"))]);
        // MCP 2026-07-28, Error Responses: "Error responses MUST include the same ID as the request
        // they correspond to (except in error cases where the ID could not be read due a malformed
        // request)": then the member is left out, as in "an error response that has no id".
        response.extend(id.map(|id| {
            let id = match id {
                Id::Integer(number) => Value::from(*number),
                Id::Text(text) => Value::from(text.as_str()),
            };
            ("id".to_owned(), id)
        }));
        response.insert("error".to_owned(), Value::Object(error));
        Value::Object(response).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::{Message, Outcome};

    fn check(fault: &Fault, id: Option<Id>, expect: &Value) {
        let text = fault.response(id.as_ref());
        assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), expect);
        let Ok(Message::Response(read)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(read.id, id);
        assert!(matches!(read.outcome, Outcome::Error(_)));
    }

    #[test]
    fn coaz_authorization_denial_is_an_error_with_the_id_of_the_request() {
        check(
            &Fault::new(Code::Denied, "rule `x` forbids it").with_data(json!({"audit": "a1"})),
            Some(Id::Integer(789)),
            &json!({"jsonrpc": "2.0", "id": 789, "error":
                {"code": -32001, "message": "rule `x` forbids it", "data": {"audit": "a1"}}}),
        );
        check(
            &Fault::new(Code::Internal, "no \"answer\"\n"),
            Some(Id::Text("\"".into())),
            &json!({"jsonrpc": "2.0", "id": "\"", "error":
                {"code": -32603, "message": "no \"answer\"\n"}}),
        );
    }

    #[test]
    fn mcp_basic_error_without_a_readable_id_has_none() {
        check(
            &Fault::new(Code::Parse, "x"),
            None,
            &json!({"jsonrpc": "2.0", "error": {"code": -32700, "message": "x"}}),
        );
    }

    #[test]
    fn mcp_versioning_an_unsupported_version_is_told_the_supported_ones() {
        check(
            &Fault::unsupported_version("1900-01-01"),
            Some(Id::Integer(1)),
            &json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32022,
                "message": "unsupported protocol version", "data": {"requested": "1900-01-01",
                "supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]}}}),
        );
    }

    #[test]
    fn messages_are_bounded() {
        let text = Fault::new(Code::Denied, "é".repeat(MESSAGE_CHARS_MAX + 1)).response(None);
        assert_eq!(text.matches('é').count(), MESSAGE_CHARS_MAX);
    }
}
