//! Users who are asked out of band.

use jose::Audience;
use oauth::error::ErrorCode;
use oauth::registration::DeliveryMode;
use oauth::request_object::ObjectRefused;
use openid::ciba::{
    BackchannelRequest, BackchannelResponse, Hint, Ping, Push, PushError, Registered,
    SignedRefused, SignedRequest, check_signed, fapi_allows, has_context, signed,
};
use serde_json::json;

use crate::*;

const POLL: Registered = Registered { mode: DeliveryMode::Poll, user_code_parameter: true };
const PING: Registered = Registered { mode: DeliveryMode::Ping, user_code_parameter: false };

/// The example of §7.1.
const EXAMPLE: &str = "scope=openid%20email%20example-scope\
    &client_notification_token=8d67dc78-7faa-4d41-aabd-67707b374255&binding_message=W4SCT\
    &login_hint_token=eyJraWQiOiJsdGFjZXNidyIsImFsZyI6IkVTMjU2In0.eyJzdWJfaWQiOnt9fQ.AA";

/// req: AUTHZ-17 (part)
#[test]
fn s7_1_a_request_is_read_whole() {
    let request = BackchannelRequest::parse(&form(EXAMPLE), PING).unwrap();
    assert_eq!(request.scope.to_string(), "email example-scope openid");
    assert!(matches!(request.hint, Hint::LoginToken(_)));
    assert_eq!(request.binding_message.as_deref(), Some("W4SCT"));
    assert!(request.client_notification_token.is_some() && has_context(&request));
    let more = "scope=openid&login_hint=a%40b.example&user_code=1234&requested_expiry=60\
                &acr_values=a+b&authorization_details=%5B%7B%22type%22%3A%22a%22%7D%5D&resource=urn:r";
    let request = BackchannelRequest::parse(&form(more), POLL).unwrap();
    assert_eq!(request.user_code.as_ref().unwrap().expose(), "1234");
    assert_eq!((request.requested_expiry, request.acr_values.len()), (Some(60), 2));
    assert!(!format!("{request:?}").contains("1234"));
    assert!(has_context(&request) && request.resources.len() == 1);
    assert!(fapi_allows(DeliveryMode::Poll) && !fapi_allows(DeliveryMode::Push));
}

#[test]
fn s13_each_refusal_has_its_code() {
    let invalid = ErrorCode::InvalidRequest;
    let message = ErrorCode::InvalidBindingMessage;
    for (more, name, error) in [
        ("scope=", "scope", invalid),
        ("scope=a++b", "scope", ErrorCode::InvalidScope),
        ("login_hint=", "login_hint", invalid),
        ("login_hint=a&id_token_hint=b", "login_hint", invalid),
        ("login_hint_token=a&id_token_hint=b&login_hint=c", "login_hint", invalid),
        ("client_notification_token=", "client_notification_token", invalid),
        ("client_notification_token=a+b", "client_notification_token", invalid),
        (
            &format!("client_notification_token={}", "a".repeat(1_025)),
            "client_notification_token",
            invalid,
        ),
        (&format!("binding_message={}", "a".repeat(129)), "binding_message", message),
        ("binding_message=a%0Ab", "binding_message", message),
        ("binding_message=%E2%80%AEa", "binding_message", message),
        ("user_code=1234", "user_code", invalid),
        ("requested_expiry=0", "requested_expiry", invalid),
        ("requested_expiry=-1", "requested_expiry", invalid),
        ("resource=x", "resource", ErrorCode::InvalidTarget),
        (
            "authorization_details=%5B%5D",
            "authorization_details",
            ErrorCode::InvalidAuthorizationDetails,
        ),
    ] {
        let mut all: Vec<(&str, &str)> =
            vec![("scope", "openid"), ("login_hint", "a"), ("client_notification_token", "t")];
        for pair in more.split('&') {
            let (name, value) = pair.split_once('=').unwrap();
            all.retain(|(known, _)| *known != name);
            all.push((name, value));
        }
        let body: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let refused = BackchannelRequest::parse(&form(&body.join("&")), PING).unwrap_err();
        assert_eq!((refused.why.name, refused.error), (name, error), "{more}: {refused}");
    }
}

