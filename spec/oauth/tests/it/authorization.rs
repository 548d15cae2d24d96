//! Requests to the authorization endpoint and what they are answered.

use jose::NumericDate;
use oauth::authorization_request::{
    Arrived, AuthorizationRequest, By, Display, ReplyTo, RequestRefused, ResponseMode,
};
use oauth::authorization_response::{
    AuthorizationResponse, Delivery, Outcome, Received, ResponseRefused, SignedResponse, deliver,
    receive,
};
use oauth::error::{Description, ErrorCode};
use oauth::form::{Form, FormError};
use oauth::parameter::{Fault, Refused};
use oauth::redirect_uri::RedirectUri;
use oauth::request_object::{ObjectRefused, Profile, RequestObject, check};
use oauth::{ClientId, Issuer, TokenText};
use serde_json::json;

use crate::*;

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn form(body: &str) -> Form {
    Form::parse(body.as_bytes()).unwrap()
}

fn issuer() -> Issuer {
    Issuer::parse("https://server.example.com").unwrap()
}

fn client() -> ClientId {
    ClientId::parse("s6BhdRkqt3").unwrap()
}

/// The examples of RFC 6749 §4.1.1, RFC 7636 and OpenID Connect Core 1.0 §3.1.2.1.
fn whole() -> String {
    format!(
        "response_type=code&client_id=s6BhdRkqt3&state=xyz&scope=openid%20profile\
         &redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb&nonce=n-0S6_WzA2Mj\
         &code_challenge={CHALLENGE}&code_challenge_method=S256&unknown=1&max_age=300\
         &prompt=login+consent&acr_values=phr+phrh&ui_locales=fr-CA+fr+en&display=popup\
         &dpop_jkt=NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs&login_hint=a%40b.example\
         &resource=urn%3Aa&resource=urn%3Ab&response_mode=form_post.jwt\
         &authorization_details=%5B%7B%22type%22%3A%22a%22%7D%5D\
         &claims=%7B%22id_token%22%3A%7B%22auth_time%22%3A%7B%22essential%22%3Atrue%7D%7D%7D"
    )
}

/// req: AUTHZ-06 (part)
#[test]
fn rfc6749_4_1_1_a_request_is_read_whole() {
    let request = AuthorizationRequest::parse(&form(&whole())).unwrap();
    assert_eq!(request.client_id, client());
    assert_eq!(request.redirect_uri.as_deref(), Some("https://client.example.com/cb"));
    assert_eq!(request.scope.unwrap().to_string(), "openid profile");
    assert_eq!(request.state.as_deref(), Some("xyz"));
    assert_eq!(request.nonce.as_deref(), Some("n-0S6_WzA2Mj"));
    assert_eq!(request.code_challenge.unwrap().to_base64url(), CHALLENGE);
    assert!(request.prompt.login && request.prompt.consent && !request.prompt.none);
    assert_eq!((request.max_age, request.display), (Some(300), Some(Display::Popup)));
    assert_eq!(request.acr_values, ["phr", "phrh"]);
    assert_eq!(request.ui_locales, ["fr-CA", "fr", "en"]);
    assert_eq!(request.resources.len(), 2);
    assert_eq!(request.response_mode, ResponseMode::FormPostJwt);
    assert!(request.dpop_jkt.is_some() && request.authorization_details.is_some());
    assert_eq!(request.login_hint.as_deref(), Some("a@b.example"));
    let claims = request.claims.unwrap();
    assert!(claims.id_token["auth_time"].as_ref().unwrap().essential);
    let least = AuthorizationRequest::parse(&form("response_type=code&client_id=s6BhdRkqt3"));
    let least = least.unwrap();
    assert_eq!((least.redirect_uri, least.response_mode), (None, ResponseMode::Query));
}

