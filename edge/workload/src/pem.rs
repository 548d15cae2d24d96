//! What the Workload API gives in DER, as PEM (RFC 7468): for Envoy, and for programs that read
//! files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509::CertificateDer;
use zeroize::Zeroizing;

use crate::secret::{SecretBytes, SecretText};

// RFC 7468 §2: "Generators MUST wrap the base64-encoded lines so that each line consists of
// exactly 64 characters except for the final line"
/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

/// The certificates that stand one behind the other, each in DER.
pub fn split(concatenated: &[u8]) -> Result<Vec<&[u8]>, NotCertificates> {
    let mut rest = concatenated;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = der_length(rest).ok_or(NotCertificates { at: found.len() })?;
        let (one, after) =
            rest.split_at_checked(length).ok_or(NotCertificates { at: found.len() })?;
        found.push(one);
        rest = after;
    }
    Ok(found)
}

/// The same as PEM, in their order.
pub fn certificates(concatenated: &[u8]) -> Result<String, NotCertificates> {
    let mut text = String::new();
    for (at, der) in split(concatenated)?.into_iter().enumerate() {
        let certificate = CertificateDer::from_der(der.to_vec());
        text.push_str(&certificate.map_err(|_| NotCertificates { at })?.to_pem());
    }
    Ok(text)
}

/// RFC 7468 §10: PKCS #8 private key information under the label `PRIVATE KEY`.
pub fn private_key(pkcs8: &SecretBytes) -> SecretText {
    let base64 = Zeroizing::new(STANDARD.encode(pkcs8.expose()));
    // Long enough for all that is pushed: a string that grows leaves its former self in memory.
    let lines = base64.len() / PEM_LINE + 1;
    let mut text = String::with_capacity(base64.len() + lines + 64);
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    for (index, character) in base64.chars().enumerate() {
        if index > 0 && index % PEM_LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    SecretText::new(text)
}

/// Bytes that are no row of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {at} is no DER of the length that it says")]
pub struct NotCertificates {
    /// Counted from 0.
    at: usize,
}

/// The whole length of the sequence at the beginning (X.690 §8.1.3: short form, or 1 to 3 octets).
fn der_length(bytes: &[u8]) -> Option<usize> {
    let [0x30, first, rest @ ..] = bytes else { return None };
    let octets = match first {
        0..=0x7f => return Some(2 + usize::from(*first)),
        0x81..=0x83 => usize::from(first & 0x7f),
        _ => return None,
    };
    let length =
        rest.get(..octets)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    Some(2 + octets + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_apart_by_their_lengths() {
        let long: Vec<u8> = [0x30, 0x82, 0x01, 0x00].into_iter().chain([7; 256]).collect();
        let check = |bytes: &[u8], expect: Result<Vec<usize>, usize>| {
            let found = split(bytes).map(|all| all.iter().map(|one| one.len()).collect());
            assert_eq!(found.map_err(|error| error.at), expect, "{bytes:?}");
        };
        check(&[], Ok(vec![]));
        check(&[0x30, 1, 5], Ok(vec![3]));
        check(&[&[0x30, 1, 5], long.as_slice()].concat(), Ok(vec![3, 260]));
        check(&[0x30, 0x81, 2, 0, 0], Ok(vec![5]));
        check(&[0x30, 1, 5, 0x31, 0], Err(1));
        check(&[0x30, 2, 5], Err(0));
        check(&[0x30], Err(0));
        check(&[0x30, 0x80, 0, 0], Err(0));
        check(&[0x30, 0x84, 0, 0, 0, 0], Err(0));
    }

    #[test]
    fn rfc7468_2_lines_have_64_characters() {
        let key = |bytes: &[u8]| private_key(&SecretBytes::new(bytes.to_vec()));
        let lines = |length: usize| {
            let pem = key(&vec![0; length]);
            let lines = pem.expose().lines().filter(|line| !line.starts_with('-'));
            lines.map(str::len).collect::<Vec<_>>()
        };
        assert_eq!(lines(100), [64, 64, 8]);
        assert_eq!(lines(48), [64]);
        let expect = "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n";
        assert_eq!(key(&[1, 2, 3]).expose(), expect);
    }

    #[test]
    fn rfc7468_5_certificates_keep_their_order() {
        let text = certificates(&[0x30, 1, 5, 0x30, 1, 6]).unwrap();
        let bodies: Vec<_> = text.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(bodies, ["MAEF", "MAEG"]);
        assert_eq!(certificates(&[0x30, 1, 5, 0]), Err(NotCertificates { at: 1 }));
    }
}
