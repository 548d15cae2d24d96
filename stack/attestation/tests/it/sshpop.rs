//! `sshpop`: each check, over certificates that `ssh-keygen` made.

use attestation::mechanism::{Facts, Mechanism as _, RESPONSE_BYTES_MAX, Role, Step};
use attestation::policy::NodeRule;
use attestation::sshpop::{Mechanism, Refusal, signed};
use attestation::{Refusal as Refused, Selector};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use ssh::{Certificate, PrivateKeyFile};
use time::UnixTime;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const NONCE: [u8; 32] = [1; 32];
const THEIRS: [u8; 32] = [2; 32];

fn vector(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/ssh/");
    std::fs::read_to_string(format!("{path}{name}")).unwrap()
}

fn rule(settings: &Value) -> NodeRule {
    let own: Map<String, Value> = settings.as_object().unwrap().clone();
    NodeRule { own, ..NodeRule::default() }
}

fn trusting() -> NodeRule {
    let authorities = ["ed25519", "ecdsa", "rsa"].map(|kind| vector(&format!("ca_{kind}.pub")));
    rule(&json!({ "cert_authorities": authorities }))
}

fn evidence_of(bytes: &[u8]) -> Vec<u8> {
    json!({ "Certificate": STANDARD.encode(bytes) }).to_string().into_bytes()
}

fn evidence(name: &str) -> Vec<u8> {
    let certificate = Certificate::parse_line(&vector(&format!("{name}-cert.pub"))).unwrap();
    evidence_of(certificate.as_bytes())
}

/// What the host that has the key of `host_ed25519` answers.
fn answer(nonce: &[u8], theirs: &[u8]) -> Value {
    let file = PrivateKeyFile::parse(&vector("host_ed25519.private")).unwrap();
    let key = Ed25519KeyPair::from_seed_unchecked(file.secret.as_slice()).unwrap();
    let blob = STANDARD.encode(key.sign(&signed(nonce, theirs)).as_ref());
    let signature = json!({ "Format": "ssh-ed25519", "Blob": blob, "Rest": null });
    json!({ "Nonce": STANDARD.encode(theirs), "Signature": signature })
}

fn check(
    evidence: &[u8],
    answer: &Value,
    rule: &NodeRule,
    now: UnixTime,
) -> Result<attestation::Appraisal, Refused> {
    let facts = Facts::new(Role::Node, rule, &NONCE, now);
    Mechanism.appraise(evidence, Some(answer.to_string().as_bytes()), &facts)
}

/// req: ATT-02 (part)
#[test]
fn s7_a_host_joins_by_its_ssh_certificate() {
    let rule = trusting();
    let facts = Facts::new(Role::Node, &rule, &NONCE, NOW);
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let challenge = Mechanism.challenge(&evidence(&format!("host_{kind}")), &facts).unwrap();
        let challenge: Value = serde_json::from_slice(&challenge.unwrap()).unwrap();
        assert_eq!(challenge, json!({ "Nonce": STANDARD.encode(NONCE) }));
    }
    let evidence = evidence("host_ed25519");
    let found = check(&evidence, &answer(&NONCE, &THEIRS), &rule, NOW).unwrap();
    assert_eq!((found.mechanism, found.name.len(), found.once), ("sshpop", 43, false));
    let shown: Vec<_> = found.selectors.iter().map(Selector::as_str).collect();
    assert_eq!(shown.len(), 3);
    assert!(shown[0].starts_with("sshpop:ca:fingerprint:SHA256:"), "{shown:?}");
    assert_eq!(shown[1..], ["sshpop:principal:host-1", "sshpop:principal:host-1.example"]);
}

