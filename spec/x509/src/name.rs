//! Distinguished names (RFC 5280 §4.1.2.4), kept as DER: they are compared and copied; what names a
//! device is read out of them.

use std::fmt;

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use crate::encode::{OBJECT_IDENTIFIER, SEQUENCE, SET, UTF8_STRING, tlv};

// RFC 5280 appendix A.1: "ub-common-name INTEGER ::= 64", "ub-organization-name INTEGER ::= 64".
/// Longest common or organization name, in characters.
const ATTRIBUTE_CHARACTERS_MAX: usize = 64;

/// `id-at-commonName`.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// `id-at-serialNumber`.
const SERIAL_NUMBER: &[u8] = &[0x55, 4, 5];
/// `id-at-organizationName`.
const ORGANIZATION: &[u8] = &[0x55, 4, 10];

/// Short names of attributes (RFC 4514 §3).
const SHORT: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (ORGANIZATION, "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

/// A distinguished name: the DER of the whole `Name`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// A name without attributes.
    pub fn empty() -> Self {
        Self(tlv(SEQUENCE, &[]))
    }

    /// A name of an organization and a common name, in this order; `None` leaves one out.
    pub fn new(organization: Option<&str>, common_name: Option<&str>) -> Result<Self, NameError> {
        let write = |kind, text: Option<&str>| {
            text.map(|text| attribute(kind, text)).transpose().map(Option::unwrap_or_default)
        };
        let parts = (write(ORGANIZATION, organization)?, write(COMMON_NAME, common_name)?);
        Ok(Self(tlv(SEQUENCE, &[&parts.0, &parts.1])))
    }

    /// Reads the DER of a whole `Name`, to write it as it is; `None` if it is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        Vec::<AnyRef<'_>>::from_der(der).is_ok().then(|| Self(der.to_vec()))
    }

    /// A name as it was read, header included.
    pub(crate) fn from_der(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// The DER of the whole `Name`.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Its common names, as text, in order.
    pub fn common_names(&self) -> Vec<String> {
        self.texts(COMMON_NAME)
    }

    /// Its `serialNumber` attributes (X.520: that of a device, not of the certificate).
    pub fn serial_numbers(&self) -> Vec<String> {
        self.texts(SERIAL_NUMBER)
    }

    /// Whether this text means it (RFC 4514 §2): the attributes in reverse order, each as text. One
    /// with attributes that have no short name there, or are no text, matches nothing.
    pub fn matches_rfc4514(&self, expected: &str) -> bool {
        let sets = Vec::<AnyRef<'_>>::from_der(&self.0).unwrap_or_default();
        let mut written = Vec::with_capacity(sets.len());
        for set in sets.iter().rev() {
            let attributes = elements(set.value());
            // RFC 4514 §2.2: several attributes of one element stand in any order: read none.
            let [attribute] = attributes.as_slice() else { return false };
            let parts = elements(attribute.value());
            let [kind, value] = parts.as_slice() else { return false };
            let short = SHORT.iter().find(|(known, _)| *known == kind.value());
            let (Some((_, short)), Some(value)) = (short, text(*value)) else { return false };
            written.push(format!("{short}={}", escaped(&value)));
        }
        // RFC 4514 §3: no space stands around separators; many tools write one after the comma.
        !written.is_empty() && (written.join(",") == expected || written.join(", ") == expected)
    }

    /// The values of every attribute of this kind that are text without control characters.
    fn texts(&self, kind: &[u8]) -> Vec<String> {
        let sets = Vec::<AnyRef<'_>>::from_der(&self.0).unwrap_or_default();
        let attributes = sets.iter().flat_map(|set| elements(set.value()));
        let of_kind = attributes.filter_map(|attribute| {
            let parts = elements(attribute.value());
            match parts.as_slice() {
                [found, value] if found.value() == kind => text(*value),
                _ => None,
            }
        });
        of_kind.collect()
    }

    /// Whether it has no attribute at all.
    pub fn is_empty(&self) -> bool {
        self.0 == [SEQUENCE, 0]
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({} bytes)", self.0.len())
    }
}

