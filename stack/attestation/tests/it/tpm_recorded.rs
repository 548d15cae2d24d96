//! Evidence that a TPM made, and the same with something changed.

use attestation::mechanism::{Facts, Mechanism as _, Role};
use attestation::policy::NodeRule;
use attestation::tpm_devid::{Mechanism, PcrValues, Refusal as Step};
use attestation::{Refusal, Selector};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::{Span, UnixTime};

const RECORDED: [&str; 2] = [
    include_str!("../../../../vectors/tpm/devid-ecc.json"),
    include_str!("../../../../vectors/tpm/devid-rsa.json"),
];

fn rule(vector: &Value) -> NodeRule {
    let input = &vector["input"];
    let text = |name: &str| input[name].as_str().unwrap().to_owned();
    let pcrs: PcrValues = serde_json::from_value(input["pcrs"].clone()).unwrap();
    let (anchors, endorsement_anchors) = (text("anchors"), text("endorsement_anchors"));
    NodeRule { anchors, endorsement_anchors, pcrs, ..NodeRule::default() }
}

fn nonce(vector: &Value) -> [u8; 32] {
    let hex = vector["input"]["nonce"].as_str().unwrap();
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..64).step_by(2).map(digit).collect::<Vec<_>>().try_into().unwrap()
}

fn appraise(
    vector: &Value,
    nonce: [u8; 32],
    now: UnixTime,
) -> Result<(String, Vec<String>), Refusal> {
    let rule = rule(vector);
    let facts = Facts::new(Role::Node, &rule, &nonce, now);
    let (evidence, response) =
        (vector["input"]["evidence"].to_string(), vector["input"]["response"].to_string());
    let found = Mechanism.appraise(evidence.as_bytes(), Some(response.as_bytes()), &facts)?;
    let selectors = found.selectors.iter().map(Selector::as_str).map(str::to_owned).collect();
    Ok((found.name, selectors))
}

fn now(vector: &Value) -> UnixTime {
    UnixTime::from_seconds(vector["now"].as_u64().unwrap())
}

/// req: ATT-03 (part), ATT-08 (part)
#[test]
fn s7_what_a_tpm_said_is_accepted_in_its_session_and_in_time() {
    for text in RECORDED {
        let vector: Value = serde_json::from_str(text).unwrap();
        let (name, selectors) = appraise(&vector, nonce(&vector), now(&vector)).unwrap();
        assert_eq!(json!({ "name": name, "selectors": selectors }), vector["expect"]);
        // The same answer in another session.
        let replayed = appraise(&vector, [9; 32], now(&vector));
        assert_eq!(replayed, Err(Step::DevidSignature.into()));
        let late = now(&vector).plus(Span::from_seconds(86_400 * 400));
        let late = appraise(&vector, nonce(&vector), late);
        assert!(matches!(late, Err(Refusal::TpmDevid(Step::DevidChain { .. }))), "{late:?}");
    }
}

/// req: ATT-03 (part)
#[test]
fn s7_what_a_tpm_said_is_refused_with_any_part_of_it_changed() {
    for text in RECORDED {
        let vector: Value = serde_json::from_str(text).unwrap();
        let evidence = [
            "/evidence/DevIDCert/0",
            "/evidence/DevIDPub",
            "/evidence/EKCert",
            "/evidence/EKPub",
            "/evidence/AKPub",
            "/evidence/CertifiedDevID",
            "/evidence/CertificationSignature",
            "/response/DevID",
            "/response/CredActivation",
            "/response/Quote/Attested",
            "/response/Quote/Signature",
            "/response/Quote/PCRs/7",
        ];
        for place in evidence {
            let bytes = vector["input"].pointer(place).unwrap().as_str().unwrap();
            let bytes = STANDARD.decode(bytes).unwrap();
            for at in [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
                let (mut changed, mut twin) = (bytes.clone(), vector.clone());
                changed[at] ^= 1;
                *twin["input"].pointer_mut(place).unwrap() = json!(STANDARD.encode(changed));
                let found = appraise(&twin, nonce(&vector), now(&vector));
                let refused = matches!(found, Err(Refusal::TpmDevid(_)));
                assert!(refused, "byte {at} of {place}: {found:?}");
            }
        }
    }
}

/// Evidence of one TPM beside the answer of another.
/// req: ATT-03 (part)
#[test]
fn s7_an_answer_is_for_its_own_evidence() {
    let [mut one, other] = RECORDED.map(|text| serde_json::from_str::<Value>(text).unwrap());
    one["input"]["response"] = other["input"]["response"].clone();
    let found = appraise(&one, nonce(&one), now(&one));
    assert_eq!(found, Err(Step::DevidSignature.into()));
}
