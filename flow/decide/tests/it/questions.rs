//! What is answered, and that it is what our own gateway says.

use authzen::Metadata;
use decide::metadata;
use env::World;
use monitoring::{Event, Outcome};
use oauth::token_request::GrantType;
use provisioning::Act;
use serde_json::{Value, json};
use testkit::fixture::{
    ADA, by_wit, code_request, credentials, exchange, http_call, story, tool_call,
};

use crate::house::{ACCESS, CLERK, House, NOTICES, TOOLS, issuer, pay, tool};

/// The rules of the fixture's domain: capabilities, read-only tools, documents.
const RULES: &str = r#"
    @id("tokens") permit(principal, action, resource) when { resource has name };
    @id("pay") @obligations("approval")
    permit(principal, action == Aims::Action::"tool.call", resource)
    when { resource.name == "pay_invoice" };
    @id("keep") @reason("invoices are kept")
    forbid(principal, action == Aims::Action::"tool.call", resource)
    when { resource.name == "delete_invoice" };
    @id("ada") forbid(principal, action == Aims::Action::"http.request", resource)
    when { context.subject == "user:ada" && resource.name == "/secret" };
    @id("bearer") forbid(principal, action, resource)
    when { context.proof == "bearer" && resource has read_only };
"#;

/// A question as a gateway makes it of the token that it was shown.
fn of_token(house: &House, token: &str, proof: &str, resource: &Value) -> Value {
    let read = house.domain.read(token).unwrap();
    let granted: Vec<_> = read.scope().iter().map(ToString::to_string).collect();
    let actors: Vec<_> = read.act().into_iter().flat_map(|act| act.iter()).collect();
    let mut context = json!({
        "subject": read.subject(), "actors": actors, "granted": granted, "proof": proof,
        "arguments": {},
    });
    if let Some(one) = read.authenticated() {
        context["acr"] = json!(one.acr.as_str());
    }
    let agent = read.client_id().starts_with("spiffe://");
    let mut question = resource.clone();
    question["subject"] =
        json!({"type": if agent { "agent" } else { "client" }, "id": read.client_id()});
    question["context"] = context;
    question
}

/// Both answers about one call: whether it may be, and the question that policy was asked.
async fn both(house: &House, call: gateway::Call, question: &Value) -> [(bool, Value); 2] {
    let refusal = house.domain.refusal_of(call).await;
    let decided = house.domain.gateway.journal().of(Event::CallDecided).pop().unwrap();
    let told = house.ask(question).await;
    let asked = house.domain.server.journal().of(Event::AccessDecided).pop().unwrap();
    let permitted = told["decision"] == true;
    assert_eq!(asked.outcome == Outcome::Permitted, permitted);
    assert_eq!(asked.rules, decided.rules);
    let is_listed = decided.why.as_ref().is_none_or(|why| why.check != "gateway::Map");
    if is_listed {
        assert_eq!((&asked.agent, &asked.actors), (&decided.agent, &decided.actors));
    }
    [(refusal.is_none(), decided.facts), (permitted, asked.facts)]
}

fn of_tool(name: &str) -> Value {
    json!({"action": {"name": "tool.call"},
        "resource": {"type": "tool", "id": format!("{TOOLS}#{name}")}})
}

fn of_path(path: &str) -> Value {
    json!({"action": {"name": "http.request", "properties": {"method": "GET"}},
        "resource": {"type": "path", "id": format!("{NOTICES}#{path}")}})
}

/// Each tool, for an agent by itself, and for one that acts for another.
/// req: AUTHZ-24 (part), GW-02 (part)
#[test]
fn s10_1_3_the_answer_is_that_of_the_gateway() {
    story(|sim| async move {
        let house = House::with(&sim, "", RULES).await;
        let domain = &house.domain;
        let (clerk, worker) = (domain.party("/opt/clerk").await, domain.party("/opt/worker").await);
        let own = credentials(TOOLS, "invoices.read invoices.pay");
        let own = domain.token(by_wit(&clerk, own, domain.now())).await;
        let narrow = credentials(TOOLS, "invoices.read");
        let narrow = domain.token(by_wit(&clerk, narrow, domain.now())).await;
        let to_worker = credentials(&worker.id, "invoices.read invoices.pay");
        let to_worker = domain.token(by_wit(&clerk, to_worker, domain.now())).await;
        let chained = exchange(&to_worker, TOOLS, "invoices.read invoices.pay");
        let chained = domain.token(by_wit(&worker, chained, domain.now())).await;
        let mut permitted = 0;
        for (party, token) in [(&clerk, &own), (&clerk, &narrow), (&worker, &chained)] {
            for name in ["list_invoices", "pay_invoice", "delete_invoice", "burn_invoice"] {
                let call = tool_call(party, token, "invoices", name, domain.now());
                let question = of_token(&house, token, "wit", &of_tool(name));
                let [ours, theirs] = both(&house, call, &question).await;
                assert_eq!(ours, theirs, "{name}");
                permitted += usize::from(ours.0);
            }
        }
        assert_eq!(permitted, 3);
    });
}

