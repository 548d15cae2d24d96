//! OBS, POL and AUTHN-12: what happened can be told afterwards, and stops when it must.

use std::pin::pin;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use super::Stage;
use crate::actor::{Actor, SCOPE};

/// How long a revocation may take to be everywhere (docs/design.md §9).
const SECOND: Duration = Duration::from_secs(1);
/// What must come, comes before.
const LONG: Duration = Duration::from_secs(20);

/// Expiry and revocation bite inside what is open, not only where it begins.
///
/// req: AUTHN-12
/// req: OBS-04
#[tokio::test(flavor = "multi_thread")]
async fn s11_what_is_open_ends_with_the_right_to_it() {
    let stage = Stage::open("[lifetimes]\naccess_token = 6\n").await;
    let actor = &stage.actor;
    // Expiry.
    let token = actor.token("ledger").await;
    let begun = Instant::now();
    let mut body = actor.stream(&token).await;
    assert!(body.frame().await.unwrap().is_ok());
    let end = tokio::time::timeout(LONG, body.frame()).await.unwrap();
    assert!(end.is_none_or(|frame| frame.is_err()), "the answer goes on");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());

    // Revocation, with a verdict on the token in the gateway's memory, and a stream of credentials.
    let token = actor.token("ledger").await;
    assert_eq!(actor.call(&token).await.status, 200);
    let mut body = actor.stream(&token).await;
    assert!(body.frame().await.unwrap().is_ok());
    let mut svids = pin!(actor.workloads().x509().await.unwrap());
    assert!(svids.next().await.unwrap().is_ok());
    stage.done(&["agent", "suspend", "desk", "--reason", "a test"]);
    let begun = Instant::now();
    let cut = async {
        let end = tokio::time::timeout(LONG, body.frame()).await.unwrap();
        assert!(end.is_none_or(|frame| frame.is_err()), "the answer goes on");
        begun.elapsed()
    };
    let told = async {
        let denied = tokio::time::timeout(LONG, svids.next()).await.unwrap().unwrap().unwrap_err();
        assert!(denied.to_string().contains("suspended"), "{denied}");
        begun.elapsed()
    };
    let refused = async {
        // An answer may be cut on its way.
        while actor.try_call(&token).await.is_none_or(|answer| answer.status == 200) {
            assert!(begun.elapsed() < LONG, "it is called on");
        }
        begun.elapsed()
    };
    let (cut, told, refused) = tokio::join!(cut, told, refused);
    assert!(cut.max(told).max(refused) < SECOND, "{cut:?} {told:?} {refused:?}");

    // Resuming brings back the agent, not what was issued before.
    stage.done(&["agent", "resume", "desk", "--reason", "a test"]);
    assert_eq!(actor.call(&token).await.status, 401);
    let again = Actor::of(&stage.site).await;
    assert_eq!(again.call(&again.token("ledger").await).await.status, 200);
    assert_eq!(actor.call(&token).await.status, 401, "still");
}

/// Each decision, on each component, names the policy that was in force.
///
/// req: POL-02
#[tokio::test(flavor = "multi_thread")]
async fn s12_every_decision_names_its_policy() {
    let stage = Stage::open("").await;
    let actor = &stage.actor;
    let versions = || {
        let sets = stage.done(&["policy", "history"]);
        let sets = sets.as_array().unwrap().clone();
        sets.into_iter().find(|set| set["in_force"] == true).unwrap()["version"].clone()
    };
    let mut known = 0;
    let mut seen = Vec::new();
    for turn in 0..2 {
        if turn == 1 {
            stage.site.policy(
                "access/more.cedar",
                "@id(\"none\") forbid(principal == Aims::Agent::\"spiffe://x.example/agent/x\", action, resource);\n",
            );
            let folder = stage.site.data.join("policy").display().to_string();
            stage.done(&["policy", "apply", &folder, "--reason", "a second set"]);
            known = stage.records().len();
            tokio::time::sleep(SECOND).await;
        }
        let version = versions();
        assert_eq!(actor.call(&actor.token("ledger").await).await.status, 200);
        let decided: Vec<_> =
            stage.records().split_off(known).into_iter().filter(decides).collect();
        assert!(decided.len() >= 3, "two tokens and a call: {decided:?}");
        for record in decided {
            assert_eq!(record["policy"], version, "{record}");
            assert!(!record["rules"].as_array().unwrap().is_empty(), "{record}");
        }
        seen.push(version);
    }
    assert_ne!(seen[0], seen[1]);
}

fn decides(record: &Value) -> bool {
    matches!(record["event"].as_str(), Some("token_issued" | "call_decided"))
        && record["outcome"] == "permitted"
}

/// From one id the whole chain: who did what, under which authority, and why access ended; and each
/// record has what OBS-07 lists.
///
/// req: OBS-01, OBS-07, OBS-09
#[tokio::test(flavor = "multi_thread")]
async fn s11_a_task_can_be_told_from_its_records() {
    let stage = Stage::open("").await;
    let (actor, id) = (&stage.actor, json!(stage.actor.id));
    let token = actor.token("ledger").await;
    let root = crate::actor::claims(&token)["aims_root"].as_str().unwrap().to_owned();
    assert_eq!(actor.call(&token).await.status, 200);
    stage.done(&["agent", "suspend", "desk", "--reason", "it behaved oddly"]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(actor.call(&token).await.status, 401);

    let records = stage.records();
    let of_task: Vec<_> = records.iter().filter(|record| record["root"] == json!(root)).collect();
    let events: Vec<_> = of_task.iter().map(|record| record["event"].as_str().unwrap()).collect();
    let expected =
        ["token_issued", "token_issued", "call_decided", "call_finished", "call_decided"];
    assert_eq!(events, expected, "{events:?}");
    for record in &of_task {
        assert_eq!((&record["agent"], &record["subject"]), (&id, &id), "{record}");
        for field in ["time", "action", "outcome", "component", "id"] {
            assert!(
                record[field].as_str().is_some() || record[field].is_u64(),
                "{field}: {record}"
            );
        }
    }
    let (issued, call, refused) = (of_task[0], of_task[2], of_task[4]);
    assert_eq!(issued["proof"], "spiffe_wit", "{issued}");
    let resource = call["resource"].as_str().unwrap();
    assert_eq!(resource, format!("GET {}/ledger/entries", actor.gateway));
    assert_eq!((&call["outcome"], &call["proof"]), (&json!("permitted"), &json!("wit+wpt")));
    assert_eq!(call["facts"]["context"]["granted"], json!([SCOPE]), "{call}");
    assert!(refused["why"]["message"].as_str().unwrap().contains("suspended"), "{refused}");
    // The remediation and its cause, and what the agent was when it got its credentials.
    let stopped = records.iter().find(|record| record["action"] == "agent.suspend").unwrap();
    assert_eq!((&stopped["agent"], &stopped["facts"]["reason"]), (&id, &json!("it behaved oddly")));
    assert!(stopped["operator"].as_str().unwrap().starts_with("uid:"));
    let measured = records.iter().find(|record| record["event"] == "credential_issued").unwrap();
    assert!(measured["attestation"]["sha256"].is_string());

    // The tree, by the task's id and by that of the token.
    let by_token = crate::actor::claims(&token)["jti"].as_str().unwrap().to_owned();
    for asked in [&root, &by_token] {
        let told = stage.site.aims(&["audit", "trace", asked, "--whole"]);
        assert_eq!(told.code, 0, "{}", told.err);
        for word in ["token issue", "token exchange", "http request", "suspend", "odd"] {
            assert!(told.out.contains(word), "{word}: {}", told.out);
        }
    }
}
