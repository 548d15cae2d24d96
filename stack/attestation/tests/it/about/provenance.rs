//! Who built what runs.

use std::fs;

use attestation::mechanism::Step;
use provenance::{PROVENANCE, SUMMARY};
use serde_json::{Value, json};
use testkit::documents::{self, Signer};
use time::UnixTime;

use super::{Case, DAY, NOW, faulty, package, signer, texts, values, with};

const BUILDER: &str = "https://ci.example/builder";
const SOURCE: &str = "https://git.example/acme/planner";
const VERIFIER: &str = "https://verifier.example";

fn rule(signer: &Signer) -> Value {
    json!({
        "signers": [{ "name": "acme-ci", "keys": signer.keys() }],
        "builders": [{ "id": "https://other.example", "level": 1 }, { "id": BUILDER, "level": 3 }],
        "sources": [SOURCE], "verifiers": [VERIFIER], "level_min": 2, "age_max": 7 * 86_400,
    })
}

fn good() -> Value {
    documents::provenance(BUILDER, SOURCE, NOW.minus(DAY))
}

/// req: ATT-05
#[test]
fn s7_provenance_of_what_runs_counts() {
    let signer = signer();
    let case = Case::new("provenance", rule(&signer));
    let finding = case.appraise(&signer.statement(&package(), PROVENANCE, &good())).unwrap();
    assert_eq!(
        texts(&finding),
        [
            "provenance:builder:https://ci.example/builder",
            "provenance:level:1",
            "provenance:level:2",
            "provenance:level:3",
            "provenance:signer:acme-ci",
            "provenance:source:https://git.example/acme/planner",
        ]
    );
    assert_eq!(values(&finding), [("executables", 2)]);
    assert_eq!(finding.until, Some(NOW.minus(DAY).plus(time::Span::from_seconds(7 * 86_400))));
    assert!(finding.uses.is_empty());
    // Keys in PEM are the same keys.
    let pem = case.under("/signers/0/keys", json!(signer.pem()));
    pem.appraise(&signer.statement(&package(), PROVENANCE, &good())).unwrap();
}

/// req: ATT-05
#[test]
fn s7_each_check_of_provenance_refuses() {
    let key = signer();
    let case = Case::new("provenance", rule(&key));
    let document = key.statement(&package(), PROVENANCE, &good());
    // Signature before anything is read.
    case.refuses(b"{}", Step::Form, "not an envelope");
    let other = signer().statement(&package(), PROVENANCE, &good());
    case.refuses(&other, Step::Signature, "none of the signers that policy names");
    let envelope: Value = serde_json::from_slice(&document).unwrap();
    let theirs = key.statement(&"a2".repeat(32), PROVENANCE, &good());
    let swapped: Value = serde_json::from_slice(&theirs).unwrap();
    let payload = with(&envelope, "/payload", swapped["payload"].clone());
    case.refuses(payload.to_string().as_bytes(), Step::Signature, "none of the signers");
    let plain = key.envelope("text/plain", b"{}");
    case.refuses(&plain, Step::Form, "of type `text/plain`");
    // Binding to what runs.
    case.refuses(&theirs, Step::Binding, &format!("about `{}`", "a2".repeat(32)));
    case.measuring(&[]).refuses(&document, Step::Content, "nothing was measured");
    // Content.
    let kind = key.statement(&package(), "https://slsa.dev/provenance/v0.2", &good());
    case.refuses(&kind, Step::Content, "a statement of type");
    let broken = key.statement(&package(), PROVENANCE, &json!({}));
    case.refuses(&broken, Step::Content, "does not read");
    let sourceless = with(&good(), "/buildDefinition/externalParameters", json!({}));
    let sourceless = with(&sourceless, "/buildDefinition/resolvedDependencies", json!([]));
    let sourceless = key.statement(&package(), PROVENANCE, &sourceless);
    case.refuses(&sourceless, Step::Content, "no source");
    // Policy: who, of what, how well, when.
    let of = |builder: &str, source: &str, at: UnixTime| {
        key.statement(&package(), PROVENANCE, &documents::provenance(builder, source, at))
    };
    let at = NOW.minus(DAY);
    case.refuses(&of("https://ci.example/builder2", SOURCE, at), Step::Policy, "built by");
    let fork = "https://git.example/mallory/planner";
    case.refuses(&of(BUILDER, fork, at), Step::Policy, "built of");
    case.refuses(&of("https://other.example", SOURCE, at), Step::Policy, "level 1, policy wants 2");
    let old = NOW.minus(time::Span::from_seconds(7 * 86_400));
    case.refuses(&of(BUILDER, SOURCE, old), Step::Policy, "too old");
    let future = NOW.plus(time::Span::from_seconds(31));
    case.refuses(&of(BUILDER, SOURCE, future), Step::Content, "now is");
    let timeless = with(&good(), "/runDetails/metadata", Value::Null);
    let timeless = key.statement(&package(), PROVENANCE, &timeless);
    case.refuses(&timeless, Step::Policy, "it does not say when");
    let ageless = case.under("/age_max", Value::Null);
    assert_eq!(ageless.appraise(&timeless).unwrap().until, None);
}

