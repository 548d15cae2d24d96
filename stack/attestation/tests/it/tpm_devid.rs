//! `tpm_devid`: each step refuses what the step before let through.

use attestation::tpm_devid::{Bytes, Refusal as Step, Response};
use attestation::{Refusal, Selector};
use tpm::{Attested, Attributes, BadSignature, CredentialError, Key, Malformed, Symmetric};
use x509::{KeyUsage, Oid};

use crate::soft_tpm::{Host, PCR, attest};
use crate::x509pop::{AUTHORITY_KEY, HOST_KEY, key, name};

/// The step at which a host is refused that has this changed.
fn refused(edit: impl FnOnce(&mut Host)) -> Step {
    let mut host = Host::new();
    edit(&mut host);
    step(host.joins(|_, _| {}).map(|found| found.name))
}

/// The same of a host whose answer has this changed; policy names PCRs.
fn refused_answer(edit: impl FnOnce(&Host, &mut Response)) -> Step {
    step(Host::new().measured(PCR).joins(edit).map(|found| found.name))
}

fn step(found: Result<String, Refusal>) -> Step {
    match found {
        Err(Refusal::TpmDevid(step)) => step,
        other => panic!("{other:?}"),
    }
}

/// req: ATT-03 (part), ATT-08 (part)
#[test]
fn s7_a_host_is_known_by_the_devid_that_lives_in_a_tpm() {
    let host = Host::new();
    let found = host.joins(|_, _| {}).unwrap();
    assert_eq!((found.mechanism, found.name.len(), found.once), ("tpm_devid", 64, false));
    let names: Vec<_> = found.selectors.iter().map(Selector::name).collect();
    let expect = ["endorsement", "fingerprint", "issuer", "subject"];
    assert_eq!(names, expect.map(|name| format!("tpm_devid:{name}")));
    let has = |text: &str| found.selectors.iter().any(|selector| selector.as_str() == text);
    assert!(has("tpm_devid:subject:cn:host") && has("tpm_devid:issuer:cn:vendor"));
}

/// req: ATT-03 (part)
#[test]
fn s7_where_policy_names_pcrs_a_host_shows_them() {
    let found = Host::new().measured(PCR).joins(|_, _| {}).unwrap();
    let pcr = format!("tpm_devid:pcr:7:{}", "05".repeat(32));
    assert!(found.selectors.iter().any(|selector| selector.as_str() == pcr));
    let other = Host::new().measured([6; 32]).joins(|_, _| {}).map(|found| found.name);
    assert_eq!(step(other), Step::Pcr { index: 0, found: "05".repeat(32) });
}

/// req: ATT-03 (part), ATT-08 (part)
#[test]
fn s7_the_devid_certificate_ends_at_policys_anchors() {
    let chain = |edit: fn(&mut Host), words: &str| match refused(edit) {
        Step::DevidChain { why } => assert!(why.contains(words), "{why}"),
        other => panic!("{other}"),
    };
    chain(|host| host.devid_issuer = key(HOST_KEY), "signature");
    chain(|host| host.devid_template.issuer = name("other"), "no trust anchor");
    chain(|host| host.devid_template.not_after = host.devid_template.not_before, "expired");
    chain(|host| host.rule.anchors.clear(), "anchors in policy");
    // Who vouches for TPMs does not vouch for devices.
    chain(|host| host.rule.anchors = host.rule.endorsement_anchors.clone(), "no trust anchor");
    let usage = |host: &mut Host| host.devid_template.key_usage = KeyUsage::KEY_AGREEMENT;
    assert_eq!(refused(usage), Step::DevidKeyUsage);
}

