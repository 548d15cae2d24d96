//! Records as OCSF events, for the systems that others keep them in
//! ([OCSF](https://schema.ocsf.io), schema of July 2026; OBS-07).
//!
//! In scope: the map from a [`Record`] to its class, activity and attributes. Not here: sending.
//! What OCSF has no attribute for stands under `unmapped.aims`, so that nothing is lost.

use identifier::Kind;
use serde_json::{Map, Value, json};

use crate::record::{Event, Outcome, Record};

/// The version of the schema: `ai_agent` and `attestation_list` came with it.
pub const SCHEMA_VERSION: &str = "1.9.0-dev";

/// What the record itself does not know.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The version of this product.
    pub version: &'a str,
    /// The origin of the log that the record was read from.
    pub log: &'a str,
    /// Its index there.
    pub index: u64,
    /// Its leaf hash there (RFC 6962 §2.1), where it is known.
    pub leaf: Option<[u8; 32]>,
}

/// The event.
pub fn to_ocsf(record: &Record, context: &Context<'_>) -> Value {
    let kind = Activity::of(record);
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            event.insert(name.to_owned(), value);
        }
    };
    // "class_uid = category_uid*1000 + class; type_uid = class_uid*100 + activity_id."
    put("category_uid", json!(kind.class.uid() / 1_000));
    put("class_uid", json!(kind.class.uid()));
    put("activity_id", json!(kind.activity));
    put("activity_name", json!(kind.name));
    put("type_uid", json!(kind.class.uid() * 100 + kind.activity));
    put("time", json!(record.time.millis()));
    put("severity_id", json!(severity(record.outcome)));
    put("status_id", json!(status(record.outcome)));
    put("status", json!(record.outcome.name()));
    put("message", json!(message(record)));
    if let Some(why) = &record.why {
        put("status_code", json!(why.check));
        put("status_detail", json!(why.message));
    }
    put("metadata", metadata(record, context, kind.class));
    for (name, value) in decision(record).into_iter().chain(kind.class.attributes(record, &kind)) {
        put(name, value);
    }
    put("attestation_list", integrity(context));
    put("enrichments", enrichments(record));
    put("unmapped", unmapped(record));
    Value::Object(event)
}

/// The classes that our events belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Api,
    Authentication,
    Entity,
    Remediation,
}

/// What an event is in OCSF's words. `name` says what "99 Other" is.
struct Activity {
    class: Class,
    activity: u64,
    name: Option<String>,
}

impl Activity {
    fn of(record: &Record) -> Self {
        let named = |class, activity: u64| {
            let name = (activity == OTHER).then(|| record.action.clone());
            Self { class, activity, name }
        };
        let action = record.action.as_str();
        match record.event {
            Event::CallDecided | Event::CallFinished | Event::AccessDecided => {
                named(Class::Api, call_activity(record))
            }
            // 3002: "1=Logon"; an exchange is none of the named ones.
            Event::TokenIssued if action == "token.exchange" => named(Class::Authentication, OTHER),
            Event::TokenIssued | Event::StrangersRefused | Event::AuthorizationRequested => {
                named(Class::Authentication, 1)
            }
            // 7001: "1=Isolate; 2=Evict; 3=Restore": ending an agent is a remediation, and retiring
            // it in good order is not.
            Event::AgentLifecycle => match action {
                "agent.suspend" => named(Class::Remediation, 1),
                "agent.revoke" => named(Class::Remediation, 2),
                "agent.resume" => named(Class::Remediation, 3),
                "agent.retire" => named(Class::Entity, 7),
                _ => named(Class::Entity, OTHER),
            },
            Event::NodeLifecycle => match action {
                "node.suspend" => named(Class::Remediation, 1),
                "node.revoke" => named(Class::Remediation, 2),
                "node.resume" => named(Class::Remediation, 3),
                _ => named(Class::Entity, OTHER),
            },
            Event::Alarm => named(Class::Entity, OTHER),
            // 3002: "1=Logon; 2=Logoff".
            Event::SignedIn => named(Class::Authentication, 1),
            Event::SessionEnded => named(Class::Authentication, 2),
            Event::UserLifecycle => match action {
                "user.disable" => named(Class::Entity, 9),
                "user.enable" => named(Class::Entity, 10),
                _ => named(Class::Entity, 4),
            },
            Event::UserChanged | Event::ApprovalAnswered => named(Class::Entity, 3),
            Event::ApprovalAsked | Event::ConsentAnswered => named(Class::Entity, 1),
            Event::ApprovalEnded => named(Class::Entity, 4),
            // 3004: "1=Create; 2=Read; 3=Update; 4=Delete; 6=Enroll; 9=Disable; 10=Activate".
            Event::IdentifierLookedUp => named(Class::Entity, 2),
            Event::CredentialIssued | Event::JoinTokenCreated => named(Class::Entity, 1),
            Event::NodeRenewed | Event::PolicyApplied | Event::KeyRotated => {
                named(Class::Entity, 3)
            }
            Event::LogCut | Event::GrantEnded => named(Class::Entity, 4),
            Event::TokenRead => named(Class::Entity, 2),
            Event::FederationChanged => match action {
                "federation.add" => named(Class::Entity, 1),
                "federation.remove" => named(Class::Entity, 4),
                _ => named(Class::Entity, 3),
            },
            Event::ClientRegistered if action == "client.disable" => named(Class::Entity, 9),
            Event::AgentRegistered | Event::ClientRegistered | Event::UserRegistered => {
                named(Class::Entity, 6)
            }
            Event::Started => named(Class::Entity, 10),
            Event::EvidenceChanged => match action {
                "evidence.add" => named(Class::Entity, 1),
                _ => named(Class::Entity, 4),
            },
            Event::NodeAttested | Event::WorkloadAttested | Event::EvidenceAppraised => {
                Self { class: Class::Entity, activity: OTHER, name: Some("attest".to_owned()) }
            }
        }
    }
}

