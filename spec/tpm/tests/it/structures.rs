//! A quote and the keys around it.

use proptest::prelude::*;
use tpm::{
    Attest, Attested, Attributes, BadSignature, Hash, Key, Malformed, PcrSelection, Public, Scheme,
    SchemeKind, Signature, pcr_digest,
};

use super::{bytes, quote};

fn attestation_key() -> Public {
    Public::parse_file(&bytes(&quote()["input"]["ak_public"])).unwrap()
}

fn attest() -> Vec<u8> {
    bytes(&quote()["input"]["attest"])
}

fn signature() -> Vec<u8> {
    bytes(&quote()["input"]["signature"])
}

/// req: ATT-03 (part)
#[test]
fn part_1_16_a_key_has_the_name_that_its_tpm_gives_it() {
    let key = attestation_key();
    assert_eq!(key.attributes, Attributes::ATTESTATION);
    assert_eq!(key.scheme, Some(Scheme { kind: SchemeKind::Ecdsa, hash: Hash::Sha256 }));
    assert_eq!(key.name(), bytes(&quote()["input"]["ak_name"]));
    let endorsement = Public::parse_file(&bytes(&quote()["input"]["ek_public"])).unwrap();
    assert_eq!(endorsement.attributes, Attributes::ENDORSEMENT);
    assert_eq!(endorsement.policy, tpm::POLICY_A_SHA256);
    assert!(matches!(endorsement.key, Key::Rsa { bits: 2048, exponent: 0, .. }));
    // What a file has and what SPIRE sends are the same key.
    assert_eq!(Public::parse(&endorsement.to_bytes()), Ok(endorsement.clone()));
    assert_eq!(endorsement.spki_der().unwrap().len(), 294);
    assert_eq!(key.spki_der().unwrap().len(), 91);
}

/// req: ATT-03 (part)
#[test]
fn part_2_10_12_a_quote_says_what_was_asked_and_its_key_signed_it() {
    let read = Attest::parse(&attest()).unwrap();
    let vector = quote();
    assert_eq!(read.extra_data, bytes(&vector["input"]["nonce"]));
    assert_eq!(read.to_bytes(), attest());
    let Attested::Quote { selection, digest } = &read.attested else { panic!("{read:?}") };
    assert_eq!(selection, &[PcrSelection::new(Hash::Sha256, [0, 1, 7, 14])]);
    assert_eq!(selection[0].indices(), [0, 1, 7, 14]);
    assert_eq!(*digest, bytes(&vector["expect"]["pcr_digest"]));
    let values = bytes(&vector["input"]["pcrs"]);
    assert_eq!(pcr_digest(Hash::Sha256, values.chunks(32)), *digest);
    let signed = Signature::parse(&signature()).unwrap();
    assert_eq!(signed.to_bytes(), signature());
    assert_eq!(signed.verify(&attestation_key(), &attest()), Ok(()));
}

/// req: ATT-03 (part)
#[test]
fn part_2_11_3_a_signature_holds_for_its_bytes_its_key_and_its_scheme() {
    let signed = Signature::parse(&signature()).unwrap();
    let mut changed = attest();
    changed[40] ^= 1;
    assert_eq!(signed.verify(&attestation_key(), &changed), Err(BadSignature::Wrong));
    let with = |edit: fn(&mut Public)| {
        let mut key = attestation_key();
        edit(&mut key);
        signed.verify(&key, &attest())
    };
    assert_eq!(with(|key| key.scheme = None), Err(BadSignature::NoScheme));
    let sha384 = |key: &mut Public| {
        key.scheme = Some(Scheme { kind: SchemeKind::Ecdsa, hash: Hash::Sha384 });
    };
    assert_eq!(with(sha384), Err(BadSignature::OtherScheme));
    let other = |key: &mut Public| {
        let Key::Ecc { x, .. } = &mut key.key else { return };
        x[0] ^= 1;
    };
    assert_eq!(with(other), Err(BadSignature::Wrong));
    let rsa = |key: &mut Public| {
        key.key = Key::Rsa { bits: 2048, exponent: 0, modulus: vec![0xff; 256] };
    };
    assert_eq!(with(rsa), Err(BadSignature::Unsupported));
}

#[test]
fn part_2_what_is_not_the_structure_is_refused_by_its_reason() {
    let changed = |mut bytes: Vec<u8>, at: usize, value: u8| {
        bytes[at] = value;
        bytes
    };
    let check = |bytes: Vec<u8>, expect| assert_eq!(Attest::parse(&bytes).err(), Some(expect));
    check(changed(attest(), 0, 0xfe), Malformed::Magic { found: 0xfe54_4347 });
    check(changed(attest(), 5, 0x1a), Malformed::Kind { found: 0x801a });
    check(attest()[..100].to_vec(), Malformed::Short);
    check([attest(), vec![0]].concat(), Malformed::Trailing { bytes: 1 });
    check(vec![0; 4097], Malformed::TooLong { bytes: 4097 });
    let check = |bytes: Vec<u8>, expect| assert_eq!(Public::parse(&bytes).err(), Some(expect));
    let key = attestation_key().to_bytes();
    let wrong = |what, id| Malformed::Algorithm { what, id };
    check(changed(key.clone(), 1, 0x25), wrong("kind of key", 0x25));
    check(changed(key.clone(), 3, 0x04), wrong("hash", 4));
    check(changed(key.clone(), 7, 0x73), Malformed::Reserved { bits: 0x0005_0073 });
    check(changed(key.clone(), 17, 0x20), wrong("curve", 0x20));
    check(changed(key, 19, 0x20), wrong("key derivation of a key", 0x20));
    let mut long = attestation_key();
    long.key = Key::Ecc { curve: tpm::Curve::P256, x: vec![1; 33], y: vec![1; 32] };
    check(long.to_bytes(), Malformed::Size { what: "a coordinate", bytes: 33 });
    long.key = Key::Rsa { bits: 1024, exponent: 0, modulus: vec![0xff; 128] };
    check(long.to_bytes(), Malformed::Size { what: "an rsa modulus", bytes: 128 });
}

proptest! {
    #[test]
    fn reading_is_total_and_what_was_read_is_written_the_same(at in 0_usize..120, value: u8) {
        let mut attest = attest();
        attest[at] = value;
        if let Ok(read) = Attest::parse(&attest) {
            prop_assert_eq!(read.to_bytes(), attest);
        }
        let mut key = attestation_key().to_bytes();
        key[at % 88] = value;
        if let Ok(read) = Public::parse(&key) {
            prop_assert_eq!(read.to_bytes(), key);
        }
    }
}
