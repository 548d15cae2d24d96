//! On the node: who a process is, what it gets, and the agent proxy.

use env::rows::Holding;
use env::{Keys, Purpose, World};
use flow::proxy::{self, Outbound};
use flow::workload::{
    Asker, Attested, Broker, Look, NotABroker, Refusal, Unmeasured, attest_for, broker, held_wit,
    look_again, wit, x509,
};
use gateway::Target;
use monitoring::{Event, Outcome};
use provisioning::{Act, KeyHolding};
use testkit::fixture::{Domain, files_but, http_call, process, registration, story};
use testkit::{LinkRates, Sim};
use time::Span;
use wimse::WorkloadId;
use x509::Certificate;

const ITSELF: Asker<'_> = Asker::Itself { wants_keys: false };
const CLERK: &str = "spiffe://demo.example/agent/clerk";

async fn attested(domain: &Domain, path: &str) -> Attested {
    domain.attest(process(path), false).await.unwrap().into_value().unwrap()
}

/// The refusal, recorded under its name.
async fn refused(domain: &Domain, path: &str) -> Refusal {
    let end = domain.attest(process(path), true).await.unwrap();
    let record = domain.node.journal().find(end.audit_id().unwrap()).unwrap();
    let refusal = end.into_value().unwrap_err();
    let why = record.why.unwrap();
    assert_eq!((record.event, record.outcome), (Event::WorkloadAttested, Outcome::Refused));
    assert_eq!((why.check.as_str(), why.message), (refusal.check(), refusal.to_string()));
    refusal
}

/// req: ATT-02 (part), SEC-01 (part), SEC-04 (part), AUTHN-12 (part)
#[test]
fn s7_a_process_is_one_agent_in_force_or_gets_nothing() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        assert_eq!(refused(&domain, "/opt/clerk").await, Refusal::NoRecord);
        let clerk = domain.register(registration("clerk", &[])).await;
        let mut twin = registration("twin", &[]);
        twin.rule = clerk.entry.rule.clone();
        // Registration refuses it while the other is in force.
        domain.act("clerk", Act::Suspend).await;
        let twin = domain.register(twin).await;
        domain.act("clerk", Act::Resume).await;
        let both = vec![CLERK.to_owned(), twin.id.to_string()];
        assert_eq!(refused(&domain, "/opt/clerk").await, Refusal::Several(both));
        // A record that ended does not stand in the way of another.
        domain.act("twin", Act::Retire).await;
        assert_eq!(attested(&domain, "/opt/clerk").await.agent.id, clerk.id);
        domain.act("clerk", Act::Suspend).await;
        assert_eq!(refused(&domain, "/opt/clerk").await.check(), "workload::NoRecord");
        let mut kept = registration("kept", &[]);
        kept.keys = Some(KeyHolding::Kept);
        let kept = domain.register(kept).await;
        let id = kept.id.clone();
        assert_eq!(refused(&domain, "/opt/kept").await, Refusal::KeysKept { id });
        assert_eq!(attested(&domain, "/opt/kept").await.agent.id, kept.id, "behind the proxy");
        domain.act("kept", Act::Suspend).await;
        assert_eq!(refused(&domain, "/opt/kept").await.check(), "workload::NotInForce");
        let mut many = process("/opt/clerk");
        many.supplementary = (0..1_100).collect();
        let end = domain.attest(many, true).await.unwrap().into_value();
        assert_eq!(end.unwrap_err().check(), "workload::Evidence");
        sim.sleep(Span::from_seconds(11)).await;
        assert_eq!(refused(&domain, "/opt/kept").await.check(), "workload::FeedLost");
    });
}

