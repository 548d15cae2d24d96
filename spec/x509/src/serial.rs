//! Serial numbers (RFC 5280 §4.1.2.2).

use std::fmt;

/// Random bytes that make a serial.
const RANDOM_BYTES: usize = 16;

/// The serial number of a certificate: big-endian contents of its `INTEGER`; shown in hex.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(Vec<u8>);

impl Serial {
    // RFC 5280 §4.1.2.2: "Conforming CAs MUST NOT use serialNumber values longer than 20 octets."
    /// Longest serial that is read, in bytes; one more than the RFC for a leading zero.
    pub(crate) const BYTES_MAX: usize = 21;

    /// A fresh serial from 16 random bytes; 126 of their bits count.
    pub fn from_random(mut random: [u8; RANDOM_BYTES]) -> Self {
        // RFC 5280 §4.1.2.2: "The serial number MUST be a positive integer assigned by the CA to
        // each certificate." The top bit is the sign; the next one fixes the length.
        if let Some(first) = random.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        Self(random.to_vec())
    }

    /// From the contents octets of an `INTEGER`, as read.
    pub(crate) fn from_contents(contents: &[u8]) -> Option<Self> {
        (!contents.is_empty() && contents.len() <= Self::BYTES_MAX).then(|| Self(contents.to_vec()))
    }

    /// Big-endian two's complement, as in the certificate.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Lower-case hex without separators and without a sign octet.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.strip_prefix(&[0]).filter(|rest| !rest.is_empty());
        digits.unwrap_or(&self.0).iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5280_4_1_2_2_serials_are_positive() {
        assert_eq!(Serial::from_random([0xff; 16]).to_string(), format!("7f{}", "ff".repeat(15)));
        for (contents, shown) in [(&[0][..], "00"), (&[0, 0x80], "80"), (&[1, 0], "0100")] {
            assert_eq!(Serial::from_contents(contents).unwrap().to_string(), shown);
        }
        assert_eq!(Serial::from_contents(&[1; 22]), None);
        assert_eq!(Serial::from_random([0; 16]).to_string(), format!("40{}", "00".repeat(15)));
    }
}
