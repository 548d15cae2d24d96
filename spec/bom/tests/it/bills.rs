//! Reading bills of materials.

use std::fs;

use bom::{Bom, BomError, Component, State};
use serde_json::{Value, json};

use crate::{agent, with};

fn read(value: &Value) -> Result<Bom, BomError> {
    Bom::parse(value.to_string().as_bytes())
}

fn refused(value: &Value, expect: &str) {
    let error = read(value).map(|_| ()).map_err(|error| error.to_string());
    assert!(error.clone().is_err_and(|why| why.contains(expect)), "{error:?}: {expect}");
}

/// The files of CycloneDX/specification validate, but say not what they are about. With that said
/// they are read, and a version that is not known is refused.
///
/// req: ATT-09 (part)
#[test]
fn cyclonedx_published_bills_of_models() {
    for version in ["1.6", "1.7"] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/cyclonedx");
        let path = format!("{path}/valid-machine-learning-{version}.json");
        let published: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        refused(&published, "no `metadata.component`");
        let subject = json!({ "component": {
            "bom-ref": "agent", "type": "application", "name": "agent"
        } });
        let told = with(&published, "/metadata", subject);
        refused(&told, "`agent` has no entry in `dependencies`");
        let graph =
            json!([{ "ref": "agent", "dependsOn": ["component-a"] }, { "ref": "component-a" }]);
        let told = with(&told, "/dependencies", graph);
        let bom = read(&told).unwrap();
        let reached = bom.reached();
        let [model] = reached.as_slice() else { panic!("{reached:?}") };
        assert_eq!((model.kind(), model.has_model_card()), ("machine-learning-model", true));
        assert!(model.hashes().is_empty());
        assert!(bom.has_unattested_data());
        refused(&with(&told, "/specVersion", json!("1.5")), "CycloneDX 1.5; 1.6 and 1.7 are read");
    }
}

#[test]
fn cyclonedx_the_graph_says_what_belongs_to_the_subject() {
    let names = |value: &Value| {
        let bom = read(value).unwrap();
        bom.reached().iter().map(|one| one.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&agent()), ["acme/llm", "corpus", "requests"]);
    let deps = "/dependencies/2";
    let nested = with(&agent(), deps, json!({ "ref": "lib", "dependsOn": ["inner"] }));
    refused(&nested, "`inner` has no entry in `dependencies`");
    let mut nested = nested;
    nested["dependencies"].as_array_mut().unwrap().push(json!({ "ref": "inner" }));
    assert_eq!(names(&nested), ["acme/llm", "corpus", "left-pad", "requests"]);
    // Who depends on themselves is no trap.
    let ring = with(&nested, "/dependencies/5", json!({ "ref": "inner", "dependsOn": ["agent"] }));
    assert_eq!(names(&ring).len(), 4);
    let provided = with(&agent(), deps, json!({ "ref": "lib", "provides": ["api"] }));
    assert_eq!(names(&provided).len(), 3);
}

#[test]
fn cyclonedx_bills_with_holes_are_refused() {
    let good = agent();
    let check =
        |pointer: &str, new: Value, expect: &str| refused(&with(&good, pointer, new), expect);
    check("/bomFormat", json!("SPDX"), "in the format `SPDX`");
    check("/metadata", Value::Null, "no `metadata.component`");
    check("/metadata/component/bom-ref", Value::Null, "`agent` leads nowhere");
    let nameless = with(&good, "/metadata/component/bom-ref", Value::Null);
    refused(&with(&nameless, "/dependencies", json!([])), "`metadata.component` has no `bom-ref`");
    check("/dependencies", json!([]), "`agent` has no entry in `dependencies`");
    check("/dependencies/3", json!({ "ref": "api" }), "the reference `api` stands twice");
    check("/dependencies/3", json!({ "ref": "none" }), "the reference `none` leads nowhere");
    let lost = json!({ "ref": "lib", "dependsOn": ["none"] });
    check("/dependencies/2", lost, "the reference `none` leads nowhere");
    check("/components/1/bom-ref", json!("lib"), "the reference `lib` stands twice");
    check("/services/0/bom-ref", json!("lib"), "the reference `lib` stands twice");
    let datasets = "/components/0/modelCard/modelParameters/datasets";
    check(datasets, json!([{ "ref": "none" }]), "the reference `none` leads nowhere");
    check("/components/2/purl", json!("requests"), "component `requests`: a package url begins");
    let short = json!([{ "alg": "SHA-256", "content": "aa" }]);
    check("/components/2/hashes", short, "component `requests`: a hash `SHA-256`");
    let two = json!([
        { "alg": "SHA-256", "content": "aa".repeat(32) },
        { "alg": "SHA-256", "content": "ab".repeat(32) }
    ]);
    check("/components/2/hashes", two, "component `requests`: a hash `SHA-256`");
    let many = json!(vec![json!({ "alg": "MD5", "content": "aa".repeat(16) }); 17]);
    check("/components/2/hashes", many, "more than 16 hashes");
    check("/components/2/name", json!("a".repeat(1_025)), "more than 1024 bytes");
    check("/components/2/type", Value::Null, "missing field `type`");
    let many = json!(vec![json!({ "type": "library", "name": "a" }); 4_097]);
    check("/components", many, "more than 4096 components");
}

