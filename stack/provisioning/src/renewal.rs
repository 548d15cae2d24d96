//! When a credential is renewed: at half its life, spread by jitter (S1 §8; PROV-02).

use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

/// How far from half life a renewal may fall, as a share of the whole life: one tenth.
const JITTER_SHARE: u64 = 10;
/// How much shorter a pause between tries may be, as a share of it.
const SPREAD_SHARE: u64 = 4;
/// The first pause after a renewal that failed.
const RETRY_FIRST: Span = Span::from_seconds(1);
/// The longest pause between tries.
const RETRY_LONGEST: Span = Span::from_seconds(60);

/// The most troubles that a component tells of.
pub const TROUBLES_MAX: usize = 64;
/// The longest reason in one of them, in bytes.
pub const WHY_BYTES_MAX: usize = 256;

/// A renewal that fails at a component: what it holds works on, until it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Whose credential: the component's own identifier, or an agent's.
    pub subject: String,
    /// Since when it fails.
    pub since: UnixTime,
    /// When what is held ends.
    pub until: UnixTime,
    /// What the last try ended with.
    pub why: String,
}

/// What is heard of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// When it was last heard.
    pub at: UnixTime,
    /// Which renewals fail there, as it tells.
    pub troubles: Vec<Trouble>,
}

/// When to renew what lives from `from` to `until`: half its life, less up to a tenth of it by
/// `random`, so that what was issued together is not renewed together.
pub fn due(from: UnixTime, until: UnixTime, random: u16) -> UnixTime {
    let life = until.since(from).millis();
    let jitter = life / JITTER_SHARE * u64::from(random) / u64::from(u16::MAX);
    from.plus(Span::from_millis((life / 2).saturating_sub(jitter)))
}

/// The pause before try `attempt` (from 1) after failures: doubling, bounded, and never so long
/// that fewer than four tries are left before `until`.
pub fn retry_after(attempt: u32, now: UnixTime, until: UnixTime) -> Span {
    let doubled = RETRY_FIRST.millis().saturating_mul(1_u64 << attempt.saturating_sub(1).min(16));
    let quarter = until.since(now).millis() / 4;
    let floor = RETRY_FIRST.millis();
    Span::from_millis(doubled.min(RETRY_LONGEST.millis()).min(quarter.max(floor)))
}

/// A pause made shorter by up to a quarter of it, by `random`: those whose tries failed together,
/// as when a server stops, do not all come back together.
pub fn spread(pause: Span, random: u16) -> Span {
    let less = pause.millis() / SPREAD_SHARE * u64::from(random) / u64::from(u16::MAX);
    Span::from_millis(pause.millis().saturating_sub(less))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: PROV-02 (part)
    #[test]
    fn s8_renewal_falls_between_forty_and_fifty_percent_of_life() {
        let at = |random| due(UnixTime::from_seconds(100), UnixTime::from_seconds(1_100), random);
        assert_eq!(at(0), UnixTime::from_seconds(600));
        assert_eq!(at(u16::MAX), UnixTime::from_seconds(500));
    }

    #[test]
    fn s8_retries_back_off_but_leave_time_for_more() {
        let until = UnixTime::from_seconds(3_600);
        let pause =
            |attempt, now| retry_after(attempt, UnixTime::from_seconds(now), until).seconds();
        assert_eq!([pause(1, 0), pause(2, 0), pause(4, 0), pause(40, 0)], [1, 2, 8, 60]);
        assert_eq!(pause(40, 3_580), 5);
        assert_eq!(pause(40, 4_000), 1);
    }

    /// req: PROV-09 (part)
    #[test]
    fn s8_those_that_failed_together_do_not_come_back_together() {
        let spread = |random| spread(Span::from_seconds(8), random).millis();
        assert_eq!([spread(0), spread(u16::MAX / 2 + 1), spread(u16::MAX)], [8_000, 7_000, 6_000]);
    }
}