/// req: ATT-03 (part), ATT-08 (part)
#[test]
fn s7_the_endorsement_certificate_ends_at_policys_anchors() {
    let chain = |edit: fn(&mut Host), words: &str| match refused(edit) {
        Step::EkChain { why } => assert!(why.contains(words), "{why}"),
        other => panic!("{other}"),
    };
    chain(|host| host.endorsement_issuer = key(HOST_KEY), "signature");
    chain(|host| host.endorsement_template.issuer = name("vendor"), "no trust anchor");
    chain(|host| host.rule.endorsement_anchors.clear(), "anchors in policy");
    // A certificate for something else, and one that does not say for what.
    let client = |host: &mut Host| {
        host.endorsement_template.extended_key_usages = vec![Oid::CLIENT_AUTH];
    };
    chain(client, "purpose");
    chain(|host| host.endorsement_template.extended_key_usages.clear(), "purpose");
}

/// req: ATT-03 (part)
#[test]
fn s7_the_endorsement_key_is_one_and_its_certificates() {
    let other = |host: &mut Host| {
        let Key::Rsa { modulus, .. } = &mut host.endorsement.key else { return };
        modulus[100] ^= 1;
    };
    assert_eq!(refused(other), Step::EkOtherKey);
    let usable = |host: &mut Host| {
        host.endorsement.attributes = Attributes::ENDORSEMENT.without(Attributes::RESTRICTED);
    };
    let found = Attributes::ENDORSEMENT.without(Attributes::RESTRICTED);
    assert_eq!(refused(usable), Step::EkAttributes { found });
    assert_eq!(refused(|host| host.endorsement.policy = vec![0; 32]), Step::EkPolicy);
    let cipher = |host: &mut Host| host.endorsement.symmetric = Some(Symmetric { bits: 256 });
    let mut host = Host::new();
    cipher(&mut host);
    let evidence = serde_json::to_vec(&host.evidence()).unwrap();
    let facts = attestation::mechanism::Facts::new(
        attestation::mechanism::Role::Node,
        &host.rule,
        &[1; 32],
        crate::x509pop::NOW,
    );
    let found =
        attestation::Mechanism::challenge(&attestation::tpm_devid::Mechanism, &evidence, &facts);
    assert_eq!(found, Err(Step::EkTemplate(CredentialError::Template).into()));
}

/// A key that is not restricted signs a forged quote as well as a true one.
/// req: ATT-03 (part)
#[test]
fn s7_the_attestation_key_is_restricted_to_sign_and_fixed_to_its_tpm() {
    for bit in [
        Attributes::RESTRICTED,
        Attributes::FIXED_TPM,
        Attributes::FIXED_PARENT,
        Attributes::SENSITIVE_DATA_ORIGIN,
        Attributes::SIGN,
    ] {
        let found = Attributes::ATTESTATION.without(bit);
        let step = refused(|host| host.attestation.attributes = found);
        assert_eq!(step, Step::AkAttributes { found });
    }
    let found = Attributes::ATTESTATION.with(Attributes::DECRYPT);
    let step = refused(|host| host.attestation.attributes = found);
    assert_eq!(step, Step::AkAttributes { found });
    let step = refused(|host| host.attestation.scheme = None);
    assert_eq!(step, Step::Certification(BadSignature::NoScheme));
}

/// req: ATT-03 (part)
#[test]
fn s7_the_attestation_key_certifies_the_devid_key_of_the_certificate() {
    let step = refused(|host| host.attestation_key = key(HOST_KEY));
    assert_eq!(step, Step::Certification(BadSignature::Wrong));
    let quoted = |host: &mut Host| host.certified = Some(host.quote(Vec::new(), &[0]));
    assert_eq!(refused(quoted), Step::NotACertification);
    let other = |host: &mut Host| {
        let (name, qualified_name) = (host.attestation.name(), Vec::new());
        host.certified = Some(attest(Vec::new(), Attested::Certify { name, qualified_name }));
    };
    assert_eq!(refused(other), Step::OtherKeyCertified);
    for bit in [
        Attributes::FIXED_TPM,
        Attributes::FIXED_PARENT,
        Attributes::SENSITIVE_DATA_ORIGIN,
        Attributes::SIGN,
    ] {
        let mut found = Attributes::ATTESTATION.without(Attributes::RESTRICTED);
        found = found.without(bit);
        let step = refused(|host| host.devid.attributes = found);
        assert_eq!(step, Step::DevidAttributes { found });
    }
    // The key in the TPM is good, but the certificate is for a key in a file.
    let outside = |host: &mut Host| {
        host.devid_template.spki_der = key(AUTHORITY_KEY).public().spki_der().to_vec();
        host.devid_key = key(AUTHORITY_KEY);
    };
    assert_eq!(refused(outside), Step::DevidOtherKey);
}

