//! Observability: what one audit record holds, and how records become the chain of a task
//! (draft-klrc-aiagent-auth §11 "Agent Monitoring, Observability and Remediation", held as
//! S1 §11; requirements OBS-01, OBS-05 to OBS-07, OBS-09).
//!
//! In scope: the record as a value, its index terms, the tree of a trace, the export to OCSF, how
//! long records are kept and the record of a cut.
//! Not here: where records are kept (`edge/log`), and the counting of strangers' refusals over a
//! listener's life (`edge`), which uses [`tally`] for its arithmetic.

mod cut;
pub mod ocsf;
pub mod policy;
pub mod record;
pub mod tally;
pub mod trace;

pub use cut::Cut;
pub use record::{Component, Event, Outcome, Record, RecordId, Why};