#[test]
fn rfc6749_4_1_2_1_each_refusal_has_its_code() {
    let invalid = ErrorCode::InvalidRequest;
    for (from, to, name, error) in [
        ("response_type=code&", "", "response_type", invalid),
        (
            "response_type=code",
            "response_type=token",
            "response_type",
            ErrorCode::UnsupportedResponseType,
        ),
        (
            "response_type=code",
            "response_type=code+id_token",
            "response_type",
            ErrorCode::UnsupportedResponseType,
        ),
        ("client_id=s6BhdRkqt3&", "", "client_id", invalid),
        ("client_id=s6BhdRkqt3", "client_id=%C3%A9", "client_id", invalid),
        ("scope=openid%20profile", "scope=a++b", "scope", ErrorCode::InvalidScope),
        ("state=xyz", "state=%C3%A9", "state", invalid),
        ("state=xyz", "state=%0A", "state", invalid),
        ("S256", "plain", "code_challenge_method", invalid),
        ("&code_challenge_method=S256", "", "code_challenge_method", invalid),
        ("prompt=login+consent", "prompt=login+none", "prompt", invalid),
        ("prompt=login+consent", "prompt=create", "prompt", invalid),
        ("max_age=300", "max_age=-1", "max_age", invalid),
        ("max_age=300", "max_age=%2B1", "max_age", invalid),
        ("display=popup", "display=tv", "display", invalid),
        ("form_post.jwt", "web_message", "response_mode", invalid),
        ("dpop_jkt=N", "dpop_jkt=", "dpop_jkt", invalid),
        ("urn%3Aa", "urn%3Aa%23b", "resource", ErrorCode::InvalidTarget),
        (
            "%5B%7B%22type%22%3A%22a%22%7D%5D",
            "%5B%5D",
            "authorization_details",
            ErrorCode::InvalidAuthorizationDetails,
        ),
        ("claims=%7B", "claims=%5B", "claims", invalid),
    ] {
        let body = whole().replace(from, to);
        assert_ne!(body, whole(), "{from}");
        let RequestRefused { error: found, why } =
            AuthorizationRequest::parse(&form(&body)).unwrap_err();
        assert_eq!((found, why.name), (error, name), "{to}: {why}");
    }
    // Defect: parameter pollution.
    let twice = Form::parse(format!("{}&redirect_uri=https%3A%2F%2Fb", whole()).as_bytes());
    assert_eq!(twice, Err(FormError::Repeated { name: "redirect_uri".to_owned() }));
}

/// Defect: an error that is sent to a URI which nobody registered.
#[test]
fn rfc6749_4_1_2_1_who_asks_is_known_before_anything_is_told() {
    let read = |body: &str| Arrived::read(&form(body));
    let arrived = read("client_id=a&request_uri=urn:ietf:params:oauth:request_uri:b").unwrap();
    assert!(matches!(arrived.by, By::Reference(uri) if uri.as_str().ends_with(":b")));
    assert_eq!(read("client_id=a&scope=++").unwrap().by, By::Parameters);
    assert!(matches!(read("client_id=a&request=a.b.c").unwrap().by, By::Value(_)));
    for (body, name) in [
        ("response_type=code", "client_id"),
        ("client_id=%C3%A9", "client_id"),
        (
            "client_id=a&request=a.b.c&request_uri=urn:ietf:params:oauth:request_uri:b",
            "request_uri",
        ),
        ("client_id=a&request_uri=https://evil.example/", "request_uri"),
    ] {
        assert_eq!(read(body).unwrap_err().name, name, "{body}");
    }
    // What is wrong with the rest does not keep the refusal from the client.
    let reply = ReplyTo::read(&form("redirect_uri=https://a.example/&state=%0A&response_mode=x"));
    let reply = reply.unwrap();
    assert_eq!(reply.redirect_uri.as_deref(), Some("https://a.example/"));
    assert_eq!((reply.state, reply.mode), (None, ResponseMode::Query));
    let long = format!("redirect_uri={}", "a".repeat(2_049));
    let refused = ReplyTo::read(&form(&long)).unwrap_err();
    assert!(matches!(refused, Refused { fault: Fault::TooLong { .. }, .. }));
}

fn response(outcome: Outcome) -> AuthorizationResponse {
    AuthorizationResponse { outcome, state: Some("x&y \"<z>".to_owned()), iss: issuer() }
}

