//! Operators and the nodes of a running installation: seen, cut off, let in again.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use http::Method;
use provisioning::NodeAct;
use serde_json::Value;
use tokio_stream::StreamExt as _;
use wimse::WorkloadId;

use crate::actor::{Actor, SCOPE, Upstream, lay_policy};
use crate::joining::Node;
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
        let url = format!("{}/txn-token/jwks", site.url(0));
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

/// A node that goes is told of in every place, once; and what others can do without the server.
/// req: PROV-09 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s8_a_node_that_goes_is_seen_before_its_credential_ends() {
    let site = Site::new();
    let running = site.up();
    let metrics = async || {
        let url = format!("{}/metrics", site.url(0));
        let answer = site.https().send(Method::GET, &url, &[], "").await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let doctor = site.aims(&["doctor", "--all"]);
    assert!(doctor.out.contains("outage budget: without this server"), "{}", doctor.out);
    assert!(doctor.out.contains("X.509-SVIDs for 30m"), "{}", doctor.out);
    let shows = async |line: &str| {
        let within = Instant::now() + Duration::from_secs(90);
        while !metrics().await.lines().any(|one| one == line) {
            assert!(Instant::now() < within, "{line}: {}", metrics().await);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    shows("aims_nodes 2").await;
    shows("aims_alarms{kind=\"node_silent\"} 0").await;
    // A node of its own joins, and goes without a word.
    let told = told(&site, &["join-token", "create", "--name", "away"]);
    let node = Node::new(&site, "away", "join_token = \"token\"").await;
    let token = node.folder.join("token");
    std::fs::write(&token, told["token"].as_str().unwrap()).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    node.joins();
    shows("aims_alarms{kind=\"node_silent\"} 1").await;
    let doctor = site.aims(&["doctor"]);
    assert_eq!(doctor.code, 1);
    let expect = format!("renewals: spiffe://{DOMAIN}/aims/node/join_token/away, for ");
    assert!(doctor.out.contains(&expect), "{}", doctor.out);
    let log = site.aims(&["audit", "tail", "--where", "event=alarm", "--output", "json"]);
    assert_eq!(log.out.matches("alarm.enter").count(), 1, "{}", log.out);
    assert_eq!(running.stop(), 0);
}

/// From an order to register to an SVID in the hands of a workload, and how long a stranger waits.
/// req: PROV-04 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s8_a_registered_agent_has_its_svid_within_a_second() {
    const ROUNDS: usize = 40;
    let site = Site::new();
    let (_upstream, port) = Upstream::start().await;
    lay_policy(&site, port, "");
    let running = site.up();
    let socket = format!("unix://{}", site.data.join("workload.sock").display());
    let address = spiffe::EndpointAddress::parse(&socket).unwrap();
    let workloads = workload::client::Client::connect(&address).await.unwrap();
    let path = format!("unix:path:{}", std::env::current_exe().unwrap().display());
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let (mut granted, mut refused) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // A stranger is told so as soon as nothing can be on its way.
        loop {
            let begun = Instant::now();
            let answer = workloads.x509().await.unwrap().next().await.unwrap();
            if answer.is_err() {
                refused.push(begun.elapsed());
                break;
            }
        }
        let name = format!("churn-{round}");
        let entry: registry::Registration = serde_json::from_value(serde_json::json!({
            "name": name, "kind": "service", "owner": "tests", "capabilities": [],
            "rule": { "selectors": [uid, path], "nodes": [], "class": "path" }, "client": {},
        }))
        .unwrap();
        let begun = Instant::now();
        let told = site.desk().register_agent(&entry).await.unwrap();
        let answer = workloads.x509().await.unwrap().next().await.unwrap().unwrap();
        granted.push(begun.elapsed());
        assert_eq!(answer.svids[0].spiffe_id.to_string(), told.value.id.to_string());
        let name = identifier::AgentName::parse(&name).unwrap();
        site.desk().move_agent(&name, provisioning::Act::Retire, "a test").await.unwrap();
    }
    let [granted, refused] = [granted, refused].map(|mut times| {
        times.sort();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    });
    eprintln!("registered to SVID: p50 {:?}, p99 {:?}", granted.0, granted.1);
    eprintln!("a stranger refused: p50 {:?}, p99 {:?}", refused.0, refused.1);
    assert!(granted.1 < Duration::from_secs(1), "{granted:?}");
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
