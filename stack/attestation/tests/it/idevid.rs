//! `idevid`: the identity of a device, with its key somewhere else than in a TPM.

use attestation::idevid::Mechanism;
use attestation::mechanism::{Facts, Mechanism as _, Role};
use attestation::{Refusal, Selector};
use x509::{CertificateDer, Name, Template};

use crate::x509pop::{
    AUTHORITY_KEY, HOST_KEY, NONCE, NOW, THEIRS, answer, authority, evidence, honest, issue, key,
    leaf, vendor,
};

/// X.520: a subject of one serialNumber, `7`.
fn device(edit: impl FnOnce(&mut Template)) -> CertificateDer {
    let subject = [0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 5, 0x13, 1, b'7'];
    let mut template = Template { subject: Name::read(&subject).unwrap(), ..leaf() };
    edit(&mut template);
    issue(&template, &key(AUTHORITY_KEY))
}

fn appraise(chain: &[CertificateDer], response: &str) -> Result<Vec<String>, Refusal> {
    let rule = vendor();
    let facts = Facts::new(Role::Node, &rule, &NONCE, NOW);
    let sent = evidence(chain);
    Mechanism.challenge(&sent, &facts)?;
    let found = Mechanism.appraise(&sent, Some(response.as_bytes()), &facts)?;
    assert_eq!((found.mechanism, found.once), ("idevid", false));
    Ok(found.selectors.iter().map(Selector::as_str).map(str::to_owned).collect())
}

/// req: ATT-08 (part)
#[test]
fn s7_a_device_is_known_by_the_identity_whose_key_it_has() {
    let selectors = appraise(&[device(|_| {})], &honest().to_string()).unwrap();
    assert!(selectors.contains(&"idevid:subject:serialnumber:7".to_owned()), "{selectors:?}");
    assert_eq!(selectors.len(), 2);
    let thief = answer(&key(AUTHORITY_KEY), &[NONCE, THEIRS].concat()).to_string();
    assert_eq!(appraise(&[device(|_| {})], &thief), Err(Refusal::Signature));
    let replayed = answer(&key(HOST_KEY), &[[9; 32], THEIRS].concat()).to_string();
    assert_eq!(appraise(&[device(|_| {})], &replayed), Err(Refusal::Signature));
    let stranger = issue(&leaf(), &key(HOST_KEY));
    let unknown = appraise(&[stranger], &honest().to_string());
    assert!(matches!(unknown, Err(Refusal::Chain { .. })), "{unknown:?}");
}

/// req: ATT-08 (part)
#[test]
fn s7_a_certificate_that_names_no_device_is_no_identity_of_one() {
    let host = issue(&leaf(), &key(AUTHORITY_KEY));
    assert_eq!(appraise(&[host], &honest().to_string()), Err(Refusal::NoDevice));
}

/// A certificate beside the chain gives no selector: whoever has a good chain could add any.
/// req: ATT-02 (part)
#[test]
fn s7_a_certificate_that_vouches_for_nothing_gives_no_selector() {
    let other = authority("vendor", &key(HOST_KEY));
    let selectors = appraise(&[device(|_| {}), other], &honest().to_string()).unwrap();
    assert!(!selectors.iter().any(|selector| selector.contains(":ca:")), "{selectors:?}");
}
