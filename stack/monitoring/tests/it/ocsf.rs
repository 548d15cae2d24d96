//! One event of each kind as OCSF, whole.

use monitoring::ocsf::{Context, to_ocsf};
use monitoring::tally::Tally;
use monitoring::{Component, Cut, Event, Outcome, Record};
use serde_json::{Value, json};

use crate::story::{
    AGENT, GATEWAY, applied, called, exchanged, finished, issued, moved, record, refused_call,
    story,
};

const CONTEXT: Context<'_> =
    Context { version: "0.1.0", log: "demo.example/server", index: 41, leaf: Some([0xab; 32]) };

fn check(name: &str, record: &Record) {
    let event = to_ocsf(record, &CONTEXT);
    insta::assert_snapshot!(name, serde_json::to_string_pretty(&event).unwrap());
}

/// req: OBS-07 (part)
#[test]
fn s11_calls_are_api_activity() {
    let call = called(2, "read_invoice");
    check("call_decided", &call);
    check("call_finished", &finished(4, &call));
    check("call_refused", &story()[4]);
}

/// req: OBS-07 (part)
#[test]
fn s11_tokens_are_authentication() {
    check("token_issued", &issued(0));
    check("token_exchanged", &exchanged(1));
    let mut tally = Tally::default();
    let now = record(0, Event::Started).time;
    for _ in 0..3 {
        tally.count("192.0.2.7", "client::NoClient", now);
    }
    let closed = tally.drain().remove(0);
    let server = Component("server".to_owned());
    check("strangers_refused", &closed.record(record(60, Event::Started).id, now, server));
}

/// req: OBS-07 (part)
#[test]
fn s11_what_operators_do_to_agents_is_remediation() {
    for act in ["suspend", "resume", "revoke", "retire"] {
        check(&format!("agent_{act}"), &moved(7, AGENT, act, "it deletes invoices"));
    }
}

/// req: OBS-07 (part)
#[test]
fn s11_what_is_made_is_entity_management() {
    let operator = Some("uid:1000".to_owned());
    let made = |event, edit: &dyn Fn(&mut Record)| {
        let mut made = record(3, event);
        edit(&mut made);
        check(event.name(), &made);
    };
    made(Event::Started, &|_| {});
    made(Event::PolicyApplied, &|made| *made = applied(3));
    made(Event::KeyRotated, &|made| made.resource = Some("wit/key-7".to_owned()));
    made(Event::LogCut, &|made| {
        let (log, root) = ("demo.example/log/server".to_owned(), "cm9vdA==".to_owned());
        let (first, last) = (made.time, made.time);
        let cut = Cut { log, from: 0, minimum: 512, root, first, last };
        *made = cut.record(made.id, made.time, made.component.clone(), "sha256:77".to_owned());
    });
    made(Event::JoinTokenCreated, &|made| {
        made.operator.clone_from(&operator);
        made.resource = Some("host-1".to_owned());
    });
    made(Event::AgentRegistered, &|made| {
        made.operator.clone_from(&operator);
        made.agent = Some(AGENT.to_owned());
    });
    made(Event::ClientRegistered, &|made| {
        made.operator.clone_from(&operator);
        made.subject = Some("client-7".to_owned());
    });
    made(Event::FederationChanged, &|made| {
        made.operator.clone_from(&operator);
        made.action = "federation.add".to_owned();
        made.resource = Some("other.example".to_owned());
    });
    made(Event::NodeAttested, &|made| {
        made.action = "gateway.join".to_owned();
        made.outcome = Outcome::Permitted;
        made.proof = Some("join_token".to_owned());
        made.resource = Some(GATEWAY.to_owned());
        made.attestation.insert("source".to_owned(), "192.0.2.7".to_owned());
    });
    made(Event::NodeRenewed, &|made| {
        made.outcome = Outcome::Permitted;
        made.resource = Some(GATEWAY.to_owned());
        made.transport = Some(GATEWAY.to_owned());
    });
    made(Event::WorkloadAttested, &|made| {
        made.outcome = Outcome::Permitted;
        made.agent = Some(AGENT.to_owned());
        made.proof = Some("pidfd".to_owned());
        made.attestation.insert("uid".to_owned(), "1000".to_owned());
    });
    made(Event::CredentialIssued, &|made| {
        made.outcome = Outcome::Permitted;
        made.action = "credential.issue.wit".to_owned();
        made.agent = Some(AGENT.to_owned());
        made.jti = Some("wit-1".to_owned());
    });
}

