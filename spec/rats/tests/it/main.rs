//! Published attestation results, and what is no longer one after a change.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

use jose::{Algorithm, Jwk, KeyId, PrivateKey, PublicKey, SigningInput, Unverified};
use rats::{Appraisal, Claim, Cmw, CmwError, Contents, Ear, EarToken, Profile, Tier, Vector};
use serde_json::{Value, json};
use time::{Span, UnixTime};

const NOW: UnixTime = UnixTime::from_seconds(1_780_000_000);

fn vector(name: &str) -> Value {
    let path = format!("{}/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn read(claims: &Value) -> Result<Ear, String> {
    serde_json::from_value(claims.clone()).map_err(|error| error.to_string())
}

/// req: ATT-04 (part)
#[test]
fn ear_3_published_results_of_every_profile_are_read() {
    let check = |name: &str, profile, submodule: &str, tier| {
        let ear = read(&vector(name)).unwrap();
        assert_eq!((ear.profile, ear.tier()), (profile, tier), "{name}");
        assert_eq!(ear.submods[submodule].tier(), tier, "{name}");
    };
    check("ear-draft-1", Profile::Ear03, "PSA", Tier::Contraindicated);
    check("ear-draft-2", Profile::Ear03, "CCA Realm", Tier::Affirming);
    check("ear-claims-tv-ok", Profile::Veraison, "test", Tier::Affirming);
    check("ear-claims-key-attestation-ok", Profile::Veraison, "PARSEC_TPM", Tier::Affirming);
    check("ear-claims-key-attestation-ko", Profile::Veraison, "PARSEC_TPM", Tier::Contraindicated);
    check("ear-trustee", Profile::Trustee, "cpu0", Tier::Contraindicated);
    // They say `affirming` and show no vector: nothing is known.
    check("ear-claims", Profile::Veraison, "test", Tier::None);
    check("ear-claims-extension-ok", Profile::Veraison, "test", Tier::None);
    let ear = read(&vector("ear-trustee")).unwrap();
    let found = ear.submods["cpu0"].vector.unwrap();
    assert_eq!(found.to_string(), "configuration 36, executables 33, hardware 97");
}

/// req: ATT-04 (part)
#[test]
fn ear_3_the_key_that_a_verifier_found_attested_is_read() {
    let ok = read(&vector("ear-claims-key-attestation-ok")).unwrap();
    let key = ok.submods["PARSEC_TPM"].key.clone().unwrap();
    assert!(jose::PublicKey::from_spki_der(&key).is_ok());
    let written = serde_json::to_value(&ok).unwrap();
    let again: Ear = serde_json::from_value(written).unwrap();
    assert_eq!(again.submods["PARSEC_TPM"].key, Some(key));
    // None is attested where the verifier leaves it empty.
    let none = read(&vector("ear-claims-key-attestation-ko")).unwrap();
    assert_eq!(none.submods["PARSEC_TPM"].key, None);
    let at = "/submods/PARSEC_TPM/ear.veraison.key-attestation";
    for bad in [json!({ "akpub": "=" }), json!({ "akpub": 7 }), json!("AAAA"), json!({ "k": "" })] {
        assert!(changed("ear-claims-key-attestation-ok", at, bad).is_err());
    }
}

/// A change of a published result: the JSON pointer, the new value (`null` takes it away).
fn changed(name: &str, pointer: &str, value: Value) -> Result<Ear, String> {
    let mut claims = vector(name);
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(last);
    } else {
        parent.insert(last.to_owned(), value);
    }
    read(&claims)
}

