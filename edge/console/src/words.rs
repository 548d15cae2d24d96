//! Times and browsers as people read them.

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

/// Browsers by what they call themselves in `User-Agent`. Most name others too, so the first that
/// is found counts.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
];
/// What they run on, likewise.
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "a Mac"),
    ("Linux", "Linux"),
];

/// A browser by what it says of itself; what is not known stands as it came.
pub(crate) fn browser(agent: &str) -> String {
    let named = |all: &[(&str, &'static str)]| {
        all.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
    };
    match (named(BROWSERS), named(SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        _ => agent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_by_name() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/156.0.0.0 Safari/537.36";
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1";
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
                    Gecko) Chrome/150.0.0.0 Safari/537.36 Edg/150.0.0.0";
        let firefox = "Mozilla/5.0 (Macintosh; Intel Mac OS X 14.7; rv:150.0) Gecko/20100101 \
                       Firefox/150.0";
        for (agent, told) in [
            (chrome, "Chrome on Linux"),
            (iphone, "Safari on an iPhone"),
            (edge, "Edge on Windows"),
            (firefox, "Firefox on a Mac"),
            ("curl/8.0", "curl/8.0"),
        ] {
            assert_eq!(browser(agent), told);
        }
    }

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
