//! MCP: messages and the headers that repeat them.

use agentic::{Headers, Id, Message, Meta, Method, Outcome, TraceParent, tools};

/// A message, what it asks for, and the tools that an answer lists.
pub(crate) fn message(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    // What a gateway judged must be JSON to whoever reads it next.
    assert!(serde_json::from_slice::<serde_json::Value>(data).is_ok());
    match message {
        Message::Request(request) => {
            let _ = Meta::read(&request.method, request.params);
            if let Ok(method) = Method::of_request(&request) {
                assert_eq!(method.name(), request.method);
                let _ = method.target();
            }
            assert!(matches!(request.id, Id::Integer(_) | Id::Text(_)));
        }
        Message::Notification(notification) => {
            let _ = Method::of_notification(&notification);
        }
        Message::Response(response) => {
            if let Outcome::Result(result) = response.outcome {
                let listed = tools(result).unwrap_or_default();
                assert!(listed.len() <= agentic::TOOLS_MAX);
            }
        }
    }
}

/// Lines of `name: value`, as header fields; the first line is a trace parent besides.
pub(crate) fn headers(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((str::from_utf8(name).ok()?, value.get(2..).unwrap_or_default()))
    });
    let _ = Headers::read(fields);
    let first = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Some(parent) = str::from_utf8(first).ok().and_then(TraceParent::parse) {
        assert_eq!((parent.trace_id.len(), parent.parent_id.len()), (32, 16));
    }
}