/// "99=Other", of every class.
const OTHER: u64 = 99;

/// 6003: "1=Create; 2=Read; 3=Update; 4=Delete", where that can be told.
fn call_activity(record: &Record) -> u64 {
    let method = record.resource.as_deref().and_then(|what| what.split(' ').next());
    match (record.action.as_str(), method) {
        ("tool.list", _) | ("http.request", Some("GET" | "HEAD" | "OPTIONS")) => 2,
        ("http.request", Some("POST")) => 1,
        ("http.request", Some("PUT" | "PATCH")) => 3,
        ("http.request", Some("DELETE")) => 4,
        _ => OTHER,
    }
}

impl Class {
    const fn uid(self) -> u64 {
        match self {
            Self::Api => 6003,
            Self::Authentication => 3002,
            Self::Entity => 3004,
            Self::Remediation => 7001,
        }
    }

    /// What a class has that the others have not.
    fn attributes(self, record: &Record, kind: &Activity) -> Vec<(&'static str, Value)> {
        let mut all = vec![("actor", actor(record))];
        if self != Self::Remediation {
            all.push(("ai_agent", agent(record)));
        }
        match self {
            Self::Api => all.extend([
                ("api", json!({ "operation": record.action })),
                ("src_endpoint", endpoint(record)),
                ("resources", resources(record)),
                ("http_response", response(record)),
                ("trace", record.trace.as_ref().map_or(Value::Null, |uid| json!({ "uid": uid }))),
            ]),
            Self::Authentication => all.extend(authentication(record)),
            Self::Entity => {
                all.push(("entity", entity(record)));
                all.push(("comment", reason(record)));
            }
            Self::Remediation => {
                all.push(("command_uid", json!(record.id)));
                // "type_id 10=Resource UID": the class has no place for whom it was done to.
                let name = "unmapped.aims.agent";
                let of = |value| json!([{ "name": name, "type_id": 10, "value": value }]);
                all.push(("observables", record.agent.as_ref().map_or(Value::Null, of)));
                let desc = kind.name.as_deref().unwrap_or(&record.action);
                let desc = match reason(record) {
                    Value::String(reason) => format!("{desc}: {reason}"),
                    _ => desc.to_owned(),
                };
                all.push(("remediation", json!({ "desc": desc })));
            }
        }
        all
    }

    fn profiles(self, record: &Record, context: &Context<'_>) -> Vec<&'static str> {
        let rows = [
            ("ai_operation", self != Self::Remediation && agent_id(record).is_some()),
            // 7001 knows the actor through this profile alone.
            ("host", self == Self::Remediation),
            ("record_integrity", context.leaf.is_some()),
            ("security_control", is_decision(record)),
            ("trace", self == Self::Api && record.trace.is_some()),
        ];
        rows.into_iter().filter(|(_, used)| *used).map(|(name, _)| name).collect()
    }
}

/// "1=Informational; 2=Low; 3=Medium".
const fn severity(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Permitted | Outcome::Done => 1,
        Outcome::Refused => 2,
        Outcome::Failed => 3,
    }
}

/// "1=Success; 2=Failure".
const fn status(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Permitted | Outcome::Done => 1,
        Outcome::Refused | Outcome::Failed => 2,
    }
}

