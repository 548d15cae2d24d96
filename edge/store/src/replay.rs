//! Single-use values: what was accepted once is not accepted again while it could be.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use env::{CommitFault, SingleUse, Unavailable};
use time::{Span, UnixTime};

/// The most values that are remembered at once. When all are taken, new ones are refused: to
/// forget one early would let it be used twice. One takes about 100 bytes.
pub const SINGLE_USES_MAX: usize = 1_000_000;

/// How much longer than asked a value is remembered, so that a clock that steps back by less, or
/// commits that overtake each other, open no window.
pub const FORGET_AFTER: Span = Span::from_seconds(60);

/// Values that end in the same ten seconds are forgotten together.
const BUCKET_MILLIS: u64 = 10_000;

/// The values that were used, by their end.
///
/// INVARIANT: a value whose end is at or after `forgotten` is in `live` if it was ever taken.
pub(crate) struct Replay {
    inner: Mutex<Inner>,
    values_max: usize,
}

#[derive(Default)]
struct Inner {
    live: HashMap<[u8; 32], UnixTime>,
    buckets: BTreeMap<u64, Vec<[u8; 32]>>,
    forgotten: UnixTime,
}

/// Why values were not taken, beside that one was used before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Untaken {
    #[error("{held} single-use values are remembered, the most there can be")]
    Full { held: usize },
    #[error(
        "a single-use value ends at {until}, but values that end before {forgotten} are \
         forgotten: the clock went back"
    )]
    Forgotten { until: UnixTime, forgotten: UnixTime },
}

impl Replay {
    /// An empty memory of at most `values_max` values.
    pub(crate) fn new(values_max: usize) -> Self {
        Self { inner: Mutex::default(), values_max }
    }

    /// Takes all of `uses`, or none.
    ///
    /// RFC 9449 §11.1: "HTTP requests to the same URI for which the jti value has been seen before
    /// would be declined."
    pub(crate) fn take(&self, uses: &[SingleUse], now: UnixTime) -> Result<(), CommitFault> {
        if uses.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock();
        inner.forget(now);
        for (at, single) in uses.iter().enumerate() {
            let is_repeated = uses.iter().take(at).any(|other| other.hash == single.hash);
            if is_repeated || inner.live.contains_key(&single.hash) {
                return Err(CommitFault::Used(single.clone()));
            }
            if single.until < inner.forgotten {
                let forgotten = inner.forgotten;
                let untaken = Untaken::Forgotten { until: single.until, forgotten };
                return Err(Unavailable::of("store", untaken).into());
            }
        }
        inner.check_room(uses.len(), self.values_max)?;
        uses.iter().for_each(|single| inner.remember(single));
        Ok(())
    }

    /// Forgets values that were taken for a change of which nothing was done.
    pub(crate) fn give_back(&self, uses: &[SingleUse]) {
        let mut inner = self.lock();
        for single in uses {
            inner.live.remove(&single.hash);
        }
    }

    /// Remembers values that were used before a restart.
    pub(crate) fn restore(
        &self,
        uses: impl IntoIterator<Item = SingleUse>,
    ) -> Result<(), Unavailable> {
        let mut inner = self.lock();
        for single in uses {
            if inner.live.get(&single.hash).is_none_or(|until| *until < single.until) {
                inner.check_room(1, self.values_max)?;
                inner.remember(&single);
            }
        }
        Ok(())
    }

    /// Forgets what ended long enough before `now`.
    pub(crate) fn forget(&self, now: UnixTime) {
        self.lock().forget(now);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check_room(&self, more: usize, values_max: usize) -> Result<(), Unavailable> {
        let held = self.live.len();
        if held.saturating_add(more) > values_max {
            return Err(Unavailable::of("store", Untaken::Full { held }));
        }
        Ok(())
    }

    /// RFC 9449 §11.1: "store only a hash thereof".
    fn remember(&mut self, single: &SingleUse) {
        self.live.insert(single.hash, single.until);
        self.buckets.entry(bucket(single.until)).or_default().push(single.hash);
    }

    fn forget(&mut self, now: UnixTime) {
        let ended = bucket(now.minus(FORGET_AFTER));
        self.forgotten = self.forgotten.max(UnixTime::from_millis(ended * BUCKET_MILLIS));
        while let Some(first) = self.buckets.first_entry().filter(|first| *first.key() < ended) {
            for hash in first.remove() {
                // A value that was restored with a later end stands in a later bucket, too.
                if self.live.get(&hash).is_some_and(|until| *until < self.forgotten) {
                    self.live.remove(&hash);
                }
            }
        }
    }
}

fn bucket(until: UnixTime) -> u64 {
    until.millis() / BUCKET_MILLIS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(byte: u8, until: u64) -> SingleUse {
        SingleUse { hash: [byte; 32], until: UnixTime::from_seconds(until) }
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    /// req: AUTHN-05 (part)
    #[test]
    fn rfc9449_11_1_a_value_is_taken_once() {
        let replay = Replay::new(10);
        assert_eq!(replay.take(&[single(1, 100)], at(0)), Ok(()));
        let again = Err(CommitFault::Used(single(1, 100)));
        assert_eq!(replay.take(&[single(1, 100)], at(0)), again);
        assert_eq!(replay.take(&[single(2, 100), single(1, 100)], at(0)), again);
        assert_eq!(replay.take(&[single(2, 100)], at(0)), Ok(()), "a refused change uses nothing");
        let twice = [single(3, 100), single(3, 100)];
        assert_eq!(replay.take(&twice, at(0)), Err(CommitFault::Used(single(3, 100))));
    }

    #[test]
    fn a_full_memory_refuses_and_forgets_nothing() {
        let replay = Replay::new(2);
        assert_eq!(replay.take(&[single(1, 100), single(2, 200)], at(0)), Ok(()));
        let full = || Err(Unavailable::of("store", Untaken::Full { held: 2 }).into());
        assert_eq!(replay.take(&[single(3, 300)], at(0)), full());
        let again = Err(CommitFault::Used(single(1, 100)));
        assert_eq!(replay.take(&[single(1, 100)], at(0)), again);
        assert_eq!(replay.take(&[single(3, 300)], at(160)), full(), "within the grace");
        assert_eq!(replay.take(&[single(3, 300)], at(170)), Ok(()));
    }

    #[test]
    fn what_may_have_been_forgotten_is_refused_when_the_clock_goes_back() {
        let replay = Replay::new(10);
        assert_eq!(replay.take(&[single(1, 100)], at(0)), Ok(()));
        replay.forget(at(1_000));
        let (until, forgotten) = (at(100), at(940));
        let refused = Untaken::Forgotten { until, forgotten };
        let refused = Err(Unavailable::of("store", refused).into());
        assert_eq!(replay.take(&[single(1, 100)], at(0)), refused);
        assert_eq!(replay.take(&[single(1, 940)], at(0)), Ok(()));
    }

    /// req: AUTHN-05 (part)
    #[test]
    fn restored_values_are_used_values_and_the_later_end_counts() {
        let replay = Replay::new(10);
        replay.restore([single(1, 100), single(1, 500), single(1, 200)]).unwrap();
        replay.forget(at(400));
        let again = Err(CommitFault::Used(single(1, 500)));
        assert_eq!(replay.take(&[single(1, 500)], at(400)), again);
        replay.forget(at(570));
        assert_eq!(replay.take(&[single(1, 900)], at(570)), Ok(()));
        let many = (0..=10).map(|byte| single(byte, 900));
        let full = Unavailable::of("store", Untaken::Full { held: 10 });
        assert_eq!(replay.restore(many), Err(full));
    }
}
