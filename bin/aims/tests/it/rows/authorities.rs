//! Our signing keys go, with every agent moved and none down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::Stage;
use crate::actor::{Actor, soon};

/// The key of this purpose in this state.
fn key(stage: &Stage, purpose: &str, state: fn(&Value) -> bool) -> String {
    let rings = stage.done(&["authority", "list"]);
    let rings = rings.as_array().unwrap();
    let ring = rings.iter().find(|ring| ring["purpose"] == purpose).unwrap();
    let found = ring["keys"].as_array().unwrap().iter().find(|key| state(key)).unwrap();
    found["kid"].as_str().unwrap().to_owned()
}

/// Rotated, tainted, revoked: the authority of X.509-SVIDs, the keys of WITs and of access tokens,
/// while an agent calls all the time with what it has at that moment.
///
/// req: CRED-11 (part), PROV-02 (part), PROV-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s8_keys_go_and_nobody_is_down() {
    let stage = Stage::open("").await;
    let first = stage.actor.x509().await;
    let (calls, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let site = &stage.site;
    let calling = async {
        while !done.load(Ordering::Relaxed) {
            let now = Actor::of(site).await;
            let answer = now.call(&now.token("ledger").await).await;
            assert_eq!(answer.status, 200, "after {calls:?} calls: {}", answer.json());
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let operating = async {
        let calls_more = async || {
            let before = calls.load(Ordering::Relaxed);
            soon(async || (calls.load(Ordering::Relaxed) > before + 2).then_some(())).await;
        };
        for purpose in ["x509-authority", "wit", "access-token"] {
            let old = key(&stage, purpose, |key| key["tainted"].is_null());
            stage.done(&["authority", "rotate", purpose, "--in", "2s", "--reason", "a drill"]);
            let early = site.aims(&["authority", "taint", &old, "--reason", "a drill"]);
            assert_eq!(early.code, 1, "{}", early.err);
            assert!(early.err.contains("no other key signs"), "{}", early.err);
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            stage.done(&["authority", "taint", &old, "--reason", "a drill"]);
            assert_eq!(key(&stage, purpose, |key| !key["tainted"].is_null()), old);
            calls_more().await;
            // Every component has a credential of its own to replace, too.
            tokio::time::sleep(Duration::from_secs(4)).await;
            stage.done(&["authority", "revoke", &old, "--reason", "a drill"]);
            calls_more().await;
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(calling, operating);
    assert!(calls.load(Ordering::Relaxed) >= 12, "{calls:?}");

    // Who kept the SVID of before is a stranger; whoever asks has a new one.
    let shows = async |svid| {
        let https = site.https().presenting(svid);
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let form = crate::load::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &stage.actor.id),
            ("resource", &stage.actor.id),
        ]);
        let url = format!("https://localhost:{}/token", site.port + 1);
        let answer = https.send(Method::POST, &url, &kind, &form).await;
        answer.map_or(Value::Null, |answer| answer.json())
    };
    let stranger = shows(&first).await;
    assert!(stranger["access_token"].is_null(), "{stranger}");
    let known = shows(&stage.actor.x509().await).await;
    assert!(known["access_token"].is_string(), "{known}");
    let told = site.aims(&["audit", "tail", "--where", "event=key_rotated", "--output", "json"]);
    for act in ["authority.rotate", "authority.taint", "authority.revoke"] {
        assert!(told.out.contains(act), "{act}");
    }
    // Feed, node and gateway are there after all of it: a registration reaches the node.
    let doctor = site.aims(&["doctor"]);
    assert_eq!(doctor.code, 0, "{}", doctor.out);

    // Who has a copy of `ca.pem` is told of while there are two in it.
    let ca = site.data.join("ca.pem");
    let text = std::fs::read_to_string(&ca).unwrap();
    std::fs::write(&ca, text.repeat(2)).unwrap();
    let doctor = site.aims(&["doctor"]);
    assert!(doctor.out.contains("holds 2 authorities"), "{}", doctor.out);
    std::fs::write(&ca, text).unwrap();
    let purpose = ["authority", "rotate", "web-authority", "--reason", "a drill"];
    let rotated = stage.done(&[&purpose[..], &["--in", "1s"]].concat());
    assert_eq!(rotated["purpose"], "web-authority", "{rotated}");
}
