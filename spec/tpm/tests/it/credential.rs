//! A credential, opened again with the private half of the endorsement key.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::digest;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::KeyPair;
use tpm::wire::Reader;
use tpm::{
    Attributes, CredentialError, Curve, Hash, Key, POLICY_A_SHA256, Public, Symmetric,
    make_credential,
};

fn endorsement(key: Key) -> Public {
    Public {
        name_alg: Hash::Sha256,
        attributes: Attributes::ENDORSEMENT,
        policy: POLICY_A_SHA256.to_vec(),
        symmetric: Some(Symmetric { bits: 128 }),
        scheme: None,
        key,
    }
}

fn rsa(pair: &aws_lc_rs::rsa::KeyPair) -> Public {
    // RFC 8017 appendix A.1.1: the modulus is the first number, behind three headers.
    let der = pair.public_key().as_ref();
    let modulus = der[9..265].to_vec();
    endorsement(Key::Rsa { bits: 2048, exponent: 0, modulus })
}

/// req: ATT-03 (part)
#[test]
fn part_1_b4_the_seed_for_an_rsa_key_is_under_oaep_with_its_label() {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let key = rsa(&pair);
    let made = make_credential(&key, b"name", b"secret", &[7; 32]).unwrap();
    let der = aws_lc_rs::encoding::AsDer::as_der(&pair).unwrap();
    let private = PrivateDecryptingKey::from_pkcs8(der.as_ref()).unwrap();
    let private = OaepPrivateDecryptingKey::new(private).unwrap();
    let mut out = vec![0; private.min_output_size()];
    let open = |label: &[u8], out: &mut [u8]| {
        let opened = private.decrypt(&OAEP_SHA256_MGF1SHA256, &made.secret, out, Some(label));
        opened.map(|seed| seed.to_vec())
    };
    assert_eq!(open(b"IDENTITY\0", &mut out).unwrap(), [7; 32]);
    assert!(open(b"IDENTITY", &mut out).is_err());
    let again = make_credential(&key, b"name", b"secret", &[7; 32]).unwrap();
    assert_eq!(again.id_object, made.id_object);
    for (name, secret, seed) in [
        (&b"nam"[..], &b"secret"[..], [7; 32]),
        (b"name", b"secre", [7; 32]),
        (b"name", b"secret", [8; 32]),
    ] {
        let other = make_credential(&key, name, secret, &seed).unwrap();
        assert_ne!(other.id_object, made.id_object);
    }
}

/// req: ATT-03 (part)
#[test]
fn part_1_c6_4_the_seed_for_a_point_is_derived_by_both() {
    let private = PrivateKey::generate(&agreement::ECDH_P256).unwrap();
    let public = private.compute_public_key().unwrap();
    let (x, y) = (public.as_ref()[1..33].to_vec(), public.as_ref()[33..].to_vec());
    let key = endorsement(Key::Ecc { curve: Curve::P256, x: x.clone(), y });
    let made = make_credential(&key, b"name", b"secret", &[7; 32]).unwrap();
    let mut reader = Reader::new(&made.secret).unwrap();
    let (their_x, their_y) = (reader.sized().unwrap(), reader.sized().unwrap());
    reader.end().unwrap();
    let point = [&[4], their_x, their_y].concat();
    let theirs = UnparsedPublicKey::new(&agreement::ECDH_P256, point);
    let seed = agreement::agree(&private, theirs, (), |z| {
        let block = [&[0, 0, 0, 1], z, b"IDENTITY\0", their_x, &x].concat();
        Ok(digest::digest(&digest::SHA256, &block).as_ref().to_vec())
    });
    // The same seed, wrapped for an RSA key, makes the same inner object.
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa = rsa(&pair);
    let seed: [u8; 32] = seed.unwrap().try_into().unwrap();
    let same = make_credential(&rsa, b"name", b"secret", &seed).unwrap();
    assert_eq!(same.id_object, made.id_object);
}

#[test]
fn an_endorsement_key_of_another_template_gets_nothing() {
    let good = endorsement(Key::Rsa { bits: 2048, exponent: 0, modulus: vec![0xff; 256] });
    let check = |edit: fn(&mut Public), expect| {
        let mut key = good.clone();
        edit(&mut key);
        assert_eq!(make_credential(&key, b"n", b"s", &[7; 32]).err(), Some(expect));
    };
    check(|key| key.symmetric = None, CredentialError::Template);
    check(|key| key.symmetric = Some(Symmetric { bits: 256 }), CredentialError::Template);
    check(|key| key.name_alg = Hash::Sha384, CredentialError::Template);
    let point = |curve, length| Key::Ecc { curve, x: vec![1; length], y: vec![1; length] };
    let mut key = good.clone();
    key.key = point(Curve::P384, 48);
    assert_eq!(make_credential(&key, b"n", b"s", &[7; 32]), Err(CredentialError::Template));
    // No point of the curve.
    key.key = point(Curve::P256, 32);
    assert_eq!(make_credential(&key, b"n", b"s", &[7; 32]), Err(CredentialError::Key));
}
