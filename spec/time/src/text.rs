//! Reading the text form of an instant (RFC 3339 §5.6).

use crate::{DAY_SECONDS, UnixTime};

/// Longest text that is read: nine digits of a second and an offset.
const TEXT_BYTES_MAX: usize = 40;
/// Days from 0000-03-01 to the epoch.
const DAYS_TO_EPOCH: u64 = 719_468;

pub(crate) fn parse(text: &str) -> Option<UnixTime> {
    if text.len() > TEXT_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    // RFC 3339 §5.6: "date-time = full-date "T" full-time", where "T" and "Z" "may alternatively
    // be lower case"
    let (date, time) = text.split_once(['T', 't'])?;
    let days = read_date(date)?;
    let (clock, offset_seconds) = split_offset(time)?;
    let (clock, millis) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, read_fraction(fraction)?),
        None => (clock, 0),
    };
    let seconds = (days * DAY_SECONDS).checked_add(read_clock(clock)?)?;
    let seconds = seconds.checked_add_signed(-offset_seconds)?;
    Some(UnixTime::from_millis(seconds.checked_mul(1_000)?.checked_add(millis)?))
}

/// Days after the epoch.
fn read_date(date: &str) -> Option<u64> {
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let from_march = if month > 2 { month.checked_sub(3)? } else { month.checked_add(9)? };
    let year_from_march = if month > 2 { year } else { year.checked_sub(1)? };
    let day_of_year = (153 * from_march + 2) / 5 + day.checked_sub(1)?;
    let leaps = year_from_march / 4 - year_from_march / 100 + year_from_march / 400;
    let days = (365 * year_from_march + leaps + day_of_year).checked_sub(DAYS_TO_EPOCH)?;
    // A month or a day that does not exist comes back as another.
    (crate::civil(days) == (year, month, day)).then_some(days)
}

fn read_clock(clock: &str) -> Option<u64> {
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    // A leap second is not an instant here: seconds since the epoch do not count them.
    let in_range = hour < 24 && minute < 60 && second < 60 && parts.next().is_none();
    in_range.then_some(hour * 3_600 + minute * 60 + second)
}

/// The clock, and how many seconds it is ahead of UTC.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    // RFC 3339 §5.6: "time-numoffset = ("+" / "-") time-hour ":" time-minute"
    let (at, sign) = time.match_indices(['+', '-']).next()?;
    let (clock, offset) = time.split_at_checked(at)?;
    let (hour, minute) = offset.get(1..)?.split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    let seconds = i64::try_from(hour * 3_600 + minute * 60).ok()?;
    let seconds = if sign == "-" { -seconds } else { seconds };
    (hour < 24 && minute < 60).then_some((clock, seconds))
}

/// Milliseconds of a fraction; what is finer is cut off.
fn read_fraction(fraction: &str) -> Option<u64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |byte| u64::from(byte - b'0'));
    Some(digit(0) * 100 + digit(1) * 10 + digit(2))
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_5_6_the_forms_of_an_instant_are_read() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00.000Z", 951_782_400_000),
            ("2024-12-16T18:42:56.5Z", 1_734_374_576_500),
            ("2024-12-16t18:42:56.123456789z", 1_734_374_576_123),
            // RFC 3339 §5.8: the same instant, in another zone.
            ("1996-12-19T16:39:57-08:00", 851_042_397_000),
            ("1996-12-20T00:39:57Z", 851_042_397_000),
            ("1937-01-01T12:00:27.87+00:20", u64::MAX),
        ] {
            let expect = (millis != u64::MAX).then(|| UnixTime::from_millis(millis));
            assert_eq!(parse(text), expect, "{text}");
        }
    }

    #[test]
    fn rfc3339_5_6_other_texts_are_no_instants() {
        for text in [
            "",
            "2024-12-16",
            "2024-12-16 18:42:56Z",
            "2024-12-16T18:42:56",
            "2024-12-16T18:42Z",
            "2024-12-16T18:42:56.Z",
            "2024-12-16T18:42:56.1aZ",
            "2024-12-16T24:00:00Z",
            "2024-12-16T18:60:00Z",
            "1990-12-31T23:59:60Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-32T00:00:00Z",
            "24-12-16T18:42:56Z",
            "+024-12-16T18:42:56Z",
            "2024-12-16T18:42:56+24:00",
            "2024-12-16T18:42:56+0100",
            "2024-12-16T18:42:56ZZ",
            "0000-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2024-12-16T18:42:56.00000000000000000000000Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for seconds in (0..4_107_542_400).step_by(12_345_678) {
            let instant = UnixTime::from_seconds(seconds);
            assert_eq!(parse(&instant.to_string()), Some(instant));
        }
    }
}
