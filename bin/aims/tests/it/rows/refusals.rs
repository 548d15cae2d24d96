//! AUTHZ: what a resource server says, and what goes on behind it.

use http::Method;
use serde_json::json;

use super::Stage;
use crate::actor::{ENTRIES, claims};

/// What is asked, the method, token and path of it, the status and the code.
type Case<'a> = (&'a str, Method, Option<&'a str>, &'a str, u16, Option<&'a str>);

/// RFC 6750 §3: each refusal has its status, its code and its challenge.
///
/// req: AUTHZ-25
/// req: GW-01 (part), AUTHZ-22 (part)
#[tokio::test(flavor = "multi_thread")]
async fn rfc6750_3_each_refusal_has_its_status_and_its_challenge() {
    let stage = Stage::open("").await;
    let actor = &stage.actor;
    let token = actor.token("notes").await;
    let (head, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", "A".repeat(86));
    let other = actor.token("ledger").await;
    let cases: [Case<'_>; 7] = [
        ("nothing", Method::GET, None, "notes/a", 401, None),
        ("a forged token", Method::GET, Some(&forged), "notes/a", 401, Some("invalid_token")),
        ("no token at all", Method::GET, Some("x"), "notes/a", 401, Some("invalid_token")),
        ("another audience", Method::GET, Some(&other), "notes/a", 401, Some("invalid_token")),
        ("a lesser scope", Method::POST, Some(&token), "notes/a", 403, Some("insufficient_scope")),
        (
            "in the query",
            Method::GET,
            Some(&token),
            "notes/a?access_token=x",
            400,
            Some("invalid_request"),
        ),
        ("good", Method::GET, Some(&token), "notes/a", 200, None),
    ];
    for (what, method, token, path, status, code) in cases {
        let answer = actor.call_with(method, path, token, &[]).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.json());
        let Some(challenge) = answer.headers.get("www-authenticate") else {
            assert!(status == 200, "{what}: no challenge");
            continue;
        };
        let challenge = challenge.to_str().unwrap();
        assert!(challenge.starts_with("Bearer "), "{what}: {challenge}");
        let said = challenge.split_once("error=\"").and_then(|(_, rest)| rest.split_once('"'));
        assert_eq!(said.map(|(code, _)| code), code, "{what}: {challenge}");
        // RFC 9728 §5.1: where it is told what the resource is and who issues tokens for it.
        let told = challenge.split_once("resource_metadata=\"").unwrap().1;
        let url = told.split_once('"').unwrap().0;
        let metadata = actor.https.send(Method::GET, url, &[], "").await.unwrap().json();
        assert_eq!(metadata["resource"], format!("{}/notes", actor.gateway), "{what}");
        assert_eq!(metadata["authorization_servers"], json!([actor.issuer]), "{what}");
        if status == 403 {
            assert!(challenge.contains("scope=\"ledger:write\""), "{challenge}");
        }
    }
    assert_eq!(stage.upstream.seen().len(), 1);
}

/// Behind the gateway there is a transaction token, for this call alone, and no access token.
///
/// req: AUTHZ-12, AUTHZ-20
/// req: SEC-01 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s10_4_what_goes_on_is_of_the_transaction_and_serves_nowhere_else() {
    let stage = Stage::open("").await;
    let actor = &stage.actor;
    let token = actor.token("ledger").await;
    assert_eq!(actor.call(&token).await.status, 200);
    assert_eq!(actor.call(&token).await.status, 200);
    let seen = stage.upstream.seen();
    let [first, second] = [&seen[0], &seen[1]].map(|fields| {
        let all = format!("{fields:?}");
        assert!(!all.contains(&token) && !fields.contains_key("authorization"), "{all}");
        assert!(!fields.contains_key(wimse::WORKLOAD_PROOF_TOKEN), "{all}");
        fields["txn-token"].to_str().unwrap().to_owned()
    });
    let (access, txn) = (claims(&token), claims(&first));
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    assert!(number(&txn["exp"]) - number(&txn["iat"]) <= 60);
    assert!(number(&txn["exp"]) <= number(&access["exp"]), "it outlives what it came from");
    assert_eq!((&txn["sub"], &txn["scope"]), (&access["sub"], &json!("ledger:read")));
    assert_eq!(txn["aud"], crate::running::DOMAIN, "for the trust domain alone");
    assert_eq!(txn["tctx"]["action"], "http.request", "{txn}");
    assert_ne!(txn["txn"], claims(&second)["txn"], "each call is a transaction");
    assert_eq!((&txn["aims_root"], &txn["aims_parent"]), (&access["aims_root"], &access["jti"]));
    // It is no access token: not here, not at the token endpoint.
    let proof = actor.proof(&first);
    let shown = actor.call_with(Method::GET, ENTRIES, Some(&first), &actor.shows(&proof)).await;
    assert_eq!(shown.status, 401, "{}", shown.json());
    let exchanged = actor.exchange(&first, "ledger").await;
    assert_eq!(exchanged.status, 400, "{}", exchanged.json());
    // Nor does a client bring one along.
    let proof = actor.proof(&token);
    let mut fields = actor.shows(&proof).to_vec();
    fields.push(("txn-token", &second));
    let answer = actor.call_with(Method::GET, ENTRIES, Some(&token), &fields).await;
    if answer.status == 200 {
        let seen = stage.upstream.seen().pop().unwrap();
        let txn: Vec<_> = seen.get_all("txn-token").iter().collect();
        assert!(txn.len() == 1 && txn[0].to_str().unwrap() != second, "{seen:?}");
    } else {
        assert_eq!(answer.status, 400, "{}", answer.json());
    }
}