/// req: ATT-02 (part)
#[test]
fn s7_each_check_of_an_ssh_certificate_refuses() {
    let (rule, good, host) = (trusting(), answer(&NONCE, &THEIRS), evidence("host_ed25519"));
    let refused = |evidence: &[u8], answer: &Value, expect: Refusal| {
        assert_eq!(check(evidence, answer, &rule, NOW).err(), Some(expect.into()));
    };
    refused(&evidence("user"), &good, Refusal::NotForHosts);
    refused(&evidence("any"), &good, Refusal::NoPrincipal);
    let option = "source-address@example".to_owned();
    refused(&evidence("crit"), &good, Refusal::CriticalOption { option });
    let mut bytes = STANDARD
        .decode(serde_json::from_slice::<Value>(&host).unwrap()["Certificate"].as_str().unwrap())
        .unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    refused(&evidence_of(&bytes), &good, Refusal::Signature);
    // The answer to another challenge, of another key, in another format, with another nonce.
    refused(&host, &answer(&[3; 32], &THEIRS), Refusal::Proof);
    refused(&evidence("host_ecdsa"), &good, Refusal::Proof);
    let mut other = good.clone();
    other["Signature"]["Format"] = json!("ssh-rsa");
    refused(&host, &other, Refusal::Proof);
    let mut other = good.clone();
    other["Nonce"] = json!(STANDARD.encode([4; 32]));
    refused(&host, &other, Refusal::Proof);
    refused(&host, &answer(&NONCE, &[2; 31]), Refusal::Nonce { bytes: 31 });
    for (seconds, valid) in [
        (1_767_225_599, false),
        (1_767_225_600, true),
        (2_082_758_399, true),
        (2_082_758_400, false),
    ] {
        let found = check(&host, &good, &rule, UnixTime::from_seconds(seconds));
        assert_eq!(found.is_ok(), valid, "{seconds}");
    }
}

/// req: ATT-01 (part)
#[test]
fn s7_an_ssh_authority_is_one_of_policy() {
    let one = rule(&json!({ "cert_authorities": [vector("ca_ecdsa.pub")] }));
    let refused = check(&evidence("host_ed25519"), &answer(&NONCE, &THEIRS), &one, NOW);
    let Err(Refused::Failed { step, why, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(step, Step::Chain);
    assert!(why.starts_with("no authority of policy: SHA256:"), "{why}");
    let within = |domain: &str| {
        let own = json!({
            "cert_authorities": [vector("ca_ed25519.pub")], "canonical_domain": domain
        });
        check(&evidence("host_ed25519"), &answer(&NONCE, &THEIRS), &rule(&own), NOW).is_ok()
    };
    assert!(within("example"));
    for other in ["xample", "host-1.example", "example.org", ""] {
        assert!(!within(other), "{other}");
    }
}

#[test]
fn s7_an_ssh_answer_is_bounded_and_there() {
    let rule = trusting();
    let facts = Facts::new(Role::Node, &rule, &NONCE, NOW);
    let host = evidence("host_ed25519");
    assert_eq!(Mechanism.appraise(&host, None, &facts), Err(Refused::NoResponse));
    let (bytes, max) = (RESPONSE_BYTES_MAX + 1, RESPONSE_BYTES_MAX);
    let long = vec![b' '; bytes];
    let refused = Mechanism.appraise(&host, Some(&long), &facts);
    assert_eq!(refused, Err(Refused::TooLarge { bytes, max }));
}

#[test]
fn s7_policy_of_sshpop_names_authorities() {
    let faults = |own: Value| Mechanism.faults(&rule(&own));
    assert_eq!(faults(json!({ "cert_authorities": [vector("ca_rsa.pub")] })), []);
    for (own, key) in [
        (json!({}), ""),
        (json!({ "cert_authorities": [], "principals": ["a"] }), ""),
        (json!({ "cert_authorities": [] }), "cert_authorities"),
        (json!({ "cert_authorities": ["ssh-rsa AAAA"] }), "cert_authorities"),
        (json!({ "cert_authorities": [vector("host_rsa-cert.pub")] }), "cert_authorities"),
    ] {
        let found = faults(own);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, key, "{found:?}");
    }
}