/// What was done, by whom, to what.
fn message(record: &Record) -> String {
    let who = record.operator.as_ref().or(record.agent.as_ref()).or(record.transport.as_ref());
    let object = record.agent.as_ref().or(record.subject.as_ref());
    let object = object.filter(|_| record.operator.is_some());
    let mut text = format!("{} {}", record.action, record.outcome.name());
    for (word, name) in [("by", who), ("on", record.resource.as_ref().or(object))] {
        if let Some(name) = name {
            text.push_str(&format!(" {word} {name}"));
        }
    }
    text
}

fn metadata(record: &Record, context: &Context<'_>, class: Class) -> Value {
    let correlation = record.txn.as_ref().or(record.root.as_ref());
    without_nulls(json!({
        "version": SCHEMA_VERSION,
        "product": { "name": "AIMS", "vendor_name": "AIMS", "version": context.version },
        "uid": record.id,
        "event_code": record.event.name(),
        "correlation_uid": correlation,
        "log_name": context.log,
        "log_source": record.component,
        "sequence": context.index,
        "profiles": class.profiles(record, context),
    }))
}

const fn is_decision(record: &Record) -> bool {
    matches!(record.outcome, Outcome::Permitted | Outcome::Refused)
}

/// The security_control profile: "action_id 1 allowed 2 denied; disposition_id 1 or 2".
fn decision(record: &Record) -> Vec<(&'static str, Value)> {
    if !is_decision(record) {
        return Vec::new();
    }
    let (id, word) = match record.outcome {
        Outcome::Permitted => (1, "allowed"),
        _ => (2, "denied"),
    };
    let policy = |uid: &str| without_nulls(json!({ "uid": uid, "version": record.policy }));
    let mut by: Vec<_> = record
        .rules
        .iter()
        .map(|rule| json!({ "decision": word, "policy": policy(rule) }))
        .collect();
    if by.is_empty() && record.policy.is_some() {
        by.push(json!({ "decision": word, "policy": policy("policy-set") }));
    }
    let by = if by.is_empty() { Value::Null } else { json!(by) };
    vec![("action_id", json!(id)), ("disposition_id", json!(id)), ("authorizations", by)]
}

/// Who did it: an operator, or the one on whose behalf the agent acted. OCSF asks for at least one
/// of several members; the component itself is the last resort.
fn actor(record: &Record) -> Value {
    let user = match (&record.operator, &record.subject) {
        (Some(operator), _) => json!({ "uid": operator, "type_id": 2 }),
        (None, Some(subject)) => user(subject),
        (None, None) => Value::Null,
    };
    let app = record.agent.as_ref().or(record.transport.as_ref());
    let app = app.filter(|_| record.operator.is_none());
    let last = (user.is_null() && app.is_none()).then_some(&record.component);
    without_nulls(json!({ "user": user, "app_uid": app, "app_name": last }))
}

/// "type_id 1=User; 4=Service".
fn user(id: &str) -> Value {
    let ours = id.starts_with("spiffe://") || id.starts_with("wimse://");
    json!({ "uid": id, "type_id": if ours { 4 } else { 1 } })
}

/// "The stable logical identifier for the agent, assigned by … its issuing identity provider". Our
/// services have no language model, and a client's id says nothing of one.
fn agent(record: &Record) -> Value {
    let Some(uid) = agent_id(record) else { return Value::Null };
    let name = uid.rsplit('/').next().filter(|name| !name.is_empty());
    without_nulls(json!({ "uid": uid, "name": name, "type_id": 0 }))
}

fn agent_id(record: &Record) -> Option<&String> {
    let is_service = |path: &str| path.split('/').nth(1) == Some(Kind::Service.segment());
    record.agent.as_ref().filter(|id| {
        let path = id.strip_prefix("spiffe://").or_else(|| id.strip_prefix("wimse://"));
        path.is_some_and(|path| !is_service(path))
    })
}

fn endpoint(record: &Record) -> Value {
    let source = record.facts.get("source").and_then(Value::as_str);
    let uid = record.transport.as_deref().or(source).or(record.agent.as_deref());
    json!({ "uid": uid.unwrap_or(&record.component.0) })
}

fn resources(record: &Record) -> Value {
    let Some(uid) = &record.resource else { return Value::Null };
    json!([{ "uid": uid, "role_id": 1 }])
}

/// What the upstream answered, where a call went that far.
fn response(record: &Record) -> Value {
    let status = record.facts.get("status").filter(|_| record.event == Event::CallFinished);
    status.map_or(Value::Null, |code| json!({ "code": code }))
}

