//! Enrolment: an agent that lives on no host of ours (serverless, CI, partner) gets credentials for
//! what it proves (S2 §3.1; requirements REG-01, PROV-01, PROV-05, PROV-07, ATT-01, ATT-04;
//! freshness after RFC 9334 §10, <https://www.rfc-editor.org/rfc/rfc9334>).
//!
//! In scope: the order of things for its three requests, session, enrolment and renewal, one file
//! each, and what the last two have in common. Not here: the requests as they are read
//! (`stack/enrolment`), what evidence proves (`stack/attestation`), how hosts join and workloads
//! get credentials (`flow`), HTTP (`edge/api`).

mod appraised;
mod enrol;
mod made;
mod open;
pub mod reassess;
mod refusal;
pub mod renew;
mod settle;

pub use enrol::{Attempt, End, Enrolled, INSTANCES_MAX, LIFE_MIN, enrol};
pub use open::{Opened, open};
pub use refusal::Refusal;
