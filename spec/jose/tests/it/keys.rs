//! Keys: which are taken, which are refused, and how they are written.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::engine::general_purpose::STANDARD;
use jose::{
    Ignored, Jwk, JwkError, KeyError, KeyId, KeySet, KeySetError, KeyType, PrivateKeyError,
    PublicKey,
};
use serde_json::json;

use crate::*;

/// `base` with some members replaced or, by null, removed.
fn changed(base: &str, changes: Value) -> Value {
    let mut jwk = published_jwk(base);
    let members = jwk.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.remove(name);
        if !value.is_null() {
            members.insert(name.clone(), value.clone());
        }
    }
    jwk
}

fn length(name: &'static str, length: usize, key_type: KeyType) -> JwkError {
    KeyError::CoordinateLength { name, length, expected: 32, key_type }.into()
}

fn wrong_algorithm(algorithm: Algorithm, key_type: KeyType) -> JwkError {
    KeyError::WrongAlgorithm { algorithm, key_type }.into()
}

#[test]
fn rfc7517_4_each_refusal() {
    let (ec, okp, rsa) = ("wit", "rfc8037_a_4", "rfc7515_a_2");
    let text = |bytes: &[u8]| json!(encode(bytes));
    let absent = |name| JwkError::MemberAbsent { name };
    let curve = |kty: &str, crv: &str| JwkError::UnknownCurve { kty: kty.into(), crv: crv.into() };
    for (base, changes, expect) in [
        (ec, json!({"kty": null}), absent("kty")),
        (ec, json!({"crv": null}), absent("crv")),
        (ec, json!({"x": null}), absent("x")),
        (ec, json!({"y": null}), absent("y")),
        (rsa, json!({"n": null}), absent("n")),
        (rsa, json!({"e": null}), absent("e")),
        (ec, json!({"kty": "ec"}), JwkError::UnknownKeyType { kty: "ec".into() }),
        (ec, json!({"kty": "oct"}), JwkError::UnknownKeyType { kty: "oct".into() }),
        (ec, json!({"crv": "secp256k1"}), curve("EC", "secp256k1")),
        (okp, json!({"crv": "X25519"}), curve("OKP", "X25519")),
        (okp, json!({"kty": "EC"}), curve("EC", "Ed25519")),
        (ec, json!({"kty": "OKP"}), curve("OKP", "P-256")),
        // not on the curve, the point at infinity, coordinates of another length
        (ec, json!({"x": text(&[1; 32])}), KeyError::Invalid.into()),
        (ec, json!({"x": text(&[0; 32]), "y": text(&[0; 32])}), KeyError::Invalid.into()),
        (ec, json!({"x": text(&[1; 31])}), length("x", 31, KeyType::P256)),
        (ec, json!({"y": text(&[1; 33])}), length("y", 33, KeyType::P256)),
        (okp, json!({"x": text(&[1; 31])}), length("x", 31, KeyType::Ed25519)),
        (ec, json!({"x": "kXqnA2Op7hgd4zRMbw0iFcc_hDxUxhojxOFVGjE2gks="}), encoding("x")),
        (rsa, json!({"n": "+/+/"}), encoding("n")),
        (rsa, json!({"n": text(&[0xff; 128])}), KeyError::ModulusSize { bits: 1_024 }.into()),
        (rsa, json!({"n": text(&[0x7f; 256])}), KeyError::ModulusSize { bits: 2_047 }.into()),
        (rsa, json!({"n": text(&[0xff; 1_025])}), KeyError::ModulusSize { bits: 8_200 }.into()),
        (rsa, json!({"n": text(&[&[0], &[0xff; 256][..]].concat())}), KeyError::NotMinimal.into()),
        (rsa, json!({"e": ""}), KeyError::NotMinimal.into()),
        (rsa, json!({"e": text(&[0, 1, 0, 1])}), KeyError::NotMinimal.into()),
        (rsa, json!({"e": text(&[1])}), KeyError::Exponent.into()),
        (rsa, json!({"e": text(&[1, 0, 0])}), KeyError::Exponent.into()),
        (rsa, json!({"e": text(&[1, 0, 0, 0, 1])}), KeyError::Exponent.into()),
        (ec, json!({"alg": "RS256"}), wrong_algorithm(Algorithm::Rs256, KeyType::P256)),
        (ec, json!({"alg": "ES384"}), wrong_algorithm(Algorithm::Es384, KeyType::P256)),
        (okp, json!({"alg": "ES256"}), wrong_algorithm(Algorithm::Es256, KeyType::Ed25519)),
        (rsa, json!({"alg": "EdDSA"}), wrong_algorithm(Algorithm::EdDsa, KeyType::Rsa)),
        (ec, json!({"alg": "ECDH-ES"}), JwkError::UnknownAlgorithm { alg: "ECDH-ES".into() }),
        (ec, json!({"kid": ""}), JwkError::KeyId(KeyId::parse("").unwrap_err())),
        (ec, json!({"use": "u".repeat(65)}), JwkError::Use { length: 65 }),
        (ec, json!({"key_ops": ["verify", "verify"]}), JwkError::KeyOperations),
        (ec, json!({"key_ops": vec!["o"; 9]}), JwkError::KeyOperations),
        (ec, json!({"x5c": []}), JwkError::CertificateCount { count: 0, max: 10 }),
        (ec, json!({"x5c": ["-_-_"]}), JwkError::Certificate),
        (ec, json!({"x5c": ["AAAA"]}), JwkError::Certificate),
    ] {
        let jwk = changed(base, changes.clone());
        assert_eq!(Jwk::from_value(&jwk).unwrap_err(), expect, "{changes}");
        assert_eq!(Jwk::parse(&jwk.to_string()).unwrap_err(), expect, "{changes}");
        assert!(serde_json::from_value::<Jwk>(jwk).is_err());
    }
}

