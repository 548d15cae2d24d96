//! `POST /par` (RFC 9126) as it is on the wire.

use api::Limits;
use env::{Change, Expect, Key, Store, World, Write};
use http::Request;
use oauth::client_assertion::AssertionType;
use registry::{ClientRecord, Metadata};

use crate::browser::{Reply, Served};
use crate::endpoint::KeyClient;
use crate::world::TestWorld;

/// RFC 7636 appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const BACK: &str = "https://books.example/back";

/// Lets the client bring users.
async fn with_redirects(world: &TestWorld, client: &KeyClient) {
    let rows = world.store().snapshot(&[Key::of::<ClientRecord>(&client.id)]).await.unwrap();
    let record = rows.get::<ClientRecord>(&client.id).unwrap().unwrap();
    let mut members = record.metadata.members().clone();
    members.insert("grant_types".to_owned(), vec!["authorization_code"].into());
    members.insert("redirect_uris".to_owned(), vec![BACK].into());
    let record = record.with_metadata(Metadata::new(&members).unwrap());
    let writes = vec![Write::put(&record, Expect::Any)];
    world.store().commit(Change { writes, ..Change::default() }).await.unwrap();
}

async fn push(served: &Served, proof: &str, more: &str) -> Reply {
    let body = format!(
        "{proof}response_type=code&redirect_uri={BACK}&scope=openid&code_challenge={CHALLENGE}{more}"
    );
    let request = Request::post("/par")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.into_bytes());
    served.send(request.unwrap()).await
}

/// RFC 9126 §2.2: 201, a reference and its life; §2.3: errors as at the token endpoint.
///
/// req: AUTHZ-10 (part)
#[tokio::test]
async fn rfc9126_2_2_a_client_that_proves_itself_gets_a_reference() {
    let served = Served::with(TestWorld::start().await, Limits::default()).await;
    let client = KeyClient::register(&served.world).await;
    with_redirects(&served.world, &client).await;
    let proof = |jti: &str| {
        let kind = AssertionType::Jwt.as_str();
        format!("client_assertion_type={kind}&client_assertion={}&", client.assertion(jti))
    };
    let good = "&code_challenge_method=S256";
    let reply = push(&served, &proof("a"), good).await;
    assert_eq!(reply.status.as_u16(), 201);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(reply.header("aims-audit-id").is_some());
    let told = reply.json();
    assert_eq!(told["expires_in"], 90);
    let uri = told["request_uri"].as_str().unwrap();
    assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:"), "{uri}");
    for (jti, more, status, error) in [
        // The proof serves once.
        ("a", good, 400, "invalid_client"),
        ("b", "&code_challenge_method=plain", 400, "invalid_request"),
        ("c", "&code_challenge_method=S256&request_uri=urn:x", 400, "invalid_request"),
        ("d", "&code_challenge_method=S256&resource=https://other.example", 400, "invalid_target"),
    ] {
        let reply = push(&served, &proof(jti), more).await;
        let got = (reply.status.as_u16(), reply.json()["error"].as_str().unwrap().to_owned());
        assert_eq!(got, (status, error.to_owned()), "{more}");
    }
    let reply = push(&served, "", good).await;
    assert_eq!(reply.json()["error"], "invalid_client");
    served.stop().await;
}
