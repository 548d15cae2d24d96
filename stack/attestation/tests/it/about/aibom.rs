//! What an agent is made of.

use attestation::mechanism::Step;
use bom::PREDICATE;
use serde_json::{Value, json};
use testkit::documents::{self, Signer};

use super::{Case, faulty, package, signer, texts, values, with};

fn rule(signer: &Signer) -> Value {
    json!({
        "signers": [{ "name": "acme", "keys": signer.keys() }],
        "advisories": json!([documents::advisory()]).to_string(),
        "unacceptable_from": 7.0,
    })
}

/// The same bill, with a library that nothing is known against.
fn clean() -> Value {
    with(&documents::bom(&package()), "/components/2/purl", json!("pkg:pypi/requests@2.31.0"))
}

/// req: ATT-09
#[test]
fn s3_1_a_bill_of_materials_is_taken_in_three_signed_forms() {
    let key = signer();
    let case = Case::new("aibom", rule(&key));
    let bom = clean();
    let bytes = bom.to_string().into_bytes();
    for document in
        [key.statement(&package(), PREDICATE, &bom), key.attached(&bytes), key.detached(&bytes)]
    {
        let finding = case.appraise(&document).unwrap();
        assert_eq!(
            texts(&finding),
            [
                "aibom:model:llm@7",
                "aibom:signer:acme",
                "aibom:supplier:Acme",
                "aibom:supplier:Model Works",
            ]
        );
        assert_eq!(values(&finding), [("configuration", 3)]);
        assert_eq!(finding.until, None);
    }
    // Without lists nothing was looked for, and nothing is said.
    let blind = case.under("/advisories", Value::Null);
    let finding = blind.appraise(&key.attached(&bytes)).unwrap();
    assert_eq!(values(&finding), []);
}

/// req: ATT-09
#[test]
fn s3_1_a_vulnerable_component_counts_by_its_severity() {
    let key = signer();
    let case = Case::new("aibom", rule(&key));
    let configuration = |case: &Case, bom: &Value| {
        let finding = case.appraise(&key.statement(&package(), PREDICATE, bom)).unwrap();
        let [("configuration", value)] = values(&finding)[..] else { panic!("{finding:?}") };
        (value, finding.claims.get("advisories").cloned())
    };
    let vulnerable = documents::bom(&package());
    let told = Some(json!(["GHSA-j8r2-6x86-q33q in requests"]));
    assert_eq!(configuration(&case, &vulnerable), (32, told.clone()));
    assert_eq!(configuration(&case, &clean()), (3, None));
    // The threshold is policy's, and it is included.
    let strict = case.under("/unacceptable_from", json!(6.1));
    assert_eq!(configuration(&strict, &vulnerable), (96, told.clone()));
    let lax = case.under("/unacceptable_from", json!(6.2));
    assert_eq!(configuration(&lax, &vulnerable).0, 32);
    let default = case.under("/unacceptable_from", Value::Null);
    assert_eq!(configuration(&default, &vulnerable).0, 32);
    // What has no known score may be anything.
    let unknown = with(&documents::advisory(), "/severity", json!([]));
    let unknown = case.under("/advisories", json!(json!([unknown]).to_string()));
    assert_eq!(configuration(&unknown, &vulnerable).0, 96);
    let withdrawn = with(&documents::advisory(), "/withdrawn", json!("2027-01-15T08:00:00Z"));
    let withdrawn = case.under("/advisories", json!(json!([withdrawn]).to_string()));
    assert_eq!(configuration(&withdrawn, &vulnerable).0, 3);
    // What policy denies is not acceptable, however severe.
    let denied = json!([{ "id": "NO-1", "affected": [
        { "package": { "ecosystem": "PyPI", "name": "requests" } }
    ] }]);
    let denied = case.under("/denied", json!(denied.to_string()));
    assert_eq!(configuration(&denied, &clean()), (96, Some(json!(["NO-1 in requests"]))));
    let model = json!([{ "id": "NO-2", "affected": [
        { "database_specific": { "sha256": ["b1".repeat(32)] } }
    ] }]);
    let model = case.under("/denied", json!(model.to_string()));
    assert_eq!(configuration(&model, &clean()), (96, Some(json!(["NO-2 in llm"]))));
    // A component that the graph leaves out is there nevertheless.
    let hidden = with(&vulnerable, "/dependencies/0", json!({ "ref": "agent", "dependsOn": [] }));
    assert_eq!(configuration(&case, &hidden), (32, told));
}

