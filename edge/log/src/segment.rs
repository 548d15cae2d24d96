//! Segments: the write-ahead files, each named by the index of its first entry.
//!
//! A segment begins with 8 bytes magic, a salt and a checksum over both and its first index; then
//! frames; then zeros.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::disk::Disk;
use crate::frame::{self, FRAME_BYTES_MAX, Frame, NoFrame};

/// Bytes that are filled with zeros ahead of what is written, so that a sync changes no metadata;
/// less where segments are smaller.
const STRETCH_BYTES_MAX: u64 = 4 * 1024 * 1024;
const STRETCH_BYTES_MIN: u64 = 64 * 1024;
/// Bytes before the first frame.
pub(crate) const HEADER_BYTES: usize = 16;
const MAGIC: [u8; 8] = *b"aimslog1";
/// Bytes that are checksummed in search of a frame behind a bad one.
const SEARCH_BYTES_MAX: usize = 1 << 30;
/// Bytes read at once when entries are read back.
const READ_BYTES: usize = 64 * 1024;

/// Where the segments of a log lie.
pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join("segments")
}

/// The file of the segment that begins with entry `first`.
pub(crate) fn path(dir: &Path, first: u64) -> PathBuf {
    folder(dir).join(format!("{first:020}.seg"))
}

/// The first indices of all segments, ascending.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut segments = Vec::new();
    for file in fs::read_dir(folder(dir))? {
        let name = file?.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        segments.extend(first.and_then(|first| first.parse::<u64>().ok()));
    }
    segments.sort_unstable();
    Ok(segments)
}

/// The segment that is written to.
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) file: File,
    pub(crate) salt: u32,
    /// Bytes up to which the file exists. INVARIANT: grows under `allocating` only, and entries are
    /// written below it, so that filling never touches an entry.
    allocated: AtomicU64,
    allocating: Mutex<()>,
    stretch: u64,
}

impl Segment {
    /// A new segment; its name and first stretch are durable.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, first: u64, size: u64) -> io::Result<Self> {
        let file = disk.create(&path(dir, first))?;
        let segment = Self::of(file, first, new_salt()?, 0, size);
        segment.allocate_to(disk, 1)?;
        disk.write_at(&segment.file, &header(first, segment.salt), 0)?;
        disk.sync(&segment.file)?;
        disk.sync_dir(&folder(dir))?;
        Ok(segment)
    }

    /// The last segment of a log that is opened again.
    pub(crate) fn open(dir: &Path, first: u64, salt: u32, size: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path(dir, first))?;
        let allocated = file.metadata()?.len();
        Ok(Self::of(file, first, salt, allocated, size))
    }

    fn of(file: File, first: u64, salt: u32, allocated: u64, size: u64) -> Self {
        let (allocated, allocating) = (AtomicU64::new(allocated), Mutex::new(()));
        let stretch = size.clamp(STRETCH_BYTES_MIN, STRETCH_BYTES_MAX);
        Self { first, file, salt, allocated, allocating, stretch }
    }

    /// Makes sure that there is room for a while after `used`, in a segment of `size` bytes.
    pub(crate) fn allocate_ahead(&self, disk: &dyn Disk, used: u64, size: u64) -> io::Result<()> {
        self.allocate_to(disk, (used + self.stretch / 2).min(size))
    }

    /// Makes sure that the file exists up to `end`.
    pub(crate) fn allocate_to(&self, disk: &dyn Disk, end: u64) -> io::Result<()> {
        if end <= self.allocated.load(Ordering::Acquire) {
            return Ok(());
        }
        let _guard = self.allocating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = self.allocated.load(Ordering::Acquire);
        let zeros = vec![0; usize::try_from(self.stretch).unwrap_or(0)];
        while from < end {
            disk.write_at(&self.file, &zeros, from)?;
            from += self.stretch;
        }
        disk.sync(&self.file)?;
        self.allocated.store(from, Ordering::Release);
        Ok(())
    }
}

/// What a segment holds.
pub(crate) struct Scan {
    pub(crate) salt: u32,
    /// Offset of every good frame.
    pub(crate) offsets: Vec<usize>,
    /// Where the good frames end.
    pub(crate) end: usize,
    /// Index after the last good frame.
    pub(crate) next: u64,
    pub(crate) rest: Rest,
}

/// What stands after the good frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    Blank,
    /// The remains of one batch that was perhaps never synced.
    Torn { id: Option<[u8; 16]> },
    /// A frame that was durable once and is no longer whole.
    Damaged { id: Option<[u8; 16]> },
    /// A good frame that does not belong here.
    Misplaced { found: u64 },
    /// The segment does not begin as one does, though something was written.
    NoHeader,
}

