//! Times as Intel writes them: `2025-06-19T10:16:03Z` (PCS API 4.0: "ISO 8601 date and time, in
//! UTC").

use time::UnixTime;

/// The instant of the text, if it is one after 1970.
pub(super) fn instant(text: &str) -> Option<UnixTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(time, ':')?);
    let possible = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !possible {
        return None;
    }
    // Years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // Days from 0000-03-01 to 1970-01-01.
    let days = days.checked_sub(719_468)?;
    Some(UnixTime::from_seconds(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

fn three(text: &str, by: char) -> Option<[u64; 3]> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Option<Vec<u64>> =
        text.split(by).map(|part| part.parse().ok().filter(|_| digits(part))).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcs_times_are_read_or_not_at_all() {
        for (text, expect) in [
            ("2025-06-19T10:16:03Z", Some(1_750_328_163)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59Z", None),
            ("2025-13-01T00:00:00Z", None),
            ("2025-06-19T24:00:00Z", None),
            ("2025-06-19T10:16:03", None),
            ("2025-06-19T10:16:03+01:00", None),
            ("2025-06-19 10:16:03Z", None),
            ("+2025-06-19T10:16:03Z", None),
            ("", None),
        ] {
            assert_eq!(instant(text).map(UnixTime::seconds), expect, "{text}");
        }
    }
}
