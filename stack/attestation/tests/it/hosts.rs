//! Hosts that answer for their names, and those of whom nobody is asked.

use attestation::http_challenge::{Challenge, Mechanism};
use attestation::mechanism::{Facts, Mechanism as _, Question, Role, Step};
use attestation::policy::NodeRule;
use attestation::{Appraisal, Refusal};
use serde_json::{Value, json};
use time::UnixTime;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const NONCE: [u8; 32] = [1; 32];

fn rule(own: &Value) -> NodeRule {
    NodeRule { own: own.as_object().unwrap().clone(), ..NodeRule::default() }
}

fn policy() -> NodeRule {
    rule(&json!({ "hosts": ["host-1.example", "*.hosts.example"], "ports": [80, 8080] }))
}

fn evidence(host: &str, agent: &str, port: u16) -> Vec<u8> {
    json!({ "hostname": host, "agentname": agent, "port": port }).to_string().into_bytes()
}

fn step<T: std::fmt::Debug>(found: Result<T, Refusal>) -> Step {
    match found {
        Err(Refusal::Failed { step, .. }) => step,
        other => panic!("{other:?}"),
    }
}

/// req: ATT-02 (part)
#[test]
fn s7_a_host_serves_the_nonce_under_its_name() {
    let rule = policy();
    assert_eq!(Mechanism.faults(&rule), []);
    let facts = Facts::new(Role::Node, &rule, &NONCE, NOW);
    let evidence = evidence("a.hosts.example", "default", 8080);
    let challenge = Mechanism.challenge(&evidence, &facts).unwrap().unwrap();
    let Challenge { nonce } = serde_json::from_slice(&challenge).unwrap();
    let asked = Mechanism.question(&evidence, &facts).unwrap().unwrap();
    let path = "/.well-known/spiffe/nodeattestor/http_challenge/default/challenge".to_owned();
    let host = "a.hosts.example".to_owned();
    let addresses = Vec::new();
    assert_eq!(asked, Question::Document { host, port: 8080, path, bytes_max: 64, addresses });
    let check = |told: Option<&[u8]>, response: Option<&[u8]>| -> Result<Appraisal, Refusal> {
        Mechanism.appraise(&evidence, response, &Facts { told, ..facts })
    };
    let found = check(Some(nonce.as_bytes()), Some(b"{}")).unwrap();
    assert_eq!((found.name.as_str(), found.once), ("a.hosts.example", true));
    assert!(check(Some(format!("{nonce}\n").as_bytes()), Some(b"{}")).is_ok());
    assert_eq!(step(check(Some(b"other"), Some(b"{}"))), Step::Binding);
    assert_eq!(step(check(Some(b""), Some(b"{}"))), Step::Binding);
    assert_eq!(step(check(None, Some(b"{}"))), Step::Binding);
    assert_eq!(check(Some(nonce.as_bytes()), None), Err(Refusal::NoResponse));
}

/// The server fetches nothing that a stranger names.
/// req: ATT-02 (part), ATT-01 (part)
#[test]
fn s7_nobody_is_asked_whom_policy_does_not_list() {
    let rule = policy();
    let facts = Facts::new(Role::Node, &rule, &NONCE, NOW);
    let check = |host: &str, agent: &str, port: u16| {
        let evidence = evidence(host, agent, port);
        let asked = step(Mechanism.question(&evidence, &facts));
        assert_eq!(step(Mechanism.challenge(&evidence, &facts)), asked);
        asked
    };
    for host in [
        "",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "169.254.169.254",
        "10.1",
        "HOST-1.example",
        "host-1.example.",
        "host-1.example:80",
        "a/../host-1.example",
        "-a.hosts.example",
        "a@host-1.example",
        "0x7f.1",
    ] {
        assert_eq!(check(host, "default", 80), Step::Form, "{host}");
    }
    for host in ["other.example", "hosts.example", "ahosts.example", "a.host-1.example"] {
        assert_eq!(check(host, "default", 80), Step::Chain, "{host}");
    }
    assert_eq!(check("host-1.example", "default", 22), Step::Chain);
    for agent in ["", "..", "a/b", "a%2f", "a?b", &"a".repeat(33)] {
        assert_eq!(check("host-1.example", agent, 80), Step::Form, "{agent}");
    }
}

#[test]
fn s7_policy_of_http_challenge_lists_hosts() {
    let faults = |own: Value| {
        let found = Mechanism.faults(&rule(&own));
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(faults(json!({})), [""]);
    for hosts in [json!([]), json!(["*"]), json!(["*.*.example"]), json!(["10.0.0.1"])] {
        assert_eq!(faults(json!({ "hosts": hosts })), ["hosts"]);
    }
    assert_eq!(faults(json!({ "hosts": ["a.example"], "ports": [0] })), ["ports"]);
}
