//! CBOR in the one form that CTAP2 writes (CTAP 2.1 §8, "Message Encoding"), bounded.

use std::cmp::Ordering;

/// Deepest nesting of arrays and maps. CTAP 2.1 §8: "The depth of nested CBOR structures used by
/// all message encodings is limited to at most four (4) levels of any combination of CBOR maps
/// and/or CBOR arrays."
const DEPTH_MAX: usize = 4;
/// Most values of one text, those inside others counted, too.
const ITEMS_MAX: usize = 256;

/// Why bytes are not CBOR in its canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it ends too early")]
    Cut,
    #[error("{bytes} bytes are left over")]
    LeftOver { bytes: usize },
    #[error("a number or a length that is not in its shortest form")]
    NotShortest,
    #[error("an item of indefinite length")]
    Indefinite,
    #[error("a number beyond 63 bits and a sign")]
    Number,
    #[error("a tag")]
    Tag,
    #[error("a float, or a simple value other than true, false and null")]
    Kind,
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[error("nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("more than {ITEMS_MAX} values")]
    TooMany,
    #[error("a key of a map that is neither a number nor text")]
    Key,
    #[error("a key of a map twice")]
    Duplicate,
    #[error("keys of a map out of order")]
    Order,
}

/// A value, borrowed from the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Bool(bool),
    Null,
}

impl<'a> Value<'a> {
    pub(crate) const fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) const fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) const fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn map(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }
}

/// The one value that `bytes` are.
pub(crate) fn whole(bytes: &[u8]) -> Result<Value<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// What is left to read, and how much may be.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    items: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, items: ITEMS_MAX }
    }

    pub(crate) const fn left(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Malformed::Cut)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Cut)
    }

    /// Nothing may be left.
    pub(crate) const fn end(&self) -> Result<(), Malformed> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(Malformed::LeftOver { bytes: self.bytes.len() })
    }

    /// The next value.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, Malformed> {
        self.nested(0)
    }

    /// The next value, `depth` arrays and maps deep.
    fn nested(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        self.items = self.items.checked_sub(1).ok_or(Malformed::TooMany)?;
        let [first] = self.array()?;
        let (major, argument) = (first >> 5, self.argument(first)?);
        match major {
            0 => integer(argument).map(Value::Integer),
            // RFC 8949 §3.1: "The value of the item is -1 minus the argument."
            1 => integer(argument).map(|number| Value::Integer(-1 - number)),
            2 => self.sized(argument).map(Value::Bytes),
            3 => {
                // RFC 8949 §3.1: "a text string [...] encoded as UTF-8"
                let text = std::str::from_utf8(self.sized(argument)?);
                text.map(Value::Text).map_err(|_| Malformed::NotUtf8)
            }
            4 | 5 if depth >= DEPTH_MAX => Err(Malformed::TooDeep),
            4 => self.items_of(argument, depth + 1).map(Value::Array),
            5 => self.entries(argument, depth + 1).map(Value::Map),
            // CTAP 2.1 §8: "Tags as defined in Section 3.4 in RFC8949 MUST NOT be present."
            6 => Err(Malformed::Tag),
            _ => match first {
                0xf4 => Ok(Value::Bool(false)),
                0xf5 => Ok(Value::Bool(true)),
                0xf6 => Ok(Value::Null),
                _ => Err(Malformed::Kind),
            },
        }
    }

    /// What follows the first byte of an item.
    fn argument(&mut self, first: u8) -> Result<u64, Malformed> {
        let (argument, least) = match first & 0x1f {
            short @ 0..=23 => return Ok(u64::from(short)),
            24 => (u64::from(u8::from_be_bytes(self.array()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.array()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.array()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.array()?), 1 << 32),
            // CTAP 2.1 §8: "Indefinite-length items MUST be made into definite-length items."
            _ => return Err(Malformed::Indefinite),
        };
        // CTAP 2.1 §8: "Integers MUST be encoded as small as possible." "The expression of lengths
        // in major types 2 through 5 MUST be as short as possible."
        let is_number = first >> 5 < 7;
        if is_number && argument < least { Err(Malformed::NotShortest) } else { Ok(argument) }
    }

    fn sized(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        self.take(usize::try_from(length).map_err(|_| Malformed::Cut)?)
    }

    fn items_of(&mut self, count: u64, depth: usize) -> Result<Vec<Value<'a>>, Malformed> {
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.nested(depth)?);
        }
        Ok(items)
    }

    fn entries(
        &mut self,
        count: u64,
        depth: usize,
    ) -> Result<Vec<(Value<'a>, Value<'a>)>, Malformed> {
        let mut entries = Vec::new();
        let mut before: Option<&[u8]> = None;
        for _ in 0..count {
            let start = self.bytes;
            let key = self.nested(depth)?;
            if !matches!(key, Value::Integer(_) | Value::Text(_)) {
                return Err(Malformed::Key);
            }
            let encoded = start.get(..start.len() - self.bytes.len()).unwrap_or_default();
            match before.map_or(Ordering::Less, |before| order(before, encoded)) {
                Ordering::Less => {}
                Ordering::Equal => return Err(Malformed::Duplicate),
                Ordering::Greater => return Err(Malformed::Order),
            }
            before = Some(encoded);
            entries.push((key, self.nested(depth)?));
        }
        Ok(entries)
    }
}

