use proptest::prelude::*;
use time::UnixTime;
use x509::{
    BadSignature, CERTIFICATE_BYTES_MAX, Certificate, CertificateDer, Extension, KeyUsage,
    Malformed, NAMES_MAX, Oid, PemError, Template,
};

use crate::fixture::{DAY, Key, NOW, Party, issue, leaf, tlv};

fn as_is(_: &mut Template) {}

/// A leaf whose alternative names are these bytes.
fn with_san(der: Vec<u8>) -> Result<Certificate, Malformed> {
    with_extensions(vec![Extension { oid: Oid::SUBJECT_ALT_NAME, critical: true, der }])
}

/// A leaf named in its subject, with these extensions and whatever else a leaf has.
fn with_extensions(extra: Vec<Extension>) -> Result<Certificate, Malformed> {
    let root = Party::root("root", as_is);
    let mut template = crate::fixture::leaf(&root.key);
    template.subject = x509::Name::new(None, Some("leaf")).unwrap();
    template.uri_names.clear();
    template.extra = extra;
    let to_be_signed = template.to_be_signed(root.key.algorithm()).unwrap();
    let signature = root.key.sign(to_be_signed.bytes());
    to_be_signed.attach(&signature).parse()
}

#[test]
fn rfc5280_4_what_was_written_is_read() {
    let root = Party::root("root", as_is);
    let leaf = root
        .leaf(|leaf| {
            leaf.dns_names = vec!["agent.example.org".to_owned()];
            leaf.ip_names = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        })
        .certificate;
    assert_eq!(leaf.uri_names(), ["spiffe://example.org/agent"]);
    assert_eq!(leaf.dns_names(), ["agent.example.org"]);
    assert_eq!(leaf.ip_names().len(), 2);
    assert_eq!((leaf.not_before(), leaf.not_after()), (NOW.minus(DAY), NOW.plus(DAY)));
    assert_eq!(leaf.serial().to_string(), format!("47{}", "07".repeat(15)));
    assert_eq!(leaf.key_usage(), KeyUsage::DIGITAL_SIGNATURE);
    assert!(leaf.is_critical(&Oid::KEY_USAGE) && leaf.san_is_critical());
    assert_eq!(leaf.extended_key_usages(), [Oid::SERVER_AUTH, Oid::CLIENT_AUTH]);
    assert!(!leaf.is_ca() && leaf.subject_is_empty() && !leaf.has_name_constraints());
    assert_eq!((leaf.path_len(), leaf.epoch()), (None, Some(5)));
    assert_eq!(leaf.issuer(), root.certificate.subject());
    let authority_key_id = tlv(0x30, &tlv(0x80, root.certificate.subject_key_id().unwrap()));
    assert_eq!(leaf.extension(&Oid::AUTHORITY_KEY_ID), Some(&authority_key_id[..]));
    assert!(root.certificate.is_ca() && !root.certificate.subject_is_empty());
    assert!(!root.certificate.san_is_critical());
    assert_eq!(root.certificate.epoch(), None);
    assert_ne!(leaf.fingerprint_sha256(), root.certificate.fingerprint_sha256());
}

#[test]
fn rfc5280_4_1_2_5_dates_beyond_2049_are_written_otherwise() {
    let root = Party::root("root", as_is);
    for (seconds, tag) in [(2_524_607_999, 0x17), (2_524_608_000, 0x18), (253_402_300_799, 0x18)] {
        let not_after = UnixTime::from_seconds(seconds);
        let leaf = root.leaf(|leaf| leaf.not_after = not_after).certificate;
        assert_eq!(leaf.not_after(), not_after);
        let utc = tlv(0x17, b"231113221320Z"); // not_before
        let at = leaf.der().windows(utc.len()).position(|window| window == utc).unwrap();
        assert_eq!(leaf.der()[at + utc.len()], tag);
    }
}

