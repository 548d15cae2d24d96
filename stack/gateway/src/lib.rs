//! The gateway's decisions: what a call asks for, in the words that policy knows
//! (draft-ni-a2a-ai-agent-security-requirements §5.1, held as S2 §5.1; S4 §10.7; requirements
//! GW-01, GW-02, AUTHZ-20).
//!
//! In scope: finding the resource and the action of a call, which headers travel on, the refusals
//! and what they tell whom. Not here: who is calling (`authentication`), whether it may (`pdp`),
//! the sockets (`edge/proxy`).

pub mod approve;
mod call;
mod headers;
mod mapping;
mod refusal;

pub use call::{Call, PathError, Target};
pub use headers::{answerable, forwardable, sendable};
pub use mapping::{MapRefusal, Wanted, WantedKind, map, scope};
pub use refusal::{Refusal, Status};
