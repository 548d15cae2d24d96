//! Transaction tokens (draft-ietf-oauth-transaction-tokens, 6 July 2026, §9 to §12; S4 §10.4;
//! AUTHZ-12): what a resource gets instead of the access token, for one transaction.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Context, Refusal, actors};
use crate::policy::Format;
use crate::proposal::{Lineage, Proposal, TokenKind};

/// What this grant reads; anything else is dropped before it runs.
pub const PARAMETERS: &[&str] = &[
    "audience",
    "scope",
    "requested_token_type",
    "subject_token",
    "subject_token_type",
    "request_context",
    "request_details",
];

/// The same facts give the same answer.
pub(super) fn decide(context: &Context<'_>) -> Result<Proposal, Refusal> {
    let target = context.target.ok_or(Refusal::UnknownTarget)?;
    let subject = context.subject.ok_or(Refusal::NoSubject)?;
    let scope = context.scope.cloned().ok_or(Refusal::NoScope)?;
    let longest = context.now.plus(context.lifetimes.txn_token);
    Ok(Proposal {
        kind: TokenKind::Transaction,
        action: context.grant.action(),
        client_id: context.caller.client_id().to_owned(),
        // §13.15: "MUST NOT modify txn, sub, and aud values of the Txn-Token in the request."
        subject: subject.subject().to_owned(),
        act: actors(subject)?,
        audience: target.id.clone(),
        audience_name: target.name.clone(),
        proof: target.proof,
        format: Format::Jwt,
        scope,
        expires: longest.min(subject.expires()),
        lineage: Lineage::below(subject),
        binding: None,
        authorization_details: None,
        authenticated: None,
        impersonation: None,
        // §9.2: "tctx: … values that remain immutable throughout the Call Chain."
        details: members(subject.details()),
        context: members(subject.circumstances()),
    })
}

fn members(map: Option<&Map<String, Value>>) -> BTreeMap<String, Value> {
    map.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}