/// What a platform says decides with the rest; what leaves the node is what the rule asks for.
///
/// req: ATT-01 (part), ATT-02, OBS-07 (part)
#[test]
fn s7_a_platforms_facts_decide_and_only_those_asked_for_are_told() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let demanded = "docker:label:team:research";
        let read = |all: &[&str]| {
            let all = all.iter().map(|text| attestation::Selector::parse(text).unwrap());
            attestation::Selectors::new(all).unwrap()
        };
        let mut clerk = registration("clerk", &[]);
        let own = clerk
            .rule
            .selectors
            .iter()
            .cloned()
            .chain(read(&[demanded]).iter().cloned().collect::<Vec<_>>());
        clerk.rule.selectors = attestation::Selectors::new(own).unwrap();
        let clerk = domain.register(clerk).await;
        assert_eq!(refused(&domain, "/opt/clerk").await, Refusal::NoRecord);
        let mut found = process("/opt/clerk");
        let all = [demanded, "docker:env:PASSWORD=hidden", "docker:image_id:tiny:1"];
        found.platform = read(&all);
        let end = domain.attest(found.clone(), false).await.unwrap();
        let record = domain.node.journal().find(end.audit_id().unwrap()).unwrap();
        let attested = end.into_value().unwrap();
        assert_eq!(attested.agent.id, clerk.id);
        assert_eq!(attested.process.platform, read(&[all[0], all[2]]));
        assert_eq!(record.attestation["docker:label"], "team:research");
        assert_eq!(record.attestation["docker:image_id"], "tiny:1");
        assert!(!record.attestation.contains_key("docker:env"));
        let node = domain.node.world();
        held_wit(&*node, &attested).await.unwrap().unwrap();
        // Nobody's process: what names it is recorded, and nothing that may be secret.
        found.path = Some("/opt/other".to_owned());
        let end = domain.attest(found, false).await.unwrap();
        let record = domain.node.journal().find(end.audit_id().unwrap()).unwrap();
        assert_eq!(end.into_value().unwrap_err(), Refusal::NoRecord);
        assert_eq!(record.attestation["docker:image_id"], "tiny:1");
        assert!(!record.attestation.contains_key("docker:env"));
    });
}

/// req: ATT-02 (part), OBS-07 (part)
#[test]
fn s7_a_process_that_cannot_be_measured_is_recorded_with_the_reason() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let node = domain.node.world();
        let (check, why) = ("measure::Docker", "docker: the daemon is away".to_owned());
        let unmeasured = Unmeasured { pid: 7, uid: 1000, check, why: why.clone() };
        let end = flow::workload::unmeasured(&*node, unmeasured).await.unwrap();
        let record = domain.node.journal().find(end.audit_id().unwrap()).unwrap();
        let told = record.why.unwrap();
        assert_eq!((told.check.as_str(), told.message), (check, why));
        assert_eq!((record.event, record.outcome), (Event::WorkloadAttested, Outcome::Refused));
        assert_eq!(record.attestation["pid"], "7");
    });
}

/// A stream that is open for days says nothing new; what changes it is recorded once.
///
/// req: AUTHN-12 (part), OBS-05 (part)
#[test]
fn s7_a_second_look_is_recorded_only_if_it_finds_something_else() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let last = attested(&domain, "/opt/clerk").await;
        let (node, journal) = (domain.node.world(), domain.node.journal());
        let before = journal.len();
        for _ in 0..5 {
            sim.sleep(Span::from_seconds(2)).await;
            domain.sync().await;
            let look = look_again(&*node, process("/opt/clerk"), ITSELF, &last).await.unwrap();
            assert!(matches!(look, Look::Same(found) if found.process == last.process));
        }
        assert_eq!(journal.len(), before);
        // The process runs another program now: it is nobody.
        let look = look_again(&*node, process("/opt/other"), ITSELF, &last).await.unwrap();
        let Look::New(end) = look else { panic!("another process") };
        assert_eq!(end.into_value().unwrap_err(), Refusal::NoRecord);
        domain.act("clerk", Act::Suspend).await;
        let look = look_again(&*node, process("/opt/clerk"), ITSELF, &last).await.unwrap();
        let Look::New(end) = look else { panic!("it is suspended") };
        assert_eq!(end.into_value().unwrap_err().check(), "workload::NotInForce");
        assert_eq!(journal.len(), before + 2);
    });
}

