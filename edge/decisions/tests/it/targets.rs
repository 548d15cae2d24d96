//! What a target of HTTP is, to the gateway and to whoever asks for a decision about it.

use authorization::ResourcePolicy;
use gateway::Target;
use http::Uri;
use pdp::{Asked, What};
use proptest::prelude::*;
use serde_json::json;

const HERE: &str = "https://gateway.demo.example:8446/notices";

/// As the gateway's listener reads it.
fn by_gateway(target: &str) -> Option<Target> {
    let uri = Uri::try_from(format!("/notices{target}")).ok()?;
    Target::parse(uri.path(), uri.query()).ok().filter(|read| read.resource() == "notices")
}

/// As it is read in a question; no action is listed for what does not begin with a slash.
fn by_question(target: &str) -> Option<Target> {
    let resource: ResourcePolicy = serde_json::from_value(json!({
        "name": "notices", "audience": HERE, "upstream": "http://127.0.0.1:1",
        "protocol": "http", "action": [{"path": "/"}, {"path": "/*"}],
    }))
    .unwrap();
    let question = json!({
        "subject": {"type": "agent", "id": "a"},
        "action": {"name": "http.request", "properties": {"method": "GET"}},
        "resource": {"type": "path", "id": format!("{HERE}#{target}")},
    });
    let request = authzen::Request::parse(question.to_string().as_bytes()).unwrap();
    let find = |id: &str| (id == HERE).then_some(&resource);
    let asked = Asked::read(&request, "https://issuer.example", find).ok()?;
    let What::Request { path, query, .. } = asked.what else { return None };
    Target::parse(&format!("/notices{path}"), query.as_deref()).ok()
}

proptest! {
    /// req: AUTHZ-24 (part)
    #[test]
    fn s10_1_3_a_target_is_read_as_the_gateway_reads_it(
        target in r#"/([a-c./;%?&=#\\ä <"{~@2eE0-]|admin|%2[efEF]|%0a|%41){0,12}"#,
    ) {
        let (ours, theirs) = (by_gateway(&target), by_question(&target));
        if target.contains('#') {
            // A listener drops it; a question that has one is about something else.
            prop_assert_eq!(theirs, None);
        } else {
            prop_assert_eq!(theirs, ours);
        }
    }
}

/// req: AUTHZ-24 (part)
#[test]
fn s10_1_3_a_query_is_no_part_of_the_path() {
    for (target, path, query) in [
        ("/admin?x=1", "/notices/admin", Some("x=1")),
        ("/admin?", "/notices/admin", Some("")),
        ("/admin?a?b", "/notices/admin", Some("a?b")),
        ("/admin", "/notices/admin", None),
    ] {
        let read = by_question(target).unwrap();
        assert_eq!((read.path.as_str(), read.query.as_deref()), (path, query));
        assert_eq!(by_gateway(target), Some(read));
    }
    for target in ["/admin#x", "/admin?x#y", "/admin/../x", "/admin%2fx", "/?\"", "/?<", "/? "] {
        assert_eq!(by_question(target), None, "{target}");
    }
}
