//! Algorithms by their identifiers (Part 2 §6.3).

use aws_lc_rs::{digest, hmac};

use crate::Malformed;
use crate::wire::{Reader, Writer};

/// `TPM_ALG_NULL`.
const NULL: u16 = 0x0010;
/// `TPM_ALG_AES`.
const AES: u16 = 0x0006;
/// `TPM_ALG_CFB`.
const CFB: u16 = 0x0043;

/// A hash. SHA-1 is none: whatever is named by it could be two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// `TPM_ALG_SHA256`.
    Sha256,
    /// `TPM_ALG_SHA384`.
    Sha384,
    /// `TPM_ALG_SHA512`.
    Sha512,
}

impl Hash {
    /// Its identifier.
    pub const fn id(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    /// The hash of this identifier.
    pub const fn of_id(id: u16) -> Result<Self, Malformed> {
        match id {
            0x000b => Ok(Self::Sha256),
            0x000c => Ok(Self::Sha384),
            0x000d => Ok(Self::Sha512),
            _ => Err(Malformed::Algorithm { what: "hash", id }),
        }
    }

    /// The digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    pub(crate) const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// `TPM_ECC_NIST_P256`.
    P256,
    /// `TPM_ECC_NIST_P384`.
    P384,
}

impl Curve {
    /// Its identifier.
    pub const fn id(self) -> u16 {
        match self {
            Self::P256 => 0x0003,
            Self::P384 => 0x0004,
        }
    }

    pub(crate) const fn of_id(id: u16) -> Result<Self, Malformed> {
        match id {
            0x0003 => Ok(Self::P256),
            0x0004 => Ok(Self::P384),
            _ => Err(Malformed::Algorithm { what: "curve", id }),
        }
    }

    /// The length of a coordinate, in bytes.
    pub const fn field_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

/// AES in CFB mode: what the children of a storage key are protected with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symmetric {
    /// The length of the key, in bits.
    pub bits: u16,
}

impl Symmetric {
    /// TPMT_SYM_DEF_OBJECT.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        match reader.u16()? {
            NULL => Ok(None),
            AES => {
                let (bits, mode) = (reader.u16()?, reader.u16()?);
                match mode {
                    CFB => Ok(Some(Self { bits })),
                    id => Err(Malformed::Algorithm { what: "mode of a storage key", id }),
                }
            }
            id => Err(Malformed::Algorithm { what: "cipher of a storage key", id }),
        }
    }

    pub(crate) fn write(this: Option<Self>, writer: Writer) -> Writer {
        match this {
            None => writer.u16(NULL),
            Some(Self { bits }) => writer.u16(AES).u16(bits).u16(CFB),
        }
    }
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// The padding or the equation.
    pub kind: SchemeKind,
    /// The hash of what is signed.
    pub hash: Hash,
}

/// The signing schemes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemeKind {
    /// `TPM_ALG_RSASSA`: PKCS #1 v1.5.
    RsaSsa,
    /// `TPM_ALG_RSAPSS`.
    RsaPss,
    /// `TPM_ALG_ECDSA`.
    Ecdsa,
}

impl SchemeKind {
    /// Its identifier.
    pub const fn id(self) -> u16 {
        match self {
            Self::RsaSsa => 0x0014,
            Self::RsaPss => 0x0016,
            Self::Ecdsa => 0x0018,
        }
    }

    pub(crate) const fn of_id(id: u16) -> Result<Self, Malformed> {
        match id {
            0x0014 => Ok(Self::RsaSsa),
            0x0016 => Ok(Self::RsaPss),
            0x0018 => Ok(Self::Ecdsa),
            _ => Err(Malformed::Algorithm { what: "signing scheme", id }),
        }
    }
}

impl Scheme {
    /// TPMT_RSA_SCHEME or TPMT_ECC_SCHEME.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        match reader.u16()? {
            NULL => Ok(None),
            id => {
                let kind = SchemeKind::of_id(id)?;
                Ok(Some(Self { kind, hash: Hash::of_id(reader.u16()?)? }))
            }
        }
    }

    /// As TPMT_SIG_SCHEME and its kin write it.
    pub fn write(this: Option<Self>, writer: Writer) -> Writer {
        match this {
            None => writer.u16(NULL),
            Some(Self { kind, hash }) => writer.u16(kind.id()).u16(hash.id()),
        }
    }
}
