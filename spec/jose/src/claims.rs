//! Claims that every kind of token shares (RFC 7519 §4.1).

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::UnixTime;

/// 9999-12-31T23:59:59Z, the last instant that RFC 3339 can write.
const MAX_SECONDS: u64 = 253_402_300_799;
/// Values of one `aud`.
const MAX_AUDIENCES: usize = 16;
/// Bytes of one value of `aud`.
const MAX_AUDIENCE_BYTES: usize = 2_048;

/// Seconds since 1970-01-01T00:00:00Z. Fractions are read, to the millisecond, and never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumericDate(UnixTime);

impl NumericDate {
    /// `seconds` after the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(UnixTime::from_seconds(seconds))
    }

    /// The second that `time` lies in.
    pub const fn from_time(time: UnixTime) -> Self {
        Self(UnixTime::from_seconds(time.seconds()))
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> u64 {
        self.0.seconds()
    }

    /// The instant.
    pub const fn time(self) -> UnixTime {
        self.0
    }
}

impl Serialize for NumericDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.seconds())
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // RFC 7519 §4.1.4: "Its value MUST be a number containing a NumericDate value." A string
        // is refused, never taken for an absent claim.
        deserializer.deserialize_any(DateVisitor)
    }
}

struct DateVisitor;

impl Visitor<'_> for DateVisitor {
    type Value = NumericDate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds since 1970")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
        if seconds > MAX_SECONDS {
            return Err(E::custom("a date after the year 9999"));
        }
        Ok(NumericDate::from_seconds(seconds))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<NumericDate, E> {
        let seconds = u64::try_from(seconds).map_err(|_| E::custom("a date before 1970"))?;
        self.visit_u64(seconds)
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
        // RFC 7519 §2: "other than that non-integer values can be represented."
        if !(0.0..=MAX_SECONDS as f64).contains(&seconds) {
            return Err(E::custom("a date out of range"));
        }
        // In range, so that the cast only rounds down.
        Ok(NumericDate(UnixTime::from_millis((seconds * 1_000.0) as u64)))
    }
}

/// `aud`: whom the token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Written as a string.
    One(String),
    /// Written as an array of strings, never empty.
    Several(Vec<String>),
}

impl Audience {
    /// The audience of one value.
    pub fn one(value: impl Into<String>) -> Self {
        Self::One(value.into())
    }

    /// Whether `value` is one of the values, compared character by character.
    pub fn contains(&self, value: &str) -> bool {
        self.iter().any(|audience| audience == value)
    }

    /// The value, if there is exactly one.
    pub fn sole(&self) -> Option<&str> {
        let mut values = self.iter();
        values.next().filter(|_| values.next().is_none())
    }

    /// All values, as they stand.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let values = match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values.as_slice(),
        };
        values.iter().map(String::as_str)
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named(self.iter()))
    }
}

/// How many values of others an error repeats, and how much of each.
const NAMED_MAX: usize = 4;
const NAMED_CHARS_MAX: usize = 200;

/// Values that somebody else wrote, for people: each in backticks, without what is not seen, and no
/// more than can be read; `nothing` where there is none.
pub fn named<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let mut values = values.into_iter();
    let seen = |letter: &char| !letter.is_control() && *letter != '`';
    let one = |value: &str| {
        let shown: String = value.chars().filter(seen).take(NAMED_CHARS_MAX).collect();
        format!("`{shown}`")
    };
    let mut shown: Vec<_> = values.by_ref().take(NAMED_MAX).map(one).collect();
    match (shown.is_empty(), values.count()) {
        (true, _) => return "nothing".to_owned(),
        (false, 0) => {}
        (false, more) => shown.push(format!("{more} more")),
    }
    shown.join(", ")
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(value) => value.serialize(serializer),
            Self::Several(values) => values.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AudienceVisitor)
    }
}

struct AudienceVisitor;

