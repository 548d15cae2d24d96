//! A private key as text: a line with its algorithm, then PKCS #8 (RFC 5958) in PEM (RFC 7468 §10).
//! What stands before the first boundary is no part of the PEM (RFC 7468 §2), so that other tools
//! read the file as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jose::{Algorithm, PrivateKey};
use zeroize::Zeroizing;

const ALGORITHM: &str = "algorithm: ";
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// RFC 7468 §2: a line of base64 has exactly 64 characters, save the last.
const LINE: usize = 64;

/// The longest text of a key, in bytes: an RSA key of 4096 bits has 3,300.
pub(crate) const TEXT_BYTES_MAX: usize = 8_192;

/// The text of a key.
pub(crate) fn write(algorithm: Algorithm, pkcs8: &[u8]) -> Zeroizing<String> {
    // As long as it will be from the start, so that no copy is left behind by growing.
    let length = pkcs8.len().saturating_mul(2).saturating_add(256);
    let mut base64 = Zeroizing::new(String::with_capacity(length));
    STANDARD.encode_string(pkcs8, &mut base64);
    let mut text = Zeroizing::new(String::with_capacity(length));
    for part in [ALGORITHM, algorithm.as_str(), "\n", BEGIN, "\n"] {
        text.push_str(part);
    }
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// The key in a text. Without a line that says the algorithm it is the usual one of its type.
pub(crate) fn read(text: &[u8]) -> Option<PrivateKey> {
    let text = std::str::from_utf8(text).ok()?;
    let (before, rest) = text.split_once(BEGIN)?;
    let (body, after) = rest.split_once(END)?;
    if !after.trim().is_empty() {
        return None;
    }
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    base64.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    let mut der = Zeroizing::new(Vec::with_capacity(base64.len()));
    STANDARD.decode_vec(base64.as_str(), &mut der).ok()?;
    let key = PrivateKey::from_pkcs8(&der).ok()?;
    match before.lines().find_map(|line| line.strip_prefix(ALGORITHM)) {
        Some(name) => key.for_algorithm(Algorithm::parse(name.trim())?).ok(),
        None => Some(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;

    #[test]
    fn rfc7468_10_what_is_written_is_read() {
        for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Ps256] {
            let pkcs8 = generate(algorithm).unwrap();
            let text = write(algorithm, &pkcs8);
            assert!(text.len() <= TEXT_BYTES_MAX);
            assert!(text.lines().all(|line| line.len() <= LINE));
            let read = read(text.as_bytes()).unwrap();
            let original = PrivateKey::from_pkcs8(&pkcs8).unwrap();
            assert_eq!(read.algorithm(), algorithm);
            assert_eq!(read.public().thumbprint(), original.public().thumbprint());
        }
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let text = write(Algorithm::Es256, &generate(Algorithm::Es256).unwrap());
        let pem_alone = &text[text.find(BEGIN).unwrap()..];
        assert_eq!(read(pem_alone.as_bytes()).unwrap().algorithm(), Algorithm::Es256);
        for broken in [
            String::new(),
            text.replace(BEGIN, ""),
            text.replace(END, ""),
            text.replace("ES256", "ES384"),
            text.replace("ES256", "none"),
            text.replace(END, &format!("{END}\nmore")),
            text.replacen('M', "*", 1),
            text[..text.len() / 2].to_owned(),
        ] {
            assert!(read(broken.as_bytes()).is_none(), "{broken}");
        }
        assert!(read(&[0xff; 100]).is_none());
    }
}