/// req: ATT-04 (part)
#[test]
fn ear_3_what_is_no_result_is_refused() {
    let check = |pointer: &str, value: Value, why: &str| {
        let refused = changed("ear-draft-1", pointer, value).unwrap_err();
        assert!(refused.starts_with(why), "{pointer}: {refused}");
    };
    check("/eat_profile", Value::Null, "`eat_profile` is not one that is read");
    check("/eat_profile", json!("tag:ietf.org,2026:rats/ear#99"), "`eat_profile` is not one");
    check("/iat", Value::Null, "no `iat`");
    check("/iat", json!(1.5e9), "`iat` is not a whole number");
    check("/exp", json!(2.0e9), "`exp` is not a whole number");
    check("/exp", json!("1700000000"), "`exp` is not a whole number");
    check("/ear_verifier_id", Value::Null, "no `ear_verifier_id`");
    check("/ear_verifier_id", json!({"developer": "x"}), "`ear_verifier_id` is not an object");
    check("/submods", Value::Null, "no `submods`");
    check("/submods", json!({}), "`submods` is not an object with at least one");
    check("/submods/PSA", json!(2), "`submods` is not a map of objects");
    check("/eat_nonce", json!("short"), "`eat_nonce` is not a text of 8 to 88");
    check("/submods/PSA/ear_status", Value::Null, "no `ear_status`");
    check("/submods/PSA/ear_status", json!("good"), "no trustworthiness tier `good`");
    check("/submods/PSA/ear_appraisal_policy_ids", json!([]), "`ear_appraisal_policy_ids` is not");
    check("/submods/PSA/ear_appraisal_policy_ids", json!("one"), "`ear_appraisal_policy_ids`");
    check("/submods/PSA/ear_trustworthiness_vector/hardware", json!(300), "trustworthiness claim");
    // Names of the other generation say nothing that is heard.
    check("/ear.status", json!("affirming"), "`ear.status` is a name of another profile");
    check("/submods/PSA/ear.status", json!("affirming"), "`ear.status` is a name of another");
    let old = changed("ear-claims-tv-ok", "/ear_status", json!("affirming")).unwrap_err();
    assert!(old.starts_with("`ear_status` is a name of another profile"), "{old}");
}

/// req: ATT-04 (part)
#[test]
fn ear_3_1_a_tier_better_than_its_vector_is_refused() {
    let status = "/submods/PSA/ear_status";
    for said in [json!("affirming"), json!("warning"), json!("none"), json!(2)] {
        let refused = changed("ear-draft-1", status, said).unwrap_err();
        let worst = "its worst claim is `contraindicated`";
        assert!(refused.starts_with("submodule `PSA` says") && refused.ends_with(worst));
    }
    let top = changed("ear-draft-1", "/ear_status", json!("affirming")).unwrap_err();
    assert_eq!(top, "the result says `affirming`, its worst claim is `contraindicated`");
    // A worse one is the verifier's to say, and counts.
    let label = "/submods/CCA Realm/ear_status";
    let worse = changed("ear-draft-2", label, json!("contraindicated")).unwrap();
    assert_eq!(worse.tier(), Tier::Contraindicated);
    let dropped = changed("ear-draft-1", "/submods/PSA/ear_trustworthiness_vector", Value::Null);
    assert_eq!(dropped.unwrap().tier(), Tier::Contraindicated);
}

/// req: ATT-04 (part)
#[test]
fn ear_3_the_published_token_has_a_good_signature_and_a_bad_date() {
    let published = vector("ear-signed");
    let key = PublicKey::from_jwk(&Jwk::parse(&published["key"].to_string()).unwrap()).unwrap();
    let token = published["token"].as_str().unwrap();
    // Its `iat` is `1.666529184e+09`: RFC 9711 §4.3.1 and EAR §3 forbid that.
    let refused = Unverified::<EarToken>::parse(token).unwrap_err().to_string();
    assert!(refused.contains("`iat` is not a whole number"), "{refused}");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature);
    key.verify(Algorithm::Es256, signed.as_bytes(), &signature.unwrap()).unwrap();
}

