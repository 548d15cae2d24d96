//! Approval: what a human is asked, and what came of it (draft-klrc-aiagent-auth §10.6, held whole
//! as S4 §10.6; requirements AUTHZ-17, AUTHZ-18, AUTHZ-31, AUTHZ-32).
//!
//! In scope: the one approval record behind every way to ask, its lifecycle, which human is asked,
//! and the tickets that clients wait with. Not here: how the question reaches somebody
//! (`flow/approve`, `edge/console`), whether policy asks for it (`pdp`), what a grant gives
//! (`authorization`).

pub mod approval;
pub mod bound;
pub mod call_detail;
pub mod policy;
pub mod queue;
pub mod sought;
pub mod state;
pub mod ticket;

pub use approval::{Answered, Approval, Front, NotAllowed, Whom};
pub use bound::Bound;
pub use policy::{Approvals, Ask};
pub use queue::Queue;
pub use sought::{Act, Asks, Sought};
pub use state::{State, Step, Unmoved};
pub use ticket::{Kind, Notify, Ticket};
