//! Basic encoding (X.690 §8), as some platforms still write it: lengths that are not told ahead,
//! octet strings in pieces. It is read into a tree, from which the distinguished encoding is
//! written again: what was distinguished stays, byte for byte, as it was.

use crate::encode::{OCTET_STRING, tlv};

/// How deep elements may be nested.
const DEPTH_MAX: usize = 24;
/// How many elements are read.
const ELEMENTS_MAX: usize = 4_096;
/// The bit of a tag that says that elements are inside.
const CONSTRUCTED: u8 = 0x20;

/// An element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) tag: u8,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Bytes(Vec<u8>),
    Elements(Vec<Element>),
}

impl Element {
    /// Reads one element, all of it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { left: bytes, budget: ELEMENTS_MAX };
        let element = reader.element(DEPTH_MAX)?;
        reader.left.is_empty().then_some(element)
    }

    /// The elements inside, if it is of this tag.
    pub(crate) fn inside(&self, tag: u8) -> Option<&[Self]> {
        match &self.content {
            Content::Elements(elements) if self.tag == tag => Some(elements),
            _ => None,
        }
    }

    /// The bytes inside, if it is of this tag.
    pub(crate) fn bytes(&self, tag: u8) -> Option<&[u8]> {
        match &self.content {
            Content::Bytes(bytes) if self.tag == tag => Some(bytes),
            _ => None,
        }
    }

    // X.690 §8.7.3.2: "The contents octets shall consist of zero, one, or more encodings [...] The
    // octets in each [...] shall be in order".
    /// The value of an `OCTET STRING`, in however many pieces.
    pub(crate) fn octets(&self) -> Option<Vec<u8>> {
        if let Some(whole) = self.bytes(OCTET_STRING) {
            return Some(whole.to_vec());
        }
        let pieces = self.inside(OCTET_STRING | CONSTRUCTED)?;
        pieces.iter().map(Self::octets).collect::<Option<Vec<_>>>().map(|all| all.concat())
    }

    /// The distinguished encoding, under another tag if one is given.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.der_as(self.tag)
    }

    pub(crate) fn der_as(&self, tag: u8) -> Vec<u8> {
        match &self.content {
            Content::Bytes(bytes) => tlv(tag, &[bytes]),
            Content::Elements(elements) => {
                let inside: Vec<_> = elements.iter().map(Self::der).collect();
                let inside: Vec<_> = inside.iter().map(Vec::as_slice).collect();
                tlv(tag, &inside)
            }
        }
    }
}

struct Reader<'a> {
    left: &'a [u8],
    budget: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.left.split_at_checked(count)?;
        self.left = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn element(&mut self, depth: usize) -> Option<Element> {
        let depth = depth.checked_sub(1)?;
        self.budget = self.budget.checked_sub(1)?;
        let tag = self.byte()?;
        // Numbers above 30 and the end of contents have no place here.
        if tag & 0x1f == 0x1f || tag == 0 {
            return None;
        }
        let is_constructed = tag & CONSTRUCTED != 0;
        // X.690 §8.1.3.6.1: "The single octet shall have bit 8 set to one, and bits 7 to 1 set to
        // zero" for a length that is not told.
        match self.byte()? {
            0x80 if is_constructed => {
                let mut elements = Vec::new();
                while !self.left.starts_with(&[0, 0]) {
                    elements.push(self.element(depth)?);
                }
                self.take(2)?;
                Some(Element { tag, content: Content::Elements(elements) })
            }
            first => {
                let length = self.length(first)?;
                let bytes = self.take(length)?;
                if !is_constructed {
                    return Some(Element { tag, content: Content::Bytes(bytes.to_vec()) });
                }
                let mut inner = Reader { left: bytes, budget: self.budget };
                let mut elements = Vec::new();
                while !inner.left.is_empty() {
                    elements.push(inner.element(depth)?);
                }
                self.budget = inner.budget;
                Some(Element { tag, content: Content::Elements(elements) })
            }
        }
    }

    fn length(&mut self, first: u8) -> Option<usize> {
        match first {
            0..=0x7f => Some(usize::from(first)),
            0x81..=0x84 => {
                let bytes = self.take(usize::from(first & 0x7f))?;
                Some(bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x690_8_what_is_in_pieces_is_put_together() {
        let pieces = [0x24, 0x80, 4, 1, 7, 4, 2, 8, 9, 0, 0];
        let element = Element::parse(&pieces).unwrap();
        assert_eq!(element.octets(), Some(vec![7, 8, 9]));
        assert_eq!(element.der(), [0x24, 7, 4, 1, 7, 4, 2, 8, 9]);
        let plain = [0x30, 3, 4, 1, 7];
        assert_eq!(Element::parse(&plain).unwrap().der(), plain);
    }

    #[test]
    fn x690_8_what_does_not_end_or_is_too_deep_is_refused() {
        for bad in [
            &[][..],
            &[4],
            &[4, 2, 1],
            &[4, 0x80, 0, 0],
            &[0x24, 0x80, 4, 1, 7],
            &[0x30, 1, 0],
            &[0x1f, 1, 0],
            &[0, 0],
            &[4, 1, 7, 0],
            &[4, 0x85, 0, 0, 0, 0, 1, 7],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(Element::parse(bad), None, "{bad:?}");
        }
        let nested = |depth: usize| [[0x30, 0x80].repeat(depth), [0, 0].repeat(depth)].concat();
        assert!(Element::parse(&nested(24)).is_some());
        assert!(Element::parse(&nested(25)).is_none());
        let many = [vec![0x30, 0x80], [4, 0].repeat(4_096), vec![0, 0]].concat();
        assert!(Element::parse(&many).is_none());
    }
}