/// A client that is no agent, for a user.
/// req: AUTHZ-24 (part)
#[test]
fn s10_1_3_the_answer_is_that_of_the_gateway_for_users_too() {
    story(|sim| async move {
        let house = House::with(&sim, "", RULES).await;
        let domain = &house.domain;
        domain.person(ADA);
        let app = domain.client(&[GrantType::AuthorizationCode], false);
        let grant = domain.grant(("g", &app.id, ADA), NOTICES, "notices.read", "");
        let code = domain.code(&grant, |_| {});
        let token = domain.token(app.asks(code_request(&code), domain.now())).await;
        domain.sync().await;
        let mut seen = Vec::new();
        // A rule of a path holds whatever query follows it.
        for target in ["/open", "/secret", "/secret?", "/secret?x=1", "/open?/secret"] {
            let (path, query) = match target.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (target, None),
            };
            let mut call = http_call("GET", "/notices", &token);
            call.target = gateway::Target::parse(&format!("/notices{path}"), query).unwrap();
            let path = target;
            let question = of_token(&house, &token, "bearer", &of_path(path));
            let [ours, theirs] = both(&house, call, &question).await;
            assert_eq!(ours, theirs, "{path}");
            seen.push(ours.0);
        }
        assert_eq!(seen, [true, false, false, false, true]);
        // The person by themselves, and as the profile of access requests names the chain.
        let mut question = of_path("/secret");
        question["subject"] = json!({"type": "user", "id": ADA});
        assert_eq!(house.ask(&question).await["decision"], true);
        question["subject"]["properties"] = json!({"act": {"sub": app.id, "iss": issuer()}});
        let told = house.ask(&question).await;
        assert_eq!(told["context"]["rules"], json!(["ada"]));
        question["subject"]["properties"]["act"]["iss"] = json!("https://agents.example");
        let told = house.ask(&question).await;
        assert_eq!((&told["decision"], &told["context"]["rules"]), (&json!(false), &Value::Null));
    });
}

/// docs/past-defects.md 8: who ended gets nothing, whoever asks.
/// req: AUTHZ-24 (part)
#[test]
fn s10_1_3_who_is_not_in_force_is_denied() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let domain = &house.domain;
        domain.person(ADA);
        let mut behalf = tool("list_invoices");
        behalf["context"]["subject"] = json!(ADA);
        assert_eq!(house.ask(&behalf).await["decision"], true);
        let denied = async |question: &Value, reason: &str| {
            let told = house.ask(question).await;
            let found = (&told["decision"], told["context"]["reason"].as_str().unwrap());
            assert_eq!(found, (&json!(false), reason), "{question}");
            assert!(told["context"]["policy"].as_str().unwrap().starts_with("sha256:"));
        };
        let mut ghost = behalf.clone();
        ghost["context"]["subject"] = json!("user:ghost");
        denied(&ghost, "not_in_force").await;
        let mut unknown = behalf.clone();
        unknown["subject"]["id"] = json!("spiffe://demo.example/agent/nobody");
        denied(&unknown, "not_in_force").await;
        unknown["subject"]["id"] = json!("robot-7");
        denied(&unknown, "unknown_principal").await;
        // The record says what it is.
        let mut service = tool("list_invoices");
        service["subject"]["type"] = json!("service");
        denied(&service, "unknown_principal").await;
        let act = json!({"type": "user", "id": "user:bob", "properties": {"act": {"sub": ADA}}});
        let mut person = tool("list_invoices");
        person["subject"] = act;
        denied(&person, "not_in_force").await;
        house.disable(ADA).await;
        denied(&behalf, "not_in_force").await;
        assert_eq!(house.ask(&tool("list_invoices")).await["decision"], true);
        for (act, decision) in [(Act::Suspend, false), (Act::Resume, true), (Act::Retire, false)] {
            domain.act("clerk", act).await;
            let told = house.ask(&tool("list_invoices")).await;
            assert_eq!(told["decision"], decision, "{act:?}");
        }
        denied(&tool("list_invoices"), "not_in_force").await;
    });
}

