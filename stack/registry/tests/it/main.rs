//! The one record of an agent, of a client, of a host: what it must hold and what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests among it")]

use attestation::mechanism::Role;
use attestation::rule::{NODES_MAX, RuleError};
use attestation::{Appraisal, Rule, Selector, Selectors};
use authorization::client::Facet;
use identifier::{AgentName, Kind, assign};
use oauth::ScopeSet;
use provisioning::{Epoch, KeyHolding, State};
use registry::{
    AgentRecord, ClientRecord, ClientRefusal, ClientState, Metadata, NodeRecord, Registration,
    RegistrationRefusal,
};
use time::UnixTime;
use wimse::{Origin, WorkloadId};

const NOW: UnixTime = UnixTime::from_seconds(1_795_220_013);

fn selectors(text: &str) -> Selectors {
    Selectors::new([Selector::parse(text).unwrap()]).unwrap()
}

fn domain() -> Origin {
    Origin::parse("spiffe://demo.example").unwrap()
}

fn entry(kind: Kind) -> Registration {
    Registration {
        name: AgentName::parse("invoice").unwrap(),
        kind,
        owner: "team-a".to_owned(),
        capabilities: ["invoices".to_owned()].into(),
        locator: Some("https://invoice.example".to_owned()),
        rule: Rule {
            selectors: selectors("unix:uid:1000"),
            nodes: Vec::new(),
            class: "standard".to_owned(),
        },
        dns_names: std::collections::BTreeSet::new(),
        keys: None,
        client: Facet {
            scope_max: ScopeSet::parse("read write").ok(),
            callable: true,
            redirects: None,
            ..Facet::default()
        },
        downstream: false,
    }
}

fn agent(entry: Registration) -> AgentRecord {
    let assigned = assign(&domain(), entry.kind, entry.name.clone(), None, NOW).unwrap();
    AgentRecord::new(&assigned, entry, Epoch(7), NOW)
}

/// One record is attestation rule, client and registry entry; what is stored reads back.
/// req: REG-03 (part), AUTHZ-23 (part), ID-03 (part)
#[test]
fn s3_3_one_record_holds_all_that_an_agent_is() {
    let record = agent(entry(Kind::Agent));
    assert_eq!(record.id.as_str(), "spiffe://demo.example/agent/invoice");
    assert_eq!((record.lifecycle.state, record.lifecycle.dead_before), (State::Active, Epoch(7)));
    let text = serde_json::to_string_pretty(&record).unwrap();
    assert_eq!(serde_json::from_str::<AgentRecord>(&text).unwrap(), record);
    insta::assert_snapshot!(text);
}

/// Nothing that was issued before an agent was registered is its own.
/// req: ID-06 (part)
#[test]
fn s3_3_a_new_record_admits_nothing_older_than_itself() {
    let record = agent(entry(Kind::Agent));
    assert!(record.lifecycle.admits(Some(Epoch(7))).is_ok());
    assert!(record.lifecycle.admits(Some(Epoch(6))).is_err());
    assert!(record.lifecycle.admits(None).is_err());
}

/// A model is never an authority: only a service with keys of its own can be a server below ours.
/// req: SEC-04 (part)
#[test]
fn s5_a_downstream_server_is_a_service_with_its_own_keys() {
    for (kind, keys, fits) in [
        (Kind::Service, None, true),
        (Kind::Service, Some(KeyHolding::Handed), true),
        (Kind::Service, Some(KeyHolding::Kept), false),
        (Kind::Agent, None, false),
        (Kind::Agent, Some(KeyHolding::Handed), false),
    ] {
        let entry = Registration { keys, downstream: true, ..entry(kind) };
        let expect = if fits { Ok(()) } else { Err(RegistrationRefusal::Downstream) };
        assert_eq!(entry.check(), expect, "{kind:?} {keys:?}");
        // What is stored says it still.
        let text = serde_json::to_string(&agent(entry)).unwrap();
        assert!(serde_json::from_str::<AgentRecord>(&text).unwrap().entry.downstream);
    }
    // A record of before has none.
    let text = serde_json::to_string(&agent(entry(Kind::Service))).unwrap();
    assert!(!text.contains("downstream"));
}

/// req: SEC-04 (part), SEC-01 (part)
#[test]
fn s5_an_agent_holds_no_key_unless_its_record_says_so() {
    let held = |kind, keys| agent(Registration { keys, ..entry(kind) }).keys();
    assert_eq!(held(Kind::Agent, None), KeyHolding::Kept);
    assert_eq!(held(Kind::Service, None), KeyHolding::Handed);
    assert_eq!(held(Kind::Agent, Some(KeyHolding::Handed)), KeyHolding::Handed);
    assert_eq!(held(Kind::Service, Some(KeyHolding::Kept)), KeyHolding::Kept);
}

