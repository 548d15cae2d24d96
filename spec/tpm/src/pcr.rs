//! Which PCRs, and the digest over them (Part 2 §10.6).

use crate::SELECTIONS_MAX;
use crate::algorithm::Hash;
use crate::malformed::Malformed;
use crate::wire::{Reader, Writer};

/// PCRs of a platform: 0 to 23.
pub const PCRS_MAX: u8 = 24;
/// The longest bitmap, in bytes.
const BITMAP_BYTES_MAX: u8 = 32;

/// TPMS_PCR_SELECTION: PCRs of one bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrSelection {
    /// The identifier of the bank's hash.
    pub hash: u16,
    /// "The least significant bit of the first octet is PCR 0".
    pub bitmap: Vec<u8>,
}

impl PcrSelection {
    /// These PCRs of the bank; indices beyond the last one are left out.
    pub fn new(hash: Hash, indices: impl IntoIterator<Item = u8>) -> Self {
        let mut bits = 0_u32;
        for index in indices.into_iter().filter(|index| *index < PCRS_MAX) {
            bits |= 1 << index;
        }
        let [low, middle, high, _] = bits.to_le_bytes();
        Self { hash: hash.id(), bitmap: vec![low, middle, high] }
    }

    /// TPML_PCR_SELECTION.
    pub fn read_list(reader: &mut Reader<'_>) -> Result<Vec<Self>, Malformed> {
        let found = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if found > SELECTIONS_MAX {
            let (what, max) = ("banks of pcrs", SELECTIONS_MAX);
            return Err(Malformed::TooMany { what, found, max });
        }
        (0..found).map(|_| Self::read(reader)).collect()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (hash, bytes) = (reader.u16()?, reader.u8()?);
        if bytes > BITMAP_BYTES_MAX {
            return Err(Malformed::Size { what: "a bitmap of pcrs", bytes: usize::from(bytes) });
        }
        Ok(Self { hash, bitmap: reader.bytes(usize::from(bytes))?.to_vec() })
    }

    /// TPML_PCR_SELECTION.
    pub fn write_list(all: &[Self], writer: Writer) -> Writer {
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.iter().fold(writer.u32(count), |writer, one| {
            let bytes = u8::try_from(one.bitmap.len()).unwrap_or(u8::MAX);
            writer.u16(one.hash).u8(bytes).bytes(&one.bitmap)
        })
    }

    /// The PCRs, ascending.
    pub fn indices(&self) -> Vec<u8> {
        let bits = self.bitmap.iter().enumerate().flat_map(|(at, byte)| {
            (0..8_u8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| (at, bit))
        });
        bits.filter_map(|(at, bit)| u8::try_from(at * 8 + usize::from(bit)).ok()).collect()
    }
}

/// Part 4 (PCRComputeCurrentDigest): the digest of the selected values one after the other, banks
/// in the order of the selection, PCRs ascending.
pub fn pcr_digest<'a>(hash: Hash, values: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let all: Vec<u8> = values.into_iter().flatten().copied().collect();
    hash.digest(&all)
}
