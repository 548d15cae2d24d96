//! Distinguished names (RFC 5280 §4.1.2.4), kept as DER: they are compared and copied, never
//! interpreted.

use std::fmt;

use crate::encode::{OBJECT_IDENTIFIER, SEQUENCE, SET, UTF8_STRING, tlv};

// RFC 5280 appendix A.1: "ub-common-name INTEGER ::= 64", "ub-organization-name INTEGER ::= 64".
/// Longest common or organization name, in characters.
const ATTRIBUTE_CHARACTERS_MAX: usize = 64;

/// `id-at-commonName`.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// `id-at-organizationName`.
const ORGANIZATION: &[u8] = &[0x55, 4, 10];

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

    /// A name as it was read, header included.
    pub(crate) fn from_der(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// The DER of the whole `Name`.
    pub fn der(&self) -> &[u8] {
        &self.0
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
    fn rfc5280_4_1_2_4_names_are_written() {
        assert_eq!(Name::new(None, None), Ok(Name::empty()));
        let der = [0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, b'a'];
        assert_eq!(Name::new(None, Some("a")).unwrap().der(), der);
        assert!(!Name::new(Some("Example"), Some("a")).unwrap().is_empty());
        let long = "x".repeat(65);
        for bad in ["", "a\nb", &long] {
            assert!(matches!(Name::new(None, Some(bad)), Err(NameError::Attribute(_))));
        }
    }
}
