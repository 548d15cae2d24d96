//! Documents about an agent: each kind, each check.

mod aibom;
mod binding;
mod endorsement;
mod operator;
mod provenance;

use std::collections::BTreeSet;

use attestation::evidence::{self, AgentFacts, EvidenceRule, Failure, Finding};
use attestation::mechanism::Step;
use rats::Claim;
use serde_json::{Value, json};
use testkit::documents::Signer;
use time::{Span, UnixTime};
use wimse::WorkloadId;

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
pub(crate) const DAY: Span = Span::from_seconds(86_400);
pub(crate) const SKEW: Span = Span::from_seconds(30);
pub(crate) const AGENT: &str = "spiffe://demo.example/agent/planner";

/// SHA-256 of what runs.
pub(crate) fn package() -> String {
    "a1".repeat(32)
}

pub(crate) fn signer() -> Signer {
    Signer::new("k1").unwrap()
}

/// What an appraisal is told, and what a case changes of it.
pub(crate) struct Case {
    pub(crate) kind: &'static str,
    pub(crate) rule: Value,
    pub(crate) measured: Vec<String>,
    pub(crate) key: Option<String>,
    pub(crate) agent: &'static str,
    pub(crate) now: UnixTime,
}

impl Case {
    pub(crate) fn new(kind: &'static str, rule: Value) -> Self {
        let measured = vec!["00".repeat(32), package()];
        Self { kind, rule, measured, key: None, agent: AGENT, now: NOW }
    }

    pub(crate) fn appraise(&self, document: &[u8]) -> Result<Finding, Failure> {
        let kind = evidence::by_name(self.kind).unwrap();
        let rule = EvidenceRule { own: self.rule.as_object().unwrap().clone() };
        assert_eq!(kind.faults(&rule), [], "policy of the case");
        let measured: BTreeSet<String> = self.measured.iter().cloned().collect();
        kind.appraise(
            document,
            &AgentFacts {
                agent: &WorkloadId::parse(self.agent).unwrap(),
                measured: &measured,
                key: self.key.as_deref(),
                rule: &rule,
                now: self.now,
                skew: SKEW,
            },
        )
    }

    /// The document is refused at this step, with these words.
    pub(crate) fn refuses(&self, document: &[u8], step: Step, words: &str) {
        match self.appraise(document) {
            Ok(finding) => panic!("taken: {finding:?} instead of `{words}`"),
            Err(failure) => {
                assert!(failure.why.contains(words), "`{}` instead of `{words}`", failure.why);
                assert_eq!(failure.step, step, "{}", failure.why);
            }
        }
    }

    /// The same under another rule.
    pub(crate) fn under(&self, pointer: &str, new: Value) -> Self {
        let rule = with(&self.rule, pointer, new);
        let (measured, key) = (self.measured.clone(), self.key.clone());
        Self { kind: self.kind, rule, measured, key, agent: self.agent, now: self.now }
    }

    /// At another time.
    pub(crate) fn at(&self, now: UnixTime) -> Self {
        Self { now, ..self.under("/none", Value::Null) }
    }

    /// Where something else runs.
    pub(crate) fn measuring(&self, measured: &[String]) -> Self {
        Self { measured: measured.to_vec(), ..self.under("/none", Value::Null) }
    }
}

/// Policy with this change does not compile: the key, and words of why.
pub(crate) fn faulty(kind: &str, rule: &Value, pointer: &str, new: Value, key: &str, words: &str) {
    let rule = EvidenceRule { own: with(rule, pointer, new).as_object().unwrap().clone() };
    let faults = evidence::by_name(kind).unwrap().faults(&rule);
    let [(found, why)] = faults.as_slice() else { panic!("{pointer}: {faults:?}") };
    assert!(found == key && why.contains(words), "{pointer}: `{found}`: `{why}`");
}

pub(crate) fn texts(finding: &Finding) -> Vec<&str> {
    finding.selectors.iter().map(|selector| selector.as_str()).collect()
}

pub(crate) fn values(finding: &Finding) -> Vec<(&'static str, i8)> {
    finding.vector.claims().map(|(claim, value)| (Claim::name(claim), value)).collect()
}

/// `value` with the member at `pointer` set, or taken out for null.
pub(crate) fn with(value: &Value, pointer: &str, new: Value) -> Value {
    let mut value = value.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Object(members) if new.is_null() => {
            members.remove(name);
        }
        Value::Object(members) => {
            members.insert(name.to_owned(), new);
        }
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = new,
        other => panic!("{pointer} is below {other}"),
    }
    value
}

/// req: ATT-12 (part)
#[test]
fn s7_every_kind_has_a_name_and_media_types_of_its_own() {
    let names: BTreeSet<&str> = evidence::KINDS.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), evidence::KINDS.len());
    let first: BTreeSet<&str> =
        evidence::KINDS.iter().filter_map(|kind| kind.media_types().first().copied()).collect();
    assert_eq!(first.len(), evidence::KINDS.len());
}

/// What every kind with named signers refuses in policy.
#[test]
fn s7_signers_that_do_not_read_are_faults_of_policy() {
    let one = signer();
    let rule = json!({ "signers": [{ "name": "acme", "keys": one.keys() }] });
    let check = |pointer: &str, new: Value, key: &str, words: &str| {
        faulty("endorsement", &rule, pointer, new, key, words);
    };
    check("/more", json!(1), "", "unknown field `more`");
    check("/signers/0/more", json!(1), "", "unknown field `more`");
    check("/signers", json!([]), "signers", "0 signers");
    check("/signers", Value::Null, "", "missing field `signers`");
    let twice = json!([rule["signers"][0], rule["signers"][0]]);
    check("/signers", twice, "signers", "two signers `acme`");
    check("/signers/0/name", json!(""), "signers", "a name has 1 to 128 bytes");
    check("/signers/0/keys", Value::Null, "signers", "either `keys`, or `issuer` and `subject`");
    check("/signers/0/issuer", json!("https://a"), "signers", "either `keys`, or");
    check("/signers/0/keys", json!("{\"keys\":[]}"), "signers", "0 keys");
    check("/signers/0/keys", json!("secret"), "signers", "neither a JWK set nor PEM");
    let cut = one.pem().replace("MFkw", "MFk");
    check("/signers/0/keys", json!(cut), "signers", "");
    let weak = r#"{"keys":[{"kty":"oct","k":"AQAB"}]}"#;
    check("/signers/0/keys", json!(weak), "signers", "key 0 is not usable");
    let by_name = json!([{ "name": "ci", "issuer": "https://a", "subject": "b" }]);
    check("/signers", by_name, "trusted_root", "need a `trusted_root`");
    check("/trusted_root", json!("{}"), "trusted_root", "not a trusted root");
}
