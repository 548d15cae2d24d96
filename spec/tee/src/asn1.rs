//! Extensions of makers of processors, which hold single numbers, strings and octets.

use der::asn1::AnyRef;
use der::{Decode, SliceReader, Tag, Tagged};

/// The elements of the contents of a sequence.
pub(crate) fn elements(contents: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(contents).ok()?;
    let mut found = Vec::new();
    while !der::Reader::is_finished(&reader) {
        found.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(found)
}

/// The contents of one sequence that is all of `der`.
pub(crate) fn sequence(der: &[u8]) -> Option<&[u8]> {
    let any = AnyRef::from_der(der).ok()?;
    (any.tag() == Tag::Sequence).then(|| any.value())
}

/// A number from 0 to 255, or to 65,535, that is all of `der`.
pub(crate) fn number<'a, N: Decode<'a, Error = der::Error>>(der: &'a [u8]) -> Option<N> {
    N::from_der(der).ok()
}

/// The octets of an `OCTET STRING` that is all of `der`.
pub(crate) fn octets(der: &[u8]) -> Option<&[u8]> {
    let any = AnyRef::from_der(der).ok()?;
    (any.tag() == Tag::OctetString).then(|| any.value())
}

/// The text of an `IA5String` that is all of `der`.
pub(crate) fn text(der: &[u8]) -> Option<String> {
    let any = AnyRef::from_der(der).ok().filter(|any| any.tag() == Tag::Ia5String)?;
    let graphic = any.value().iter().all(|byte| matches!(byte, b' '..=b'~'));
    graphic.then(|| String::from_utf8_lossy(any.value()).into_owned())
}
