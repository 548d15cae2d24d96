use x509::{
    CERTIFICATE_BYTES_MAX, KeyError, KeyKind, Malformed, Name, Oid, Request, RequestError,
    RequestTemplate, SignatureAlgorithm, TemplateError,
};

use crate::fixture::{Key, tlv};

fn template(key: &Key) -> RequestTemplate {
    RequestTemplate {
        subject: Name::empty(),
        spki_der: key.spki(),
        uri_names: vec!["spiffe://example.org/agent".to_owned()],
        dns_names: vec!["agent.example.org".to_owned()],
    }
}

fn request(key: &Key) -> Vec<u8> {
    let to_be_signed = template(key).to_be_signed(key.algorithm()).unwrap();
    let signature = key.sign(to_be_signed.bytes());
    to_be_signed.attach(&signature)
}

/// A request put together by hand and signed with P-256.
fn by_hand(key: &Key, version: u8, spki: &[u8], attributes: &[u8]) -> Vec<u8> {
    let body = [&[2, 1, version, 0x30, 0], spki, &tlv(0xa0, attributes)].concat();
    let body = tlv(0x30, &body);
    let algorithm = tlv(0x30, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
    let signature = tlv(3, &[&[0], &key.sign(&body)[..]].concat());
    tlv(0x30, &[body, algorithm, signature].concat())
}

/// The attribute that asks for these extensions.
fn asks_for(extensions: &[u8]) -> Vec<u8> {
    let kind = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
    tlv(0x30, &[&kind[..], &tlv(0x31, &tlv(0x30, extensions))].concat())
}

/// req: PROV-07 (part)
#[test]
fn rfc2986_3_a_request_proves_possession_of_its_key() {
    for (key, kind) in [
        (Key::p256(), KeyKind::P256),
        (Key::p384(), KeyKind::P384),
        (Key::ed25519(), KeyKind::Ed25519),
        (Key::rsa(), KeyKind::Rsa { bits: 2048 }),
    ] {
        let request = Request::verify(&request(&key)).unwrap();
        assert_eq!((request.key(), request.spki_der()), (kind, &key.spki()[..]));
        assert_eq!(request.uri_names(), ["spiffe://example.org/agent"]);
        assert_eq!(request.dns_names(), ["agent.example.org"]);
    }
}

#[test]
fn rfc2986_4_1_a_request_may_ask_for_nothing() {
    let key = Key::p256();
    let empty = RequestTemplate { uri_names: vec![], dns_names: vec![], ..template(&key) };
    let to_be_signed = empty.to_be_signed(key.algorithm()).unwrap();
    let signature = key.sign(to_be_signed.bytes());
    let request = Request::verify(&to_be_signed.attach(&signature)).unwrap();
    assert!(request.uri_names().is_empty() && request.dns_names().is_empty());
}

/// req: PROV-07 (part)
#[test]
fn rfc2986_3_requests_with_anothers_key_or_a_flipped_bit_are_refused() {
    let (key, other) = (Key::p256(), Key::p256());
    let to_be_signed = template(&key).to_be_signed(key.algorithm()).unwrap();
    let signature = other.sign(to_be_signed.bytes());
    let stolen = to_be_signed.attach(&signature);
    assert_eq!(Request::verify(&stolen), Err(RequestError::Signature));
    let der = request(&key);
    for index in 0..der.len() {
        let mut changed = der.clone();
        changed[index] ^= 1;
        assert!(Request::verify(&changed).is_err(), "byte {index}");
    }
    let at = der.windows(5).position(|window| window == b"agent").unwrap();
    let mut changed = der.clone();
    changed[at] ^= 1;
    assert_eq!(Request::verify(&changed), Err(RequestError::Signature));
}

#[test]
fn rfc2986_4_cut_or_prolonged_requests_are_refused() {
    let der = request(&Key::p256());
    for length in 0..der.len() {
        assert_eq!(Request::verify(&der[..length]), Err(RequestError::Encoding));
    }
    assert_eq!(Request::verify(&[&der[..], &[0]].concat()), Err(RequestError::Encoding));
    let bytes = CERTIFICATE_BYTES_MAX + 1;
    assert_eq!(Request::verify(&vec![0; bytes]), Err(RequestError::TooLong { bytes }));
}

#[test]
fn rfc2986_4_1_the_structure_is_held_to() {
    let key = Key::p256();
    let spki = key.spki();
    let san = tlv(
        0x30,
        &[&[6, 3, 0x55, 0x1d, 17][..], &tlv(4, &tlv(0x30, &tlv(0x86, b"urn:a")))].concat(),
    );
    let once = Request::verify(&by_hand(&key, 0, &spki, &asks_for(&san))).unwrap();
    assert_eq!(once.uri_names(), ["urn:a"]);
    let twice = Malformed::DuplicateExtension(Oid::SUBJECT_ALT_NAME);
    let two_attributes = [asks_for(&[]), asks_for(&san)].concat();
    for (version, attributes, expect) in [
        (1, asks_for(&san), RequestError::Version(1)),
        (0, asks_for(&san.repeat(2)), RequestError::Extensions(twice)),
        (0, two_attributes, RequestError::DuplicateAttribute),
    ] {
        let judged = Request::verify(&by_hand(&key, version, &spki, &attributes));
        assert_eq!(judged, Err(expect));
    }
}

/// A `SubjectPublicKeyInfo` of RSA.
fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = tlv(0x30, &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0]);
    let key = tlv(0x30, &[tlv(2, modulus), tlv(2, exponent)].concat());
    tlv(0x30, &[algorithm, tlv(3, &[&[0], &key[..]].concat())].concat())
}

