//! Base64url as JWS writes it: no padding, no line breaks, one text for each value.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn encode_onto(bytes: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// `None` for padding, foreign characters and trailing bits that are not zero.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    // RFC 7515 §2: "with all trailing '=' characters omitted (as permitted by Section 3.2) and
    // without the inclusion of any line breaks, whitespace, or other additional characters."
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// `None` unless `text` is exactly `N` bytes.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

/// Standard alphabet with padding, for `x5c` alone.
pub(crate) fn decode_standard(text: &str) -> Option<Vec<u8>> {
    // RFC 7517 §4.7: "Each string in the array is a base64-encoded (Section 4 of [RFC4648] -- not
    // base64url-encoded) DER [ITU.X690.1994] PKIX certificate value."
    STANDARD.decode(text).ok()
}

pub(crate) fn encode_standard(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7515_2_one_text_for_each_value() {
        for (text, bytes) in [("", &b""[..]), ("Zg", b"f"), ("Zm8", b"fo"), ("-_8", &[251, 255])] {
            assert_eq!(decode(text).unwrap(), bytes);
            assert_eq!(encode(bytes), text);
        }
        // padding, trailing bits, other alphabet, whitespace, line break, impossible length
        for text in ["Zg==", "Zh", "Zm9=", "+/8", "Zm 8", "Zm8\n", "Z", "Zm8Z="] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