/// req: ATT-05 (part)
#[test]
fn s7_a_summary_counts_by_its_verifier() {
    let key = signer();
    let case = Case::new("provenance", rule(&key));
    let said = documents::summary(VERIFIER, 2, NOW.minus(DAY));
    let of = |said: &Value| key.statement(&package(), SUMMARY, said);
    let finding = case.appraise(&of(&said)).unwrap();
    assert_eq!(
        texts(&finding),
        [
            "provenance:level:1",
            "provenance:level:2",
            "provenance:signer:acme-ci",
            "provenance:verifier:https://verifier.example",
        ]
    );
    let failed = with(&said, "/verificationResult", json!("FAILED"));
    case.refuses(&of(&failed), Step::Content, "did not pass");
    let other = documents::summary("https://other.example", 2, NOW.minus(DAY));
    case.refuses(&of(&other), Step::Policy, "verified by `https://other.example`");
    let low = documents::summary(VERIFIER, 1, NOW.minus(DAY));
    case.refuses(&of(&low), Step::Policy, "level 1, policy wants 2");
    let old = documents::summary(VERIFIER, 2, NOW.minus(time::Span::from_seconds(7 * 86_400)));
    case.refuses(&of(&old), Step::Policy, "too old");
}

fn vector(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/sigstore");
    fs::read_to_string(format!("{path}/{name}.json")).unwrap()
}

/// Published bundles of sigstore/sigstore-conformance: the signer by issuer and exact name.
///
/// req: ATT-05 (part)
#[test]
fn s7_a_sigstore_bundle_counts_by_the_identity_in_its_certificate() {
    let subject = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/\
                   .github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
    let rule = json!({
        "signers": [{
            "name": "beacon", "issuer": "https://token.actions.githubusercontent.com",
            "subject": subject,
        }],
        "trusted_root": vector("public-good-trusted-root"),
        "builders": [{
            "id": "https://github.com/loosebazooka/aa-test/.github/workflows/provenance.yaml\
                   @refs/heads/main",
            "level": 2,
        }],
        "sources": ["https://github.com/loosebazooka/aa-test"],
        "age_max": 86_400,
    });
    let signed_at = UnixTime::from_seconds(1_734_374_576);
    let mut case = Case::new("provenance", rule).at(signed_at.plus(DAY).minus(super::SKEW));
    case.measured =
        vec!["a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf".to_owned()];
    let bundle = vector("happy-path-intoto-in-dsse-v3");
    let finding = case.appraise(bundle.as_bytes()).unwrap();
    assert!(texts(&finding).contains(&"provenance:signer:beacon"));
    assert_eq!(finding.until, Some(signed_at.plus(DAY)));
    case.at(signed_at.plus(DAY)).refuses(bundle.as_bytes(), Step::Policy, "too old");
    // One character more, one less, another issuer: another signer.
    for (member, other) in [
        ("subject", format!("{subject}x")),
        ("subject", subject.replace("/main", "")),
        ("issuer", "https://token.actions.githubusercontent.com/".to_owned()),
    ] {
        let other = case.under(&format!("/signers/0/{member}"), json!(other));
        other.refuses(bundle.as_bytes(), Step::Chain, "whom policy does not name");
    }
    // Keys do not name a certificate, and a log is not believed of another instance.
    let keys = json!([{ "name": "beacon", "keys": signer().keys() }]);
    case.under("/signers", keys).refuses(bundle.as_bytes(), Step::Chain, "does not name");
    let staging = case.under("/trusted_root", json!(vector("staging-trusted-root")));
    staging.refuses(bundle.as_bytes(), Step::Chain, "of a log that is not trusted");
    let keyed = json!({
        "signers": [{ "name": "a", "keys": signer().keys() }], "verifiers": [VERIFIER],
    });
    Case::new("provenance", keyed).refuses(bundle.as_bytes(), Step::Chain, "no `trusted_root`");
    let broken = vector("dsse-invalid-sig_fail");
    case.refuses(broken.as_bytes(), Step::Signature, "0 of the trusted keys");
}

#[test]
fn s7_policy_of_provenance_is_refused_where_it_would_take_anything() {
    let rule = rule(&signer());
    let check = |pointer: &str, new: Value, key: &str, words: &str| {
        faulty("provenance", &rule, pointer, new, key, words);
    };
    check("/more", json!(1), "", "unknown field `more`");
    check("/sources", json!([]), "sources", "anybody's code");
    check("/builders/0/level", json!(4), "level_min", "levels are 0 to 3");
    check("/level_min", json!(4), "level_min", "levels are 0 to 3");
    check("/sources", json!(vec!["a"; 257]), "builders", "more than 256");
    let nobody = with(&rule, "/builders", json!([]));
    faulty("provenance", &nobody, "/verifiers", json!([]), "builders", "nothing would be taken");
}
