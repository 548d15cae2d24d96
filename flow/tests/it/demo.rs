//! The demonstration's twelve steps, as far as they are flows.

use env::World;
use flow::call::End;
use flow::{agents, join, workload};
use gateway::Refusal;
use identifier::Kind;
use monitoring::{Event, Outcome};
use provisioning::Act;
use testkit::fixture::{
    Domain, GATEWAY, by_jwt_svid, by_wit, credentials, exchange, process, registration, story,
    tool_call,
};

const BATCH: &str = "spiffe://demo.example/service/batch";
const AGENT: &str = "spiffe://demo.example/agent/clerk";
const TOOLS: &str = "https://gateway.demo.example:8446/invoices";

/// A batch job, an agent that may read invoices, and one that may do nothing.
async fn peopled(domain: &Domain) {
    let mut batch = registration("batch", &[]);
    batch.kind = Kind::Service;
    domain.register(batch).await;
    domain.register(registration("clerk", &["invoices"])).await;
    domain.register(registration("other", &["invoices"])).await;
}

/// A token for the agent, from the batch job.
async fn task(domain: &Domain) -> String {
    let svid = domain.jwt_svid("/opt/batch", testkit::fixture::ISSUER).await;
    domain.token(by_jwt_svid(BATCH, &svid, credentials(AGENT, "invoices.read invoices.pay"))).await
}

/// req: AUTHZ-02, AUTHZ-08, AUTHZ-11 (part), AUTHZ-12 (part), AUTHZ-20, OBS-09 (part)
#[test]
fn s10_a_task_runs_from_the_batch_job_to_the_tool() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        peopled(&domain).await;
        let task = task(&domain).await;
        let received = domain.read(&task).unwrap();
        assert_eq!((received.subject(), received.client_id()), (BATCH, BATCH));
        assert_eq!((received.audience(), received.act(), received.parent()), (AGENT, None, None));
        let clerk = domain.party("/opt/clerk").await;
        let asked = exchange(&task, TOOLS, "invoices.read");
        let token = domain.token(by_wit(&clerk, asked, domain.now())).await;
        let next = domain.read(&token).unwrap();
        assert_eq!((next.subject(), next.client_id()), (BATCH, AGENT));
        assert_eq!(next.act().unwrap().iter().collect::<Vec<_>>(), [AGENT]);
        assert_eq!((next.parent(), next.root()), (Some(received.jti()), received.root()));
        assert!(next.scope().is_within(received.scope()) && next.expires() <= received.expires());
        let call = tool_call(&clerk, &token, "invoices", "list_invoices", domain.now());
        let End::Forwarded(recorded, live) = domain.call(call).await.unwrap() else {
            panic!("refused")
        };
        assert_eq!(live.epoch, next.epoch());
        let forwarded = domain.upstream.forwards().pop().unwrap();
        assert_eq!(forwarded.url, "http://127.0.0.1:9001/mcp");
        let seen =
            String::from_utf8(forwarded.headers.iter().fold(Vec::new(), |mut all, field| {
                all.extend_from_slice(&field.1);
                all
            }));
        assert!(!seen.unwrap().contains(&token), "the access token went upstream");
        let field = forwarded.headers.iter().find(|(name, _)| name == "txn-token").unwrap();
        domain.server.clock().set_right();
        let swapped = domain.read_transaction(std::str::from_utf8(&field.1).unwrap()).unwrap();
        assert_eq!((swapped.subject(), swapped.audience()), (BATCH, "demo.example"));
        assert_eq!((swapped.parent(), swapped.root()), (Some(next.jti()), received.root()));
        let decided = domain.gateway.journal().find(recorded.audit_id().unwrap()).unwrap();
        assert_eq!((decided.event, decided.outcome), (Event::CallDecided, Outcome::Permitted));
        assert_eq!(decided.rules, ["read-invoices"]);
        told_as_one_task(&domain, received.root());
    });
}

