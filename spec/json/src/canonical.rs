//! The canonical form of a JSON value ([RFC 8785](https://www.rfc-editor.org/rfc/rfc8785)): the one
//! text that everybody writes for it, so that it can be signed.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Unreadable;

/// Digits before the point up to which a number is written without an exponent.
const PLAIN_DIGITS_MAX: i32 = 21;
/// Zeros behind the point from which on a number is written with an exponent.
const LEADING_ZEROS_MAX: i32 = 6;
/// RFC 7493 §2.2: integers beyond "[-(2**53)+1, (2**53)-1]" are not read alike by everyone.
const INTEGER_MAX: u128 = (1 << 53) - 1;

/// The canonical text of the value that `text` is, less the members named in `without` if it is an
/// object. `text` must be one that [`crate::text`] let pass.
///
/// It works on the text, since a number that was read and is written again may be another one.
pub fn canonical(text: &str, without: &[&str]) -> Result<String, NotCanonical> {
    let mut written = String::with_capacity(text.len());
    let value = serde_json::from_str(text).map_err(unread)?;
    write(value, without, &mut written)?;
    Ok(written)
}

/// Why a value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// RFC 8785 §3.2.2.3: such numbers "MUST cause a compliant JCS implementation to terminate".
    #[error("the number `{number}` is not one that every reader reads alike")]
    Number { number: String },
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

fn unread(error: serde_json::Error) -> NotCanonical {
    Unreadable::NotJson { reason: error.to_string() }.into()
}

/// The members of an object, each value as its own text.
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    members.push((name.into_owned(), value));
                }
                Ok(Members(members))
            }
        }
        reader.deserialize_map(Collect)
    }
}

fn write(value: &RawValue, without: &[&str], text: &mut String) -> Result<(), NotCanonical> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => {
            let string: Cow<'_, str> = serde_json::from_str(raw).map_err(unread)?;
            write_string(&string, text);
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(unread)?;
            text.push('[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, &[], text)?;
            }
            text.push(']');
        }
        Some(b'{') => {
            let Members(mut members) = serde_json::from_str(raw).map_err(unread)?;
            members.retain(|(name, _)| !without.contains(&name.as_str()));
            write_object(members, text)?;
        }
        Some(b'-' | b'0'..=b'9') => write_number(raw, text)?,
        _ => text.push_str(raw),
    }
    Ok(())
}

fn write_object(
    mut members: Vec<(String, &RawValue)>,
    text: &mut String,
) -> Result<(), NotCanonical> {
    // RFC 8785 §3.2.3: "The sorting process is applied to property name strings [...] formatted as
    // arrays of UTF-16 code units."
    members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    text.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(&name, text);
        text.push(':');
        write(value, &[], text)?;
    }
    text.push('}');
    Ok(())
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        match character {
            // RFC 8785 §3.2.2.2: "If the Unicode value falls within the traditional ASCII control
            // character range (U+0000 through U+001F), it MUST be serialized using lowercase
            // hexadecimal Unicode notation (\uhhhh) unless it is in the set of predefined JSON
            // control characters"
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            control if control < ' ' => {
                text.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

fn write_number(raw: &str, text: &mut String) -> Result<(), NotCanonical> {
    let refused = || NotCanonical::Number { number: raw.to_owned() };
    // RFC 8785 §3.2.2.3: "ECMAScript builds on the IEEE 754 double-precision standard for
    // representing JSON number type data." An integer that is no double would be another one.
    let value: f64 =
        raw.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(refused)?;
    let whole = raw.trim_start_matches('-');
    if whole.bytes().all(|byte| byte.is_ascii_digit())
        && whole.parse::<u128>().ok().is_none_or(|whole| whole > INTEGER_MAX)
    {
        return Err(refused());
    }
    if value == 0.0 {
        text.push('0');
        return Ok(());
    }
    if value < 0.0 {
        text.push('-');
    }
    let (digits, exponent) = shortest(value.abs()).ok_or_else(refused)?;
    write_digits(&digits, exponent + 1, text);
    Ok(())
}

/// The shortest digits that read as the same number, and the power of ten of the first.
fn shortest(value: f64) -> Option<(String, i32)> {
    let read = |scientific: &str| {
        let (mantissa, exponent) = scientific.split_once('e')?;
        let digits = mantissa.chars().filter(|character| *character != '.').collect::<String>();
        Some((digits, exponent.parse().ok()?))
    };
    let found = read(&format!("{value:e}"))?;
    // ECMA-262 §6.1.6.1.20: "If there are multiple possibilities for n, choose the value of n for
    // which n [...] is closest in value to x. If there are two such possible values of n, choose
    // the one that is even."
    let even = format!("{value:.*e}", found.0.len().saturating_sub(1));
    if even.parse() == Ok(value) { read(&even) } else { Some(found) }
}

/// ECMA-262 §6.1.6.1.20, steps 6 to 12: `digits` with the point after so many of them.
fn write_digits(digits: &str, point: i32, text: &mut String) {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    if count <= point && point <= PLAIN_DIGITS_MAX {
        text.push_str(digits);
        text.push_str(&zeros(point - count));
    } else if 0 < point && point <= PLAIN_DIGITS_MAX {
        let (before, after) = digits.split_at(usize::try_from(point).unwrap_or_default());
        text.push_str(&format!("{before}.{after}"));
    } else if -LEADING_ZEROS_MAX < point && point <= 0 {
        text.push_str(&format!("0.{}{digits}", zeros(-point)));
    } else {
        let (first, rest) = digits.split_at(1.min(digits.len()));
        let dot = if rest.is_empty() { "" } else { "." };
        let sign = if point > 0 { "+" } else { "-" };
        text.push_str(&format!("{first}{dot}{rest}e{sign}{}", (point - 1).abs()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, NotCanonical> {
        canonical(text, &[])
    }

    /// The files of cyberphone/json-canonicalization, testdata.
    #[test]
    fn rfc8785_published_vectors() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/jcs");
        for name in ["arrays", "french", "structures", "unicode", "values", "weird"] {
            let input = std::fs::read_to_string(format!("{folder}/{name}.input.json")).unwrap();
            let hex = std::fs::read_to_string(format!("{folder}/{name}.outhex.txt")).unwrap();
            let expect: Vec<u8> =
                hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
            assert_eq!(of(&input).unwrap().into_bytes(), expect, "{name}");
        }
    }

    /// RFC 8785 Appendix B.
    #[test]
    fn rfc8785_b_numbers() {
        for (bits, expect) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let number = format!("{:e}", f64::from_bits(bits));
            assert_eq!(of(&number).unwrap(), expect, "{bits:x}");
        }
    }

    #[test]
    fn members_are_left_out_at_the_top_alone() {
        let text = r#"{"b":1,"a":{"c":2},"c":3}"#;
        assert_eq!(canonical(text, &["c"]).unwrap(), r#"{"a":{"c":2},"b":1}"#);
        assert_eq!(canonical(r#"["c"]"#, &["c"]).unwrap(), r#"["c"]"#);
    }

    #[test]
    fn rfc8785_3_2_2_3_integers_that_are_no_doubles_are_refused() {
        assert_eq!(of("9007199254740991").unwrap(), "9007199254740991");
        assert_eq!(of("-9007199254740991").unwrap(), "-9007199254740991");
        for number in ["9007199254740992", "-9007199254740993", "18446744073709551615"] {
            let refused = NotCanonical::Number { number: number.to_owned() };
            assert_eq!(of(number), Err(refused));
        }
    }
}