#[test]
fn s11_http_methods_are_told_apart() {
    for (action, resource, activity) in [
        ("http.request", "GET crm/a", 2),
        ("http.request", "POST crm/a", 1),
        ("http.request", "PATCH crm/a", 3),
        ("http.request", "DELETE crm/a", 4),
        ("http.request", "PURGE crm/a", 99),
        ("tool.list", "crm", 2),
        ("tool.call", "crm#GET", 99),
    ] {
        let mut call = called(2, "a");
        (call.action, call.resource) = (action.to_owned(), Some(resource.to_owned()));
        let event = to_ocsf(&call, &CONTEXT);
        assert_eq!(event["activity_id"], json!(activity), "{action} {resource}");
        assert_eq!(event["type_uid"], json!(600_300 + activity), "{action} {resource}");
    }
}

/// "Required in all: activity_id, category_uid, class_uid, metadata{version, product}, severity_id,
/// time (ms), type_uid; 6003 adds actor, api{operation}, src_endpoint; 3002 user; 3004 entity; 7001
/// command_uid." Whatever a record lacks, these are there, and no null anywhere near them.
///
/// req: OBS-07 (part)
#[test]
fn s11_what_is_required_is_there_however_little_is_known() {
    let context = Context { leaf: None, ..CONTEXT };
    let mut bare = refused_call(1, "a", "a", "b");
    bare = record(bare.time.seconds() % 2, Event::Started);
    for event in [
        Event::Started,
        Event::JoinTokenCreated,
        Event::NodeAttested,
        Event::NodeRenewed,
        Event::AgentRegistered,
        Event::AgentLifecycle,
        Event::ClientRegistered,
        Event::UserRegistered,
        Event::UserLifecycle,
        Event::UserChanged,
        Event::SignedIn,
        Event::SessionEnded,
        Event::AuthorizationRequested,
        Event::ConsentAnswered,
        Event::GrantEnded,
        Event::ApprovalAsked,
        Event::ApprovalAnswered,
        Event::ApprovalEnded,
        Event::WorkloadAttested,
        Event::EvidenceAppraised,
        Event::EvidenceChanged,
        Event::CredentialIssued,
        Event::IdentifierLookedUp,
        Event::TokenIssued,
        Event::CallDecided,
        Event::CallFinished,
        Event::AccessDecided,
        Event::PolicyApplied,
        Event::KeyRotated,
        Event::FederationChanged,
        Event::StrangersRefused,
        Event::LogCut,
    ] {
        for outcome in [Outcome::Permitted, Outcome::Refused, Outcome::Done, Outcome::Failed] {
            for action in [event.name(), "agent.suspend", "token.exchange"] {
                (bare.event, bare.outcome) = (event, outcome);
                bare.action = action.to_owned();
                let ocsf = to_ocsf(&bare, &context);
                let required: &[&str] = match ocsf["class_uid"].as_u64().unwrap() {
                    6003 => &["/actor/app_name", "/api/operation", "/src_endpoint/uid"],
                    3002 => &["/user/name", "/actor/app_name", "/service/name"],
                    3004 => &["/entity/uid", "/entity/type", "/actor/app_name"],
                    7001 => &["/command_uid", "/remediation/desc"],
                    other => panic!("class {other}"),
                };
                let always = [
                    "/activity_id",
                    "/category_uid",
                    "/metadata/version",
                    "/metadata/product/name",
                    "/severity_id",
                    "/time",
                    "/type_uid",
                ];
                for pointer in always.iter().chain(required) {
                    let value = ocsf.pointer(pointer);
                    assert!(!value.is_none_or(Value::is_null), "{event:?}: {pointer} in {ocsf}");
                }
                let nulls: Vec<_> =
                    ocsf.as_object().unwrap().iter().filter(|(_, value)| value.is_null()).collect();
                assert!(nulls.is_empty(), "{event:?}: {nulls:?}");
            }
        }
    }
}
