//! Policy: one versioned set of documents for every box (draft-klrc-aiagent-auth §12, held as
//! S4 §12; docs/design.md §6; requirements POL-01, POL-02).
//!
//! In scope: reading the files of a policy directory into one [`PolicySet`] or into faults that
//! show file, line and fix; its version; the difference between two sets. Not here: reading the
//! directory from disk (`bin`), and what each part means (the boxes below).

mod compile;
mod diff;
mod domain;
mod fault;
mod files;
mod review;

pub use compile::PolicySet;
pub use diff::{Difference, difference};
pub use domain::{Bounds, Domain, JwtSvid};
pub use fault::Fault;
pub use files::{Files, FilesError};
pub use review::{Reached, Review, review};
