use jose::{
    Algorithm, Audience, Kind, Malformed, NoKey, NumericDate, PrivateKey, Refused, SigningInput,
    Window,
};
use serde_json::{Value, json};
use spiffe::{
    Bundle, BundleKey, BundleSet, JwtSvid, JwtSvidClaims, JwtSvidError, SpiffeId, verify_jwt_svid,
};
use time::{Span, UnixTime};

use crate::fixture::{Domain, NOW, bundles, ed25519, kid, p256};

const SKEW: Span = Span::from_seconds(30);
const AUDIENCE: &str = "https://tool.example";

/// Any token at all, for headers and claims that the real kind cannot have.
struct Loose;

impl Kind for Loose {
    const TYPES: &'static [&'static str] = &["JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = false;
    type Claims = Value;
    type Hint = ();

    fn hint(_: &Value) {}

    fn window(_: &Value) -> Window {
        Window::default()
    }
}

fn claims(domain: &Domain) -> Value {
    json!({
        "sub": format!("spiffe://{}/agent", domain.name),
        "aud": AUDIENCE,
        "exp": NOW.seconds() + 300,
        "iat": NOW.seconds(),
        "aims_epoch": 3,
        "example.com/else": {"ignored": true},
    })
}

fn sign(claims: &Value, key: &PrivateKey, kid_text: Option<&str>) -> String {
    let kid = kid_text.map(kid);
    let input = SigningInput::<Loose>::new(key.algorithm(), kid.as_ref(), claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

fn judge(token: &str, bundles: &BundleSet, now: UnixTime) -> Option<JwtSvidError> {
    verify_jwt_svid(token, bundles, &[AUDIENCE], now, SKEW).err()
}

/// req: CRED-03 (part)
#[test]
fn jwt_svid_4_a_token_of_its_own_domain_is_verified() {
    let ours = Domain::new("ours.example");
    let claims = JwtSvidClaims {
        sub: SpiffeId::parse("spiffe://ours.example/agent").unwrap(),
        aud: Audience::one(AUDIENCE),
        exp: NumericDate::from_seconds(NOW.seconds() + 300),
        nbf: None,
        iat: Some(NumericDate::from_time(NOW)),
        jti: None,
        iss: None,
        aims_epoch: Some(3),
        aims_attributes: None,
    };
    let input = SigningInput::<JwtSvid>::new(Algorithm::Es256, Some(&kid("jwt-1")), &claims);
    let input = input.unwrap();
    let signature = ours.jwt.sign(input.bytes());
    let token = input.attach(signature);
    let svid =
        verify_jwt_svid(token.as_str(), &bundles(&[&ours]), &["x", AUDIENCE], NOW, SKEW).unwrap();
    assert_eq!(svid.spiffe_id(), &claims.sub);
    assert_eq!((svid.epoch(), svid.expires()), (Some(3), claims.exp.time()));
    assert_eq!((svid.claims(), svid.token_hash()), (&claims, token.token_hash()));
}

#[test]
fn jwt_svid_2_3_the_type_is_optional_and_the_key_id_too() {
    let ours = Domain::new("ours.example");
    let bundles = bundles(&[&ours]);
    assert_eq!(judge(&sign(&claims(&ours), &ours.jwt, None), &bundles, NOW), None);
    let array = json!([AUDIENCE, "another"]);
    let several = Value::Object(
        claims(&ours)
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .chain([("aud".to_owned(), array)])
            .collect(),
    );
    assert_eq!(judge(&sign(&several, &ours.jwt, Some("jwt-1")), &bundles, NOW), None);
}

/// Past defects 1, 3 and 4: another algorithm, a date that is no number, no expiry.
///
/// req: CRED-03 (part), CRED-05 (part)
#[test]
fn jwt_svid_3_each_rule_for_claims() {
    let ours = Domain::new("ours.example");
    let bundles = bundles(&[&ours]);
    let judge_with = |name: &str, value: Option<Value>| {
        let mut claims = claims(&ours);
        let members = claims.as_object_mut().unwrap();
        match value {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
        judge(&sign(&claims, &ours.jwt, Some("jwt-1")), &bundles, NOW)
    };
    let seconds = NOW.seconds();
    for (name, value) in [
        ("sub", None),
        ("sub", Some(json!("https://ours.example/agent"))),
        ("sub", Some(json!("spiffe://ours.example/agent/"))),
        ("sub", Some(json!("spiffe://Ours.example/agent"))),
        ("sub", Some(json!(["spiffe://ours.example/agent"]))),
        ("aud", None),
        ("aud", Some(json!([]))),
        ("aud", Some(json!(null))),
        ("exp", None),
        ("exp", Some(json!((seconds + 300).to_string()))),
        ("exp", Some(json!(null))),
        ("nbf", Some(json!("0"))),
        ("aims_epoch", Some(json!(-1))),
    ] {
        let judged = judge_with(name, value.clone());
        let malformed = matches!(judged, Some(JwtSvidError::Malformed(Malformed::Json { .. })));
        assert!(malformed, "{name} {value:?} {judged:?}");
    }
    let exp = UnixTime::from_seconds(seconds - 30);
    let late = UnixTime::from_seconds(seconds + 31);
    let other = JwtSvidError::Audience { found: Audience::one("https://tool.example/") };
    let no_path = JwtSvidError::NoPath(SpiffeId::parse("spiffe://ours.example").unwrap());
    for (name, value, expect) in [
        ("sub", json!("spiffe://ours.example"), no_path),
        ("aud", json!("https://tool.example/"), other),
        ("exp", json!(seconds - 30), Refused::Expired { exp, now: NOW }.into()),
        ("nbf", json!(seconds + 31), Refused::NotYetValid { nbf: late, now: NOW }.into()),
    ] {
        assert_eq!(judge_with(name, Some(value)), Some(expect), "{name}");
    }
    assert_eq!(judge_with("exp", Some(json!(seconds - 29))), None, "within the leeway");
}

/// req: CRED-12 (part)
#[test]
fn jwt_svid_4_keys_come_from_the_bundle_of_the_subject_alone() {
    let (ours, theirs) = (Domain::new("ours.example"), Domain::new("theirs.example"));
    let both = bundles(&[&ours, &theirs]);
    let token = sign(&claims(&ours), &theirs.jwt, Some("jwt-1"));
    assert_eq!(judge(&token, &both, NOW), Some(Refused::Signature.into()));
    let token = sign(&claims(&theirs), &theirs.jwt, Some("jwt-1"));
    assert_eq!(judge(&token, &both, NOW), None);
    let refused = |reason: NoKey| Some(JwtSvidError::Refused(Refused::NoKey(reason)));
    assert_eq!(judge(&token, &bundles(&[&ours]), NOW), refused(NoKey::UnknownIssuer));
    let token = sign(&claims(&ours), &ours.jwt, Some("wit-1"));
    let unknown = NoKey::UnknownKeyId { kid: kid("wit-1") };
    assert_eq!(judge(&token, &both, NOW), refused(unknown), "a key of another use");
    let second = BundleKey { kid: kid("jwt-2"), key: p256().public().clone() };
    let first = BundleKey { kid: kid("jwt-1"), key: ours.jwt.public().clone() };
    let two = Bundle::new(8, SKEW, vec![], vec![first, second], vec![]).unwrap();
    let mut set = BundleSet::new();
    set.insert(ours.name.clone(), two);
    let token = sign(&claims(&ours), &ours.jwt, None);
    assert_eq!(judge(&token, &set, NOW), refused(NoKey::KeyIdRequired));
    let token = sign(&claims(&ours), &ours.jwt, Some("jwt-1"));
    assert_eq!(judge(&token, &set, NOW), None);
    set.insert(ours.name.clone(), Bundle::default());
    let unknown = NoKey::UnknownKeyId { kid: kid("jwt-1") };
    assert_eq!(judge(&token, &set, NOW), refused(unknown), "everything revoked");
}

#[test]
fn jwt_svid_2_each_rule_for_headers() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let ours = Domain::new("ours.example");
    let bundles = bundles(&[&ours]);
    let payload = URL_SAFE_NO_PAD.encode(claims(&ours).to_string());
    let with_header = |header: Value| {
        let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let signature = ours.jwt.sign(signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()));
        judge(&token, &bundles, NOW)
    };
    for header in [
        json!({"alg": "ES256"}),
        json!({"alg": "ES256", "typ": "JOSE"}),
        json!({"alg": "ES256", "typ": "JWT", "kid": "jwt-1"}),
    ] {
        assert_eq!(with_header(header.clone()), None, "{header}");
    }
    let jwk = ours.jwt.public().to_jwk().to_value();
    for (header, expect) in [
        (json!({"alg": "none"}), Malformed::UnknownAlgorithm { alg: "none".to_owned() }),
        (json!({"alg": "HS256"}), Malformed::UnknownAlgorithm { alg: "HS256".to_owned() }),
        (
            json!({"alg": "ES256", "typ": "wit+jwt"}),
            Malformed::WrongType { found: "wit+jwt".to_owned(), expected: JwtSvid::TYPES },
        ),
        (
            json!({"alg": "ES256", "jwk": jwk}),
            Malformed::HeaderParameter { name: "jwk".to_owned() },
        ),
        (
            json!({"alg": "ES256", "cty": "x"}),
            Malformed::HeaderParameter { name: "cty".to_owned() },
        ),
    ] {
        assert_eq!(with_header(header.clone()), Some(expect.into()), "{header}");
    }
    let eddsa = sign(&claims(&ours), &ed25519(), Some("jwt-1"));
    let not_accepted = Refused::AlgorithmNotAccepted { algorithm: Algorithm::EdDsa };
    assert_eq!(judge(&eddsa, &bundles, NOW), Some(not_accepted.into()));
}
