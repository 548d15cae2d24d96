//! MCP: what is judged is what is served.

use agentic::{Id, Mismatch, Misread, Revision};
use authorization::{Action, Protocol, ResourcePolicy};
use gateway::{MapRefusal, Wanted, WantedKind, map, scope as needed};
use serde_json::{Value, json};

use crate::{action, call, resource, scope};

fn ledger() -> ResourcePolicy {
    let tool = |name: &str, scope_name: &str, read_only| Action {
        tool: Some(name.to_owned()),
        scope: scope(scope_name),
        read_only,
        ..action()
    };
    let tools = vec![tool("read_invoice", "read", true), tool("pay", "write", false)];
    resource(Protocol::Mcp, tools)
}

fn post(headers: &[(&str, &str)], body: &str) -> Result<Wanted, MapRefusal> {
    map(&call("POST", "/ledger", headers, body), &ledger())
}

/// A request of `method` with these params.
fn request(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string()
}

/// Every method there is, and some that there are not: what each asks for.
/// req: GW-01 (part), GW-02 (part)
#[test]
fn s5_1_what_every_method_asks_for() {
    let rows = [
        ("tools/call", json!({ "name": "read_invoice" })),
        ("tools/call", json!({ "name": "pay", "arguments": { "to": "eve" } })),
        ("tools/call", json!({ "name": "delete" })),
        ("tools/call", json!({ "name": "*" })),
        ("tools/call", json!({})),
        ("tools/list", json!({})),
        ("initialize", json!({ "protocolVersion": "2025-06-18" })),
        ("ping", json!({})),
        ("server/discover", json!({})),
        ("subscriptions/listen", json!({})),
        ("resources/read", json!({ "uri": "file:///etc/passwd" })),
        ("resources/list", json!({})),
        ("prompts/get", json!({ "name": "a" })),
        ("prompts/list", json!({})),
        ("completion/complete", json!({})),
        ("logging/setLevel", json!({})),
        ("tasks/cancel", json!({})),
        ("notifications/initialized", json!({})),
        ("Tools/Call", json!({ "name": "read_invoice" })),
    ];
    let told = rows.iter().map(|(method, params)| {
        let asked = match post(&[], &request(method, params)) {
            Ok(wanted) => {
                let scope = wanted.scope.as_ref().map_or("-".to_owned(), ToString::to_string);
                let effects = if wanted.read_only { "read only" } else { "may have effects" };
                assert_eq!(wanted.rpc, Some(Id::Integer(7)));
                format!(
                    "{} on {}, scope {scope}, {effects}",
                    wanted.action(),
                    wanted.what("ledger")
                )
            }
            Err(refusal) => format!("refused: {refusal}"),
        };
        format!("{method} {params}: {asked}")
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}

/// What a token must be asked for is what the call will need.
#[test]
fn s10_7_the_scope_beforehand_is_the_scope_of_the_call() {
    for body in [
        request("tools/call", &json!({ "name": "read_invoice" })),
        request("tools/call", &json!({ "name": "pay" })),
        request("tools/call", &json!({ "name": "delete" })),
        request("tools/list", &json!({})),
    ] {
        let found = post(&[], &body).map(|wanted| wanted.scope);
        assert_eq!(needed("POST", "/", body.as_bytes(), &ledger()), found, "{body}");
    }
    assert_eq!(needed("GET", "/", b"", &ledger()), Ok(None));
}

#[test]
fn s5_1_notifications_and_answers_belong_to_the_session() {
    for body in [
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#,
    ] {
        let wanted = post(&[], body).unwrap();
        assert_eq!((wanted.kind.clone(), wanted.action()), (WantedKind::Session, "tool.list"));
        assert_eq!((wanted.rpc.clone(), wanted.read_only), (None, false));
    }
    // A call without an id would pass for a notification, and a lenient server might do it.
    let method = "tools/call".to_owned();
    let hidden = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read_invoice"}}"#;
    let refused = MapRefusal::Misread(Misread::NotANotification { method });
    assert_eq!(post(&[], hidden), Err(refused));
}

/// Defect: a policy that reads another message than the server.
/// req: GW-01 (part)
#[test]
fn s5_1_a_body_that_reads_in_two_ways_is_refused() {
    for body in [
        "",
        "[]",
        "null",
        &format!("[{}]", request("ping", &json!({}))),
        r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"ping"} {"jsonrpc":"2.0"}"#,
        r#"{"id":7,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
    ] {
        let refused = post(&[], body);
        assert!(matches!(refused, Err(MapRefusal::Malformed(_))), "{body}: {refused:?}");
    }
    let twice = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call",
        "params":{"name":"read_invoice","name":"pay"}}"#;
    let refused = post(&[], twice);
    let read = matches!(refused, Err(MapRefusal::Misread(_) | MapRefusal::Malformed(_)));
    assert!(read, "{refused:?}");
}

