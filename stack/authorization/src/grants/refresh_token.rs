//! Refresh token grant (RFC 6749 §6), and what all grants share that go on using a stored one: the
//! rights of the user's grant, or fewer (AUTHZ-06, AUTHZ-10).

use std::collections::BTreeMap;

use oauth::SubjectText;
use oauth::act::Act;
use oauth::authorization_details::AuthorizationDetails;
use oauth::confirmation::Confirmation;
use serde_json::Value;

use super::{Context, Refusal, binding, details_of};
use crate::audience::Audience;
use crate::granted::{GrantRecord, Granted};
use crate::proposal::{Lineage, Proposal, TokenKind};

/// What this grant reads; anything else is dropped before it runs.
pub const PARAMETERS: &[&str] = &["refresh_token", "scope", "resource", "authorization_details"];

/// The same facts give the same answer.
pub(super) fn decide(context: &Context<'_>) -> Result<Proposal, Refusal> {
    let held = context.held.ok_or(Refusal::NotHeld)?;
    of_grant(context, held, binding(context))
}

/// A token of a stored grant.
pub(super) fn of_grant(
    context: &Context<'_>,
    held: &GrantRecord,
    binding: Option<Confirmation>,
) -> Result<Proposal, Refusal> {
    let target = context.target.ok_or(Refusal::UnknownTarget)?;
    let granted = granted(held, target)?;
    let allowed = granted.scope.intersection(&target.scopes);
    let scope = context.scope.cloned().unwrap_or(match &context.facet.scope_max {
        Some(bound) => allowed.intersection(bound),
        None => allowed,
    });
    let client_id = context.caller.client_id().to_owned();
    // S4 §10.2: the user is the subject, and the client, which is the agent, acts for them.
    let act = match client_id == held.subject {
        true => None,
        false => Some(Act::new(SubjectText::parse(&client_id).map_err(|_| Refusal::NoActor)?)),
    };
    let details = stored(&granted.details);
    let longest = context.now.plus(context.lifetimes.access_token);
    Ok(Proposal {
        kind: TokenKind::Access,
        action: context.grant.action(),
        client_id,
        subject: held.subject.clone(),
        act,
        audience: target.id.clone(),
        audience_name: target.name.clone(),
        proof: target.proof,
        format: target.format,
        scope,
        expires: longest.min(held.until),
        lineage: Lineage::of_grant(held),
        binding,
        authorization_details: details_of(context, details.as_ref()),
        authenticated: held.authenticated.clone(),
        impersonation: None,
        details: BTreeMap::new(),
        context: BTreeMap::new(),
    })
}

/// What the grant gives at `target`: of our own UserInfo endpoint what OpenID Connect has scopes
/// for.
pub(super) fn granted(held: &GrantRecord, target: &Audience) -> Result<Granted, Refusal> {
    if let Some(granted) = held.targets.get(&target.id) {
        return Ok(granted.clone());
    }
    if target.is_userinfo && !held.openid.is_empty() {
        return Ok(Granted { scope: held.openid.clone(), details: Vec::new() });
    }
    let granted = held.targets.keys().cloned().collect();
    Err(Refusal::TargetNotGranted { target: target.id.clone(), granted })
}

/// `authorization_details` as they are stored: they were read when they were granted.
pub(crate) fn stored(details: &[Value]) -> Option<AuthorizationDetails> {
    AuthorizationDetails::of_value(&Value::Array(details.to_vec())).ok()
}