/// req: REG-03 (part)
#[test]
fn s3_3_what_cannot_be_a_record_is_refused() {
    let check = |edit: &dyn Fn(&mut Registration), expect: RegistrationRefusal| {
        let mut wrong = entry(Kind::Agent);
        edit(&mut wrong);
        assert_eq!(wrong.check(), Err(expect));
    };
    assert_eq!(entry(Kind::Agent).check(), Ok(()));
    let bare = Registration { locator: None, capabilities: [].into(), ..entry(Kind::Service) };
    assert_eq!(bare.check(), Ok(()));
    let text = |name| RegistrationRefusal::Text { name };
    for bad in ["", "a\nb", "\u{1b}[2J", &"x".repeat(257)].map(str::to_owned) {
        check(&|wrong| wrong.owner.clone_from(&bad), text("owner"));
        check(&|wrong| wrong.locator = Some(bad.clone()), text("locator"));
        check(&|wrong| wrong.capabilities = [bad.clone()].into(), text("capability"));
    }
    check(
        &|wrong| wrong.capabilities = (0..65).map(|n| format!("c{n}")).collect(),
        RegistrationRefusal::Capabilities { count: 65 },
    );
    check(
        &|wrong| wrong.rule.selectors = Selectors::default(),
        RegistrationRefusal::Rule(RuleError::NoSelectors),
    );
    let node = WorkloadId::parse("spiffe://demo.example/n").unwrap();
    check(
        &|wrong| wrong.rule.nodes = vec![node.clone(); NODES_MAX + 1],
        RegistrationRefusal::Rule(RuleError::TooManyNodes { count: NODES_MAX + 1 }),
    );
}

/// A record in a file of policy: every part that is left out has its default, and a misspelt part
/// is no default.
#[test]
fn s3_3_a_registration_in_a_document_is_read_strictly() {
    let least = r#"{"name":"invoice","kind":"agent","owner":"team-a",
        "rule":{"selectors":["unix:uid:1000"]}}"#;
    let read: Registration = serde_json::from_str(least).unwrap();
    let expect = Registration {
        locator: None,
        capabilities: [].into(),
        client: Facet::default(),
        ..entry(Kind::Agent)
    };
    assert_eq!(read, expect);
    assert!(!read.client.callable, "nobody calls an agent that does not say so");
    for (from, to) in [
        (r#""owner""#, r#""Owner""#),
        (r#""rule""#, r#""client":{"scope":"read"},"rule""#),
        (r#""selectors""#, r#""selector""#),
        (r#""invoice""#, r#""Invoice""#),
        (r#""agent""#, r#""robot""#),
    ] {
        let wrong = least.replacen(from, to, 1);
        assert!(serde_json::from_str::<Registration>(&wrong).is_err(), "{wrong}");
    }
}

/// req: ID-01 (part), ID-02 (part)
#[test]
fn s5_the_identifiers_of_hosts_are_apart_from_those_of_agents() {
    let id = |role, mechanism: &str, name: &str| {
        NodeRecord::identifier(&domain(), role, mechanism, name).map(|id| id.to_string())
    };
    let node = id(Role::Node, "join_token", "host-1").unwrap();
    assert_eq!(node, "spiffe://demo.example/aims/node/join_token/host-1");
    let gateway = id(Role::Gateway, "x509pop", "00ff").unwrap();
    assert_eq!(gateway, "spiffe://demo.example/aims/gateway/x509pop/00ff");
    // No name of an agent or a service leads there, and no name of a host leads elsewhere.
    for kind in [Kind::Agent, Kind::Service] {
        assert_ne!(kind.segment(), "aims");
    }
    for name in ["", "..", ".", "a//b", "a b", "a%2fb", "../../agent/a"] {
        assert!(id(Role::Node, "join_token", name).is_err(), "{name}");
    }
}

#[test]
fn s7_a_host_that_joined_is_active_with_what_was_found() {
    let id = NodeRecord::identifier(&domain(), Role::Node, "join_token", "host-1").unwrap();
    let found = Appraisal {
        mechanism: "join_token",
        name: "host-1".to_owned(),
        selectors: selectors("join_token:name:host-1"),
        vector: rats::Vector::NONE,
        until: None,
        once: true,
        uses: Vec::new(),
    };
    let record = NodeRecord::new(id, Role::Node, &found, "key".to_owned(), Epoch(7), NOW);
    assert_eq!((record.joined, record.renewed), (NOW, NOW));
    assert_eq!((record.mechanism.as_str(), &record.selectors), ("join_token", &found.selectors));
    assert!(record.lifecycle.admits(Some(Epoch(7))).is_ok());
    assert!(record.lifecycle.admits(Some(Epoch(6))).is_err());
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<NodeRecord>(&text).unwrap(), record);
}

/// Defect: a disabled client still gets tokens.
/// req: PROV-06 (part), CRED-10 (part)
#[test]
fn s10_a_disabled_client_is_refused() {
    let metadata = r#"{"token_endpoint_auth_method":"private_key_jwt",
        "grant_types":["client_credentials"],
        "jwks":{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}}"#;
    let metadata = Metadata::new(&serde_json::from_str(metadata).unwrap()).unwrap();
    let client = ClientRecord::new("client-1".to_owned(), metadata, NOW);
    assert_eq!(client.is_enabled(), Ok(()));
    let disabled = ClientRecord { state: ClientState::Disabled, ..client };
    assert_eq!(disabled.is_enabled(), Err(ClientRefusal::Disabled { since: NOW }));
    let text = serde_json::to_string(&disabled).unwrap();
    assert_eq!(serde_json::from_str::<ClientRecord>(&text).unwrap(), disabled);
    // Whoever may read the registry finds no secret in it.
    assert!(!text.contains("secret") && !text.contains("\"d\""), "{text}");
}
