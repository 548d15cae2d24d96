//! Extensions (RFC 5280 §4.2): as they stand, the key usage bits, and the one of our own.

use std::fmt;

use der::asn1::BitStringRef;

use crate::encode::{
    BIT_STRING, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, TRUE, UTF8_STRING, tlv, unsigned,
};
use crate::oid::Oid;

/// The revocation epoch under which a certificate was issued: a `u64` as DER `INTEGER`, never
/// critical. Its holder is refused once the epoch of its agent is higher.
///
/// `1.2.840.113556.1.8000.2554.26274.14311.30607.19891.47742.14779722.1261697`: an identifier
/// made of a UUID, in pieces. The shorter form, one arc of 128 bits under `2.25`, cannot be read
/// by everyone: Go's parser refuses the whole certificate for an arc beyond 31 bits
/// (docs/decisions/0006-oid-of-the-epoch-extension.md).
pub const EPOCH: Oid = Oid::of(&[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x14, 0x01, 0xbe, 0x40, 0x93, 0x7a, 0x81, 0xcd, 0x22, 0xef, 0x67,
    0x81, 0xef, 0x0f, 0x81, 0x9b, 0x33, 0x82, 0xf4, 0x7e, 0x87, 0x86, 0x8a, 0x4a, 0xcd, 0x81, 0x01,
]);

/// What a certificate says about its holder beside who it is: a `UTF8String` of JSON, never
/// critical. Made of the UUID `5039b351-c018-4f1e-bb4c-8c68f16133cd` in the same way.
pub const ATTRIBUTES: Oid = Oid::of(&[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x14, 0x01, 0xbe, 0x40, 0x93, 0x7a, 0x81, 0xa0, 0x39, 0x82, 0xe6,
    0x51, 0x83, 0x80, 0x18, 0x81, 0x9e, 0x1e, 0x82, 0xf6, 0x4c, 0x84, 0xb1, 0xd1, 0x71, 0x83, 0x84,
    0xe7, 0x4d,
]);

/// One extension: identifier, whether who does not know it must refuse, and its DER value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    pub oid: Oid,
    pub critical: bool,
    /// DER of the value: the contents of `extnValue`.
    pub der: Vec<u8>,
}

impl Extension {
    /// `Extension ::= SEQUENCE { extnID, critical DEFAULT FALSE, extnValue OCTET STRING }`.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let id = tlv(OBJECT_IDENTIFIER, &[self.oid.contents()]);
        let critical = if self.critical { TRUE } else { &[] };
        tlv(SEQUENCE, &[&id, critical, &tlv(OCTET_STRING, &[&self.der])])
    }
}

/// The extension that says under which epoch a certificate was issued.
pub fn epoch_extension(epoch: u64) -> Extension {
    Extension { oid: EPOCH, critical: false, der: unsigned(&epoch.to_be_bytes()) }
}

/// The extension that says something about the holder.
pub fn attributes_extension(text: &str) -> Extension {
    Extension { oid: ATTRIBUTES, critical: false, der: tlv(UTF8_STRING, &[text.as_bytes()]) }
}

/// What a key may be used for (RFC 5280 §4.2.1.3): a set of bits. The empty set is what a
/// certificate without the extension has, since "at least one of the bits MUST be set to 1".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KeyUsage(u16);

impl KeyUsage {
    /// Bit 0: signatures other than those on certificates and revocation lists.
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// Bit 1: nonRepudiation.
    pub const CONTENT_COMMITMENT: Self = Self(1 << 1);
    /// Bit 2: key transport.
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// Bit 3: encryption of data.
    pub const DATA_ENCIPHERMENT: Self = Self(1 << 3);
    /// Bit 4: key agreement.
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    /// Bit 5: signatures on certificates.
    pub const KEY_CERT_SIGN: Self = Self(1 << 5);
    /// Bit 6: signatures on revocation lists.
    pub const CRL_SIGN: Self = Self(1 << 6);

    /// Bits that the RFC names: 0 to 8.
    const NAMED_BITS: u16 = 9;

    /// This set and `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no bit is set: the extension is absent.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// From the `BIT STRING`; bits without a name are left out.
    pub(crate) fn from_bits(bits: BitStringRef<'_>) -> Self {
        let set = (0..Self::NAMED_BITS).zip(bits.bits()).filter(|(_, set)| *set);
        Self(set.fold(0, |all, (bit, _)| all | (1 << bit)))
    }

    /// The DER of the `BIT STRING`.
    pub(crate) fn to_der(self) -> Vec<u8> {
        // X.690 §11.2.2: a named bit list is encoded without its trailing zero bits.
        let length = 16 - self.0.leading_zeros();
        let unused = u8::try_from((8 - length % 8) % 8).unwrap_or_default();
        let [low, high] = self.0.reverse_bits().to_be_bytes();
        let bytes = [unused, low, high];
        tlv(BIT_STRING, &[bytes.get(..1 + length.div_ceil(8) as usize).unwrap_or(&bytes)])
    }
}

impl fmt::Debug for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUsage({:#011b})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use der::Decode;

    use super::*;

    #[test]
    fn rfc5280_4_2_1_3_key_usage_round_trips() {
        let authority = KeyUsage::KEY_CERT_SIGN.with(KeyUsage::CRL_SIGN);
        for (usage, der) in [
            (KeyUsage::DIGITAL_SIGNATURE, &[3, 2, 7, 0x80][..]),
            (authority, &[3, 2, 1, 6]),
            (KeyUsage(1 << 7), &[3, 2, 0, 1]),
            (KeyUsage(1 << 8), &[3, 3, 7, 0, 0x80]),
            (KeyUsage::default(), &[3, 1, 0]),
        ] {
            assert_eq!(usage.to_der(), der, "{usage:?}");
            assert_eq!(KeyUsage::from_bits(BitStringRef::from_der(der).unwrap()), usage);
        }
        assert!(authority.contains(KeyUsage::CRL_SIGN));
        assert!(!authority.contains(KeyUsage::CRL_SIGN.with(KeyUsage::DIGITAL_SIGNATURE)));
    }

    #[test]
    fn the_epoch_identifier_has_no_arc_beyond_31_bits() {
        let arcs = EPOCH.to_string();
        assert_eq!(
            arcs,
            "1.2.840.113556.1.8000.2554.26274.14311.30607.19891.47742.14779722.1261697"
        );
        assert!(arcs.split('.').all(|arc| arc.parse::<u32>().unwrap() < 1 << 31));
        assert_eq!(Oid::parse(&arcs), Some(EPOCH));
        let arcs = ATTRIBUTES.to_string();
        assert_eq!(
            arcs,
            "1.2.840.113556.1.8000.2554.20537.45905.49176.20254.47948.9201905.6370253"
        );
        assert!(arcs.split('.').all(|arc| arc.parse::<u32>().unwrap() < 1 << 31));
        assert_eq!(Oid::parse(&arcs), Some(ATTRIBUTES));
    }
}
