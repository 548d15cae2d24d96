//! The form of an entry in a segment.
//!
//! ```text
//! u32 length of what follows the checksum | u32 crc32c of the length and of what follows |
//! u64 index | u32 place in its batch | 16 bytes id | u64 time (ms) | u16 number of terms |
//! for each term: u8 length, name, u16 length, value | the entry's bytes
//! ```
//! All numbers are little-endian. A length of zero is where nothing was written yet. The checksum
//! begins with the segment's salt, so that the contents of an entry cannot pose as a frame.
//!
//! The place tells the batch that was synced together: frames of a later batch prove that the
//! earlier one was durable, and so that a bad frame in it is damage and not a torn write.

use time::UnixTime;
use tlog::ENTRY_BYTES_MAX;

use crate::entry::{AppendError, Entry, Stored};

/// Terms an entry can have.
pub(crate) const TERMS_MAX: usize = 64;
/// Bytes of a term's value: room for the longest SPIFFE ID.
pub(crate) const TERM_VALUE_BYTES_MAX: usize = 4_096;
/// Bytes of a term's name.
const TERM_NAME_BYTES_MAX: usize = u8::MAX as usize;

/// Length and checksum.
const HEAD_BYTES: usize = 8;
/// Index, place, id, time, number of terms.
const FIXED_BYTES: usize = 8 + 4 + 16 + 8 + 2;
const PAYLOAD_BYTES_MAX: usize =
    FIXED_BYTES + TERMS_MAX * (3 + TERM_NAME_BYTES_MAX + TERM_VALUE_BYTES_MAX) + ENTRY_BYTES_MAX;
/// Bytes of the longest frame.
pub(crate) const FRAME_BYTES_MAX: usize = HEAD_BYTES + PAYLOAD_BYTES_MAX;

/// A frame that was read and whose checksum fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) index: u64,
    pub(crate) place: u32,
    pub(crate) id: [u8; 16],
    pub(crate) time: UnixTime,
    term_count: u16,
    terms: &'a [u8],
    pub(crate) bytes: &'a [u8],
    /// Bytes of the whole frame.
    pub(crate) length: usize,
}

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// Nothing was written here.
    Blank,
    /// It ends before its length says.
    CutOff,
    /// No frame has this length or these parts.
    Malformed,
    Checksum,
}

impl<'a> Frame<'a> {
    /// Reads the frame at the beginning of `from`, in a segment with this salt.
    pub(crate) fn read(from: &'a [u8], salt: u32) -> Result<Self, NoFrame> {
        let mut rest = from;
        let length = u32::from_le_bytes(*take(&mut rest).ok_or(NoFrame::CutOff)?);
        if length == 0 {
            return Err(NoFrame::Blank);
        }
        let checksum = u32::from_le_bytes(*take(&mut rest).ok_or(NoFrame::CutOff)?);
        let size = usize::try_from(length).map_err(|_| NoFrame::Malformed)?;
        if !(FIXED_BYTES..=PAYLOAD_BYTES_MAX).contains(&size) {
            return Err(NoFrame::Malformed);
        }
        let payload = rest.get(..size).ok_or(NoFrame::CutOff)?;
        if checksum != checksum_of(salt, length, payload) {
            return Err(NoFrame::Checksum);
        }
        Self::read_payload(payload).ok_or(NoFrame::Malformed)
    }

    fn read_payload(payload: &'a [u8]) -> Option<Self> {
        let mut rest = payload;
        let index = u64::from_le_bytes(*take(&mut rest)?);
        let place = u32::from_le_bytes(*take(&mut rest)?);
        let id = *take(&mut rest)?;
        let time = UnixTime::from_millis(u64::from_le_bytes(*take(&mut rest)?));
        let term_count = u16::from_le_bytes(*take(&mut rest)?);
        let terms = rest;
        for _ in 0..term_count {
            read_term(&mut rest)?;
        }
        let terms = terms.get(..terms.len() - rest.len())?;
        let length = HEAD_BYTES + payload.len();
        Some(Self { index, place, id, time, term_count, terms, bytes: rest, length })
    }

    /// Index of the first entry of the batch that was synced together.
    pub(crate) fn batch(&self) -> u64 {
        self.index.saturating_sub(u64::from(self.place))
    }

    /// Names and values, as they were written.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.terms;
        (0..self.term_count).map_while(move |_| read_term(&mut rest))
    }

    pub(crate) fn has_term(&self, name: &str, value: &str) -> bool {
        self.terms().any(|(n, v)| n == name.as_bytes() && v == value.as_bytes())
    }

    pub(crate) fn to_stored(self) -> Stored {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Stored {
            index: self.index,
            id: self.id,
            time: self.time,
            terms: self.terms().map(|(name, value)| (text(name), text(value))).collect(),
            bytes: self.bytes.to_vec(),
        }
    }
}

/// Writes a frame whose index, place and checksum [`number`] fills in.
pub(crate) fn prepare(entry: &Entry) -> Result<Vec<u8>, AppendError> {
    let bytes = entry.bytes.len();
    if bytes > ENTRY_BYTES_MAX {
        return Err(AppendError::EntryTooLong { bytes, max: ENTRY_BYTES_MAX });
    }
    let terms = entry.terms.len();
    let too_many = AppendError::TooManyTerms { terms, max: TERMS_MAX };
    let count = u16::try_from(terms).ok().filter(|_| terms <= TERMS_MAX).ok_or(too_many)?;
    let mut frame = vec![0; HEAD_BYTES + 8 + 4];
    frame.reserve(bytes + 512);
    frame.extend_from_slice(&entry.id);
    frame.extend_from_slice(&entry.time.millis().to_le_bytes());
    frame.extend_from_slice(&count.to_le_bytes());
    for (term, value) in &entry.terms {
        let too_long = |bytes, max| AppendError::TermTooLong { term: term.0, bytes, max };
        let name_length =
            u8::try_from(term.0.len()).map_err(|_| too_long(term.0.len(), TERM_NAME_BYTES_MAX))?;
        let value_length = u16::try_from(value.len())
            .ok()
            .filter(|_| value.len() <= TERM_VALUE_BYTES_MAX)
            .ok_or(too_long(value.len(), TERM_VALUE_BYTES_MAX))?;
        frame.push(name_length);
        frame.extend_from_slice(term.0.as_bytes());
        frame.extend_from_slice(&value_length.to_le_bytes());
        frame.extend_from_slice(value.as_bytes());
    }
    frame.extend_from_slice(&entry.bytes);
    Ok(frame)
}

