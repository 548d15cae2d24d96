//! Strict reading of a JSON object: one meaning or none (§11.5, I-JSON RFC 7493).

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{DEPTH_MAX, MESSAGE_BYTES_MAX};

/// Names that only this program's own JSON library gives a meaning to.
const LIBRARY_PREFIX: &str = "$serde_json::private::";
/// Longest name that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// Why a text is not a JSON object that every reader reads in the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("message of {bytes} bytes is longer than {max}")]
    TooLong { bytes: usize, max: usize },
    #[error("not JSON: {reason}")]
    NotJson { reason: String },
    #[error("nested deeper than {max}")]
    TooDeep { max: usize },
    #[error("member `{name}` appears twice in one object")]
    Duplicate { name: String },
    #[error("member `{name}` is not allowed: its name is reserved")]
    Reserved { name: String },
    #[error("not an object")]
    NotAnObject,
}

/// The object that `bytes` are.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Unreadable::TooLong { bytes: bytes.len(), max: MESSAGE_BYTES_MAX });
    }
    let refusal = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let scanned = Scan { depth: 0, refusal: &refusal }.deserialize(&mut reader);
    // §11.5: "JSON text is encoded as UTF-8, and strings do not contain invalid Unicode sequences
    // such as unpaired surrogates": the reader refuses both.
    scanned.and_then(|()| reader.end()).map_err(|error| {
        refusal.take().unwrap_or_else(|| Unreadable::NotJson { reason: error.to_string() })
    })?;
    // §10.1.1: "The top-level element of all request and response bodies MUST be a JSON object"
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Unreadable::NotAnObject),
        Err(error) => Err(Unreadable::NotJson { reason: error.to_string() }),
    }
}

/// A member name, not copied when it has no escapes.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Walks one value and everything in it.
#[derive(Clone, Copy)]
struct Scan<'s> {
    depth: usize,
    refusal: &'s RefCell<Option<Unreadable>>,
}

impl Scan<'_> {
    /// The walk one level further in, while the bound lasts.
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(self.refuse(Unreadable::TooDeep { max: DEPTH_MAX }));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    /// Keeps the typed reason and gives the JSON reader something to stop with.
    fn refuse<E: Error>(self, reason: Unreadable) -> E {
        let error = E::custom(&reason);
        self.refusal.replace(Some(reason));
        error
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
            let shown = || name.0.chars().take(SHOWN_CHARS_MAX).collect();
            if name.0.starts_with(LIBRARY_PREFIX) {
                return Err(self.refuse(Unreadable::Reserved { name: shown() }));
            }
            // §11.5: "Member names within a JSON object are unique after processing escape
            // characters"
            if seen.contains(&name) {
                return Err(self.refuse(Unreadable::Duplicate { name: shown() }));
            }
            seen.insert(name);
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authzen_11_5_each_doubtful_text_has_its_refusal() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MESSAGE_BYTES_MAX));
        for (input, expect) in [
            (r#"{"a":1,"a":1}"#, Unreadable::Duplicate { name: "a".into() }),
            (r#"{"b":[{"a":1,"\u0061":1}]}"#, Unreadable::Duplicate { name: "a".into() }),
            (
                r#"{"$serde_json::private::RawValue":"{}"}"#,
                Unreadable::Reserved { name: "$serde_json::private::RawValue".into() },
            ),
            (&nested(DEPTH_MAX + 1), Unreadable::TooDeep { max: DEPTH_MAX }),
            (&long, Unreadable::TooLong { bytes: long.len(), max: MESSAGE_BYTES_MAX }),
            ("[]", Unreadable::NotAnObject),
            ("\"a\"", Unreadable::NotAnObject),
        ] {
            assert_eq!(object(input.as_bytes()), Err(expect));
        }
        assert!(object(nested(DEPTH_MAX).as_bytes()).is_ok());
        for wrong in [b"{".as_slice(), b"", b"{}x", b"{\"a\":\"\xff\"}", br#"{"a":"\ud800"}"#] {
            assert!(matches!(object(wrong), Err(Unreadable::NotJson { .. })), "{wrong:?}");
        }
    }
}
