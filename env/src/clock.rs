//! Time and randomness.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use time::{Span, UnixTime};

/// The only clock.
pub trait Clock: Send + Sync + 'static {
    /// Now. It may stand still or jump; what must not happen twice never relies on it alone.
    fn now(&self) -> UnixTime;

    /// The newest time that a record of this component has, of this life or an earlier one: a
    /// clock that shows less has jumped back.
    fn recorded(&self) -> UnixTime;

    /// Ends after about `span`. It may end late, never early by more than a millisecond.
    fn sleep(&self, span: Span) -> impl Future<Output = ()> + Send;
}

/// The newest time of a log's records: told by the journal, asked by the clock. One atomic.
#[derive(Debug, Default)]
pub struct Newest(AtomicU64);

impl Newest {
    /// A record of this time is in the log.
    pub fn note(&self, time: UnixTime) {
        self.0.fetch_max(time.millis(), Ordering::AcqRel);
    }

    /// What came before does not count: the clock was ahead then.
    pub fn begin_anew(&self, time: UnixTime) {
        self.0.store(time.millis(), Ordering::Release);
    }

    /// The newest; the epoch itself before the first record.
    pub fn time(&self) -> UnixTime {
        UnixTime::from_millis(self.0.load(Ordering::Acquire))
    }
}

/// The only source of randomness. Bytes that go on the wire and bytes that stay secret come from
/// different calls, so that a simulation can tell them apart and a reader can check each use.
pub trait Entropy: Send + Sync + 'static {
    /// Unpredictable bytes that others will see: identifiers, nonces, serial numbers.
    fn public(&self) -> [u8; 16];

    /// Unpredictable bytes that only the one they are meant for may see: join tokens.
    fn secret(&self) -> [u8; 32];
}
