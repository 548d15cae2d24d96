//! Positions of feeds: where a page of changes starts, and how long deletions are kept for them.

use env::{Page, Seq};
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};
use tokio::sync::watch;

/// How long a deleted row is kept for feeds that have not seen its deletion.
pub const TOMBSTONES_KEPT: Span = Span::from_seconds(24 * 3_600);

/// How often a sweep notes which position was reached when.
const MARK_EVERY: Span = Span::from_seconds(600);

/// Commits stand at even positions, so that an odd one can say: a full set, not yet whole.
const STEP: u64 = 2;

/// The position after `seq`.
pub(crate) fn next(seq: Seq) -> Seq {
    Seq(seq.0.saturating_add(STEP))
}

/// Where a feed that has everything up to `asked` goes on, or the page that tells it to start
/// again: deletions at or before `horizon` are no longer known, and nothing after `reached` ever
/// happened here.
pub(crate) fn resume(asked: Seq, horizon: Seq, reached: Seq) -> Result<Resumed, Page> {
    let is_full_set = asked.0 == 0 || asked.0 % STEP == 1;
    if asked > reached || (!is_full_set && asked < horizon) {
        return Err(Page { rows: Vec::new(), next: Some(0.to_string()), seq: Seq(0) });
    }
    Ok(Resumed { is_full_set, horizon })
}

/// Waits until the store is past `seq`.
pub(crate) async fn past(reached: &watch::Sender<Seq>, seq: Seq) -> Seq {
    let mut reached = reached.subscribe();
    let now = reached.wait_for(|reached| *reached > seq).await.map(|reached| *reached);
    match now {
        Ok(now) => now,
        // The sender is the store's, which the caller holds: this does not happen.
        Err(_) => std::future::pending().await,
    }
}

/// A feed that can go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resumed {
    is_full_set: bool,
    horizon: Seq,
}

impl Resumed {
    /// The position of a page whose last row stands at `last`, with more to follow.
    pub(crate) fn cut(&self, last: Seq) -> Seq {
        if self.is_full_set && last < self.horizon { Seq(last.0.saturating_add(1)) } else { last }
    }
}

/// Which position was reached when, so that a tombstone has an age without a clock.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Marks {
    /// Deletions at or before this position may be gone.
    horizon: u64,
    marks: Vec<(u64, UnixTime)>,
}

impl Marks {
    /// Deletions at or before it may be gone.
    pub(crate) fn horizon(&self) -> Seq {
        Seq(self.horizon)
    }

    /// At `now` the store is at `seq`: moves the horizon to where it was [`TOMBSTONES_KEPT`] ago.
    pub(crate) fn note(&mut self, seq: Seq, now: UnixTime) {
        let oldest = now.minus(TOMBSTONES_KEPT);
        let is_old = |(_, time): &&(u64, UnixTime)| *time <= oldest;
        if let Some((reached, _)) = self.marks.iter().filter(is_old).max() {
            self.horizon = self.horizon.max(*reached);
        }
        self.marks.retain(|(_, time)| *time > oldest);
        if self.marks.last().is_none_or(|(_, time)| *time <= now.minus(MARK_EVERY)) {
            self.marks.push((seq.0, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_goes_on_or_is_told_to_start_again() {
        let (horizon, reached) = (Seq(100), Seq(200));
        for (asked, goes_on) in [
            (0, true),
            (1, true),
            (51, true),
            (50, false),
            (98, false),
            (100, true),
            (200, true),
            (201, false),
            (202, false),
        ] {
            match resume(Seq(asked), horizon, reached) {
                Ok(_) => assert!(goes_on, "{asked}"),
                Err(page) => {
                    assert!(!goes_on, "{asked}");
                    assert!(page.seq < Seq(asked) && page.next.is_some() && page.rows.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_full_set_is_odd_until_it_passes_the_horizon() {
        let from = |asked| resume(Seq(asked), Seq(100), Seq(200)).ok().unwrap();
        assert_eq!(from(0).cut(Seq(40)), Seq(41));
        assert_eq!(from(41).cut(Seq(98)), Seq(99));
        assert_eq!(from(41).cut(Seq(100)), Seq(100));
        assert_eq!(from(100).cut(Seq(120)), Seq(120));
    }

    #[test]
    fn the_horizon_is_where_the_store_was_a_day_ago() {
        let mut marks = Marks::default();
        let at = |seconds: u64| UnixTime::from_seconds(1_800_000_000 + seconds);
        marks.note(Seq(10), at(0));
        marks.note(Seq(20), at(599));
        marks.note(Seq(30), at(600));
        assert_eq!(marks.marks, [(10, at(0)), (30, at(600))], "every ten minutes");
        marks.note(Seq(40), at(24 * 3_600 - 1));
        assert_eq!(marks.horizon(), Seq(0));
        marks.note(Seq(40), at(24 * 3_600));
        assert_eq!(marks.horizon(), Seq(10));
        marks.note(Seq(40), at(26 * 3_600));
        assert_eq!(marks.horizon(), Seq(30));
        marks.note(Seq(42), UnixTime::from_seconds(1));
        assert_eq!(marks.horizon(), Seq(30), "a clock that goes back forgets nothing more");
    }
}
