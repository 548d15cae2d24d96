//! Requests to the token endpoint.

use oauth::error::ErrorCode;
use oauth::form::Form;
use oauth::parameter::Refused;
use oauth::token_request::{GrantType, TokenRequest, TokenRequestError, may_be_deferred};
use oauth::{NotAResource, NotAScope, NotATokenText, TokenType};

const EXCHANGE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
const ACCESS_TOKEN: &str = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";
const TXN_TOKEN: &str = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Atxn_token";

fn parse(body: &str) -> Result<TokenRequest, TokenRequestError> {
    TokenRequest::parse(&Form::parse(body.as_bytes()).unwrap())
}

/// A request of a grant that a URN names.
fn urn(name: &str) -> String {
    format!("grant_type=urn%3A{}", name.replace(':', "%3A"))
}

/// An exchange with a subject and `more`.
fn exchange(more: &str) -> String {
    format!("{EXCHANGE}&subject_token=s&subject_token_type={ACCESS_TOKEN}&{more}")
}

/// req: AUTHZ-07 (part)
#[test]
fn rfc6749_4_4_2_client_credentials() {
    let body = "grant_type=client_credentials&scope=read+write&resource=https%3A%2F%2Fa.example%2F\
                &unknown=1";
    let Ok(TokenRequest::ClientCredentials(request)) = parse(body) else { panic!() };
    assert_eq!(request.scope.unwrap().to_string(), "read write");
    assert_eq!(request.resources[0].as_str(), "https://a.example/");
    let bare = parse("grant_type=client_credentials&scope=&resource=").unwrap();
    assert_eq!(bare.grant_type(), GrantType::ClientCredentials);
    let TokenRequest::ClientCredentials(bare) = bare else { panic!() };
    assert_eq!((bare.scope, bare.resources), (None, vec![]));
}

/// The example of RFC 8693 §2.3.
/// req: AUTHZ-11 (part)
#[test]
fn rfc8693_2_3_exchange() {
    let body = format!(
        "{EXCHANGE}&resource=https%3A%2F%2Fbackend.example.com%2Fapi&subject_token=\
         accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC&subject_token_type={ACCESS_TOKEN}"
    );
    let Ok(TokenRequest::TokenExchange(request)) = parse(&body) else { panic!() };
    assert_eq!(request.resources[0].as_str(), "https://backend.example.com/api");
    assert_eq!(request.subject.token.as_str(), "accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC");
    assert_eq!(request.subject.token_type, TokenType::AccessToken);
    assert_eq!(
        (&request.actor, &request.scope, &request.requested_token_type),
        (&None, &None, &None)
    );
    assert!(!format!("{request:?}").contains("accVkj"));

    let actor = format!("actor_token=a&actor_token_type={ACCESS_TOKEN}&audience=x&audience=y");
    let Ok(TokenRequest::TokenExchange(request)) = parse(&exchange(&actor)) else { panic!() };
    assert_eq!(request.actor.unwrap().token.as_str(), "a");
    let audiences: Vec<&str> = request.audiences.iter().map(|name| name.as_str()).collect();
    assert_eq!(audiences, ["x", "y"]);
}

/// The example of draft-ietf-oauth-transaction-tokens §11.1.
/// req: AUTHZ-12 (part)
#[test]
fn txn_tokens_11_1_request() {
    let context = "%7B%0A%20%20%20%20%20%20%22req_ip%22%3A%20%2269.151.72.123%22%2C%20%0A%20%20\
                   %20%20%20%20%22authn%22%3A%20%22face%22%0A%7D";
    let details = "%7B%22action%22%3A%20%22BUY%22%7D";
    let body = exchange(&format!(
        "requested_token_type={TXN_TOKEN}&audience=trust-domain.example&scope=trade.stocks\
         &request_context={context}&request_details={details}"
    ));
    let Ok(TokenRequest::TokenExchange(request)) = parse(&body) else { panic!() };
    assert_eq!(request.requested_token_type, Some(TokenType::TxnToken));
    assert_eq!(request.request_context.unwrap()["req_ip"], "69.151.72.123");
    assert_eq!(request.request_details.unwrap()["action"], "BUY");
}