/// req: ATT-09 (part)
#[test]
fn s3_1_only_signers_that_policy_names_clear_a_component() {
    let key = signer();
    let case = Case::new("aibom", rule(&key));
    let judged = json!([{
        "id": "CVE-2023-32681", "affects": [{ "ref": "lib" }],
        "analysis": { "state": "not_affected", "justification": "code_not_reachable" },
    }]);
    let bom = with(&documents::bom(&package()), "/vulnerabilities", judged);
    let document = key.statement(&package(), PREDICATE, &bom);
    assert_eq!(values(&case.appraise(&document).unwrap()), [("configuration", 32)]);
    let trusting = case.under("/vex_signers", json!(["acme"]));
    assert_eq!(values(&trusting.appraise(&document).unwrap()), [("configuration", 3)]);
    let unjustified = with(&bom, "/vulnerabilities/0/analysis/justification", Value::Null);
    let document = key.statement(&package(), PREDICATE, &unjustified);
    assert_eq!(values(&trusting.appraise(&document).unwrap()), [("configuration", 32)]);
    // Nobody clears what policy denies.
    let denied = trusting.under("/denied", json!(json!([documents::advisory()]).to_string()));
    let document = key.statement(&package(), PREDICATE, &bom);
    assert_eq!(values(&denied.appraise(&document).unwrap()), [("configuration", 96)]);
}

/// req: ATT-09 (part)
#[test]
fn s3_1_unattested_data_sets_are_told() {
    let key = signer();
    let case = Case::new("aibom", rule(&key));
    let bom = with(&clean(), "/components/1/hashes", Value::Null);
    let finding = case.appraise(&key.statement(&package(), PREDICATE, &bom)).unwrap();
    assert_eq!(values(&finding), [("configuration", 3), ("sourced-data", 32)]);
}

/// req: ATT-09
#[test]
fn s3_1_each_check_of_a_bill_refuses() {
    let key = signer();
    let case = Case::new("aibom", rule(&key));
    let bom = clean();
    let bytes = bom.to_string().into_bytes();
    let statement = |bom: &Value| key.statement(&package(), PREDICATE, bom);
    // Form.
    case.refuses(b"\xff", Step::Form, "neither an envelope nor a JWS");
    case.refuses(b"a.b", Step::Form, "not three parts");
    let [protected, payload, signature] = key.jws(&bytes);
    let two = [format!("{protected}.{payload}.{signature}\n").as_bytes(), &bytes].concat();
    case.refuses(&two, Step::Form, "a payload in it, and one behind it");
    let none = format!("{protected}..{signature}");
    case.refuses(none.as_bytes(), Step::Form, "without the bill behind it");
    let typed = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9";
    let typed = format!("{typed}.{payload}.{signature}");
    case.refuses(typed.as_bytes(), Step::Form, "a JWS of type `JWT`");
    // The bytes are signed, not what they mean.
    let spaced = [format!("{protected}..{signature}\n").as_bytes(), b" ", &bytes].concat();
    case.refuses(&spaced, Step::Signature, "none of the signers");
    let other = signer();
    case.refuses(&other.attached(&bytes), Step::Signature, "none of the signers");
    let theirs = other.statement(&package(), PREDICATE, &bom);
    case.refuses(&theirs, Step::Signature, "none of the signers");
    // An unsigned bill is nobody's.
    case.refuses(&bytes, Step::Form, "not an envelope");
    // Binding to what runs: by the statement, and by the bill.
    let elsewhere = key.statement(&"a2".repeat(32), PREDICATE, &bom);
    case.refuses(&elsewhere, Step::Binding, "was measured");
    let inside = with(&bom, "/metadata/component/hashes/0/content", json!("a2".repeat(32)));
    case.refuses(&statement(&inside), Step::Binding, &"a2".repeat(32));
    case.refuses(&key.attached(inside.to_string().as_bytes()), Step::Binding, "was measured");
    let hashless = with(&bom, "/metadata/component/hashes", Value::Null);
    case.appraise(&statement(&hashless)).unwrap();
    let hashless = key.attached(hashless.to_string().as_bytes());
    case.refuses(&hashless, Step::Binding, "no hash by SHA-256");
    case.measuring(&[]).refuses(&statement(&bom), Step::Content, "nothing was measured");
    // Content.
    let kind = key.statement(&package(), "https://spdx.dev/Document", &bom);
    case.refuses(&kind, Step::Content, "of type `https://spdx.dev/Document`");
    let holes = with(&bom, "/dependencies", json!([{ "ref": "agent", "dependsOn": ["lib"] }]));
    case.refuses(&statement(&holes), Step::Content, "`lib` has no entry in `dependencies`");
    for (at, name) in [(0, "llm"), (2, "requests")] {
        let hashless = with(&bom, &format!("/components/{at}/hashes"), Value::Null);
        let words = format!("component `{name}` has no strong hash");
        case.refuses(&statement(&hashless), Step::Content, &words);
    }
    // A part of another kind needs none.
    let file = with(&bom, "/components/2/hashes", Value::Null);
    let file = with(&file, "/components/2/type", json!("file"));
    case.appraise(&statement(&file)).unwrap();
    // Policy.
    let cardless = with(&bom, "/components/0/modelCard", Value::Null);
    case.appraise(&statement(&cardless)).unwrap();
    let cards = case.under("/model_cards", json!(true));
    cards.appraise(&statement(&bom)).unwrap();
    cards.refuses(&statement(&cardless), Step::Policy, "model `llm` has no model card");
}

