//! What a human is shown of a question, and who it may be about.

use serde_json::{Value, json};
use testkit::fixture::{ADA, story};

use crate::house::{CLERK, House, PEP, RULES, again, pay, submission, tool};

/// Every text of `value`, with those of its names that are not ours.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => object.values().flat_map(texts).collect(),
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

/// Whatever an approval is bound to stands on the page.
/// req: AUTHZ-31 (part)
#[test]
fn arap_all_that_is_bound_is_shown() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut question = pay();
        question["subject"]["properties"] = json!({"team": "quay", "level": [1, "two"]});
        question["action"]["properties"] = json!({"amount": "1000000 EUR"});
        question["resource"]["properties"]["shelf"] = json!({"row": "b7", "deep": {"er": 3}});
        question["context"]["acr"] = json!("phr");
        question["context"]["transport"] = json!("spiffe://demo.example/agent/wire");
        question["context"]["granted"] = json!(["invoices.pay", "invoices.read"]);
        question["context"]["actors"] = json!([CLERK]);
        let denied = house.ask(&question).await;
        let answer = house.submit(&submission(&question, &denied)).await.unwrap();
        let shown = house.pending();
        let lines = shown.lines();
        let mut bound = question.clone();
        bound["context"].as_object_mut().unwrap().remove("time");
        for text in texts(&bound) {
            assert!(lines.iter().any(|(_, value)| *value == text), "{text}: {}", shown.text());
        }
        let of = |name: &str| lines.iter().find(|(known, _)| known == name).unwrap().1.as_str();
        assert_eq!(of("action.properties.amount"), "1000000 EUR");
        assert_eq!(of("subject.properties.level[1]"), "two");
        assert_eq!(of("resource.properties.shelf.deep.er"), "3");
        assert_eq!(of("context.granted[0]"), "invoices.pay");
        house.say(true).await;
        let question = again(&question, &house.status(&answer.task.id).await.unwrap());
        assert_eq!(house.ask(&question).await["decision"], true);
    });
}

/// "The PDP MUST include this object only when the denied access is eligible for submission".
/// req: AUTHZ-32 (part)
#[test]
fn arap_what_cannot_be_shown_cannot_be_asked_for() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        for (pointer, value) in [
            ("/action/properties", json!({"amount": "x".repeat(2_000)})),
            ("/subject/properties", json!({"teams": vec!["a"; 200]})),
            ("/resource/properties/more", json!({"x".repeat(2_000): 1})),
            ("/context/granted", json!(vec!["invoices.pay"; 200])),
            ("/context/arguments", json!({"many": vec![1; 200]})),
        ] {
            let mut question = pay();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            question.pointer_mut(parent).unwrap()[name] = value;
            let told = house.ask(&question).await;
            assert_eq!(told["context"]["reason"], "approval_required", "{pointer}");
            assert_eq!(told["context"].get("access_request"), None, "{pointer}");
        }
        assert!(house.ask(&pay()).await["context"]["access_request"].is_object());
    });
}

/// A name beside an identifier is the name of that.
/// req: AUTHZ-31 (part)
#[test]
fn arap_a_person_alone_does_not_lend_their_name_to_the_gateway() {
    story(|sim| async move {
        let house = House::with(&sim, "", RULES).await;
        house.domain.person(ADA);
        let mut question = pay();
        question["subject"] = json!({"type": "user", "id": ADA});
        let denied = house.ask(&question).await;
        house.submit(&submission(&question, &denied)).await.unwrap();
        let asks = house.pending().asks.clone();
        assert_eq!((asks.client_id.as_str(), asks.subject.as_str()), (PEP, ADA));
        assert_eq!((asks.name.as_str(), asks.owner.as_str()), ("pep", "team-a"));
    });
}

