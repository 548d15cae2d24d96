//! Lengths of time as people write them: `10m`, `1h30m`.

use time::Span;

/// The longest that is read: ten years, in seconds.
const SECONDS_MAX: u64 = 10 * 365 * 86_400;

/// Reads one or more of number and unit (`s`, `m`, `h`, `d`), the larger units first.
pub fn parse(text: &str) -> Result<Span, NotASpan> {
    let mut seconds = 0_u64;
    let mut rest = text;
    let mut unit_before = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at_checked(digits).unwrap_or((rest, ""));
        let number: u64 = number.parse().map_err(|_| NotASpan::Form)?;
        let mut letters = after.chars();
        let unit = match letters.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            None => return Err(NotASpan::NoUnit),
            Some(_) => return Err(NotASpan::Form),
        };
        if unit >= unit_before {
            return Err(NotASpan::Form);
        }
        unit_before = unit;
        seconds = seconds.saturating_add(number.saturating_mul(unit));
        rest = letters.as_str();
    }
    match seconds {
        0 => Err(NotASpan::Zero),
        _ if seconds > SECONDS_MAX => Err(NotASpan::TooLong),
        _ => Ok(Span::from_seconds(seconds)),
    }
}

/// The span in its two largest units: `1h 30m`.
pub fn show(span: Span) -> String {
    let seconds = span.seconds();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut shown = Vec::new();
    for (unit, name) in units {
        let count = left / unit;
        left %= unit;
        if count > 0 {
            shown.push(format!("{count}{name}"));
        }
    }
    shown.truncate(2);
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

/// Why a text is no span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASpan {
    /// A number alone.
    #[error("the unit is missing: write `90s`, `10m`, `1h` or `1d`")]
    NoUnit,
    /// Anything else.
    #[error("not a length of time: write it like `90s`, `10m`, `1h30m`")]
    Form,
    /// No time at all.
    #[error("it must be longer than nothing")]
    Zero,
    /// Over ten years.
    #[error("more than ten years")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, expect) in [
            ("90s", Ok(90)),
            ("10m", Ok(600)),
            ("1h30m", Ok(5_400)),
            ("1d1s", Ok(86_401)),
            ("10", Err(NotASpan::NoUnit)),
            ("1h10", Err(NotASpan::NoUnit)),
            ("", Err(NotASpan::Zero)),
            ("0m", Err(NotASpan::Zero)),
            ("m", Err(NotASpan::Form)),
            ("-5m", Err(NotASpan::Form)),
            ("5 m", Err(NotASpan::Form)),
            ("5w", Err(NotASpan::Form)),
            ("1m1h", Err(NotASpan::Form)),
            ("1m1m", Err(NotASpan::Form)),
            ("99999d", Err(NotASpan::TooLong)),
            ("18446744073709551615d", Err(NotASpan::TooLong)),
            ("18446744073709551616s", Err(NotASpan::Form)),
        ] {
            assert_eq!(parse(text).map(Span::seconds), expect, "{text}");
        }
    }

    #[test]
    fn spans_are_shown_in_their_largest_units() {
        for (seconds, expect) in
            [(0, "0s"), (59, "59s"), (3_600, "1h"), (3_661, "1h 1m"), (90_061, "1d 1h")]
        {
            assert_eq!(show(Span::from_seconds(seconds)), expect);
        }
    }
}