/// req: PROV-02 (part), PROV-03 (part), CRED-11 (part)
#[test]
fn s8_what_is_held_serves_until_half_its_life_and_then_there_is_a_new_key() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let node = domain.node.world();
        let attested = attested(&domain, "/opt/clerk").await;
        let first = held_wit(&*node, &attested).await.unwrap().unwrap();
        let again = held_wit(&*node, &attested).await.unwrap().unwrap();
        assert_eq!(again.credential, first.credential);
        let leaf = x509(&*node, &attested).await.unwrap().unwrap();
        assert_eq!(leaf.chain, x509(&*node, &attested).await.unwrap().unwrap().chain);
        sim.sleep(Span::from_seconds(1_801)).await;
        domain.sync().await;
        let next = held_wit(&*node, &attested).await.unwrap().unwrap();
        assert_ne!((&next.credential, &next.key), (&first.credential, &first.key));
        assert_ne!(leaf.chain, x509(&*node, &attested).await.unwrap().unwrap().chain);
        assert!(node.keys().export(&first.key).is_err(), "the old key is destroyed");
        let workloads = |handle: &&env::Handle| handle.purpose == Purpose::Workload;
        assert_eq!(domain.node.keys().handles().iter().filter(workloads).count(), 2);
    });
}

/// An outage costs nobody a credential that still counts; a decision of the server does.
/// req: PROV-09 (part)
#[test]
fn s8_a_renewal_that_gets_no_answer_leaves_what_is_held() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let node = domain.node.world();
        let attested = attested(&domain, "/opt/clerk").await;
        let first = held_wit(&*node, &attested).await.unwrap().unwrap();
        sim.sleep(Span::from_seconds(1_900)).await;
        domain.node.link().cut(true);
        let kept = held_wit(&*node, &attested).await.unwrap().unwrap();
        assert_eq!(kept.credential, first.credential);
        assert!(kept.renew > domain.now() && kept.renew <= first.until);
        sim.sleep(Span::from_seconds(1_701)).await;
        assert_eq!(held_wit(&*node, &attested).await.unwrap_err().part, "server");
        domain.node.link().cut(false);
        domain.act_unheard("clerk", Act::Suspend).await;
        domain.join(&domain.node, attestation::mechanism::Role::Node, "host-1").await.unwrap();
        let Err(Refusal::Server(why)) = held_wit(&*node, &attested).await.unwrap() else {
            panic!("no refusal")
        };
        assert!(why.contains("suspended"), "{why}");
        assert!(matches!(wit(&*node, &attested).await.unwrap(), Err(Refusal::Server(_))));
    });
}

/// The server did it, and its answer was lost: the next try gets another credential, and every key
/// that was made for nothing is destroyed.
#[test]
fn s8_an_answer_that_is_lost_leaves_no_key_behind() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let node = domain.node.world();
        let attested = attested(&domain, "/opt/clerk").await;
        let lossy = LinkRates { lost_answering: 1_000, ..LinkRates::default() };
        domain.node.link().set_rates(lossy);
        for _ in 0..3 {
            assert_eq!(held_wit(&*node, &attested).await.unwrap_err().part, "server");
        }
        assert_eq!(domain.server.journal().of(Event::CredentialIssued).len(), 3);
        domain.node.link().set_rates(LinkRates::default());
        held_wit(&*node, &attested).await.unwrap().unwrap();
        let workloads = |handle: &&env::Handle| handle.purpose == Purpose::Workload;
        assert_eq!(domain.node.keys().handles().iter().filter(workloads).count(), 1);
        assert_eq!(node.store().every::<Holding>().len(), 1);
    });
}

struct Desk {
    domain: Domain,
    attested: Attested,
}

impl Desk {
    async fn open(sim: &Sim) -> Self {
        Self::in_domain(Domain::start(sim).await).await
    }

    async fn in_domain(domain: Domain) -> Self {
        let mut clerk = registration("clerk", &["invoices"]);
        clerk.keys = Some(KeyHolding::Kept);
        domain.register(clerk).await;
        let attested = attested(&domain, "/opt/clerk").await;
        Self { domain, attested }
    }

