//! `/introspect`, `/revoke` and `/userinfo` as they are on the wire.

use api::Limits;
use http::Request;
use oauth::client_assertion::AssertionType;

use crate::browser::{Reply, Served};
use crate::endpoint::{KeyClient, issue};

const FORM: &str = "application/x-www-form-urlencoded";

/// A form of `client` with its assertion.
async fn post(served: &Served, path: &str, client: &KeyClient, jti: &str, token: &str) -> Reply {
    let assertion = client.assertion(jti);
    let kind = AssertionType::Jwt.as_str();
    let body = format!("client_assertion_type={kind}&client_assertion={assertion}&token={token}");
    let request = Request::post(path).header("content-type", FORM).body(body.into_bytes());
    served.send(request.unwrap()).await
}

async fn bare(served: &Served, path: &str, body: &str) -> Reply {
    let request = Request::post(path).header("content-type", FORM).body(body.as_bytes().to_vec());
    served.send(request.unwrap()).await
}

/// req: AUTHZ-04 (part)
#[tokio::test]
async fn rfc7662_2_3_whoever_is_nobody_is_told_nothing() {
    let served = Served::with(crate::world::TestWorld::start().await, Limits::default()).await;
    let reply = bare(&served, "/introspect", "token=a.b.c").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (401, &"invalid_client".into()));
    let client = KeyClient::register(&served.world).await;
    let token = issue(&served.world, &client).await;
    // It is in order, and not this caller's to ask about.
    let reply = post(&served, "/introspect", &client, "a", &token).await;
    assert_eq!(reply.status.as_u16(), 200);
    assert_eq!(String::from_utf8(reply.body.clone()).unwrap(), r#"{"active":false}"#);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(reply.header("aims-audit-id").is_some());
    let reply = post(&served, "/introspect", &client, "a", &token).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (401, &"invalid_client".into()));
    let reply = post(&served, "/introspect", &client, "b", "").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &"invalid_request".into()));
    served.stop().await;
}

/// req: AUTHZ-04 (part)
#[tokio::test]
async fn rfc9701_4_the_answer_is_signed_where_the_caller_asks_for_that() {
    let served = Served::with(crate::world::TestWorld::start().await, Limits::default()).await;
    let client = KeyClient::register(&served.world).await;
    let kind = AssertionType::Jwt.as_str();
    let assertion = client.assertion("signed");
    let body = format!("client_assertion_type={kind}&client_assertion={assertion}&token=x");
    let request = Request::post("/introspect")
        .header("content-type", FORM)
        .header("accept", "text/html, application/token-introspection+jwt;q=0.9")
        .body(body.into_bytes());
    let reply = served.send(request.unwrap()).await;
    assert_eq!(reply.header("content-type"), Some("application/token-introspection+jwt"));
    assert_eq!(String::from_utf8(reply.body).unwrap().split('.').count(), 3);
    served.stop().await;
}

/// req: OBS-10 (part)
#[tokio::test]
async fn rfc7009_2_2_what_ended_is_200_and_so_is_what_never_was() {
    let served = Served::with(crate::world::TestWorld::start().await, Limits::default()).await;
    let client = KeyClient::register(&served.world).await;
    let token = issue(&served.world, &client).await;
    for (jti, text) in [("a", token.as_str()), ("b", token.as_str()), ("c", "never")] {
        let reply = post(&served, "/revoke", &client, jti, text).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0), "{text}");
    }
    let other = KeyClient::register(&served.world).await;
    let theirs = issue(&served.world, &other).await;
    let reply = post(&served, "/revoke", &client, "d", &theirs).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &"invalid_grant".into()));
    let reply = bare(&served, "/revoke", "token=x").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &"invalid_client".into()));
    served.stop().await;
}

/// req: AUTHZ-25 (part)
#[tokio::test]
async fn rfc6750_3_userinfo_challenges_as_a_resource_does() {
    let served = Served::with(crate::world::TestWorld::start().await, Limits::default()).await;
    let client = KeyClient::register(&served.world).await;
    let token = issue(&served.world, &client).await;
    let get = async |authorization: Option<String>, path: &str| {
        let mut request = Request::get(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        served.send(request.body(Vec::new()).unwrap()).await
    };
    let challenge = |reply: &Reply| reply.header("www-authenticate").unwrap_or_default().to_owned();
    let reply = get(None, "/userinfo").await;
    assert_eq!((reply.status.as_u16(), challenge(&reply).as_str()), (401, "Bearer"));
    let reply = get(Some(format!("Bearer {token}")), "/userinfo").await;
    assert_eq!(reply.status.as_u16(), 401, "a token of a resource is none of userinfo");
    assert!(challenge(&reply).starts_with("Bearer error=\"invalid_token\""));
    let reply = get(Some("Bearer a.b.c".to_owned()), "/userinfo").await;
    assert!(challenge(&reply).starts_with("Bearer error=\"invalid_token\""));
    let reply = get(Some("Bearer a b".to_owned()), "/userinfo").await;
    assert_eq!(reply.status.as_u16(), 400);
    let reply = get(Some(format!("DPoP {token}")), "/userinfo").await;
    assert!(challenge(&reply).starts_with("DPoP error=\"invalid_token\""), "{}", challenge(&reply));
    let reply = get(Some(format!("Bearer {token}")), "/userinfo?access_token=x").await;
    assert_eq!(reply.status.as_u16(), 400);
    served.stop().await;
}

/// RFC 9449 §5: a proof at the token endpoint that does not hold is told as such.
/// req: AUTHZ-10 (part)
#[tokio::test]
async fn rfc9449_5_a_proof_that_does_not_hold_is_told() {
    let served = Served::with(crate::world::TestWorld::start().await, Limits::default()).await;
    let client = KeyClient::register(&served.world).await;
    let (kind, assertion) = (AssertionType::Jwt.as_str(), client.assertion("dpop"));
    let body = format!(
        "grant_type=client_credentials&resource=https://open.example&scope=read\
         &client_assertion_type={kind}&client_assertion={assertion}"
    );
    let request = Request::post("/token")
        .header("content-type", FORM)
        .header("dpop", "eyJ.e30.AA")
        .body(body.into_bytes());
    let reply = served.send(request.unwrap()).await;
    assert_eq!(reply.status.as_u16(), 400);
    assert_eq!(reply.json()["error"], "invalid_dpop_proof");
    assert!(reply.header("aims-audit-id").is_some(), "its client is known, so it is recorded");
    served.stop().await;
}
