use jose::{Audience, Malformed, Refused, TokenHash};
use serde_json::{Value, json};
use time::{Span, UnixTime};
use wimse::{Expected, HeaderError, Proof, WptError, verify_wpt};

use crate::fixture::{EXAMPLE_WIT, EXAMPLE_WPT, NOW, Pair, SKEW, ed25519, example, p256, sign};

const TARGET: &str = "https://workload.example.com/path";
const ACCESS_TOKEN: &str = "16_mAd0GiwaZokU26_0902100";
const LIFETIME_MAX: Span = Span::from_seconds(300);

const EXPECTED: Expected<'_> = Expected {
    audiences: &["https://alias.example/path", TARGET],
    access_token: None,
    txn_token: None,
    other: &[],
    now: NOW,
    skew: SKEW,
    lifetime_max: LIFETIME_MAX,
};

fn proof(wit: TokenHash) -> Proof<'static> {
    Proof {
        audience: TARGET,
        expires: NOW.plus(Span::from_seconds(60)),
        jti: "jti-1",
        wit,
        access_token: None,
        txn_token: None,
        other: &[],
    }
}

fn prove(pair: &Pair, proof: &Proof<'_>) -> String {
    let input = proof.signing_input(pair.workload.algorithm()).unwrap();
    let signature = pair.workload.sign(input.bytes());
    input.attach(signature).into_string()
}

/// req: AUTHN-02 (part)
#[test]
fn wimse_wpt_2_the_published_proof_verifies() {
    let wit = example();
    let expected = Expected { access_token: Some(ACCESS_TOKEN), ..EXPECTED };
    let verified = verify_wpt(EXAMPLE_WPT, &wit, expected).unwrap();
    assert_eq!(verified.expires(), UnixTime::from_seconds(1_745_510_016));
    assert_eq!(verified.remember_until(), verified.expires().plus(SKEW));
    assert_eq!(TokenHash::of(EXAMPLE_WIT), wit.token_hash());
    let ath = TokenHash::of(ACCESS_TOKEN).to_base64url();
    assert_eq!(ath, "CL4wjfpRmNf-bdYIbYLnV9d5rMARGwKYE10wUwzC0jI");
    let without = verify_wpt(EXAMPLE_WPT, &wit, EXPECTED);
    assert_eq!(without, Err(WptError::AccessToken { claimed: true }));
}

/// req: AUTHN-02 (part)
#[test]
fn wimse_wpt_2_what_is_proved_is_verified() {
    let pair = Pair::new(p256());
    let wit = pair.verified();
    let other = [("X-User", " user token "), ("x-context", "context")];
    let full = Proof {
        access_token: Some("access"),
        txn_token: Some("txn"),
        other: &other,
        ..proof(wit.token_hash())
    };
    let expected = Expected {
        access_token: Some("access"),
        txn_token: Some("txn"),
        other: &[("X-CONTEXT", "context"), ("x-user", "user token")],
        ..EXPECTED
    };
    assert!(verify_wpt(&prove(&pair, &full), &wit, expected).is_ok());
    assert!(verify_wpt(&prove(&pair, &proof(wit.token_hash())), &wit, EXPECTED).is_ok());
}

