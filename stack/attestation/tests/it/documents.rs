//! Documents that clouds sign about their machines: each check, over messages that `openssl` made.

use attestation::mechanism::{Facts, Mechanism as _, Role, Step};
use attestation::policy::NodeRule;
use attestation::{Appraisal, Refusal, aws_iid, azure_imds};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::UnixTime;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
/// The messages for Azure are made for this nonce and this key.
const NONCE: [u8; 32] = [1; 32];
const KEY: &[u8] = b"the key that asks";

fn bytes(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/cms/");
    std::fs::read(format!("{path}{name}")).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

fn rule(own: &Value, anchors: &str) -> NodeRule {
    NodeRule {
        own: own.as_object().unwrap().clone(),
        anchors: anchors.to_owned(),
        ..NodeRule::default()
    }
}

fn facts(rule: &NodeRule, now: UnixTime) -> Facts<'_> {
    Facts { key: KEY, ..Facts::new(Role::Node, rule, &NONCE, now) }
}

fn step(found: Result<Appraisal, Refusal>) -> Step {
    match found {
        Err(Refusal::Failed { step, .. }) => step,
        other => panic!("{other:?}"),
    }
}

fn amazon(regions: Value) -> Value {
    json!({ "accounts": ["123456789012"], "regions": regions })
}

fn aws(
    policy: &Value,
    message: &[u8],
    document: &str,
    now: UnixTime,
) -> Result<Appraisal, Refusal> {
    let base64 = STANDARD.encode(message);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let evidence = json!({
        "document": document, "signature": "c2lnbmF0dXJl", "rsa2048": lines.join("\n")
    });
    let rule = rule(policy, "");
    aws_iid::Mechanism.appraise(evidence.to_string().as_bytes(), None, &facts(&rule, now))
}

/// req: ATT-02 (part), ATT-08 (part)
#[test]
fn s7_an_instance_joins_by_its_identity_document() {
    let policy = amazon(json!({
        "region-1": text("region-1.pem"), "us-east-1": text("amazon-us-east-1.pem")
    }));
    assert_eq!(aws_iid::Mechanism.faults(&rule(&policy, "")), []);
    // In basic encoding with signed attributes, as Amazon writes it; and without either.
    for name in ["aws-region-1.ber", "aws-noattr.der"] {
        let found = aws(&policy, &bytes(name), "", NOW).unwrap();
        assert_eq!(found.name, "123456789012/region-1/i-0123456789abcdef0", "{name}");
        assert!(found.once, "the first to join is believed");
        let shown: Vec<_> = found.selectors.iter().map(|one| one.as_str().to_owned()).collect();
        assert_eq!(
            shown,
            [
                "aws_iid:account_id:123456789012",
                "aws_iid:az:region-1a",
                "aws_iid:image:id:ami-0abcdef1234567890",
                "aws_iid:instance:id:i-0123456789abcdef0",
                "aws_iid:region:region-1",
            ]
        );
    }
    let mut again = policy.clone();
    again["reattest"] = json!(true);
    assert!(!aws(&again, &bytes("aws-noattr.der"), "", NOW).unwrap().once);
}

/// req: ATT-02 (part), ATT-01 (part)
#[test]
fn s7_each_check_of_an_identity_document_refuses() {
    let (one, two) = (text("region-1.pem"), text("region-2.pem"));
    let policy = amazon(json!({ "region-1": one, "region-2": two }));
    let good = bytes("aws-region-1.ber");
    let check = |message: &[u8], document: &str| step(aws(&policy, message, document, NOW));
    // The signed document counts, and the one beside it must be the same.
    assert_eq!(check(&good, "{\"accountId\":\"1\"}"), Step::Binding);
    // Region 2 signed what region 1 says; a certificate under another region's name.
    assert_eq!(check(&bytes("aws-region-2.der"), ""), Step::Content);
    let mixed = amazon(json!({ "region-2": one }));
    assert_eq!(step(aws(&mixed, &good, "", NOW)), Step::Content);
    let other = amazon(json!({ "region-2": two }));
    assert_eq!(step(aws(&other, &good, "", NOW)), Step::Chain);
    assert_eq!(step(aws(&policy, &good, "", UnixTime::from_seconds(1))), Step::Chain);
    // One digit of the account changed.
    let mut forged = good.clone();
    let at = forged.windows(12).position(|found| found == b"123456789012").unwrap();
    forged[at] = b'9';
    assert_eq!(check(&forged, ""), Step::Signature);
    let mut forged = good.clone();
    let last = forged.iter().rposition(|byte| *byte != 0).unwrap();
    forged[last] ^= 1;
    assert_eq!(check(&forged, ""), Step::Signature);
    assert_eq!(check(&good[..300], ""), Step::Form);
    assert_eq!(check(b"", ""), Step::Form);
    let mut strangers = policy.clone();
    strangers["accounts"] = json!(["210987654321"]);
    assert_eq!(step(aws(&strangers, &good, "", NOW)), Step::Policy);
}