/// The whole chain carries the root: who did what, under which rule.
fn told_as_one_task(domain: &Domain, root: &str) {
    let of_root = |record: &monitoring::Record| record.root.as_deref() == Some(root);
    let mut told = domain.server.journal().records();
    told.extend(domain.gateway.journal().records());
    let told: Vec<_> = told
        .iter()
        .filter(|record| of_root(record))
        .map(|record| (record.event, record.action.as_str(), record.agent.as_deref().unwrap()))
        .collect();
    let expect = [
        (Event::TokenIssued, "token.issue", BATCH),
        (Event::TokenIssued, "token.exchange", AGENT),
        (Event::CallDecided, "tool.call", AGENT),
        (Event::CallFinished, "tool.call", AGENT),
    ];
    assert_eq!(told, expect);
}

/// req: ATT-02 (part), OBS-05 (part)
#[test]
fn s7_a_join_token_serves_once_and_the_second_use_is_recorded() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let server = domain.server.world();
        let role = attestation::mechanism::Role::Node;
        let life = time::Span::from_seconds(60);
        let shown = flow::join_token::create(&*server, &domain.operator(), role, None, life).await;
        let token = shown.unwrap().into_value().expose().to_owned();
        let attempt = || testkit::fixture::attempt("join_token", role, token.as_bytes());
        let first = join::join(&*server, &attempt(), None).await.unwrap();
        let join::End::Decided(first) = first else { panic!("a stranger") };
        let id = first.into_value().unwrap().id.to_string();
        let second = join::join(&*server, &attempt(), None).await.unwrap();
        let join::End::Decided(second) = second else { panic!("a stranger") };
        let record = domain.server.journal().find(second.audit_id().unwrap()).unwrap();
        assert_eq!(record.why.unwrap().check, "attestation::TokenUsed");
        assert!(second.value().as_ref().unwrap_err().to_string().contains(&id));
    });
}

/// req: PROV-01 (part), ATT-01 (part), ID-01 (part)
#[test]
fn s8_a_process_gets_its_identity_and_another_gets_none() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        peopled(&domain).await;
        let clerk = domain.party("/opt/clerk").await;
        assert_eq!(clerk.id, AGENT);
        let leaf = x509::Certificate::parse(&clerk.chain[0]).unwrap();
        assert_eq!(leaf.uri_names(), [AGENT]);
        let stranger = domain.attest(process("/opt/clerk2"), true).await.unwrap();
        let record = domain.node.journal().find(stranger.audit_id().unwrap()).unwrap();
        assert_eq!(stranger.into_value().unwrap_err(), workload::Refusal::NoRecord);
        assert_eq!(record.why.unwrap().check, "workload::NoRecord");
        assert_eq!(record.attestation["path"], "/opt/clerk2");
    });
}

/// req: GW-02 (part), POL-02 (part), AUTHZ-25 (part)
#[test]
fn s5_1_a_call_outside_its_rights_names_the_rule_and_the_version() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        peopled(&domain).await;
        let clerk = domain.party("/opt/clerk").await;
        let asked = exchange(&task(&domain).await, TOOLS, "");
        let token = domain.token(by_wit(&clerk, asked, domain.now())).await;
        let call = |tool| tool_call(&clerk, &token, "invoices", tool, domain.now());
        let Some(Refusal::Denied { needs, rules, policy, .. }) =
            domain.refusal_of(call("pay_invoice")).await
        else {
            panic!("not denied")
        };
        assert_eq!(
            (needs.as_deref(), rules.len()),
            (Some("the capability `invoices`; or the capability `payments`"), 0)
        );
        assert!(policy.starts_with("sha256:"));
        let last = domain.gateway.journal().last().unwrap();
        assert_eq!((last.outcome, last.policy.unwrap()), (Outcome::Refused, policy));
        let Some(Refusal::Denied { message, rules, .. }) =
            domain.refusal_of(call("delete_invoice")).await
        else {
            panic!("not denied")
        };
        assert_eq!(rules, ["keep-invoices"]);
        assert!(message.contains("invoices are kept for ten years"), "{message}");
        assert_eq!(domain.upstream.forwards().len(), 0);
    });
}