/// Reads the segment that begins with entry `first`.
pub(crate) fn scan(bytes: &[u8], first: u64) -> Scan {
    let (end, rest) = (HEADER_BYTES, Rest::Blank);
    let mut scan = Scan { salt: 0, offsets: Vec::new(), end, next: first, rest };
    let Some(salt) = salt_of(bytes, first) else {
        // A crash while the segment was made leaves zeros, or a part of its header.
        let written = bytes.iter().skip(HEADER_BYTES).any(|byte| *byte != 0);
        scan.rest = if written { Rest::NoHeader } else { Rest::Blank };
        scan.end = 0;
        return scan;
    };
    scan.salt = salt;
    loop {
        let rest = bytes.get(scan.end..).unwrap_or_default();
        match Frame::read(rest, salt) {
            Ok(frame) if frame.index == scan.next => {
                scan.offsets.push(scan.end);
                scan.end += frame.length;
                scan.next += 1;
            }
            Ok(frame) => {
                scan.rest = Rest::Misplaced { found: frame.index };
                return scan;
            }
            Err(why) => {
                scan.rest = judge(rest, salt, scan.next, why);
                return scan;
            }
        }
    }
}

/// The good frames of the segment that begins with entry `first`.
pub(crate) fn frames(bytes: &[u8], first: u64) -> impl Iterator<Item = Frame<'_>> {
    let scan = scan(bytes, first);
    let read = move |offset: usize| Frame::read(bytes.get(offset..)?, scan.salt).ok();
    scan.offsets.into_iter().map_while(read)
}

/// What it means that no good frame for entry `expected` stands at the beginning of `rest`.
fn judge(rest: &[u8], salt: u32, expected: u64, why: NoFrame) -> Rest {
    let id = frame::guess_id(rest, expected).filter(|_| why != NoFrame::Blank);
    let Some(used) = rest.iter().rposition(|byte| *byte != 0) else { return Rest::Blank };
    // A batch is written only after the one before was synced. So a good frame of a later batch,
    // anywhere below, proves that the frame that is missing here was durable once. Frames of the
    // same batch do not: the kernel writes the pages of one batch in any order.
    let (mut offset, mut budget) = (1, SEARCH_BYTES_MAX);
    while offset <= used {
        let rest = rest.get(offset..).unwrap_or_default();
        // What does not even claim to be a frame costs nothing; what claims, costs its checksum.
        let Some(left) = budget.checked_sub(frame::claimed_length(rest)) else {
            return Rest::Damaged { id };
        };
        budget = left;
        let Ok(frame) = Frame::read(rest, salt) else {
            offset += 1;
            continue;
        };
        if frame.batch() > expected || frame.index <= expected {
            return Rest::Damaged { id };
        }
        offset += frame.length;
    }
    Rest::Torn { id }
}

/// Reads entries one after the other, across segments. Every frame is checked again.
pub(crate) struct Reader {
    dir: PathBuf,
    file: File,
    salt: u32,
    /// Where `buffer` begins in the file.
    offset: u64,
    buffer: Vec<u8>,
    /// How much of `buffer` was read.
    at: usize,
    next: u64,
}

impl Reader {
    /// Reads from entry `next` on, which stands at `offset` of the segment `first`.
    pub(crate) fn new(dir: &Path, first: u64, offset: u64, next: u64) -> io::Result<Self> {
        let (file, salt) = open_to_read(dir, first)?;
        Ok(Self { dir: dir.to_owned(), file, salt, offset, buffer: Vec::new(), at: 0, next })
    }

    /// The next entry. An entry that must be there and is not is an error of kind `InvalidData`.
    pub(crate) fn next(&mut self, show: &mut dyn FnMut(&Frame<'_>)) -> io::Result<()> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let ends_in = match Frame::read(rest, self.salt) {
                Ok(frame) if frame.index == self.next => {
                    show(&frame);
                    self.at += frame.length;
                    self.next += 1;
                    return Ok(());
                }
                Ok(_) => NoFrame::Malformed,
                Err(why) => why,
            };
            match ends_in {
                NoFrame::CutOff if self.fill()? => {}
                // The segment ends here: the next is named by the entry that is wanted.
                NoFrame::CutOff | NoFrame::Blank => self.enter_next()?,
                NoFrame::Malformed | NoFrame::Checksum => return Err(self.damaged()),
            }
        }
    }

    /// Reads more; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.offset += u64::try_from(self.at).unwrap_or(0);
        self.buffer.drain(..self.at);
        self.at = 0;
        let had = self.buffer.len();
        if had > FRAME_BYTES_MAX {
            return Err(self.damaged());
        }
        self.buffer.resize(had + READ_BYTES, 0);
        let into = self.buffer.get_mut(had..).unwrap_or_default();
        let read = self.file.read_at(into, self.offset + u64::try_from(had).unwrap_or(0))?;
        self.buffer.truncate(had + read);
        Ok(read > 0)
    }

    fn enter_next(&mut self) -> io::Result<()> {
        let next = open_to_read(&self.dir, self.next).map_err(|_| self.damaged())?;
        (self.file, self.salt) = next;
        (self.offset, self.at) = (HEADER_BYTES as u64, 0);
        self.buffer.clear();
        if self.fill()? { Ok(()) } else { Err(self.damaged()) }
    }

    fn damaged(&self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("entry {} is damaged", self.next))
    }
}

fn header(first: u64, salt: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let checksum = header_checksum(first, salt);
    let parts = MAGIC.into_iter().chain(salt.to_le_bytes()).chain(checksum.to_le_bytes());
    header.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    header
}

