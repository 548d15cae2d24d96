//! Lengths of time as people write them: `10m`, `1h30m`.

use time::Span;

/// A day.
pub const DAY: Span = Span::from_seconds(86_400);
/// The longest that is read: ten years, in seconds.
const SECONDS_MAX: u64 = 10 * 365 * 86_400;

/// The same, for what is bounded by so many days: a text that is too long is refused in the words
/// that it was given in.
pub fn up_to_days(days: u64) -> impl Fn(&str) -> Result<Span, NotASpan> + Clone {
    move |text| {
        let span = parse(text)?;
        let longest = Span::from_seconds(DAY.seconds() * days);
        if span > longest { Err(NotASpan::Longer { longest }) } else { Ok(span) }
    }
}

/// The same, where a number alone is taken for seconds.
pub fn seconds_or_up_to_days(days: u64) -> impl Fn(&str) -> Result<Span, NotASpan> + Clone {
    let read = up_to_days(days);
    move |text| match text.bytes().all(|letter| letter.is_ascii_digit()) && !text.is_empty() {
        true => read(&format!("{text}s")),
        false => read(text),
    }
}

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
    /// Over what this may be.
    #[error("longer than {}, the most that is allowed", show(*.longest))]
    Longer {
        /// The most.
        longest: Span,
    },
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

    /// Defect: `--ttl 2d` was told that `life_seconds` is 172800, and one command of four wanted bare
    /// seconds.
    #[test]
    fn a_span_that_is_too_long_is_refused_in_the_words_of_its_user() {
        let bounded = |text: &str| up_to_days(1)(text).map_err(|why| why.to_string());
        assert_eq!(bounded("24h"), Ok(DAY));
        assert_eq!(bounded("2d"), Err("longer than 1d, the most that is allowed".to_owned()));
        assert_eq!(bounded("60"), Err(NotASpan::NoUnit.to_string()));
        let either = |text: &str| seconds_or_up_to_days(30)(text).map(Span::seconds);
        assert_eq!((either("86400"), either("1d")), (Ok(86_400), Ok(86_400)));
        let longest = Span::from_seconds(30 * 86_400);
        assert_eq!(either("2592001"), Err(NotASpan::Longer { longest }));
        assert_eq!((either(""), either("0")), (Err(NotASpan::Zero), Err(NotASpan::Zero)));
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
