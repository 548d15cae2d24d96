//! Base64 as two files of people need it: PEM of a private key, and the parts of a token that is
//! only looked at.
//!
//! In scope: just that. Not here: tokens that count for something (`jose` reads them).

use zeroize::Zeroizing;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
// RFC 7468 §2: "Generators MUST wrap the base64-encoded lines so that each line consists of
// exactly 64 characters except for the final line"
/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

/// RFC 7468 §10: PKCS #8 private key information under the label `PRIVATE KEY`.
pub(crate) fn private_key_pem(pkcs8: &[u8]) -> Zeroizing<String> {
    // Long enough for all that is pushed: a string that grows leaves its former self in memory.
    let length = pkcs8.len().saturating_mul(3) / 2 + 128;
    let mut pem = Zeroizing::new(String::with_capacity(length));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut column = 0;
    for group in pkcs8.chunks(3) {
        for character in quartet(group) {
            pem.push(character);
        }
        column += 4;
        if column == PEM_LINE {
            pem.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// Base64url without padding (RFC 7515 §2); `None` for anything else.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
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

fn quartet(group: &[u8]) -> [char; 4] {
    let at = |index: usize| group.get(index).copied().map_or(0, u32::from);
    let held = at(0) << 16 | at(1) << 8 | at(2);
    let character = |shift: u32, used: bool| {
        let index = usize::try_from(held >> shift & 0x3f).unwrap_or(0);
        if used { STANDARD.get(index).copied().map_or('=', char::from) } else { '=' }
    };
    let length = group.len();
    [character(18, true), character(12, true), character(6, length > 1), character(0, length > 2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &[u8]) -> String {
        let pem = private_key_pem(bytes);
        pem.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n")
    }

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
            assert_eq!(body(bytes.as_bytes()), expect);
            let unpadded = expect.trim_end_matches('=');
            assert_eq!(decode_url(unpadded).unwrap(), bytes.as_bytes(), "{expect}");
        }
        assert_eq!(decode_url("-_8").unwrap(), [0xfb, 0xff]);
    }

    #[test]
    fn rfc7468_2_lines_have_64_characters() {
        let lines: Vec<_> = body(&[0; 100]).lines().map(str::len).collect();
        assert_eq!(lines, [64, 64, 8]);
        let lines: Vec<_> = body(&[0; 48]).lines().map(str::len).collect();
        assert_eq!(lines, [64]);
        let pem = private_key_pem(&[1, 2, 3]);
        assert_eq!(*pem, "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n");
    }

    #[test]
    fn what_is_not_base64url_is_refused() {
        for text in ["Zg==", "Z", "Zh", "a+b", "a/b", "a b", "Zm9v\n", "é"] {
            assert_eq!(decode_url(text), None, "{text}");
        }
    }
}