fn integer(argument: u64) -> Result<i64, Malformed> {
    i64::try_from(argument).map_err(|_| Malformed::Number)
}

/// The order of two encoded keys.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    // CTAP 2.1 §8: "If the major types are different, the one with the lower value in numerical
    // order sorts earlier." "If two keys have different lengths, the shorter one sorts earlier."
    // "If two keys have the same length, the one with the lower value in (byte-wise) lexical order
    // sorts earlier."
    let major = |key: &[u8]| key.first().map(|first| first >> 5);
    let rank = major(one).cmp(&major(other));
    rank.then(one.len().cmp(&other.len())).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> Malformed {
        whole(bytes).unwrap_err()
    }

    #[test]
    fn ctap_8_values_of_each_kind_are_read() {
        for (bytes, value) in [
            (&[0x17][..], Value::Integer(23)),
            (&[0x18, 24], Value::Integer(24)),
            (&[0x26], Value::Integer(-7)),
            (&[0x39, 0x01, 0x00], Value::Integer(-257)),
            (&[0x41, 9], Value::Bytes(&[9])),
            (&[0x61, b'a'], Value::Text("a")),
            (&[0x82, 0xf4, 0xf5], Value::Array(vec![Value::Bool(false), Value::Bool(true)])),
            (&[0xa1, 0x01, 0xf6], Value::Map(vec![(Value::Integer(1), Value::Null)])),
        ] {
            assert_eq!(whole(bytes), Ok(value), "{bytes:02x?}");
        }
    }

    #[test]
    fn ctap_8_what_has_another_form_is_refused() {
        for (bytes, expect) in [
            (&[][..], Malformed::Cut),
            (&[0x42, 1], Malformed::Cut),
            (&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Malformed::Cut),
            (&[0x01, 0x02], Malformed::LeftOver { bytes: 1 }),
            (&[0x18, 23], Malformed::NotShortest),
            (&[0x19, 0, 0xff], Malformed::NotShortest),
            (&[0x1a, 0, 0, 0xff, 0xff], Malformed::NotShortest),
            (&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], Malformed::NotShortest),
            (&[0x58, 1, 0], Malformed::NotShortest),
            (&[0x5f, 0xff], Malformed::Indefinite),
            (&[0xbf, 0xff], Malformed::Indefinite),
            (&[0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0], Malformed::Number),
            (&[0xc0, 0x01], Malformed::Tag),
            (&[0xf7], Malformed::Kind),
            (&[0xf9, 0, 0], Malformed::Kind),
            (&[0x61, 0xff], Malformed::NotUtf8),
            (&[0x81, 0x81, 0x81, 0x81, 0x80], Malformed::TooDeep),
            (&[0xa1, 0x40, 0x01], Malformed::Key),
            (&[0xa2, 0x01, 0x01, 0x01, 0x02], Malformed::Duplicate),
            (&[0xa2, 0x20, 0x01, 0x01, 0x02], Malformed::Order),
            (&[0xa2, 0x62, b'a', b'a', 1, 0x61, b'b', 2], Malformed::Order),
            (&[0xa2, 0x61, b'b', 1, 0x61, b'a', 2], Malformed::Order),
        ] {
            assert_eq!(refused(bytes), expect, "{bytes:02x?}");
        }
        assert!(whole(&[0x81, 0x81, 0x81, 0x80]).is_ok());
    }

    #[test]
    fn a_list_of_many_values_is_refused_before_it_is_held() {
        let of = |count: u8| [vec![0x98, count], vec![0; usize::from(count)]].concat();
        assert!(whole(&of(255)).is_ok());
        let more = [vec![0x99, 1, 0], vec![0; 256]].concat();
        assert_eq!(refused(&more), Malformed::TooMany);
        assert_eq!(
            refused(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Malformed::Cut
        );
    }
}
