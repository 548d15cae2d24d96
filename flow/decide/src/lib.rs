//! Decisions that others ask for ([AuthZEN Authorization API
//! 1.0](https://openid.net/specs/authorization-api-1_0.html)), and access asked for that was denied
//! (its Access Request and Approval Profile; AUTHZ-24, AUTHZ-31, AUTHZ-32).
//!
//! In scope: who may ask about what, the decision by our own records, the question to a human, and
//! the one permit that comes of their answer. Not here: the calls of our own gateway
//! (`flow/access`), how a human answers (`flow/approve`).

use basis::{facts, issuing, record, turns};

mod approved;
pub mod evaluate;
pub mod metadata;
pub mod pep;
pub mod refusal;
pub mod request;
mod subject;
pub mod task;

pub use pep::{End, Shown};
pub use refusal::Refusal;