/// 3002. "auth_protocol_id 6=OAUTH 2.0"; the session is the token.
fn authentication(record: &Record) -> Vec<(&'static str, Value)> {
    let stranger = record.event == Event::StrangersRefused;
    let who = match (&record.agent, &record.subject) {
        (Some(agent), _) => json!({ "uid": agent, "type_id": 4 }),
        (None, Some(subject)) => user(subject),
        (None, None) => json!({ "name": "unknown", "type_id": 0 }),
    };
    let session = record.jti.as_ref().map_or(Value::Null, |jti| {
        without_nulls(json!({ "uid": jti, "credential_uid": record.parent }))
    });
    let number = |name: &str| record.facts.get(name).filter(|_| stranger).cloned();
    vec![
        ("user", who),
        ("session", session),
        ("auth_protocol", json!("OAUTH 2.0")),
        ("auth_protocol_id", json!(6)),
        ("logon_type_id", json!(3)),
        ("service", without_nulls(json!({ "name": record.component, "uid": record.resource }))),
        ("src_endpoint", endpoint(record)),
        ("count", number("count").unwrap_or_default()),
        ("start_time", number("from").unwrap_or_default()),
        ("end_time", number("to").unwrap_or_default()),
    ]
}

/// 3004. "type_id 5=Policy; 99=Other"; the type says what it is in our words.
fn entity(record: &Record) -> Value {
    let resource = record.resource.as_ref();
    let (kind, uid) = match record.event {
        Event::PolicyApplied => {
            let uid = record.policy.as_deref().unwrap_or("refused");
            return json!({
                "type_id": 5, "type": "Policy", "uid": uid,
                "policy": { "uid": uid, "is_applied": record.outcome != Outcome::Refused },
            });
        }
        Event::CredentialIssued => ("Credential", record.jti.as_ref().or(record.agent.as_ref())),
        Event::EvidenceAppraised => ("Attestation result", record.jti.as_ref()),
        Event::EvidenceChanged => ("Document", resource),
        Event::NodeAttested | Event::NodeRenewed | Event::NodeLifecycle => ("Component", resource),
        Event::Alarm => ("Alarm", resource),
        Event::WorkloadAttested => ("Process", record.agent.as_ref()),
        Event::ClientRegistered => ("Client", record.subject.as_ref()),
        Event::UserRegistered | Event::UserLifecycle | Event::UserChanged => {
            ("User", record.subject.as_ref())
        }
        Event::KeyRotated => ("Key", resource),
        Event::ConsentAnswered | Event::GrantEnded => ("Grant", record.root.as_ref()),
        Event::ApprovalAsked | Event::ApprovalAnswered | Event::ApprovalEnded => {
            ("Approval", resource)
        }
        Event::TokenRead => ("Token", record.jti.as_ref()),
        Event::LogCut => ("Log", resource),
        Event::FederationChanged => ("Federation", resource),
        Event::JoinTokenCreated => ("Join token", resource),
        Event::Started => ("Component", Some(&record.component.0)),
        _ => ("Agent", record.agent.as_ref().or(resource)),
    };
    let uid = uid.map_or("unknown", String::as_str);
    json!({ "type_id": OTHER, "type": kind, "uid": uid })
}

/// What an operator gave as the reason.
fn reason(record: &Record) -> Value {
    let reason = record.facts.get("reason").filter(|reason| reason.is_string());
    reason.cloned().unwrap_or_default()
}

/// The record_integrity profile. "fingerprint: The fingerprint of this event's canonical
/// serialization": here of the record as the log has it, by which a proof of inclusion is asked.
fn integrity(context: &Context<'_>) -> Value {
    let Some(leaf) = context.leaf else { return Value::Null };
    let hex: String = leaf.iter().map(|byte| format!("{byte:02x}")).collect();
    json!([{
        "chain_uid": context.log,
        "uid": context.index.to_string(),
        "fingerprint": { "algorithm_id": 3, "encoding_id": 1, "value": hex },
    }])
}

/// What attestation found.
fn enrichments(record: &Record) -> Value {
    if record.attestation.is_empty() {
        return Value::Null;
    }
    let name = if record.agent.is_some() { "ai_agent.uid" } else { "metadata.uid" };
    let value = record.agent.clone().unwrap_or_else(|| record.id.to_string());
    json!([{ "name": name, "value": value, "type": "attestation", "data": record.attestation }])
}

/// What OCSF has no place for.
fn unmapped(record: &Record) -> Value {
    let why = record.why.as_ref();
    let aims = without_nulls(json!({
        "agent": record.agent,
        "act": Some(&record.actors).filter(|actors| !actors.is_empty()),
        "after": record.after,
        "epoch": record.epoch,
        "jti": record.jti,
        "needs": why.and_then(|why| why.needs.as_ref()),
        "parent": record.parent,
        "policy": Some(&record.policy).filter(|_| record.event == Event::LogCut),
        "proof": record.proof,
        "root": record.root,
        "transport": record.transport,
        "txn": record.txn,
        "facts": record.facts,
    }));
    json!({ "aims": aims })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().filter(|(_, member)| !member.is_null()).collect()
        }
        other => other,
    }
}
