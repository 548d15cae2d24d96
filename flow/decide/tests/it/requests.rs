//! Access asked for that was denied.

use approval::State;
use authzen::access_request::Status;
use decide::Refusal;
use env::World;
use monitoring::{Event, Outcome};
use serde_json::{Value, json};
use testkit::boxed;
use testkit::fixture::{ADA, story};

use crate::house::{CLERK, House, PEP, again, pay, submission, tool};

const MANY: usize = 100;

fn context<'a>(told: &'a Value, name: &str) -> &'a str {
    told["context"][name].as_str().unwrap_or_default()
}

/// Denied, asked for, allowed, permitted, and denied again: one story.
/// req: AUTHZ-31 (part), AUTHZ-32 (part), AUTHZ-18 (part)
#[test]
fn arap_an_approved_question_is_permitted_once() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let denied = house.ask(&pay()).await;
        assert_eq!(denied["decision"], false);
        assert_eq!(context(&denied, "reason"), "approval_required");
        let hint = &denied["context"]["access_request"];
        assert!(hint["endpoint"].as_str().unwrap().ends_with("/access/v1/requests"));
        let answer = house.submit(&submission(&pay(), &denied)).await.unwrap();
        assert_eq!((answer.task.status, &answer.result), (Status::Pending, &None));
        let id = answer.task.id.clone();
        assert_eq!(house.status(&id).await.unwrap(), answer);
        // What somebody is shown is what will happen, and who is behind it.
        let shown = house.pending();
        for line in ["pay_invoice", "Bob", "rent is due", CLERK, PEP, "team-a", "once"] {
            assert!(shown.text().contains(line), "{line}: {}", shown.text());
        }
        assert!(answer.task.display.description.contains(&shown.number.to_string()));
        assert_eq!(house.ask(&pay()).await["decision"], false);
        house.say(true).await;
        let answer = house.status(&id).await.unwrap();
        assert_eq!(answer.task.status, Status::Approved);
        let question = again(&pay(), &answer);
        let told = house.ask(&question).await;
        assert_eq!(told["decision"], true, "{told}");
        assert_eq!(told["context"]["approval"]["id"], question["context"]["approval"]["id"]);
        let told = house.ask(&question).await;
        assert_eq!(told["decision"], false);
        assert_eq!(context(&told, "reason"), "approval_expired");
        assert_eq!(context(&told, "next_action"), "request");
        assert!(told["context"]["access_request"].is_object());
        assert_eq!(house.status(&id).await.unwrap().task.status, Status::Approved);
        // All of it is one story: the denial's.
        let root = denied["context"]["evaluation_id"].as_str().unwrap().split('.').next().unwrap();
        let journal = house.domain.server.journal();
        let of = |event| {
            let all = journal.of(event);
            all.into_iter().filter(|one| one.root.as_deref() == Some(root)).collect::<Vec<_>>()
        };
        assert_eq!(of(Event::ApprovalAsked).len(), 1);
        assert_eq!(of(Event::ApprovalAnswered).len(), 1);
        let permitted =
            of(Event::AccessDecided).into_iter().filter(|one| one.outcome == Outcome::Permitted);
        assert_eq!(permitted.count(), 1);
        // It gives no grant.
        let grants = house.world().store().every::<authorization::granted::GrantRecord>();
        assert_eq!(grants.len(), 0);
    });
}

/// req: AUTHZ-31 (part)
#[test]
fn arap_of_many_questions_with_one_approval_one_is_permitted() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let question = house.approved(&pay()).await;
        let asks = (0..MANY).map(|_| boxed(house.ask(&question)));
        let ends = sim.all(asks.collect()).await;
        assert_eq!(ends.iter().filter(|told| told["decision"] == true).count(), 1);
        for told in ends.iter().filter(|told| told["decision"] == false) {
            assert_eq!(context(told, "reason"), "approval_expired");
        }
        // Nor in one message.
        let question = house.approved(&pay()).await;
        let many = json!({"evaluations": vec![question; 3]});
        let told = house.ask_all(&many).await;
        let decisions: Vec<_> = told.iter().map(|one| one["decision"] == true).collect();
        assert_eq!(decisions, [true, false, false]);
    });
}

