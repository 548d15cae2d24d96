//! SHA-256 of executables, and a memory of them, so that an agent that asks often is not hashed
//! each time.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;

/// The largest executable that is hashed, in bytes: runtimes that carry their program are hundreds
/// of megabytes long.
pub const EXECUTABLE_BYTES_MAX: u64 = 1 << 30;
/// The most hashes that are remembered; the oldest is forgotten first.
pub const HASHES_MAX: usize = 1_024;

/// How long a file must have been known unchanged before its hash is believed without reading it
/// again. The times of a file move in steps (a jiffy; two seconds on FAT): within one step its
/// content can change and its times stay.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A bounded memory of hashes, by what identifies the content of a file. Shared by all callers.
#[derive(Debug, Default)]
pub struct HashCache {
    known: Mutex<Known>,
}

impl HashCache {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The SHA-256 of an opened file, or why there is none. Blocks while it reads.
    pub(crate) fn sha256(&self, file: &mut File, now: Instant) -> Result<Hashed, HashError> {
        let before = Stamp::of(&file.metadata()?);
        if before.bytes > EXECUTABLE_BYTES_MAX {
            return Err(HashError::TooLarge { bytes: before.bytes });
        }
        let found = self.known.lock().unwrap_or_else(PoisonError::into_inner).look(before, now);
        if let Some(sha256) = found {
            return Ok(Hashed { stamp: before, sha256 });
        }
        let sha256 = hash(file)?;
        // attestation-and-audit §2.1: "hash the binary by /proc/<pid>/exe (opened once, fstat
        // before and after), not by path"
        if Stamp::of(&file.metadata()?) != before {
            return Err(HashError::Changed);
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remember(before, sha256, now);
        Ok(Hashed { stamp: before, sha256 })
    }
}

/// A hash and the file it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    pub(crate) stamp: Stamp,
    pub(crate) sha256: [u8; 32],
}

/// What identifies the content of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// True of the same file, whatever its content.
    pub(crate) fn is_file(&self, metadata: &Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }
}

/// Why a file has no hash.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error("{bytes} bytes")]
    TooLarge { bytes: u64 },
    #[error("changed while it was read")]
    Changed,
}

#[derive(Debug, Default)]
struct Known {
    by_stamp: HashMap<Stamp, Entry>,
    /// Stamps in the order in which they came; as many as in the map.
    order: VecDeque<Stamp>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    first_seen: Instant,
    /// There once it was computed from a file that had been known for [`SETTLED_AFTER`].
    sha256: Option<[u8; 32]>,
}

impl Known {
    fn look(&mut self, stamp: Stamp, now: Instant) -> Option<[u8; 32]> {
        if let Some(entry) = self.by_stamp.get(&stamp) {
            return entry.sha256;
        }
        self.forget_oldest();
        self.by_stamp.insert(stamp, Entry { first_seen: now, sha256: None });
        self.order.push_back(stamp);
        None
    }

    /// `began` is when the reading began.
    fn remember(&mut self, stamp: Stamp, sha256: [u8; 32], began: Instant) {
        let Some(entry) = self.by_stamp.get_mut(&stamp) else { return };
        if began.saturating_duration_since(entry.first_seen) >= SETTLED_AFTER {
            entry.sha256 = Some(sha256);
        }
    }

    fn forget_oldest(&mut self) {
        while self.by_stamp.len() >= HASHES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.by_stamp.remove(&oldest);
        }
    }
}

/// Reads to the end, and never further than the bound, should the file grow meanwhile.
fn hash(file: &mut File) -> Result<[u8; 32], HashError> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0_u64;
    loop {
        let read = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(HashError::Unreadable(error)),
        };
        bytes = bytes.saturating_add(read as u64);
        if bytes > EXECUTABLE_BYTES_MAX {
            return Err(HashError::TooLarge { bytes });
        }
        context.update(chunk.get(..read).unwrap_or_default());
    }
    <[u8; 32]>::try_from(context.finish().as_ref()).map_err(|_| HashError::Changed)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn stamp(inode: u64) -> Stamp {
        Stamp { device: 1, inode, bytes: 2, modified: (3, 4), changed: (5, 6) }
    }

    #[test]
    fn s7_a_hash_is_believed_only_when_the_file_had_settled_before_it_was_read() {
        let start = Instant::now();
        let mut known = Known::default();
        let check = |known: &mut Known, at: Duration, expect: Option<[u8; 32]>| {
            assert_eq!(known.look(stamp(1), start + at), expect, "{at:?}");
            known.remember(stamp(1), [at.as_secs() as u8; 32], start + at);
        };
        check(&mut known, Duration::ZERO, None);
        check(&mut known, SETTLED_AFTER - Duration::from_millis(1), None);
        check(&mut known, SETTLED_AFTER, None);
        check(&mut known, SETTLED_AFTER * 2, Some([3; 32]));
        assert_eq!(known.look(stamp(2), start + SETTLED_AFTER * 2), None);
    }

    #[test]
    fn s7_the_memory_of_hashes_is_bounded_and_forgets_the_oldest() {
        let start = Instant::now();
        let mut known = Known::default();
        for inode in 0..=HASHES_MAX as u64 {
            known.look(stamp(inode), start);
            known.remember(stamp(inode), [7; 32], start + SETTLED_AFTER);
        }
        assert_eq!((known.by_stamp.len(), known.order.len()), (HASHES_MAX, HASHES_MAX));
        assert_eq!(known.look(stamp(1), start), Some([7; 32]));
        assert_eq!(known.look(stamp(0), start), None);
    }

    #[test]
    fn s7_a_changed_file_is_hashed_again() {
        let cache = HashCache::new();
        let mut file = tempfile::tempfile().unwrap();
        let start = Instant::now();
        let at = |file: &mut File, late: u32| {
            file.rewind().unwrap();
            cache.sha256(file, start + SETTLED_AFTER * late).unwrap().sha256
        };
        file.write_all(b"abc").unwrap();
        // FIPS 180-4, the example of one block: SHA-256("abc").
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex: String = at(&mut file, 0).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, abc);
        let first = at(&mut file, 1);
        assert_eq!(at(&mut file, 2), first);
        file.set_len(2).unwrap();
        assert_ne!(at(&mut file, 3), first);
    }

    #[test]
    fn s7_a_huge_file_is_refused_before_it_is_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(EXECUTABLE_BYTES_MAX + 1).unwrap();
        let refused = HashCache::new().sha256(&mut file, Instant::now());
        assert!(
            matches!(refused, Err(HashError::TooLarge { bytes }) if bytes == EXECUTABLE_BYTES_MAX + 1)
        );
    }
}