#[test]
fn cyclonedx_weak_hashes_fix_nothing() {
    let weak =
        json!([{ "alg": "MD5", "content": "aa".repeat(16) }, { "alg": "SHA-1", "content": "" }]);
    let bom = read(&with(&agent(), "/components/2/hashes", weak)).unwrap();
    let lib = bom.components().iter().find(|one| one.name() == "requests").unwrap();
    assert!(lib.hashes().is_empty());
    let upper = json!([{ "alg": "SHA-256", "content": "AA".repeat(32) }]);
    let bom = read(&with(&agent(), "/components/2/hashes", upper)).unwrap();
    let lib = bom.components().iter().find(|one| one.name() == "requests").unwrap();
    assert_eq!(lib.hashes().sha256(), Some("aa".repeat(32).as_str()));
    assert_eq!(bom.subject().supplier(), Some("Acme"));
    assert_eq!(bom.components()[0].supplier(), Some("Acme Labs"));
}

#[test]
fn cyclonedx_data_sets_are_attested_by_a_hash() {
    let unattested = |value: &Value| read(value).unwrap().has_unattested_data();
    assert!(!unattested(&agent()));
    assert!(unattested(&with(&agent(), "/components/1/hashes", Value::Null)));
    let datasets = "/components/0/modelCard/modelParameters/datasets";
    assert!(unattested(&with(&agent(), datasets, json!([{ "type": "dataset", "name": "a" }]))));
    // A set that no model names, and a component of another type that one names.
    assert!(!unattested(&with(&agent(), datasets, json!([]))));
    let other = with(&agent(), "/components/1/type", json!("file"));
    assert!(unattested(&with(&other, "/components/1/hashes", Value::Null)));
}

#[test]
fn cyclonedx_who_clears_a_component_says_why_and_says_one_thing() {
    let judged = |analysis: Value| json!([{ "id": "CVE-1", "analysis": analysis, "affects": [{ "ref": "lib" }] }]);
    let clear = json!({ "state": "not_affected", "justification": "code_not_reachable" });
    let is_cleared = |vulnerabilities: Value, name: &str, id: &str| {
        let bom = read(&with(&agent(), "/vulnerabilities", vulnerabilities)).unwrap();
        let one: Vec<Component> =
            bom.components().iter().filter(|one| one.name() == name).cloned().collect();
        bom.is_cleared(&one[0], |known| known == id)
    };
    assert!(is_cleared(judged(clear.clone()), "requests", "CVE-1"));
    assert!(!is_cleared(judged(clear.clone()), "left-pad", "CVE-1"));
    assert!(!is_cleared(judged(clear.clone()), "requests", "CVE-2"));
    assert!(!is_cleared(judged(json!({ "state": "not_affected" })), "requests", "CVE-1"));
    assert!(!is_cleared(judged(json!({ "state": "exploitable" })), "requests", "CVE-1"));
    let mut both = judged(clear);
    let more = judged(json!({ "state": "in_triage" }))[0].clone();
    both.as_array_mut().unwrap().push(more);
    assert!(!is_cleared(both, "requests", "CVE-1"));
    let bom = read(&agent()).unwrap();
    assert!(bom.judged().iter().all(|one| one.state == State::Other));
}
