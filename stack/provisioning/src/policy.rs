//! The provisioning box's own policy: how long a component may go without the revocation feed.

use serde::{Deserialize, Serialize};
use time::Span;

/// `[revocation]` of `domain.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Revocation {
    /// A gateway or node that has heard nothing for longer, in seconds, refuses.
    pub feed_lost_after: Span,
}

/// The longest that policy may allow, in seconds.
pub const FEED_LOST_SECONDS_MAX: u64 = 300;

impl Default for Revocation {
    fn default() -> Self {
        Self { feed_lost_after: Span::from_seconds(10) }
    }
}

impl Revocation {
    /// What is wrong with the settings.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let seconds = self.feed_lost_after.seconds();
        if (1..=FEED_LOST_SECONDS_MAX).contains(&seconds) {
            return Vec::new();
        }
        let message = format!(
            "`feed_lost_after` is {seconds} seconds; allowed are 1 to {FEED_LOST_SECONDS_MAX}"
        );
        vec![("feed_lost_after", message)]
    }
}
