//! Statements and what they say, as keys sign them.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jose::PublicKey;
use provenance::{Envelope, IN_TOTO, Opened, Provenance, Resource, Statement, Summary, pae};
use serde_json::{Value, json};

use crate::with;

fn opened(payload: &Value) -> Opened {
    let key = Ed25519KeyPair::generate().unwrap();
    let payload = payload.to_string().into_bytes();
    let signature = key.sign(&pae(IN_TOTO, &payload));
    let envelope = json!({
        "payload": STANDARD.encode(&payload), "payloadType": IN_TOTO,
        "signatures": [{ "sig": STANDARD.encode(signature.as_ref()) }],
    });
    let spki = key.public_key().as_der().unwrap().as_ref().to_vec();
    let key = PublicKey::from_spki_der(&spki).unwrap();
    let envelope = Envelope::parse(envelope.to_string().as_bytes()).unwrap();
    envelope.verify(&[IN_TOTO], &[key], 1).unwrap()
}

fn provenance() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "agent", "digest": { "sha256": "ab".repeat(32) } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://ci.example/type/v1",
                "externalParameters": { "workflow": { "repository": "https://git.example/acme/agent" } },
                "resolvedDependencies": [
                    { "uri": "git+https://git.example/acme/other@refs/heads/main" },
                    {
                        "uri": "git+https://git.example/acme/agent@refs/heads/main",
                        "digest": { "gitCommit": "c0ffee" }
                    }
                ]
            },
            "runDetails": {
                "builder": { "id": "https://ci.example/builder" },
                "metadata": { "finishedOn": "2026-05-28T20:26:40Z" }
            }
        }
    })
}

fn summary() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": "ab".repeat(32) } }],
        "predicateType": "https://slsa.dev/verification_summary/v1",
        "predicate": {
            "verifier": { "id": "https://verifier.example" },
            "timeVerified": "2026-05-28T20:26:40Z",
            "resourceUri": "pkg:oci/agent",
            "policy": { "uri": "https://verifier.example/policy" },
            "verificationResult": "PASSED",
            "verifiedLevels": ["SLSA_BUILD_LEVEL_2", "SLSA_SOURCE_LEVEL_3", "SLSA_BUILD_LEVEL_9"]
        }
    })
}

/// req: ATT-05 (part)
#[test]
fn slsa_provenance_says_builder_source_and_time() {
    let statement = Statement::read(&opened(&provenance())).unwrap();
    assert!(statement.subject_of("sha256", &"ab".repeat(32)).is_some());
    assert!(statement.subject_of("sha256", &"ac".repeat(32)).is_none());
    assert!(statement.subject_of("sha512", &"ab".repeat(32)).is_none());
    let said = Provenance::read(&statement).unwrap();
    assert_eq!(said.builder, "https://ci.example/builder");
    assert_eq!(said.build_type, "https://ci.example/type/v1");
    let source = said.source.unwrap();
    assert_eq!(source.repository(), "https://git.example/acme/agent");
    assert_eq!(source.digests["gitCommit"], "c0ffee");
    assert_eq!(said.finished.unwrap().seconds(), 1_780_000_000);
    assert!(Summary::read(&statement).is_err());
}

#[test]
fn slsa_the_source_is_what_was_asked_for_or_the_first_dependency() {
    let source = |value: &Value| {
        let said = Provenance::read(&Statement::read(&opened(value)).unwrap()).unwrap();
        said.source.map(|source| source.repository().to_owned())
    };
    let parameters = "/predicate/buildDefinition/externalParameters";
    let dependencies = "/predicate/buildDefinition/resolvedDependencies";
    let unasked = with(&provenance(), parameters, json!({}));
    assert_eq!(source(&unasked).as_deref(), Some("https://git.example/acme/other"));
    assert_eq!(source(&with(&unasked, dependencies, json!([]))), None);
    let alone = with(&provenance(), dependencies, json!([]));
    assert_eq!(source(&alone).as_deref(), Some("https://git.example/acme/agent"));
    for (uri, expect) in [
        ("git+https://me@git.example/a/b@v1", "https://me@git.example/a/b"),
        ("https://git.example/a/b", "https://git.example/a/b"),
        ("git+ssh://git@git.example", "ssh://git@git.example"),
        ("a@b", "a@b"),
    ] {
        let resource = Resource { uri: uri.to_owned(), digests: Default::default() };
        assert_eq!(resource.repository(), expect);
    }
}

#[test]
fn slsa_a_summary_says_who_verified_what_level() {
    let read = |value: &Value| Summary::read(&Statement::read(&opened(value)).unwrap());
    let said = read(&summary()).unwrap();
    assert_eq!((said.verifier.as_str(), said.passed), ("https://verifier.example", true));
    assert_eq!((said.build_level, said.verified_at.seconds()), (2, 1_780_000_000));
    let failed = with(&summary(), "/predicate/verificationResult", json!("FAILED"));
    assert!(!read(&failed).unwrap().passed);
    for (pointer, new, expect) in [
        ("/predicate/verificationResult", json!("passed"), "neither `PASSED` nor `FAILED`"),
        ("/predicate/timeVerified", json!("yesterday"), "`yesterday` is no instant"),
        ("/predicate/verifier", Value::Null, "missing field `verifier`"),
        ("/predicate/verifiedLevels", json!(vec!["a"; 33]), "33 entries in one list"),
        ("/predicateType", json!("https://slsa.dev/provenance/v1"), "a predicate of type"),
    ] {
        let refused = read(&with(&summary(), pointer, new)).unwrap_err().to_string();
        assert!(refused.contains(expect), "{pointer}: {refused}");
    }
}

#[test]
fn in_toto_statements_that_do_not_read() {
    let subject = |digest: Value| json!([{ "digest": digest }]);
    for (pointer, new, expect) in [
        ("/_type", json!("https://in-toto.io/Statement/v0.1"), "a statement of type"),
        ("/subject", json!([]), "0 subjects"),
        ("/subject", json!(vec![provenance()["subject"][0].clone(); 257]), "257 subjects"),
        ("/subject", json!([{ "name": "agent" }]), "a subject with 0 digests"),
        ("/subject", subject(json!({ "sha256": "AB".repeat(32) })), "a digest `sha256` that"),
        ("/subject", subject(json!({ "sha256": "ab" })), "a digest `sha256` that"),
        ("/subject", subject(json!({ "sha512": "ab".repeat(32) })), "a digest `sha512` that"),
        ("/predicateType", Value::Null, "missing field `predicateType`"),
    ] {
        let refused = Statement::read(&opened(&with(&provenance(), pointer, new))).unwrap_err();
        assert!(refused.to_string().contains(expect), "{pointer}: {refused}");
    }
    // A digest of an algorithm that is not known is kept, and matches by nothing else.
    let other = with(&provenance(), "/subject", subject(json!({ "gitCommit": "c0ffee" })));
    assert!(Statement::read(&opened(&other)).unwrap().subject_of("sha256", "c0ffee").is_none());
    let no_builder = with(&provenance(), "/predicate/runDetails/builder/id", json!(""));
    let refused = Provenance::read(&Statement::read(&opened(&no_builder)).unwrap()).unwrap_err();
    assert_eq!(refused.to_string(), "no builder");
}
