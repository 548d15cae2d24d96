//! ID tokens, userinfo, discovery, logout, and the code flow as its client.

use jose::Audience;
use oauth::metadata::{Endpoint, Metadata, MetadataError};
use oauth::pkce::CodeVerifier;
use oauth::redirect_uri::RedirectUri;
use oauth::{ScopeSet, SubjectText, TokenId, TokenText};
use openid::discovery::Discovery;
use openid::half_hash;
use openid::id_token::{Expected, IdToken, IdTokenClaims, IdTokenRefused, check};
use openid::logout::{self, Ends, LogoutRefused, LogoutRequest, LogoutToken};
use openid::relying_party::{SignIn, redeem};
use openid::userinfo::{OtherUser, Userinfo};
use serde_json::json;

use crate::*;

fn subject() -> SubjectText {
    SubjectText::parse("24400320").unwrap()
}

/// The example of Core 1.0 §2, in the time of these tests.
fn claims() -> Value {
    json!({
        "iss": "https://server.example.com", "sub": "24400320", "aud": "s6BhdRkqt3",
        "nonce": "n-0S6_WzA2Mj", "exp": 1600, "iat": 1000, "auth_time": 990,
        "acr": "urn:mace:incommon:iap:silver", "azp": "s6BhdRkqt3",
        "at_hash": half_hash(Algorithm::EdDsa, "at"), "email": "a@b.example"
    })
}

const SILVER: &str = "urn:mace:incommon:iap:silver";

/// req: AUTHN-10 (part)
#[test]
fn core_3_1_3_7_each_step_refuses() {
    let (iss, id, acr) = (issuer(), client(), [SILVER.to_owned()]);
    let expected = Expected {
        issuer: &iss,
        client_id: &id,
        nonce: Some("n-0S6_WzA2Mj"),
        max_token_age: Span::from_seconds(300),
        acr_values: &acr,
        max_age: Some(Span::from_seconds(60)),
        skew: Span::from_seconds(5),
        access_token: Some("at"),
    };
    let read =
        |changes: Value| check(proven::<IdToken>(&changed(&claims(), &changes)), &expected, NOW);
    assert_eq!(read(json!({})).unwrap().claims().sub, subject());
    assert!(read(json!({"aud": ["s6BhdRkqt3"], "azp": null, "at_hash": null})).is_ok());
    let at = UnixTime::from_seconds;
    let found = Issuer::parse("https://b.example").unwrap();
    let several = Audience::Several(vec!["s6BhdRkqt3".to_owned(), "b".to_owned()]);
    let audience = |found| IdTokenRefused::WrongAudience { found, expected: client() };
    for (changes, expect) in [
        (
            json!({"iss": "https://b.example"}),
            IdTokenRefused::WrongIssuer { found, expected: issuer() },
        ),
        (json!({"aud": "b"}), audience(Audience::one("b"))),
        (json!({"aud": ["s6BhdRkqt3", "b"]}), audience(several)),
        (json!({"azp": "b"}), IdTokenRefused::WrongParty { found: ClientId::parse("b").unwrap() }),
        (json!({"iat": 694}), IdTokenRefused::TooOld { iat: at(694), now: NOW }),
        (json!({"nonce": null}), IdTokenRefused::WrongNonce { present: false }),
        (json!({"nonce": "other"}), IdTokenRefused::WrongNonce { present: true }),
        (json!({"acr": "0"}), IdTokenRefused::Context { found: Some("0".to_owned()) }),
        (json!({"acr": null}), IdTokenRefused::Context { found: None }),
        (json!({"auth_time": null}), IdTokenRefused::NoAuthTime),
        (
            json!({"auth_time": 934}),
            IdTokenRefused::SignedInLongAgo { auth_time: at(934), now: NOW },
        ),
        (json!({"at_hash": half_hash(Algorithm::EdDsa, "bt")}), IdTokenRefused::OtherAccessToken),
    ] {
        assert_eq!(read(changes.clone()).unwrap_err(), expect, "{changes}");
    }
    for required in ["iss", "sub", "aud", "exp", "iat"] {
        let text = forge(None, &changed(&claims(), &json!({ required: null })));
        assert!(verify::<IdToken>(&text).is_err(), "{required}");
    }
    // Kinds exclude each other.
    assert!(verify::<IdToken>(&forge(Some("at+jwt"), &claims())).is_err());
    let unasked = Expected { nonce: None, ..expected };
    let refused = check(proven::<IdToken>(&claims()), &unasked, NOW).unwrap_err();
    assert_eq!(refused, IdTokenRefused::WrongNonce { present: true });
}

