//! `x509pop`: each check, over real certificates and signatures.

use attestation::mechanism::{EVIDENCE_BYTES_MAX, Facts, Mechanism as _, RESPONSE_BYTES_MAX, Role};
use attestation::policy::NodeRule;
use attestation::x509pop::{CERTIFICATES_MAX, Mechanism};
use attestation::{Refusal, Selector};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jose::PrivateKey;
use serde_json::{Value, json};
use time::{Span, UnixTime};
use x509::{
    Certificate, CertificateDer, KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template,
    ecdsa_der_from_fixed,
};

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
pub(crate) const DAY: Span = Span::from_seconds(86_400);
pub(crate) const NONCE: [u8; 32] = [1; 32];
pub(crate) const THEIRS: [u8; 32] = [2; 32];
/// RFC 7515 §A.3.
pub(crate) const AUTHORITY_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// RFC 7517 §A.2.
pub(crate) const HOST_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

pub(crate) fn key(text: &str) -> PrivateKey {
    PrivateKey::from_jwk_private_text(text).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(None, Some(text)).unwrap()
}

pub(crate) fn issue(template: &Template, key: &PrivateKey) -> CertificateDer {
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).unwrap();
    unsigned.attach(&signature)
}

pub(crate) fn leaf() -> Template {
    Template {
        serial: Serial::from_random([7; 16]),
        issuer: name("vendor"),
        subject: name("host"),
        not_before: NOW.minus(DAY),
        not_after: NOW.plus(DAY),
        spki_der: key(HOST_KEY).public().spki_der().to_vec(),
        kind: Kind::Leaf,
        uri_names: Vec::new(),
        dns_names: vec!["host-1.example".to_owned()],
        ip_names: Vec::new(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![Oid::CLIENT_AUTH],
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    }
}

pub(crate) fn authority(text: &str, key: &PrivateKey) -> CertificateDer {
    let template = Template {
        issuer: name(text),
        subject: name(text),
        spki_der: key.public().spki_der().to_vec(),
        kind: Kind::Authority { path_len: None },
        dns_names: Vec::new(),
        key_usage: KeyUsage::KEY_CERT_SIGN,
        extended_key_usages: Vec::new(),
        ..leaf()
    };
    issue(&template, key)
}

/// A host as the vendor made it, after `edit`.
fn host(edit: impl FnOnce(&mut Template)) -> CertificateDer {
    let mut template = leaf();
    edit(&mut template);
    issue(&template, &key(AUTHORITY_KEY))
}

pub(crate) fn evidence(chain: &[CertificateDer]) -> Vec<u8> {
    let certificates: Vec<_> = chain.iter().map(|der| STANDARD.encode(der.as_bytes())).collect();
    serde_json::to_vec(&json!({ "certificates": certificates })).unwrap()
}

/// What a host answers that signs `message` with `key`.
pub(crate) fn answer(key: &PrivateKey, message: &[u8]) -> Value {
    let signature = ecdsa_der_from_fixed(key.sign(message).as_bytes()).unwrap();
    json!({ "nonce": STANDARD.encode(THEIRS), "signature": STANDARD.encode(signature) })
}

pub(crate) fn honest() -> Value {
    answer(&key(HOST_KEY), &[NONCE, THEIRS].concat())
}

pub(crate) fn trusting(anchors: &str) -> NodeRule {
    NodeRule { anchors: anchors.to_owned(), ..NodeRule::default() }
}

pub(crate) fn vendor() -> NodeRule {
    trusting(&authority("vendor", &key(AUTHORITY_KEY)).to_pem())
}

fn appraise(
    evidence: &[u8],
    response: Option<&[u8]>,
    rule: &NodeRule,
) -> Result<(String, Vec<String>), Refusal> {
    let facts = Facts::new(Role::Node, rule, &NONCE, NOW);
    let found = Mechanism.appraise(evidence, response, &facts)?;
    assert_eq!((found.mechanism, found.once), ("x509pop", false));
    let selectors = found.selectors.iter().map(Selector::as_str).map(str::to_owned).collect();
    Ok((found.name, selectors))
}

fn hex(certificate: &Certificate) -> String {
    certificate.fingerprint_sha256().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// req: ATT-02 (part), ATT-08 (part)
#[test]
fn s7_a_host_is_known_by_the_certificate_whose_key_it_has() {
    let (vendor_key, middle_key) = (key(AUTHORITY_KEY), key(AUTHORITY_KEY));
    let middle = Template {
        issuer: name("vendor"),
        subject: name("factory"),
        spki_der: middle_key.public().spki_der().to_vec(),
        kind: Kind::Authority { path_len: Some(0) },
        dns_names: Vec::new(),
        key_usage: KeyUsage::KEY_CERT_SIGN,
        extended_key_usages: Vec::new(),
        ..leaf()
    };
    let middle = issue(&middle, &vendor_key);
    let leaf = issue(&Template { issuer: name("factory"), ..leaf() }, &middle_key);
    let (name, selectors) = appraise(
        &evidence(&[leaf.clone(), middle.clone()]),
        Some(honest().to_string().as_bytes()),
        &vendor(),
    )
    .unwrap();
    let (leaf, middle) = (leaf.parse().unwrap(), middle.parse().unwrap());
    assert_eq!(name, hex(&leaf));
    let expect = [
        format!("x509pop:ca:fingerprint:{}", hex(&middle)),
        format!("x509pop:fingerprint:{}", hex(&leaf)),
        "x509pop:san:dns:host-1.example".to_owned(),
        format!("x509pop:serialnumber:{}", leaf.serial()),
    ];
    assert_eq!(selectors, expect);
}

#[test]
fn s7_the_challenge_is_the_nonce_of_this_session() {
    let rule = vendor();
    let facts = Facts::new(Role::Node, &rule, &NONCE, NOW);
    let sent = Mechanism.challenge(&evidence(&[host(|_| {})]), &facts).unwrap().unwrap();
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(sent, json!({ "nonce": STANDARD.encode(NONCE) }));
    // Nothing is asked of a host whose certificate nobody vouches for.
    let stranger = issue(&leaf(), &key(HOST_KEY));
    let refused = Mechanism.challenge(&evidence(&[stranger]), &facts);
    assert!(matches!(refused, Err(Refusal::Chain { .. })), "{refused:?}");
}

/// req: ATT-02 (part), ATT-08 (part)
#[test]
fn s7_a_chain_that_policy_does_not_trust_proves_nothing() {
    let check = |chain: &[CertificateDer], rule: &NodeRule, words: &str| {
        let response = honest().to_string();
        match appraise(&evidence(chain), Some(response.as_bytes()), rule) {
            Err(Refusal::Chain { why }) => assert!(why.contains(words), "{why}"),
            other => assert_eq!(other.err(), None, "{words}"),
        }
    };
    let good = host(|_| {});
    let other = trusting(&authority("vendor", &key(HOST_KEY)).to_pem());
    check(std::slice::from_ref(&good), &other, "signature");
    let other = trusting(&authority("other", &key(AUTHORITY_KEY)).to_pem());
    check(std::slice::from_ref(&good), &other, "no trust anchor");
    check(std::slice::from_ref(&good), &trusting(""), "anchors in policy");
    check(
        &[good],
        &trusting("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
        "anchors in policy",
    );
    let old = host(|template| template.not_after = NOW.minus(Span::from_seconds(1)));
    check(&[old], &vendor(), "expired");
    let early = host(|template| template.not_before = NOW.plus(Span::from_seconds(1)));
    check(&[early], &vendor(), "not valid before");
    let server = host(|template| template.extended_key_usages = vec![Oid::SERVER_AUTH]);
    check(&[server], &vendor(), "purpose");
    let is_authority = host(|template| {
        template.kind = Kind::Authority { path_len: None };
        template.key_usage = KeyUsage::DIGITAL_SIGNATURE.with(KeyUsage::KEY_CERT_SIGN);
    });
    check(&[is_authority], &vendor(), "authority");
}

#[test]
fn s7_a_key_that_may_not_sign_proves_nothing() {
    let agreement = host(|template| template.key_usage = KeyUsage::KEY_AGREEMENT);
    let response = honest().to_string();
    let found = appraise(&evidence(&[agreement]), Some(response.as_bytes()), &vendor());
    assert_eq!(found, Err(Refusal::KeyUsage));
}

/// The certificate is public: whoever copied it, or recorded an answer, has not its key.
/// req: ATT-02 (part), ATT-08 (part)
#[test]
fn s7_only_the_key_answers_the_challenge() {
    let (host_key, thief) = (key(HOST_KEY), key(AUTHORITY_KEY));
    let refused = |response: Value| {
        let response = response.to_string();
        let found = appraise(&evidence(&[host(|_| {})]), Some(response.as_bytes()), &vendor());
        assert_eq!(found, Err(Refusal::Signature), "{response}");
    };
    refused(answer(&thief, &[NONCE, THEIRS].concat()));
    // An answer to another session; the two nonces swapped; one of them alone.
    refused(answer(&host_key, &[[9; 32], THEIRS].concat()));
    refused(answer(&host_key, &[THEIRS, NONCE].concat()));
    refused(answer(&host_key, &NONCE));
    // The host's own nonce exchanged after it signed.
    let mut changed = honest();
    changed["nonce"] = json!(STANDARD.encode([3; 32]));
    refused(changed);
    let mut empty = honest();
    empty["signature"] = json!("");
    refused(empty);
    let found = appraise(&evidence(&[host(|_| {})]), None, &vendor());
    assert_eq!(found, Err(Refusal::NoResponse));
}

#[test]
fn s7_evidence_is_bounded_and_read_strictly() {
    let malformed = |evidence: &[u8], response: &[u8], words: &str| match appraise(
        evidence,
        Some(response),
        &vendor(),
    ) {
        Err(Refusal::Malformed { why }) => assert!(why.contains(words), "{why}"),
        other => assert_eq!(other.err(), None, "{words}"),
    };
    let (one, honest) = (host(|_| {}), honest().to_string());
    let good = evidence(std::slice::from_ref(&one));
    malformed(b"{", honest.as_bytes(), "EOF");
    malformed(&evidence(&[]), honest.as_bytes(), "0 certificates");
    let many = vec![one; CERTIFICATES_MAX + 1];
    malformed(&evidence(&many), honest.as_bytes(), "7 certificates");
    malformed(br#"{"certificates":["*"]}"#, honest.as_bytes(), "");
    malformed(br#"{"certificates":["MAA="]}"#, honest.as_bytes(), "certificate");
    malformed(&good, b"{}", "nonce");
    for (nonce, signature, words) in [
        (STANDARD.encode([1; 31]), "AA==".to_owned(), "31 bytes"),
        (STANDARD.encode([1; 33]), "AA==".to_owned(), "33 bytes"),
        ("*".to_owned(), "AA==".to_owned(), ""),
        (STANDARD.encode([1; 32]), "*".to_owned(), ""),
    ] {
        let response = json!({ "nonce": nonce, "signature": signature }).to_string();
        malformed(&good, response.as_bytes(), words);
    }
    let big = vec![b' '; EVIDENCE_BYTES_MAX + 1];
    let too_large = |bytes, max| Err(Refusal::TooLarge { bytes, max });
    let found = appraise(&big, Some(honest.as_bytes()), &vendor());
    assert_eq!(found, too_large(EVIDENCE_BYTES_MAX + 1, EVIDENCE_BYTES_MAX));
    let big = vec![b' '; RESPONSE_BYTES_MAX + 1];
    let found = appraise(&good, Some(&big), &vendor());
    assert_eq!(found, too_large(RESPONSE_BYTES_MAX + 1, RESPONSE_BYTES_MAX));
}

/// What SPIRE's plugin answers: the numbers as Go writes them, without leading zeros.
fn spire_answer(key: &PrivateKey, message: &[u8]) -> Value {
    let signature = key.sign(message);
    let (r, s) = signature.as_bytes().split_at(32);
    let short = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        STANDARD.encode(&number[zeros..])
    };
    let answer = json!({ "nonce": STANDARD.encode(THEIRS), "r": short(r), "s": short(s) });
    json!({ "rsa_signature": null, "ecdsa_signature": answer })
}

fn appraise_spire(response: &Value) -> Result<String, Refusal> {
    let rule = vendor();
    let facts = Facts::new(Role::SpireAgent, &rule, &NONCE, NOW);
    let response = response.to_string();
    let found =
        Mechanism.appraise(&evidence(&[host(|_| {})]), Some(response.as_bytes()), &facts)?;
    Ok(found.name)
}

/// req: ATT-02 (part)
#[test]
fn s7_a_spire_agent_is_challenged_and_answers_as_its_plugin_does() {
    let rule = vendor();
    let facts = Facts::new(Role::SpireAgent, &rule, &NONCE, NOW);
    let leaf = host(|_| {});
    let sent =
        Mechanism.challenge(&evidence(std::slice::from_ref(&leaf)), &facts).unwrap().unwrap();
    let expect = format!(r#"{{"ecdsa_signature":{{"nonce":"{}"}}}}"#, STANDARD.encode(NONCE));
    assert_eq!(String::from_utf8(sent).unwrap(), expect);
    let host_key = key(HOST_KEY);
    let message = [NONCE, THEIRS].concat();
    // Enough for a number that begins with a zero byte.
    for _ in 0..600 {
        let found = appraise_spire(&spire_answer(&host_key, &message));
        assert!(found.is_ok(), "{found:?}");
    }
}

/// req: ATT-02 (part)
#[test]
fn s7_a_spire_agent_without_the_key_proves_nothing() {
    let (host_key, thief) = (key(HOST_KEY), key(AUTHORITY_KEY));
    let message = [NONCE, THEIRS].concat();
    let refused = |response: Value| assert_eq!(appraise_spire(&response), Err(Refusal::Signature));
    refused(spire_answer(&thief, &message));
    refused(spire_answer(&host_key, &[[9; 32], THEIRS].concat()));
    let changed = |member: &str, value: Vec<u8>| {
        let mut response = spire_answer(&host_key, &message);
        response["ecdsa_signature"][member] = json!(STANDARD.encode(value));
        response
    };
    refused(changed("nonce", vec![3; 32]));
    refused(changed("r", vec![0; 32]));
    refused(changed("s", vec![1; 33]));
    for bad in [
        changed("nonce", vec![2; 31]),
        json!({ "ecdsa_signature": null }),
        json!({ "rsa_signature": { "nonce": STANDARD.encode(THEIRS), "signature": "AA==" } }),
        honest(),
    ] {
        let found = appraise_spire(&bad);
        assert!(matches!(found, Err(Refusal::Malformed { .. })), "{found:?}");
    }
    // What a SPIRE agent says is no answer of a node.
    let said = spire_answer(&host_key, &message).to_string();
    let found = appraise(&evidence(&[host(|_| {})]), Some(said.as_bytes()), &vendor());
    assert!(matches!(found, Err(Refusal::Malformed { .. })), "{found:?}");
}