    async fn sign(&self, path: &str, body: &str) -> Result<gateway::Call, proxy::Refusal> {
        let target = Target::parse(path, None).unwrap();
        let out = Outbound { method: "POST", target: &target, body: body.as_bytes() };
        let signed = self.domain.sign(&self.attested, out).await.unwrap();
        let signed = signed.map_err(|refused| refused.refusal)?;
        let mut call = http_call("POST", path, "");
        (call.headers, call.body) = (Vec::new(), body.as_bytes().to_vec());
        for (name, value) in signed.headers {
            call.headers.push((name.to_owned(), value.expose().as_bytes().to_vec()));
        }
        Ok(call)
    }
}

fn tool(name: &str) -> String {
    let params = serde_json::json!({ "name": name, "arguments": {} });
    serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
        .to_string()
}

/// req: SEC-01 (part), AUTHZ-21 (part)
#[test]
fn s3_2_a_process_that_holds_nothing_calls_through_the_proxy() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let domain = &desk.domain;
        for _ in 0..2 {
            let call = desk.sign("/invoices", &tool("list_invoices")).await.unwrap();
            assert_eq!(domain.refusal_of(call).await, None);
        }
        let tokens = domain.server.journal().of(Event::TokenIssued);
        assert_eq!(tokens.len(), 1, "a token serves until it nears its end");
        assert_eq!(tokens[0].proof.as_deref(), Some("spiffe_wit"));
        let text = domain.gateway.journal().of(Event::CallDecided)[0].facts.to_string();
        assert!(text.contains("\"granted\":[\"invoices.read\"]"), "just what is needed: {text}");
        // After a suspension nothing of before is used, and after the return all is new.
        domain.act("clerk", Act::Suspend).await;
        let refusal = desk.sign("/invoices", &tool("list_invoices")).await.unwrap_err();
        assert!(matches!(refusal, proxy::Refusal::Workload(Refusal::NotInForce { .. })));
        domain.act("clerk", Act::Resume).await;
        let call = desk.sign("/invoices", &tool("list_invoices")).await.unwrap();
        assert_eq!(domain.refusal_of(call).await, None);
        assert_eq!(domain.server.journal().of(Event::TokenIssued).len(), 2);
    });
}

/// req: SEC-01 (part)
#[test]
fn s3_2_the_proxy_signs_nothing_that_it_does_not_understand() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let refused = async |path: &str, body: &str| desk.sign(path, body).await.unwrap_err();
        let name = "nothing".to_owned();
        assert_eq!(refused("/nothing", "").await, proxy::Refusal::NoResource { name });
        let unknown = refused("/invoices", &tool("fly")).await;
        assert!(matches!(unknown, proxy::Refusal::Map(_)), "{unknown}");
        let access = r#"@id("none") forbid(principal, action, resource);"#;
        let (server, operator) = (desk.domain.server.world(), desk.domain.operator());
        let files = files_but(&[("access/main.cedar", access)]);
        let reason = "closed".to_owned();
        let applied = flow::apply_policy::apply(&*server, &operator, files, reason, None).await;
        applied.unwrap().into_value().unwrap();
        let denied = refused("/invoices", &tool("list_invoices")).await;
        let proxy::Refusal::Token { error, description } = denied else { panic!("{denied}") };
        assert_eq!(error, "pdp::Denied");
        assert!(description.unwrap().contains("is forbidden by `none`"));
    });
}

