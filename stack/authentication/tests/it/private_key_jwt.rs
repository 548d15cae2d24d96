//! RFC 7523: a client proves the key that it registered.

use authentication::private_key_jwt::{Refusal, authenticate, claimed};
use authentication::{Method, Once, Proved, Who};
use jose::{Algorithm, Audience, KeySet, NoKey, NumericDate, Refused, SigningInput};
use oauth::ClientId;
use oauth::client_assertion::{AssertionRefused, ClientAssertion, ClientAssertionClaims};
use time::{Span, UnixTime};

use crate::parties::{
    ISSUER, NOW, SECOND, SKEW, client, issuer, jti, kid, sealed, sign, stranger, workload,
};

fn claims() -> ClientAssertionClaims {
    ClientAssertionClaims {
        iss: client("client-1"),
        sub: client("client-1"),
        aud: Audience::one(ISSUER),
        exp: NumericDate::from_time(NOW.plus(Span::from_seconds(60))),
        jti: jti("jti-1"),
        iat: Some(NumericDate::from_time(NOW)),
        nbf: None,
    }
}

fn present(
    assertion: &str,
    client_id: Option<&ClientId>,
    now: UnixTime,
) -> Result<Proved, Refusal> {
    let registered = workload().public().to_jwk().with_kid(kid("key-1"));
    let keys = KeySet::new(vec![registered]).unwrap();
    authenticate(assertion, client_id, &issuer(), &keys, now, SKEW)
}

fn of(claims: &ClientAssertionClaims) -> Result<Proved, Refusal> {
    present(&sign::<ClientAssertion>(claims, &workload(), true), None, NOW)
}

/// req: AUTHZ-07 (part), CRED-10 (part)
#[test]
fn s10_3_2_a_client_is_authenticated_by_its_registered_key() {
    let proved = of(&claims()).unwrap();
    let caller = &proved.caller;
    assert_eq!(caller.who(), &Who::Client("client-1".to_owned()));
    assert_eq!((caller.client_id(), caller.method()), ("client-1", Method::PrivateKeyJwt));
    assert_eq!(caller.expires(), NOW.plus(Span::from_seconds(60)));
    assert_eq!((caller.issued(), caller.transport(), caller.key()), (None, None, None));
    let named = client("client-1");
    let assertion = sign::<ClientAssertion>(&claims(), &workload(), true);
    assert!(present(&assertion, Some(&named), NOW).is_ok());
    assert_eq!(claimed(&assertion), Ok(named));
}

/// req: AUTHN-05 (part)
#[test]
fn s9_2_3_an_assertion_is_used_once_by_its_client() {
    let once = |claims: &ClientAssertionClaims| of(claims).unwrap().once.unwrap();
    let first = once(&claims());
    let until = NOW.plus(Span::from_seconds(60)).plus(SKEW);
    let (space, value) = (format!("{ISSUER} client assertion"), "client-1.jti-1".to_owned());
    assert_eq!(first, Once { space, value, until });
    assert_eq!(once(&claims()), first, "the same again is the same value");
    // The jti of another client is another value: nobody uses up what is not his.
    let other = client("client-2");
    let other = ClientAssertionClaims { iss: other.clone(), sub: other, ..claims() };
    assert_ne!(once(&other).value, first.value);
}

/// req: AUTHN-05 (part), AUTHZ-09 (part)
#[test]
fn s10_3_2_what_authenticates_no_client_is_refused() {
    let asserted = |claims: &ClientAssertionClaims| match of(claims).map(|_| ()) {
        Err(Refusal::Assertion(refused)) => refused,
        other => panic!("{other:?}"),
    };
    let (one, two) = (client("client-1"), client("client-2"));
    let other_issuer = ClientAssertionClaims { iss: two.clone(), ..claims() };
    let refused = AssertionRefused::IssuerIsNotSubject { iss: two.clone(), sub: one.clone() };
    assert_eq!(asserted(&other_issuer), refused);
    for aud in [
        Audience::one("https://other.example"),
        Audience::one(format!("{ISSUER}/token")),
        Audience::Several(vec![ISSUER.to_owned(), "https://other.example".to_owned()]),
    ] {
        let refused = AssertionRefused::WrongAudience { found: aud.clone(), expected: issuer() };
        assert_eq!(asserted(&ClientAssertionClaims { aud, ..claims() }), refused);
    }
    let exp = NOW.plus(oauth::client_assertion::MAX_LIFETIME).plus(SECOND);
    let long = ClientAssertionClaims { exp: NumericDate::from_time(exp), ..claims() };
    assert!(matches!(asserted(&long), AssertionRefused::LivesTooLong { .. }));
    let assertion = sign::<ClientAssertion>(&claims(), &workload(), true);
    let refused = present(&assertion, Some(&two), NOW).err();
    let wrong = AssertionRefused::WrongClient { found: one, expected: two };
    assert_eq!(refused, Some(Refusal::Assertion(wrong)));
}

/// req: AUTHN-05 (part), CRED-10 (part)
#[test]
fn s10_3_2_an_assertion_that_does_not_hold_is_refused() {
    let refused = |assertion: &str, now| match present(assertion, None, now).map(|_| ()) {
        Err(Refusal::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    let good = sign::<ClientAssertion>(&claims(), &workload(), true);
    let forged = sign::<ClientAssertion>(&claims(), &stranger(), true);
    assert_eq!(refused(&forged, NOW), Refused::Signature);
    let (exp, now) = (NOW.plus(Span::from_seconds(60)), NOW.plus(Span::from_seconds(65)));
    assert_eq!(refused(&good, now), Refused::Expired { exp, now });
    let nbf = NOW.plus(Span::from_seconds(6));
    let early = ClientAssertionClaims { nbf: Some(NumericDate::from_time(nbf)), ..claims() };
    let early = sign::<ClientAssertion>(&early, &workload(), true);
    assert_eq!(refused(&early, NOW), Refused::NotYetValid { nbf, now: NOW });
    let other_kid = kid("key-2");
    let unknown =
        SigningInput::<ClientAssertion>::new(Algorithm::Es256, Some(&other_kid), &claims());
    let unknown = sealed(unknown.unwrap(), &workload());
    assert_eq!(refused(&unknown, NOW), Refused::NoKey(NoKey::UnknownKeyId { kid: other_kid }));
    let algorithm = Algorithm::Es512;
    let weak = SigningInput::<ClientAssertion>::new(algorithm, Some(&kid("key-1")), &claims());
    let weak = sealed(weak.unwrap(), &workload());
    assert_eq!(refused(&weak, NOW), Refused::AlgorithmNotAccepted { algorithm });
}

/// No signature, a shared secret, another kind of token, no token.
/// req: CRED-10 (part)
#[test]
fn s10_3_2_what_is_no_assertion_is_refused() {
    let secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjbGllbnQtMSJ9.AAAA";
    let pop = oauth::client_attestation_pop::ClientAttestationPopClaims {
        aud: Audience::one(ISSUER),
        jti: jti("jti-1"),
        iat: NumericDate::from_time(NOW),
        challenge: None,
        exp: None,
        nbf: None,
    };
    let pop = sign::<oauth::client_attestation_pop::ClientAttestationPop>(&pop, &workload(), true);
    for text in ["", "client-1", "eyJhbGciOiJub25lIn0.e30.", secret, &pop] {
        let refused = present(text, None, NOW).map(|_| ());
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{text}: {refused:?}");
    }
}
