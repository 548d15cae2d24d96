//! Readers of keys and responses: each form that is not the one form.

use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::passkeys::{Signs, Statement};
use webauthn::{
    Algorithm, AttestationObject, AuthenticationResponse, AuthenticatorData, ClientData,
    CredentialKey, KeyError, Malformed, RegistrationResponse, ResponseError,
};

use crate::Site;

fn key(signs: Signs) -> Vec<u8> {
    Site::new().make(signs).1.key
}

fn changed(bytes: &[u8], at: usize, to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.splice(at..at + to.len(), to.iter().copied());
    bytes
}

#[test]
fn rfc9052_7_a_key_is_kept_as_it_came() {
    for (signs, algorithm) in Signs::ALL.into_iter().zip(Algorithm::ALL) {
        let bytes = key(signs);
        let read = CredentialKey::parse(&bytes).unwrap();
        assert_eq!((read.algorithm(), read.as_bytes()), (algorithm, bytes.as_slice()));
    }
}

/// req: AUTHN-11 (part)
#[test]
fn s5_8_5_other_keys_are_refused_by_name() {
    // {1: 2, 3: -7, -1: 1, -2: x, -3: y}
    let (ec, okp, rsa) = (key(Signs::Es256), key(Signs::EdDsa), key(Signs::Rs256));
    let algorithm = |name, number| KeyError::Algorithm { name, number };
    for (bytes, expect) in [
        (changed(&ec, 4, &[0x28]), algorithm("ESP256", -9)),
        (changed(&ec, 4, &[0x32]), algorithm("Ed25519", -19)),
        (changed(&ec, 4, &[0x27]), KeyError::KeyType { algorithm: Algorithm::EdDsa }),
        (changed(&okp, 4, &[0x26]), KeyError::KeyType { algorithm: Algorithm::Es256 }),
        (changed(&rsa, 4, &[0x39, 0x01, 0x01]), algorithm("RS384", -258)),
        (changed(&rsa, 4, &[0x39, 0xff, 0xfe]), algorithm("RS1", -65_535)),
        (changed(&rsa, 4, &[0x39, 0xff, 0xff]), algorithm("unknown", -65_536)),
        (changed(&ec, 2, &[1]), KeyError::KeyType { algorithm: Algorithm::Es256 }),
        (changed(&ec, 6, &[2]), KeyError::Curve { algorithm: Algorithm::Es256 }),
        (changed(&okp, 6, &[1]), KeyError::Curve { algorithm: Algorithm::EdDsa }),
        (changed(&ec, 4, &[0x41]), KeyError::Malformed(Malformed::Order)),
        (ec[..ec.len() - 1].to_vec(), KeyError::Malformed(Malformed::Cut)),
        ([&ec[..], &[0]].concat(), KeyError::Malformed(Malformed::LeftOver { bytes: 1 })),
        (vec![0x80], KeyError::NotAMap),
        (vec![0xa0], KeyError::Absent { label: 3 }),
        // {1: 2, 3: -7, -1: 1} and a compressed point: y is true.
        (vec![0xa3, 1, 2, 3, 0x26, 0x20, 1], KeyError::Absent { label: -2 }),
        ([&[0xa5], &ec[1..ec.len() - 34], &[0xf5]].concat(), KeyError::Parameter { label: -3 }),
    ] {
        assert_eq!(CredentialKey::parse(&bytes).map(drop), Err(expect), "{bytes:02x?}");
    }
}

#[test]
fn s6_5_1_a_key_has_no_optional_parameter() {
    // {1: 2, 2: h'00', 3: -7, ...}
    let ec = key(Signs::Es256);
    let with_kid = [&[0xa6, 1, 2, 2, 0x41, 0], &ec[3..]].concat();
    assert_eq!(CredentialKey::parse(&with_kid).map(drop), Err(KeyError::Optional));
}

#[test]
fn rfc8230_4_an_rsa_key_is_long_odd_and_written_shortest() {
    let rsa = key(Signs::Rs256);
    // {1: 3, 3: -257, -1: n, -2: e}: n begins after 4 + 3 + 4 bytes.
    let start = rsa.len() - 256 - 5;
    let of = |n: &[u8], e: &[u8]| {
        let head = |length: usize| {
            [vec![0x59], u16::try_from(length).unwrap().to_be_bytes().to_vec()].concat()
        };
        let short = [u8::try_from(0x40 + e.len()).unwrap()];
        let parts = [&rsa[..start - 3], &head(n.len()), n, &[0x21], &short, e].concat();
        CredentialKey::parse(&parts).map(drop)
    };
    let modulus = &rsa[start..start + 256];
    assert_eq!(of(modulus, &[1, 0, 1]), Ok(()));
    let wrong = |label| Err(KeyError::Parameter { label });
    assert_eq!(of(&[&[0], modulus].concat(), &[1, 0, 1]), wrong(-1));
    assert_eq!(of(&changed(modulus, 255, &[2]), &[1, 0, 1]), wrong(-1));
    for exponent in [&[][..], &[0, 3], &[1], &[2], &[1, 0, 0, 0, 1]] {
        assert_eq!(of(modulus, exponent), wrong(-2), "{exponent:?}");
    }
    let short = changed(modulus, 0, &[0x7f]);
    assert_eq!(of(&short, &[1, 0, 1]), Err(KeyError::RsaBits { bits: 2_047 }));
    let long = [&[1], &[0xff; 1_024][..]].concat();
    assert_eq!(of(&long, &[1, 0, 1]), Err(KeyError::RsaBits { bits: 8_193 }));
}

