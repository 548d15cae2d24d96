use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use spiffe::form::FormError;
use spiffe::{AuthorityError, Bundle, BundleError, BundleKey, BundleMapError, BundleSet, Skipped};
use time::Span;

use crate::fixture::{Domain, bundles, domain, kid, p256, vector};

/// How many keys of each use a bundle has.
fn counts(bundle: &Bundle) -> [usize; 3] {
    [bundle.x509_authorities().len(), bundle.jwt_keys().len(), bundle.wit_keys().len()]
}

/// req: CRED-12 (part)
#[test]
fn spiffe_bundle_4_published_bundles_are_read() {
    for (name, expect, sequence, refresh, ignored) in [
        ("spiffebundle_valid_1", [1, 1, 0], None, 300, vec![]),
        ("spiffebundle_valid_2", [1, 6, 0], Some(1), 60, vec![]),
        ("spiffebundle_valid_with_wit", [1, 2, 2], Some(1), 60, vec![]),
        ("spiffebundle_multiple_x509", [1, 1, 0], None, 300, vec![]),
        ("spiffebundle_missing_kid", [1, 0, 0], None, 300, vec![(1, Skipped::NoKeyId)]),
    ] {
        let bundle = Bundle::parse(&vector(&format!("bundle-spiffebundle--{name}.json"))).unwrap();
        assert_eq!(counts(&bundle), expect, "{name}");
        assert_eq!(bundle.sequence(), sequence, "{name}");
        assert_eq!(bundle.refresh_hint(), Span::from_seconds(refresh), "{name}");
        let listed: Vec<_> =
            bundle.ignored().iter().map(|entry| (entry.index, entry.reason.clone())).collect();
        assert_eq!(listed, ignored, "{name}");
    }
    let no_keys = Bundle::parse(&vector("bundle-spiffebundle--spiffebundle_no_keys.json"));
    assert_eq!(no_keys, Err(BundleError::NoKeys));
    // A plain JWK Set has no `use`: nothing in it is for SVIDs.
    let plain = Bundle::parse(&vector("bundle-jwtbundle--jwks_valid_2.json")).unwrap();
    assert!(plain.is_empty());
    assert!(plain.ignored().iter().all(|entry| entry.reason == Skipped::NoUse));
}

/// req: CRED-12 (part)
#[test]
fn spiffe_bundle_4_what_was_published_is_read() {
    let ours = Domain::new("ours.example");
    let bundle = ours.bundle();
    let value = bundle.to_value();
    assert_eq!(Bundle::parse(&value.to_string()).unwrap(), bundle);
    assert_eq!(
        (value["spiffe_sequence"].as_u64(), &value["spiffe_refresh_hint"]),
        (Some(7), &json!(60))
    );
    let entry = |use_: &str| {
        let keys = value["keys"].as_array().unwrap();
        keys.iter().find(|entry| entry["use"] == use_).unwrap().clone()
    };
    let x509 = entry("x509-svid");
    let members: BTreeSet<_> = x509.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["crv", "kty", "use", "x", "x5c", "y"]));
    assert_eq!(x509["x5c"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&entry("jwt-svid")["kid"], &entry("wit-svid")["kid"]),
        (&json!("jwt-1"), &json!("wit-1"))
    );
    assert_eq!(counts(&bundle.without_wit()), [1, 1, 0]);
    assert!(!bundle.without_wit().to_value().to_string().contains("wit-svid"));
    let plain = bundle.to_jwt_key_set();
    assert_eq!(plain["keys"].as_array().unwrap().len(), 1);
    assert_eq!((&plain["keys"][0]["kid"], plain["keys"][0].get("use")), (&json!("jwt-1"), None));
    assert_eq!(bundle.to_wit_key_set()["keys"][0]["kid"], "wit-1");
}