#[test]
fn s7_policy_of_aws_names_accounts_and_regions() {
    let faults = |own: Value| {
        let found = aws_iid::Mechanism.faults(&rule(&own, ""));
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(faults(json!({})), [""]);
    assert_eq!(faults(json!({ "accounts": ["1"], "regions": {} })), ["accounts", "regions"]);
    assert_eq!(faults(amazon(json!({ "region-1": "no pem" }))), ["regions.region-1"]);
}

const SUBSCRIPTION: &str = "8d10da13-8125-4ba9-a717-bf7490507b3d";

fn azure_policy() -> NodeRule {
    let tenant = json!({ "tenant_id": "tenant-1", "subscriptions": [SUBSCRIPTION] });
    let own = json!({ "tenants": { "acme.onmicrosoft.com": tenant } });
    rule(&own, &text("azure-root.pem"))
}

fn answer(message: &[u8], domain: &str) -> Vec<u8> {
    json!({
        "document": { "encoding": "pkcs7", "signature": STANDARD.encode(message) },
        "metadata": { "agentDomain": domain }
    })
    .to_string()
    .into_bytes()
}

fn azure(rule: &NodeRule, message: &str, now: UnixTime) -> Result<Appraisal, Refusal> {
    let answer = answer(&bytes(message), "acme.onmicrosoft.com");
    azure_imds::Mechanism.appraise(b"{}", Some(&answer), &facts(rule, now))
}

/// req: ATT-02 (part), ATT-08 (part)
#[test]
fn s7_a_machine_joins_by_a_document_that_azure_attested() {
    let rule = azure_policy();
    assert_eq!(azure_imds::Mechanism.faults(&rule), []);
    let facts = facts(&rule, NOW);
    let challenge = azure_imds::Mechanism.challenge(b"{}", &facts).unwrap().unwrap();
    assert_eq!(challenge, b"1474552013");
    let found = azure(&rule, "azure.der", NOW).unwrap();
    let vm = "02aab8a4-74ef-476e-8182-f6d2ba4166a6";
    assert_eq!(found.name, format!("tenant-1/{SUBSCRIPTION}/{vm}"));
    assert!(found.once);
    let selector = format!("azure_imds:subscription-id:{SUBSCRIPTION}");
    assert!(found.selectors.iter().all(|one| one.as_str() == selector));
}

/// req: ATT-02 (part), ATT-01 (part)
#[test]
fn s7_each_check_of_an_attested_document_refuses() {
    let rule = azure_policy();
    let check = |message: &str| step(azure(&rule, message, NOW));
    assert_eq!(check("azure-nonce.der"), Step::Binding);
    assert_eq!(check("azure-sha1.der"), Step::Form);
    // Signed by a certificate of the right name that nobody vouches for; the same with Azure's own
    // certificate put into the bag beside it; by a host that the same authority knows.
    assert_eq!(check("azure-fake.der"), Step::Chain);
    assert_eq!(check("azure-bag.der"), Step::Chain);
    assert_eq!(check("azure-other-name.der"), Step::Chain);
    assert_eq!(check("aws-noattr.der"), Step::Chain);
    for (seconds, valid) in [
        (1_799_999_669, false),
        (1_799_999_670, true),
        (1_800_021_299, true),
        (1_800_021_300, false),
    ] {
        let found = azure(&rule, "azure.der", UnixTime::from_seconds(seconds));
        assert_eq!(found.is_ok(), valid, "{seconds}: {found:?}");
    }
    // For another session, and for another key.
    let answered = answer(&bytes("azure.der"), "acme.onmicrosoft.com");
    let facts = facts(&rule, NOW);
    for other in [Facts { nonce: &[2; 32], ..facts }, Facts { key: b"another", ..facts }] {
        let found = azure_imds::Mechanism.appraise(b"{}", Some(&answered), &other);
        assert_eq!(step(found), Step::Binding);
    }
    let stranger = answer(&bytes("azure.der"), "evil.onmicrosoft.com");
    let found = azure_imds::Mechanism.appraise(b"{}", Some(&stranger), &facts);
    assert_eq!(step(found), Step::Policy);
    let none = azure_imds::Mechanism.appraise(b"{}", None, &facts);
    assert_eq!(none, Err(Refusal::NoResponse));
    let mut closed = azure_policy();
    closed.own["tenants"]["acme.onmicrosoft.com"]["subscriptions"] = json!(["other"]);
    assert_eq!(step(azure(&closed, "azure.der", NOW)), Step::Policy);
}
