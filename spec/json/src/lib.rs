//! Strict reading of JSON text ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)): it has one
//! meaning, that of I-JSON ([RFC 7493](https://www.rfc-editor.org/rfc/rfc7493)), or none.
//!
//! In scope: UTF-8, unique member names at every depth, paired surrogates, bounds, picking
//! members of one object, and the canonical form
//! ([RFC 8785](https://www.rfc-editor.org/rfc/rfc8785)). Not here: what the members mean (`spec/agentic`, `spec/authzen`), and
//! the headers, claims and keys of JOSE: they are short and bounded in breadth, and `spec/jose`
//! reads them in one pass without a table of names.

mod canonical;
mod numbers;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub use canonical::{NotCanonical, canonical};
pub use numbers::{OddNumber, keeps_numbers};

/// Names that only this program's own JSON library gives a meaning to.
const LIBRARY_PREFIX: &str = "$serde_json::private::";

/// Longest name that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest text, in bytes.
    pub bytes_max: usize,
    /// Deepest nesting of objects and arrays; the outermost is the first level.
    pub depth_max: usize,
}

/// Why a text is not JSON that every reader reads in the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("message of {bytes} bytes is longer than {max}")]
    TooLong { bytes: usize, max: usize },
    #[error("byte {at} is not UTF-8")]
    NotUtf8 { at: usize },
    #[error("not JSON: {reason}")]
    NotJson { reason: String },
    #[error("nested deeper than {max}")]
    TooDeep { max: usize },
    #[error("member `{name}` appears twice in one object")]
    Duplicate { name: String },
    #[error("member `{found}` differs from `{meant}` only in case")]
    LookAlike { found: String, meant: &'static str },
    #[error("member `{name}` is not allowed: its name is reserved")]
    Reserved { name: String },
    #[error("not an object")]
    NotAnObject,
}

/// The text of `bytes`, if it is one JSON value with one meaning.
pub fn text(bytes: &[u8], bounds: Bounds) -> Result<&str, Unreadable> {
    let Bounds { bytes_max: max, depth_max } = bounds;
    if bytes.len() > max {
        return Err(Unreadable::TooLong { bytes: bytes.len(), max });
    }
    // RFC 8259 §8.1: "JSON text exchanged between systems that are not part of a closed ecosystem
    // MUST be encoded using UTF-8"
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Unreadable::NotUtf8 { at: error.valid_up_to() })?;
    let refusal = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let scanned = Scan { depth: 0, depth_max, refusal: &refusal }.deserialize(&mut reader);
    match scanned.and_then(|()| reader.end()) {
        Ok(()) => Ok(text),
        Err(error) => Err(refusal
            .into_inner()
            .unwrap_or_else(|| Unreadable::NotJson { reason: error.to_string() })),
    }
}

/// The object that `bytes` are.
pub fn object(bytes: &[u8], bounds: Bounds) -> Result<Map<String, Value>, Unreadable> {
    match serde_json::from_str(text(bytes, bounds)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Unreadable::NotAnObject),
        Err(error) => Err(Unreadable::NotJson { reason: error.to_string() }),
    }
}

/// Whether the text of a value is an object.
pub fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// The members named in `wanted`, in that order, each as its own text.
///
/// `raw` must be an object of a text that [`text`] let pass.
pub fn members<'a, const N: usize>(
    raw: &'a RawValue,
    wanted: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Unreadable> {
    members_of(raw.get(), wanted)
}

/// [`members`] of a whole text.
pub fn members_of<'a, const N: usize>(
    text: &'a str,
    wanted: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Unreadable> {
    let refusal = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    Pick { wanted, refusal: &refusal }.deserialize(&mut reader).map_err(|error| {
        refusal.into_inner().unwrap_or_else(|| Unreadable::NotJson { reason: error.to_string() })
    })
}

/// The string a value is, or `None` when it is of another kind.
pub fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// A member name, not copied when it has no escapes.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Name<'_> {
    /// As much of the name as an error carries.
    fn shown(&self) -> String {
        self.0.chars().take(SHOWN_CHARS_MAX).collect()
    }
}

/// Walks one value and everything in it.
#[derive(Clone, Copy)]
struct Scan<'s> {
    depth: usize,
    depth_max: usize,
    refusal: &'s RefCell<Option<Unreadable>>,
}