#[test]
fn spiffe_bundle_4_1_3_entries_that_are_not_understood_are_ignored() {
    let ours = Domain::new("ours.example");
    let full = ours.bundle().to_value();
    let entry = |index: usize, edit: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut entry = full["keys"][index].clone();
        edit(entry.as_object_mut().unwrap());
        entry
    };
    let leaf = {
        use base64::Engine;
        let leaf = ours.leaf(|_| {});
        base64::engine::general_purpose::STANDARD.encode(leaf.der())
    };
    type Edit<'a> = Box<dyn Fn(&mut serde_json::Map<String, Value>) + 'a>;
    let set = |name: &'static str, value: Value| -> Edit<'_> {
        Box::new(move |entry| {
            entry.insert(name.to_owned(), value.clone());
        })
    };
    let cases: Vec<(usize, Edit<'_>, Skipped)> = vec![
        (1, Box::new(|entry| drop(entry.remove("kty"))), Skipped::NoKeyType),
        (1, set("kty", json!("future")), Skipped::UnknownKeyType),
        (1, Box::new(|entry| drop(entry.remove("use"))), Skipped::NoUse),
        (1, set("use", json!("JWT-SVID")), Skipped::UnknownUse),
        (1, set("use", json!("sig")), Skipped::UnknownUse),
        (1, Box::new(|entry| drop(entry.remove("kid"))), Skipped::NoKeyId),
        (2, Box::new(|entry| drop(entry.remove("kid"))), Skipped::NoKeyId),
        (0, Box::new(|entry| drop(entry.remove("x5c"))), Skipped::NoCertificate),
        (0, set("x5c", json!([])), Skipped::NoCertificate),
        (0, set("x5c", json!([5])), Skipped::NoCertificate),
        (0, set("x5c", json!(["?"])), Skipped::Encoding),
        (0, set("x5c", json!(["AAAA"])), Skipped::Certificate(x509::Malformed::Encoding)),
        (0, set("x5c", json!([leaf])), Skipped::Authority(AuthorityError::NotAuthority)),
    ];
    for (index, edit, reason) in cases {
        let text = json!({ "keys": [entry(index, &edit), full["keys"][1]] }).to_string();
        let bundle = Bundle::parse(&text).unwrap();
        let ignored = [spiffe::IgnoredEntry { index: 0, reason }];
        assert_eq!((bundle.ignored(), counts(&bundle)), (&ignored[..], [0, 1, 0]));
    }
    // A point off its curve, and a private key where a public one belongs.
    for edit in [set("x", json!("AAAA")), set("d", json!("AAAA"))] {
        let text = json!({ "keys": [entry(1, &edit)] }).to_string();
        let bundle = Bundle::parse(&text).unwrap();
        assert!(matches!(bundle.ignored()[0].reason, Skipped::Key(_)) && bundle.is_empty());
    }
}