/// req: AUTHN-02 (part), AUTHN-05 (part), AUTHZ-21 (part)
#[test]
fn s9_2_replay_other_audience_and_other_agent_are_refused() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        peopled(&domain).await;
        let (clerk, other) = (domain.party("/opt/clerk").await, domain.party("/opt/other").await);
        let now = domain.now();
        let token = domain.token(by_wit(&clerk, credentials(TOOLS, "invoices.read"), now)).await;
        let call = tool_call(&clerk, &token, "invoices", "list_invoices", now);
        assert_eq!(domain.refusal_of(call.clone()).await, None);
        assert_eq!(domain.refusal_of(call).await, Some(Refusal::Replayed));
        let elsewhere = format!("{GATEWAY}/notices");
        let wrong = domain.token(by_wit(&clerk, credentials(&elsewhere, ""), now)).await;
        let call = tool_call(&clerk, &wrong, "invoices", "list_invoices", now);
        let Some(Refusal::Token { why }) = domain.refusal_of(call).await else { panic!("no") };
        assert_eq!(why, format!("token for `{elsewhere}`, not for `{TOOLS}`"));
        let call = tool_call(&other, &token, "invoices", "list_invoices", now);
        let refusal = domain.refusal_of(call).await;
        let holder = authentication::ProofRefusal::OtherHolder {
            holder: AGENT.to_owned(),
            presenter: wimse::WorkloadId::parse(&other.id).unwrap(),
        };
        assert_eq!(refusal, Some(Refusal::Proof(holder)));
        let forwarded = domain.upstream.forwards().len();
        assert!(forwarded <= 2, "a read-only call may be on its way before the replay is seen");
    });
}

/// req: OBS-04 (part), OBS-10 (part), PROV-06 (part)
#[test]
fn s11_a_suspended_agent_is_refused_and_what_it_had_stays_dead() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        peopled(&domain).await;
        let old = domain.party("/opt/clerk").await;
        let now = domain.now();
        let token = domain.token(by_wit(&old, credentials(TOOLS, "invoices.read"), now)).await;
        let call =
            |party, token: &str| tool_call(party, token, "invoices", "list_invoices", domain.now());
        assert_eq!(domain.refusal_of(call(&old, &token)).await, None);
        domain.act("clerk", Act::Suspend).await;
        let refusal = domain.refusal_of(call(&old, &token)).await;
        assert_eq!(refusal.unwrap().check(), "gateway::NotInForce");
        let none = domain.try_party("/opt/clerk").await.unwrap().err().unwrap();
        assert_eq!(none.check(), "workload::NotInForce");
        let none = domain.ask(by_wit(&old, credentials(TOOLS, ""), domain.now())).await;
        assert_eq!(none.unwrap_err().check(), "grants::CallerNotInForce");
        domain.act("clerk", Act::Resume).await;
        let refusal = domain.refusal_of(call(&old, &token)).await;
        assert_eq!(refusal.unwrap().check(), "gateway::NotInForce");
        let none = domain.ask(by_wit(&old, credentials(TOOLS, ""), domain.now())).await;
        assert_eq!(none.unwrap_err().check(), "grants::CallerNotInForce");
        let new = domain.party("/opt/clerk").await;
        assert_ne!(new.wit.expose(), old.wit.expose());
        let asked = credentials(TOOLS, "invoices.read");
        let fresh = domain.token(by_wit(&new, asked, domain.now())).await;
        assert_eq!(domain.refusal_of(call(&new, &fresh)).await, None);
        // A new WIT does not bring an old token back, nor a new token an old WIT.
        let refusal = domain.refusal_of(call(&new, &token)).await;
        assert_eq!(refusal.unwrap().check(), "gateway::NotInForce");
        let refusal = domain.refusal_of(call(&old, &fresh)).await;
        assert_eq!(refusal.unwrap().check(), "gateway::NotInForce");
    });
}

/// req: OBS-05 (part)
#[test]
fn s11_what_an_operator_does_is_recorded_with_who_and_why() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        peopled(&domain).await;
        domain.act("clerk", Act::Suspend).await;
        let record = domain.server.journal().of(Event::AgentLifecycle).pop().unwrap();
        assert_eq!(record.operator.as_deref(), Some("uid:1000"));
        assert_eq!(
            (record.action.as_str(), record.agent.as_deref()),
            ("agent.suspend", Some(AGENT))
        );
        assert_eq!(record.facts["reason"], "a story");
        let server = domain.server.world();
        let shown = agents::show(&*server, &identifier::AgentName::parse("clerk").unwrap()).await;
        assert_eq!(shown.unwrap().unwrap().lifecycle.reason, "a story");
        assert_eq!(server.component().0, "server");
    });
}
