//! Operators and the nodes of a running installation: seen, cut off, let in again.

use std::time::{Duration, Instant};

use http::Method;
use provisioning::NodeAct;
use serde_json::Value;
use tokio_stream::StreamExt as _;
use wimse::WorkloadId;

use crate::actor::{Actor, SCOPE, Upstream, lay_policy};
use crate::running::{DOMAIN, Site};

/// How long a cut may take to be felt: the target is a second, and this machine may be busy.
const CUT_MAX: Duration = Duration::from_secs(2);

fn told(site: &Site, arguments: &[&str]) -> Value {
    let ended = site.aims(&[arguments, &["--output", "json"]].concat());
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// req: PROV-06 (part), OBS-10 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s8_an_operator_sees_a_node_and_cuts_it_off() {
    let site = Site::new();
    let (_upstream, port) = Upstream::start().await;
    lay_policy(&site, port, "");
    let running = site.up();
    let actor = Actor::enrol(&site).await;
    actor.x509().await;

    let listed = told(&site, &["node", "list"]);
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    let node = format!("spiffe://{DOMAIN}/aims/node/join_token/local");
    let gateway = format!("spiffe://{DOMAIN}/aims/gateway/join_token/local");
    assert_eq!(ids, [Value::from(gateway.clone()), Value::from(node.clone())]);
    let shown = told(&site, &["node", "show", "node/join_token/local"]);
    assert_eq!(shown["agents"], serde_json::json!([actor.id]));
    assert_eq!(shown["selectors"], serde_json::json!(["join_token:name:local"]));
    assert!(shown["heard"].is_u64() && shown["ends"].is_u64(), "{shown}");
    let human = site.aims(&["node", "show", &node]);
    assert!(human.out.contains("joined by") && human.out.contains(&actor.id), "{}", human.out);

    // A gateway's leave ends with it.
    let held = async || {
        let url = format!("{}/jwks", site.url(0));
        let keys = site.https().send(Method::GET, &url, &[], "").await.unwrap().json();
        keys["keys"].as_array().unwrap().len()
    };
    let before = held().await;
    told(&site, &["node", "suspend", &gateway, "--reason", "a test"]);
    assert_eq!(held().await, before - 1);

    // The node is cut: within a second its workloads get nothing, and what they had is dead.
    let mut stream = actor.workloads().x509().await.unwrap();
    stream.next().await.unwrap().unwrap();
    let id = WorkloadId::parse(&node).unwrap();
    let begun = Instant::now();
    let moved = site.desk().move_node(&id, NodeAct::Revoke, "a test").await.unwrap();
    assert_eq!(moved.value.ended, std::slice::from_ref(&actor.id));
    let ended = tokio::time::timeout(CUT_MAX, async {
        while let Some(answer) = stream.next().await {
            if answer.is_err() {
                return;
            }
        }
    });
    ended.await.expect("the stream goes on");
    eprintln!("a revoked node handed nothing out after {:?}", begun.elapsed());
    assert!(actor.workloads().jwt(&["https://a.example"], None).await.is_err());
    let resource = format!("{}/ledger", actor.gateway);
    let pairs = [("grant_type", "client_credentials"), ("resource", &resource), ("scope", SCOPE)];
    let refused = actor.ask(&pairs).await;
    assert_eq!(refused.json()["error"], "unauthorized_client");

    // For good, until it is forgotten.
    let resumed = site.aims(&["node", "resume", &node, "--reason", "no"]);
    assert_eq!(resumed.code, 1, "{}", resumed.err);
    assert!(resumed.err.contains("cannot resume a node that is revoked"), "{}", resumed.err);
    let unknown = site.aims(&["node", "show", "node/join_token/nobody"]);
    assert_eq!(unknown.code, 1, "{}", unknown.err);
    assert!(unknown.err.contains("`aims node list`"), "{}", unknown.err);
    let told_of = site.aims(&["audit", "tail", "--last", "40", "--output", "json"]);
    for action in ["node.suspend", "node.revoke", "agent.cut", "node.resume"] {
        assert!(told_of.out.contains(action), "{action}: {}", told_of.out);
    }
    for (part, act) in [(&node, "forget"), (&gateway, "resume")] {
        told(&site, &["node", act, part, "--reason", "a test"]);
    }
    running.stop();
    let running = site.up();
    Actor::of(&site).await.x509().await;
    assert_eq!(running.stop(), 0);
}

/// What an operator cut off does not come back by a restart, and the way back is told.
#[test]
fn s8_what_was_cut_off_stays_so_across_a_restart() {
    let site = Site::new();
    let running = site.up();
    let reason = ["--reason", "a test"];
    told(&site, &[&["node", "suspend", "node/join_token/local"], &reason[..]].concat());
    running.stop();
    let refused = site.refused();
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("aims server --config"), "{}", refused.err);
}
