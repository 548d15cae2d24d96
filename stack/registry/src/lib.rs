//! The registry: the one record of an agent, composed of the facets that the boxes below own
//! (draft-ni-a2a-ai-agent-security-requirements §3.3, held as S2 §3.3; docs/design.md §2, idea 1;
//! requirements ID-03, ID-06, AUTHZ-23).
//!
//! In scope: the record, what a registration must hold, and the records of hosts and of clients
//! that are not agents. Not here: what the facets mean (their boxes), and discovery.

pub mod admission;
mod agent;
pub mod client;
mod node;
mod overlap;
pub mod user;
pub mod user_code;

pub use admission::RegistrationPolicy;
pub use agent::{AgentRecord, HANDLE_BYTES_MAX, Registration, RegistrationRefusal};
pub use client::{ClientLogout, ClientRecord, ClientRefusal, ClientState, Metadata, Signed};
pub use node::NodeRecord;
pub use overlap::Overlap;
pub use user::{UserName, UserRecord};
