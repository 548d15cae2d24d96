//! Client assertions and proofs of client attestations.

use jose::Audience;
use oauth::client_assertion::{
    AssertionRefused, AssertionType, ClientAssertion, PresentedClient, PresentedClientError, check,
};
use oauth::client_attestation_pop::{self, Challenge, ClientAttestationPop, Expected, PopRefused};
use oauth::form::Form;
use oauth::{ClientId, Issuer, NotATokenText};
use serde_json::json;

use crate::*;

const ISSUER: &str = "https://localhost:8443";

fn issuer() -> Issuer {
    Issuer::parse(ISSUER).unwrap()
}

fn client(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

fn assertion() -> Value {
    json!({"iss": "c", "sub": "c", "aud": ISSUER, "exp": 1060, "jti": "j", "iat": 1000})
}

/// req: AUTHZ-07 (part)
#[test]
fn rfc7523_3_each_refusal() {
    let check = |changes: Value, client_id: Option<&str>| {
        let token = proven::<ClientAssertion>(&changed(&assertion(), &changes));
        check(&token, client_id.map(client).as_ref(), &issuer(), NOW)
    };
    let asserted = check(json!({}), Some("c")).unwrap();
    assert_eq!((asserted.client_id(), asserted.jti().as_str()), (&client("c"), "j"));
    assert_eq!(asserted.expires(), UnixTime::from_seconds(1_060));
    assert!(check(json!({"aud": [ISSUER], "iat": null}), None).is_ok());
    assert!(check(json!({"exp": 4600}), None).is_ok());
    let wrong = |found| AssertionRefused::WrongAudience { found, expected: issuer() };
    let several = |values: &[&str]| {
        Audience::Several(values.iter().map(|value| (*value).to_owned()).collect())
    };
    for (changes, client_id, expect) in [
        (
            json!({"iss": "d"}),
            None,
            AssertionRefused::IssuerIsNotSubject { iss: client("d"), sub: client("c") },
        ),
        (
            json!({}),
            Some("d"),
            AssertionRefused::WrongClient { found: client("c"), expected: client("d") },
        ),
        (
            json!({"aud": "https://localhost:8443/token"}),
            None,
            wrong(Audience::one("https://localhost:8443/token")),
        ),
        (json!({"aud": format!("{ISSUER}/")}), None, wrong(Audience::one(format!("{ISSUER}/")))),
        (
            json!({"aud": [ISSUER, "https://b.example"]}),
            None,
            wrong(several(&[ISSUER, "https://b.example"])),
        ),
        (
            json!({"exp": 4601}),
            None,
            AssertionRefused::LivesTooLong {
                exp: UnixTime::from_seconds(4_601),
                latest: UnixTime::from_seconds(4_600),
            },
        ),
    ] {
        assert_eq!(check(changes.clone(), client_id), Err(expect), "{changes}");
    }
    for required in ["iss", "sub", "aud", "exp", "jti"] {
        let text = forge(Some("JWT"), &changed(&assertion(), &json!({ required: null })));
        let refused = verify::<ClientAssertion>(&text).unwrap_err();
        assert!(refused.contains(&format!("missing field `{required}`")), "{refused}");
    }
}

#[test]
fn rfc7523bis_4_type_may_be_absent() {
    for typ in [Some("client-authentication+jwt"), Some("JWT"), None] {
        assert!(verify::<ClientAssertion>(&forge(typ, &assertion())).is_ok(), "{typ:?}");
    }
    assert!(verify::<ClientAssertion>(&forge(Some("at+jwt"), &assertion())).is_err());
}

/// req: CRED-10 (part)
#[test]
fn rfc7521_4_2_parameters() {
    let parse = |body: &str| PresentedClient::parse(&Form::parse(body.as_bytes()).unwrap());
    let of = |kind: AssertionType| kind.as_str().replace(':', "%3A");
    for kind in [AssertionType::Jwt, AssertionType::SpiffeJwt] {
        let body = format!("client_id=c&client_assertion_type={}&client_assertion=a.b.c", of(kind));
        let presented = parse(&body).unwrap();
        assert_eq!(presented.client_id, Some(client("c")));
        let (found, text) = presented.assertion.unwrap();
        assert_eq!((found, text.as_str()), (kind, "a.b.c"));
    }
    let nothing = PresentedClient { client_id: None, assertion: None, secret: None };
    assert_eq!(parse("client_id=&client_assertion="), Ok(nothing));
    let jwt = of(AssertionType::Jwt);
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    for (body, expect) in [
        // RFC 6749 appendix A.2: "client-secret = *VSCHAR".
        ("client_id=c&client_secret=a%7F", PresentedClientError::Secret),
        (
            &format!("client_secret=a%0A&client_assertion_type={jwt}&client_assertion=a"),
            PresentedClientError::Secret,
        ),
        ("client_assertion=a", PresentedClientError::HalfAnAssertion),
        (&format!("client_assertion_type={jwt}"), PresentedClientError::HalfAnAssertion),
        (
            &format!("client_assertion_type={saml}&client_assertion=a"),
            PresentedClientError::UnknownAssertionType { found: saml.to_owned() },
        ),
        ("client_id=%00", PresentedClientError::ClientId(ClientId::parse("\0").unwrap_err())),
        (
            &format!("client_assertion_type={jwt}&client_assertion=%0D"),
            PresentedClientError::Assertion(NotATokenText::Character),
        ),
    ] {
        assert_eq!(parse(body), Err(expect), "{body}");
    }
}

/// req: AUTHZ-23 (part)
#[test]
fn attestation_7_2_each_refusal() {
    let pop = json!({"aud": ISSUER, "jti": "j", "iat": 900, "challenge": "n"});
    let check = |changes: Value, challenge: Option<&str>| {
        let token = proven::<ClientAttestationPop>(&changed(&pop, &changes));
        let challenge = challenge.map_or(Challenge::None, Challenge::Given);
        let expected = Expected { audience: ISSUER, challenge, max_age: Span::from_seconds(100) };
        client_attestation_pop::check(&token, &expected, NOW)
    };
    let checked = check(json!({}), Some("n")).unwrap();
    assert_eq!((checked.jti().as_str(), checked.remember_until()), ("j", NOW));
    assert!(check(json!({"challenge": null, "iss": "ignored"}), None).is_ok());
    assert!(check(json!({}), None).is_ok());
    let wrong = |found| PopRefused::WrongAudience { found, expected: ISSUER.to_owned() };
    for (changes, challenge, expect) in [
        (json!({"aud": "https://b.example"}), None, wrong(Audience::one("https://b.example"))),
        (
            json!({"aud": [ISSUER, "b"]}),
            None,
            wrong(Audience::Several(vec![ISSUER.to_owned(), "b".to_owned()])),
        ),
        (
            json!({"iat": 899}),
            None,
            PopRefused::TooOld {
                iat: UnixTime::from_seconds(899),
                now: NOW,
                max_age: Span::from_seconds(100),
            },
        ),
        (json!({"challenge": null}), Some("n"), PopRefused::ChallengeAbsent),
        (json!({"challenge": "m"}), Some("n"), PopRefused::WrongChallenge),
    ] {
        assert_eq!(check(changes.clone(), challenge), Err(expect), "{changes}");
    }
    // What a client adds is obeyed, and an iat in the future is refused like any other.
    for changes in [json!({"exp": 1000}), json!({"nbf": 1001}), json!({"iat": 1001})] {
        let text = forge(ClientAttestationPop::TYPES.first().copied(), &changed(&pop, &changes));
        assert!(verify::<ClientAttestationPop>(&text).is_err(), "{changes}");
    }
}
