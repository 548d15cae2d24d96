//! Clocks that can be set, and randomness from the seed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use env::{Clock, Entropy, Newest};
use time::{Span, UnixTime};

use crate::rng::Rng;
use crate::sim::Sim;

/// What every clock shows when a simulation begins, in seconds since 1970.
const BEGIN_SECONDS: u64 = 1_800_000_000;

/// The clock of one host: the simulation's time, and how far it is off. A clone is the same clock.
#[derive(Clone)]
pub struct SimClock {
    sim: Sim,
    off_millis: Arc<AtomicI64>,
    newest: Arc<Newest>,
}

impl SimClock {
    /// A clock that is right, of a host whose records are nowhere.
    pub fn new(sim: &Sim) -> Self {
        Self::beside(sim, Arc::default())
    }

    /// A clock that is right, of a host with this log.
    pub(crate) fn beside(sim: &Sim, newest: Arc<Newest>) -> Self {
        Self { sim: sim.clone(), off_millis: Arc::default(), newest }
    }

    /// Sets it forth.
    pub fn forth(&self, span: Span) {
        self.off_millis.fetch_add(signed(span), Ordering::SeqCst);
    }

    /// Sets it back.
    pub fn back(&self, span: Span) {
        self.off_millis.fetch_sub(signed(span), Ordering::SeqCst);
    }

    /// Sets it right.
    pub fn set_right(&self) {
        self.off_millis.store(0, Ordering::SeqCst);
    }

    /// How far it is off, in milliseconds.
    pub fn off_millis(&self) -> i64 {
        self.off_millis.load(Ordering::SeqCst)
    }
}

fn signed(span: Span) -> i64 {
    i64::try_from(span.millis()).unwrap_or(i64::MAX)
}

impl Clock for SimClock {
    fn now(&self) -> UnixTime {
        let right = UnixTime::from_seconds(BEGIN_SECONDS).plus(self.sim.elapsed());
        UnixTime::from_millis(right.millis().saturating_add_signed(self.off_millis()))
    }

    fn recorded(&self) -> UnixTime {
        self.newest.time()
    }

    fn sleep(&self, span: Span) -> impl Future<Output = ()> + Send {
        self.sim.sleep(span)
    }
}

/// Randomness from the seed: public and secret bytes from streams of their own.
#[derive(Clone, Debug)]
pub struct SimEntropy {
    public: Rng,
    secret: Rng,
}

impl SimEntropy {
    /// Two streams of `rng`.
    pub fn new(rng: &Rng) -> Self {
        Self { public: rng.fork(), secret: rng.fork() }
    }
}

impl Entropy for SimEntropy {
    fn public(&self) -> [u8; 16] {
        self.public.bytes()
    }

    fn secret(&self) -> [u8; 32] {
        self.secret.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn a_clock_goes_with_the_simulation_and_can_be_set() {
        let sim = Sim::new(Seed(1));
        let (clock, other) = (SimClock::new(&sim), SimClock::new(&sim));
        sim.run(clock.sleep(Span::from_seconds(2)));
        let begin = UnixTime::from_seconds(BEGIN_SECONDS);
        assert_eq!(clock.now(), begin.plus(Span::from_seconds(2)));
        clock.back(Span::from_seconds(5));
        assert_eq!(clock.clone().now(), begin.minus(Span::from_seconds(3)));
        assert_eq!(other.now(), begin.plus(Span::from_seconds(2)));
        clock.forth(Span::from_seconds(6));
        assert_eq!((clock.now(), clock.off_millis()), (begin.plus(Span::from_seconds(3)), 1_000));
        clock.set_right();
        assert_eq!(clock.now(), other.now());
    }
}
