//! Asking a human, and what they answer ([RFC 8628](https://www.rfc-editor.org/rfc/rfc8628),
//! [CIBA Core 1.0](https://openid.net/specs/openid-client-initiated-backchannel-authentication-core-1_0.html),
//! draft-rosomakho-oauth-txn-challenge; AUTHZ-17, AUTHZ-18, AUTHZ-19, AUTHZ-31, AUTHZ-32).
//!
//! In scope: the ways in which a client gets somebody asked, the answers, and their end. Not here:
//! what a client gets for an answer (`flow/access`), consent in a browser (`flow/consent`), pages
//! (`edge/console`).

pub use basis::shares;
use basis::{facts, issuing, record, turns};

pub mod answer;
pub mod ask;
pub mod caller;
pub mod challenge;
pub mod ciba;
pub mod deferred;
pub mod device;
pub mod expire;
mod hint;
pub mod list;
pub mod notify;
pub mod refusal;
pub mod whom;

pub use refusal::Refusal;
