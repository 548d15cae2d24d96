//! AUTHZ-03, AUTHZ-05: what a signed access token is, what passes for one, and what it tells.

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::Method;
use jose::PrivateKey;
use serde_json::{Value, json};

use super::Stage;
use super::credentials::FOREIGN;
use super::people::answers;
use super::tokens::resource;
use crate::actor::{SCOPE, claims, taken};

fn encoded(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn header(token: &str) -> Value {
    let head = token.split('.').next().unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap()
}

/// What somebody could make of a token without our key. `key`: the public one, as it is published.
fn forgeries(token: &str, key: &Value) -> Vec<(&'static str, String)> {
    let (head, said) = (header(token), claims(token));
    let foreign = PrivateKey::from_jwk_private_text(FOREIGN).unwrap();
    let signed = |head: &Value, said: &Value| {
        let text = format!("{}.{}", encoded(head), encoded(said));
        let signature = foreign.sign(text.as_bytes());
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_bytes()))
    };
    let with = |value: &Value, member: &str, to: Value| {
        let mut value = value.clone();
        value[member] = to;
        value
    };
    let parts: Vec<_> = token.split('.').collect();
    let none = with(&head, "alg", json!("none"));
    // §2.1 of RFC 8725: the public key, taken for a shared secret.
    let shared = |secret: &[u8]| {
        let text = format!("{}.{}", encoded(&with(&head, "alg", json!("HS256"))), parts[1]);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
    };
    let wide = with(&said, "scope", json!("ledger:read ledger:write"));
    let own = foreign.public().to_jwk().to_value();
    vec![
        ("without an algorithm", format!("{}.{}.", encoded(&none), parts[1])),
        ("with the public key as a secret", shared(key.to_string().as_bytes())),
        ("with an x-coordinate as a secret", shared(key["x"].as_str().unwrap().as_bytes())),
        ("by a key of somebody else under our name", signed(&head, &said)),
        ("with its key brought along", signed(&with(&head, "jwk", own), &said)),
        (
            "with a place for its key",
            signed(&with(&head, "jku", json!("https://a.example")), &said),
        ),
        ("with another claim", format!("{}.{}.{}", parts[0], encoded(&wide), parts[2])),
        (
            "with another type",
            format!("{}.{}.{}", encoded(&with(&head, "typ", json!("JWT"))), parts[1], parts[2]),
        ),
        ("critical", signed(&with(&head, "crit", json!(["b64"])), &said)),
    ]
}

/// RFC 9068 §2: what such a token has; RFC 8725: what none of them may be taken for.
///
/// req: AUTHZ-03
#[tokio::test(flavor = "multi_thread")]
async fn rfc9068_2_a_token_is_what_it_says_and_no_other_is_one() {
    let stage = Stage::open("").await;
    let actor = &stage.actor;
    let mut ada = stage.person("ada", None).await;
    let asked = stage.asks(SCOPE, "Orders").await;
    answers(&mut ada, "allow").await;
    let given = stage.polls(&asked).await;
    let (token, id_token) = (taken(&given), given.json()["id_token"].as_str().unwrap().to_owned());
    let (head, said) = (header(&token), claims(&token));
    assert_eq!((&head["typ"], &head["alg"]), (&json!("at+jwt"), &json!("ES256")));
    for member in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        assert!(!said[member].is_null(), "{member}: {said}");
    }
    let jwks = format!("{}/jwks", actor.issuer);
    let jwks = actor.https.send(Method::GET, &jwks, &[], "").await.unwrap().json();
    let of_kid = |key: &&Value| key["kid"] == head["kid"];
    let key = jwks["keys"].as_array().unwrap().iter().find(of_kid).unwrap().clone();

    let ledger = actor.token("ledger").await;
    let others = [
        ("an ID token", id_token),
        ("a WIT", actor.wit.token.expose().to_owned()),
        ("a JWT-SVID", actor.jwt(&format!("{}/notes", actor.gateway)).await),
        ("for another resource", ledger),
        ("cut short", token[..token.len() - 4].to_owned()),
        ("drawn out", format!("{token}AAAA")),
        ("with a fourth part", format!("{token}.AAAA")),
        ("with padding", format!("{token}=")),
        ("with another alphabet", token.replace(['-', '_'], "+") + "+"),
    ];
    for (what, text) in forgeries(&token, &key).into_iter().chain(others) {
        let answer = actor.call_with(Method::GET, "notes/a", Some(&text), &[]).await;
        let challenge = answer.headers.get("www-authenticate").map(|said| said.to_str().unwrap());
        let told = challenge.unwrap_or_default();
        // RFC 6750 §2.1: what is not even of the form of a token is a malformed request.
        let malformed = answer.status == 400 && told.contains("invalid_request");
        let invalid = answer.status == 401 && told.contains("invalid_token");
        assert!(malformed || invalid, "{what}: {} {told}", answer.status);
    }
    assert_eq!(stage.upstream.seen().len(), 0, "nothing went on");
    let answer = actor.call_with(Method::GET, "notes/a", Some(&token), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
}

/// How the person signed in, how the agent was attested, and what was allowed in detail: each where
/// it is wanted, and decided by.
///
/// req: AUTHZ-05
#[tokio::test(flavor = "multi_thread")]
async fn s10_2_a_token_carries_what_finer_decisions_need() {
    const RULES: &str = r#"@id("tokens")
permit(principal, action in [Aims::Action::"token.issue", Aims::Action::"token.exchange"], resource);
@id("by-people") @obligations("step-up=urn:aims:acr:code")
permit(principal, action == Aims::Action::"http.request", resource);
"#;
    let stage = Stage::laid("", |site| {
        site.policy("access/main.cedar", RULES);
        resource(site, "vault", "proof = \"bearer\"\nattestation = true\n");
    })
    .await;
    let mut ada = stage.person("ada", None).await;
    let asked = stage.asks_at("vault", SCOPE, "Orders").await;
    answers(&mut ada, "allow").await;
    let token = taken(&stage.polls(&asked).await);
    let said = claims(&token);
    assert_eq!(said["acr"], "urn:aims:acr:code", "{said}");
    assert!(said["auth_time"].is_u64() && said["amr"].is_array(), "{said}");
    let attested = &said["aims_attestation"];
    assert!(attested["until"].is_u64() || attested["exp"].is_u64() || attested.is_object());
    assert_eq!(attested["parts"]["host"], "affirming", "{said}");
    assert!(attested["until"].is_u64() && attested["method"] == "join_token", "{said}");
    // The gateway decides by what the token carries: the same call, the same rule.
    assert_eq!(stage.reads("vault", ("Bearer", &token), &[]).await, 200);
    let own = taken(&stage.own("vault", &[]).await);
    assert!(claims(&own)["acr"].is_null() && claims(&own)["aims_attestation"].is_object());
    assert_eq!(stage.reads("vault", ("Bearer", &own), &[]).await, 401, "nobody signed in for it");
    // Who is not told, is not told.
    let notes = taken(&stage.own("notes", &[]).await);
    assert!(claims(&notes)["aims_attestation"].is_null());
}
