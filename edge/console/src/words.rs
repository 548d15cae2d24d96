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

/// What an action lets somebody do. Methods of HTTP are told as verbs, as RFC 9110 §9.3 means them;
/// tools by their names.
pub(crate) fn action(name: &str, read_only: bool) -> String {
    const VERBS: &[(&str, &str)] = &[
        ("GET", "read"),
        ("HEAD", "read"),
        ("POST", "send to"),
        ("PUT", "write"),
        ("PATCH", "change"),
        ("DELETE", "delete"),
    ];
    let request = name.split_once(' ').filter(|(_, path)| path.starts_with('/'));
    let verb = |method: &str| VERBS.iter().find(|(known, _)| *known == method);
    let Some((path, (_, verb))) = request.and_then(|(method, path)| Some((path, verb(method)?)))
    else {
        return if read_only { format!("{name} (changes nothing)") } else { name.to_owned() };
    };
    let what = match path.strip_suffix('*') {
        Some("/") => "anything there".to_owned(),
        Some(above) if above.ends_with('/') => format!("anything under {above}"),
        _ => path.to_owned(),
    };
    match (*verb, read_only) {
        ("read", true) => format!("read {what}"),
        ("read", false) => format!("read {what} (may change something)"),
        (verb, true) => format!("{verb} {what} (changes nothing)"),
        (verb, false) => format!("{verb} {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_told_in_words() {
        for (name, read_only, told) in [
            ("GET /*", true, "read anything there"),
            ("GET /*", false, "read anything there (may change something)"),
            ("GET /notes/*", true, "read anything under /notes/"),
            ("GET /notes", true, "read /notes"),
            ("POST /*", false, "send to anything there"),
            ("POST /search", true, "send to /search (changes nothing)"),
            ("DELETE /notes/*", false, "delete anything under /notes/"),
            ("REPORT /notes", false, "REPORT /notes"),
            ("list_invoices", true, "list_invoices (changes nothing)"),
            ("pay", false, "pay"),
            ("every other tool", false, "every other tool"),
        ] {
            assert_eq!(action(name, read_only), told);
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
