//! How often somebody may guess, or try.
//!
//! Three counts, of failures alone: of one source, of one source for one person, of one person. The
//! first two are what slows a guesser down. The last is wide: a code has 60 bits, and a narrow
//! bound over all sources would let any stranger lock a person out. Whoever wants to do that needs
//! hundreds of sources, and the person is free a moment after they stop. Where somebody came in
//! lately, the count of the person does not keep them out: who locks them out elsewhere locks
//! nobody out there.
//!
//! The counts are those of one process, and end with it.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use time::{Span, UnixTime};

/// Counts of one kind at once.
const KEYS_MAX: usize = 65_536;
/// For how long a source is known as one where somebody came in.
const KNOWN: Span = Span::from_seconds(30 * 86_400);

/// So many at once, and one more each `every` milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// At once.
    pub burst: u32,
    /// Milliseconds until one more is allowed.
    pub every: u64,
}

/// The limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of one source.
    pub source: Limit,
    /// Of one source, for one person.
    pub pair: Limit,
    /// For one person.
    pub user: Limit,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source: Limit { burst: 30, every: 2_000 },
            pair: Limit { burst: 5, every: 30_000 },
            user: Limit { burst: 100, every: 100 },
        }
    }
}

/// Too many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts failed; the next is allowed at {until}")]
pub struct TooMany {
    /// When the next is allowed.
    pub until: UnixTime,
}

impl TooMany {
    /// Seconds until then: at least one.
    pub fn wait(&self, now: UnixTime) -> u64 {
        self.until.since(now).seconds().saturating_add(1)
    }
}

/// The counts: of each key the time at which all its failures are forgotten.
#[derive(Debug, Default)]
pub struct Throttle {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    failed: [BTreeMap<String, UnixTime>; 3],
    /// Where somebody came in: until when that counts.
    known: BTreeMap<String, UnixTime>,
}

impl Throttle {
    /// With other limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    /// Refuses whom too much has failed for.
    pub fn check(&self, source: &str, user: &str, now: UnixTime) -> Result<(), TooMany> {
        self.lock().check(&keys(source, user), self.limits(), now)
    }

    /// One more failed.
    pub fn failed(&self, source: &str, user: &str, now: UnixTime) {
        self.lock().failed(keys(source, user), self.limits(), now);
    }

    /// Counts something that is bounded whether it fails or not; refuses one too many.
    pub fn take(&self, source: &str, of: &str, now: UnixTime) -> Result<(), TooMany> {
        let (keys, mut counts) = (keys(source, of), self.lock());
        counts.check(&keys, self.limits(), now)?;
        counts.failed(keys, self.limits(), now);
        Ok(())
    }

    /// Somebody came in: what failed here for them before was their own mistake.
    pub fn passed(&self, source: &str, user: &str, now: UnixTime) {
        let [_, pair, _] = keys(source, user);
        let mut counts = self.lock();
        let Counts { failed: [_, pairs, _], known } = &mut *counts;
        pairs.remove(&pair);
        make_room(known, &pair, now);
        known.insert(pair, now.plus(KNOWN));
    }

