//! What a certificate says of a device (IEEE 802.1AR, RFC 4108).

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use crate::certificate::Certificate;
use crate::oid::Oid;

/// `id-on-hardwareModuleName`, 1.3.6.1.5.5.7.8.4.
const HARDWARE_MODULE_NAME: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 8, 4];
/// Longest serial number of a module that is read, in bytes.
pub const HARDWARE_SERIAL_BYTES_MAX: usize = 64;

/// RFC 4108 §5: "HardwareModuleName ::= SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET
/// STRING }".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardwareModuleName {
    /// What sort of hardware.
    pub kind: Oid,
    /// Its serial number, unique for the sort.
    pub serial: Vec<u8>,
}

impl HardwareModuleName {
    /// The first one among the subject alternative names, if there is one that reads.
    pub fn of(certificate: &Certificate) -> Option<Self> {
        let names = certificate.extension(&Oid::SUBJECT_ALT_NAME)?;
        let names = Vec::<AnyRef<'_>>::from_der(names).ok()?;
        names.iter().find_map(Self::read)
    }

    /// RFC 5280 §4.2.1.6: "OtherName ::= SEQUENCE { type-id OBJECT IDENTIFIER, value [0] EXPLICIT
    /// ANY DEFINED BY type-id }", under the tag of `otherName [0]`.
    fn read(name: &AnyRef<'_>) -> Option<Self> {
        let is_other = match name.tag() {
            Tag::ContextSpecific { number, constructed } => constructed && number.value() == 0,
            _ => false,
        };
        let [kind, value] = pair(name.value()).filter(|_| is_other)?;
        if kind.value() != HARDWARE_MODULE_NAME {
            return None;
        }
        let module = AnyRef::from_der(value.value()).ok()?;
        let [kind, serial] = pair(module.value())?;
        let fits = kind.tag() == Tag::ObjectIdentifier
            && serial.tag() == Tag::OctetString
            && (1..=HARDWARE_SERIAL_BYTES_MAX).contains(&serial.value().len());
        let kind = Oid::from_contents(kind.value()).filter(|_| fits)?;
        Some(Self { kind, serial: serial.value().to_vec() })
    }
}

/// Two elements and no more.
fn pair(contents: &[u8]) -> Option<[AnyRef<'_>; 2]> {
    let mut reader = SliceReader::new(contents).ok()?;
    let both = [AnyRef::decode(&mut reader).ok()?, AnyRef::decode(&mut reader).ok()?];
    reader.is_finished().then_some(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4108_5_a_hardware_module_name_is_read_whole_or_not_at_all() {
        let check = |der: &[u8], expect: Option<(&str, &[u8])>| {
            let found = HardwareModuleName::read(&AnyRef::from_der(der).unwrap());
            let found = found.map(|name| (name.kind.to_string(), name.serial));
            assert_eq!(found, expect.map(|(kind, serial)| (kind.to_owned(), serial.to_vec())));
        };
        let good =
            [0xa0, 21, 6, 8, 0x2b, 6, 1, 5, 5, 7, 8, 4, 0xa0, 9, 0x30, 7, 6, 2, 0x2a, 3, 4, 1, 7];
        check(&good, Some(("1.2.3", &[7])));
        let altered = |at: usize, value: u8| {
            let mut der = good;
            der[at] = value;
            der
        };
        check(&altered(11, 5), None);
        check(&altered(0, 0xa1), None);
        check(&altered(16, 4), None);
        check(&altered(20, 3), None);
    }
}