/// AuthZEN §10.1.2, §7.2.1: what is refused, and what is answered by a denial.
/// req: AUTHZ-24 (part)
#[test]
fn authzen_10_1_2_what_a_resource_does_not_list_is_forbidden() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let question = tool("list_invoices");
        let refused = |question: &Value| {
            let question = question.clone();
            let house = &house;
            async move { house.try_ask(&question).await.unwrap_err() }
        };
        for audience in ["https://elsewhere.example", "https://gateway.demo.example:8446/reports"] {
            let mut other = question.clone();
            other["resource"]["properties"]["audience"] = json!(audience);
            let refusal = refused(&other).await;
            assert_eq!((refusal.check(), refusal.status()), ("decide::NotListed", 403));
        }
        let mut kind = question.clone();
        kind["resource"]["type"] = json!("file");
        assert_eq!(refused(&kind).await.check(), "decide::NotListed");
        let mut wrong = question.clone();
        wrong["context"]["granted"] = json!("all");
        let refusal = refused(&wrong).await;
        assert_eq!((refusal.check(), refusal.status()), ("decide::Misfit", 400));
        for (target, check) in [
            ("/a/../b", "decide::Path"),
            ("/a%0ab", "decide::Path"),
            ("/a b", "decide::Path"),
            ("/a#b", "decide::Misfit"),
            ("/a?b#c", "decide::Misfit"),
        ] {
            let mut path = of_path(target);
            path["subject"] = question["subject"].clone();
            let refusal = refused(&path).await;
            assert_eq!((refusal.check(), refusal.status()), (check, 400), "{target}");
        }
        // Among others it is a denial of its own; each is recorded.
        let before = house.domain.server.journal().of(Event::AccessDecided).len();
        let many = json!({
            "subject": question["subject"], "action": question["action"],
            "evaluations": [
                {"resource": question["resource"]}, {"resource": kind["resource"]}, {},
                {"resource": tool("delete_invoice")["resource"]},
            ]
        });
        let told = house.ask_all(&many).await;
        let decisions: Vec<_> = told.iter().map(|one| one["decision"].clone()).collect();
        assert_eq!(decisions, [json!(true), json!(false), json!(false), json!(false)]);
        assert_eq!(told[1]["context"]["error"]["status"], 403);
        assert_eq!(told[2]["context"]["error"]["status"], 400);
        assert_eq!(told[3]["context"]["rules"], json!(["keep"]));
        let records = house.domain.server.journal().of(Event::AccessDecided);
        assert_eq!(records.len() - before, 4);
        // §7.1.2.1: what comes after the end is not answered.
        for (semantic, answers) in [("deny_on_first_deny", 2), ("permit_on_first_permit", 1)] {
            let mut many = many.clone();
            many["options"] = json!({"evaluations_semantic": semantic});
            assert_eq!(house.ask_all(&many).await.len(), answers, "{semantic}");
        }
    });
}

/// A denial says rule, policy version and what is needed; every answer its record.
/// req: AUTHZ-24 (part)
#[test]
fn s10_1_3_a_decision_carries_its_reasons() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let told = house.ask(&tool("delete_invoice")).await;
        let record = house.domain.server.journal().of(Event::AccessDecided).pop().unwrap();
        let context = &told["context"];
        assert_eq!(context["policy"], json!(record.policy));
        assert_eq!(context["evaluation_id"], json!(record.id.to_string()));
        assert_eq!(
            (&context["rules"], &context["reason"]),
            (&json!(["keep"]), &json!("forbidden"))
        );
        assert!(context["message"].as_str().unwrap().contains("invoices are kept"));
        assert_eq!(context.get("access_request"), None);
        assert_eq!(record.attestation["asked_by"], house.pep.id);
        assert_eq!((record.agent.as_deref(), record.rules), (Some(CLERK), vec!["keep".to_owned()]));
        let mut narrow = tool("list_invoices");
        narrow["context"]["granted"] = json!(["invoices.pay"]);
        let told = house.ask(&narrow).await;
        assert_eq!(told["context"]["reason"], "insufficient_scope");
        // What the asker says of approvals and of the time counts for nothing.
        let mut said = pay();
        said["context"]["approved"] = json!(true);
        assert_eq!(house.ask(&said).await["context"]["reason"], "approval_required");
    });
}

/// req: AUTHZ-24 (part)
#[test]
fn authzen_9_1_the_document_names_what_there_is() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let at = |path: &str| format!("{}{path}", issuer());
        let expect = Metadata {
            policy_decision_point: issuer().to_owned(),
            access_evaluation_endpoint: at("/access/v1/evaluation"),
            access_evaluations_endpoint: Some(at("/access/v1/evaluations")),
            access_request_endpoint: Some(at("/access/v1/requests")),
            capabilities: vec!["urn:openid:authzen:capability:access-request".to_owned()],
        };
        assert_eq!(metadata::metadata(&*house.world()), expect);
        assert_eq!(at("/access/v1"), ACCESS);
        assert_eq!(house.world().site().issuer, issuer());
    });
}