/// Why a name cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An attribute has no characters, too many, or control characters.
    #[error("a name attribute has 1 to {ATTRIBUTE_CHARACTERS_MAX} printable characters: `{0}`")]
    Attribute(String),
}

/// RFC 4514 §2.4: what would be read as a separator is written behind a backslash.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, letter) in value.chars().enumerate() {
        let edge = (at == 0 && (letter == ' ' || letter == '#')) || (at == last && letter == ' ');
        if edge || "\"+,;<>\\".contains(letter) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// The elements of a constructed value, up to the first that does not read.
fn elements(contents: &[u8]) -> Vec<AnyRef<'_>> {
    let Ok(mut reader) = SliceReader::new(contents) else { return Vec::new() };
    let mut found = Vec::new();
    while !reader.is_finished() {
        let Ok(element) = AnyRef::decode(&mut reader) else { break };
        found.push(element);
    }
    found
}

/// RFC 5280 §4.1.2.4: `UTF8String`, `PrintableString`, and `IA5String` of older authorities.
fn text(value: AnyRef<'_>) -> Option<String> {
    let is_text = matches!(value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
    let text = std::str::from_utf8(value.value()).ok().filter(|_| is_text)?;
    let clean = !text.is_empty() && !text.chars().any(char::is_control);
    clean.then(|| text.to_owned())
}

/// One relative distinguished name of one attribute.
fn attribute(kind: &[u8], text: &str) -> Result<Vec<u8>, NameError> {
    let length = text.chars().count();
    if length == 0 || length > ATTRIBUTE_CHARACTERS_MAX || text.chars().any(char::is_control) {
        return Err(NameError::Attribute(text.chars().take(ATTRIBUTE_CHARACTERS_MAX).collect()));
    }
    // RFC 5280 §4.1.2.4: "CAs MUST use either the PrintableString or UTF8String encoding of
    // DirectoryString"
    let (kind, value) = (tlv(OBJECT_IDENTIFIER, &[kind]), tlv(UTF8_STRING, &[text.as_bytes()]));
    Ok(tlv(SET, &[&tlv(SEQUENCE, &[&kind, &value])]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4514_2_a_text_means_a_name_or_not() {
        let name = Name::new(Some("Example, Inc."), Some("client")).unwrap();
        for (text, expect) in [
            ("CN=client,O=Example\\, Inc.", true),
            ("CN=client, O=Example\\, Inc.", true),
            ("O=Example\\, Inc.,CN=client", false),
            ("CN=client,O=Example, Inc.", false),
            ("CN=client", false),
            ("cn=client,O=Example\\, Inc.", false),
            ("", false),
        ] {
            assert_eq!(name.matches_rfc4514(text), expect, "{text}");
        }
        assert!(!Name::empty().matches_rfc4514(""));
    }

    #[test]
    fn rfc5280_4_1_2_4_names_are_written() {
        assert_eq!(Name::new(None, None), Ok(Name::empty()));
        let der = [0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, b'a'];
        assert_eq!(Name::new(None, Some("a")).unwrap().der(), der);
        let both = Name::new(Some("Example"), Some("a")).unwrap();
        assert!(!both.is_empty());
        assert_eq!((both.common_names(), both.serial_numbers()), (vec!["a".to_owned()], vec![]));
        let device =
            Name::from_der(vec![0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 5, 0x13, 1, b'7']);
        assert_eq!(
            (device.common_names(), device.serial_numbers()),
            (vec![], vec!["7".to_owned()])
        );
        assert_eq!(Name::from_der(vec![0x30, 3, 0x31, 9, 0]).common_names(), Vec::<String>::new());
        let long = "x".repeat(65);
        for bad in ["", "a\nb", &long] {
            assert!(matches!(Name::new(None, Some(bad)), Err(NameError::Attribute(_))));
        }
    }
}
