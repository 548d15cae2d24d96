//! ID: one identifier, everywhere, for ever.

use std::collections::BTreeSet;

use serde_json::json;

use super::Stage;
use crate::actor::{claims, taken};
use crate::running::DOMAIN;

/// "authentication, authorization, audit and delegation all use that identifier".
///
/// req: ID-01
/// req: AUTHZ-02, AUTHZ-07, AUTHZ-08 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s5_one_identifier_stands_in_credentials_tokens_decisions_and_records() {
    let stage = Stage::open("").await;
    let (actor, id) = (&stage.actor, json!(stage.actor.id));
    assert_eq!(actor.id, format!("spiffe://{DOMAIN}/service/desk"));
    let leaf = x509::Certificate::parse(&actor.x509().await.chain).unwrap();
    assert_eq!(leaf.uri_names(), std::slice::from_ref(&actor.id));
    assert_eq!(claims(actor.wit.token.expose())["sub"], id);
    assert_eq!(claims(&actor.jwt("https://partner.example").await)["sub"], id);

    let own = actor.own_token().await;
    let token = taken(&actor.exchange(&own, "ledger").await);
    for text in [&own, &token] {
        let claims = claims(text);
        assert_eq!((&claims["sub"], &claims["client_id"]), (&id, &id));
    }
    assert_eq!(claims(&token)["act"]["sub"], id);
    assert_eq!(actor.call(&token).await.status, 200);
    let seen = stage.upstream.seen().remove(0);
    let txn = claims(seen["txn-token"].to_str().unwrap());
    assert_eq!((&txn["sub"], &txn["req_wl"]), (&id, &id));

    let records = stage.records();
    for event in [
        "agent_registered",
        "workload_attested",
        "credential_issued",
        "token_issued",
        "call_decided",
        "call_finished",
    ] {
        let named: BTreeSet<_> = records
            .iter()
            .filter(|record| record["event"] == event && record["outcome"] != "refused")
            .map(|record| record["agent"].as_str().unwrap())
            .collect();
        assert_eq!(named, BTreeSet::from([actor.id.as_str()]), "{event}");
    }
}

/// Rotation, restart and re-attestation keep it, and every new credential has a new key.
///
/// req: ID-04
/// req: CRED-11
#[tokio::test(flavor = "multi_thread")]
async fn s5_the_identifier_outlives_its_keys_and_the_process_that_issued_them() {
    let mut stage = Stage::open("[lifetimes]\nx509_svid = 8\nwit = 8\n").await;
    let mut keys = BTreeSet::new();
    let mut files = BTreeSet::new();
    for turn in 0..4 {
        if turn == 2 {
            stage.restart().await;
        }
        let (x509, wit) = (stage.actor.x509().await, stage.actor.fresh_wit().await);
        let leaf = x509::Certificate::parse(&x509.chain).unwrap();
        assert_eq!(leaf.uri_names(), [stage.actor.id.clone()]);
        assert_eq!(claims(wit.token.expose())["sub"], json!(stage.actor.id));
        let bound = claims(wit.token.expose())["cnf"]["jwk"].to_string();
        let fresh = [leaf.spki_der().to_vec(), bound.into_bytes()];
        assert!(fresh.into_iter().all(|key| keys.insert(key)), "turn {turn}: an old key");
        files.insert(workload_keys(&stage));
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    }
    // None of them is ever written to a disk: an old key is gone with what it was for.
    assert_eq!(files, BTreeSet::from([0]));
}

/// How many private keys of workloads the node has.
fn workload_keys(stage: &Stage) -> usize {
    let folder = stage.site.data.join("keys/node/workload");
    std::fs::read_dir(&folder).map_or(0, Iterator::count)
}

/// Retirement leaves a tombstone, and everything issued before is dead from that moment.
///
/// req: ID-06
/// req: ID-03, REG-03 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s5_an_identifier_is_never_given_again_and_takes_everything_along() {
    let mut stage = Stage::open("").await;
    let token = stage.actor.token("ledger").await;
    let (svid, issuer) = (stage.actor.jwt(&stage.site.url(0)).await, stage.site.url(0));
    assert_eq!(stage.actor.call(&token).await.status, 200);
    stage.done(&["agent", "retire", "desk", "--reason", "its work is done"]);
    // What was issued before: WIT and token, and a bearer SVID that nobody can take back.
    let dead = async || Some(stage.actor.call(&token).await).filter(|one| one.status == 401);
    crate::actor::soon(dead).await;
    let own = [("grant_type", "client_credentials"), ("resource", stage.actor.id.as_str())];
    let asked = stage.actor.ask(&own).await;
    assert_eq!(asked.json()["error"], "unauthorized_client");
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
    let by_svid = [
        ("grant_type", "client_credentials"),
        ("resource", stage.actor.id.as_str()),
        ("client_id", stage.actor.id.as_str()),
        ("client_assertion_type", kind),
        ("client_assertion", &svid),
    ];
    let asked = stage.actor.ask_with(&by_svid, &[]).await;
    assert_eq!(asked.json()["error"], "unauthorized_client");
    let denied = async || stage.actor.workloads().jwt(&[&issuer], None).await.err();
    crate::actor::soon(denied).await;

    for _ in 0..2 {
        for kind in ["service", "agent"] {
            let again = ["--name", "desk", "--owner", "x", "--class", "path", "--kind", kind];
            let rule = ["--selector", "unix:uid:9", "--selector", "unix:path:/opt/desk"];
            let told = stage.site.aims(&[&["agent", "register"], &again[..], &rule].concat());
            assert_eq!(told.code, 1, "{}", told.err);
            assert!(told.err.contains("it is never given out again"), "{}", told.err);
        }
        // Nor after a restart.
        assert_eq!(stage.running.take().unwrap().stop(), 0);
        stage.running = Some(stage.site.up());
    }
    let shown = stage.done(&["agent", "show", "desk"]);
    assert_eq!(shown["lifecycle"]["state"], "retired");
}