fn claims() -> Value {
    json!({
        "iss": "s6BhdRkqt3", "aud": "https://server.example.com", "exp": 1600, "iat": 1000,
        "nbf": 1000, "jti": "4LTCqACC2ESC5BWCnN3j58EnA", "scope": "openid email",
        "client_notification_token": "8d67dc78", "binding_message": "W4SCT",
        "login_hint": "a", "requested_expiry": 120,
    })
}

/// §7.1.1, and FAPI-CIBA §5.2.2.
/// req: AUTHZ-17 (part)
#[test]
fn s7_1_1_a_signed_request_says_all() {
    let read = |changes: Value, fapi| {
        let token = proven::<SignedRequest>(&changed(&claims(), &changes));
        check_signed(&token, &client(), &issuer(), fapi)
    };
    let request = BackchannelRequest::parse(&read(json!({}), true).unwrap(), PING).unwrap();
    assert_eq!(request.requested_expiry, Some(120));
    assert_eq!(request.hint, Hint::Login("a".to_owned()));
    let other = ClientId::parse("other").unwrap();
    let at = UnixTime::from_seconds;
    for (changes, fapi, expect) in [
        (
            json!({"iss": "other"}),
            false,
            SignedRefused::WrongClient { found: other, expected: client() },
        ),
        (
            json!({"aud": "https://b.example"}),
            false,
            SignedRefused::WrongAudience {
                found: Audience::one("https://b.example"),
                expected: issuer(),
            },
        ),
        (
            json!({"exp": 4601}),
            true,
            SignedRefused::LivesTooLong { nbf: at(1_000), exp: at(4_601) },
        ),
        (
            json!({"request": "a.b.c"}),
            false,
            SignedRefused::Parameter(ObjectRefused::Nested { name: "request" }),
        ),
    ] {
        assert_eq!(read(changes.clone(), fapi), Err(expect), "{changes}");
    }
    assert!(read(json!({"exp": 4601}), false).is_ok());
    for required in ["iss", "aud", "exp", "iat", "nbf", "jti"] {
        let text = forge(None, &changed(&claims(), &json!({ required: null })));
        let refused = verify::<SignedRequest>(&text).unwrap_err();
        assert!(refused.contains(required), "{refused}");
    }
    // Nothing is said beside it.
    assert!(signed(&form("request=a.b.c&client_id=x&client_assertion=y")).unwrap().is_some());
    assert_eq!(signed(&form(EXAMPLE)), Ok(None));
    assert_eq!(signed(&form("request=a.b.c&login_hint=a")).unwrap_err().name, "login_hint");
}

/// The examples of §7.3, §10.2, §10.3.1 and §12.
#[test]
fn s10_what_a_client_is_told() {
    let id = "1c266114-a1be-4252-8ad1-04986c5b9ac1";
    let answer = format!(r#"{{"auth_req_id":"{id}","expires_in":120,"interval":2}}"#);
    let read: BackchannelResponse = serde_json::from_str(&answer).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), answer);
    let ping = format!(r#"{{"auth_req_id":"{id}"}}"#);
    let pinged: Ping = serde_json::from_str(&ping).unwrap();
    assert_eq!(serde_json::to_string(&pinged).unwrap(), ping);
    let push = json!({"auth_req_id": id, "access_token": "G5kXH2wHvUra0sHlDy1iTkDJgsgUO1bN",
        "token_type": "Bearer", "expires_in": 120, "id_token": "a.b.c",
        "refresh_token": "4bwc0ESC_IAhflf-ACC_vjD_ltc11ne-8gFPfA2Kx16"});
    let pushed: Push = serde_json::from_value(push.clone()).unwrap();
    assert_eq!(serde_json::to_value(&pushed).unwrap(), push);
    let error = format!(r#"{{"error":"transaction_failed","auth_req_id":"{id}"}}"#);
    let failed: PushError = serde_json::from_str(&error).unwrap();
    assert_eq!(serde_json::to_string(&failed).unwrap(), error);
    for shown in
        [format!("{read:?}"), format!("{pinged:?}"), format!("{pushed:?}"), format!("{failed:?}")]
    {
        assert!(!shown.contains(id) && !shown.contains("G5kX"), "{shown}");
    }
}
