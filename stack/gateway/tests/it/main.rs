//! What a call asks for, and what a refusal is on the wire.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod approve;
mod http;
mod mcp;
mod refusal;

use std::collections::BTreeMap;

use authorization::{Action, Proof, Protocol, ResourcePolicy};
use gateway::{Call, Target};
use oauth::Scope;

fn scope(text: &str) -> Option<Scope> {
    Some(Scope::parse(text).unwrap())
}

fn action() -> Action {
    Action { tool: None, method: None, path: None, scope: None, read_only: false }
}

fn resource(protocol: Protocol, actions: Vec<Action>) -> ResourcePolicy {
    ResourcePolicy {
        name: "ledger".to_owned(),
        title: None,
        audience: None,
        upstream: "http://127.0.0.1:9000".to_owned(),
        protocol,
        proof: Proof::Wit,
        token: authorization::policy::Format::Jwt,
        subject: authorization::policy::SubjectKind::Public,
        introspect: std::collections::BTreeSet::new(),
        decide: std::collections::BTreeSet::new(),
        status: false,
        attestation: false,
        details: Vec::new(),
        profiles: std::collections::BTreeSet::new(),
        scopes: BTreeMap::new(),
        actions,
    }
}

fn call(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Call {
    Call {
        method: method.to_owned(),
        target: Target::parse(path, None).unwrap(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body: body.as_bytes().to_vec(),
        certificates: Vec::new(),
        source: "192.0.2.7".to_owned(),
    }
}
