//! Tokens that are put off, and lists of their status, over HTTP.

use http::StatusCode;
use oauth::access_token::AccessToken;
use oauth::client_assertion::AssertionType;
use oauth::token_request::GrantType;

use crate::browser::{Reply, Served};
use crate::endpoint::{CREDENTIALS, KeyClient, issue};
use crate::world::{OPEN, TestWorld, files};

const RESOURCE: &str = "status = true\nname = \"open\"\naudience = \"https://open.example\"\n\
     upstream = \"http://127.0.0.1:1\"\nprotocol = \"http\"\nproof = \"bearer\"\n\
     [scopes]\nread = \"read it\"\n";
const DOMAIN: &str = "trust_domain = \"demo.example\"\n[approvals]\nask = \"role:finance\"\n\
     deferred = true\n";
const DUTY: &str = "@id(\"duty\") @obligations(\"approval\") permit(principal, \
     action == Aims::Action::\"token.issue\", resource);\n";

async fn apply(served: &Served, changed: &[(&str, &str)]) {
    let (world, operator) = (&*served.world, TestWorld::operator());
    let done = flow::apply_policy::apply(world, &operator, files(changed), String::new(), None);
    done.await.unwrap().into_value().unwrap();
}

async fn ask(served: &Served, client: &KeyClient, jti: &str, parameters: &[(&str, &str)]) -> Reply {
    let assertion = client.assertion(jti);
    let mut form = vec![
        ("client_assertion_type", AssertionType::Jwt.as_str()),
        ("client_assertion", assertion.as_str()),
    ];
    form.extend(parameters);
    served.form(&form).await
}

/// req: AUTHZ-17 (part)
#[tokio::test]
async fn a_client_that_can_wait_is_told_what_it_waits_with() {
    let served = Served::start().await;
    let grants = ["client_credentials", GrantType::Deferred.as_str()];
    let client = KeyClient::register_for(&served.world, &grants).await;
    apply(&served, &[("domain.toml", DOMAIN), ("access/main.cedar", DUTY)]).await;
    let wanted = [CREDENTIALS, ("resource", OPEN), ("scope", "read")];
    let error = |reply: &Reply| reply.json()["error"].as_str().unwrap().to_owned();
    // Whoever does not say that it can wait is refused, as before.
    let reply = ask(&served, &client, "j1", &wanted).await;
    assert_eq!((reply.status, error(&reply).as_str()), (StatusCode::BAD_REQUEST, "invalid_target"));
    let with = |mode| [&wanted[..], &[("completion_mode", mode)]].concat();
    let reply = ask(&served, &client, "j2", &with("later")).await;
    assert_eq!(error(&reply), "invalid_request");
    let reply = ask(&served, &client, "j3", &with("deferred")).await;
    assert_eq!(
        (reply.status, error(&reply).as_str()),
        (StatusCode::BAD_REQUEST, "authorization_pending")
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.json();
    assert_eq!((&body["expires_in"], &body["interval"]), (&300.into(), &5.into()));
    let code = body["deferral_code"].as_str().unwrap();
    let poll = [("grant_type", GrantType::Deferred.as_str()), ("deferral_code", code)];
    let reply = ask(&served, &client, "j4", &poll).await;
    assert_eq!(error(&reply), "authorization_pending");
    let reply = ask(&served, &client, "j5", &poll).await;
    assert_eq!(error(&reply), "slow_down");
    let metadata = served.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["deferred_token_response_supported"], true);
}

/// req: AUTHZ-04 (part)
#[tokio::test]
async fn status_8_2_a_list_is_a_jwt_that_may_be_kept_for_a_second() {
    let served = Served::start().await;
    let client = KeyClient::register(&served.world).await;
    apply(&served, &[("resources/open.toml", RESOURCE)]).await;
    let token = issue(&served.world, &client).await;
    let ring = served.get("/jwks").await.json();
    let keys: jose::KeySet = serde_json::from_value(ring).unwrap();
    let token = jose::Unverified::<AccessToken>::parse(&token).unwrap();
    let (algorithms, now) = ([jose::Algorithm::Es256], crate::world::NOW);
    let token = token.verify(&keys, &algorithms, now, time::Span::ZERO).unwrap();
    let place = token.claims().status.clone().unwrap().status_list;
    let path = place.uri.strip_prefix("https://localhost:8443").unwrap();
    let reply = served.get(path).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), Some("application/statuslist+jwt"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=1"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.body.split(|byte| *byte == b'.').count(), 3);
    // Anybody may ask, and to make one costs a look at each of its tokens: whoever asks in the same
    // moment gets the same, as its signature shows.
    assert_eq!(served.get(path).await.body, reply.body);
    assert_eq!(served.get("/status/0.0").await.status, StatusCode::NOT_FOUND);
}