/// req: ATT-04 (part)
#[test]
fn ear_3_a_result_that_is_written_is_read_as_the_same() {
    let good = Vector::NONE.with(Claim::InstanceIdentity, 2).with(Claim::Executables, 3);
    let warned = good.with(Claim::Configuration, 32);
    let submods = [("node", good), ("aibom", warned)];
    let ear = Ear {
        profile: Profile::Ear04,
        issued: NOW,
        expires: Some(NOW.plus(Span::from_seconds(60))),
        verifier: rats::VerifierId { developer: "https://a.example".into(), build: "1".into() },
        issuer: Some("https://verifier.example".into()),
        subject: Some("spiffe://demo.example/agent/a".into()),
        nonce: Some("AAECAwQFBgc".into()),
        submods: submods.map(|(name, one)| (name.into(), Appraisal::new(one, "p/1"))).into(),
    };
    let key = PrivateKey::from_jwk_private_text(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#,
    )
    .unwrap();
    let kid = KeyId::parse("k").unwrap();
    let input = SigningInput::<EarToken>::new(Algorithm::Es256, Some(&kid), &ear).unwrap();
    let signature = key.sign(input.bytes());
    let text = input.attach(signature).into_string();
    let token = |text: &str, now| {
        let token = Unverified::<EarToken>::parse(text).map_err(|error| error.to_string())?;
        let verified = token.verify(key.public(), &[Algorithm::Es256], now, Span::ZERO);
        verified.map(jose::Verified::into_claims).map_err(|error| error.to_string())
    };
    let again = token(&text, NOW).unwrap();
    assert_eq!((again.tier(), &again), (Tier::Warning, &ear));
    assert!(token(&text, NOW.plus(Span::from_seconds(60))).unwrap_err().starts_with("expired"));
    let mut twin = text.into_bytes();
    let middle = twin.len() / 2;
    twin[middle] = if twin[middle] == b'A' { b'B' } else { b'A' };
    assert!(token(&String::from_utf8(twin).unwrap(), NOW).is_err());
}

/// req: ATT-04 (part)
#[test]
fn cmw_3_messages_are_read_with_their_labels() {
    let text = r#"{"__cmwc_t":"tag:example.com,2024:composite-attester",
        "bom":["application/vnd.cyclonedx+json","e30"],
        "more":{"result":["application/eat+jwt; eat_profile=\"tag:a,2024:b\"","AAE",8]}}"#;
    let read = Cmw::parse(text.as_bytes()).unwrap();
    let records = read.records();
    let found: Vec<_> = records.iter().map(|(at, one)| (at.as_str(), one.value.len())).collect();
    assert_eq!(found, [("bom", 2), ("more/result", 2)]);
    let contents = records[1].1.contents.unwrap();
    assert!(contents.has(Contents::ATTESTATION_RESULTS) && !contents.has(Contents::EVIDENCE));
    assert_eq!(Cmw::read(&read.to_json()), Ok(read));
}

