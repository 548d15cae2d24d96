//! All evidence together: what the parts of a result say, and what a document that fails does.

use std::collections::{BTreeMap, BTreeSet};

use attestation::evidence::{
    AgentEvidence, AgentFacts, EvidenceRule, Failure, Finding, digests, sha256,
};
use attestation::mechanism::{Step, Use};
use attestation::verifier::{self, Assessment, Document, Host, Inquiry, Unsealed};
use attestation::{Rule, Selector, Selectors};
use jose::{Algorithm, KeyId};
use rats::{Claim, Ear, Tier, Vector};
use serde_json::json;
use time::{Span, UnixTime};
use wimse::WorkloadId;

const NOW: UnixTime = UnixTime::from_seconds(1_780_000_000);
const HOUR: Span = Span::from_seconds(3_600);

/// A document that says in JSON what it proves, or at which step it fails.
struct Told;

impl AgentEvidence for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/json"]
    }

    fn faults(&self, _: &EvidenceRule) -> Vec<(String, String)> {
        Vec::new()
    }

    fn appraise(&self, document: &[u8], facts: &AgentFacts<'_>) -> Result<Finding, Failure> {
        let read: serde_json::Value = serde_json::from_slice(document).unwrap();
        let steps = [Step::Form, Step::Signature, Step::Chain, Step::Binding, Step::Content];
        let fails = read["fails"].as_u64().and_then(|at| steps.get(usize::try_from(at).unwrap()));
        if let Some(step) = fails {
            return Err(Failure::new(*step, "as it says"));
        }
        let about = read["about"].as_str().unwrap_or_default();
        if !facts.measured.contains(about) {
            return Err(Failure::new(Step::Binding, format!("`{about}` was not measured")));
        }
        let value = i8::try_from(read["executables"].as_i64().unwrap_or(0)).unwrap();
        Ok(Finding {
            vector: Vector::NONE.with(Claim::Executables, value),
            selectors: Selectors::new([Selector::parse("told:builder:ci").unwrap()]).unwrap(),
            until: read["until"].as_u64().map(UnixTime::from_seconds),
            uses: vec![Use { value: "once".to_owned(), until: NOW.plus(HOUR) }],
            claims: [("builder".to_owned(), json!("ci"))].into_iter().collect(),
        })
    }
}

fn selectors(all: &[&str]) -> Selectors {
    Selectors::new(all.iter().map(|text| Selector::parse(text).unwrap())).unwrap()
}

fn digest() -> String {
    sha256(b"the program")
}

struct Asked {
    rule: Rule,
    found: Selectors,
    rules: BTreeMap<String, EvidenceRule>,
    agent: WorkloadId,
}

impl Asked {
    fn new(demanded: &[&str]) -> Self {
        let found = ["unix:uid:1000".to_owned(), format!("unix:sha256:{}", digest())];
        let found: Vec<_> = found.iter().map(String::as_str).collect();
        Self {
            rule: Rule {
                selectors: selectors(demanded),
                nodes: Vec::new(),
                class: "standard".to_owned(),
            },
            found: selectors(&found),
            rules: [("told".to_owned(), EvidenceRule::default())].into(),
            agent: WorkloadId::parse("spiffe://demo.example/agent/a").unwrap(),
        }
    }

    fn inquiry<'a>(&'a self, documents: &'a [Document<'a>]) -> Inquiry<'a> {
        let vector = Vector::NONE.with(Claim::InstanceIdentity, 2);
        Inquiry {
            agent: &self.agent,
            host: Some(Host { mechanism: "join_token", vector, joined: NOW, until: None }),
            platform: None,
            found: Some(&self.found),
            rule: &self.rule,
            key: None,
            documents,
            rules: &self.rules,
            policy: "policy-1",
            now: NOW,
            life: HOUR,
            skew: Span::ZERO,
        }
    }

    fn assess(&self, kind: &str, text: &str) -> Assessment {
        let documents = [Document { kind, sha256: "00", bytes: text.as_bytes() }];
        verifier::assess_by(&[&Told], &self.inquiry(&documents))
    }
}

