//! Reading HPACK's Huffman code, RFC 7541 §5.2 and appendix B.

/// The code by length in bits: who has a code of that length, in the order of the codes. The code
/// is canonical, so nothing else need be told: each code is the one before it and one more, shifted
/// where the length grows. The end of string (30 bits, all ones) is not in it.
const CODE: &[(u32, &[u8])] = &[
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (
        22,
        b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\
          \xc6\xe4\xe8\xe9",
    ),
    (
        23,
        b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\
          \xb6\xb7\xbc\xbf\xc5\xe7\xef",
    ),
    (24, b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (26, b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"),
    (27, b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"),
    (
        28,
        b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\
          \x1c\x1d\x1e\x1f\x7f\xdc\xf9",
    ),
    (30, b"\x0a\x0d\x16"),
];

/// The longest padding, in bits.
// RFC 7541 §5.2: "A padding strictly longer than 7 bits MUST be treated as a decoding error."
const PADDING_BITS_MAX: u32 = 7;

/// What `encoded` says; `None` if it is no text in this code.
pub(super) fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(encoded.len());
    // The bits since the last symbol, and how many.
    let (mut code, mut bits) = (0_u32, 0_u32);
    for byte in encoded {
        for shift in (0..8).rev() {
            code = (code << 1) | u32::from((byte >> shift) & 1);
            bits = bits.saturating_add(1);
            if let Some(symbol) = symbol(code, bits)? {
                text.push(symbol);
                (code, bits) = (0, 0);
            }
        }
    }
    // "A padding not corresponding to the most significant bits of the code for the EOS symbol
    // MUST be treated as a decoding error."
    let padded = bits <= PADDING_BITS_MAX && code == (1 << bits) - 1;
    padded.then_some(text)
}

/// Whose code this is: `Some(None)` if it is the beginning of one, `None` if it is nobody's.
fn symbol(code: u32, bits: u32) -> Option<Option<u8>> {
    // The first code of the row, and its length.
    let (mut first, mut length) = (0_u32, 0_u32);
    for (row, symbols) in CODE {
        if *row > bits {
            return Some(None);
        }
        first <<= row - length;
        length = *row;
        if length == bits {
            let at = usize::try_from(code.checked_sub(first)?).ok()?;
            if let Some(symbol) = symbols.get(at) {
                return Some(Some(*symbol));
            }
        }
        first = first.checked_add(u32::try_from(symbols.len()).ok()?)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{CODE, decode};

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    /// RFC 7541, appendix C.4 and C.6.
    #[test]
    fn published_examples_are_read() {
        for (hex, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1\
                 063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
            ("", ""),
        ] {
            assert_eq!(decode(&bytes(hex)), Some(text.into()), "{text}");
        }
    }

    #[test]
    fn every_byte_has_one_code() {
        let mut symbols: Vec<u8> =
            CODE.iter().flat_map(|(_, symbols)| symbols.iter().copied()).collect();
        symbols.sort_unstable();
        assert_eq!(symbols, (0..=255).collect::<Vec<u8>>());
        // The code is complete: all strings of 30 bits but that of the end of string begin with one.
        let covered: u64 = CODE
            .iter()
            .map(|(length, symbols)| u64::try_from(symbols.len()).unwrap() << (30 - length))
            .sum();
        assert_eq!(covered, (1 << 30) - 1);
    }

    #[test]
    fn wrong_padding_and_an_end_of_string_are_refused() {
        // "0" is 00000; then three zeros, then ones for a whole byte more than needed.
        assert_eq!(decode(&[0b0000_0111]), Some(b"0".to_vec()));
        assert_eq!(decode(&[0b0000_0000]), None);
        assert_eq!(decode(&[0b0000_0111, 0xff]), None);
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None);
    }
}
