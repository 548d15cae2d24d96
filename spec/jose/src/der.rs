//! The few steps through DER to the modulus of an RSA key. (Certificates are read by `x509`.)

/// Tags of X.690 that are met on the way.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Modulus and exponent of a `SubjectPublicKeyInfo` that holds an RSA key, without leading zeros.
pub(crate) fn rsa_components(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, rest) = element(spki, SEQUENCE)?;
    let (_, after_algorithm) = element(content, SEQUENCE)?;
    let (bits, _) = element(after_algorithm, BIT_STRING)?;
    // RFC 5280 §4.1: a BIT STRING; its first octet counts unused bits, and there are none.
    let (0, key) = bits.split_first()? else { return None };
    let (integers, _) = element(key, SEQUENCE)?;
    let (n, after_n) = element(integers, INTEGER)?;
    let (e, _) = element(after_n, INTEGER)?;
    rest.is_empty().then_some((positive(n), positive(e)))
}

/// The content of the element at the start of `der`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// An INTEGER has a leading zero where its first bit is set.
fn positive(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}