/// What the node does not sign never gets to the gateway: it is in the node's log instead, as the
/// gateway would have it in its own.
/// req: OBS-05 (part)
#[test]
fn s11_what_the_proxy_refuses_is_recorded_as_at_the_gateway() {
    story(|sim| async move {
        let desk = Desk::open(&sim).await;
        let journal = desk.domain.node.journal();
        let world = desk.domain.node.world();
        let policy = flow::facts::basis(&*world, Vec::new()).await.unwrap().version();
        for (path, body, check, message, rpc) in [
            ("/secret-admin/x", String::new(), "gateway::NoResource", "no resource", false),
            ("/invoices", tool("fly"), "gateway::Map", "the tool `fly` is not among", true),
            ("/invoices", "{".to_owned(), "gateway::Map", "", false),
        ] {
            let before = journal.len();
            let target = Target::parse(path, None).unwrap();
            let out = Outbound { method: "POST", target: &target, body: body.as_bytes() };
            let refused = desk.domain.sign(&desk.attested, out).await.unwrap().unwrap_err();
            let told = journal.after(before);
            assert_eq!(told.len(), 1, "{path}");
            assert_eq!(Some(told[0].id), refused.audit);
            assert_eq!((told[0].event, told[0].outcome), (Event::CallDecided, Outcome::Refused));
            assert_eq!(told[0].agent, Some(desk.attested.agent.id.to_string()));
            let why = told[0].why.clone().unwrap();
            assert_eq!((why.check.as_str(), refused.rpc.is_some()), (check, rpc), "{path}");
            assert!(why.message.starts_with(message), "{}", why.message);
            assert_eq!(why.message, refused.refusal.as_gateways().unwrap().to_string());
            assert_eq!((&told[0].policy, &refused.policy), (&Some(policy.clone()), &policy));
        }
        // What the server refuses, the server recorded: once.
        let access = r#"@id("none") forbid(principal, action, resource);"#;
        let (server, operator) = (desk.domain.server.world(), desk.domain.operator());
        let files = files_but(&[("access/main.cedar", access)]);
        let applied =
            flow::apply_policy::apply(&*server, &operator, files, "closed".to_owned(), None).await;
        applied.unwrap().into_value().unwrap();
        let before = journal.of(Event::CallDecided).len();
        let target = Target::parse("/invoices", None).unwrap();
        let body = tool("list_invoices");
        let out = Outbound { method: "POST", target: &target, body: body.as_bytes() };
        let refused = desk.domain.sign(&desk.attested, out).await.unwrap().unwrap_err();
        assert_eq!((refused.audit, journal.of(Event::CallDecided).len()), (None, before));
        // A suspension that the node heard of is its own to say.
        desk.domain.act("clerk", Act::Suspend).await;
        let refused = desk.domain.sign(&desk.attested, out).await.unwrap().unwrap_err();
        assert!(refused.audit.is_some(), "{}", refused.refusal);
        assert_eq!(journal.of(Event::CallDecided).len(), before + 1);
    });
}

const BOUND: &str = r#"
    name = "invoices"
    upstream = "http://127.0.0.1:9001/mcp"
    protocol = "mcp"
    proof = "dpop"
    [scopes]
    "invoices.read" = "read invoices"
    [[action]]
    tool = "list_invoices"
    scope = "invoices.read"
    read_only = true
"#;

/// Agents of this host and outside clients, which know no WIT, may share a resource.
/// req: SEC-01 (part)
#[test]
fn rfc9449_7_1_the_proxy_proves_by_dpop_where_the_resource_wants_it() {
    story(|sim| async move {
        let files = files_but(&[("resources/invoices.toml", BOUND)]);
        let desk = Desk::in_domain(Domain::start_with(&sim, files).await).await;
        let domain = &desk.domain;
        let list = tool("list_invoices");
        for _ in 0..2 {
            let call = desk.sign("/invoices", &list).await.unwrap();
            let names: Vec<_> = call.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["authorization", "dpop"]);
            assert_eq!(domain.refusal_of(call.clone()).await, None);
            // RFC 9449 §11.1: each proof serves once.
            assert_eq!(domain.refusal_of(call).await, Some(gateway::Refusal::DpopReplayed));
        }
        let issued = |domain: &Domain| domain.server.journal().of(Event::TokenIssued).len();
        assert_eq!(issued(domain), 1, "a token serves until it nears its end");
        let decided = domain.gateway.journal().of(Event::CallDecided);
        assert_eq!(decided[0].proof.as_deref(), Some("dpop"));
        // Without the proof, or for another target, the token is worth nothing.
        let mut stolen = desk.sign("/invoices", &list).await.unwrap();
        stolen.headers.retain(|(name, _)| name != "dpop");
        assert_eq!(domain.refusal_of(stolen).await.unwrap().check(), "gateway::Dpop");
        // The key is renewed with the WIT, and the token with the key.
        sim.sleep(Span::from_seconds(1_801)).await;
        domain.sync().await;
        let call = desk.sign("/invoices", &list).await.unwrap();
        assert_eq!(domain.refusal_of(call).await, None);
        assert_eq!(issued(domain), 2);
    });
}

