//! What a provider says of an agent.

use attestation::endorsement::{PACKAGE_EXTENSION, PREDICATE};
use attestation::mechanism::Step;
use serde_json::{Value, json};
use testkit::documents::{self, Signer};
use time::Span;

use super::{Case, DAY, NOW, SKEW, faulty, package, signer, texts, values, with};

const PROVIDER: &str = "https://acme.example";

fn rule(signer: &Signer) -> Value {
    json!({ "signers": [{ "name": PROVIDER, "keys": signer.keys() }], "agent_cards": true })
}

fn good() -> Value {
    documents::endorsement(PROVIDER, NOW.minus(DAY), NOW.plus(DAY))
}

/// req: ATT-10
#[test]
fn s3_1_a_provider_endorses_what_runs() {
    let key = signer();
    let case = Case::new("endorsement", rule(&key));
    let finding = case.appraise(&key.statement(&package(), PREDICATE, &good())).unwrap();
    assert_eq!(
        texts(&finding),
        [
            "endorsement:capability:plan",
            "endorsement:capability:search",
            "endorsement:provider:https://acme.example",
            "endorsement:type:planner",
            "endorsement:version:1.0.0",
        ]
    );
    assert_eq!(values(&finding), [("executables", 2)]);
    assert_eq!(finding.until, Some(NOW.plus(DAY)));
}

/// req: ATT-10
#[test]
fn s3_1_each_check_of_an_endorsement_refuses() {
    let key = signer();
    let case = Case::new("endorsement", rule(&key));
    let of = |said: &Value| key.statement(&package(), PREDICATE, said);
    let document = of(&good());
    let other = signer().statement(&package(), PREDICATE, &good());
    case.refuses(&other, Step::Signature, "none of the signers");
    // One provider does not speak for another, both being known.
    let mut two = case.under("/none", Value::Null);
    let third = signer();
    let more = json!({ "name": "https://bolt.example", "keys": third.keys() });
    two.rule["signers"].as_array_mut().unwrap().push(more);
    let theirs = third.statement(&package(), PREDICATE, &good());
    two.refuses(&theirs, Step::Chain, "signed by `https://bolt.example` in the name of");
    let elsewhere = key.statement(&"a2".repeat(32), PREDICATE, &good());
    case.refuses(&elsewhere, Step::Binding, "was measured");
    case.measuring(&[]).refuses(&document, Step::Content, "nothing was measured");
    let kind = key.statement(&package(), "https://slsa.dev/provenance/v1", &good());
    case.refuses(&kind, Step::Content, "a statement of type");
    for member in ["provider", "agentType", "version", "validity"] {
        let less = with(&good(), &format!("/{member}"), Value::Null);
        case.refuses(&of(&less), Step::Content, "missing field");
    }
    let broken = with(&good(), "/validity/notAfter", json!("soon"));
    case.refuses(&of(&broken), Step::Content, "`soon` is no instant");
    let many = with(&good(), "/capabilities", json!(vec!["plan"; 49]));
    case.refuses(&of(&many), Step::Content, "49 capabilities");
    // Validity, to the second.
    let second = Span::from_seconds(1);
    let (from, until) = (NOW.minus(DAY).minus(SKEW), NOW.plus(DAY).plus(SKEW));
    case.at(from).appraise(&document).unwrap();
    case.at(from.minus(second)).refuses(&document, Step::Content, "counts from");
    case.at(until.minus(second)).appraise(&document).unwrap();
    case.at(until).refuses(&document, Step::Content, "ended at");
    let long = documents::endorsement(PROVIDER, NOW, NOW.plus(Span::from_seconds(399 * 86_400)));
    case.refuses(&of(&long), Step::Policy, "counts for 399 days");
    // Types that policy names.
    let typed = case.under("/agent_types", json!(["planner"]));
    typed.appraise(&document).unwrap();
    let typed = case.under("/agent_types", json!(["buyer"]));
    typed.refuses(&document, Step::Policy, "an agent of type `planner`");
}

/// req: ATT-10 (part)
#[test]
fn a2a_8_4_an_agent_card_endorses_the_package_that_it_names() {
    let key = signer();
    let case = Case::new("endorsement", rule(&key));
    let card = documents::agent_card(&package());
    let document = key.card(&card);
    let finding = case.appraise(&document).unwrap();
    assert_eq!(
        texts(&finding),
        [
            "endorsement:capability:plan",
            "endorsement:provider:https://acme.example",
            "endorsement:version:1.0.0",
        ]
    );
    assert_eq!((values(&finding), finding.until), (vec![("executables", 2)], None));
    // A2A §8.4.1: order and whitespace do not count, content does.
    let signed: Value = serde_json::from_slice(&document).unwrap();
    let pretty = serde_json::to_string_pretty(&signed).unwrap();
    case.appraise(pretty.as_bytes()).unwrap();
    let changed = with(&signed, "/description", json!("Plans more"));
    case.refuses(changed.to_string().as_bytes(), Step::Signature, "none of the signers");
    case.refuses(&signer().card(&card), Step::Signature, "none of the signers");
    // Another signature beside it does no harm.
    let mut both = signed.clone();
    let more: Value = serde_json::from_slice(&signer().card(&card)).unwrap();
    both["signatures"].as_array_mut().unwrap().insert(0, more["signatures"][0].clone());
    case.appraise(both.to_string().as_bytes()).unwrap();
    let nine = with(&signed, "/signatures", json!(vec![signed["signatures"][0].clone(); 9]));
    case.refuses(nine.to_string().as_bytes(), Step::Form, "9 signatures");
    // Key and address in the header are not looked at; an extension is refused.
    let protected = "eyJhbGciOiJFUzI1NiIsImNyaXQiOlsieCJdfQ";
    let critical = with(&signed, "/signatures/0/protected", json!(protected));
    case.refuses(critical.to_string().as_bytes(), Step::Form, "no extension is understood");
    let twice = document.strip_prefix(b"{").unwrap();
    let twice = [br#"{"name":"Other","#.as_slice(), twice].concat();
    case.refuses(&twice, Step::Form, "");
    // The package.
    case.refuses(
        &key.card(&documents::agent_card(&"a2".repeat(32))),
        Step::Binding,
        "was measured",
    );
    let extensions = "/capabilities/extensions";
    let none = key.card(&with(&card, extensions, json!([])));
    case.refuses(&none, Step::Binding, PACKAGE_EXTENSION);
    let one = card.pointer(extensions).unwrap()[0].clone();
    let two = key.card(&with(&card, extensions, json!([one.clone(), one])));
    case.refuses(&two, Step::Binding, PACKAGE_EXTENSION);
    // Policy.
    let never = case.under("/agent_cards", json!(false));
    never.refuses(&document, Step::Policy, "policy does not say `agent_cards = true`");
    let typed = case.under("/agent_types", json!(["planner"]));
    typed.refuses(&document, Step::Policy, "of type ``");
    let short = case.under("/card_lifetime", json!(3_600));
    let until = short.appraise(&document).unwrap().until;
    assert_eq!(until, Some(NOW.plus(Span::from_seconds(3_600))));
}

#[test]
fn s3_1_policy_of_endorsements_is_read_whole() {
    let rule = rule(&signer());
    let long = json!(399 * 86_400);
    faulty("endorsement", &rule, "/card_lifetime", long, "card_lifetime", "at most 398 days");
    let without = with(&rule, "/agent_cards", json!(false));
    let words = "no card is taken";
    faulty("endorsement", &without, "/card_lifetime", json!(60), "card_lifetime", words);
}