fn encoding(name: &'static str) -> JwkError {
    JwkError::Encoding { name }
}

/// req: CRED-04 (part)
#[test]
fn rfc7517_4_private_members_are_refused() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for value in [json!("AQAB"), json!(""), json!([1]), json!(false)] {
            let jwk = changed("wit", json!({ name: value }));
            assert_eq!(Jwk::from_value(&jwk), Err(JwkError::PrivateMember { name }));
        }
    }
    let symmetric = json!({"kty": "oct", "k": "AQAB"});
    assert_eq!(Jwk::from_value(&symmetric), Err(JwkError::PrivateMember { name: "k" }));
    for name in ["wit", "rfc7515_a_2", "rfc8037_a_4"] {
        let refused = Jwk::from_value(&published(name)["key"]);
        assert_eq!(refused, Err(JwkError::PrivateMember { name: "d" }));
    }
}

#[test]
fn rfc7517_4_member_names_are_unique() {
    let jwk = published_jwk("wit").to_string();
    let twice = jwk.replacen('{', r#"{"kid":"x","#, 1);
    assert!(matches!(Jwk::parse(&twice), Err(JwkError::Json(_))));
    let ignored_twice = jwk.replacen('{', r#"{"a":1,"a":2,"#, 1);
    assert!(matches!(Jwk::parse(&ignored_twice), Err(JwkError::Json(_))));
    let ignored = jwk.replacen('{', r#"{"a":1,"#, 1);
    assert_eq!(Jwk::parse(&ignored), Jwk::parse(&jwk));
    for text in ["[]", "null", r#"["EC","P-256"]"#] {
        assert!(matches!(Jwk::parse(text), Err(JwkError::Json(_))), "{text}");
        let value = serde_json::from_str(text).unwrap();
        assert!(matches!(Jwk::from_value(&value), Err(JwkError::Json(_))), "{text}");
    }
}

#[test]
fn rfc7517_4_2_and_4_3_key_must_be_for_signatures() {
    for (changes, allowed) in [
        (json!({}), true),
        (json!({"use": "sig"}), true),
        (json!({"use": "jwt-svid"}), true),
        (json!({"use": "enc"}), false),
        (json!({"key_ops": ["verify"]}), true),
        (json!({"key_ops": ["sign", "verify"]}), true),
        (json!({"key_ops": ["deriveKey"]}), false),
        (json!({"key_ops": []}), false),
        (json!({"use": "sig", "key_ops": ["encrypt"]}), false),
    ] {
        let key = PublicKey::from_jwk(&Jwk::from_value(&changed("wit", changes.clone())).unwrap());
        let refused = Err(JwkError::NotForSignatures);
        assert_eq!(key.map(|_| ()), if allowed { Ok(()) } else { refused }, "{changes}");
    }
}

#[test]
fn rfc7517_4_jwks_are_written_as_they_were_read() {
    for (base, changes) in [
        ("wit", json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"]})),
        ("rfc7515_a_2", json!({"kid": "June 5", "alg": "PS512"})),
        ("rfc7515_a_4", json!({})),
        ("rfc8037_a_4", json!({"alg": "EdDSA"})),
    ] {
        let value = changed(base, changes);
        let jwk = Jwk::from_value(&value).unwrap();
        assert_eq!(jwk.to_value(), value);
        assert_eq!(serde_json::to_value(&jwk).unwrap(), value);
        assert_eq!(serde_json::from_value::<Jwk>(value).unwrap(), jwk);
    }
}

#[test]
fn rfc5280_4_1_public_key_info_is_read_back() {
    for name in ["wit", "rfc7515_a_2", "rfc7515_a_4", "rfc8037_a_4"] {
        let key = PublicKey::from_jwk(&Jwk::from_value(&published_jwk(name)).unwrap()).unwrap();
        let same = PublicKey::from_spki_der(key.spki_der()).unwrap();
        assert_eq!(same, key);
        assert_eq!(same.to_jwk().thumbprint(), key.thumbprint());
        assert_eq!(same.algorithms().collect::<Vec<_>>(), key.algorithms().collect::<Vec<_>>());
        let mut spki = key.spki_der().to_vec();
        spki.push(0);
        assert!(PublicKey::from_spki_der(&spki).is_err(), "{name}: trailing octet");
        spki.truncate(spki.len() - 2);
        assert!(PublicKey::from_spki_der(&spki).is_err(), "{name}: cut");
        // Another algorithm identifier of the same length.
        let mut spki = key.spki_der().to_vec();
        spki[8] ^= 1;
        assert!(PublicKey::from_spki_der(&spki).is_err(), "{name}: other identifier");
    }
    assert_eq!(PublicKey::from_spki_der(&[]).unwrap_err(), KeyError::UnsupportedSpki);
}

#[test]
fn rfc7517_4_7_certificate_must_be_of_the_key() {
    let bundle =
        include_str!("../../../../vectors/spiffe/bundle-spiffebundle--spiffebundle_valid_1.json");
    let bundle: Value = serde_json::from_str(bundle).unwrap();
    let entries = bundle["keys"].as_array().unwrap();
    let entry = entries.iter().find(|key| key["use"] == "x509-svid").unwrap();
    let jwk = Jwk::from_value(entry).unwrap();
    assert_eq!(jwk.use_(), Some("x509-svid"));
    assert_eq!(STANDARD.encode(&jwk.x5c()[0]), entry["x5c"][0].as_str().unwrap());
    assert_eq!(jwk.to_value()["x5c"], entry["x5c"]);

    let other = changed("wit", json!({"x5c": entry["x5c"]}));
    assert_eq!(Jwk::from_value(&other), Err(JwkError::CertificateKey));
    let many = vec![jwk.x5c()[0].clone(); 11];
    let refused = jwk.with_x5c(many).unwrap_err();
    assert_eq!(refused, JwkError::CertificateCount { count: 11, max: 10 });
}

#[test]
fn rfc7517_5_unusable_entries_are_ignored_and_listed() {
    let text = json!({
        "spiffe_sequence": 7,
        "keys": [
            published_jwk("wit"),
            {"kty": "oct", "k": "AQAB"},
            {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
            "no object",
            published("rfc7515_a_3")["key"],
            published_jwk("rfc8037_a_4"),
        ],
    });
    let set = KeySet::parse(&text.to_string()).unwrap();
    let types: Vec<KeyType> = set.keys().iter().map(Jwk::key_type).collect();
    assert_eq!(types, [KeyType::P256, KeyType::Ed25519]);
    let indices: Vec<usize> = set.ignored().iter().map(|ignored| ignored.index).collect();
    assert_eq!(indices, [1, 2, 3, 4]);
    let private = JwkError::PrivateMember { name: "d" };
    assert_eq!(set.ignored()[3], Ignored { index: 4, reason: private });
    assert_eq!(set.by_kid(&KeyId::parse("June 5").unwrap()), set.keys().first());
    assert_eq!(set.by_kid(&KeyId::parse("june 5").unwrap()), None);
    let written = serde_json::to_value(&set).unwrap();
    let expected = json!({"keys": [published_jwk("wit"), published_jwk("rfc8037_a_4")]});
    assert_eq!(written, expected);
}

#[test]
fn rfc7517_5_sets_are_bounded_objects() {
    let of = |count: usize| json!({"keys": vec![json!({"kty": "x"}); count]}).to_string();
    assert_eq!(KeySet::parse(&of(128)).unwrap().ignored().len(), 128);
    let too_many = Err(KeySetError::TooManyKeys { max: 128 });
    assert_eq!(KeySet::parse(&of(129)), too_many);
    assert_eq!(KeySet::parse(&of(5_000)), too_many);
    let key = Jwk::from_value(&published_jwk("wit")).unwrap();
    assert_eq!(KeySet::new(vec![key; 129]), too_many);
    let long = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(600_000));
    assert!(matches!(KeySet::parse(&long), Err(KeySetError::TooLong { .. })));
    for text in ["{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "", r#"{"keys":[}"#] {
        assert!(matches!(KeySet::parse(text), Err(KeySetError::Json(_))), "{text}");
    }
}

#[test]
fn every_algorithm_signs_and_verifies() {
    let keys = ["wit", "rfc7515_a_4", "rfc8037_a_4", "rfc7515_a_2"].map(published_key);
    let mut covered = Vec::new();
    for key in keys {
        for algorithm in ALL {
            let Ok(public) = PublicKey::from_spki_der(key.public().spki_der())
                .unwrap()
                .for_algorithm(*algorithm)
            else {
                continue;
            };
            let text = published_for(&key);
            let key = PrivateKey::from_jwk_private_text(&text).unwrap();
            let key = key.for_algorithm(*algorithm).unwrap();
            assert_eq!((key.algorithm(), key.public()), (*algorithm, &public));
            let signature = key.sign(b"message");
            let good = public.verify(*algorithm, b"message", signature.as_bytes());
            assert_eq!(good, Ok(()), "{algorithm}");
            assert!(public.verify(*algorithm, b"massage", signature.as_bytes()).is_err());
            covered.push(*algorithm);
        }
    }
    // ES384 has no published key here; its own is made below.
    covered.sort();
    let expected: Vec<_> =
        ALL.iter().copied().filter(|algorithm| *algorithm != Algorithm::Es384).collect();
    assert_eq!(covered, expected);
    let pair = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING);
    let der = pair.unwrap().to_pkcs8v1().unwrap();
    let key = PrivateKey::from_pkcs8(der.as_ref()).unwrap();
    let signature = key.sign(b"message");
    assert_eq!(signature.as_bytes().len(), 96);
    assert_eq!(key.public().verify(Algorithm::Es384, b"message", signature.as_bytes()), Ok(()));
    let wrong = KeyError::WrongAlgorithm { algorithm: Algorithm::Es256, key_type: KeyType::P384 };
    assert_eq!(key.for_algorithm(Algorithm::Es256).unwrap_err(), wrong);
}

fn published_for(key: &PrivateKey) -> String {
    let names = ["wit", "rfc7515_a_4", "rfc8037_a_4", "rfc7515_a_2"];
    let found = names.into_iter().find(|name| published_key(name).public() == key.public());
    published(found.unwrap())["key"].to_string()
}

#[test]
fn rfc5958_private_keys_are_read() {
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa_der: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    for (der, algorithm) in [
        (ec.to_pkcs8v1().unwrap().as_ref(), Algorithm::Es256),
        (ed.to_pkcs8().unwrap().as_ref(), Algorithm::EdDsa),
        (ed.to_pkcs8v1().unwrap().as_ref(), Algorithm::EdDsa),
        (rsa_der.as_ref(), Algorithm::Rs256),
    ] {
        let key = PrivateKey::from_pkcs8(der).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let signature = key.sign(b"message");
        assert_eq!(key.public().verify(algorithm, b"message", signature.as_bytes()), Ok(()));
        let cut = PrivateKey::from_pkcs8(&der[..der.len() - 1]).unwrap_err();
        assert_eq!(cut, PrivateKeyError::Unsupported);
        match key.to_jwk_private_text() {
            Ok(text) => {
                let same = PrivateKey::from_jwk_private_text(text.expose()).unwrap();
                assert_eq!(same.public(), key.public());
            }
            Err(refused) => {
                assert_eq!((refused, algorithm), (PrivateKeyError::Unsupported, Algorithm::Rs256));
            }
        }
    }
}

#[test]
fn private_jwks_that_do_not_fit_are_refused() {
    let with = |changes: Value| {
        let mut key = published("wit")["key"].clone();
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        PrivateKey::from_jwk_private_text(&key.to_string()).map(|_| ()).unwrap_err()
    };
    let other = &published("rfc7515_a_3")["key"]["d"];
    assert_eq!(with(json!({"d": other})), PrivateKeyError::Invalid);
    assert_eq!(with(json!({"d": null})), PrivateKeyError::Member { name: "d" });
    assert_eq!(with(json!({"y": "="})), PrivateKeyError::Member { name: "y" });
    assert_eq!(with(json!({"crv": "P-384"})), PrivateKeyError::Invalid);
    assert_eq!(with(json!({"crv": "secp256k1"})), PrivateKeyError::Unsupported);
    assert_eq!(with(json!({"kty": "oct"})), PrivateKeyError::Unsupported);
    let not_json = PrivateKey::from_jwk_private_text("").unwrap_err();
    assert!(matches!(not_json, PrivateKeyError::Json(_)));
}

#[test]
fn private_keys_do_not_show_themselves() {
    let key = published_key("wit");
    let text = key.to_jwk_private_text().unwrap();
    let d = published("wit")["key"]["d"].as_str().unwrap().to_owned();
    assert!(text.expose().contains(&d));
    assert_eq!(format!("{text:?}"), "PrivateJwk(…)");
    let shown = format!("{key:?}");
    assert!(!shown.contains(&d) && shown.starts_with("PrivateKey(ES256, of "), "{shown}");
}
