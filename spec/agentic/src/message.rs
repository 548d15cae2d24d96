//! One JSON-RPC message: a request, a notification or a response.
//!
//! In scope: the envelope. Not here: what `params` hold ([`crate::Method`]).

use std::fmt;

use json::Unreadable;
use serde_json::value::RawValue;

use crate::{BOUNDS, Code, ID_BYTES_MAX, METHOD_BYTES_MAX};

/// The only version of JSON-RPC there is for MCP.
const JSONRPC: &str = "2.0";

/// A message, borrowed from the bytes it was read from.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    Request(Request<'a>),
    Notification(Notification<'a>),
    Response(Response<'a>),
}

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// Members that are not known are passed over; `params`, `result` and `error` stay text.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let text = json::text(bytes, BOUNDS)?;
        // MCP 2026-07-28, Streamable HTTP, Sending Messages: "The body of the HTTP POST MUST be a
        // single JSON-RPC request or notification." (Batches were in 2025-03-26 alone.)
        if text.trim_start().starts_with('[') {
            return Err(Malformed::Batch);
        }
        if !text.trim_start().starts_with('{') {
            return Err(Malformed::NotAnObject);
        }
        let [version, id, method, params, result, error] =
            json::members_of(text, ["jsonrpc", "id", "method", "params", "result", "error"])?;
        // JSON-RPC 2.0 §4: "jsonrpc: A String specifying the version of the JSON-RPC protocol.
        // MUST be exactly '2.0'."
        if version.and_then(json::string).as_deref() != Some(JSONRPC) {
            return Err(Malformed::Version);
        }
        match (method, result, error) {
            (Some(method), None, None) => call(id, method, params),
            (None, Some(result), None) => {
                // MCP 2026-07-28, Result Responses: "Result responses MUST include the same ID as
                // the request they correspond to."
                let id = id.ok_or(Malformed::IdMissing).and_then(Id::read)?;
                Ok(Self::Response(Response { id: Some(id), outcome: Outcome::Result(result) }))
            }
            (None, None, Some(error)) => {
                // JSON-RPC 2.0 §5: "If there was an error in detecting the id in the Request
                // object (e.g. Parse error/Invalid Request), it MUST be Null."
                let id = id.filter(|id| id.get() != "null").map(Id::read).transpose()?;
                Ok(Self::Response(Response { id, outcome: Outcome::Error(error) }))
            }
            (None, None, None) => Err(Malformed::NoMethod),
            // JSON-RPC 2.0 §5: "Either the result member or error member MUST be included, but
            // both members MUST NOT be included."
            _ => Err(Malformed::Ambiguous),
        }
    }
}

/// A call that expects an answer.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub id: Id,
    pub method: String,
    /// An object, as the sender wrote it.
    pub params: Option<&'a RawValue>,
}

/// A one-way message.
#[derive(Debug, Clone)]
pub struct Notification<'a> {
    pub method: String,
    /// An object, as the sender wrote it.
    pub params: Option<&'a RawValue>,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// Absent only in an error about a request whose `id` could not be read.
    pub id: Option<Id>,
    pub outcome: Outcome<'a>,
}

/// What a response says, as its sender wrote it.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    Result(&'a RawValue),
    Error(&'a RawValue),
}

/// The `id` of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    Integer(i64),
    Text(String),
}

impl Id {
    fn read(raw: &RawValue) -> Result<Self, Malformed> {
        // MCP 2026-07-28, Requests: "Requests MUST include a string or integer ID." "Unlike base
        // JSON-RPC, the ID MUST NOT be null."
        if raw.get() == "null" {
            return Err(Malformed::IdNull);
        }
        if let Ok(number) = serde_json::from_str::<i64>(raw.get()) {
            return Ok(Self::Integer(number));
        }
        let text = json::string(raw).ok_or(Malformed::IdKind)?;
        if text.len() > ID_BYTES_MAX {
            return Err(Malformed::IdTooLong { bytes: text.len(), max: ID_BYTES_MAX });
        }
        Ok(Self::Text(text))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error("a batch of messages, where one message is allowed")]
    Batch,
    #[error("not an object")]
    NotAnObject,
    #[error("`jsonrpc` is not `2.0`")]
    Version,
    #[error("`id` is missing")]
    IdMissing,
    #[error("`id` is null")]
    IdNull,
    #[error("`id` is neither a string nor an integer of 64 bits")]
    IdKind,
    #[error("`id` of {bytes} bytes is longer than {max}")]
    IdTooLong { bytes: usize, max: usize },
    #[error("`method` is missing")]
    NoMethod,
    #[error("`method` is not a string")]
    MethodKind,
    #[error("`method` of {bytes} bytes is longer than {max}")]
    MethodTooLong { bytes: usize, max: usize },
    #[error("more than one of `method`, `result` and `error`")]
    Ambiguous,
    #[error("`params` is not an object")]
    ParamsKind,
}

