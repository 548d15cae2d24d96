//! Authorization code grant (RFC 6749 §4.1.3; S4 §10.3.1; AUTHZ-06): what a user allowed in their
//! browser becomes the client's first tokens.
//!
//! In scope: what the code leads to, once the checks of the table passed. Not here: how the user
//! was asked, and the refresh token that comes with it.

use super::{Context, Refusal, binding};
use crate::proposal::Proposal;

/// What this grant reads; anything else is dropped before it runs.
pub const PARAMETERS: &[&str] =
    &["code", "redirect_uri", "code_verifier", "resource", "authorization_details"];

/// The same facts give the same answer.
pub(super) fn decide(context: &Context<'_>) -> Result<Proposal, Refusal> {
    let held = context.held.ok_or(Refusal::NotHeld)?;
    super::refresh_token::of_grant(context, held, binding(context))
}
