//! Base64 of the parts of a token that is only looked at.
//!
//! In scope: just that. Not here: tokens that count for something (`jose` reads them), and PEM
//! (`workload` writes it).

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Base64url without padding (RFC 7515 §2); `None` for anything else.
pub fn decode_url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let byte = match byte {
            b'-' => b'+',
            b'_' => b'/',
            b'+' | b'/' => return None,
            other => other,
        };
        let value = STANDARD.iter().position(|known| *known == byte)?;
        held = (held << 6 | u32::try_from(value).ok()?) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    // A lone character at the end, or bits that are lost, were another text.
    (bits < 6 && held & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4648_10_test_vectors() {
        for (bytes, expect) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let unpadded = expect.trim_end_matches('=');
            assert_eq!(decode_url(unpadded).unwrap(), bytes.as_bytes(), "{expect}");
        }
        assert_eq!(decode_url("-_8").unwrap(), [0xfb, 0xff]);
    }

    #[test]
    fn what_is_not_base64url_is_refused() {
        for text in ["Zg==", "Z", "Zh", "a+b", "a/b", "a b", "Zm9v\n", "é"] {
            assert_eq!(decode_url(text), None, "{text}");
        }
    }
}