#[test]
fn rfc6749_5_2_each_refusal_has_its_code() {
    let missing = |name| TokenRequestError::Missing { name };
    let grant = |found: &str| TokenRequestError::UnsupportedGrantType { found: found.to_owned() };
    let resources = "resource=urn:x&".repeat(5) + &"audience=x&".repeat(4);
    let (request, target) = (ErrorCode::InvalidRequest, ErrorCode::InvalidTarget);
    for (body, expect, code) in [
        (String::new(), missing("grant_type"), request),
        ("grant_type=".into(), missing("grant_type"), request),
        ("grant_type=password".into(), grant("password"), ErrorCode::UnsupportedGrantType),
        (
            "grant_type=authorization_code&code=a&authorization_details=%5B%5D".into(),
            TokenRequestError::Details(Refused::form(
                "authorization_details",
                "RFC 9396 §2",
                "an array without objects",
            )),
            ErrorCode::InvalidAuthorizationDetails,
        ),
        (
            "grant_type=authorization_code&code=a&code_verifier=short".into(),
            TokenRequestError::Parameter(Refused::form(
                "code_verifier",
                "RFC 7636 §4.1",
                "5 bytes, not 43 to 128",
            )),
            request,
        ),
        ("grant_type=authorization_code".into(), missing("code"), request),
        ("grant_type=refresh_token".into(), missing("refresh_token"), request),
        (urn("ietf:params:oauth:grant-type:jwt-bearer"), missing("assertion"), request),
        (urn("ietf:params:oauth:grant-type:device_code"), missing("device_code"), request),
        (urn("openid:params:grant-type:ciba"), missing("auth_req_id"), request),
        (urn("ietf:params:oauth:grant-type:deferred"), missing("deferral_code"), request),
        (
            "grant_type=Client_Credentials".into(),
            grant("Client_Credentials"),
            ErrorCode::UnsupportedGrantType,
        ),
        (
            "grant_type=client_credentials&authorization_details=%5B%5D".into(),
            TokenRequestError::AuthorizationDetails,
            ErrorCode::InvalidAuthorizationDetails,
        ),
        (
            "grant_type=client_credentials&scope=a++b".into(),
            TokenRequestError::Scope(NotAScope::Empty),
            ErrorCode::InvalidScope,
        ),
        (
            "grant_type=client_credentials&resource=https://a/%23x".into(),
            TokenRequestError::Resource(NotAResource::Fragment),
            target,
        ),
        (exchange(&resources), TokenRequestError::TooManyTargets { max: 8 }, target),
    ] {
        let refused = parse(&body).unwrap_err();
        assert_eq!(refused, expect, "{body}");
        assert_eq!(refused.code(), code, "{body}");
    }
}

#[test]
fn rfc8693_2_2_2_each_refusal_has_its_code() {
    let missing = |name| TokenRequestError::Missing { name };
    let unknown = |name| TokenRequestError::UnknownTokenType { name, found: "x".to_owned() };
    let control = |name| TokenRequestError::Token { name, reason: NotATokenText::Character };
    let txn = |more: &str| exchange(&format!("requested_token_type={TXN_TOKEN}&{more}"));
    let long = format!("request_context=%7B%22a%22:%22{}%22%7D", "a".repeat(5_000));
    let (request, target) = (ErrorCode::InvalidRequest, ErrorCode::InvalidTarget);
    for (body, expect, code) in [
        (EXCHANGE.into(), missing("subject_token"), request),
        (format!("{EXCHANGE}&subject_token=s"), missing("subject_token_type"), request),
        (
            format!("{EXCHANGE}&subject_token=s&subject_token_type=x"),
            unknown("subject_token_type"),
            request,
        ),
        (
            format!("{EXCHANGE}&subject_token=%0A&subject_token_type={ACCESS_TOKEN}"),
            control("subject_token"),
            request,
        ),
        (exchange("requested_token_type=x"), unknown("requested_token_type"), request),
        (exchange("actor_token=a"), missing("actor_token_type"), request),
        (exchange("actor_token=a&actor_token_type=x"), unknown("actor_token_type"), request),
        (
            exchange(&format!("actor_token_type={ACCESS_TOKEN}")),
            TokenRequestError::ActorTypeAlone,
            request,
        ),
        (txn("scope=a"), missing("audience"), request),
        (txn("audience=a"), missing("scope"), request),
        (txn("scope=a&audience=a&audience=b"), TokenRequestError::SeveralAudiences, target),
    ] {
        let refused = parse(&body).unwrap_err();
        assert_eq!(refused, expect, "{body}");
        assert_eq!(refused.code(), code, "{body}");
    }
    let refused = parse(&exchange("audience=%01")).unwrap_err();
    assert!(matches!(refused, TokenRequestError::Audience(_)) && refused.code() == target);
    let refused = parse(&exchange(&long)).unwrap_err();
    assert!(matches!(refused, TokenRequestError::ContextTooLong { .. }));
    assert_eq!(refused.code(), request);
    for context in ["%5B%5D", "x", "%7B%22a%22:1,%22a%22:2%7D"] {
        let refused = parse(&exchange(&format!("request_details={context}"))).unwrap_err();
        assert!(matches!(refused, TokenRequestError::Context { name: "request_details", .. }));
    }
}