/// req: GW-01 (part)
#[test]
fn s5_1_headers_and_body_must_agree() {
    let body = request("tools/call", &json!({ "name": "read_invoice" }));
    let check = |headers: &[(&str, &str)], expect: Mismatch| {
        assert_eq!(post(headers, &body), Err(MapRefusal::Mismatch(expect)));
    };
    let differs = |header, found: &str, body: &str| {
        let (found, body) = (found.to_owned(), body.to_owned());
        Mismatch::Differs { header, found, body }
    };
    check(&[("mcp-method", "tools/list")], differs("Mcp-Method", "tools/list", "tools/call"));
    check(&[("mcp-name", "pay")], differs("Mcp-Name", "pay", "read_invoice"));
    check(
        &[("mcp-name", "read_invoice"), ("mcp-name", "pay")],
        Mismatch::Repeated { header: "Mcp-Name" },
    );
    let requested = "1900-01-01".to_owned();
    check(&[("mcp-protocol-version", "1900-01-01")], Mismatch::Unsupported { requested });
    check(&[("mcp-protocol-version", "2026-07-28")], Mismatch::NoVersionInBody);
    let meta = json!({ "name": "read_invoice",
        "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } });
    let named = request("tools/call", &meta);
    let missing = |header| Err(MapRefusal::Mismatch(Mismatch::Missing { header }));
    let version = ("mcp-protocol-version", "2026-07-28");
    let method = ("mcp-method", "tools/call");
    assert_eq!(post(&[], &named), missing("MCP-Protocol-Version"));
    assert_eq!(post(&[version], &named), missing("Mcp-Method"));
    assert_eq!(post(&[version, method], &named), missing("Mcp-Name"));
    let whole = post(&[version, method, ("mcp-name", "read_invoice")], &named).unwrap();
    assert_eq!(whole.revision, Some(Revision::V2026_07_28));
    let older = post(&[("mcp-protocol-version", "2025-06-18")], &body).unwrap();
    assert_eq!(older.revision, Some(Revision::V2025_06_18));
    assert_eq!(post(&[], &body).unwrap().revision, Some(Revision::V2025_03_26));
    // The headers of a stream are read too, though it has no body to compare with.
    let stream = call("GET", "/ledger", &[("mcp-name", "a"), ("mcp-name", "b")], "");
    let repeated = Mismatch::Repeated { header: "Mcp-Name" };
    assert_eq!(map(&stream, &ledger()), Err(MapRefusal::Mismatch(repeated)));
}

#[test]
fn s11_a_call_belongs_to_the_trace_that_its_message_names() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let params = json!({ "name": "read_invoice", "_meta": { "traceparent": trace } });
    let wanted = post(&[], &request("tools/call", &params)).unwrap();
    assert_eq!(wanted.trace.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
}

/// Streams and the end of a session, which have no message: nothing but themselves travels on.
/// req: GW-01 (part)
#[test]
fn s5_1_only_the_methods_of_the_transport_are_used() {
    let with = |method: &str, path: &str, body: &str| {
        map(&call(method, path, &[], body), &ledger()).map(|wanted| wanted.kind)
    };
    for method in ["GET", "DELETE"] {
        assert_eq!(with(method, "/ledger", ""), Ok(WantedKind::Session));
        assert_eq!(with(method, "/ledger/", ""), Ok(WantedKind::Session));
        let refused = MapRefusal::UnreadBody { method: method.to_owned() };
        let hidden = request("tools/call", &json!({ "name": "delete" }));
        assert_eq!(with(method, "/ledger", &hidden), Err(refused));
    }
    for method in ["PUT", "PATCH", "HEAD", "OPTIONS", "post", "TRACE"] {
        let refused = MapRefusal::HttpMethod { method: method.to_owned() };
        assert_eq!(with(method, "/ledger", ""), Err(refused));
    }
}

/// The endpoint is one path. What the same server has below it is no MCP: leave to list tools is no
/// leave to delete `/invoices/7`.
/// req: GW-01 (part), GW-02 (part)
#[test]
fn s5_1_a_session_opens_no_other_path_of_the_upstream() {
    for (method, body) in
        [("GET", ""), ("DELETE", ""), ("POST", r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#)]
    {
        for path in ["/ledger/invoices/7", "/ledger/admin/", "/ledger/mcp"] {
            let what = format!("the path `{}`", path.strip_prefix("/ledger").unwrap());
            let refused = MapRefusal::NoAction { what, resource: "ledger".to_owned() };
            assert_eq!(map(&call(method, path, &[], body), &ledger()), Err(refused));
        }
    }
}
