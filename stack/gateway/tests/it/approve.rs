//! What a human is shown of a call is all that counts of it, or nobody is asked.

use gateway::approve::{NotShown, act};
use gateway::{Call, Wanted, WantedKind};
use serde_json::json;

use crate::call;

fn wanted(kind: WantedKind) -> Wanted {
    Wanted { kind, scope: None, read_only: false, rpc: None, revision: None, trace: None }
}

fn tool(params: &str) -> Result<approval::Act, NotShown> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let name = "pay".to_owned();
    act(&call("POST", "/ledger", &[], &body), &wanted(WantedKind::Tool { name }))
}

fn posted(headers: &[(&str, &str)], body: &str) -> Call {
    call("POST", "/ledger/pay", headers, body)
}

fn request(call: &Call) -> Result<approval::Act, NotShown> {
    let (method, path) = ("POST".to_owned(), "/pay".to_owned());
    act(call, &wanted(WantedKind::Request { method, path }))
}

/// req: AUTHZ-31 (part)
#[test]
fn s10_6_all_parameters_of_a_tool_are_shown_and_bound() {
    let plain = tool(r#"{"name":"pay","arguments":{"a":1}}"#).unwrap();
    assert_eq!(plain.arguments, json!({ "a": 1 }));
    let same = tool(r#"{"arguments":{ "a" : 1.0 },"name":"pay","_meta":{"t":7}}"#).unwrap();
    assert_eq!(plain.arguments_hash, same.arguments_hash);
    for beside in [r#""inputResponses":{"x":1}"#, r#""task":{"ttl":1}"#, r#""requestState":"s""#] {
        let more = tool(&format!(r#"{{"name":"pay","arguments":{{"a":1}},{beside}}}"#)).unwrap();
        assert_ne!(more.arguments_hash, plain.arguments_hash, "{beside}");
        let name = beside.split('"').nth(1).unwrap();
        assert!(!more.arguments["beside"][name].is_null(), "{}", more.arguments);
    }
    // RFC 7493 §2.2, §2.3: what two readers read in two ways is shown to nobody.
    for params in [
        r#"{"name":"pay","arguments":{"to":"Eve","to":"Bob"}}"#,
        r#"{"name":"pay","arguments":{"sum":100000000000000000001}}"#,
        r#"{"name":"pay","arguments":{"sum":9007199254740993}}"#,
    ] {
        assert!(matches!(tool(params), Err(NotShown::Body(_))), "{params}");
    }
}

/// req: AUTHZ-31 (part)
#[test]
fn s10_6_a_body_is_shown_as_what_is_sent() {
    let json = [("content-type", "application/json")];
    let read = request(&posted(&json, r#"{"to":"Bob"}"#)).unwrap();
    assert_eq!(read.arguments["body"], json!({ "to": "Bob" }));
    assert_eq!(read.arguments["content_type"], "application/json");
    // The same bytes as something else are something else.
    let form = request(&posted(&[("content-type", "text/plain")], r#"{"to":"Bob"}"#)).unwrap();
    assert_ne!(read.arguments_hash, form.arguments_hash);
    // What has no one meaning stands there letter by letter.
    let twice = r#"{"to":"Eve","to":"Bob"}"#;
    assert_eq!(request(&posted(&json, twice)).unwrap().arguments["body"], twice);
    assert_eq!(request(&posted(&[], "to=Eve&sum=1")).unwrap().arguments["body"], "to=Eve&sum=1");
    let packed = posted(&[("content-encoding", "gzip")], "x");
    assert_eq!(request(&packed).unwrap_err(), NotShown::Packed);
    let mut bytes = posted(&[], "x");
    bytes.body = vec![0xff, 0xfe];
    assert_eq!(request(&bytes).unwrap_err(), NotShown::NotText);
}
