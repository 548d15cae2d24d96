//! Reading structures of processors, whose numbers are little-endian.

use crate::malformed::Malformed;

/// What is left of a structure.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// As many bytes as the `u32` before them says.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let size = usize::try_from(self.u32()?).map_err(|_| Malformed::Short)?;
        self.bytes(size)
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// There must be nothing more.
    pub(crate) const fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing { bytes: self.0.len() }) }
    }
}

/// Bytes that no signature covers, and that must not be a place to hide in.
pub(crate) fn zero(bytes: &[u8], what: &'static str) -> Result<(), Malformed> {
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Malformed::Reserved { what }) }
}