/// Past defects 19 and 21: another token, another WIT, another audience.
///
/// req: AUTHN-02 (part), AUTHN-05 (part)
#[test]
fn wimse_wpt_2_each_token_of_the_message_is_bound() {
    let pair = Pair::new(p256());
    let wit = pair.verified();
    let plain = proof(wit.token_hash());
    let access = Proof { access_token: Some("a"), ..plain };
    let txn = Proof { txn_token: Some("t"), ..plain };
    let other = Proof { other: &[("x-user", "u")], ..plain };
    let name = || "x-user".to_owned();
    let with_access = |token| Expected { access_token: token, ..EXPECTED };
    let with_txn = |token| Expected { txn_token: token, ..EXPECTED };
    fn with_other<'a>(other: &'a [(&'a str, &'a str)]) -> Expected<'a> {
        Expected { other, ..EXPECTED }
    }
    for (proof, expected, expect) in [
        (&plain, with_access(Some("a")), Some(WptError::AccessToken { claimed: false })),
        (&access, with_access(Some("b")), Some(WptError::AccessToken { claimed: true })),
        (&access, with_access(None), Some(WptError::AccessToken { claimed: true })),
        (&access, with_access(Some("a")), None),
        (&plain, with_txn(Some("t")), Some(WptError::TxnToken { claimed: false })),
        (&txn, with_txn(Some("u")), Some(WptError::TxnToken { claimed: true })),
        (&txn, with_txn(None), Some(WptError::TxnToken { claimed: true })),
        (&txn, with_txn(Some("t")), None),
        (&plain, with_other(&[("X-User", "u")]), Some(WptError::NotCovered { name: name() })),
        (&other, with_other(&[("X-User", "v")]), Some(WptError::OtherToken { name: name() })),
        (&other, with_other(&[]), Some(WptError::UnknownOther { name: name() })),
        (&other, with_other(&[("x-users", "u")]), Some(WptError::UnknownOther { name: name() })),
        (
            &other,
            with_other(&[("x-user", "u"), ("X-User", "u")]),
            Some(WptError::RepeatedOther { name: name() }),
        ),
        (&other, with_other(&[("x-user", " u ")]), None),
    ] {
        assert_eq!(verify_wpt(&prove(&pair, proof), &wit, expected).err(), expect);
    }
    let many: Vec<(String, String)> =
        (0..17).map(|index| (format!("x-{index}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> =
        many.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let judged = verify_wpt(&prove(&pair, &plain), &wit, with_other(&many));
    assert_eq!(judged, Err(WptError::TooManyOther));
}

/// What becomes of a proof after `edit` of header and claims, signed by the workload.
fn judge(edit: impl FnOnce(&mut Value, &mut Value)) -> Option<WptError> {
    let pair = Pair::new(p256());
    let wit = pair.verified();
    let mut header = json!({"alg": "ES256", "typ": "wpt+jwt"});
    let mut claims = json!({
        "aud": TARGET,
        "exp": NOW.seconds() + 60,
        "jti": "jti-1",
        "wth": wit.token_hash(),
        "example.com/else": 1,
    });
    edit(&mut header, &mut claims);
    verify_wpt(&sign(&header, &claims, &pair.workload), &wit, EXPECTED).err()
}

/// req: AUTHN-02 (part), AUTHN-05 (part)
#[test]
fn wimse_wpt_2_each_rule_for_proofs() {
    type Edit = Box<dyn FnOnce(&mut Value, &mut Value)>;
    let header = |name: &'static str, value: Value| -> Edit {
        Box::new(move |header, _| header[name] = value)
    };
    let claim = |name: &'static str, value: Value| -> Edit {
        Box::new(move |_, claims| claims[name] = value)
    };
    let audience = |value: &str| Some(WptError::Audience { found: Audience::one(value) });
    let several = Audience::Several(vec![TARGET.to_owned(), "https://other.example".to_owned()]);
    let algorithm = |found: &str| Some(WptError::Algorithm { found: Some(found.to_owned()) });
    let wrong_type = Malformed::WrongType { found: "wit+jwt".to_owned(), expected: &["wpt+jwt"] };
    let unknown = Malformed::UnknownAlgorithm { alg: "none".to_owned() };
    let (now, seconds) = (NOW, NOW.seconds());
    let past = UnixTime::from_seconds(seconds - 30);
    let nbf = UnixTime::from_seconds(seconds + 31);
    let far = UnixTime::from_seconds(seconds + 331);
    let cases: Vec<(Edit, Option<WptError>)> = vec![
        (claim("iat", json!("ignored")), None),
        (claim("aud", json!(format!("{TARGET}?query=1#fragment"))), None),
        (claim("aud", json!("https://alias.example/path")), None),
        (claim("aud", json!([TARGET])), None),
        (claim("exp", json!(seconds + 330)), None),
        (claim("exp", json!(seconds - 29)), None),
        (
            claim("aud", json!("https://workload.example.com/")),
            audience("https://workload.example.com/"),
        ),
        (
            claim("aud", json!("https://workload.example.com/path/")),
            audience("https://workload.example.com/path/"),
        ),
        (
            claim("aud", json!("https://WORKLOAD.example.com/path")),
            audience("https://WORKLOAD.example.com/path"),
        ),
        (claim("aud", json!("https://evil.example/path")), audience("https://evil.example/path")),
        (
            claim("aud", json!([TARGET, "https://other.example"])),
            Some(WptError::SeveralAudiences { found: several }),
        ),
        (claim("exp", json!(seconds - 30)), Some(Refused::Expired { exp: past, now }.into())),
        (claim("nbf", json!(seconds + 31)), Some(Refused::NotYetValid { nbf, now }.into())),
        (claim("exp", json!(seconds + 331)), Some(WptError::TooFarAhead { exp: far, now })),
        (claim("wth", json!(TokenHash::of("another"))), Some(WptError::OtherWit)),
        (claim("jti", json!("")), Some(WptError::Jti { bytes: 0 })),
        (claim("jti", json!("j".repeat(257))), Some(WptError::Jti { bytes: 257 })),
        (claim("oth", json!({})), None),
        (header("typ", json!("wit+jwt")), Some(wrong_type.into())),
        (header("alg", json!("none")), Some(unknown.into())),
        (header("alg", json!("EdDSA")), algorithm("EdDSA")),
        (header("alg", json!("ES384")), algorithm("ES384")),
        (header("crit", json!(["b64"])), Some(Malformed::Critical.into())),
    ];
    for (edit, expect) in cases {
        assert_eq!(judge(edit), expect);
    }
}