#[test]
fn spiffe_bundle_4_texts_that_are_no_bundle_are_refused() {
    for (text, expect) in [
        ("{}", BundleError::NoKeys),
        (r#"{"keys":{}}"#, BundleError::NoKeys),
        (r#"{"keys":[],"spiffe_sequence":"1"}"#, BundleError::NotANumber("spiffe_sequence")),
        (r#"{"keys":[],"spiffe_sequence":-1}"#, BundleError::NotANumber("spiffe_sequence")),
        (
            r#"{"keys":[],"spiffe_refresh_hint":1.5}"#,
            BundleError::NotANumber("spiffe_refresh_hint"),
        ),
    ] {
        assert_eq!(Bundle::parse(text), Err(expect), "{text}");
    }
    for text in ["", "[]", r#"{"keys":[],"keys":[]}"#] {
        assert!(matches!(Bundle::parse(text), Err(BundleError::Json(_))), "{text}");
    }
    let largest = format!(r#"{{"keys":[],"spiffe_sequence":{}}}"#, u64::MAX);
    let empty = Bundle::parse(&largest).unwrap();
    assert_eq!((empty.sequence(), empty.is_empty()), (Some(u64::MAX), true));
    let many = json!({ "keys": vec![json!({}); 129] }).to_string();
    assert_eq!(Bundle::parse(&many), Err(BundleError::TooManyEntries { count: 129 }));
    let long = " ".repeat(1024 * 1024 + 1);
    assert_eq!(Bundle::parse(&long), Err(BundleError::TooLong { bytes: long.len() }));
}

#[test]
fn wit_svid_6_1_a_key_id_names_one_key_in_all_uses() {
    let key = |id: &str| BundleKey { kid: kid(id), key: p256().public().clone() };
    let hint = Span::from_seconds(60);
    for (jwt, wit) in [(vec![key("a"), key("a")], vec![]), (vec![key("a")], vec![key("a")])] {
        let bundle = Bundle::new(1, hint, vec![], jwt, wit);
        assert_eq!(bundle, Err(BundleError::DuplicateKeyId(kid("a"))));
    }
    let leaf = Domain::new("ours.example").leaf(|_| {});
    let refused = Bundle::new(1, hint, vec![leaf], vec![], vec![]);
    assert_eq!(refused, Err(BundleError::Authority(AuthorityError::NotAuthority)));
    let many = (0..129).map(|index| key(&index.to_string())).collect();
    let refused = Bundle::new(1, hint, vec![], many, vec![]);
    assert_eq!(refused, Err(BundleError::TooManyEntries { count: 129 }));
}

/// req: CRED-12 (part)
#[test]
fn spiffe_bundle_5_maps_round_trip_and_names_stand_once() {
    let (ours, theirs) = (Domain::new("ours.example"), Domain::new("theirs.example"));
    let set = bundles(&[&ours, &theirs]);
    let map = set.to_map();
    assert!(!map.to_string().contains("refresh_hint"));
    let read = BundleSet::parse_map(&map.to_string()).unwrap();
    let names: Vec<_> = read.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, [ours.name.clone(), theirs.name.clone()]);
    let authorities = |set: &BundleSet| set.get(&ours.name).unwrap().x509_authorities().to_vec();
    assert_eq!(authorities(&read), authorities(&set));
    let name = |name: &str, reason| BundleMapError::Name { name: name.to_owned(), reason };
    let bundle = BundleMapError::Bundle { domain: domain("a"), reason: BundleError::NoKeys };
    for (text, expect) in [
        ("{}", BundleMapError::NoTrustDomains),
        (r#"{"trust_domains":[]}"#, BundleMapError::NoTrustDomains),
        (r#"{"trust_domains":{"A":{"keys":[]}}}"#, name("A", FormError::UpperCase('A').into())),
        (
            r#"{"trust_domains":{"spiffe://a":{"keys":[]}}}"#,
            name("spiffe://a", FormError::Port.into()),
        ),
        (r#"{"trust_domains":{"a":[]}}"#, bundle.clone()),
        (r#"{"trust_domains":{"a":{}}}"#, bundle),
    ] {
        assert_eq!(BundleSet::parse_map(text), Err(expect), "{text}");
    }
    for text in [
        r#"{"trust_domains":{"a":{"keys":[]},"a":{"keys":[]}}}"#,
        r#"{"trust_domains":{"a":{"keys":[]},"\u0061":{"keys":[]}}}"#,
        r#"{"trust_domains":{},"trust_domains":{}}"#,
        "",
    ] {
        assert!(matches!(BundleSet::parse_map(text), Err(BundleMapError::Json(_))), "{text}");
    }
    assert_eq!(BundleSet::parse_map(r#"{"trust_domains":{}}"#), Ok(BundleSet::new()));
}

proptest! {
    #[test]
    fn spiffe_bundle_4_reading_never_panics(text in "\\PC{0,80}") {
        let _ = Bundle::parse(&text);
        let _ = Bundle::parse(&format!(r#"{{"keys":[{text}]}}"#));
        let _ = BundleSet::parse_map(&format!(r#"{{"trust_domains":{text}}}"#));
    }
}