/// req: ATT-03 (part), ATT-08 (part)
#[test]
fn s7_the_answer_is_that_of_both_keys_to_this_challenge() {
    let step = refused(|host| host.devid_key = key(AUTHORITY_KEY));
    assert_eq!(step, Step::DevidSignature);
    let none = |_: &Host, response: &mut Response| response.devid = Bytes::default();
    assert_eq!(refused_answer(none), Step::DevidSignature);
    let wrong = |_: &Host, response: &mut Response| response.activation.0[0] ^= 1;
    assert_eq!(refused_answer(wrong), Step::Activation);
    let cut = |_: &Host, response: &mut Response| response.activation.0.truncate(31);
    assert_eq!(refused_answer(cut), Step::Activation);
}

/// req: ATT-03 (part)
#[test]
fn s7_the_quote_is_fresh_of_these_pcrs_and_by_the_attestation_key() {
    let requoted = |nonce: Option<Vec<u8>>, indices: &'static [u8]| {
        refused_answer(move |host, response| {
            let quote = response.quote.as_mut().unwrap();
            let asked = tpm::Attest::parse(&quote.attested.0).unwrap().extra_data;
            let attested = host.quote(nonce.unwrap_or(asked), indices);
            quote.signature = host.attested(&attested);
            quote.attested = Bytes(attested.to_bytes());
        })
    };
    assert_eq!(refused_answer(|_, response| response.quote = None), Step::QuoteMissing);
    assert_eq!(requoted(Some(vec![9; 32]), &[0, 7]), Step::QuoteNonce);
    assert_eq!(requoted(Some(Vec::new()), &[0, 7]), Step::QuoteNonce);
    assert_eq!(requoted(None, &[0]), Step::QuoteSelection);
    assert_eq!(requoted(None, &[0, 7, 8]), Step::QuoteSelection);
    let certification = |host: &Host, response: &mut Response| {
        let quote = response.quote.as_mut().unwrap();
        let (certified, signature) =
            (host.evidence().certified, host.evidence().certification_signature);
        (quote.attested, quote.signature) = (certified, signature);
    };
    assert_eq!(refused_answer(certification), Step::NotAQuote);
    let changed = |_: &Host, response: &mut Response| {
        let quote = response.quote.as_mut().unwrap();
        let last = quote.attested.0.len() - 1;
        quote.attested.0[last] ^= 1;
    };
    assert_eq!(refused_answer(changed), Step::Quote(BadSignature::Wrong));
    let cut = |_: &Host, response: &mut Response| {
        response.quote.as_mut().unwrap().signature.0.truncate(20);
    };
    let why = Malformed::Short;
    assert_eq!(refused_answer(cut), Step::Structure { field: "Quote.Signature", why });
    // Other values than those that were quoted, although policy allows them; one too few.
    let step = {
        let mut host = Host::new().measured([6; 32]);
        host.pcrs.values_mut().for_each(|value| value.0 = vec![6; 32]);
        step(host.joins(|_, _| {}).map(|found| found.name))
    };
    assert_eq!(step, Step::QuoteDigest);
    let fewer = |_: &Host, response: &mut Response| {
        response.quote.as_mut().unwrap().pcrs.remove(&7);
    };
    assert_eq!(refused_answer(fewer), Step::QuoteDigest);
}

#[test]
fn s7_a_refusal_of_a_stranger_is_told_from_one_of_a_tpm_that_answered() {
    assert!(Step::DevidKeyUsage.is_strangers() && Step::OtherKeyCertified.is_strangers());
    assert!(!Step::Activation.is_strangers() && !Step::QuoteNonce.is_strangers());
    assert_eq!(Step::EkOtherKey.check(), "attestation::EkOtherKey");
}
