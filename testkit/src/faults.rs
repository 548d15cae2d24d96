//! What goes wrong: told beforehand, or drawn from the seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::Span;

use crate::rng::Rng;

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not written, and the caller is told that it failed.
    Lost,
    /// It is written, and the caller is told that it failed.
    WrittenAnyway,
    /// Another write of the same row comes first.
    Overtaken,
}

/// How often a store or journal fails, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreRates {
    /// Writes that are [`Fault::Lost`].
    pub lost: u64,
    /// Writes that are [`Fault::WrittenAnyway`].
    pub written_anyway: u64,
    /// Writes that are [`Fault::Overtaken`].
    pub overtaken: u64,
    /// Reads that fail.
    pub unread: u64,
}

/// How often a link fails, in a thousand, and how slow it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkRates {
    /// Questions that never arrive.
    pub lost_asking: u64,
    /// Answers that never arrive.
    pub lost_answering: u64,
    /// Questions that arrive twice.
    pub repeated: u64,
    /// The longest way, there or back.
    pub delay_max: Span,
}

/// The faults of one store or journal. A clone is the same.
#[derive(Clone)]
pub struct Faults {
    rng: Rng,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    planned: VecDeque<Option<Fault>>,
    rates: StoreRates,
}

impl Faults {
    /// None, until they are asked for.
    pub fn new(rng: &Rng) -> Self {
        Self { rng: rng.fork(), inner: Arc::default() }
    }

    /// The next write has this fault.
    pub fn next(&self, fault: Fault) {
        self.after(0, fault);
    }

    /// After `good` writes without one, a write has this fault.
    pub fn after(&self, good: usize, fault: Fault) {
        let mut inner = self.lock();
        inner.planned.extend(std::iter::repeat_n(None, good));
        inner.planned.push_back(Some(fault));
    }

    /// From now on faults are drawn so often.
    pub fn set_rates(&self, rates: StoreRates) {
        self.lock().rates = rates;
    }

    /// The fate of the next write.
    pub(crate) fn of_write(&self) -> Option<Fault> {
        let mut inner = self.lock();
        if let Some(planned) = inner.planned.pop_front() {
            return planned;
        }
        let StoreRates { lost, written_anyway, overtaken, .. } = inner.rates;
        let drawn = self.rng.below(1_000);
        let fates = [
            (lost, Fault::Lost),
            (written_anyway, Fault::WrittenAnyway),
            (overtaken, Fault::Overtaken),
        ];
        let mut below = 0;
        fates.into_iter().find_map(|(rate, fault)| {
            below += rate;
            (drawn < below).then_some(fault)
        })
    }

    /// Whether the next read fails.
    pub(crate) fn of_read(&self) -> bool {
        let unread = self.lock().rates.unread;
        unread > 0 && self.rng.chance(unread)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
