//! Requests to the token endpoint.

use oauth::error::ErrorCode;
use oauth::form::Form;
use oauth::token_request::{GrantType, TokenRequest, TokenRequestError};
use oauth::{NotAResource, NotAScope, NotATokenText, TokenType};

const EXCHANGE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
const ACCESS_TOKEN: &str = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";
const TXN_TOKEN: &str = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Atxn_token";

fn parse(body: &str) -> Result<TokenRequest, TokenRequestError> {
    TokenRequest::parse(&Form::parse(body.as_bytes()).unwrap())
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
            "grant_type=refresh_token".into(),
            grant("refresh_token"),
            ErrorCode::UnsupportedGrantType,
        ),
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
