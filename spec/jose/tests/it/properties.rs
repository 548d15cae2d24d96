//! What holds for any input.

use jose::{Jwk, KeyId, KeySet, PublicKey, SigningInput, Unverified, json};
use proptest::prelude::*;
use time::{Span, UnixTime};

use crate::*;

/// JSON without repeated members, and whether a naive reading finds one in its text.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~é\\\\\"{}\\[\\],:]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c\\\\\"é{},]{0,2}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn claims() -> impl Strategy<Value = PlainClaims> {
    let text = prop::option::of("[^\u{0}]{1,40}");
    let date = || 0..10_000_u64;
    (text, prop::collection::vec(".{1,20}", 1..4), date()).prop_map(|(iss, aud, iat)| PlainClaims {
        iss,
        aud: Some(Audience::Several(aud)),
        exp: Some(NumericDate::from_seconds(20_000)),
        nbf: None,
        iat: Some(NumericDate::from_seconds(iat)),
    })
}

proptest! {
    #[test]
    fn parsers_never_panic_on_text(text in ".{0,200}") {
        let _ = Unverified::<Plain>::parse(&text);
        let _ = Jwk::parse(&text);
        let _ = KeySet::parse(&text);
        let _ = PrivateKey::from_jwk_private_text(&text);
        let _ = KeyId::parse(&text);
    }

    #[test]
    fn parsers_never_panic_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = PublicKey::from_spki_der(&bytes);
        let _ = PrivateKey::from_pkcs8(&bytes);
        let _ = json::parse_bytes::<Value>(&bytes);
        let parts = format!("{0}.{0}.{0}", encode(&bytes));
        let _ = Unverified::<Plain>::parse(&parts);
    }

    #[test]
    fn no_altered_token_verifies(index in 0..500_usize, bit in 0..7_u8) {
        let good = published_token("rfc7515_a_3");
        let mut bytes = good.into_bytes();
        let index = index % bytes.len();
        bytes[index] ^= 1 << bit;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let key = published_key("rfc7515_a_3");
        let now = UnixTime::EPOCH;
        let accepted = Unverified::<Plain>::parse(&text)
            .is_ok_and(|token| token.verify(key.public(), ALL, now, Span::ZERO).is_ok());
        prop_assert!(!accepted);
    }

    #[test]
    fn what_is_signed_is_read_back(claims in claims(), kid in "[ -~]{1,30}") {
        let key = published_key("rfc8037_a_4");
        let kid = KeyId::parse(&kid).unwrap();
        let input = SigningInput::<Typed>::new(Algorithm::EdDsa, Some(&kid), &claims).unwrap();
        let signature = key.sign(input.bytes());
        let token = input.attach(signature);
        let now = UnixTime::from_seconds(10_000);
        let read = Unverified::<Typed>::parse(token.as_str()).unwrap();
        let read = read.verify(key.public(), &[Algorithm::EdDsa], now, Span::ZERO).unwrap();
        prop_assert_eq!(read.kid(), Some(&kid));
        prop_assert_eq!(read.token_hash(), token.token_hash());
        prop_assert_eq!(read.into_claims(), claims);
    }

    #[test]
    fn strict_json_takes_what_has_no_repeated_member(value in any_json()) {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "of": value })).unwrap();
        let read = json::parse::<Value>(&text).unwrap();
        prop_assert_eq!(&read["of"], &value);
        // The same with the whole once more, under the same name and with another spelling of it.
        for name in ["of", "\\u006ff", "o\\u0066"] {
            let twice = text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
            let refused = json::parse::<Value>(&twice).unwrap_err();
            let expected = json::NotStrict::DuplicateMember { name: "of".to_owned() };
            prop_assert_eq!(refused, expected);
        }
    }
}