impl Scan<'_> {
    /// The walk one level further in, while the bound lasts.
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= self.depth_max {
            return Err(refuse(self.refusal, Unreadable::TooDeep { max: self.depth_max }));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<Name<'de>>()? {
            if name.0.starts_with(LIBRARY_PREFIX) {
                let name = name.shown();
                return Err(refuse(self.refusal, Unreadable::Reserved { name }));
            }
            // RFC 7493 §2.3: "Objects in I-JSON messages MUST NOT have members with duplicate
            // names. In this context, 'duplicate' means that the names, after processing any
            // escaped characters, are identical sequences of Unicode characters."
            if seen.contains(&name) {
                let name = name.shown();
                return Err(refuse(self.refusal, Unreadable::Duplicate { name }));
            }
            seen.insert(name);
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// Picks members of one object and passes over the others.
struct Pick<'s, const N: usize> {
    wanted: [&'static str; N],
    refusal: &'s RefCell<Option<Unreadable>>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Pick<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(name) = members.next_key::<Name<'de>>()? {
            let exact = self.wanted.iter().zip(&mut found).find(|(wanted, _)| **wanted == name.0);
            if let Some((_, slot)) = exact {
                *slot = Some(members.next_value::<&'de RawValue>()?);
                continue;
            }
            // MCP 2026-07-28, Streamable HTTP, Server Validation: a mismatch "prevents potential
            // security vulnerabilities when different components in the network rely on different
            // sources of truth". Some JSON libraries match member names without regard to case:
            // to them `Name` after `name` is the name.
            if let Some(meant) = self.wanted.iter().find(|wanted| same_but_case(wanted, &name.0)) {
                let found = name.shown();
                return Err(refuse(self.refusal, Unreadable::LookAlike { found, meant }));
            }
            members.next_value::<IgnoredAny>()?;
        }
        Ok(found)
    }
}

/// Equal under simple case folding, by which U+017F is an `s` and U+212A a `k`.
fn same_but_case(wanted: &str, name: &str) -> bool {
    // A folded character has at most three bytes where the ASCII letter has one.
    name.len() <= 3 * wanted.len() && folded(wanted).eq(folded(name))
}

fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Keeps the typed reason and gives the JSON reader something to stop with.
fn refuse<E: Error>(slot: &RefCell<Option<Unreadable>>, reason: Unreadable) -> E {
    let error = E::custom(&reason);
    slot.replace(Some(reason));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPTH_MAX: usize = 64;
    const BYTES_MAX: usize = 1024 * 1024;
    const BOUNDS: Bounds = Bounds { bytes_max: BYTES_MAX, depth_max: DEPTH_MAX };

    fn check(input: &[u8], expect: Result<(), Unreadable>) {
        assert_eq!(text(input, BOUNDS).map(|_| ()), expect, "{}", String::from_utf8_lossy(input));
    }

    #[test]
    fn rfc7493_2_3_member_names_are_unique_at_every_depth() {
        let twice = |name: &str| Err(Unreadable::Duplicate { name: name.into() });
        check(br#"{"a":1,"b":{"a":1}}"#, Ok(()));
        check(br#"{"a":1,"A":1}"#, Ok(()));
        check(br#"{"a":1,"a":1}"#, twice("a"));
        check(br#"{"a":1,"\u0061":1}"#, twice("a"));
        check(br#"[[{"x":{"n":[],"n":[]}}]]"#, twice("n"));
        check(br#"{"":1,"":1}"#, twice(""));
    }

    #[test]
    fn rfc8259_8_1_text_is_utf8() {
        check(b"\"\xff\"", Err(Unreadable::NotUtf8 { at: 1 }));
        check(b"\"\xed\xa0\x80\"", Err(Unreadable::NotUtf8 { at: 1 })); // an encoded surrogate
        check("\"\u{1f600}\"".as_bytes(), Ok(()));
    }

    #[test]
    fn rfc7493_2_1_surrogates_come_in_pairs() {
        check(br#""\ud83d\ude00""#, Ok(()));
        for lone in [r#""\ud800""#, r#"{"a":["\udc00"]}"#, r#"{"\ud800x":1}"#, r#""\ud800\u0041""#]
        {
            assert!(
                matches!(text(lone.as_bytes(), BOUNDS), Err(Unreadable::NotJson { .. })),
                "{lone} was read"
            );
        }
    }

    #[test]
    fn rfc8259_2_one_value_and_nothing_after_it() {
        for wrong in ["", " ", "{}{}", "{} x", "{},", "\u{feff}{}", "{'a':1}", "{\"a\":1,}", "NaN"]
        {
            assert!(
                matches!(text(wrong.as_bytes(), BOUNDS), Err(Unreadable::NotJson { .. })),
                "{wrong:?} was read"
            );
        }
        check(b" {} \r\n\t", Ok(()));
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(nested(DEPTH_MAX).as_bytes(), Ok(()));
        check(nested(DEPTH_MAX + 1).as_bytes(), Err(Unreadable::TooDeep { max: DEPTH_MAX }));
        check(nested(100_000).as_bytes(), Err(Unreadable::TooDeep { max: DEPTH_MAX }));
        let max = BYTES_MAX;
        check(format!("\"{}\"", "a".repeat(max - 2)).as_bytes(), Ok(()));
        check(&vec![b' '; max + 1], Err(Unreadable::TooLong { bytes: max + 1, max }));
    }

    #[test]
    fn names_with_a_meaning_of_their_own_to_a_library_are_refused() {
        let name = "$serde_json::private::RawValue".to_owned();
        let input = format!(r#"{{"a":{{"{name}":"{{}}"}}}}"#);
        check(input.as_bytes(), Err(Unreadable::Reserved { name }));
    }

    #[test]
    fn a_member_that_differs_only_in_case_is_not_passed_over() {
        for found in ["Params", "PARAMS", "param\u{17f}"] {
            let input = format!(r#"{{"other":1,"{found}":{{}}}}"#);
            let expect = Unreadable::LookAlike { found: found.into(), meant: "params" };
            assert_eq!(members_of(&input, ["id", "params"]).map(|_| ()), Err(expect));
        }
        let found = members_of(r#"{"par_ams":1,"params":2}"#, ["params"]).unwrap();
        assert_eq!(found[0].map(RawValue::get), Some("2"));
    }

    #[test]
    fn an_object_is_asked_for_and_nothing_else_is_one() {
        let found = object(br#"{"a":{"b":[1]}}"#, BOUNDS).unwrap();
        assert_eq!(found.get("a").and_then(|a| a.pointer("/b/0")), Some(&Value::from(1)));
        for other in ["[]", "\"a\"", "null", "1"] {
            assert_eq!(object(other.as_bytes(), BOUNDS), Err(Unreadable::NotAnObject), "{other}");
        }
        let twice = Err(Unreadable::Duplicate { name: "a".into() });
        assert_eq!(object(br#"{"a":1,"a":1}"#, BOUNDS), twice);
    }
}
