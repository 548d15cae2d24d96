//! An instant, as tokens, certificates and records write it: seconds since 1970-01-01T00:00:00Z
//! (`NumericDate`, [RFC 7519 §2](https://www.rfc-editor.org/rfc/rfc7519#section-2)) and its text
//! form ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339)).
//!
//! In scope: the value, its arithmetic, its two forms, read and written. Not here: a clock. Time is
//! an argument everywhere above; `env::Clock` is the only way to learn it.

mod text;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds in a second.
const MILLIS: u64 = 1_000;
/// Seconds in a day.
const DAY_SECONDS: u64 = 86_400;

/// An instant, in milliseconds since the epoch, without leap seconds; never before 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The epoch itself.
    pub const EPOCH: Self = Self(0);

    /// The instant `seconds` after the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(MILLIS))
    }

    /// The instant `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> u64 {
        self.0 / MILLIS
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Reads the text form of RFC 3339, to the millisecond. `None` for any other text, for a date
    /// that the calendar does not have, and for an instant before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        text::parse(text)
    }

    /// This instant and `span` more.
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// This instant less `span`, not before the epoch.
    pub const fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// RFC 3339 §5.6, in UTC with milliseconds: `2026-11-21T00:13:33.000Z`.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        let (year, month, day) = civil(seconds / DAY_SECONDS);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let millis = self.0 % MILLIS;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// In documents of our own: milliseconds, as a number. (Tokens write seconds: `jose` does that.)
impl Serialize for UnixTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for UnixTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

/// A length of time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `seconds` seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(MILLIS))
    }

    /// `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Whole seconds, rounded down.
    pub const fn seconds(self) -> u64 {
        self.0 / MILLIS
    }

    /// Milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The same span for a timer of the standard library.
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// A span is written in seconds where people and policies write it.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.seconds())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_seconds)
    }
}

/// Year, month and day of the day `days` after the epoch, in the Gregorian calendar: whole
/// cycles of 400 years of 146,097 days each, counted from 1 March so that a leap day ends a year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days from 0000-03-01 to the epoch
    let (cycle, of_cycle) = (shifted / 146_097, shifted % 146_097);
    let of_years = of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096;
    let year = of_years / 365;
    let day_of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_5_6_instants_are_written_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_745_509_900, "2025-04-24T15:51:40.000Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(UnixTime::from_seconds(seconds).to_string(), text);
        }
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let late = UnixTime::from_millis(u64::MAX);
        assert_eq!(late.plus(Span::from_seconds(1)), late);
        assert_eq!(UnixTime::EPOCH.minus(Span::from_seconds(1)), UnixTime::EPOCH);
        assert_eq!(UnixTime::EPOCH.since(late), Span::ZERO);
    }
}