/// A `SubjectPublicKeyInfo` of a curve.
fn ec_spki(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let algorithm = [&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..], &tlv(6, curve)].concat();
    tlv(0x30, &[tlv(0x30, &algorithm), tlv(3, &[&[0], point].concat())].concat())
}

#[test]
fn weak_and_unknown_keys_are_refused() {
    let modulus = |bits: usize| [&[0, 0x80][..], &vec![1; bits / 8 - 1]].concat();
    let three = &[3][..];
    let p256 = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7][..];
    let secp256k1 = &[0x2b, 0x81, 4, 0, 10][..];
    let other = tlv(0x30, &[&tlv(0x30, &tlv(6, &[0x2a, 3]))[..], &[3, 2, 0, 1]].concat());
    for (spki, expect) in [
        (rsa_spki(&modulus(1024), three), Err(KeyError::RsaBits { bits: 1024 })),
        (rsa_spki(&modulus(2040), three), Err(KeyError::RsaBits { bits: 2040 })),
        (rsa_spki(&modulus(8192), three), Err(KeyError::RsaBits { bits: 8192 })),
        (rsa_spki(&modulus(2048), &[1]), Err(KeyError::RsaExponent)),
        (rsa_spki(&modulus(2048), &[4]), Err(KeyError::RsaExponent)),
        (rsa_spki(&modulus(2048), three), Ok(KeyKind::Rsa { bits: 2048 })),
        (rsa_spki(&modulus(4096), three), Ok(KeyKind::Rsa { bits: 4096 })),
        (ec_spki(p256, &[2; 33]), Err(KeyError::Point)),
        (ec_spki(p256, &[4; 64]), Err(KeyError::Point)),
        (ec_spki(secp256k1, &[4; 65]), Err(KeyError::Curve(Oid::parse("1.3.132.0.10").unwrap()))),
        (other, Err(KeyError::Algorithm(Oid::parse("1.2.3").unwrap()))),
        (vec![0x30, 0], Err(KeyError::Malformed)),
    ] {
        assert_eq!(KeyKind::of_spki(&spki), expect);
        if let Err(error) = expect {
            let request = by_hand(&Key::p256(), 0, &spki, &[]);
            assert_eq!(Request::verify(&request), Err(RequestError::Key(error)));
        }
    }
    // A point that is not on its curve verifies nothing.
    let request = by_hand(&Key::p256(), 0, &ec_spki(p256, &[4; 65]), &[]);
    assert_eq!(Request::verify(&request), Err(RequestError::Signature));
}

#[test]
fn the_algorithm_must_fit_the_key() {
    let (p256, p384) = (Key::p256(), Key::p384());
    let wrong = template(&p384).to_be_signed(p256.algorithm());
    assert_eq!(wrong, Err(TemplateError::WrongAlgorithm));
    let ecdsa_sha256 = Oid::parse("1.2.840.10045.4.3.2").unwrap();
    let ed25519 = Key::ed25519();
    assert_eq!(ed25519.algorithm(), SignatureAlgorithm::Ed25519);
    let confused = by_hand(&p256, 0, &ed25519.spki(), &[]);
    assert_eq!(Request::verify(&confused), Err(RequestError::Algorithm(ecdsa_sha256)));
}
