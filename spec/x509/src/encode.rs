//! Distinguished encoding, outwards: nested tag, length, value. Reading is in `syntax`.

/// `INTEGER`.
pub(crate) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(crate) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
/// `UTF8String`.
pub(crate) const UTF8_STRING: u8 = 0x0c;
/// `SEQUENCE`, constructed.
pub(crate) const SEQUENCE: u8 = 0x30;
/// `SET`, constructed.
pub(crate) const SET: u8 = 0x31;
/// Context-specific tag 0, primitive; the others follow.
pub(crate) const CONTEXT: u8 = 0x80;
/// Context-specific tag 0, constructed; the others follow.
pub(crate) const CONTEXT_CONSTRUCTED: u8 = 0xa0;
/// `BOOLEAN TRUE`, whole.
pub(crate) const TRUE: &[u8] = &[0x01, 0x01, 0xff];

/// One element: `tag`, the length of all `parts`, then the parts.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    // X.690 §10.1: "The definite form of length encoding shall be used, encoded in the minimum
    // number of octets."
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let skip = bytes.iter().take_while(|byte| **byte == 0).count();
            out.push(0x80 | u8::try_from(bytes.len() - skip).unwrap_or(0x7f));
            out.extend(bytes.iter().skip(skip));
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A non-negative `INTEGER` from big-endian bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let significant = bytes.get(zeros..).unwrap_or_default();
    // X.690 §8.3.3: an integer is two's complement, so a leading one bit would make it negative.
    let sign: &[u8] =
        if significant.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    tlv(INTEGER, &[sign, significant])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x690_10_1_lengths_are_minimal() {
        for (length, header) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
            (65_536, &[4, 0x83, 1, 0, 0]),
        ] {
            let out = tlv(OCTET_STRING, &[&vec![7; length]]);
            assert_eq!(&out[..header.len()], header);
            assert_eq!(out.len(), header.len() + length);
        }
    }

    #[test]
    fn x690_8_3_integers_are_minimal_and_positive() {
        for (bytes, der) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0], &[2, 1, 0]),
            (&[0x7f], &[2, 1, 0x7f]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[0, 0, 1, 2], &[2, 2, 1, 2]),
        ] {
            assert_eq!(unsigned(bytes), der);
        }
    }
}