/// The examples of RFC 6749 §4.1.3 and §6, RFC 7523 §2.1, RFC 8628 §3.4 and CIBA Core 1.0 §10.1.
/// req: AUTHZ-06 (part), AUTHZ-17 (part), AUTHZ-19 (part)
#[test]
fn rfc6749_4_1_3_each_grant_has_its_parameters() {
    let code = "grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA\
                &redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb\
                &code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk&scope=ignored\
                &authorization_details=%5B%7B%22type%22%3A%22a%22%7D%5D&resource=urn%3Ar";
    let Ok(TokenRequest::AuthorizationCode(request)) = parse(code) else { panic!() };
    assert_eq!(request.code.as_str(), "SplxlOBeZQQYbYS6WxSbIA");
    assert_eq!(request.redirect_uri.as_deref(), Some("https://client.example.com/cb"));
    assert!(request.code_verifier.is_some() && request.asked.scope.is_none());
    assert_eq!(request.asked.authorization_details.unwrap().iter().count(), 1);
    assert_eq!(request.asked.resources[0].as_str(), "urn:r");

    let refresh = "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA&scope=a";
    let Ok(TokenRequest::RefreshToken(request)) = parse(refresh) else { panic!() };
    assert_eq!(request.refresh_token.as_str(), "tGzv3JOkF0XG5Qx2TlKWIA");
    assert_eq!(request.asked.scope.unwrap().to_string(), "a");

    let jwt = urn("ietf:params:oauth:grant-type:jwt-bearer") + "&assertion=eyJ.e30.AA";
    let Ok(TokenRequest::JwtBearer(request)) = parse(&jwt) else { panic!() };
    assert_eq!(request.assertion.as_str(), "eyJ.e30.AA");

    let device = urn("ietf:params:oauth:grant-type:device_code")
        + "&device_code=GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS&client_id=1406020730";
    let Ok(TokenRequest::DeviceCode(request)) = parse(&device) else { panic!() };
    assert_eq!(request.device_code.as_str(), "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS");

    let ciba =
        urn("openid:params:grant-type:ciba") + "&auth_req_id=1c266114-a1be-4252-8ad1-04986c5b9ac1";
    let Ok(TokenRequest::Ciba(request)) = parse(&ciba) else { panic!() };
    assert_eq!(request.auth_req_id.as_str(), "1c266114-a1be-4252-8ad1-04986c5b9ac1");

    let deferred = urn("ietf:params:oauth:grant-type:deferred") + "&deferral_code=d";
    let Ok(TokenRequest::Deferred(request)) = parse(&deferred) else { panic!() };
    assert_eq!(request.deferral_code.as_str(), "d");
    for body in [code, refresh, &jwt, &device, &ciba, &deferred] {
        let request = parse(body).unwrap();
        let named = GrantType::parse(request.grant_type().as_str());
        assert_eq!(named, Some(request.grant_type()));
        assert!(!format!("{request:?}").contains("SplxlOBe"));
    }
}

#[test]
fn deferred_completion_is_asked_for_by_name() {
    let asked = |body: &str| may_be_deferred(&Form::parse(body.as_bytes()).unwrap());
    assert_eq!(asked("grant_type=client_credentials"), Ok(false));
    assert_eq!(asked("completion_mode=deferred"), Ok(true));
    assert_eq!(asked("completion_mode=later").unwrap_err().name, "completion_mode");
}
