//! The word of an operator.

use attestation::mechanism::Step;
use attestation::operator::LIFETIME_MAX;
use jose::{Audience, NumericDate};
use oauth::operator_assertion::OperatorAssertionClaims;
use serde_json::{Value, json};
use testkit::documents::{self, Signer, Word};
use time::Span;

use super::{AGENT, Case, NOW, SKEW, faulty, package, signer, texts, values};

const OPERATOR: &str = "ops@acme.example";

fn rule(signer: &Signer) -> Value {
    json!({ "operators": [{
        "name": OPERATOR, "keys": signer.pem(), "agents": ["spiffe://demo.example/agent/*"],
    }] })
}

fn token(key: &Signer, edit: impl FnOnce(&mut OperatorAssertionClaims)) -> Vec<u8> {
    let mut claims = documents::word(OPERATOR, AGENT, &package(), NOW).unwrap();
    edit(&mut claims);
    key.token::<Word>(&claims)
}

/// req: ATT-06
#[test]
fn s7_an_operator_vouches_for_an_agent_once_and_for_minutes() {
    let key = signer();
    let case = Case::new("operator", rule(&key));
    let finding = case.appraise(&token(&key, |_| {})).unwrap();
    assert_eq!(texts(&finding), ["operator:name:ops@acme.example"]);
    assert_eq!(values(&finding), [("instance-identity", 2)]);
    let until = NOW.plus(Span::from_seconds(300));
    assert_eq!(finding.until, Some(until));
    let [used] = finding.uses.as_slice() else { panic!("{finding:?}") };
    assert_eq!(used.value, "ops@acme.example\0assertion-1");
    assert_eq!(used.until, until.plus(SKEW));
    let longest = NumericDate::from_time(NOW.plus(LIFETIME_MAX));
    case.appraise(&token(&key, |it| it.exp = longest)).unwrap();
}

/// req: ATT-06
#[test]
fn s7_each_check_of_an_operators_word_refuses() {
    let key = signer();
    let case = Case::new("operator", rule(&key));
    let refuses = |edit: &dyn Fn(&mut OperatorAssertionClaims), step: Step, words: &str| {
        case.refuses(&token(&key, edit), step, words);
    };
    case.refuses(b"\xff", Step::Form, "no text");
    let agent = signer();
    let binding = documents::binding(OPERATOR, AGENT, agent.public(), "alice", NOW).unwrap();
    let other_kind = key.token::<documents::Binding>(&binding);
    case.refuses(&other_kind, Step::Form, "agent-binding+jwt");
    case.refuses(&token(&agent, |_| {}), Step::Signature, "the signature does not verify");
    refuses(&|it| it.iss = "mallory".to_owned(), Step::Signature, "the issuer is not trusted");
    let late = case.at(NOW.plus(Span::from_seconds(300)).plus(SKEW));
    late.refuses(&token(&key, |_| {}), Step::Content, "expired");
    refuses(&|it| it.sub = format!("{AGENT}2"), Step::Binding, "about `");
    refuses(&|it| it.sha256 = "a2".repeat(32), Step::Binding, "was measured");
    let nothing = case.measuring(&[]);
    nothing.refuses(&token(&key, |_| {}), Step::Content, "nothing was measured");
    let elsewhere = |it: &mut OperatorAssertionClaims| {
        it.aud = Some(Audience::one("spiffe://other.example/aims/server"));
    };
    refuses(&elsewhere, Step::Binding, "another audience");
    let long = NumericDate::from_time(NOW.plus(LIFETIME_MAX).plus(Span::from_seconds(1)));
    refuses(&|it| it.exp = long, Step::Policy, "holds for 901 s, at most 900 s");
    let other = case.under("/operators/0/agents", json!(["spiffe://demo.example/service/*"]));
    other.refuses(&token(&key, |_| {}), Step::Policy, "may not speak about this agent");
}

#[test]
fn s7_policy_of_operators_is_read_whole() {
    let rule = rule(&signer());
    let check = |pointer: &str, new: Value, key: &str, words: &str| {
        faulty("operator", &rule, pointer, new, key, words);
    };
    check("/more", json!(1), "", "unknown field `more`");
    check("/operators", json!([]), "operators", "0 entries");
    check("/operators/0/agents", json!([]), "operators", "speaks about no agent");
    check("/operators/0/agents", json!(["*"]), "", "no identifier before the wildcard");
    check("/operators/0/keys", json!(""), "operators", "0 keys");
}
