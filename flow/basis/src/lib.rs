//! What every request begins and ends with (docs/style.md §1; what is recorded is that of
//! draft-klrc-aiagent-auth §11, <https://datatracker.ietf.org/doc/draft-klrc-aiagent-auth/>).
//!
//! In scope: the facts that hold for all, the time that something is issued at, the beginning of a
//! record, a signature and the rings of keys for it, the end of what was granted, what a job has to
//! do, how often somebody may try, what strangers may leave behind, and deciding again after
//! another commit came first. Not here: requests (`flow`, `flow/access`).

pub mod agenda;
pub mod ends;
pub mod facts;
pub mod for_clients;
pub mod issuing;
pub mod record;
pub mod rings;
pub mod shares;
pub mod sign;
pub mod throttle;
pub mod turns;
