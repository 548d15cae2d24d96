//! What strangers may leave behind: rows and records that cost whoever asks for them nothing.
//!
//! A request that begins in a browser where nobody is signed in, one that a client pushes which
//! proves nothing but its name, and a question of its device are counted by source and over all. So
//! much may be there at once, and no more comes after it than is swept meanwhile. A person who is
//! signed in has a share of their own.
//!
//! The counts are those of one process, and end with it.

use time::UnixTime;

use crate::throttle::{Limit, Limits, Throttle, TooMany, network};

/// Requests that begin in browsers where nobody is signed in: of one source, which may be a whole
/// company that comes to work.
pub const BEGUN_OF_SOURCE: Limit = Limit { burst: 300, every: 200 };
/// The same over all sources. A source where somebody went on signed in lately is not kept out by
/// this: whoever floods the server elsewhere locks nobody out there.
pub const BEGUN_OVER_ALL: Limit = Limit { burst: 5_000, every: 40 };
/// Requests that begin in the browsers of one person who is signed in.
pub const BEGUN_OF_PERSON: Limit = Limit { burst: 300, every: 1_000 };
/// Requests that clients push which prove nothing but their name: of one source.
pub const PUSHED_OF_SOURCE: Limit = Limit { burst: 300, every: 200 };
/// The same over all sources.
pub const PUSHED_OVER_ALL: Limit = Limit { burst: 5_000, every: 10 };
/// Questions of devices whose client proves nothing but its name: of that client at one source.
pub const DEVICES_OF_CLIENT: Limit = Limit { burst: 20, every: 15_000 };
/// The same of all clients at one source.
pub const DEVICES_OF_SOURCE: Limit = Limit { burst: 60, every: 5_000 };
/// The same over all sources.
pub const DEVICES_OVER_ALL: Limit = Limit { burst: 1_000, every: 500 };

/// What is counted over all sources.
const ALL: &str = "all";

/// The counts.
#[derive(Debug)]
pub struct Shares {
    begun: Throttle,
    persons: Throttle,
    pushed: Throttle,
    devices: Throttle,
    clients: Throttle,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            begun: throttle(BEGUN_OF_SOURCE, BEGUN_OVER_ALL),
            persons: throttle(BEGUN_OF_PERSON, BEGUN_OF_PERSON),
            pushed: throttle(PUSHED_OF_SOURCE, PUSHED_OVER_ALL),
            devices: throttle(DEVICES_OF_SOURCE, DEVICES_OVER_ALL),
            clients: throttle(DEVICES_OF_CLIENT, DEVICES_OF_CLIENT),
        }
    }
}

fn throttle(source: Limit, user: Limit) -> Throttle {
    Throttle::new(Limits { source, pair: source, user })
}

impl Shares {
    /// One more request begins in a browser: of `person`, where somebody is signed in there.
    pub fn begin(&self, source: &str, person: Option<&str>, now: UnixTime) -> Result<(), TooMany> {
        match person {
            None => self.begun.take(source, ALL, now),
            Some(person) => {
                self.persons.take(person, "", now)?;
                self.begun.passed(source, ALL, now);
                Ok(())
            }
        }
    }

    /// One more request is pushed by a client that proves nothing but its name.
    pub fn push(&self, source: &str, now: UnixTime) -> Result<(), TooMany> {
        self.pushed.take(source, ALL, now)
    }

    /// One more device asks, whose client proves nothing but its name.
    pub fn ask(&self, source: &str, client: &str, now: UnixTime) -> Result<(), TooMany> {
        self.clients.take(&format!("{}\0{client}", network(source)), "", now)?;
        self.devices.take(source, ALL, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

    /// How many of `tries` are let.
    fn count(tries: u32, one: impl Fn(u32) -> Result<(), TooMany>) -> u32 {
        (0..tries).map(|try_| u32::from(one(try_).is_ok())).sum()
    }

    #[test]
    fn a_source_has_its_share_and_all_have_theirs() {
        let shares = Shares::default();
        let of = |source: u32| format!("192.0.{}.{}", source / 256, source % 256);
        assert_eq!(count(900, |_| shares.begin(&of(0), None, NOW)), BEGUN_OF_SOURCE.burst);
        assert_eq!(count(900, |_| shares.push(&of(0), NOW)), PUSHED_OF_SOURCE.burst);
        // From many at once no more than the share of all.
        let over = BEGUN_OVER_ALL.burst - BEGUN_OF_SOURCE.burst;
        assert_eq!(count(9_000, |try_| shares.begin(&of(1 + try_ / 50), None, NOW)), over);
        let over = PUSHED_OVER_ALL.burst - PUSHED_OF_SOURCE.burst;
        assert_eq!(count(9_000, |try_| shares.push(&of(1 + try_ / 50), NOW)), over);
    }

    /// Whoever floods the server elsewhere keeps nobody out where people come and go.
    #[test]
    fn where_somebody_is_signed_in_strangers_elsewhere_lock_nobody_out() {
        let shares = Shares::default();
        let of = |source: u32| format!("192.0.{}.{}", source / 256, source % 256);
        shares.begin("198.51.100.7", Some("user:ada"), NOW).unwrap();
        count(9_000, |try_| shares.begin(&of(try_ / 50), None, NOW));
        assert!(shares.begin("198.51.100.8", None, NOW).is_err());
        shares.begin("198.51.100.7", None, NOW).unwrap();
        // A person has a share of their own, wherever they are.
        let ada = |try_| shares.begin(&of(try_), Some("user:ada"), NOW);
        assert_eq!(count(1_000, ada), BEGUN_OF_PERSON.burst - 1);
        shares.begin("198.51.100.7", Some("user:bob"), NOW).unwrap();
    }

    #[test]
    fn rfc8628_5_devices_of_one_client_at_one_source_are_few() {
        let shares = Shares::default();
        let one = count(100, |_| shares.ask("192.0.2.1", "client-1", NOW));
        assert_eq!(one, DEVICES_OF_CLIENT.burst);
        shares.ask("192.0.2.2", "client-1", NOW).unwrap();
        let more = count(100, |try_| {
            let client = format!("client-{}", 2 + try_ / 10);
            shares.ask("192.0.2.1", &client, NOW)
        });
        assert_eq!(more, DEVICES_OF_SOURCE.burst - DEVICES_OF_CLIENT.burst);
    }
}
