//! What attestors measure of a process (S1 §7, held as draft-klrc-aiagent-auth §7,
//! <https://datatracker.ietf.org/doc/draft-klrc-aiagent-auth/>; ATT-02): the pure halves of the
//! workload attestors, under the names of SPIRE's selectors.
//!
//! In scope: selectors and sets of them; what the kernel, systemd, Docker and a kubelet say, read
//! into them. Not here: asking them (`edge/attestors`), and what the facts are worth
//! (`attestation`, which shows these modules as its own).

pub mod cgroup;
pub mod docker;
pub mod form;
pub mod kubernetes;
pub mod script;
pub mod selector;
pub mod systemd;
pub mod unix;

pub use selector::{Selector, Selectors};