#[test]
fn s3_1_facts_about_models_are_bounded() {
    let key = signer();
    let case = Case::new("aibom", rule(&key));
    let many = |count: usize, supplier: &dyn Fn(usize) -> String| {
        let mut bom = clean();
        let hashes = bom["components"][0]["hashes"].clone();
        for at in 0..count {
            let reference = format!("m{at}");
            bom["components"].as_array_mut().unwrap().push(json!({
                "bom-ref": reference, "type": "machine-learning-model", "name": reference,
                "hashes": hashes, "publisher": supplier(at),
            }));
            bom["dependencies"].as_array_mut().unwrap().push(json!({ "ref": reference }));
            let list = bom["dependencies"][0]["dependsOn"].as_array_mut().unwrap();
            list.push(json!(reference));
        }
        key.statement(&package(), PREDICATE, &bom)
    };
    let one = |_: usize| "One".to_owned();
    let finding = case.appraise(&many(23, &one)).unwrap();
    assert!(texts(&finding).contains(&"aibom:model:m0@unknown"));
    case.refuses(&many(24, &one), Step::Content, "25 models, at most 24");
    let each = |at: usize| format!("Supplier {at}");
    case.refuses(&many(23, &each), Step::Content, "25 suppliers, at most 24");
    let odd = with(&clean(), "/components/0/name", json!("a\nb"));
    let odd = key.statement(&package(), PREDICATE, &odd);
    case.refuses(&odd, Step::Content, "a fact that is no selector");
}

#[test]
fn s3_1_policy_of_bills_is_read_whole() {
    let rule = rule(&signer());
    let check = |pointer: &str, new: Value, key: &str, words: &str| {
        faulty("aibom", &rule, pointer, new, key, words);
    };
    check("/more", json!(1), "", "unknown field `more`");
    check("/advisories", json!("{}"), "advisories", "not a list of advisories");
    check("/denied", json!("[{}]"), "denied", "missing field `id`");
    for score in [json!(10.1), json!(-0.1), json!(7.05)] {
        check("/unacceptable_from", score, "unacceptable_from", "a score is 0.0 to 10.0");
    }
    check("/vex_signers", json!(["bob"]), "vex_signers", "`bob` is no signer");
}