/// req: ATT-04 (part)
#[test]
fn cmw_3_what_is_no_wrapper_is_refused() {
    let check = |text: &str, why: CmwError| {
        assert_eq!(Cmw::parse(text.as_bytes()), Err(why), "{text}");
    };
    check("3", CmwError::Shape);
    check(r#"["a/b"]"#, CmwError::Members { count: 1 });
    check(r#"["a/b","AA",1,1]"#, CmwError::Members { count: 4 });
    check(r#"["ab","AA"]"#, CmwError::MediaType { found: "ab".into() });
    check(r#"[60,"AA"]"#, CmwError::MediaType { found: "60".into() });
    check(r#"["a/b","AA=="]"#, CmwError::Value);
    check(r#"["a/b","+/+/"]"#, CmwError::Value);
    for indicator in ["0", "32", "-1", "\"4\"", "4.5"] {
        check(&format!(r#"["a/b","AA",{indicator}]"#), CmwError::Indicator);
    }
    check("{}", CmwError::Empty);
    check(r#"{"__cmwc_t":"tag:a:b"}"#, CmwError::Empty);
    check(r#"{"__cmwc_t":"relative","a":["a/b","AA"]}"#, CmwError::CollectionType);
    check(r#"{"":["a/b","AA"]}"#, CmwError::Label { label: String::new() });
    let deep = r#"{"a":{"a":{"a":{"a":{"a":["a/b","AA"]}}}}}"#;
    assert!(Cmw::parse(deep.as_bytes()).is_err());
    let many: Vec<_> = (0..33).map(|n| format!(r#""{n}":["a/b","AA"]"#)).collect();
    check(&format!("{{{}}}", many.join(",")), CmwError::TooMany { max: 32 });
    // Twice the same label has two meanings.
    assert!(Cmw::parse(br#"{"a":["a/b","AA"],"a":["a/b","AA"]}"#).is_err());
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The examples of the draft, written out by hand from their diagnostic notation.
/// req: ATT-04 (part)
#[test]
fn cmw_5_wrappers_in_cbor_are_those_in_json() {
    // "application/vnd.example.rats-conceptual-msg", h'2347da55'
    let name = "782b 6170706c69636174696f6e2f766e642e6578616d706c652e726174732d636f6e6365707475616c2d6d7367";
    let record = hex(&format!("82 {name} 44 2347da55"));
    let json = json!(["application/vnd.example.rats-conceptual-msg", "I0faVQ"]);
    assert_eq!(Cmw::parse_cbor(&record).unwrap(), Cmw::read(&json).unwrap());
    assert_eq!(Cmw::read(&json).unwrap().to_cbor(), record);
    // "application/rim+cose", h'd28440a044d901f5a040', 3
    let rim = hex("83 74 6170706c69636174696f6e2f72696d2b636f7365 4a d28440a044d901f5a040 03");
    let Cmw::Record(read) = Cmw::parse_cbor(&rim).unwrap() else { panic!("a collection") };
    let said = read.contents.unwrap();
    assert!(said.has(rats::Contents::REFERENCE_VALUES) && said.has(rats::Contents::ENDORSEMENTS));
    // Labels are texts or integers.
    let jwt = "83 73 6170706c69636174696f6e2f6561742b6a7774 43 2e2e2e 08";
    let kind = "68 5f5f636d77635f74 6c 7461673a652c323032343a61";
    let all = hex(&format!("a3 {kind} 02 {jwt} 20 {jwt}"));
    let both = Cmw::parse_cbor(&all).unwrap();
    let labels: Vec<_> = both.records().into_iter().map(|(label, _)| label).collect();
    assert_eq!(labels, ["-1", "2"]);
    assert_eq!(Cmw::parse_cbor(&both.to_cbor()), Ok(both));
}

/// req: ATT-04 (part)
#[test]
fn cmw_5_each_fault_of_a_wrapper_in_cbor_has_its_name() {
    let check = |text: &str, expect: &str| {
        let found = Cmw::parse_cbor(&hex(text)).unwrap_err().to_string();
        assert!(found.starts_with(expect), "{text}: {found}");
    };
    let one = "82 63 612f62 41 00";
    check("", "the item is cut off");
    check("82 19fde7 44 2347da55", "a message by the number 64999; name its media type");
    check("da 63747632 44 2347da55", "a message by the number 1668576818; name its media type");
    check("01", "neither a record nor a collection");
    check("81 63 612f62", "a record has a type");
    check("84 63 612f62 41 00 01 01", "a record has a type");
    check("82 61 61 41 00", "`a` is not a media type");
    check("82 63 612f62 61 61", "the value is not base64url without padding, in cbor a byte");
    check("83 63 612f62 41 00 00", "the indicator is not a number from 1 to 31");
    check("83 63 612f62 41 00 1820", "the indicator is not a number from 1 to 31");
    check("a0", "a collection without an entry");
    check("a1 68 5f5f636d77635f74 63 612f62", "`__cmwc_t` is neither");
    check("a1 68 5f5f636d77635f74 01", "`__cmwc_t` is neither");
    check(&format!("a1 60 {one}"), "`` is not a label");
    check(&format!("a1 40 {one}"), "`` is not a label");
    check(&format!("a2 01 {one} 61 31 {one}"), "`1` is not a label");
    check(&format!("a2 01 {one} 01 {one}"), "a map with one key twice");
    check(&format!("a1 01 a1 01 a1 01 a1 01 a1 01 {one}"), "collections deeper than 4");
    check(&format!("a1 01 a1 01 a1 01 a1 01 {one} 00"), "1 bytes after the item");
    let many: String = (0..33).map(|n| format!("18{:02x} {one}", n + 100)).collect();
    check(&format!("b821 {many}"), "more than 32 messages");
    assert!(Cmw::parse_cbor(&vec![0; rats::CMW_BYTES_MAX + 1]).is_err());
}