/// req: ATT-01 (part), ATT-04 (part)
#[test]
fn rfc9334_4_each_part_of_an_attester_has_its_tier() {
    let by_uid = Asked::new(&["unix:uid:1000"]);
    let none = verifier::assess(&by_uid.inquiry(&[]));
    let summary = none.summary(Some("join_token"));
    // Who it is is known, what it runs is not.
    assert_eq!(summary.parts["process"], Tier::Warning);
    assert_eq!(none.parts["process"].vector.value(Claim::Executables), 33);
    assert_eq!((summary.parts["host"], summary.tier()), (Tier::Affirming, Tier::Warning));
    // The record names what may run.
    let by_hash = format!("unix:sha256:{}", digest());
    let by_hash = Asked::new(&[&by_hash]);
    let known = verifier::assess(&by_hash.inquiry(&[]));
    assert_eq!(known.summary(None).tier(), Tier::Affirming);
    // Or a document does that was bound to what runs.
    let good = format!(r#"{{"about":"{}","executables":2}}"#, digest());
    let told = by_uid.assess("told", &good);
    assert_eq!(told.summary(None).tier(), Tier::Affirming);
    assert_eq!(told.facts.iter().collect::<Vec<_>>(), ["told:builder:ci"]);
    assert_eq!(told.uses.len(), 1);
    assert_eq!(told.parts["told"].told(), "affirming (executables 2)");
    // A host whose own boot was measured vouches for none of its processes.
    let inquiry = by_uid.inquiry(&[]);
    let booted = Vector::NONE.with(Claim::Executables, 3).with(Claim::Hardware, 2);
    let host = Host { vector: booted, ..inquiry.host.unwrap() };
    let measured = verifier::assess(&Inquiry { host: Some(host), ..inquiry });
    assert_eq!(measured.parts["process"].vector.value(Claim::Executables), 33);
}

/// req: ATT-04 (part)
#[test]
fn rfc9334_4_a_document_that_fails_says_where() {
    let asked = Asked::new(&["unix:uid:1000"]);
    let check = |text: &str, tier, told: &str| {
        let assessment = asked.assess("told", text);
        let part = &assessment.parts["told"];
        assert_eq!(part.vector.tier(), tier, "{text}");
        assert!(part.told().ends_with(told), "{}", part.told());
        // It gives nothing, and keeps nothing else from being appraised.
        assert!(assessment.facts.is_empty() && assessment.uses.is_empty());
        assert_eq!(assessment.parts["host"].vector.tier(), Tier::Affirming);
    };
    check(r#"{"fails":0}"#, Tier::None, "form: as it says");
    check(r#"{"fails":1}"#, Tier::Contraindicated, "signature: as it says");
    check(r#"{"fails":2}"#, Tier::Contraindicated, "chain: as it says");
    check(r#"{"fails":3}"#, Tier::Contraindicated, "binding: as it says");
    check(r#"{"fails":4}"#, Tier::None, "content: as it says");
    check(r#"{"about":"another"}"#, Tier::Contraindicated, "`another` was not measured");
    let unknown = asked.assess("horoscope", "{}");
    assert_eq!(unknown.parts["horoscope"].vector.tier(), Tier::None);
    assert!(unknown.parts["horoscope"].told().contains("policy has no table"));
    // A value of it was accepted for another document.
    let good = format!(r#"{{"about":"{}","executables":2}}"#, digest());
    let mut again = asked.assess("told", &good);
    again.used_before("told", "once");
    assert_eq!(again.parts["told"].vector.tier(), Tier::Contraindicated);
}

/// req: ATT-04 (part)
#[test]
fn ear_3_a_result_tells_each_part_and_ends_with_the_first_document() {
    let asked = Asked::new(&["unix:uid:1000"]);
    let soon = NOW.seconds() + 60;
    let text = format!(r#"{{"about":"{}","executables":2,"until":{soon}}}"#, digest());
    let documents = [Document { kind: "told", sha256: "00", bytes: text.as_bytes() }];
    let inquiry = asked.inquiry(&documents);
    let assessment = verifier::assess_by(&[&Told], &inquiry);
    assert_eq!(assessment.until, UnixTime::from_seconds(soon));
    let issuer = "spiffe://demo.example/aims/verifier";
    let result = assessment.result(&inquiry, issuer, Some("AAECAwQFBgc"));
    // Whoever reads it finds the same.
    let read: Ear = serde_json::from_value(serde_json::to_value(&result).unwrap()).unwrap();
    assert_eq!(read.tier(), assessment.summary(None).tier());
    assert_eq!(read.subject.as_deref(), Some("spiffe://demo.example/agent/a"));
    assert_eq!(read.submods["told"].attester_claims["document"], "00");
    assert_eq!(read.submods["told"].policies, ["policy-1"]);
    let kid = KeyId::parse("k").unwrap();
    let sealed = |result: &Ear, now| verifier::sealed(result, now, Algorithm::Es256, &kid);
    assert!(sealed(&result, NOW).is_ok());
    let late = UnixTime::from_seconds(soon);
    assert_eq!(sealed(&result, late).unwrap_err(), Unsealed::NoLife);
    let empty = Ear { submods: BTreeMap::new(), ..result };
    assert_eq!(sealed(&empty, NOW).unwrap_err(), Unsealed::Nothing);
}

/// req: ATT-05 (part)
#[test]
fn s7_only_what_an_attestor_measured_itself_is_a_digest() {
    let (digest, other) = (digest(), sha256(b"claimed"));
    let all = [
        format!("unix:sha256:{digest}"),
        format!("docker:label:sha256:{other}"),
        format!("docker:env:X={other}"),
        "unix:sha256:abc".to_owned(),
        format!("unix:sha256:{}", other.to_uppercase()),
        format!("unix:path:/opt/{other}"),
    ];
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    assert_eq!(digests(&selectors(&all)), BTreeSet::from([digest]));
}
