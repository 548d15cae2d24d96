//! Records as the flows write them: a batch job hands a task to an agent, which calls a tool.

use monitoring::{Component, Event, Outcome, Record, RecordId, Why};
use serde_json::json;
use time::UnixTime;

pub(crate) const ROOT: &str = "root-1";
pub(crate) const BATCH: &str = "spiffe://demo.example/service/nightly";
pub(crate) const AGENT: &str = "spiffe://demo.example/agent/invoice";
pub(crate) const GATEWAY: &str = "spiffe://demo.example/aims/gateway/join_token/edge";
pub(crate) const TOOLS: &str = "https://localhost:8446/ledger";
const POLICY: &str = "sha256:6b1f0a9d2c3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccdd0";

/// A record `second` seconds into the story, as the server writes it.
pub(crate) fn record(second: u64, event: Event) -> Record {
    let now = UnixTime::from_millis(1_795_220_013_000 + second * 1_000);
    let random = u8::try_from(second).unwrap();
    let id = RecordId::new(now, [random; 10]);
    Record::new(id, now, Component("server".to_owned()), event)
}

pub(crate) fn refuse(record: &mut Record, check: &str, message: &str) {
    record.outcome = Outcome::Refused;
    record.why = Some(Why { check: check.to_owned(), message: message.to_owned(), needs: None });
}

/// The batch job gets a token for the agent.
pub(crate) fn issued(second: u64) -> Record {
    let mut issued = record(second, Event::TokenIssued);
    issued.outcome = Outcome::Permitted;
    issued.action = "token.issue".to_owned();
    issued.agent = Some(BATCH.to_owned());
    issued.subject = Some(BATCH.to_owned());
    issued.resource = Some(AGENT.to_owned());
    issued.proof = Some("spiffe_x509".to_owned());
    issued.transport = Some(BATCH.to_owned());
    issued.rules = vec!["nightly-hands-over".to_owned()];
    issued.policy = Some(POLICY.to_owned());
    issued.root = Some(ROOT.to_owned());
    issued.jti = Some("token-1".to_owned());
    issued.epoch = Some(4);
    issued
}

/// The agent exchanges it for a token of its own, for the tools.
pub(crate) fn exchanged(second: u64) -> Record {
    let mut exchanged = issued(second);
    exchanged.action = "token.exchange".to_owned();
    exchanged.agent = Some(AGENT.to_owned());
    exchanged.actors = vec![AGENT.to_owned()];
    exchanged.resource = Some(TOOLS.to_owned());
    exchanged.transport = Some(AGENT.to_owned());
    exchanged.rules = vec!["agents-may-exchange".to_owned()];
    exchanged.jti = Some("token-2".to_owned());
    exchanged.parent = Some("token-1".to_owned());
    exchanged
}

/// The agent calls a tool, with the token that it got.
pub(crate) fn called(second: u64, tool: &str) -> Record {
    let mut called = record(second, Event::CallDecided);
    called.component = Component("gateway:edge".to_owned());
    called.outcome = Outcome::Permitted;
    called.action = "tool.call".to_owned();
    called.agent = Some(AGENT.to_owned());
    called.subject = Some(BATCH.to_owned());
    called.actors = vec![AGENT.to_owned()];
    called.resource = Some(format!("{TOOLS}#{tool}"));
    called.transport = Some(AGENT.to_owned());
    called.proof = Some("wit+wpt".to_owned());
    called.rules = vec!["invoices-read".to_owned()];
    called.policy = Some(POLICY.to_owned());
    called.root = Some(ROOT.to_owned());
    called.txn = Some(format!("txn-{second}"));
    called.jti = Some("token-2".to_owned());
    called.trace = Some("0af7651916cd43dd8448eb211c80319c".to_owned());
    called.epoch = Some(4);
    called
}

/// What came of a call.
pub(crate) fn finished(second: u64, call: &Record) -> Record {
    let mut finished = record(second, Event::CallFinished);
    finished.component = call.component.clone();
    finished.after = Some(call.id);
    finished.action.clone_from(&call.action);
    finished.subject.clone_from(&call.subject);
    finished.trace.clone_from(&call.trace);
    finished.root.clone_from(&call.root);
    finished.txn.clone_from(&call.txn);
    finished.jti.clone_from(&call.jti);
    finished.agent.clone_from(&call.agent);
    finished.resource.clone_from(&call.resource);
    finished.facts = json!({ "status": 200 });
    finished
}

pub(crate) fn refused_call(second: u64, tool: &str, check: &str, message: &str) -> Record {
    let mut refused = called(second, tool);
    refused.rules = Vec::new();
    refused.txn = None;
    refuse(&mut refused, check, message);
    refused
}

/// An operator moves an agent.
pub(crate) fn moved(second: u64, agent: &str, act: &str, reason: &str) -> Record {
    let mut moved = record(second, Event::AgentLifecycle);
    moved.action = format!("agent.{act}");
    moved.agent = Some(agent.to_owned());
    moved.operator = Some("uid:1000".to_owned());
    moved.epoch = Some(5);
    moved.facts = json!({ "reason": reason, "was": "active" });
    moved
}

/// An operator applies a policy.
pub(crate) fn applied(second: u64) -> Record {
    let mut applied = record(second, Event::PolicyApplied);
    applied.operator = Some("uid:1000".to_owned());
    applied.policy = Some(POLICY.replace("6b1f", "9c9c"));
    applied.facts = json!({ "from": POLICY, "reason": "narrower", "changes": [] });
    applied
}

/// The whole story: a call that was permitted, one that was refused, a replay, a suspension, a call
/// that it stopped, and the agent's return.
pub(crate) fn story() -> Vec<Record> {
    let call = called(2, "read_invoice");
    let mut denied = refused_call(
        5,
        "delete_invoice",
        "gateway::Denied",
        "`tool.call` on `ledger#delete_invoice` needs an approval",
    );
    denied.why.as_mut().unwrap().needs = Some("an approval of the owner".to_owned());
    vec![
        issued(0),
        exchanged(1),
        finished(4, &call),
        call,
        denied,
        refused_call(6, "read_invoice", "gateway::Replayed", "the proof was used before"),
        moved(7, AGENT, "suspend", "it deletes invoices"),
        refused_call(
            8,
            "read_invoice",
            "gateway::NotInForce",
            "`spiffe://demo.example/agent/invoice`: the agent is suspended",
        ),
        moved(90, AGENT, "resume", "the prompt was fixed"),
    ]
}
