//! A header block, RFC 7541: where the values of `:authority` stand in it.

use std::ops::Range;

use http::uri::Authority;

use super::huffman;

const AUTHORITY: &[u8] = b":authority";
/// `:authority` in the static table, appendix A. A peer could name it by an entry of the dynamic
/// table instead; none is known to, and its value would stay as it is.
const AUTHORITY_INDEX: usize = 1;
/// What stands for each byte of a value that is refused.
const FILLER: u8 = b'x';
/// The most bytes that continue an integer: 28 bits, far above what a block can hold.
const INTEGER_BYTES_MAX: u32 = 4;

/// The block with other authorities; `None` if it is good as it is, or cannot be read.
pub(super) fn replace(block: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader { block, at: 0 };
    let mut replaced = Vec::new();
    let mut copied = 0;
    while let Some(first) = reader.peek() {
        let Some(value) = reader.field(first)? else { continue };
        // Nothing as long as nothing would be accepted.
        if value.text.is_empty() || Authority::try_from(value.text.as_slice()).is_ok() {
            continue;
        }
        replaced.extend_from_slice(block.get(copied..value.place.start)?);
        copied = value.place.end;
        write_string(value.text.len(), &mut replaced)?;
    }
    if copied == 0 {
        return None;
    }
    replaced.extend_from_slice(block.get(copied..)?);
    Some(replaced)
}

/// A value of `:authority`.
struct Value {
    /// Where it stands, with its length before it.
    place: Range<usize>,
    text: Vec<u8>,
}

struct Reader<'b> {
    block: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    /// Reads past one field, whose first byte is `first` (§6); its value if it is an authority by
    /// literal.
    fn field(&mut self, first: u8) -> Option<Option<Value>> {
        let prefix = match first.leading_zeros() {
            // Indexed: both name and value are in a table.
            0 => {
                self.integer(7)?;
                return Some(None);
            }
            // Literal with incremental indexing.
            1 => 6,
            // A new size of the dynamic table.
            2 => {
                self.integer(5)?;
                return Some(None);
            }
            // Literal without indexing, or never to be indexed.
            _ => 4,
        };
        let index = self.integer(prefix)?;
        let is_authority =
            if index == 0 { self.string()?.text()? == AUTHORITY } else { index == AUTHORITY_INDEX };
        let start = self.at;
        let string = self.string()?;
        if !is_authority {
            return Some(None);
        }
        let text = string.text()?;
        Some(Some(Value { place: start..self.at, text }))
    }

    /// §5.1, with a prefix of so many bits.
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let full = (1_usize << prefix) - 1;
        let mut value = usize::from(self.byte()?) & full;
        if value < full {
            return Some(value);
        }
        for turn in 0..INTEGER_BYTES_MAX {
            let byte = self.byte()?;
            value = value.checked_add(usize::from(byte & 0x7f) << (7 * turn))?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// §5.2.
    fn string(&mut self) -> Option<Encoded<'_>> {
        let huffman = self.peek()? & 0x80 != 0;
        let length = self.integer(7)?;
        let end = self.at.checked_add(length)?;
        let bytes = self.block.get(self.at..end)?;
        self.at = end;
        Some(Encoded { bytes, huffman })
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }
}

struct Encoded<'b> {
    bytes: &'b [u8],
    huffman: bool,
}

impl Encoded<'_> {
    fn text(&self) -> Option<Vec<u8>> {
        if self.huffman { huffman::decode(self.bytes) } else { Some(self.bytes.to_vec()) }
    }
}

/// A string of `length` fillers, as it is.
fn write_string(length: usize, into: &mut Vec<u8>) -> Option<()> {
    const FULL: usize = 0x7f;
    if let Some(mut rest) = length.checked_sub(FULL) {
        into.push(0x7f);
        while rest > 0x7f {
            into.push(u8::try_from(rest & 0x7f).ok()? | 0x80);
            rest >>= 7;
        }
        into.push(u8::try_from(rest).ok()?);
    } else {
        into.push(u8::try_from(length).ok()?);
    }
    into.resize(into.len().checked_add(length)?, FILLER);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::replace;

    /// A literal with incremental indexing under static index 1.
    fn authority(value: &str) -> Vec<u8> {
        let mut block = vec![0x41, u8::try_from(value.len()).unwrap()];
        block.extend_from_slice(value.as_bytes());
        block
    }

    #[test]
    fn a_path_is_replaced_by_as_many_letters() {
        for path in ["%2Ftmp%2Fworkload.sock", "/run/aims/workload.sock", "unix:/a"] {
            let letters = "x".repeat(path.len());
            assert_eq!(replace(&authority(path)), Some(authority(&letters)), "{path}");
        }
    }

    #[test]
    fn a_host_and_nothing_stay() {
        for host in ["", "localhost", "localhost:443", "node.example", "[::1]:8080", "127.0.0.1"] {
            assert_eq!(replace(&authority(host)), None, "{host}");
        }
    }

    #[test]
    fn what_stands_around_it_stays() {
        // :method POST and :scheme http by index; a new table size; a path by name; then, never
        // indexed, the authority by its whole name; and a header that has its value.
        let before = [&[0x83, 0x86, 0x3f, 0xe1, 0x1f, 0x44, 2][..], b"/S"].concat();
        let name = [&[0x10, 10][..], b":authority"].concat();
        let after = [&[0x00, 2][..], b"te", &[5], b"/a%2F", &[0xbe]].concat();
        let with = |value: &[u8]| [&before[..], &name, &[4], value, &after].concat();
        assert_eq!(replace(&with(b"%2Fa")), Some(with(b"xxxx")));
        assert_eq!(replace(&with(b"host")), None);
    }

    #[test]
    fn a_huffman_value_is_counted_by_what_it_says() {
        // "%2F%2F": 010101 00010 1101001 twice, then padding.
        let huffman = [0x01, 0x85, 0x54, 0x5a, 0x6a, 0x8b, 0x4f];
        let plain = [&[0x01, 6][..], b"xxxxxx"].concat();
        assert_eq!(replace(&huffman), Some(plain));
    }

    #[test]
    fn long_values_keep_their_length() {
        for length in [126_usize, 127, 128, 254, 255, 256, 10_000] {
            let mut block = vec![0x41];
            let prefixed = |rest: usize, block: &mut Vec<u8>| match rest {
                0..=127 => block.push(u8::try_from(rest).unwrap()),
                _ => {
                    block.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
                    block.push(u8::try_from(rest >> 7).unwrap());
                }
            };
            if length < 127 {
                block.push(u8::try_from(length).unwrap());
            } else {
                block.push(0x7f);
                prefixed(length - 127, &mut block);
            }
            let head = block.len();
            block.resize(head + length, b'/');
            let replaced = replace(&block).unwrap();
            assert_eq!(replaced[..head], block[..head], "{length}");
            assert_eq!(replaced[head..], vec![b'x'; length]);
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_to_whom_it_concerns() {
        let whole = authority("%2Fa");
        for end in 1..whole.len() {
            assert_eq!(replace(&whole[..end]), None, "{end} bytes");
        }
        // An integer without end, and a Huffman value with wrong padding.
        assert_eq!(replace(&[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), None);
        assert_eq!(replace(&[0x41, 0x81, 0x00]), None);
        assert_eq!(replace(&[]), None);
    }
}
