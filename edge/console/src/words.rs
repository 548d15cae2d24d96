//! Times as people read them.

use time::{Span, UnixTime};

/// An instant, to the minute.
pub(crate) fn moment(at: UnixTime) -> String {
    let text = at.to_string();
    let minute = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("{minute} UTC")
}

/// How long, in the largest unit that fits.
pub(crate) fn life(span: Span) -> String {
    const UNITS: &[(u64, &str)] =
        &[(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let seconds = span.seconds();
    let fits = |unit: &&(u64, &str)| seconds >= unit.0 && seconds.is_multiple_of(unit.0);
    let (unit, name) = UNITS.iter().find(fits).copied().unwrap_or((1, "second"));
    let many = seconds / unit;
    let plural = if many == 1 { "" } else { "s" };
    format!("{many} {name}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        for (seconds, told) in [
            (1, "1 second"),
            (60, "1 minute"),
            (90, "90 seconds"),
            (3_600, "1 hour"),
            (28_800, "8 hours"),
            (86_400, "1 day"),
            (2_592_000, "30 days"),
        ] {
            assert_eq!(life(Span::from_seconds(seconds)), told);
        }
        assert_eq!(moment(UnixTime::from_seconds(1_700_000_000)), "2023-11-14 22:13 UTC");
    }
}
