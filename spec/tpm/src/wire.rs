//! Numbers and sized buffers. Part 1 §5.2: "All integer values are expressed as being an array of
//! one or more octets. The octet at offset zero within the array is the most significant octet
//! (MSO) of the integer."

use crate::{Malformed, STRUCTURE_BYTES_MAX};

/// Reads a structure from its front.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader of at most [`STRUCTURE_BYTES_MAX`] bytes.
    pub const fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > STRUCTURE_BYTES_MAX {
            return Err(Malformed::TooLong { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed::Short)
    }

    /// UINT8.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    /// UINT16.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// UINT32.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// UINT64.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// TPM2B: a size in two bytes, and so many bytes.
    pub fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let size = self.u16()?;
        self.bytes(usize::from(size))
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Nothing may be left.
    pub const fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing { bytes: self.0.len() }) }
    }
}

/// The contents of a TPM2B, if the bytes are one as a whole; else the bytes: some programs keep a
/// structure in a file with its size before it, others without.
pub fn contents(bytes: &[u8]) -> &[u8] {
    match bytes.split_first_chunk::<2>() {
        Some((size, rest)) if usize::from(u16::from_be_bytes(*size)) == rest.len() => rest,
        _ => bytes,
    }
}

/// Writes a structure.
#[derive(Debug, Default, Clone)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// UINT8.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// UINT16.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// UINT32.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// UINT64.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Bytes as they are.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// TPM2B: a size in two bytes, and the bytes, of which no more are written than fit.
    #[must_use]
    pub fn sized(self, bytes: &[u8]) -> Self {
        let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(size).bytes(bytes.get(..usize::from(size)).unwrap_or_default())
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
