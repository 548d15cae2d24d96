//! Time and randomness.

use std::future::Future;

use time::{Span, UnixTime};

/// The only clock.
pub trait Clock: Send + Sync + 'static {
    /// Now. It may stand still or jump; what must not happen twice never relies on it alone.
    fn now(&self) -> UnixTime;

    /// Ends after about `span`. It may end late, never early by more than a millisecond.
    fn sleep(&self, span: Span) -> impl Future<Output = ()> + Send;
}

/// The only source of randomness. Bytes that go on the wire and bytes that stay secret come from
/// different calls, so that a simulation can tell them apart and a reader can check each use.
pub trait Entropy: Send + Sync + 'static {
    /// Unpredictable bytes that others will see: identifiers, nonces, serial numbers.
    fn public(&self) -> [u8; 16];

    /// Unpredictable bytes that only the one they are meant for may see: join tokens.
    fn secret(&self) -> [u8; 32];
}
