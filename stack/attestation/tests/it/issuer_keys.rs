//! Keys by URL: what policy may say, what a token may cause, and how long what was fetched counts.

use attestation::issuer_keys::{BadKeys, KEPT_MAX, Kept, KeySource, Keys, Look, discovered};
use attestation::mechanism::{Facts, Mechanism, Question, Role};
use attestation::platform_token::GITLAB_CI;
use attestation::policy::NodeRule;
use attestation::{Refusal, mechanism::Step};
use serde_json::{Value, json};
use time::{Span, UnixTime};

const ISSUER: &str = "https://issuer.example/a";
/// RFC 7515 §A.3: a public key.
const SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k1",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
const START: UnixTime = UnixTime::from_seconds(1_800_000_000);

fn keys(value: Value) -> Result<Keys, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// req: ATT-02 (part)
#[test]
fn s7_policy_names_one_place_of_an_issuers_keys() {
    let fault = |value: Value| keys(value).map(|keys| keys.fault(ISSUER));
    assert_eq!(fault(json!(SET)), Ok(None));
    assert_eq!(fault(json!({ "jwks_uri": "https://keys.example/jwks" })), Ok(None));
    let range = |range: &str| json!({ "discovery": true, "addresses": [range] });
    for text in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "0.0.0.0/0", "::/0", "fd00::1/128"] {
        assert_eq!(fault(range(text)), Ok(None), "{text}");
    }
    for text in ["10.0.0.1/8", "10.0.0.0/33", "localhost", "", "/8", "10.0.0.0/-1", "::1/64"] {
        assert!(fault(range(text)).unwrap().unwrap().contains("no address range"), "{text}");
    }
    for (value, told) in [
        (json!({}), "name one place"),
        (json!({ "jwks_uri": "https://k.example/", "discovery": true }), "name one place"),
        (json!({ "jwks_uri": "http://k.example/" }), "no https url"),
        (json!({ "jwks_uri": "https://me@k.example/" }), "no https url"),
        (json!({ "discovery": true, "ca": "" }), "`ca`"),
        (json!({ "discovery": true, "ca": "no pem" }), "`ca`"),
        (json!(r#"{"keys":[]}"#), "no key in it"),
    ] {
        let found = fault(value.clone()).unwrap().unwrap();
        assert!(found.contains(told), "{value}: {found}");
    }
    for value in [json!({ "uri": "https://k.example/" }), json!(7), json!([])] {
        assert!(keys(value.clone()).is_err(), "{value}");
    }
}

/// What a stranger shows chooses neither whom we ask nor where.
/// req: ATT-01 (part), ATT-02 (part)
#[test]
fn s7_a_token_has_keys_fetched_of_its_policys_issuer_alone() {
    let own = json!({ "keys": { "discovery": true }, "issuer": ISSUER, "claims": {
        "project_id": ["7"]
    } });
    let rule = NodeRule { own: own.as_object().unwrap().clone(), ..NodeRule::default() };
    assert_eq!(GITLAB_CI.faults(&rule), []);
    let facts = Facts::new(Role::Node, &rule, &[0; 32], START);
    let claims =
        json!({ "iss": "https://evil.example", "sub": "s", "aud": "a", "iat": 1, "exp": 2 });
    let token = crate::tokens::sign(&claims, crate::tokens::OTHER_KEY);
    let asked = GITLAB_CI.keys(token.as_bytes(), &facts).unwrap().unwrap();
    let Question::Keys { source, kid } = asked else { panic!("{asked:?}") };
    assert_eq!(source.url, format!("{ISSUER}/.well-known/openid-configuration"));
    assert_eq!((source.issuer.as_str(), source.discovery), (ISSUER, true));
    assert_eq!(kid.as_deref(), Some("k1"));
    for garbage in [&b""[..], b"no token", b"a.b.c", &[0xff; 9]] {
        let refused = GITLAB_CI.keys(garbage, &facts).unwrap_err();
        assert!(matches!(refused, Refusal::Failed { step: Step::Form, .. }), "{refused}");
    }
    // Without what was asked for, nothing is appraised.
    let refused = GITLAB_CI.appraise(token.as_bytes(), None, &facts).unwrap_err();
    assert!(matches!(refused, Refusal::Failed { step: Step::Chain, .. }), "{refused}");
    let told = Facts { keys: Some(SET.as_bytes()), ..facts };
    let refused = GITLAB_CI.appraise(token.as_bytes(), None, &told).unwrap_err();
    assert!(refused.to_string().contains("the token"), "{refused}");
}

/// OpenID Connect Discovery 1.0 §4.3.
/// req: ATT-02 (part)
#[test]
fn s4_3_a_discovery_document_is_of_the_issuer_or_of_nobody() {
    let source = KeySource {
        issuer: ISSUER.to_owned(),
        url: String::new(),
        discovery: true,
        ca: None,
        addresses: Vec::new(),
    };
    let read = |issuer: &str, uri: &str| {
        discovered(&source, &json!({ "issuer": issuer, "jwks_uri": uri }).to_string())
    };
    assert_eq!(read(ISSUER, "https://k.example/j"), Ok("https://k.example/j".to_owned()));
    assert!(matches!(read("https://issuer.example/a/", "https://k/"), Err(BadKeys::Issuer { .. })));
    assert!(matches!(read(ISSUER, "http://k.example/j"), Err(BadKeys::Document(_))));
    assert!(matches!(read(ISSUER, "file:///etc/passwd"), Err(BadKeys::Document(_))));
    assert!(matches!(discovered(&source, "{}"), Err(BadKeys::Document(_))));
}

fn after(seconds: u64) -> UnixTime {
    START.plus(Span::from_seconds(seconds))
}

/// req: PROV-09 (part)
#[test]
fn s8_keys_are_kept_while_their_issuer_is_away_and_not_for_ever() {
    let mut kept = Kept::default();
    assert_eq!((kept.look(Some("k1"), START), kept.text(START)), (Look::First, None));
    kept.failed(0, START);
    // Nothing is there, and the issuer gets a rest.
    assert_eq!(kept.look(Some("k1"), after(1)), Look::No);
    assert_eq!(kept.look(Some("k1"), after(7)), Look::First);
    kept.answered(SET.to_owned(), 0, START).unwrap();
    assert_eq!(kept.look(Some("k1"), after(200)), Look::No);
    assert_eq!(kept.look(Some("k1"), after(400)), Look::Behind);
    assert_eq!(kept.look(Some("k1"), after(601)), Look::First);
    for turn in 0..20 {
        kept.failed(u64::MAX, after(610 + 400 * turn));
        assert_eq!(kept.look(Some("k1"), after(611 + 400 * turn)), Look::No);
        assert_eq!(kept.text(after(610 + 400 * turn)), Some(SET));
        assert_eq!(kept.look(Some("k1"), after(1_009 + 400 * turn)), Look::First, "{turn}");
    }
    assert_eq!(kept.failures(), 20);
    assert_eq!(kept.text(START.plus(KEPT_MAX)), None);
    // What is no key set does not take the place of one.
    let refused = kept.answered("{}".to_owned(), 0, after(20_000));
    assert!(matches!(refused, Err(BadKeys::Set(_))));
    assert_eq!(kept.text(after(20_000)), Some(SET));
    kept.answered(SET.to_owned(), 0, after(20_010)).unwrap();
    assert_eq!(kept.failures(), 0);
}

/// req: AUTHN-12 (part)
#[test]
fn s8_a_key_that_nobody_knows_wakes_one_look() {
    let mut kept = Kept::default();
    kept.answered(SET.to_owned(), 0, START).unwrap();
    // Just looked: whatever strangers name.
    assert_eq!(kept.look(Some("k2"), after(29)), Look::No);
    assert_eq!(kept.look(Some("k2"), after(30)), Look::First);
    kept.answered(SET.to_owned(), 0, after(30)).unwrap();
    assert_eq!(kept.look(Some("k3"), after(59)), Look::No);
    assert_eq!(kept.look(Some("not a key id \u{0}"), after(60)), Look::First);
    assert_eq!(kept.look(Some("k1"), after(60)), Look::No);
    assert_eq!(kept.look(None, after(60)), Look::No);
}