/// The salt of a segment whose header is whole.
fn salt_of(bytes: &[u8], first: u64) -> Option<u32> {
    let (salt, rest) = bytes.strip_prefix(&MAGIC)?.split_first_chunk()?;
    let salt = u32::from_le_bytes(*salt);
    let checksum = u32::from_le_bytes(*rest.first_chunk()?);
    (checksum == header_checksum(first, salt)).then_some(salt)
}

fn header_checksum(first: u64, salt: u32) -> u32 {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&MAGIC), &first.to_le_bytes());
    crc32c::crc32c_append(checksum, &salt.to_le_bytes())
}

fn new_salt() -> io::Result<u32> {
    let mut salt = [0; 4];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| io::Error::other("no random bytes"))?;
    Ok(u32::from_le_bytes(salt))
}

fn open_to_read(dir: &Path, first: u64) -> io::Result<(File, u32)> {
    let file = File::open(path(dir, first))?;
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0)?;
    let salt = salt_of(&header, first);
    let salt = salt.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no segment"))?;
    Ok((file, salt))
}

#[cfg(test)]
mod tests {
    use time::UnixTime;

    use super::*;
    use crate::Entry;

    /// Batches of frames, by their numbers of entries; an entry is its index, twice.
    fn batches(sizes: &[u32]) -> Vec<Vec<u8>> {
        let mut index = 0;
        let mut batch = |size: &u32| {
            let mut bytes = Vec::new();
            for place in 0..*size {
                let entry = Entry {
                    id: [9; 16],
                    bytes: format!("{index}{index}").into_bytes(),
                    terms: Vec::new(),
                    time: UnixTime::EPOCH,
                };
                frame::number(&mut bytes, &frame::prepare(&entry).unwrap(), 5, index, place);
                index += 1;
            }
            bytes
        };
        sizes.iter().map(&mut batch).collect()
    }

    fn scanned(frames: &[u8]) -> Scan {
        scan(&[&header(0, 5)[..], frames].concat(), 0)
    }

    fn check(frames: &[u8], next: u64, rest: Rest) {
        let scan = scanned(frames);
        assert_eq!((scan.next, scan.rest), (next, rest));
        assert_eq!(u64::try_from(scan.offsets.len()).unwrap(), next);
    }

    #[test]
    fn a_torn_tail_is_told_from_damage_at_every_byte() {
        let parts = batches(&[2, 3]);
        let (first, second) = (&parts[0], &parts[1]);
        let whole = [&first[..], second, &[0; 300]].concat();
        check(&whole, 5, Rest::Blank);
        for written in 0..second.len() {
            let torn = [&first[..], &second[..written], &[0; 300]].concat();
            let scan = scanned(&torn);
            let frames = written / (second.len() / 3);
            assert_eq!(scan.next, 2 + u64::try_from(frames).unwrap());
            let blank = torn[scan.end - HEADER_BYTES..].iter().all(|byte| *byte == 0);
            let rest = matches!(scan.rest, Rest::Torn { .. }) || scan.rest == Rest::Blank;
            assert!(rest && blank == (scan.rest == Rest::Blank), "{written}: {:?}", scan.rest);
        }
        for at in 0..first.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            let scan = scanned(&changed);
            let broken = u64::try_from(at / (first.len() / 2)).unwrap();
            assert_eq!(scan.next, broken);
            assert!(matches!(scan.rest, Rest::Damaged { .. }), "byte {at}: {:?}", scan.rest);
        }
    }

    #[test]
    fn pages_of_one_batch_may_arrive_in_any_order() {
        let parts = batches(&[2, 3]);
        let frame = parts[1].len() / 3;
        let mut torn = [&parts[0][..], &parts[1]].concat();
        let start = parts[0].len();
        torn[start..start + frame].fill(0);
        check(&torn, 2, Rest::Torn { id: None });
        torn[start + 20] = 1;
        check(&torn, 2, Rest::Torn { id: None });
        let mut damaged = [&parts[0][..], &parts[1]].concat();
        damaged[..frame].fill(0);
        check(&damaged, 0, Rest::Damaged { id: None });
    }

    #[test]
    fn reordered_frames_are_misplaced() {
        let parts = batches(&[1, 1, 1]);
        let swapped = [&parts[0][..], &parts[2], &parts[1]].concat();
        check(&swapped, 1, Rest::Misplaced { found: 2 });
        let twice = [&parts[0][..], &parts[0]].concat();
        check(&twice, 1, Rest::Misplaced { found: 0 });
    }

    #[test]
    fn a_segment_without_header_is_new_or_damaged() {
        let check = |bytes: &[u8], rest| assert_eq!(scan(bytes, 7).rest, rest);
        check(&[], Rest::Blank);
        check(&[0; 400], Rest::Blank);
        check(&header(7, 5)[..13], Rest::Blank);
        check(&[&header(7, 5)[..], &[1]].concat(), Rest::Torn { id: None });
        check(&[&header(8, 5)[..], &[1]].concat(), Rest::NoHeader);
    }
}
