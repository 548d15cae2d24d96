//! What is refused, and by which check.

use jose::json::{MAX_DEPTH, NotStrict};
use jose::{
    Jwk, KeyId, KeySet, KeyType, MAX_TOKEN_BYTES, Malformed, NoKey, NotAKeyId, Part, PublicKey,
    Refused, Signature, SigningInput, Unsignable, Unverified, Verified,
};
use time::{Span, UnixTime};

use crate::*;

const NOW: UnixTime = UnixTime::from_seconds(1_000);

fn issuer() -> PrivateKey {
    published_key("wit")
}

fn parse<K: Kind>(text: &str) -> Result<(), Malformed> {
    Unverified::<K>::parse(text).map(|_| ())
}

fn verify<K: Kind>(text: &str) -> Result<Verified<K>, Refused> {
    Unverified::parse(text).unwrap().verify(issuer().public(), ALL, NOW, Span::ZERO)
}

fn json(part: Part, reason: NotStrict) -> Malformed {
    Malformed::Json { part, reason }
}

/// Defect: `alg` none, and keys of one algorithm taken for another.
/// req: AUTHZ-03 (part)
#[test]
fn rfc8725_3_1_algorithm_none_and_symmetric_are_unknown() {
    for alg in ["none", "None", "noNE", "HS256", "HS512", "ES256K", "A128KW", "es256", ""] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        let refused = Err(Malformed::UnknownAlgorithm { alg: alg.to_owned() });
        assert_eq!(parse::<Plain>(&forge(&issuer(), &header, r#"{"exp":2000}"#)), refused);
        // as RFC 7519 §6.1 writes an unsecured token
        let unsecured = format!("{}.{}.", encode(header.as_bytes()), encode(b"{}"));
        assert_eq!(parse::<Plain>(&unsecured), refused);
    }
    let signed = forge(&issuer(), r#"{"alg":"ES256"}"#, r#"{"exp":2000}"#);
    let (input, _) = signed.rsplit_once('.').unwrap();
    assert_eq!(parse::<Plain>(&format!("{input}.")), Err(Malformed::SignatureAbsent));
    assert_eq!(
        parse::<Plain>(&forge(&issuer(), "{}", r#"{"exp":2000}"#)),
        Err(Malformed::AlgorithmAbsent)
    );
}

/// Defect: the algorithm of the header chooses how the key is used.
/// req: AUTHZ-03 (part)
#[test]
fn rfc8725_3_1_algorithm_must_fit_the_key() {
    let verify_with = |header: &str, key: &PublicKey, accepted: &[Algorithm]| {
        let token = forge(&issuer(), header, r#"{"exp":2000}"#);
        let token = Unverified::<Plain>::parse(&token).unwrap();
        token.verify(key, accepted, NOW, Span::ZERO).map(|_| ()).unwrap_err()
    };
    let ec = issuer().public().clone();
    for algorithm in ALL.iter().copied().filter(|algorithm| *algorithm != Algorithm::Es256) {
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        let wrong = Refused::WrongKey { algorithm, key_type: KeyType::P256 };
        assert_eq!(verify_with(&header, &ec, ALL), wrong);
    }
    let es256 = r#"{"alg":"ES256"}"#;
    let wrong = Refused::WrongKey { algorithm: Algorithm::Es256, key_type: KeyType::Rsa };
    assert_eq!(verify_with(es256, published_key("rfc7515_a_2").public(), ALL), wrong);
    let not_accepted = Refused::AlgorithmNotAccepted { algorithm: Algorithm::Es256 };
    assert_eq!(verify_with(es256, &ec, &[Algorithm::Rs256, Algorithm::EdDsa]), not_accepted);
    assert_eq!(verify_with(es256, &ec, &[]), not_accepted);

    // An RSA key that its JWK gives to one algorithm is not used with another.
    let mut jwk = published_jwk("rfc7515_a_2");
    jwk["alg"] = "PS256".into();
    let key = PublicKey::from_jwk(&Jwk::from_value(&jwk).unwrap()).unwrap();
    let token = Unverified::<Plain>::parse(&published_token("rfc7515_a_2")).unwrap();
    let wrong = Refused::WrongKey { algorithm: Algorithm::Rs256, key_type: KeyType::Rsa };
    assert_eq!(token.verify(&key, ALL, NOW, Span::ZERO).unwrap_err(), wrong);
}

/// Defect: psychic signatures (r = s = 0), and signatures of another length or form.
#[test]
fn rfc7518_3_4_signature_is_64_octets_and_not_zero() {
    let good = forge(&issuer(), r#"{"alg":"ES256"}"#, r#"{"exp":2000}"#);
    assert!(verify::<Plain>(&good).is_ok());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let with =
        |signature: &[u8]| verify::<Plain>(&format!("{input}.{}", encode(signature))).unwrap_err();
    for length in [1, 32, 63, 65, 72, 128] {
        let wrong = Refused::SignatureLength { length, expected: 64 };
        assert_eq!(with(&vec![7; length]), wrong);
    }
    assert_eq!(with(&signature[..63]), Refused::SignatureLength { length: 63, expected: 64 });
    let zeroed = |range: std::ops::Range<usize>| {
        let mut octets = signature.clone();
        octets[range].fill(0);
        octets
    };
    for zero in [zeroed(0..64), zeroed(0..32), zeroed(32..64)] {
        assert_eq!(with(&zero), Refused::Signature);
    }
    for index in [0, 31, 32, 63] {
        let mut flipped = signature.clone();
        flipped[index] ^= 1;
        assert_eq!(with(&flipped), Refused::Signature);
    }
    // r and s of the order of the curve, which are zero modulo it
    let order = "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";
    let order: Vec<u8> = (0..32)
        .map(|index| u8::from_str_radix(&order[2 * index..2 * index + 2], 16).unwrap())
        .collect();
    assert_eq!(with(&[order.clone(), order].concat()), Refused::Signature);
}

/// Defect: the key in the header is trusted.
#[test]
fn rfc7515_4_1_3_embedded_keys_are_not_used() {
    let thief = published_key("rfc7515_a_3");
    let jwk = thief.public().to_jwk().to_value();
    for header in [
        format!(r#"{{"alg":"ES256","jwk":{jwk}}}"#),
        r#"{"alg":"ES256","jku":"https://thief.example/keys"}"#.to_owned(),
        r#"{"alg":"ES256","x5u":"https://thief.example/chain","x5c":["AAAA"]}"#.to_owned(),
    ] {
        let forged = forge(&thief, &header, r#"{"exp":2000}"#);
        assert_eq!(verify::<Plain>(&forged).unwrap_err(), Refused::Signature);
        let genuine = forge(&issuer(), &header, r#"{"exp":2000}"#);
        assert!(verify::<Plain>(&genuine).is_ok(), "ignored where the kind tolerates it");
    }
    let header = format!(r#"{{"alg":"ES256","typ":"test+jwt","jwk":{jwk}}}"#);
    let refused = Malformed::HeaderParameter { name: "jwk".to_owned() };
    assert_eq!(parse::<Typed>(&forge(&issuer(), &header, "{}")), Err(refused));
}

#[test]
fn rfc7515_4_1_11_critical_extensions_are_refused() {
    for crit in [r#"["exp"]"#, r#"["b64"]"#, r#"["alg"]"#, "[]", "null", "1"] {
        let header = format!(r#"{{"alg":"ES256","crit":{crit},"b64":false}}"#);
        let token = forge(&issuer(), &header, r#"{"exp":2000}"#);
        assert_eq!(parse::<Plain>(&token), Err(Malformed::Critical));
    }
}

/// req: AUTHZ-03 (part)
#[test]
fn rfc8725_3_11_type_must_match() {
    let header = |typ: &str| format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#);
    let typed = |typ: &str| Unverified::<Typed>::parse(&forge(&issuer(), &header(typ), "{}"));
    for (typ, read) in [
        ("test+jwt", "test+jwt"),
        ("application/test+jwt", "test+jwt"),
        ("Older-Test+JWT", "older-test+jwt"),
    ] {
        assert_eq!(typed(typ).unwrap().header().typ(), Some(read));
    }
    for typ in ["JWT", "at+jwt", "text/test+jwt", "", "test+jwt;x=y"] {
        let wrong = Malformed::WrongType { found: typ.to_owned(), expected: Typed::TYPES };
        assert_eq!(typed(typ).unwrap_err(), wrong);
    }
    let untyped = forge(&issuer(), r#"{"alg":"ES256"}"#, "{}");
    assert_eq!(parse::<Typed>(&untyped), Err(Malformed::TypeAbsent { expected: Typed::TYPES }));
    assert!(parse::<Plain>(&untyped).is_ok());
    let other = forge(&issuer(), &header("test+jwt"), "{}");
    let wrong = Malformed::WrongType { found: "test+jwt".to_owned(), expected: Plain::TYPES };
    assert_eq!(parse::<Plain>(&other), Err(wrong), "absent may be, another may not");
}

#[test]
fn rfc7515_4_header_values_are_text() {
    let with = |header: &str| parse::<Plain>(&forge(&issuer(), header, "{}"));
    assert_eq!(with(r#"{"alg":7}"#), Err(Malformed::NotText { name: "alg" }));
    assert_eq!(with(r#"{"alg":["ES256"]}"#), Err(Malformed::NotText { name: "alg" }));
    assert_eq!(with(r#"{"alg":"ES256","typ":null}"#), Err(Malformed::NotText { name: "typ" }));
    assert_eq!(with(r#"{"alg":"ES256","kid":5}"#), Err(Malformed::NotText { name: "kid" }));
    let length = NotAKeyId::Length { length: 0, max: 256 };
    assert_eq!(with(r#"{"alg":"ES256","kid":""}"#), Err(Malformed::KeyId(length)));
    let control = Malformed::KeyId(NotAKeyId::ControlCharacter);
    assert_eq!(with(r#"{"alg":"ES256","kid":"a\u0000b"}"#), Err(control));
}

/// Defect: two readers of one token take different members.
#[test]
fn rfc7519_4_duplicate_members_are_refused() {
    let duplicate =
        |part, name: &str| Err(json(part, NotStrict::DuplicateMember { name: name.to_owned() }));
    for (header, payload, expect) in [
        (r#"{"alg":"ES256","alg":"none"}"#, "{}", duplicate(Part::Header, "alg")),
        (r#"{"alg":"none","\u0061lg":"ES256"}"#, "{}", duplicate(Part::Header, "alg")),
        (r#"{"alg":"ES256"}"#, r#"{"exp":1,"exp":2000}"#, duplicate(Part::Payload, "exp")),
        (r#"{"alg":"ES256"}"#, r#"{"x":1,"x":2}"#, duplicate(Part::Payload, "x")),
        (r#"{"alg":"ES256"}"#, r#"{"act":{"sub":"a","sub":"b"}}"#, duplicate(Part::Payload, "sub")),
    ] {
        assert_eq!(parse::<Plain>(&forge(&issuer(), header, payload)), expect);
    }
}

#[test]
fn rfc7519_7_2_payload_is_a_json_object() {
    let with = |payload: &str| parse::<Plain>(&forge(&issuer(), r#"{"alg":"ES256"}"#, payload));
    assert_eq!(with(" \n{ } "), Ok(()));
    for payload in ["", "null", "\"x\"", r#"["joe",null,2000,null,null]"#] {
        assert_eq!(with(payload), Err(json(Part::Payload, NotStrict::NotAnObject)));
    }
    for payload in ["{", r#"{"iss":1}"#, "{}x", r#"{"aud":[]}"#] {
        let refused = with(payload);
        let syntax =
            matches!(&refused, Err(Malformed::Json { reason: NotStrict::Syntax { .. }, .. }));
        assert!(syntax, "{payload}: {refused:?}");
    }
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    assert_eq!(with(&deep), Err(json(Part::Payload, NotStrict::TooDeep { max: MAX_DEPTH })));
}

/// Defect: `exp` as a string read as no `exp`.
/// req: CRED-05 (part)
#[test]
fn rfc7519_4_1_4_expiry_that_is_no_number_is_refused() {
    for exp in [r#""2000""#, "-1", "true", "[2000]", "{}", "1e400", "\"\"", "1e18"] {
        for name in ["exp", "nbf", "iat"] {
            let token = forge(&issuer(), r#"{"alg":"ES256"}"#, &format!(r#"{{"{name}":{exp}}}"#));
            let refused = Unverified::<Plain>::parse(&token).unwrap_err();
            let payload = matches!(refused, Malformed::Json { part: Part::Payload, .. });
            assert!(payload, "{name} {exp}: {refused:?}");
        }
    }
    // `null` is absent, and absent is refused where it is required.
    let token = forge(&issuer(), r#"{"alg":"ES256"}"#, r#"{"exp":null}"#);
    assert_eq!(verify::<Plain>(&token).unwrap_err(), Refused::ExpiryAbsent);
}

/// Defect: a token without `exp` lives for ever.
/// req: CRED-05 (part)
#[test]
fn rfc7519_4_1_4_expiry_is_required_and_binding() {
    let at = |seconds| UnixTime::from_seconds(seconds);
    let check = |payload: &str, skew: u64| {
        let token = forge(&issuer(), r#"{"alg":"ES256"}"#, payload);
        let token = Unverified::<Plain>::parse(&token).unwrap();
        token
            .verify(issuer().public(), ALL, NOW, Span::from_seconds(skew))
            .map(|verified| verified.expires())
    };
    let expired = |exp| Err(Refused::Expired { exp, now: NOW });
    let early = |nbf| Err(Refused::NotYetValid { nbf, now: NOW });
    let future = |iat| Err(Refused::IssuedInFuture { iat, now: NOW });
    for (payload, skew, expect) in [
        ("{}", 60, Err(Refused::ExpiryAbsent)),
        (r#"{"exp":1001}"#, 0, Ok(Some(at(1_001)))),
        (r#"{"exp":1000}"#, 0, expired(at(1_000))),
        (r#"{"exp":1000}"#, 1, Ok(Some(at(1_000)))),
        (r#"{"exp":940}"#, 60, expired(at(940))),
        (r#"{"exp":940.001}"#, 60, Ok(Some(UnixTime::from_millis(940_001)))),
        (r#"{"exp":0}"#, 60, expired(at(0))),
        (r#"{"exp":2000,"nbf":1000}"#, 0, Ok(Some(at(2_000)))),
        (r#"{"exp":2000,"nbf":1001}"#, 0, early(at(1_001))),
        (r#"{"exp":2000,"nbf":1060}"#, 60, Ok(Some(at(2_000)))),
        (r#"{"exp":2000,"nbf":1061}"#, 60, early(at(1_061))),
        (r#"{"exp":2000,"nbf":1060.5}"#, 60, early(UnixTime::from_millis(1_060_500))),
        (r#"{"exp":2000,"iat":1000}"#, 0, Ok(Some(at(2_000)))),
        (r#"{"exp":2000,"iat":1001}"#, 0, future(at(1_001))),
        (r#"{"exp":2000,"iat":1060}"#, 60, Ok(Some(at(2_000)))),
        (r#"{"exp":2000,"iat":1061}"#, 60, future(at(1_061))),
    ] {
        assert_eq!(check(payload, skew), expect, "{payload} {skew}");
    }
    let lasting = forge(&issuer(), r#"{"alg":"ES256","typ":"test+jwt"}"#, "{}");
    assert_eq!(verify::<Typed>(&lasting).unwrap().expires(), None);
}

/// Defect: a shortened token is still taken.
#[test]
fn rfc7515_7_1_no_shorter_or_longer_text_verifies() {
    let good = forge(&issuer(), r#"{"alg":"ES256"}"#, r#"{"exp":2000}"#);
    for end in 0..good.len() {
        let accepted = Unverified::<Plain>::parse(&good[..end])
            .is_ok_and(|token| token.verify(issuer().public(), ALL, NOW, Span::ZERO).is_ok());
        assert!(!accepted, "cut at {end}");
    }
    for count in [1, 2, 4, 5] {
        let text = vec!["e30"; count].join(".");
        assert_eq!(parse::<Plain>(&text), Err(Malformed::Parts { count }));
    }
    assert_eq!(parse::<Plain>(""), Err(Malformed::Parts { count: 1 }));
}

#[test]
fn rfc7515_2_encoding_has_one_form() {
    let good = forge(&issuer(), r#"{"alg":"ES256"}"#, r#"{"exp":2000}"#);
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let bad = |part| Err(Malformed::Encoding { part });
    let build = |header: &str, payload: &str, signature: &str| {
        parse::<Plain>(&format!("{header}.{payload}.{signature}"))
    };
    // 64 octets are 86 characters: the last has 2 bits that count and 4 that must be zero.
    let trailing = |text: &str| {
        let last = if text.ends_with('A') { 'B' } else { 'x' };
        format!("{}{last}", &text[..text.len() - 1])
    };
    let loose = decode(signature);
    let mut tail = loose;
    tail[63] = 0;
    assert_eq!(build(header, payload, &trailing(&encode(&tail))), bad(Part::Signature));
    for noise in ["=", "==", " ", "\n", "+", "/", "\u{e9}", "\"", "{"] {
        assert_eq!(build(&format!("{header}{noise}"), payload, signature), bad(Part::Header));
        assert_eq!(build(header, &format!("{payload}{noise}"), signature), bad(Part::Payload));
        assert_eq!(build(header, payload, &format!("{signature}{noise}")), bad(Part::Signature));
    }
    assert_eq!(parse::<Plain>(&format!(" {good}")), bad(Part::Header));
    assert_eq!(parse::<Plain>(&format!("{good}\r\n")), bad(Part::Signature));
}

#[test]
fn tokens_are_bounded() {
    let long = "a".repeat(MAX_TOKEN_BYTES + 1);
    let refused = Malformed::TooLong { length: MAX_TOKEN_BYTES + 1, max: MAX_TOKEN_BYTES };
    assert_eq!(parse::<Plain>(&long), Err(refused));

    let mut claims = claims();
    claims.iss = Some("i".repeat(10_000));
    let fits = SigningInput::<Plain>::new(Algorithm::Es256, None, &claims).unwrap();
    let signature = issuer().sign(fits.bytes());
    assert!(verify::<Plain>(fits.attach(signature).as_str()).is_ok());
    claims.iss = Some("i".repeat(MAX_TOKEN_BYTES));
    let refused = SigningInput::<Plain>::new(Algorithm::Es256, None, &claims).unwrap_err();
    assert!(matches!(refused, Unsignable::TooLong { max: MAX_TOKEN_BYTES, .. }));
}

#[test]
fn rfc7517_4_5_key_is_found_by_its_id() {
    let other = published_key("rfc7515_a_3");
    let key =
        |key: &PrivateKey, kid: &str| key.public().to_jwk().with_kid(KeyId::parse(kid).unwrap());
    let set = |keys| KeySet::new(keys).unwrap();
    let check = |keys: &KeySet, header: &str| {
        let token = forge(&issuer(), header, r#"{"exp":2000}"#);
        let token = Unverified::<Plain>::parse(&token).unwrap();
        token.verify(keys, ALL, NOW, Span::ZERO).map(|_| ())
    };
    let (a, none) = (r#"{"alg":"ES256","kid":"a"}"#, r#"{"alg":"ES256"}"#);
    let kid = || KeyId::parse("a").unwrap();
    for (keys, header, expect) in [
        (set(vec![key(&issuer(), "a"), key(&other, "b")]), a, Ok(())),
        (set(vec![key(&other, "a"), key(&issuer(), "b")]), a, Err(Refused::Signature)),
        (set(vec![key(&issuer(), "a")]), none, Ok(())),
        (set(vec![key(&issuer(), "A")]), a, Err(NoKey::UnknownKeyId { kid: kid() }.into())),
        (set(vec![]), a, Err(NoKey::UnknownKeyId { kid: kid() }.into())),
        (set(vec![]), none, Err(NoKey::NoKeys.into())),
        (set(vec![key(&issuer(), "a"), key(&other, "b")]), none, Err(NoKey::KeyIdRequired.into())),
        (
            set(vec![key(&issuer(), "a"), key(&other, "a")]),
            a,
            Err(NoKey::AmbiguousKeyId { kid: kid() }.into()),
        ),
        (
            set(vec![key(&issuer(), "a").with_use("enc")]),
            a,
            Err(NoKey::UnknownKeyId { kid: kid() }.into()),
        ),
        (
            set(vec![key(&issuer(), "a").with_use("x509-svid")]),
            a,
            Err(NoKey::UnknownKeyId { kid: kid() }.into()),
        ),
        (set(vec![key(&issuer(), "a").with_use("sig")]), a, Ok(())),
    ] {
        assert_eq!(check(&keys, header), expect, "{keys:?}");
    }
}

/// A source that the caller wrote sees the hint and says no by name.
#[test]
fn rfc8725_3_8_key_belongs_to_the_issuer() {
    struct OfJoe(PublicKey);
    impl jose::KeySource<Plain> for OfJoe {
        fn key(&self, iss: &Option<String>, _: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
            if iss.as_deref() == Some("joe") { Ok(&self.0) } else { Err(NoKey::UnknownIssuer) }
        }
    }
    let keys = OfJoe(issuer().public().clone());
    let check = |payload: &str| {
        let token = forge(&issuer(), r#"{"alg":"ES256"}"#, payload);
        let token = Unverified::<Plain>::parse(&token).unwrap();
        token.verify(&keys, ALL, NOW, Span::ZERO).map(|_| ())
    };
    assert_eq!(check(r#"{"iss":"joe","exp":2000}"#), Ok(()));
    let unknown = Err(Refused::NoKey(NoKey::UnknownIssuer));
    assert_eq!(check(r#"{"iss":"eve","exp":2000}"#), unknown);
    assert_eq!(check(r#"{"exp":2000}"#), unknown);
}

/// req: AUTHZ-21 (part)
#[test]
fn no_state_of_a_token_shows_itself() {
    let input = SigningInput::<Plain>::new(Algorithm::Es256, None, &claims()).unwrap();
    let shown = format!("{input:?}");
    let signature = issuer().sign(input.bytes());
    let shown_signature = format!("{signature:?}");
    let token = input.attach(signature);
    let prefix: String =
        token.token_hash().as_bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let unverified = Unverified::<Plain>::parse(token.as_str()).unwrap();
    let verified = verify::<Plain>(token.as_str()).unwrap();
    assert_eq!(format!("{token:?}"), format!("Compact<JWT>({prefix}…)"));
    assert_eq!(format!("{unverified:?}"), format!("Unverified<JWT>({prefix}…)"));
    assert_eq!(format!("{verified:?}"), format!("Verified<JWT>({prefix}…)"));
    assert!(shown.starts_with("SigningInput<JWT>(") && shown.len() < 40, "{shown}");
    assert_eq!(shown_signature, "Signature(64 octets)");
}

/// A signature that is no signature makes a token that nobody takes.
#[test]
fn attached_nonsense_is_not_accepted() {
    let input = SigningInput::<Plain>::new(Algorithm::Es256, None, &claims()).unwrap();
    let token = input.attach(Signature::from_bytes(&[1; 64]));
    assert_eq!(verify::<Plain>(token.as_str()).unwrap_err(), Refused::Signature);
}

fn claims() -> PlainClaims {
    PlainClaims {
        iss: None,
        aud: None,
        exp: Some(NumericDate::from_seconds(2_000)),
        nbf: None,
        iat: None,
    }
}