impl Malformed {
    /// What JSON-RPC calls it.
    pub fn code(&self) -> Code {
        // JSON-RPC 2.0 §5.1: "-32700 Parse error: Invalid JSON was received by the server."
        // "-32600 Invalid Request: The JSON sent is not a valid Request object."
        match self {
            Self::Json(_) => Code::Parse,
            _ => Code::InvalidRequest,
        }
    }
}

/// A message with a `method`: a request if it has an `id`, a notification if not.
fn call<'a>(
    id: Option<&'a RawValue>,
    method: &'a RawValue,
    params: Option<&'a RawValue>,
) -> Result<Message<'a>, Malformed> {
    let method = json::string(method).ok_or(Malformed::MethodKind)?;
    if method.len() > METHOD_BYTES_MAX {
        return Err(Malformed::MethodTooLong { bytes: method.len(), max: METHOD_BYTES_MAX });
    }
    // MCP 2026-07-28, Requests: "params?: { [key: string]: unknown; }": by name, never by position.
    if params.is_some_and(|params| !json::is_object(params)) {
        return Err(Malformed::ParamsKind);
    }
    // MCP 2026-07-28, Notifications: "Notifications MUST NOT include an ID."
    Ok(match id {
        Some(id) => Message::Request(Request { id: Id::read(id)?, method, params }),
        None => Message::Notification(Notification { method, params }),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(input: &str) -> Malformed {
        Message::parse(input.as_bytes()).expect_err(input)
    }

    fn request(input: &str) -> Request<'_> {
        match Message::parse(input.as_bytes()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{input}: {other:?}"),
        }
    }

    #[test]
    fn mcp_basic_requests_keep_their_params_as_they_were_written() {
        let read = request(
            r#"{"jsonrpc":"2.0","id":7,"method":"x/new","params":{ "b":1.10,  "a":[ ]},"more":{}}"#,
        );
        assert_eq!((read.id, read.method.as_str()), (Id::Integer(7), "x/new"));
        assert_eq!(read.params.map(RawValue::get), Some(r#"{ "b":1.10,  "a":[ ]}"#));
        let read = request(r#" {"jsonrpc":"\u0032.0","id":"","method":"p\u0069ng"}"#);
        assert_eq!((read.id, read.method.as_str()), (Id::Text(String::new()), "ping"));
        assert!(read.params.is_none());
    }

    #[test]
    fn mcp_basic_a_notification_has_no_id() {
        let input = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let Ok(Message::Notification(read)) = Message::parse(input) else { panic!() };
        assert_eq!(read.method, "notifications/initialized");
    }

    #[test]
    fn jsonrpc_5_a_response_has_a_result_or_an_error() {
        let read = |input: &'static str| match Message::parse(input.as_bytes()) {
            Ok(Message::Response(response)) => response,
            other => panic!("{input}: {other:?}"),
        };
        let response = read(r#"{"jsonrpc":"2.0","id":1,"result":null}"#);
        assert!(matches!(response.outcome, Outcome::Result(raw) if raw.get() == "null"));
        for (id, expect) in
            [("", None), (r#""id":null,"#, None), (r#""id":"a","#, Some(Id::Text("a".into())))]
        {
            let input = format!(r#"{{{id}"jsonrpc":"2.0","error":{{"code":-1,"message":""}}}}"#);
            let response = read(input.leak());
            assert_eq!(response.id, expect);
            assert!(matches!(response.outcome, Outcome::Error(_)));
        }
    }

    #[test]
    fn a_message_is_bounded_in_length_and_depth() {
        use crate::{DEPTH_MAX, MESSAGE_BYTES_MAX};
        let nested = |depth: usize| {
            let params = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{params}}}"#)
        };
        assert!(Message::parse(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        let deep = Unreadable::TooDeep { max: DEPTH_MAX };
        assert_eq!(Message::parse(nested(DEPTH_MAX).as_bytes()).map(drop), Err(deep.into()));
        let (bytes, max) = (MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX);
        let long = Unreadable::TooLong { bytes, max };
        assert_eq!(Message::parse(&vec![b' '; bytes]).map(drop), Err(long.into()));
    }

    #[test]
    fn mcp_basic_each_fault_of_the_envelope_has_its_own_refusal() {
        let twice = |name: &str| Malformed::Json(Unreadable::Duplicate { name: name.into() });
        let long = "m".repeat(METHOD_BYTES_MAX + 1);
        let long_id = "i".repeat(ID_BYTES_MAX + 1);
        for (input, expect) in [
            ("[]", Malformed::Batch),
            (r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Malformed::Batch),
            ("7", Malformed::NotAnObject),
            (r#"{"id":1,"method":"ping"}"#, Malformed::Version),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Malformed::Version),
            (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Malformed::Version),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Malformed::IdNull),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Malformed::IdKind),
            (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, Malformed::IdKind),
            (r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"p"}"#, Malformed::IdKind),
            (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, Malformed::IdKind),
            (
                &format!(r#"{{"jsonrpc":"2.0","id":"{long_id}","method":"ping"}}"#),
                Malformed::IdTooLong { bytes: ID_BYTES_MAX + 1, max: ID_BYTES_MAX },
            ),
            (r#"{"jsonrpc":"2.0","result":{}}"#, Malformed::IdMissing),
            (r#"{"jsonrpc":"2.0","id":1}"#, Malformed::NoMethod),
            (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Malformed::MethodKind),
            (
                &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{long}"}}"#),
                Malformed::MethodTooLong { bytes: METHOD_BYTES_MAX + 1, max: METHOD_BYTES_MAX },
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#, Malformed::Ambiguous),
            (r#"{"jsonrpc":"2.0","id":1,"error":{},"result":{}}"#, Malformed::Ambiguous),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#, Malformed::ParamsKind),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":null}"#, Malformed::ParamsKind),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, twice("method")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","m\u0065thod":"b"}"#, twice("method")),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
                Unreadable::LookAlike { found: "Method".into(), meant: "method" }.into(),
            ),
        ] {
            assert_eq!(refused(input), expect, "{input}");
        }
    }

    /// A call whose tool has two names would be judged by one and served by the other.
    #[test]
    fn past_defect_32_what_is_judged_is_what_is_forwarded() {
        for (params, name) in [
            (r#"{"name":"read","name":"delete"}"#, "name"),
            (r#"{"name":"read","arguments":{"path":"a","path":"b"}}"#, "path"),
            (r#"{"name":"read","arguments":{"x":[{"deep":{"k":1,"k":2}}]}}"#, "k"),
        ] {
            let input =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            let expect = Unreadable::Duplicate { name: name.into() };
            assert_eq!(refused(&input), Malformed::Json(expect), "{input}");
        }
    }

    #[test]
    fn jsonrpc_5_1_unreadable_and_invalid_have_different_codes() {
        assert_eq!(refused("{").code(), Code::Parse);
        assert_eq!(refused("[]").code(), Code::InvalidRequest);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn any_cut_of_a_message_is_refused(at in any::<prop::sample::Index>()) {
            let whole = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
            prop_assert!(Message::parse(whole).is_ok());
            prop_assert!(Message::parse(&whole[..at.index(whole.len())]).is_err());
        }

        #[test]
        fn any_mix_of_tokens_is_read_or_refused(tokens in proptest::collection::vec(
            prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"jsonrpc\"", "\"2.0\"",
                "\"id\"", "\"method\"", "\"params\"", "\"result\"", "null", "1", "\"\\ud800\""]),
            0..40,
        )) {
            let _ = Message::parse(tokens.concat().as_bytes());
        }
    }
}
