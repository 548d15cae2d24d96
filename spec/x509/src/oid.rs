//! Object identifiers, kept as the bytes that the certificate has: arcs of any size are legal, so
//! nothing here turns them into machine integers except to show them.

use std::borrow::Cow;
use std::fmt;

/// Longest object identifier that is read, in bytes of DER contents.
const OID_BYTES_MAX: usize = 64;

/// An object identifier: the contents octets of its DER form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(Cow<'static, [u8]>);

impl Oid {
    /// `id-pe-cmw` (draft-ietf-rats-msg-wrap): a conceptual message wrapper.
    pub const CMW: Self = Self::of(&[0x2b, 6, 1, 5, 5, 7, 1, 35]);
    /// `id-kp-serverAuth`: TLS server authentication.
    pub const SERVER_AUTH: Self = Self::of(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
    /// `id-kp-clientAuth`: TLS client authentication.
    pub const CLIENT_AUTH: Self = Self::of(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
    /// `id-kp-codeSigning`: signatures on code.
    pub const CODE_SIGNING: Self = Self::of(&[0x2b, 6, 1, 5, 5, 7, 3, 3]);
    /// `id-kp-timeStamping`: time stamps.
    pub const TIME_STAMPING: Self = Self::of(&[0x2b, 6, 1, 5, 5, 7, 3, 8]);
    /// `id-ce-subjectKeyIdentifier`.
    pub const SUBJECT_KEY_ID: Self = Self::of(&[0x55, 0x1d, 14]);
    /// `id-ce-keyUsage`.
    pub const KEY_USAGE: Self = Self::of(&[0x55, 0x1d, 15]);
    /// `id-ce-subjectAltName`.
    pub const SUBJECT_ALT_NAME: Self = Self::of(&[0x55, 0x1d, 17]);
    /// `id-ce-basicConstraints`.
    pub const BASIC_CONSTRAINTS: Self = Self::of(&[0x55, 0x1d, 19]);
    /// `id-ce-nameConstraints`.
    pub const NAME_CONSTRAINTS: Self = Self::of(&[0x55, 0x1d, 30]);
    /// `id-ce-authorityKeyIdentifier`.
    pub const AUTHORITY_KEY_ID: Self = Self::of(&[0x55, 0x1d, 35]);
    /// `id-ce-extKeyUsage`.
    pub const EXTENDED_KEY_USAGE: Self = Self::of(&[0x55, 0x1d, 37]);

    /// An identifier known at compile time, from its DER contents.
    pub(crate) const fn of(contents: &'static [u8]) -> Self {
        Self(Cow::Borrowed(contents))
    }

    /// The identifier written with dots: `1.2.840.10045.2.1`. `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut arcs = text.split('.').map(parse_arc);
        let (first, second) = (arcs.next()??, arcs.next()??);
        if first > 2 || (first < 2 && second > 39) {
            return None;
        }
        let mut contents = Vec::new();
        write_arc(&mut contents, (first * 40).checked_add(second)?);
        for arc in arcs {
            write_arc(&mut contents, arc?);
        }
        (contents.len() <= OID_BYTES_MAX).then_some(Self(Cow::Owned(contents)))
    }

    /// From DER contents octets; `None` if they are no identifier or too long.
    pub(crate) fn from_contents(contents: &[u8]) -> Option<Self> {
        // X.690 §8.19.2: "the leading octet of the subidentifier shall not have the value 80₁₆."
        let starts = contents.split_inclusive(|byte| byte & 0x80 == 0);
        let bad = contents.is_empty()
            || contents.len() > OID_BYTES_MAX
            || contents.last().is_none_or(|last| last & 0x80 != 0)
            || starts.into_iter().any(|group| group.first() == Some(&0x80));
        (!bad).then(|| Self(Cow::Owned(contents.to_vec())))
    }

    /// The DER contents octets.
    pub(crate) fn contents(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.split_inclusive(|byte| byte & 0x80 == 0).enumerate() {
            let Some(arc) = read_arc(group) else {
                f.write_str(".?")?;
                continue;
            };
            if index > 0 {
                write!(f, ".{arc}")?;
                continue;
            }
            let first = (arc / 40).min(2);
            write!(f, "{first}.{}", arc - first * 40)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One arc in decimal, without sign or leading zero.
fn parse_arc(text: &str) -> Option<u128> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if plain && canonical { text.parse().ok() } else { None }
}

/// The number that groups of seven bits make; `None` beyond 128 bits.
fn read_arc(groups: &[u8]) -> Option<u128> {
    groups
        .iter()
        .try_fold(0_u128, |arc, byte| Some(arc.checked_mul(128)? | u128::from(byte & 0x7f)))
}

/// Appends `arc` in groups of seven bits, the fewest that hold it.
fn write_arc(out: &mut Vec<u8>, arc: u128) {
    let bits = 128 - arc.leading_zeros().min(127);
    for group in (0..bits.div_ceil(7)).rev() {
        let low = u8::try_from((arc >> (group * 7)) & 0x7f).unwrap_or_default();
        out.push(if group == 0 { low } else { low | 0x80 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x690_8_19_identifiers_round_trip() {
        for (text, contents) in [
            ("1.2.840.10045.2.1", Some(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..])),
            ("2.5.29.17", Some(&[0x55, 0x1d, 17][..])),
            ("0.0", Some(&[0][..])),
            ("2.999", Some(&[0x88, 0x37][..])),
            ("1", None),
            ("3.1", None),
            ("1.40", None),
            ("1.2.", None),
            ("1.02", None),
            ("1.+2", None),
            ("1.2.99999999999999999999999999999999999999999", None),
            ("", None),
        ] {
            let oid = Oid::parse(text);
            assert_eq!(oid.as_ref().map(Oid::contents), contents, "{text}");
            if let (Some(oid), Some(contents)) = (oid, contents) {
                assert_eq!(oid.to_string(), text);
                assert_eq!(Oid::from_contents(contents), Some(oid));
            }
        }
    }

    #[test]
    fn x690_8_19_2_padded_and_cut_identifiers_are_none() {
        for contents in [&[][..], &[0x2a, 0x80, 0x01], &[0x2a, 0x86], &[1; 65]] {
            assert_eq!(Oid::from_contents(contents), None);
        }
    }

    #[test]
    fn x690_8_19_arcs_of_128_bits_are_read() {
        let uuid = |first| [&[0x69, first][..], &[0xff; 17], &[0x7f]].concat();
        let oid = Oid::from_contents(&uuid(0x83)).unwrap();
        assert_eq!(oid.to_string(), format!("2.25.{}", u128::MAX));
        assert_eq!(Oid::parse(&oid.to_string()), Some(oid));
        assert_eq!(Oid::from_contents(&uuid(0x84)).unwrap().to_string(), "2.25.?");
    }
}