/// What the proxy cannot prove it says before it asks for anything, with what to do.
#[test]
fn rfc8705_3_a_proof_that_the_proxy_does_not_give_is_refused_with_the_way_out() {
    story(|sim| async move {
        let nonces = "trust_domain = \"demo.example\"\n[bounds]\ndpop_nonces = true\n";
        let files = files_but(&[("resources/invoices.toml", BOUND), ("domain.toml", nonces)]);
        let desk = Desk::in_domain(Domain::start_with(&sim, files).await).await;
        let journal = desk.domain.node.journal();
        for (path, body, what) in [
            ("/invoices", tool("list_invoices"), "`dpop_nonces`"),
            ("/reports/1", String::new(), "`proof = \"mtls\"`"),
        ] {
            let target = Target::parse(path, None).unwrap();
            let method = if body.is_empty() { "GET" } else { "POST" };
            let out = Outbound { method, target: &target, body: body.as_bytes() };
            let refused = desk.domain.sign(&desk.attested, out).await.unwrap().unwrap_err();
            let text = refused.refusal.to_string();
            assert!(text.contains(what) && text.contains("`keys = \"handed\"`"), "{text}");
            let record = journal.find(refused.audit.unwrap()).unwrap();
            assert_eq!(record.why.unwrap().check, "proxy::Proof");
        }
        assert_eq!(desk.domain.server.journal().of(Event::TokenIssued).len(), 0);
    });
}

const BROKER: &str = r#"
    [node.join_token]
    [class.standard]
    demands = ["unix:path"]
    issues = ["x509", "wit", "jwt"]
    [broker."spiffe://demo.example/agent/mesh"]
    classes = ["standard"]
"#;

/// req: PROV-10 (part), SEC-04 (part)
#[test]
fn s4_1_a_broker_asks_for_those_that_policy_lets_it() {
    story(|sim| async move {
        let domain = Domain::start_with(&sim, files_but(&[("attestation.toml", BROKER)])).await;
        domain.register(registration("clerk", &[])).await;
        let mut kept = registration("kept", &[]);
        kept.keys = Some(KeyHolding::Kept);
        domain.register(kept).await;
        domain.register(registration("mesh", &[])).await;
        let (mut below, kind) = (registration("below", &[]), identifier::Kind::Service);
        (below.kind, below.downstream) = (kind, true);
        domain.register(below).await;
        let node = domain.node.world();
        let mesh = attested(&domain, "/opt/mesh").await;
        let svid = x509(&*node, &mesh).await.unwrap().unwrap();
        let chain = |chain: &[Vec<u8>]| -> Vec<Certificate> {
            chain.iter().map(|der| Certificate::parse(der).unwrap()).collect()
        };
        let asker = broker(&*node, &chain(&svid.chain)).await.unwrap().unwrap();
        assert_eq!(asker.id, mesh.agent.id);

        let ask = async |asker: &Broker, path: &str| {
            let end = attest_for(&*node, process(path), Asker::Broker(asker)).await.unwrap();
            let record = domain.node.journal().find(end.audit_id().unwrap()).unwrap();
            assert_eq!(record.transport, Some(asker.id.to_string()));
            end.into_value()
                .map(|found| found.agent.entry.name.to_string())
                .map_err(|why| why.check())
        };
        assert_eq!(ask(&asker, "/opt/clerk").await, Ok("clerk".to_owned()));
        assert_eq!(ask(&asker, "/opt/nobody").await, Err("workload::NoRecord"));
        assert_eq!(ask(&asker, "/opt/kept").await, Err("workload::KeysKept"));
        // Past defects 25: who is an authority gets its identity itself.
        assert_eq!(ask(&asker, "/opt/below").await, Err("workload::Downstream"));
        attested(&domain, "/opt/below").await;
        // Another workload of ours is no broker, and gets nothing in the name of one.
        let clerk = attested(&domain, "/opt/clerk").await;
        let other = x509(&*node, &clerk).await.unwrap().unwrap();
        let refused = broker(&*node, &chain(&other.chain)).await.unwrap().unwrap_err();
        assert!(matches!(refused, NotABroker::Unknown(_)), "{refused}");
        let claimed = Broker { id: clerk.agent.id.clone(), epoch: asker.epoch };
        assert_eq!(ask(&claimed, "/opt/clerk").await, Err("workload::Broker"));
        assert!(matches!(broker(&*node, &[]).await.unwrap(), Err(NotABroker::Svid(_))));
        // A broker that is suspended gets nothing more, also on a connection that it has; what it
        // had before stays dead.
        domain.act("mesh", Act::Suspend).await;
        assert_eq!(ask(&asker, "/opt/clerk").await, Err("workload::BrokerGone"));
        domain.act("mesh", Act::Resume).await;
        assert_eq!(ask(&asker, "/opt/clerk").await, Err("workload::BrokerGone"));
        let nobody = Broker {
            id: WorkloadId::parse("spiffe://demo.example/agent/gone").unwrap(),
            epoch: Some(9),
        };
        assert_eq!(ask(&nobody, "/opt/clerk").await, Err("workload::BrokerGone"));
    });
}