impl<'de> Visitor<'de> for AudienceVisitor {
    type Value = Audience;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Audience, E> {
        bounded(value.to_owned()).map(Audience::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Audience, A::Error> {
        // RFC 7519 §4.1.3: "In the general case, the "aud" value is an array of case-sensitive
        // strings, each containing a StringOrURI value."
        let mut several = Vec::new();
        while let Some(value) = values.next_element::<String>()? {
            if several.len() >= MAX_AUDIENCES {
                return Err(de::Error::custom("too many audiences"));
            }
            several.push(bounded(value)?);
        }
        if several.is_empty() {
            return Err(de::Error::custom("no audience"));
        }
        Ok(Audience::Several(several))
    }
}

fn bounded<E: de::Error>(value: String) -> Result<String, E> {
    if value.is_empty() || value.len() > MAX_AUDIENCE_BYTES {
        return Err(E::custom("an audience of no or of too many bytes"));
    }
    Ok(value)
}

/// When a token holds, as its claims say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    pub exp: Option<NumericDate>,
    pub nbf: Option<NumericDate>,
    pub iat: Option<NumericDate>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Result<u64, String> {
        serde_json::from_str::<NumericDate>(text)
            .map(|date| date.time().millis())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn rfc7519_2_dates_are_numbers() {
        assert_eq!(date("0"), Ok(0));
        assert_eq!(date("1300819380"), Ok(1_300_819_380_000));
        assert_eq!(date("1300819380.25"), Ok(1_300_819_380_250));
        assert_eq!(date("1.30081938e9"), Ok(1_300_819_380_000));
        assert_eq!(date("253402300799"), Ok(253_402_300_799_000));
        for refused in [
            "\"1300819380\"",
            "-1",
            "-0.5",
            "253402300800",
            "1e300",
            "18446744073709551616",
            "true",
            "[1]",
            "{}",
            "null",
        ] {
            assert!(date(refused).is_err(), "{refused}");
        }
        let date: NumericDate = serde_json::from_str("12.9").unwrap();
        assert_eq!(serde_json::to_string(&date).unwrap(), "12");
    }

    #[test]
    fn rfc7519_4_1_3_audience_is_a_string_or_an_array() {
        let audience = |text: &str| serde_json::from_str::<Audience>(text).ok();
        let one = audience("\"https://a\"").unwrap();
        assert_eq!((one.sole(), one.contains("https://a")), (Some("https://a"), true));
        assert_eq!(serde_json::to_string(&one).unwrap(), "\"https://a\"");
        let single = audience("[\"a\"]").unwrap();
        assert_eq!(single.sole(), Some("a"));
        assert_eq!(serde_json::to_string(&single).unwrap(), "[\"a\"]");
        let two = audience("[\"a\",\"b\"]").unwrap();
        assert_eq!((two.sole(), two.contains("b"), two.contains("B")), (None, true, false));
        let many = format!("[{}]", vec!["\"a\""; MAX_AUDIENCES + 1].join(","));
        let long = format!("\"{}\"", "a".repeat(MAX_AUDIENCE_BYTES + 1));
        for refused in ["[]", "\"\"", "[\"\"]", "1", "null", "{}", "[1]", "[[\"a\"]]", &many, &long]
        {
            assert_eq!(audience(refused), None, "{refused}");
        }
    }

    #[test]
    fn what_others_wrote_is_shown_for_people() {
        let several = |values: &[&str]| {
            Audience::Several(values.iter().map(|one| (*one).to_owned()).collect()).to_string()
        };
        assert_eq!(Audience::one("https://a.example").to_string(), "`https://a.example`");
        assert_eq!(several(&["a", "b"]), "`a`, `b`");
        assert_eq!(several(&["a", "b", "c", "d", "e", "f"]), "`a`, `b`, `c`, `d`, 2 more");
        assert_eq!(named(None), "nothing");
        assert_eq!(named(Some("a`\n\u{1b}[31mb")), "`a[31mb`");
        assert_eq!(named(Some("x".repeat(500).as_str())).len(), NAMED_CHARS_MAX + 2);
    }
}
