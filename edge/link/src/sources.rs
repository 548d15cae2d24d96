//! Bounds by where a connection comes from, so that one address cannot take what is there for all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The most connections of one source: half of all, for a site behind one address.
pub(crate) const SOURCE_CONNECTIONS_MAX: usize = 8_192;
/// The most handshakes of one source at once; more wait.
const SOURCE_HANDSHAKES_MAX: usize = 128;
/// The most connections of one source at once whose other end proved nothing; more wait.
const SOURCE_STRANGERS_MAX: usize = 32;
/// The most attempts to join of one source at once.
const SOURCE_JOINS_MAX: usize = 32;
/// How many attempts to join a source has saved up at most.
const JOIN_BURST: u32 = 256;
/// How long it takes to have one attempt more.
const JOIN_EVERY: Duration = Duration::from_millis(20);
/// The most sources that are remembered.
const SOURCES_MAX: usize = 65_536;

/// All sources with connections, and those that joined lately.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<HashMap<IpAddr, Arc<Source>>>);

impl Sources {
    /// One connection more from `address`, unless it has too many.
    pub(crate) fn connect(&self, address: IpAddr) -> Option<Connected> {
        let key = network(address);
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&key) {
            sources.retain(|_, source| source.connections.load(Ordering::Relaxed) > 0);
        }
        let source = sources.entry(key).or_insert_with(|| Arc::new(Source::new()));
        // Only here, under the lock, does the number grow.
        if source.connections.load(Ordering::Relaxed) >= SOURCE_CONNECTIONS_MAX {
            return None;
        }
        source.connections.fetch_add(1, Ordering::Relaxed);
        Some(Connected(Arc::clone(source)))
    }
}

/// What one source has taken.
#[derive(Debug)]
pub(crate) struct Source {
    connections: AtomicUsize,
    pub(crate) handshakes: Semaphore,
    pub(crate) strangers: Semaphore,
    pub(crate) joins: Semaphore,
    /// When all attempts will have been saved up again.
    joined: Mutex<Option<Instant>>,
}

impl Source {
    const fn new() -> Self {
        Self {
            connections: AtomicUsize::new(0),
            handshakes: Semaphore::const_new(SOURCE_HANDSHAKES_MAX),
            strangers: Semaphore::const_new(SOURCE_STRANGERS_MAX),
            joins: Semaphore::const_new(SOURCE_JOINS_MAX),
            joined: Mutex::new(None),
        }
    }

    /// Takes one attempt to join, if there is one.
    pub(crate) fn may_join(&self, now: Instant) -> bool {
        let mut full_at = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let next = full_at.filter(|at| *at > now).unwrap_or(now) + JOIN_EVERY;
        let may = next <= now + JOIN_EVERY * JOIN_BURST;
        if may {
            *full_at = Some(next);
        }
        may
    }
}

/// A connection of a source, counted as long as it lives.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Source>);

impl std::ops::Deref for Connected {
    type Target = Source;

    fn deref(&self) -> &Source {
        &self.0
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts as one source: an IPv4 address, or the network of an IPv6 host. RFC 4291 §2.5.4 has
/// global addresses with 64 bits of network, within which a host may choose any address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let check = |one: &str, other: &str, same: bool| {
            let of = |text: &str| network(text.parse().unwrap());
            assert_eq!(of(one) == of(other), same, "{one} {other}");
        };
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("2001:db8::1", "2001:db8::ffff:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
    }

    #[test]
    fn attempts_to_join_are_rationed() {
        let source = Source::new();
        let now = Instant::now();
        let burst = usize::try_from(JOIN_BURST).unwrap();
        assert_eq!((0..2 * burst).filter(|_| source.may_join(now)).count(), burst);
        let later = now + JOIN_EVERY * 3;
        assert_eq!((0..9).filter(|_| source.may_join(later)).count(), 3);
        let much_later = now + JOIN_EVERY * 10_000;
        assert_eq!((0..2 * burst).filter(|_| source.may_join(much_later)).count(), burst);
    }

    #[test]
    fn connections_of_a_source_are_bounded_and_given_back() {
        let sources = Sources::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let taken: Vec<_> = std::iter::from_fn(|| sources.connect(one)).collect();
        assert_eq!(taken.len(), SOURCE_CONNECTIONS_MAX);
        assert!(sources.connect(other).is_some());
        drop(taken);
        assert!(sources.connect(one).is_some());
    }
}
