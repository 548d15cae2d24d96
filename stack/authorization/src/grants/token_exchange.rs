//! Token exchange (RFC 8693): an agent that received a token gets the next one, in its own name and
//! for the same subject (S4 §10.3.3, §10.7; AUTHZ-08, AUTHZ-11, AUTHZ-20).

use std::collections::BTreeMap;

use super::{Context, Refusal, actors, binding, details_of, wrap};
use crate::proposal::{Lineage, Proposal, TokenKind};

/// What this grant reads; anything else is dropped before it runs.
pub const PARAMETERS: &[&str] = &[
    "resource",
    "audience",
    "scope",
    "requested_token_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_cnf",
];

/// The same facts give the same answer.
pub(super) fn decide(context: &Context<'_>) -> Result<Proposal, Refusal> {
    let target = context.target.ok_or(Refusal::UnknownTarget)?;
    let subject = context.subject.ok_or(Refusal::NoSubject)?;
    let client_id = context.caller.client_id().to_owned();
    let held = subject.scope().intersection(&target.scopes);
    let scope = context.scope.cloned().unwrap_or(match &context.facet.scope_max {
        Some(allowed) => held.intersection(allowed),
        None => held,
    });
    // RFC 8693 §4.1: "A chain of delegation can be expressed by nesting one "act" claim within
    // another. The outermost "act" claim represents the current actor while nested "act" claims
    // represent prior actors."
    let rule =
        context.actor.is_none().then(|| context.delegation.impersonates(&client_id, &target.id));
    let impersonation = rule.flatten().map(str::to_owned);
    let act = match &impersonation {
        // RFC 8693 §1.1: "When principal A impersonates principal B, A is given all the rights that
        // B has within some defined rights context and is indistinguishable from B in that
        // context."
        Some(_) => actors(subject)?,
        None => Some(wrap(actors(subject)?, &client_id)?),
    };
    let longest = context.now.plus(context.lifetimes.access_token);
    Ok(Proposal {
        kind: TokenKind::Access,
        action: context.grant.action(),
        client_id,
        subject: subject.subject().to_owned(),
        act,
        audience: target.id.clone(),
        audience_name: target.name.clone(),
        proof: target.proof,
        format: target.format,
        scope,
        expires: longest.min(subject.expires()),
        lineage: Lineage::below(subject),
        binding: binding(context),
        authorization_details: details_of(context, subject.authorization_details()),
        authenticated: subject.authenticated(),
        impersonation,
        details: BTreeMap::new(),
        context: BTreeMap::new(),
    })
}