#[test]
fn wimse_wpt_2_claims_that_are_absent_or_of_another_type() {
    for (name, value) in [
        ("aud", None),
        ("exp", None),
        ("exp", Some(json!("1745510016"))),
        ("jti", None),
        ("jti", Some(json!(7))),
        ("wth", None),
        ("wth", Some(json!("short"))),
        ("ath", Some(json!(""))),
        ("oth", Some(json!("x"))),
        ("oth", Some(json!({"x-user": "short"}))),
    ] {
        let judged = judge(|_, claims| {
            let members = claims.as_object_mut().unwrap();
            match &value {
                Some(value) => members.insert(name.to_owned(), value.clone()),
                None => members.remove(name),
            };
        });
        let malformed = matches!(judged, Some(WptError::Malformed(Malformed::Json { .. })));
        assert!(malformed, "{name} {value:?} {judged:?}");
    }
}

/// req: AUTHN-02 (part), CRED-01 (part)
#[test]
fn wimse_wpt_2_only_the_key_of_the_wit_proves() {
    let (pair, other) = (Pair::new(p256()), Pair::new(p256()));
    let wit = pair.verified();
    let stolen = prove(&other, &proof(wit.token_hash()));
    assert_eq!(verify_wpt(&stolen, &wit, EXPECTED), Err(Refused::Signature.into()));
    // A proof of the same key for another WIT of it.
    let own = prove(&pair, &proof(other.verified().token_hash()));
    assert_eq!(verify_wpt(&own, &wit, EXPECTED), Err(WptError::OtherWit));
    for text in ["", "a.b", "a.b.c, a.b.c"] {
        assert_eq!(verify_wpt(text, &wit, EXPECTED), Err(HeaderError::Syntax.into()));
    }
}

/// wpt §2: "string-equal": two names of one algorithm are two names.
#[test]
fn wimse_wpt_2_the_algorithm_is_named_as_in_the_wit() {
    let wit = example();
    let claims = json!({
        "aud": TARGET, "exp": NOW.seconds() + 60, "jti": "j", "wth": wit.token_hash(),
    });
    let judge = |alg: &str| {
        let header = json!({"alg": alg, "typ": "wpt+jwt"});
        verify_wpt(&sign(&header, &claims, &ed25519()), &wit, EXPECTED).err()
    };
    assert_eq!(judge("EdDSA"), None);
    let found = Some("Ed25519".to_owned());
    assert_eq!(judge("Ed25519"), Some(WptError::Algorithm { found }));
}

/// Past defect 19: a `jti` that one sender can use up for another.
///
/// req: AUTHN-05 (part)
#[test]
fn wimse_wpt_3_1_replays_are_counted_for_each_sender() {
    let (pair, other) = (Pair::new(p256()), Pair::new(p256()));
    let key = |pair: &Pair, jti: &str| {
        let wit = pair.verified();
        let proof = Proof { jti, ..proof(wit.token_hash()) };
        verify_wpt(&prove(pair, &proof), &wit, EXPECTED).unwrap().replay_key()
    };
    assert_eq!(key(&pair, "j"), key(&pair, "j"), "a replay, even in another proof");
    assert_ne!(key(&pair, "j"), key(&pair, "k"));
    assert_ne!(key(&pair, "j"), key(&other, "j"));
}
