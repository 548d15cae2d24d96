//! Numbers that stay what they are when they are read and written again.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::canonical::{self, Members, NotCanonical};

/// Longest path that an error repeats, in characters.
const PATH_CHARS_MAX: usize = 256;

/// A number that not every reader reads alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the number `{number}` of `{member}` is not one that every reader reads alike")]
pub struct OddNumber {
    /// Where it stands: `a.b[0]`.
    pub member: String,
    /// As it was written.
    pub number: String,
}

/// Refuses a text with a number that its canonical form (RFC 8785) would make another one of. Who
/// reads the text to values and writes these has the same numbers then.
///
/// It works on the text, which must be one that [`crate::text`] let pass.
pub fn keeps_numbers(text: &str) -> Result<(), OddNumber> {
    let Ok(value) = serde_json::from_str::<&RawValue>(text) else { return Ok(()) };
    walk(value, &mut String::new())
}

fn walk(value: &RawValue, path: &mut String) -> Result<(), OddNumber> {
    let (raw, here) = (value.get(), path.len());
    match raw.as_bytes().first() {
        Some(b'{') => {
            let Ok(Members(members)) = serde_json::from_str(raw) else { return Ok(()) };
            for (name, value) in members {
                if here > 0 {
                    path.push('.');
                }
                path.push_str(&name);
                walk(value, path)?;
                path.truncate(here);
            }
        }
        Some(b'[') => {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw) else { return Ok(()) };
            for (at, value) in items.into_iter().enumerate() {
                // Writing to a string does not fail.
                let _ = write!(path, "[{at}]");
                walk(value, path)?;
                path.truncate(here);
            }
        }
        Some(b'-' | b'0'..=b'9') if !is_kept(raw) => {
            let shown = |text: &str| text.chars().take(PATH_CHARS_MAX).collect();
            return Err(OddNumber { member: shown(path), number: shown(raw) });
        }
        _ => {}
    }
    Ok(())
}

/// Whether the number means the same in its canonical form, of the text and of the value read.
fn is_kept(raw: &str) -> bool {
    // RFC 7493 §2.2: "An I-JSON sender cannot expect a receiver to treat an integer whose absolute
    // value is greater than 9007199254740991 (i.e., that is outside the range [-(2**53)+1,
    // (2**53)-1]) as an exact value."
    let same = |text: Result<String, NotCanonical>| {
        text.is_ok_and(|text| decimal(&text).is_some_and(|found| Some(found) == decimal(raw)))
    };
    let read = serde_json::from_str::<Value>(raw).map(|value| value.to_string());
    same(canonical::canonical(raw, &[]))
        && read.is_ok_and(|text| same(canonical::canonical(&text, &[])))
}

/// A number as its digits, none of them a zero at an end, and the power of ten of the last one.
fn decimal(raw: &str) -> Option<(bool, Cow<'_, str>, i64)> {
    let (negative, plain) = raw.strip_prefix('-').map_or((false, raw), |plain| (true, plain));
    let (mantissa, exponent) = plain.split_once(['e', 'E']).unwrap_or((plain, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i64 = exponent.parse().ok()?;
    let digits = format!("{whole}{part}");
    let short = digits.trim_end_matches('0');
    let digits_cut = i64::try_from(digits.len() - short.len()).ok()?;
    let significant = short.trim_start_matches('0').to_owned();
    if significant.is_empty() {
        return Some((false, Cow::Borrowed("0"), 0));
    }
    let power = exponent.checked_sub(i64::try_from(part.len()).ok()?)?.checked_add(digits_cut)?;
    Some((negative, Cow::Owned(significant), power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn odd(text: &str) -> Option<(String, String)> {
        keeps_numbers(text).err().map(|odd| (odd.member, odd.number))
    }

    #[test]
    fn rfc7493_2_2_a_number_that_others_read_otherwise_is_refused() {
        for kept in [
            "0",
            "-0",
            "0.0",
            "1.0",
            "-7.50",
            "5",
            "0.1",
            "1e20",
            "1E+2",
            "1.5e-7",
            "5e-324",
            "9007199254740991",
            "-9007199254740991",
            "9007199254740992.0",
            "1.7976931348623157e308",
            "123456.789",
            "0.30000000000000004",
            "333333333.3333332",
        ] {
            assert_eq!(odd(kept), None, "{kept}");
        }
        for number in [
            "100000000000000000001",
            "100000000000000000000",
            "9007199254740992",
            "-9007199254740993",
            "100000000000000000000.5",
            "1.00000000000000000001e20",
            "0.1000000000000000000001",
            "9007199254740993.0",
            "1e-400",
            "2e-324",
            "1e400",
            "1e99999999999999999999",
            "18446744073709551615",
        ] {
            assert_eq!(odd(number), Some((String::new(), number.to_owned())), "{number}");
        }
    }

    #[test]
    fn rfc7493_2_2_the_member_is_named() {
        let text = r#"{"a":{"b.c":[1,{"d":2},3e400]},"e":1e400,"f":"1e400"}"#;
        assert_eq!(odd(text), Some(("a.b.c[2]".to_owned(), "3e400".to_owned())));
        assert_eq!(odd(r#"{"f":"1e400","g":[true,null,"9007199254740993"]}"#), None);
    }

    proptest! {
        /// What is let pass is the same after it was read and written.
        #[test]
        fn rfc8785_a_number_that_is_kept_has_one_text(
            one in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?",
            other in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?",
        ) {
            if odd(&one).is_none() {
                let value: Value = serde_json::from_str(&one).unwrap();
                let text = canonical::canonical(&value.to_string(), &[]).unwrap();
                prop_assert_eq!(decimal(&text), decimal(&one));
            }
            let text = |raw: &str| canonical::canonical(raw, &[]).ok();
            if odd(&one).is_none() && odd(&other).is_none() && text(&one) == text(&other) {
                prop_assert_eq!(decimal(&one), decimal(&other));
            }
        }
    }
}
