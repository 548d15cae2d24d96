//! The certificates that a host gives its guest with a report (GHCB Standardization 56421 §4.1.8.1,
//! `cert_table`; the kernel's `auxblob`).

use crate::malformed::Malformed;
use crate::read::Reader;
use crate::snp::CERTIFICATES_MAX;

/// The longest table that is read, in bytes.
const TABLE_BYTES_MAX: usize = 64 * 1024;

/// What the table holds, in its order: certificates in DER, and whatever else the host put there.
/// Entries are of 16 bytes of identifier, offset and length; one of zeros ends them. Nobody signed
/// the table: what an entry calls itself is not looked at.
pub fn certificate_table(bytes: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    if bytes.len() > TABLE_BYTES_MAX {
        return Err(Malformed::TooLong { bytes: bytes.len(), max: TABLE_BYTES_MAX });
    }
    let mut found = Vec::new();
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        let identifier: [u8; 16] = reader.array()?;
        let (offset, length) = (reader.u32()?, reader.u32()?);
        if (identifier, offset, length) == ([0; 16], 0, 0) {
            return Ok(found);
        }
        if found.len() == CERTIFICATES_MAX {
            return Err(Malformed::Size { what: "the table of certificates", bytes: bytes.len() });
        }
        let mut entry = Reader::new(bytes);
        let size = |number| usize::try_from(number).map_err(|_| Malformed::Short);
        entry.bytes(size(offset)?)?;
        found.push(entry.bytes(size(length)?)?);
    }
    // A host without certificates gives nothing at all.
    if bytes.is_empty() { Ok(found) } else { Err(Malformed::Short) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(identifier: u8, offset: u32, length: u32) -> Vec<u8> {
        let mut entry = vec![identifier; 16];
        entry.extend(offset.to_le_bytes());
        entry.extend(length.to_le_bytes());
        entry
    }

    #[test]
    fn ghcb_4_1_8_a_table_is_read_within_its_bounds() {
        let check = |parts: &[Vec<u8>], expect: Result<Vec<&[u8]>, Malformed>| {
            assert_eq!(certificate_table(&parts.concat()), expect);
        };
        let text = b"onetwo".to_vec();
        check(&[], Ok(Vec::new()));
        check(&[entry(0, 0, 0)], Ok(Vec::new()));
        let two = [entry(1, 72, 3), entry(2, 75, 3), entry(0, 0, 0), text.clone()];
        check(&two, Ok(vec![b"one", b"two"]));
        check(&[entry(1, 48, 3), entry(0, 0, 0), b"on".to_vec()], Err(Malformed::Short));
        check(&[entry(1, u32::MAX, 1), entry(0, 0, 0)], Err(Malformed::Short));
        check(&[entry(1, 0, 3)], Err(Malformed::Short));
        check(&[vec![1; 20]], Err(Malformed::Short));
        let many = vec![entry(1, 0, 1); CERTIFICATES_MAX + 1];
        let bytes = many.concat().len();
        let size = Malformed::Size { what: "the table of certificates", bytes };
        check(&many, Err(size));
    }
}
