//! Digests as statements write them: lower case hexadecimal.

use aws_lc_rs::digest;

/// SHA-256 of `message`.
pub fn sha256(message: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    hash
}

/// Lower case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that lower case hexadecimal stands for. `None` for any other text.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_each_value() {
        assert_eq!(from_hex("00ff1a"), Some(vec![0, 0xff, 0x1a]));
        assert_eq!(to_hex(&[0, 0xff, 0x1a]), "00ff1a");
        for text in ["0", "0g", "FF", "0x", " 0"] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }
}
