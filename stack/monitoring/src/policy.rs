//! The observability box's own policy: how long records are kept (OBS-06).

use serde::{Deserialize, Serialize};
use time::Span;

/// `[audit]` of `domain.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How long a record is kept at the least, in seconds; for ever where nothing is said.
    // tlog-tiles, Retention Policies: "Without a policy for when pruning is permitted, logs MUST
    // NOT be pruned."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Span>,
}

/// The shortest that policy may say, in seconds: two days. A credential lives one at most, and what
/// is said of it until an hour after its end belongs to its trace; replay windows, which a start
/// reads from the log, are shorter.
// tlog-tiles, Retention Policies: "Retention policies MUST only permit pruning an entry sometime
// after it will no longer relevant to the log application."
pub const KEEP_SECONDS_MIN: u64 = 2 * 86_400;

impl Retention {
    /// What is wrong with the settings.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let short = self.keep.map(Span::seconds).filter(|seconds| *seconds < KEEP_SECONDS_MIN);
        let fault = |seconds| {
            let message = format!(
                "`keep` is {seconds} seconds; allowed are {KEEP_SECONDS_MIN} and more, or no \
                 `keep`, which is for ever"
            );
            ("audit.keep", message)
        };
        short.map(fault).into_iter().collect()
    }
}