/// docs/authzen.md: who is not in the registry is denied, in every place.
/// req: AUTHZ-24 (part)
#[test]
fn s10_1_3_who_is_not_in_the_registry_is_denied() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.domain.person(ADA);
        let of_chain = |kind: &str, id: &str, act: Value| {
            let mut question = tool("list_invoices");
            question["subject"] = json!({"type": kind, "id": id, "properties": {"act": act}});
            question
        };
        let own = |kind: &str, id: &str| {
            let mut question = tool("list_invoices");
            question["subject"] = json!({"type": kind, "id": id});
            question
        };
        let behalf = |id: &str| {
            let mut question = tool("list_invoices");
            question["context"]["subject"] = json!(id);
            question
        };
        let clerk = json!({"sub": CLERK});
        let with = |id: &str| json!({"sub": CLERK, "act": {"sub": id}});
        let pep = "spiffe://demo.example/agent/worker";
        for good in [
            of_chain("user", ADA, clerk.clone()),
            of_chain("User", ADA, with(pep)),
            of_chain("agent", pep, clerk.clone()),
            behalf(ADA),
            own("user", ADA),
        ] {
            assert_eq!(house.ask(&good).await["decision"], true, "{good}");
        }
        let denied = async |reasons: &[&str]| {
            for bad in [
                of_chain("user", "ada", clerk.clone()),
                of_chain("user", "User:ada", clerk.clone()),
                of_chain("user", "alice", clerk.clone()),
                of_chain("client", "app", clerk.clone()),
                of_chain("agent", "robot-7", clerk.clone()),
                of_chain("user", pep, clerk.clone()),
                of_chain("user", ADA, with("robot-7")),
                of_chain("user", ADA, with("Spiffe://demo.example/agent/worker")),
                of_chain("user", ADA, json!({"sub": "robot-7", "act": clerk})),
                behalf("ada"),
                behalf("User:ada"),
                own("user", "ada"),
                own("client", "app"),
            ] {
                let told = house.ask(&bad).await;
                assert_eq!(told["decision"], false, "{bad}");
                let reason = told["context"]["reason"].as_str().unwrap();
                assert!(reasons.contains(&reason), "{reason}: {bad}");
                assert_eq!(told["context"].get("access_request"), None);
            }
        };
        denied(&["unknown_principal"]).await;
        let told = house.ask(&of_chain("agent", ADA, clerk.clone())).await;
        assert_eq!(told["context"]["reason"], "unknown_principal");
        house.disable(ADA).await;
        denied(&["unknown_principal", "not_in_force"]).await;
        let told = house.ask(&of_chain("user", ADA, clerk.clone())).await;
        assert_eq!(told["context"]["reason"], "not_in_force");
    });
}

/// One long message is no reason for others to wait: between two questions anybody may go on.
/// req: AUTHZ-24 (part)
#[test]
fn authzen_7_questions_of_one_message_leave_others_their_turn() {
    const MANY: usize = 64;
    story(|sim| async move {
        let house = House::open(&sim).await;
        let polls = async |count: usize| {
            let one = tool("list_invoices");
            let many = json!({
                "subject": one["subject"], "action": one["action"],
                "evaluations": vec![json!({"resource": one["resource"]}); count],
            });
            let mut asking = Box::pin(house.ask_all(&many));
            let mut polls = 0;
            let told = std::future::poll_fn(|context| {
                polls += 1;
                asking.as_mut().poll(context)
            })
            .await;
            assert_eq!(told.len(), count);
            polls
        };
        let (one, many) = (polls(1).await, polls(MANY).await);
        assert!(many >= one + MANY - 1, "{one} {many}");
    });
}

/// What a question is about in full is worked out where somebody may be asked about it.
/// req: AUTHZ-24 (part)
#[test]
fn authzen_7_arguments_are_hashed_where_an_approval_is_wanted() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let hashed = async |question: &Value| {
            house.ask(question).await;
            let records = house.domain.server.journal().of(monitoring::Event::AccessDecided);
            records.last().unwrap().attestation.contains_key("arguments_sha256")
        };
        assert!(hashed(&pay()).await);
        assert!(!hashed(&tool("list_invoices")).await);
        assert!(!hashed(&tool("delete_invoice")).await);
    });
}