/// req: AUTHZ-09 (part)
#[test]
fn rfc9207_2_answers_name_their_issuer() {
    let code = response(Outcome::Code(TokenText::parse("SplxlOBeZQQYbYS6WxSbIA").unwrap()));
    let description = Some(Description::of("no"));
    let error = response(Outcome::Error { error: ErrorCode::AccessDenied, description });
    let to = |uri: &str, mode, answer: &AuthorizationResponse| {
        let parameters = answer.parameters();
        let pairs: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match deliver(&RedirectUri::parse(uri).unwrap(), mode, &pairs) {
            Delivery::Redirect(text) | Delivery::Page(text) => text,
        }
    };
    let cb = "https://client.example.com/cb";
    let all = [
        to(cb, ResponseMode::Query, &code),
        to(&format!("{cb}?a=b"), ResponseMode::Query, &error),
        to(cb, ResponseMode::Fragment, &code),
        to(cb, ResponseMode::FormPost, &error),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    https://client.example.com/cb?code=SplxlOBeZQQYbYS6WxSbIA&state=x%26y+%22%3Cz%3E&iss=https%3A%2F%2Fserver.example.com
    https://client.example.com/cb?a=b&error=access_denied&error_description=no&state=x%26y+%22%3Cz%3E&iss=https%3A%2F%2Fserver.example.com
    https://client.example.com/cb#code=SplxlOBeZQQYbYS6WxSbIA&state=x%26y+%22%3Cz%3E&iss=https%3A%2F%2Fserver.example.com
    <!DOCTYPE html><html><head><meta charset="utf-8"><title>Continue</title></head><body><form method="post" action="https://client.example.com/cb"><input type="hidden" name="error" value="access_denied"><input type="hidden" name="error_description" value="no"><input type="hidden" name="state" value="x&amp;y &quot;&lt;z&gt;"><input type="hidden" name="iss" value="https://server.example.com"><noscript><button>Continue</button></noscript></form><script>document.forms[0].submit()</script></body></html>
    "#);
    let query = all[0].split_once('?').unwrap().1;
    let received = receive(&form(query), "x&y \"<z>", issuer().as_str(), true);
    assert!(matches!(received, Ok(Received::Code(code)) if code.as_str().starts_with("Splx")));
}

#[test]
fn rfc9207_2_4_clients_look_at_state_and_issuer_first() {
    let iss = "iss=https%3A%2F%2Fserver.example.com";
    let read = |body: &str, promised| receive(&form(body), "s", issuer().as_str(), promised);
    assert!(read(&format!("code=c&state=s&{iss}"), true).is_ok());
    assert!(read("code=c&state=s", false).is_ok());
    let error = read(&format!("error=access_denied&state=s&{iss}"), true);
    assert_eq!(error, Ok(Received::Error("access_denied".to_owned())));
    let wrong = |found: &str| ResponseRefused::WrongIssuer {
        found: found.to_owned(),
        expected: issuer().to_string(),
    };
    for (body, promised, expect) in [
        ("code=c&state=t".to_owned(), false, ResponseRefused::WrongState),
        ("code=c".to_owned(), false, ResponseRefused::WrongState),
        ("code=c&state=s".to_owned(), true, ResponseRefused::NoIssuer),
        ("code=c&state=s&iss=https%3A%2F%2Fb".to_owned(), false, wrong("https://b")),
        (format!("code=c&state=s&{iss}%2F"), true, wrong("https://server.example.com/")),
        (format!("state=s&{iss}"), true, ResponseRefused::NotOne),
        (format!("code=c&error=e&state=s&{iss}"), true, ResponseRefused::NotOne),
    ] {
        assert_eq!(read(&body, promised), Err(expect), "{body}");
    }
}

#[test]
fn jarm_2_1_a_signed_answer_is_for_its_client() {
    let code = response(Outcome::Code(TokenText::parse("c").unwrap()));
    let claims = code.claims(&client(), NumericDate::from_seconds(1_600));
    let read = round_trip::<SignedResponse>(&claims);
    assert_eq!(read, claims);
    let value = serde_json::to_value(&read).unwrap();
    assert_eq!(
        value,
        json!({"iss": "https://server.example.com", "aud": "s6BhdRkqt3", "exp": 1600, "code": "c",
            "state": "x&y \"<z>"})
    );
}

fn object() -> Value {
    // RFC 9101 §4, less what a server must not be made to ignore.
    json!({
        "iss": "s6BhdRkqt3", "aud": "https://server.example.com", "response_type": "code",
        "client_id": "s6BhdRkqt3", "redirect_uri": "https://client.example.org/cb",
        "scope": "openid", "state": "af0ifjsldkj", "nonce": "n-0S6_WzA2Mj", "max_age": 86400,
        "exp": 1600, "nbf": 900, "jti": "j", "resource": ["urn:a", "urn:b"],
        "claims": {"id_token": {"acr": null}}
    })
}

/// req: AUTHZ-10 (part)
#[test]
fn rfc9101_6_3_only_what_is_inside_counts() {
    let token = proven::<RequestObject>(&object());
    let inside = check(&token, &client(), &issuer(), Profile::FapiMessageSigning, NOW).unwrap();
    let request = AuthorizationRequest::parse(&inside).unwrap();
    assert_eq!(request.max_age, Some(86_400));
    assert_eq!(request.resources.len(), 2);
    assert_eq!(request.state.as_deref(), Some("af0ifjsldkj"));
    assert!(request.claims.unwrap().id_token.contains_key("acr"));
    assert!(inside.get("iss").is_none() && inside.get("jti").is_none());
    let other = ClientId::parse("other").unwrap();
    let wrong = ObjectRefused::WrongClient { found: client(), expected: other.clone() };
    assert_eq!(check(&token, &other, &issuer(), Profile::Jar, NOW), Err(wrong));
}

#[test]
fn rfc9101_4_each_refusal() {
    let missing = |claim| ObjectRefused::Missing { claim };
    let nested = |name| ObjectRefused::Nested { name };
    let at = UnixTime::from_seconds;
    for (changes, jar, fapi) in [
        (json!({}), None, None),
        (
            json!({"iss": "x"}),
            Some(ObjectRefused::WrongIssuer {
                found: ClientId::parse("x").unwrap(),
                expected: client(),
            }),
            None,
        ),
        (json!({"sub": "s6BhdRkqt3"}), Some(ObjectRefused::Assertion), None),
        (
            json!({"aud": "https://b.example"}),
            Some(ObjectRefused::WrongAudience { expected: issuer() }),
            None,
        ),
        (json!({"request": "a.b.c"}), Some(nested("request")), None),
        (json!({"request_uri": "urn:a"}), Some(nested("request_uri")), None),
        (
            json!({"scope": ["openid"]}),
            Some(ObjectRefused::Parameter { name: "scope".to_owned() }),
            None,
        ),
        (
            json!({"resource": [1]}),
            Some(ObjectRefused::Parameter { name: "resource".to_owned() }),
            None,
        ),
        (json!({"aud": null}), None, Some(missing("aud"))),
        (json!({"nbf": null}), None, Some(missing("nbf"))),
        (json!({"exp": null}), None, Some(missing("exp"))),
        (
            json!({"exp": 4501}),
            None,
            Some(ObjectRefused::LivesTooLong { nbf: at(900), exp: at(4_501) }),
        ),
    ] {
        let token = proven::<RequestObject>(&changed(&object(), &changes));
        let of = |profile| check(&token, &client(), &issuer(), profile, NOW).err();
        assert_eq!(of(Profile::Jar), jar.clone(), "{changes}");
        assert_eq!(of(Profile::FapiMessageSigning), jar.or(fapi), "{changes}");
    }
    let token = proven::<RequestObject>(&object());
    let later = at(4_501);
    let refused = check(&token, &client(), &issuer(), Profile::FapiMessageSigning, later);
    assert_eq!(refused, Err(ObjectRefused::TooOld { nbf: at(900), now: later }));
    // RFC 9101 §10.8: an object of another type is none.
    assert!(verify::<RequestObject>(&forge(Some("at+jwt"), &object())).is_err());
    let nobody = changed(&object(), &json!({"client_id": null}));
    assert!(verify::<RequestObject>(&forge(None, &nobody)).is_err());
}
