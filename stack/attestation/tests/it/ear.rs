//! Results of other verifiers, as a passport: each check refuses at its step.

use attestation::ear::Mechanism;
use attestation::mechanism::{Appraisal, Facts, Mechanism as _, Refusal, Role, Step};
use attestation::policy::NodeRule;
use jose::{Algorithm, KeyId, KeySet, PrivateKey, SigningInput};
use rats::{Claim, Ear, EarToken};
use serde_json::{Value, json};
use time::UnixTime;

const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
const NONCE: [u8; 32] = [4; 32];
const KEY: &[u8] = b"the key that asks";
const VERIFIER: &str = "https://verifier.example";

/// RFC 7515 §A.3, and RFC 7517 §A.2.
const VERIFIERS_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
const OTHER_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

fn b64(bytes: &[u8]) -> String {
    attestation::evidence::to_text(bytes)
}

fn policy() -> Value {
    let key = PrivateKey::from_jwk_private_text(VERIFIERS_KEY).unwrap();
    let jwk = key.public().to_jwk().with_kid(KeyId::parse("v1").unwrap());
    let keys = serde_json::to_string(&KeySet::new(vec![jwk]).unwrap()).unwrap();
    json!({ "issuer": VERIFIER, "keys": keys, "parts": ["cpu"] })
}

fn result() -> Value {
    json!({
        "eat_profile": "tag:ietf.org,2026:rats/ear#04", "iss": VERIFIER, "sub": "guest-7",
        "iat": NOW.seconds() - 5, "exp": NOW.seconds() + 600, "eat_nonce": b64(&NONCE),
        "ear_verifier_id": { "developer": "https://verifier.example", "build": "1" },
        "submods": {
            "cpu": {
                "ear_status": "affirming",
                "ear_trustworthiness_vector": { "instance-identity": 2, "hardware": 2 },
                "ear_appraisal_policy_ids": ["p"],
                "ear_veraison_key_attestation": { "akpub": b64(KEY) }
            },
            "boot": {
                "ear_status": "warning",
                "ear_trustworthiness_vector": { "executables": 33, "hardware": 32 },
                "ear_appraisal_policy_ids": ["p"]
            }
        }
    })
}

fn signed(claims: &Value, key: &str) -> Vec<u8> {
    let key = PrivateKey::from_jwk_private_text(key).unwrap();
    let kid = KeyId::parse("v1").unwrap();
    let claims: Ear = serde_json::from_value(claims.clone()).unwrap();
    let input = SigningInput::<EarToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string().into_bytes()
}

fn rule(policy: &Value) -> NodeRule {
    serde_json::from_value(policy.clone()).unwrap()
}

fn appraise(policy: &Value, text: &[u8], response: Option<&[u8]>) -> Result<Appraisal, Refusal> {
    let rule = rule(policy);
    let facts = Facts { key: KEY, ..Facts::new(Role::Node, &rule, &NONCE, NOW) };
    Mechanism.appraise(text, response, &facts)
}

/// req: ATT-04 (part), ATT-12 (part)
#[test]
fn ear_3_the_result_of_a_verifier_that_policy_names_counts_for_its_key_and_nonce() {
    let rule = rule(&policy());
    assert_eq!(Mechanism.faults(&rule), []);
    let facts = Facts { key: KEY, ..Facts::new(Role::Node, &rule, &NONCE, NOW) };
    let challenge = Mechanism.challenge(b"", &facts).unwrap().unwrap();
    assert_eq!(challenge, json!({ "nonce": b64(&NONCE) }).to_string().into_bytes());
    let text = signed(&result(), VERIFIERS_KEY);
    let found = appraise(&policy(), &text, None).unwrap();
    // A host, whose evidence comes before the challenge, has it as its answer.
    assert_eq!(appraise(&policy(), b"", Some(&text)).unwrap(), found);
    let shown: Vec<_> = found.selectors.iter().map(ToString::to_string).collect();
    let expect = [
        "ear:part:boot:warning",
        "ear:part:cpu:affirming",
        "ear:subject:guest-7",
        "ear:verifier:https://verifier.example",
    ];
    assert_eq!(shown, expect);
    // Of each claim the value trusted least.
    let value = |claim| found.vector.value(claim);
    assert_eq!((value(Claim::Hardware), value(Claim::InstanceIdentity)), (32, 2));
    assert_eq!((value(Claim::Executables), value(Claim::Configuration)), (33, 0));
    assert_eq!(found.until, Some(UnixTime::from_seconds(NOW.seconds() + 600)));
    assert!(!found.once);
}

