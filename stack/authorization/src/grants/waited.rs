//! Grants of clients that waited for somebody's answer: device codes (RFC 8628 §3.4), CIBA (CIBA
//! Core 1.0 §10.1), deferred tokens, and challenged transactions
//! (draft-rosomakho-oauth-txn-challenge §5.3; AUTHZ-17, AUTHZ-19).
//!
//! In scope: what the answer leads to, once the checks of the table passed. Not here: the question,
//! and who answered it (`approval`).

use oauth::SubjectText;
use oauth::act::Act;

use super::{Context, Refusal, binding, refresh_token, wrap};
use crate::granted::Branch;
use crate::proposal::{Lineage, Proposal};

/// What these grants read; anything else is dropped before they run.
pub const PARAMETERS: &[&str] = &["device_code", "auth_req_id", "deferral_code", "resource"];

/// The same facts give the same answer.
pub(super) fn decide(context: &Context<'_>) -> Result<Proposal, Refusal> {
    let held = context.held.ok_or(Refusal::NotHeld)?;
    let proposal = refresh_token::of_grant(context, held, binding(context))?;
    let Some(branch) = context.waited.and_then(|waited| waited.branch.as_ref()) else {
        return Ok(proposal);
    };
    // What was approved belongs to the task that it was asked in: to end that ends this.
    let lineage = Lineage::Child {
        root: branch.root.clone(),
        parent: held.id.clone(),
        above: branch.above.iter().chain(&branch.parent).cloned().collect(),
        txn: branch.txn.clone(),
        epoch: held.epoch.0,
    };
    let act = chain(branch, context.caller.client_id(), &held.subject)?;
    Ok(Proposal { lineage, act, ..proposal })
}

/// Everybody who acts: the chain that was shown, and the client as the last of it.
fn chain(branch: &Branch, client: &str, subject: &str) -> Result<Option<Act>, Refusal> {
    let mut chain: Option<Act> = None;
    for actor in branch.actors.iter().rev().filter(|actor| actor.as_str() != client) {
        chain = Some(match chain {
            None => Act::new(SubjectText::parse(actor).map_err(|_| Refusal::NoActor)?),
            prior => wrap(prior, actor)?,
        });
    }
    match chain {
        None if client == subject => Ok(None),
        chain => wrap(chain, client).map(Some),
    }
}