#[test]
fn core_2_a_token_that_is_made() {
    let life = Span::from_seconds(300);
    let mut made = IdTokenClaims::new(issuer(), subject(), &client(), NOW, life).beside(
        Algorithm::EdDsa,
        "at",
        Some("code"),
    );
    made.nonce = Some("n".to_owned());
    made.amr = Some(vec!["hwk".to_owned()]);
    assert_eq!(round_trip::<IdToken>(&made), made);
    let value = serde_json::to_value(&made).unwrap();
    assert_eq!(
        value,
        json!({"iss": "https://server.example.com", "sub": "24400320", "aud": "s6BhdRkqt3",
            "exp": 1300, "iat": 1000, "nonce": "n", "amr": ["hwk"],
            "at_hash": half_hash(Algorithm::EdDsa, "at"),
            "c_hash": half_hash(Algorithm::EdDsa, "code")})
    );
}

#[test]
fn core_5_3_2_userinfo_is_of_the_same_user() {
    let (iss, id) = (issuer(), client());
    let expected = Expected {
        issuer: &iss,
        client_id: &id,
        nonce: Some("n-0S6_WzA2Mj"),
        max_token_age: Span::from_seconds(300),
        acr_values: &[],
        max_age: None,
        skew: Span::ZERO,
        access_token: None,
    };
    let token = check(proven::<IdToken>(&claims()), &expected, NOW).unwrap();
    let read = |text: &str| serde_json::from_str::<Userinfo>(text);
    let info = read(r#"{"sub":"24400320","name":"Jane Doe"}"#).unwrap();
    assert_eq!(info.of(&token).unwrap()["name"], "Jane Doe");
    assert_eq!(read(r#"{"sub":"248289761001"}"#).unwrap().of(&token), Err(OtherUser));
    assert!(read(r#"{"name":"Jane Doe"}"#).is_err());
}

/// req: AUTHZ-22 (part)
#[test]
fn discovery_3_document() {
    let endpoint =
        |path: &str| Endpoint::parse(&format!("https://server.example.com{path}")).unwrap();
    let metadata = Metadata::new(issuer(), endpoint("/token"));
    let mut document = Discovery::new(metadata, vec!["RS256".to_owned(), "ES256".to_owned()]);
    document.userinfo_endpoint = Some(endpoint("/userinfo"));
    document.end_session_endpoint = Some(endpoint("/logout"));
    document.backchannel_logout_supported = true;
    let text = serde_json::to_string_pretty(&document).unwrap();
    insta::assert_snapshot!(text, @r#"
    {
      "issuer": "https://server.example.com",
      "token_endpoint": "https://server.example.com/token",
      "response_types_supported": [],
      "subject_types_supported": [
        "public"
      ],
      "id_token_signing_alg_values_supported": [
        "RS256",
        "ES256"
      ],
      "userinfo_endpoint": "https://server.example.com/userinfo",
      "request_uri_parameter_supported": false,
      "end_session_endpoint": "https://server.example.com/logout",
      "backchannel_logout_supported": true
    }
    "#);
    assert_eq!(Discovery::parse(&text, &issuer()), Ok(document));
    let other = Issuer::parse("https://b.example").unwrap();
    let refused = Discovery::parse(&text, &other);
    assert!(matches!(refused, Err(MetadataError::WrongIssuer { .. })));
    let without = text.replace("subject_types_supported", "x");
    assert!(matches!(Discovery::parse(&without, &issuer()), Err(MetadataError::Json(_))));
    let long = format!("{text}{}", " ".repeat(70_000));
    assert!(matches!(Discovery::parse(&long, &issuer()), Err(MetadataError::TooLong { .. })));
}

#[test]
fn rp_initiated_2_requests() {
    let read = |body: &str| LogoutRequest::parse(&form(body));
    let request = read(
        "id_token_hint=a.b.c&client_id=s6BhdRkqt3&state=s&ui_locales=de+en&logout_hint=h\
         &post_logout_redirect_uri=https%3A%2F%2Fclient.example.org%2Fout",
    );
    let request = request.unwrap();
    let uri = Some("https://client.example.org/out");
    assert_eq!(request.post_logout_redirect_uri.as_deref(), uri);
    assert_eq!((request.ui_locales.len(), request.state.as_deref()), (2, Some("s")));
    assert!(read("").is_ok());
    for (body, name) in [
        ("post_logout_redirect_uri=https%3A%2F%2Fevil.example", "id_token_hint"),
        ("id_token_hint=%0A", "id_token_hint"),
        ("client_id=%C3%A9", "client_id"),
        (&format!("state={}", "a".repeat(2_049)), "state"),
    ] {
        assert_eq!(read(body).unwrap_err().name, name, "{body}");
    }
}

#[test]
fn back_channel_2_6_each_refusal() {
    let jti = TokenId::parse("bWJq").unwrap();
    let life = Span::from_seconds(120);
    let made = |ends| logout::claims(issuer(), &client(), ends, jti.clone(), NOW, life);
    let session = made(Ends::Session("08a5019c-17e1-4977-8f42-65a12843ea02".to_owned()));
    assert_eq!(round_trip::<LogoutToken>(&session), session);
    let value = serde_json::to_value(&session).unwrap();
    assert_eq!(
        value,
        json!({"iss": "https://server.example.com", "aud": "s6BhdRkqt3", "iat": 1000, "exp": 1120,
            "jti": "bWJq", "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}}})
    );
    let read = |changes: Value| {
        let token = proven::<LogoutToken>(&changed(&value, &changes));
        logout::check(&token, &issuer(), &client())
    };
    assert!(matches!(read(json!({})), Ok(Ends::Session(_))));
    assert_eq!(read(json!({"sid": null, "sub": "24400320"})), Ok(Ends::User(subject())));
    let found = Issuer::parse("https://b.example").unwrap();
    for (changes, expect) in [
        (
            json!({"iss": "https://b.example"}),
            LogoutRefused::WrongIssuer { found, expected: issuer() },
        ),
        (
            json!({"aud": "b"}),
            LogoutRefused::WrongAudience { found: Audience::one("b"), expected: client() },
        ),
        (json!({"nonce": "n"}), LogoutRefused::Nonce),
        (json!({"sid": null}), LogoutRefused::Nobody),
    ] {
        assert_eq!(read(changes.clone()), Err(expect), "{changes}");
    }
    for changes in [
        json!({"events": null}),
        json!({"events": {}}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": true}}),
        json!({"jti": null}),
        json!({"exp": null}),
        json!({"exp": 1000}),
        json!({"iat": null}),
    ] {
        let text = forge(Some("logout+jwt"), &changed(&value, &changes));
        assert!(verify::<LogoutToken>(&text).is_err(), "{changes}");
    }
    assert!(verify::<IdToken>(&forge(Some("logout+jwt"), &value)).is_err());
}

/// The examples of Core 1.0 §3.1.2.1 and RFC 7636 appendix B.
/// req: AUTHN-10 (part)
#[test]
fn core_3_1_2_1_sign_in_elsewhere() {
    let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
    let (id, scope) = (client(), ScopeSet::parse("openid profile").unwrap());
    let redirect_uri = RedirectUri::parse("https://client.example.org/cb").unwrap();
    let acr_values = [SILVER.to_owned()];
    let sign_in = SignIn {
        client_id: &id,
        redirect_uri: &redirect_uri,
        scope: &scope,
        state: "af0ifjsldkj",
        nonce: "n-0S6_WzA2Mj",
        verifier: &verifier,
        max_age: Some(60),
        acr_values: &acr_values,
        login_hint: Some("a&b=c"),
    };
    let endpoint = Endpoint::parse("https://server.example.com/authorize?tenant=1").unwrap();
    let url = sign_in.url(&endpoint);
    let asked = form(url.strip_prefix("https://server.example.com/authorize?").unwrap());
    let request = oauth::authorization_request::AuthorizationRequest::parse(&asked).unwrap();
    assert_eq!(request.code_challenge, Some(verifier.challenge()));
    assert_eq!(request.login_hint.as_deref(), Some("a&b=c"));
    assert_eq!((request.max_age, request.acr_values), (Some(60), acr_values.to_vec()));
    assert_eq!(asked.get("tenant"), Some("1"));
    let code = TokenText::parse("SplxlOBeZQQYbYS6WxSbIA").unwrap();
    let body = redeem(&code, &redirect_uri, &verifier);
    let request = oauth::token_request::TokenRequest::parse(&form(&body)).unwrap();
    let oauth::token_request::TokenRequest::AuthorizationCode(request) = request else { panic!() };
    assert_eq!((request.code, request.code_verifier), (code, Some(verifier)));
    assert_eq!(request.redirect_uri.as_deref(), Some("https://client.example.org/cb"));
}

/// Defect: a token of one kind that is taken for another.
#[test]
fn rfc8725_3_12_kinds_exclude_each_other() {
    fn takes<K: Kind>(text: &str) -> bool {
        Unverified::<K>::parse(text).is_ok()
    }
    let jwk = serde_json::to_value(key().public().to_jwk()).unwrap();
    let everything = json!({
        "iss": "https://server.example.com", "sub": "https://server.example.com", "aud": "a",
        "exp": 1600, "nbf": 900, "iat": 900, "jti": "j", "client_id": "c", "htm": "GET",
        "htu": "https://r.example/", "cnf": {"jwk": jwk}, "code": "c",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        "status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"},
        "token_introspection": {"active": true},
        "aims_root": "r", "aims_epoch": 1
    });
    let kinds = |text: &str| {
        [
            takes::<oauth::access_token::AccessToken>(text),
            takes::<oauth::dpop::DpopProof>(text),
            takes::<oauth::attestation_client::ClientAttestation>(text),
            takes::<oauth::introspection::SignedIntrospection>(text),
            takes::<oauth::request_object::RequestObject>(text),
            takes::<LogoutToken>(text),
            takes::<openid::status_list::StatusListToken>(text),
            takes::<IdToken>(text),
            takes::<openid::ciba::SignedRequest>(text),
            takes::<oauth::authorization_response::SignedResponse>(text),
            takes::<oauth::registration::SoftwareStatement>(text),
        ]
    };
    for (index, typ) in [
        "at+jwt",
        "dpop+jwt",
        "oauth-client-attestation+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "logout+jwt",
        "statuslist+jwt",
    ]
    .into_iter()
    .enumerate()
    {
        let mut expect = [false; 11];
        expect[index] = true;
        assert_eq!(kinds(&forge(Some(typ), &everything)), expect, "{typ}");
    }
    // Kinds older than explicit typing take what is untyped; none of the typed ones does.
    let untyped = kinds(&forge(None, &everything));
    assert_eq!(untyped[..4], [false; 4]);
    assert!(!untyped[6] && untyped[7]);
}