/// req: ATT-04 (part)
#[test]
fn ear_3_a_result_that_is_not_for_us_counts_for_nothing() {
    let check = |pointer: &str, value: Value, step: Step| {
        let mut claims = result();
        match value {
            Value::Null => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                claims.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            }
            value => *claims.pointer_mut(pointer).unwrap() = value,
        }
        match appraise(&policy(), &signed(&claims, VERIFIERS_KEY), None) {
            Err(Refusal::Failed { step: found, why, .. }) => {
                assert_eq!(found, step, "{pointer}: {why}");
            }
            other => panic!("{pointer}: {other:?}"),
        }
    };
    let second = NOW.seconds();
    check("/iss", json!("https://other.example"), Step::Chain);
    check("/iss", Value::Null, Step::Chain);
    check("/exp", json!(second - 40), Step::Binding);
    check("/eat_nonce", json!(b64(&[5; 32])), Step::Binding);
    check("/eat_nonce", Value::Null, Step::Binding);
    check("/iat", json!(second - 300), Step::Binding);
    check("/iat", json!(second + 60), Step::Binding);
    let key = "/submods/cpu/ear_veraison_key_attestation";
    check(&format!("{key}/akpub"), json!(b64(b"another key")), Step::Binding);
    check(key, Value::Null, Step::Binding);
    let warning = json!({ "instance-identity": 2, "hardware": 32 });
    let mut cpu = result()["submods"]["cpu"].clone();
    cpu["ear_status"] = json!("warning");
    cpu["ear_trustworthiness_vector"] = warning;
    check("/submods/cpu", cpu.clone(), Step::Policy);
    cpu["ear_status"] = json!("affirming");
    cpu.as_object_mut().unwrap().remove("ear_trustworthiness_vector");
    check("/submods/cpu", cpu, Step::Policy);
    let mut boot = result()["submods"]["boot"].clone();
    boot["ear_status"] = json!("contraindicated");
    boot["ear_trustworthiness_vector"]["executables"] = json!(96);
    check("/submods/boot", boot, Step::Policy);
    // The key of a part that policy does not demand is not the one that was attested.
    let mut claims = result();
    claims["submods"]["boot"]["ear_veraison_key_attestation"] = json!({ "akpub": b64(KEY) });
    claims["submods"]["cpu"].as_object_mut().unwrap().remove("ear_veraison_key_attestation");
    let refused = appraise(&policy(), &signed(&claims, VERIFIERS_KEY), None).unwrap_err();
    assert!(matches!(refused, Refusal::Failed { step: Step::Binding, .. }), "{refused}");
    for (text, step) in [
        (signed(&result(), OTHER_KEY), Step::Signature),
        (b"a.b.c".to_vec(), Step::Form),
        (vec![0xff], Step::Form),
    ] {
        match appraise(&policy(), &text, None) {
            Err(Refusal::Failed { step: found, why, .. }) => assert_eq!(found, step, "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn s7_a_verifier_in_policy_has_keys_and_parts() {
    let check = |member: &str, value: Value, expect: &str| {
        let mut changed = policy();
        changed[member] = value;
        let faults = Mechanism.faults(&rule(&changed));
        let told: Vec<_> = faults.iter().map(|(key, why)| format!("{key}: {why}")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(expect), "{told:?}");
    };
    check("parts", json!([]), "parts: name the submodules");
    check("keys", json!(r#"{"keys":[]}"#), "keys: no key in it");
    check("colour", json!("red"), "unknown field `colour`");
}