#[test]
fn rfc5280_4_2_1_6_both_of_two_uris_are_seen() {
    let root = Party::root("root", as_is);
    let two = ["spiffe://example.org/a".to_owned(), "spiffe://example.org/b".to_owned()];
    let leaf = root.leaf(|leaf| leaf.uri_names = two.to_vec()).certificate;
    assert_eq!(leaf.uri_names(), two);
}

#[test]
fn rfc5280_4_2_1_6_unknown_kinds_of_names_are_passed_over() {
    let other_name = tlv(0xa0, &[&tlv(6, &[0x2a, 3])[..], &tlv(0xa0, &tlv(12, b"x"))].concat());
    let x400 = tlv(0xa3, &[]);
    let names = [other_name, tlv(0x81, b"a@b"), x400, tlv(0x86, b"urn:a"), tlv(0x88, &[0x2a])];
    let certificate = with_san(tlv(0x30, &names.concat())).unwrap();
    assert_eq!(certificate.uri_names(), ["urn:a"]);
}

#[test]
fn rfc5280_4_2_1_6_names_that_could_hide_are_refused() {
    let many = tlv(0x86, b"urn:a").repeat(NAMES_MAX + 1);
    for (names, expect) in [
        (vec![], None),
        (tlv(0x86, b""), None),
        (tlv(0x86, b"urn:a\0b"), None),
        (tlv(0x86, b"urn:a b"), None),
        (tlv(0x86, "urn:ä".as_bytes()), None),
        (tlv(0xa6, &tlv(0x16, b"urn:a")), None), // constructed
        (tlv(0x82, b"a\nb"), None),
        (tlv(0x87, &[1, 2, 3]), None),
        (tlv(0x89, b"x"), None),
        (tlv(0x16, b"urn:a"), None), // no context tag
        (many, Some(Malformed::TooManyNames)),
    ] {
        let expect = expect.unwrap_or(Malformed::Extension(Oid::SUBJECT_ALT_NAME));
        assert_eq!(with_san(tlv(0x30, &names)).err(), Some(expect), "{names:?}");
    }
}

#[test]
fn rfc5280_4_2_broken_known_extensions_are_refused() {
    for (oid, der) in [
        (Oid::NAME_CONSTRAINTS, vec![0x30, 0, 0]),
        (x509::EPOCH, vec![2, 1, 0xff]), // negative
        (x509::EPOCH, vec![2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0]), // 2^64
        (x509::EPOCH, vec![4, 1, 1]),
        (x509::ATTRIBUTES, vec![4, 1, 1]),
        (x509::ATTRIBUTES, vec![0x0c, 1, 0xff]), // not UTF-8
    ] {
        let extension = Extension { oid: oid.clone(), critical: false, der };
        assert_eq!(with_extensions(vec![extension]).err(), Some(Malformed::Extension(oid)));
    }
    let epochs = [0, 127, 128, u64::MAX];
    for epoch in epochs {
        let certificate = with_extensions(vec![x509::epoch_extension(epoch)]).unwrap();
        assert_eq!(certificate.epoch(), Some(epoch));
        assert!(!certificate.is_critical(&x509::EPOCH));
    }
    let certificate = with_extensions(vec![x509::attributes_extension("{}")]).unwrap();
    assert_eq!(certificate.attributes(), Some("{}"));
    assert!(!certificate.is_critical(&x509::ATTRIBUTES));
}

#[test]
fn rfc5280_4_2_an_extension_twice_is_refused() {
    // A certificate with the extension 1.2.3.4 twice cannot be made here: two that differ in one
    // byte are, and that byte is set right in the signed bytes.
    let extension =
        |oid: &str| Extension { oid: Oid::parse(oid).unwrap(), critical: false, der: vec![5, 0] };
    let certificate = with_extensions(vec![extension("1.2.3.4"), extension("1.2.3.5")]).unwrap();
    let mut der = certificate.der().to_vec();
    let second = [6, 3, 0x2a, 3, 5];
    let at = der.windows(5).position(|window| window == second).unwrap();
    der[at + 4] = 4;
    let duplicate = Oid::parse("1.2.3.4").unwrap();
    assert_eq!(Certificate::parse(&der).err(), Some(Malformed::DuplicateExtension(duplicate)));
}

