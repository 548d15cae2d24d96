//! Client credentials grant (RFC 6749 §4.4): an agent or system on its own behalf (S4 §10.3.2;
//! AUTHZ-07).
//!
//! In scope: what such a request would give, once the checks of the table passed. Not here: who the
//! client is, and how the token is made (`crate::access_token`).

use std::collections::BTreeMap;

use super::{Context, Refusal, binding};
use crate::proposal::{Lineage, Proposal, TokenKind};

/// What this grant reads; anything else is dropped before it runs.
pub const PARAMETERS: &[&str] = &["scope", "resource", "audience"];

/// The same facts give the same answer.
pub(super) fn decide(context: &Context<'_>) -> Result<Proposal, Refusal> {
    let target = context.target.ok_or(Refusal::UnknownTarget)?;
    // RFC 6749 §3.3: without a scope the server uses "a pre-defined default value": all that the
    // client may have of what the target knows, if the client has a bound at all.
    let scope = context.scope.cloned().unwrap_or_else(|| match &context.facet.scope_max {
        Some(allowed) => allowed.intersection(&target.scopes),
        None => oauth::ScopeSet::default(),
    });
    Ok(Proposal {
        kind: TokenKind::Access,
        action: context.grant.action(),
        client_id: context.caller.client_id().to_owned(),
        // RFC 9068 §2.2: "In cases of access tokens obtained through grants where no resource owner
        // is involved, such as the client credentials grant, the value of sub SHOULD correspond to
        // an identifier the authorization server uses to indicate the client application."
        subject: context.caller.client_id().to_owned(),
        act: None,
        audience: target.id.clone(),
        audience_name: target.name.clone(),
        proof: target.proof,
        format: target.format,
        scope,
        expires: context.now.plus(context.lifetimes.access_token),
        lineage: Lineage::Root,
        binding: binding(context),
        authorization_details: None,
        authenticated: None,
        impersonation: None,
        details: BTreeMap::new(),
        context: BTreeMap::new(),
    })
}
