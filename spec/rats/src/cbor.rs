//! CBOR (RFC 8949), as much of it as wrappers and results are made of: items of definite length,
//! without floating-point numbers, bounded in depth and number.

/// How deep items stand in each other.
const DEPTH_MAX: usize = 16;
/// The most items of one message.
const ITEMS_MAX: usize = 4_096;

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Unsigned(u64),
    /// -1 minus this.
    Negative(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Item>),
    Map(Vec<(Item, Item)>),
    Tag(u64, Box<Item>),
    Bool(bool),
    Null,
}

/// Why bytes are not one item that is read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// It ends too early.
    #[error("the item is cut off")]
    Cut,
    /// There is more.
    #[error("{bytes} bytes after the item")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Indefinite lengths, floating-point numbers, reserved values.
    #[error("the initial byte 0x{byte:02x} is not read here")]
    Kind {
        /// The initial byte.
        byte: u8,
    },
    /// Text that is not UTF-8.
    #[error("a text that is not utf-8")]
    Text,
    /// A key that is there twice.
    #[error("a map with one key twice")]
    Twice,
    /// Over a bound.
    #[error("more than {ITEMS_MAX} items, or deeper than {DEPTH_MAX}")]
    TooMuch,
}

/// Reads exactly one item.
pub(crate) fn parse(bytes: &[u8]) -> Result<Item, CborError> {
    let mut reader = Reader { rest: bytes, left: ITEMS_MAX };
    let item = reader.item(DEPTH_MAX)?;
    match reader.rest.len() {
        0 => Ok(item),
        bytes => Err(CborError::Trailing { bytes }),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    left: usize,
}

impl Reader<'_> {
    fn item(&mut self, depth: usize) -> Result<Item, CborError> {
        self.left = self.left.checked_sub(1).ok_or(CborError::TooMuch)?;
        let depth = depth.checked_sub(1).ok_or(CborError::TooMuch)?;
        let byte = self.take(1)?.first().copied().unwrap_or_default();
        if byte >> 5 == 7 {
            return match byte & 0x1f {
                20 => Ok(Item::Bool(false)),
                21 => Ok(Item::Bool(true)),
                22 => Ok(Item::Null),
                _ => Err(CborError::Kind { byte }),
            };
        }
        let number = self.argument(byte)?;
        Ok(match byte >> 5 {
            0 => Item::Unsigned(number),
            1 => Item::Negative(number),
            2 => Item::Bytes(self.octets(number)?.to_vec()),
            3 => {
                let text = String::from_utf8(self.octets(number)?.to_vec());
                Item::Text(text.map_err(|_| CborError::Text)?)
            }
            4 => {
                let count = self.count(number)?;
                Item::Array((0..count).map(|_| self.item(depth)).collect::<Result<_, _>>()?)
            }
            5 => Item::Map(self.map(number, depth)?),
            _ => Item::Tag(number, Box::new(self.item(depth)?)),
        })
    }

    fn map(&mut self, number: u64, depth: usize) -> Result<Vec<(Item, Item)>, CborError> {
        let count = self.count(number)?;
        let mut members: Vec<(Item, Item)> = Vec::new();
        for _ in 0..count {
            let (key, value) = (self.item(depth)?, self.item(depth)?);
            // RFC 8949 §5.6: "A CBOR-based protocol MUST define what to do when a receiving
            // application sees multiple identical keys in a map."
            if members.iter().any(|(known, _)| *known == key) {
                return Err(CborError::Twice);
            }
            members.push((key, value));
        }
        Ok(members)
    }

    /// RFC 8949 §3: the additional information, and the bytes after it.
    fn argument(&mut self, byte: u8) -> Result<u64, CborError> {
        let size = match byte & 0x1f {
            small @ 0..=23 => return Ok(u64::from(small)),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(CborError::Kind { byte }),
        };
        Ok(self.take(size)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Each item takes a byte at least: no count is believed beyond that.
    fn count(&self, number: u64) -> Result<usize, CborError> {
        let count = usize::try_from(number).map_err(|_| CborError::Cut)?;
        if count <= self.rest.len() { Ok(count) } else { Err(CborError::Cut) }
    }

    fn octets(&mut self, number: u64) -> Result<&[u8], CborError> {
        self.take(usize::try_from(number).map_err(|_| CborError::Cut)?)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], CborError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CborError::Cut)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl Item {
    /// The bytes, every head as short as it can be (RFC 8949 §4.2.1), maps in the order given.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Unsigned(number) => head(0, *number, to),
            Self::Negative(number) => head(1, *number, to),
            Self::Bytes(bytes) => {
                head(2, length(bytes.len()), to);
                to.extend(bytes);
            }
            Self::Text(text) => {
                head(3, length(text.len()), to);
                to.extend(text.as_bytes());
            }
            Self::Array(items) => {
                head(4, length(items.len()), to);
                items.iter().for_each(|item| item.write(to));
            }
            Self::Map(members) => {
                head(5, length(members.len()), to);
                for (key, value) in members {
                    key.write(to);
                    value.write(to);
                }
            }
            Self::Tag(number, item) => {
                head(6, *number, to);
                item.write(to);
            }
            Self::Bool(is_true) => to.push(0xf4 + u8::from(*is_true)),
            Self::Null => to.push(0xf6),
        }
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn head(major: u8, number: u64, to: &mut Vec<u8>) {
    let major = major << 5;
    let [.., b4, b5, b6, b7] = number.to_be_bytes();
    match number {
        0..=23 => to.push(major | b7),
        24..=0xff => to.extend([major | 24, b7]),
        0x100..=0xffff => to.extend([major | 25, b6, b7]),
        0x1_0000..=0xffff_ffff => to.extend([major | 26, b4, b5, b6, b7]),
        _ => {
            to.push(major | 27);
            to.extend(number.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// The examples of RFC 8949, appendix A, as far as their kinds are read.
    #[test]
    fn rfc8949_a_examples_are_read_and_written() {
        let text = |text: &str| Item::Text(text.to_owned());
        let check = |hex: &str, expect: Item| {
            assert_eq!(parse(&bytes(hex)), Ok(expect.clone()), "{hex}");
            assert_eq!(expect.to_bytes(), bytes(hex), "{hex}");
        };
        check("00", Item::Unsigned(0));
        check("17", Item::Unsigned(23));
        check("1818", Item::Unsigned(24));
        check("1903e8", Item::Unsigned(1_000));
        check("1a000f4240", Item::Unsigned(1_000_000));
        check("1b000000e8d4a51000", Item::Unsigned(1_000_000_000_000));
        check("1bffffffffffffffff", Item::Unsigned(u64::MAX));
        check("3863", Item::Negative(99));
        check("f4", Item::Bool(false));
        check("f6", Item::Null);
        check("c11a514b67b0", Item::Tag(1, Box::new(Item::Unsigned(1_363_896_240))));
        check("4401020304", Item::Bytes(vec![1, 2, 3, 4]));
        check("6449455446", text("IETF"));
        check("62c3bc", text("\u{fc}"));
        let list = vec![Item::Unsigned(1), Item::Array(vec![Item::Unsigned(2)])];
        check("82018102", Item::Array(list));
        check("a161616162", Item::Map(vec![(text("a"), text("b"))]));
    }

    #[test]
    fn rfc8949_5_what_is_not_well_formed_is_refused() {
        for (hex, why) in [
            ("", CborError::Cut),
            ("1a0000", CborError::Cut),
            ("44010203", CborError::Cut),
            ("820102ff", CborError::Trailing { bytes: 1 }),
            ("9affffffff", CborError::Cut),
            ("5f4101ff", CborError::Kind { byte: 0x5f }),
            ("9fff", CborError::Kind { byte: 0x9f }),
            ("fb3ff199999999999a", CborError::Kind { byte: 0xfb }),
            ("f7", CborError::Kind { byte: 0xf7 }),
            ("1c", CborError::Kind { byte: 0x1c }),
            ("62c328", CborError::Text),
            ("a201010102", CborError::Twice),
        ] {
            assert_eq!(parse(&bytes(hex)), Err(why), "{hex}");
        }
        assert_eq!(parse(&[0x81; 100]), Err(CborError::TooMuch));
        let wide = [vec![0x99, 0x20, 0x00], vec![0; 0x2000]].concat();
        assert_eq!(parse(&wide), Err(CborError::TooMuch));
    }
}