/// A domain of `wimse`: the node signs with the agent's WIT as ever, and what only SPIFFE knows is
/// refused by its name, before anything is issued.
/// req: CRED-04 (part), ID-02 (part)
#[test]
fn wimse_identifier_4_4_what_only_spiffe_knows_gets_no_identifier_of_wimse() {
    story(|sim| async move {
        let text = "trust_domain = \"demo.example\"\nscheme = \"wimse\"\n";
        let domain = Domain::start_with(&sim, files_but(&[("domain.toml", text)])).await;
        let clerk = domain.register(registration("clerk", &[])).await;
        assert_eq!(clerk.id.as_str(), "wimse://demo.example/agent/clerk");
        let (attested, node) = (attested(&domain, "/opt/clerk").await, domain.node.world());
        let held = held_wit(&*node, &attested).await.unwrap().unwrap();
        assert_eq!(held.key.purpose, Purpose::Workload);
        let refusal = || Refusal::NotSpiffe { id: clerk.id.clone() };
        assert_eq!(x509(&*node, &attested).await.unwrap().err(), Some(refusal()));
        assert_eq!(wit(&*node, &attested).await.unwrap().err(), Some(refusal()));
        let audiences = vec!["https://a.example".to_owned()];
        let bearer = flow::workload::jwt(&*node, &attested, audiences).await.unwrap();
        assert_eq!(bearer.err(), Some(refusal()));
        // The server says so too, to whoever asks it without the node's check.
        let leaf = Certificate::parse(&domain.node.link().shown().0[0]).unwrap();
        let from = WorkloadId::parse(&leaf.uri_names()[0]).unwrap();
        let kind = env::IssueKind::Jwt { audiences: vec!["https://a.example".to_owned()] };
        let (agent, process) = (clerk.id.clone(), process("/opt/clerk"));
        let order = env::IssueOrder { agent, process, kind };
        let server = domain.server.world();
        let end = flow::issue::issue(&*server, &from, leaf.epoch(), order).await.unwrap();
        let refused = end.into_value().err();
        assert_eq!(refused, Some(flow::issue::Refusal::NotSpiffe(clerk.id.clone())));
        // Agents of SPIRE are not served at all.
        let spire = flow::boot::spire_identity(&*server, &[], &[]).await.err().unwrap();
        assert!(spire.why.contains("wimse://demo.example"), "{spire}");
    });
}

/// A key store that cannot sign leaves no keys behind, however often it is asked.
/// req: CRED-11 (part)
#[test]
fn s8_a_key_whose_request_cannot_be_signed_is_not_kept() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let node = domain.node.world();
        let attested = domain.attest(process("/opt/clerk"), true).await.unwrap().into_value();
        let attested = attested.unwrap();
        let before = node.keys().handles();
        node.keys().set_unavailable(1_000);
        for _ in 0..5 {
            assert!(x509(&*node, &attested).await.is_err());
            assert!(wit(&*node, &attested).await.is_err());
        }
        assert_eq!(node.keys().handles(), before);
        node.keys().set_unavailable(0);
        x509(&*node, &attested).await.unwrap().unwrap();
        assert_eq!(node.keys().handles().len(), before.len() + 1);
    });
}