#[test]
fn rfc5280_4_1_2_1_only_version_3_is_read() {
    let root = Party::root("root", as_is);
    let mut der = root.certificate.der().to_vec();
    let version = [0xa0, 3, 2, 1, 2];
    let at = der.windows(5).position(|window| window == version).unwrap();
    der[at + 4] = 1;
    assert_eq!(Certificate::parse(&der).err(), Some(Malformed::Version));
}

#[test]
fn the_holder_of_the_key_can_sign_something_else() {
    let root = Party::root("root", as_is);
    for key in [Key::p256(), Key::p384(), Key::ed25519(), Key::rsa()] {
        let certificate = issue(&leaf(&key), &root.key);
        let signature = key.sign(b"challenge");
        assert_eq!(certificate.verify_signature(b"challenge", &signature), Ok(()));
        let wrong = Err(BadSignature::Wrong);
        assert_eq!(certificate.verify_signature(b"another", &signature), wrong);
        assert_eq!(root.certificate.verify_signature(b"challenge", &signature), wrong);
    }
}

#[test]
fn rfc5280_4_1_cut_or_prolonged_bytes_are_refused() {
    let der = Party::root("root", as_is).leaf(as_is).certificate.der().to_vec();
    for length in 0..der.len() {
        assert_eq!(Certificate::parse(&der[..length]).err(), Some(Malformed::Encoding));
    }
    let longer = [&der[..], &[0]].concat();
    assert_eq!(Certificate::parse(&longer).err(), Some(Malformed::Encoding));
    let huge = vec![0x30; CERTIFICATE_BYTES_MAX + 1];
    let too_long = Malformed::TooLong { bytes: huge.len() };
    assert_eq!(Certificate::parse(&huge).err(), Some(too_long.clone()));
    assert_eq!(CertificateDer::from_der(huge).err(), Some(too_long));
}

#[test]
fn rfc7468_texts_round_trip() {
    let root = Party::root("root", as_is);
    let parties = [root.leaf(as_is).certificate, root.certificate];
    let pem: String = parties
        .iter()
        .map(|it| CertificateDer::from_der(it.der().to_vec()).unwrap().to_pem())
        .collect();
    assert!(pem.lines().all(|line| line.len() <= 64));
    let read = CertificateDer::from_pem_many(&format!("subject: x\n{pem}")).unwrap();
    let read: Vec<_> = read.iter().map(|der| der.parse().unwrap()).collect();
    assert_eq!(read, parties);
    let cut = &pem[..pem.len() - 20];
    for (text, expect) in [
        ("", PemError::None),
        (
            "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n",
            PemError::Block { after: 0 },
        ),
        (cut, PemError::Block { after: 1 }),
    ] {
        assert_eq!(CertificateDer::from_pem_many(text), Err(expect));
    }
}

proptest! {
    #[test]
    fn rfc5280_4_1_reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Certificate::parse(&bytes);
        let _ = x509::Request::verify(&bytes);
        let _ = x509::KeyKind::of_spki(&bytes);
        let _ = x509::ecdsa_fixed_from_der(&bytes, 32);
        let _ = CertificateDer::from_pem_many(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn rfc5280_4_1_reading_changed_certificates_never_panics(
        at in 0_usize..400, with in any::<u8>(), cut in 0_usize..400,
    ) {
        let mut der = Party::root("root", as_is).certificate.der().to_vec();
        if let Some(byte) = der.get_mut(at) {
            *byte = with;
        }
        let _ = Certificate::parse(&der);
        der.remove(cut % der.len());
        let _ = Certificate::parse(&der);
    }
}