#[test]
fn sec1_2_3_3_a_point_is_on_the_curve() {
    let ec = key(Signs::Es256);
    let off = changed(&ec, ec.len() - 1, &[ec[ec.len() - 1] ^ 1]);
    assert_eq!(CredentialKey::parse(&off).map(drop), Err(KeyError::Point));
}

fn responses() -> (Value, Value) {
    let site = Site::new();
    let (mut passkey, made) = site.make(Signs::Es256);
    let options = json!({"challenge": "BwcH", "rpId": "example.org"});
    let used = passkey.sign_in(&options, crate::ORIGIN);
    (made.response(&passkey), used.response(&passkey))
}

/// Each member that both have, and each of `inner` of the response.
fn check_members(whole: &Value, parse: &dyn Fn(&Value) -> ResponseError, inner: &[&'static str]) {
    for name in ["id", "rawId", "response", "type", "clientExtensionResults"] {
        let mut less = whole.clone();
        less.as_object_mut().unwrap().remove(name);
        assert_eq!(parse(&less), ResponseError::Member { name }, "{name}");
    }
    for name in inner {
        for wrong in [json!(null), json!("a+/="), json!("YQ=="), json!(7)] {
            let mut other = whole.clone();
            other["response"][*name] = wrong;
            assert_eq!(parse(&other), ResponseError::Member { name }, "{name}");
        }
    }
    let mut other = whole.clone();
    other["id"] = json!("YWJj");
    assert_eq!(parse(&other), ResponseError::IdsDiffer);
    other["rawId"] = json!("");
    other["id"] = json!("");
    assert!(matches!(parse(&other), ResponseError::CredentialId(_)));
}

#[test]
fn s5_1_a_member_that_is_absent_or_not_base64url_is_named() {
    let (made, used) = responses();
    let register = |value: &Value| {
        RegistrationResponse::parse(value.to_string().as_bytes()).map(drop).unwrap_err()
    };
    let sign_in = |value: &Value| {
        AuthenticationResponse::parse(value.to_string().as_bytes()).map(drop).unwrap_err()
    };
    check_members(&made, &register, &["clientDataJSON", "attestationObject", "transports"]);
    check_members(&used, &sign_in, &["clientDataJSON", "authenticatorData", "signature"]);
    let mut other = used.clone();
    other["response"]["userHandle"] = json!("");
    assert!(matches!(sign_in(&other), ResponseError::UserHandle(_)));
    other["response"]["userHandle"] = Value::Null;
    let read = AuthenticationResponse::parse(other.to_string().as_bytes()).unwrap();
    assert_eq!(read.user_handle(), None);
    other["response"]["signature"] = json!("A".repeat(1_368));
    assert_eq!(sign_in(&other), ResponseError::SignatureTooLong { bytes: 1_026 });
    for wrong in [json!(vec!["a"; 9]), json!(["a b"]), json!([""]), json!([1])] {
        let mut other = made.clone();
        other["response"]["transports"] = wrong;
        assert_eq!(register(&other), ResponseError::Member { name: "transports" });
    }
    let twice = made.to_string().replacen('{', "{\"rawId\":\"YWJj\",", 1);
    let twice = RegistrationResponse::parse(twice.as_bytes());
    assert!(matches!(twice, Err(ResponseError::Unreadable(json::Unreadable::Duplicate { .. }))));
}

#[test]
fn s6_5_4_an_attestation_object_cut_anywhere_is_none() {
    let site = Site::new();
    let (passkey, mut made) = site.make(Signs::EdDsa);
    made.statement = Statement::PackedSelf(-8);
    let whole = made.attestation_object(&passkey);
    assert!(AttestationObject::parse(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(AttestationObject::parse(&whole[..length]).is_err(), "{length}");
    }
    let data = made.data();
    for length in 0..data.len() {
        assert!(AuthenticatorData::parse(&data[..length]).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn reading_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = AttestationObject::parse(&bytes);
        let _ = AuthenticatorData::parse(&bytes);
        let _ = ClientData::parse(&bytes);
        let _ = CredentialKey::parse(&bytes);
    }
}
