//! The public area of a key (Part 2 §12.2.4, TPMT_PUBLIC), and its name.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicKeyComponents;

use crate::algorithm::{Curve, Hash, Scheme, Symmetric};
use crate::attributes::Attributes;
use crate::malformed::Malformed;
use crate::wire::{Reader, Writer, contents};

/// `TPM_ALG_RSA`.
const RSA: u16 = 0x0001;
/// `TPM_ALG_ECC`.
const ECC: u16 = 0x0023;
/// `TPM_ALG_NULL`.
const NULL: u16 = 0x0010;
/// Part 2 §12.2.3.5: "When zero, indicates that the exponent is the default of 2^16 + 1".
const EXPONENT_DEFAULT: u32 = 65_537;
/// The sizes of an RSA modulus, in bits.
const RSA_BITS: [u16; 3] = [2048, 3072, 4096];

/// `SubjectPublicKeyInfo` of a point on P-256, up to the point (RFC 5480 §2).
const SPKI_P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 3, 0x42, 0,
];
/// The same of P-384.
const SPKI_P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22,
    3, 0x62, 0,
];

/// A key as a TPM shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    /// The hash of its name.
    pub name_alg: Hash,
    /// What it may do.
    pub attributes: Attributes,
    /// Its policy, empty if it has none.
    pub policy: Vec<u8>,
    /// What protects its children; `None` if it has none.
    pub symmetric: Option<Symmetric>,
    /// How it signs; `None` if the caller says, or it does not sign.
    pub scheme: Option<Scheme>,
    /// The key itself.
    pub key: Key,
}

/// The key itself. A template has no modulus and no point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// RSA.
    Rsa {
        /// The length of the modulus, in bits.
        bits: u16,
        /// The public exponent as the structure has it: 0 for 65,537.
        exponent: u32,
        /// The modulus, big-endian.
        modulus: Vec<u8>,
    },
    /// A point.
    Ecc {
        /// On this curve.
        curve: Curve,
        /// Its first coordinate.
        x: Vec<u8>,
        /// Its second coordinate.
        y: Vec<u8>,
    },
}

impl Public {
    /// Reads a TPMT_PUBLIC, all of it. Written again it has the same bytes, so the name is that of
    /// what was read.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let kind = reader.u16()?;
        let name_alg = Hash::of_id(reader.u16()?)?;
        let attributes = Attributes::from_bits(reader.u32()?)?;
        let policy = reader.sized()?.to_vec();
        let symmetric = Symmetric::read(&mut reader)?;
        let scheme = Scheme::read(&mut reader)?;
        let key = match kind {
            RSA => Key::read_rsa(&mut reader)?,
            ECC => Key::read_ecc(&mut reader)?,
            id => return Err(Malformed::Algorithm { what: "kind of key", id }),
        };
        reader.end()?;
        Ok(Self { name_alg, attributes, policy, symmetric, scheme, key })
    }

    /// Reads a TPM2B_PUBLIC, as tpm2-tools keep it in files, or the TPMT_PUBLIC alone, as SPIRE
    /// does.
    pub fn parse_file(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::parse(contents(bytes))
    }

    /// The TPMT_PUBLIC.
    pub fn to_bytes(&self) -> Vec<u8> {
        let kind = match self.key {
            Key::Rsa { .. } => RSA,
            Key::Ecc { .. } => ECC,
        };
        let front = Writer::default()
            .u16(kind)
            .u16(self.name_alg.id())
            .u32(self.attributes.bits())
            .sized(&self.policy);
        let front = Scheme::write(self.scheme, Symmetric::write(self.symmetric, front));
        match &self.key {
            Key::Rsa { bits, exponent, modulus } => front.u16(*bits).u32(*exponent).sized(modulus),
            Key::Ecc { curve, x, y } => front.u16(curve.id()).u16(NULL).sized(x).sized(y),
        }
        .into_bytes()
    }

    /// Part 1 §16: "Name ≔ nameAlg || H_nameAlg(handle→nvPublicArea)" for an index, and the same of
    /// the public area of an object.
    pub fn name(&self) -> Vec<u8> {
        let digest = self.name_alg.digest(&self.to_bytes());
        Writer::default().u16(self.name_alg.id()).bytes(&digest).into_bytes()
    }

    /// DER of its `SubjectPublicKeyInfo`, to compare with that of a certificate. `None` if the
    /// library does not take the key.
    pub fn spki_der(&self) -> Option<Vec<u8>> {
        if let Some(components) = self.key.rsa() {
            return components.as_der().ok().map(|der| der.as_ref().to_vec());
        }
        let Key::Ecc { curve, .. } = &self.key else { return None };
        let prefix = match curve {
            Curve::P256 => SPKI_P256,
            Curve::P384 => SPKI_P384,
        };
        self.key.point().map(|point| [prefix, &point].concat())
    }
}

impl Key {
    fn read_rsa(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (bits, exponent) = (reader.u16()?, reader.u32()?);
        let modulus = reader.sized()?.to_vec();
        let fits = RSA_BITS.contains(&bits)
            && modulus.len() == usize::from(bits / 8)
            && modulus.first().is_some_and(|first| first & 0x80 != 0);
        if !fits {
            return Err(Malformed::Size { what: "an rsa modulus", bytes: modulus.len() });
        }
        Ok(Self::Rsa { bits, exponent, modulus })
    }

    fn read_ecc(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let curve = Curve::of_id(reader.u16()?)?;
        // TPMT_KDF_SCHEME: none of the keys that are read here has one.
        match reader.u16()? {
            NULL => {}
            id => return Err(Malformed::Algorithm { what: "key derivation of a key", id }),
        }
        let (x, y) = (reader.sized()?.to_vec(), reader.sized()?.to_vec());
        for coordinate in [&x, &y] {
            if coordinate.is_empty() || coordinate.len() > curve.field_bytes() {
                return Err(Malformed::Size { what: "a coordinate", bytes: coordinate.len() });
            }
        }
        Ok(Self::Ecc { curve, x, y })
    }

    /// The RSA key as the library takes it.
    pub(crate) fn rsa(&self) -> Option<PublicKeyComponents<Vec<u8>>> {
        let Self::Rsa { exponent, modulus, .. } = self else { return None };
        let exponent = if *exponent == 0 { EXPONENT_DEFAULT } else { *exponent };
        let e = exponent.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        Some(PublicKeyComponents { n: modulus.clone(), e })
    }

    /// The point in uncompressed form. A TPM may leave out leading zeros of a coordinate.
    pub(crate) fn point(&self) -> Option<Vec<u8>> {
        let Self::Ecc { curve, x, y } = self else { return None };
        let mut point = vec![4];
        point.extend(padded(x, curve.field_bytes())?);
        point.extend(padded(y, curve.field_bytes())?);
        Some(point)
    }
}

/// A number with leading zeros, `length` bytes long; `None` if it is longer.
pub(crate) fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let zeros = length.checked_sub(number.len())?;
    let mut out = vec![0; zeros];
    out.extend_from_slice(number);
    Some(out)
}