/// Appends a prepared frame to a batch, now that its index is known.
pub(crate) fn number(to: &mut Vec<u8>, prepared: &[u8], salt: u32, index: u64, place: u32) {
    let Some((_, fixed)) = prepared.split_at_checked(HEAD_BYTES + 8 + 4) else { return };
    let length = u32::try_from(prepared.len() - HEAD_BYTES).unwrap_or(u32::MAX);
    let mut checksum = crc32c::crc32c_append(salt, &length.to_le_bytes());
    for part in [&index.to_le_bytes()[..], &place.to_le_bytes(), fixed] {
        checksum = crc32c::crc32c_append(checksum, part);
    }
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&checksum.to_le_bytes());
    to.extend_from_slice(&index.to_le_bytes());
    to.extend_from_slice(&place.to_le_bytes());
    to.extend_from_slice(fixed);
}

/// The length that would have to be checksummed to know whether a frame begins here; zero where
/// none can.
pub(crate) fn claimed_length(from: &[u8]) -> usize {
    let length = from.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let length = length.and_then(|length| usize::try_from(length).ok());
    length.filter(|length| (FIXED_BYTES..=PAYLOAD_BYTES_MAX).contains(length)).unwrap_or(0)
}

/// The id that a damaged frame seems to have, if it seems to be the one of `index`.
pub(crate) fn guess_id(from: &[u8], index: u64) -> Option<[u8; 16]> {
    let mut rest = from.get(HEAD_BYTES..)?;
    let found = u64::from_le_bytes(*take(&mut rest)?);
    let _place: &[u8; 4] = take(&mut rest)?;
    take(&mut rest).filter(|_| found == index).copied()
}

fn checksum_of(salt: u32, length: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt, &length.to_le_bytes()), payload)
}

fn read_term<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let length = u8::from_le_bytes(*take(rest)?);
    let name = take_slice(rest, usize::from(length))?;
    let length = u16::from_le_bytes(*take(rest)?);
    Some((name, take_slice(rest, usize::from(length))?))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Term;

    const SALT: u32 = 77;

    fn entry(bytes: Vec<u8>, terms: Vec<(Term, String)>) -> Entry {
        Entry { id: [7; 16], bytes, terms, time: UnixTime::from_millis(1_234) }
    }

    fn written(entry: &Entry, index: u64, place: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        number(&mut frame, &prepare(entry).unwrap(), SALT, index, place);
        frame
    }

    #[test]
    fn bounds_are_refused_with_their_evidence() {
        let check = |entry: Entry, refused| assert_eq!(prepare(&entry), Err(refused));
        check(
            entry(vec![0; 65_536], vec![]),
            AppendError::EntryTooLong { bytes: 65_536, max: 65_535 },
        );
        check(
            entry(vec![], vec![(Term("root"), String::new()); 65]),
            AppendError::TooManyTerms { terms: 65, max: 64 },
        );
        check(
            entry(vec![], vec![(Term("root"), "x".repeat(4_097))]),
            AppendError::TermTooLong { term: "root", bytes: 4_097, max: 4_096 },
        );
        let longest = entry(vec![0; 65_535], vec![(Term("root"), "x".repeat(4_096)); 64]);
        assert!(Frame::read(&written(&longest, 0, 0), SALT).is_ok());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let frame = written(&entry(b"bytes".to_vec(), vec![(Term("root"), "r".into())]), 5, 1);
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut changed = frame.clone();
                changed[at] ^= 1 << bit;
                assert!(Frame::read(&changed, SALT).is_err(), "byte {at} bit {bit}");
            }
            assert!(Frame::read(&frame[..at], SALT).is_err(), "cut at {at}");
        }
        assert_eq!(Frame::read(&frame, SALT + 1), Err(NoFrame::Checksum));
        assert_eq!(guess_id(&frame, 5), Some([7; 16]));
        assert_eq!(guess_id(&frame, 6), None);
        assert_eq!(Frame::read(&[0; 64], SALT), Err(NoFrame::Blank));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            bytes: Vec<u8>, values in proptest::collection::vec("[ -~]{0,40}", 0..5),
            index: u64, place: u32, more: Vec<u8>,
        ) {
            let terms = values.into_iter().map(|value| (Term("name"), value)).collect();
            let entry = entry(bytes, terms);
            let mut text = written(&entry, index, place);
            let length = text.len();
            text.extend(more);
            let frame = Frame::read(&text, SALT).unwrap();
            prop_assert_eq!((frame.length, frame.index, frame.place), (length, index, place));
            let stored = frame.to_stored();
            prop_assert_eq!(stored.bytes, entry.bytes);
            prop_assert_eq!((stored.id, stored.time), (entry.id, entry.time));
            let terms: Vec<_> =
                entry.terms.into_iter().map(|(n, v)| (n.0.to_owned(), v)).collect();
            prop_assert_eq!(stored.terms, terms);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Frame::read(&bytes, SALT);
            let _ = Frame::read_payload(&bytes);
        }
    }
}