    const fn limits(&self) -> [Limit; 3] {
        [self.limits.source, self.limits.pair, self.limits.user]
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn check(&self, keys: &[String; 3], limits: [Limit; 3], now: UnixTime) -> Result<(), TooMany> {
        let [_, pair, _] = keys;
        let is_known = self.known.get(pair).is_some_and(|until| now < *until);
        let counted = if is_known { 2 } else { 3 };
        for ((count, key), limit) in self.failed.iter().zip(keys).zip(limits).take(counted) {
            let Some(forgotten) = count.get(key) else { continue };
            // GCRA: as long as the debt leaves room for one more.
            let room = limit.every.saturating_mul(u64::from(limit.burst.saturating_sub(1)));
            let free = forgotten.minus(Span::from_millis(room));
            if free > now {
                return Err(TooMany { until: free });
            }
        }
        Ok(())
    }

    fn failed(&mut self, keys: [String; 3], limits: [Limit; 3], now: UnixTime) {
        for ((count, key), limit) in self.failed.iter_mut().zip(keys).zip(limits) {
            if key.is_empty() {
                continue;
            }
            make_room(count, &key, now);
            let forgotten = count.get(&key).copied().unwrap_or(now).max(now);
            count.insert(key, forgotten.plus(Span::from_millis(limit.every)));
        }
    }
}

/// Bounds a count: what is forgotten goes, then what would be forgotten first.
fn make_room(count: &mut BTreeMap<String, UnixTime>, key: &str, now: UnixTime) {
    if count.len() < KEYS_MAX || count.contains_key(key) {
        return;
    }
    count.retain(|_, forgotten| *forgotten > now);
    if count.len() >= KEYS_MAX {
        let first = count.iter().min_by_key(|(_, forgotten)| **forgotten);
        if let Some(first) = first.map(|(key, _)| key.clone()) {
            count.remove(&first);
        }
    }
}

/// Where nobody is named, the source alone is counted: nobody else is to wait for its failures.
fn keys(source: &str, user: &str) -> [String; 3] {
    let source = network(source);
    let pair = if user.is_empty() { String::new() } else { format!("{source}\0{user}") };
    [source, pair, user.to_owned()]
}

/// One subscriber of IPv6 has at least 64 bits of addresses.
pub fn network(source: &str) -> String {
    source.parse::<Ipv6Addr>().map_or_else(
        |_| source.to_owned(),
        |address| {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    /// req: AUTHN-11 (part)
    #[test]
    fn s9_who_guesses_waits_and_nobody_else_does() {
        let throttle = Throttle::default();
        for _ in 0..5 {
            assert_eq!(throttle.check("192.0.2.1", "ada", at(100)), Ok(()));
            throttle.failed("192.0.2.1", "ada", at(100));
        }
        let until = at(130);
        assert_eq!(throttle.check("192.0.2.1", "ada", at(100)), Err(TooMany { until }));
        assert_eq!(throttle.check("192.0.2.1", "ada", at(130)), Ok(()));
        // From elsewhere, and from there for somebody else.
        assert_eq!(throttle.check("192.0.2.2", "ada", at(100)), Ok(()));
        assert_eq!(throttle.check("192.0.2.1", "bob", at(100)), Ok(()));
        throttle.passed("192.0.2.1", "ada", at(100));
        assert_eq!(throttle.check("192.0.2.1", "ada", at(100)), Ok(()));
    }

    /// req: AUTHN-11 (part)
    #[test]
    fn s9_strangers_cannot_lock_somebody_out_for_long() {
        let throttle = Throttle::default();
        for source in 0..100_u32 {
            throttle.failed(&format!("198.51.100.{source}"), "ada", at(100));
        }
        let refused = throttle.check("192.0.2.1", "ada", at(100)).unwrap_err();
        assert!(refused.until <= at(101), "{refused}");
        assert_eq!(throttle.check("192.0.2.1", "ada", at(101)), Ok(()));
    }

    /// Nor at all where they came in lately; guesses from there are as few as before.
    #[test]
    fn s9_strangers_do_not_lock_somebody_out_where_they_are_known() {
        let throttle = Throttle::default();
        throttle.passed("192.0.2.1", "ada", at(50));
        for source in 0..100_u32 {
            throttle.failed(&format!("198.51.100.{source}"), "ada", at(100));
        }
        assert_eq!(throttle.check("192.0.2.1", "ada", at(100)), Ok(()));
        assert!(throttle.check("192.0.2.2", "ada", at(100)).is_err());
        for _ in 0..5 {
            throttle.failed("192.0.2.1", "ada", at(100));
        }
        assert!(throttle.check("192.0.2.1", "ada", at(100)).is_err());
        let late = at(50).plus(KNOWN);
        for source in 0..100_u32 {
            throttle.failed(&format!("198.51.100.{source}"), "ada", late);
        }
        assert!(throttle.check("192.0.2.1", "ada", late).is_err());
    }

    #[test]
    fn what_is_taken_is_counted_at_once() {
        let limits = Limits {
            source: Limit { burst: 2, every: 10_000 },
            pair: Limit { burst: 2, every: 10_000 },
            user: Limit { burst: 3, every: 1_000 },
        };
        let throttle = Throttle::new(limits);
        let take = |source| throttle.take(source, "all", at(100)).map_err(|many| many.until);
        assert_eq!((take("192.0.2.1"), take("192.0.2.1")), (Ok(()), Ok(())));
        assert_eq!(take("192.0.2.1"), Err(at(110)));
        assert_eq!((take("192.0.2.2"), take("192.0.2.3")), (Ok(()), Err(at(101))));
    }

    #[test]
    fn s9_one_source_that_tries_many_names_waits_too() {
        let throttle = Throttle::default();
        for name in 0..30 {
            throttle.failed("2001:db8::1", &format!("user-{name}"), at(100));
        }
        assert!(throttle.check("2001:db8::ffff", "ada", at(100)).is_err());
        assert_eq!(throttle.check("2001:db8:0:1::1", "ada", at(100)), Ok(()));
    }

    #[test]
    fn s9_where_nobody_is_named_nobody_else_waits() {
        let throttle = Throttle::default();
        for source in 0..200_u32 {
            throttle.failed(&format!("198.51.100.{source}"), "", at(100));
        }
        assert_eq!(throttle.check("192.0.2.1", "", at(100)), Ok(()));
    }

    #[test]
    fn the_counts_are_bounded() {
        let throttle = Throttle::default();
        for name in 0..KEYS_MAX + 10 {
            throttle.failed("192.0.2.1", &name.to_string(), at(100));
        }
        assert!(throttle.lock().failed.iter().all(|count| count.len() <= KEYS_MAX));
    }
}