/// Access Request and Approval Profile, Approval Reference Substitution: not another subject,
/// resource, action or context, not another client, not later.
/// req: AUTHZ-31 (part)
#[test]
fn arap_an_approval_answers_no_other_question() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let question = house.approved(&pay()).await;
        let denied = async |question: &Value, reason: &str, next: &str| {
            let told = house.ask(question).await;
            let found =
                (&told["decision"], context(&told, "reason"), context(&told, "next_action"));
            assert_eq!(found, (&json!(false), reason, next), "{question}");
            assert_eq!(told["context"]["access_request"].is_object(), next == "request");
        };
        for (pointer, other) in [
            ("/context/arguments/sum", json!(6)),
            ("/context/proof", json!("bearer")),
            ("/context/granted", json!(["invoices.pay"])),
            ("/subject/id", json!("spiffe://demo.example/agent/worker")),
            ("/subject/properties", json!({"team": "b"})),
            ("/action/properties", json!({"fast": true})),
            ("/resource/properties/owner", json!("me")),
        ] {
            let mut changed = question.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = other;
            denied(&changed, "out_of_scope", "request").await;
        }
        let mut invented = question.clone();
        for id in [json!("apr_1"), json!(7)] {
            invented["context"]["approval"] = json!({"id": id});
            denied(&invented, "approval_unverifiable", "none").await;
        }
        let other = house.token_of("other").await;
        let told = house.ask_with(&House::shown(&other), &question).await.into_result().unwrap();
        let decide::evaluate::Told::One(told) = told else { panic!("several") };
        assert_eq!(told.context["reason"], "approval_unverifiable");
        // Policy has the last word.
        let mut keep = tool("delete_invoice");
        keep["context"]["approval"] = question["context"]["approval"].clone();
        denied(&keep, "forbidden", "none").await;
        // It is good for its own question still, until its end.
        house.forth(300);
        denied(&question, "approval_expired", "request").await;
    });
}

/// An approval ends with whom it concerns, and with who gave it.
/// req: AUTHZ-31 (part)
#[test]
fn arap_an_approval_does_not_outlive_those_it_is_of() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let question = house.approved(&pay()).await;
        for act in [provisioning::Act::Suspend, provisioning::Act::Resume] {
            house.domain.act("clerk", act).await;
        }
        let told = house.ask(&question).await;
        assert_eq!(context(&told, "reason"), "approval_expired");
        assert_eq!(house.ask(&tool("list_invoices")).await["decision"], true);
    });
}

/// Deny, no answer and taking it back are final.
/// req: AUTHZ-31 (part)
#[test]
fn arap_each_end_of_a_task_is_told_and_final() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let task = async || {
            let denied = house.ask(&pay()).await;
            house.submit(&submission(&pay(), &denied)).await.unwrap().task.id
        };
        let (one, two, three) = (task().await, task().await, task().await);
        let ids = [&one, &two, &three];
        assert!(ids.iter().all(|id| id.starts_with("aims_aq_")));
        assert_eq!(house.cancel(&one).await.unwrap().task.status, Status::Cancelled);
        let again = house.cancel(&one).await.unwrap_err();
        assert_eq!(again.check(), "decide::TaskState");
        let refused = house.say(false).await;
        let mut seen = Vec::new();
        for id in ids {
            let answer = house.status(id).await.unwrap();
            assert_eq!(answer.result, None);
            assert_eq!(answer.task.links.cancel.is_some(), answer.task.status == Status::Pending);
            seen.push(answer.task.status);
        }
        seen.sort_by_key(|status| format!("{status:?}"));
        assert_eq!(seen, [Status::Cancelled, Status::Denied, Status::Pending]);
        // The id of an approval that was denied is none.
        let mut question = pay();
        question["context"]["approval"] = json!({"id": refused.id});
        let told = house.ask(&question).await;
        assert_eq!(context(&told, "reason"), "approval_unverifiable");
        house.forth(300);
        assert_eq!(approve::expire::expire(&*house.world()).await.unwrap(), 1);
        let states: Vec<_> = house.approvals().iter().map(|one| one.state).collect();
        assert!(states.contains(&State::Expired), "{states:?}");
        let mut expired = 0;
        for id in ids {
            expired += usize::from(house.status(id).await.unwrap().task.status == Status::Expired);
        }
        assert_eq!(expired, 1);
        house.forth(600);
        let fresh = house.token_of("pep").await;
        let late = house.status_with(&fresh, &one).await.unwrap_err();
        assert_eq!(late.check(), "decide::TaskExpired");
        // Nobody else sees any of them.
        let other = house.token_of("other").await;
        let unknown = house.status_with(&other, &two).await.unwrap_err();
        assert_eq!(unknown, Refusal::UnknownTask);
        let unknown = house.status_with(&fresh, "aims_aq_x").await.unwrap_err();
        assert_eq!(unknown, Refusal::UnknownTask);
        let ended = house.domain.server.journal().of(Event::ApprovalEnded);
        assert!(ended.iter().any(|one| one.action == "approval.cancel"));
    });
}

