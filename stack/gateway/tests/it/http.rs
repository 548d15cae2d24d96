//! Plain HTTP: what is not listed is refused.

use authorization::{Action, Protocol, ResourcePolicy};
use gateway::{MapRefusal, Wanted, WantedKind, map, scope as needed};

use crate::{action, call, resource, scope};

fn crm() -> ResourcePolicy {
    let of = |method: Option<&str>, path: &str, name: &str, read_only| Action {
        method: method.map(str::to_owned),
        path: Some(path.to_owned()),
        scope: scope(name),
        read_only,
        ..action()
    };
    resource(
        Protocol::Http,
        vec![
            of(Some("GET"), "/invoices/*", "read", true),
            of(Some("POST"), "/invoices", "write", false),
            of(None, "/health", "any", false),
        ],
    )
}

/// req: GW-01 (part), GW-02 (part)
#[test]
fn s5_1_a_request_is_the_action_that_policy_lists() {
    let check = |method: &str, path: &str, expect: Option<(&str, bool)>| {
        let found = map(&call(method, path, &[], "any body"), &crm());
        let below = path.strip_prefix("/ledger").unwrap();
        match expect {
            Some((name, read_only)) => {
                let (method, path) = (method.to_owned(), below.to_owned());
                let kind = WantedKind::Request { method, path };
                let (rpc, revision, trace) = (None, None, None);
                let wanted = Wanted { kind, scope: scope(name), read_only, rpc, revision, trace };
                assert_eq!(wanted.action(), "http.request");
                assert_eq!(found, Ok(wanted));
            }
            None => {
                let what = format!("{method} {below}");
                let resource = "ledger".to_owned();
                assert_eq!(found, Err(MapRefusal::NoAction { what, resource }));
            }
        }
        let before = needed(method, below, b"any body", &crm());
        assert_eq!(before.ok(), expect.map(|(name, _)| scope(name)), "asked for beforehand");
    };
    check("GET", "/ledger/invoices/7", Some(("read", true)));
    check("GET", "/ledger/invoices/7/lines", Some(("read", true)));
    check("POST", "/ledger/invoices", Some(("write", false)));
    check("DELETE", "/ledger/health", Some(("any", false)));
    check("GET", "/ledger/invoices", None);
    check("GET", "/ledger/invoices/", None);
    check("HEAD", "/ledger/invoices/7", None);
    check("get", "/ledger/invoices/7", None);
    check("POST", "/ledger/invoices/7", None);
    check("GET", "/ledger/healthy", None);
    check("GET", "/ledger/%69nvoices/7", None);
}

#[test]
fn s11_a_request_belongs_to_the_trace_that_it_names() {
    let trace = |headers: &[(&str, &str)]| {
        map(&call("GET", "/ledger/invoices/7", headers, ""), &crm()).unwrap().trace
    };
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let id = Some("0af7651916cd43dd8448eb211c80319c".to_owned());
    assert_eq!(trace(&[("traceparent", good)]), id);
    assert_eq!(trace(&[("traceparent", "00-zz-01")]), None, "no reason to refuse");
    assert_eq!(trace(&[]), None);
}

#[test]
fn s11_a_request_is_named_as_it_was_made() {
    let wanted = map(&call("GET", "/ledger/invoices/7", &[], ""), &crm()).unwrap();
    assert_eq!(
        wanted.what("https://gw.example/ledger"),
        "GET https://gw.example/ledger/invoices/7"
    );
}