/// "The Access Request Service MUST reject submissions whose binding material cannot be verified,
/// or whose claims do not bind to the submitted denial".
/// req: AUTHZ-31 (part), AUTHZ-32 (part)
#[test]
fn arap_a_submission_is_bound_to_its_denial() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let denied = house.ask(&pay()).await;
        let handed = submission(&pay(), &denied);
        for (pointer, other, check) in [
            ("/context/arguments/sum", json!(6), "decide::NotBound"),
            ("/subject/id", json!("spiffe://demo.example/agent/worker"), "decide::NotBound"),
            ("/denial/evaluation_id", json!("0190.1.x"), "decide::NotBound"),
            ("/denial/evaluation_id", json!("eval"), "decide::NotBound"),
            ("/denial/expires_at", json!("2040-01-01T00:00:00Z"), "decide::OtherEnd"),
            ("/denial/binding_token", json!("x.y.z"), "decide::BindingToken"),
            ("/resource/properties/audience", json!("https://o.example"), "decide::NotListed"),
            (
                "/requested_access",
                json!({"requested_until": "2001-01-01T00:00:00Z"}),
                "decide::UntilOver",
            ),
        ] {
            let mut changed = handed.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = other;
            let refusal = house.submit(&changed).await.unwrap_err();
            assert_eq!(refusal.check(), check, "{pointer}");
        }
        let mut none = handed.clone();
        none["denial"].as_object_mut().unwrap().remove("evaluation_id");
        assert_eq!(house.submit(&none).await.unwrap_err(), Refusal::NoDenial);
        // Another client's denial.
        let other = house.token_of("other").await;
        let stolen = house.submit_with(&other, &handed, None).await.unwrap_err();
        assert_eq!(stolen.check(), "decide::NotBound");
        assert_eq!(house.approvals().len(), 0);
        house.forth(600);
        // Its own end, whatever is echoed; a token of ours has ended by then, too.
        let fresh = house.token_of("pep").await;
        let late = house.submit_with(&fresh, &handed, None).await.unwrap_err();
        assert_eq!(late.check(), "decide::ExpiredDenial");
        // A denial of another kind has no id to hand in.
        let forbidden = house.ask_as(&fresh, &tool("delete_invoice")).await;
        let mut handed = submission(&tool("delete_invoice"), &forbidden);
        handed["denial"]["expires_at"] = json!("2040-01-01T00:00:00Z");
        let refusal = house.submit_with(&fresh, &handed, None).await.unwrap_err();
        assert_eq!(refusal.check(), "decide::NotBound");
    });
}

/// The same key and body is the same task, however often and at once.
/// req: AUTHZ-32 (part)
#[test]
fn arap_the_same_request_is_one_task() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let denied = house.ask(&pay()).await;
        let handed = submission(&pay(), &denied);
        let token = house.token_of("pep").await;
        let all = (0..MANY).map(|_| boxed(house.submit_with(&token, &handed, Some("key-1"))));
        let ends = sim.all(all.collect()).await;
        let ids: std::collections::BTreeSet<_> =
            ends.into_iter().map(|end| end.unwrap().task.id).collect();
        assert_eq!((ids.len(), house.approvals().len()), (1, 1));
        let mut other = handed.clone();
        other["context"]["business_justification"] = json!("another");
        let refusal = house.submit_with(&token, &other, Some("key-1")).await.unwrap_err();
        assert_eq!(refusal, Refusal::Duplicate);
        let next = house.submit_with(&token, &other, Some("key-2")).await.unwrap();
        assert!(!ids.contains(&next.task.id));
        // Without a key, the denial is one.
        let first = house.submit(&handed).await.unwrap();
        assert_eq!(house.submit(&handed).await.unwrap().task.id, first.task.id);
        let asked = house.domain.server.journal().of(Event::ApprovalAsked);
        let put = asked.iter().filter(|one| one.action == "access_request.ask");
        let put = put.filter(|one| one.outcome == Outcome::Done).count();
        assert_eq!(put, house.approvals().len());
        // At most eight questions of one client wait for somebody.
        let mut waiting = house.approvals().len();
        for n in 0..20 {
            match house.submit_with(&token, &handed, Some(&format!("more-{n}"))).await {
                Ok(_) => waiting += 1,
                Err(refusal) => assert_eq!((refusal.status(), waiting), (429, 8)),
            }
        }
        assert_eq!(waiting, 8);
    });
}

/// The actor of a person's chain is kept, in either place.
/// req: AUTHZ-31 (part)
#[test]
fn arap_the_human_that_policy_names_is_asked() {
    story(|sim| async move {
        let house = House::with(&sim, "", crate::house::RULES).await;
        house.domain.person(ADA);
        // Nobody stands behind the agent: there is nobody to ask.
        let told = house.ask(&pay()).await;
        assert_eq!(context(&told, "reason"), "approval_required");
        assert_eq!(told["context"].get("access_request"), None);
        let mut behalf = pay();
        behalf["subject"] =
            json!({"type": "user", "id": ADA, "properties": {"act": {"sub": CLERK}}});
        let denied = house.ask(&behalf).await;
        let mut handed = submission(&behalf, &denied);
        handed["subject"].as_object_mut().unwrap().remove("properties");
        let dropped = house.submit(&handed).await.unwrap_err();
        assert_eq!(dropped.check(), "decide::NotBound");
        handed["client"] = json!({"actor": {"id": CLERK}});
        house.submit(&handed).await.unwrap();
        let asked = house.pending();
        assert_eq!(asked.whom, approval::Whom::User(ADA.to_owned()));
        assert_eq!((asked.asks.client_id.as_str(), asked.asks.subject.as_str()), (CLERK, ADA));
        handed["client"] = json!({"actor": {"id": "spiffe://demo.example/agent/worker"}});
        let claimed = house.submit(&handed).await.unwrap_err();
        assert_eq!(claimed.check(), "decide::NotBound");
    });
}
