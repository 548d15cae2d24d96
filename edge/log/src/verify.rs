//! The check of a log's folder: every entry, every tile, every promise, without the log running.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use tlog::note::VerifierKey;
use tlog::{
    Checkpoint, CheckpointRefused, Frontier, Hash, TILE_WIDTH, TileKind, TilePath, read_bundle,
};

use crate::cut::{self, Cut, Pointer, ReadCut, Unproven};
use crate::frame::Frame;
use crate::segment::{self, Rest, Scan};
use crate::{open, promise, tree};

const WIDTH: u64 = TILE_WIDTH as u64;

/// A folder in which everything fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Entries, those beyond the last checkpoint included: those have only their checksums yet.
    pub size: u64,
    /// The root over all of them.
    pub root: Hash,
    /// Size and root of every checkpoint that was compared: the folder's own first.
    pub checkpoints: Vec<(u64, Hash)>,
    /// The end of the last segment holds a write that was never acknowledged.
    pub torn: bool,
    /// The beginning was cut off, and a record of the log says so.
    pub cut: Option<Recorded>,
}

/// A cut that a record of the log proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub cut: Cut,
    /// The record: its entry, and what it says.
    pub entry: u64,
    pub bytes: Vec<u8>,
}

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Broken {
    /// The first entry that is wrong or missing, where it can be told.
    pub index: Option<u64>,
    /// Its id, where it can be read.
    pub id: Option<[u8; 16]>,
    /// The file it was found in.
    pub file: Option<PathBuf>,
    pub why: Box<Why>,
}

/// Why a folder is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("a file cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("the log has entries and no checkpoint")]
    NoCheckpoint,
    #[error("the checkpoint is not believed: {0}")]
    Checkpoint(CheckpointRefused),
    #[error("a segment is missing")]
    SegmentMissing,
    #[error("the first {minimum} entries are said to be cut, but no promised record says so")]
    CutNotRecorded { minimum: u64 },
    #[error("an entry is damaged")]
    Damaged,
    #[error("entry {found} stands where another must be")]
    Misplaced { found: u64 },
    #[error("an entry was changed: its hash is not the one in the tiles")]
    EntryChanged,
    #[error("a tile was changed: it does not fit the entries")]
    TileChanged,
    #[error("a tile is missing, or has not the length of its name")]
    TileMissing,
    #[error("an entry bundle was changed or is missing")]
    BundleChanged,
    #[error("the log has {found} entries, but a checkpoint promised {promised}")]
    Truncated { promised: u64, found: u64 },
    #[error("the first {size} entries have root {found}, but a checkpoint promised {promised}")]
    Root { size: u64, promised: Hash, found: Hash },
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries that were checked.
    pub entries: u64,
    /// Entries that the checkpoint promises.
    pub of: u64,
}

/// Checks the log `origin` in `dir`: reads every entry, recomputes every hash, compares tiles,
/// bundles and checkpoint, and the checkpoints `kept` elsewhere, signed notes of the same log.
/// While the log runs, its end beyond the checkpoint is read as far as it is written: what stands
/// there is bound by nothing yet. Changes nothing.
///
/// Where the beginning was cut off, the hashes that are left of it take the place of the entries:
/// they must lead to the root that the record of the cut says, and to every checkpoint.
pub fn verify_dir(
    dir: &Path,
    origin: &str,
    keys: &[VerifierKey],
    kept: &[String],
    read_cut: ReadCut,
    mut progress: impl FnMut(Progress),
) -> Result<Verified, Broken> {
    let running = is_running(dir);
    loop {
        let before = Pointer::read(dir);
        let promises = read_promises(dir, origin, keys, kept)?;
        let verified = verify(dir, running, promises, read_cut, &mut progress);
        // A log that runs may have been cut while it was read.
        if verified.is_ok() || !running || Pointer::read(dir) == before {
            return verified;
        }
    }
}

fn verify(
    dir: &Path,
    running: bool,
    promises: Vec<(u64, Hash)>,
    read_cut: ReadCut,
    progress: &mut impl FnMut(Progress),
) -> Result<Verified, Broken> {
    let promised = promises.first().map_or(0, |(size, _)| *size);
    let cut = find_cut(dir, read_cut, promised)?;
    let known =
        promises.iter().copied().chain(cut.map(|found| (found.cut.minimum, found.cut.root)));
    let known: Vec<(u64, Hash)> = known.collect();
    let minimum = cut.map_or(0, |found| found.cut.minimum);
    let mut check = Check {
        dir,
        running,
        promised,
        minimum,
        cut: None,
        record_of_cut: cut.map(|found| found.entry),
        frontier: Frontier::new(),
        sizes: known.iter().map(|(size, _)| *size).collect(),
        roots: HashMap::new(),
        tile: Vec::new(),
        bundle: Vec::new(),
        upper: Vec::new(),
    };
    check.note_root();
    let segments = segment::list(dir).map_err(|error| unreadable(&error, segment::folder(dir)))?;
    if let Some(first) = segments.first().filter(|first| **first > minimum) {
        let file = segment::path(dir, *first);
        return Err(broken(Some(minimum), Some(file), Why::SegmentMissing));
    }
    let kept = cut::start_of(&segments, minimum);
    check.hashes_below(kept, progress)?;
    let mut torn = false;
    for (place, first) in segments.iter().copied().enumerate().filter(|(_, first)| *first >= kept) {
        let is_last = place + 1 == segments.len();
        torn = check.segment(first, is_last, progress)?;
    }
    check.finish(&known)?;
    let (size, root) = (check.frontier.size(), check.frontier.root());
    let recorded = |found: Pointer| Some((found, check.cut?));
    let cut = cut.and_then(recorded).map(|(Pointer { cut, entry }, bytes)| Recorded {
        cut,
        entry,
        bytes,
    });
    Ok(Verified { size, root, checkpoints: promises, torn, cut })
}

fn find_cut(dir: &Path, read_cut: ReadCut, promised: u64) -> Result<Option<Pointer>, Broken> {
    let first = || segment::list(dir).unwrap_or_default().first().copied();
    cut::find(dir, read_cut, promised).map_err(|unproven| match unproven {
        Unproven::Disk(error) => unreadable(&error, segment::folder(dir)),
        Unproven::Missing => {
            let file = first().map(|first| segment::path(dir, first));
            broken(Some(0), file, Why::SegmentMissing)
        }
        Unproven::NotRecorded(Pointer { cut, entry }) => {
            let why = Why::CutNotRecorded { minimum: cut.minimum };
            broken(Some(entry), Some(Pointer::path(dir)), why)
        }
    })
}

fn is_running(dir: &Path) -> bool {
    let lock = File::open(open::lock_path(dir)).map(|file| file.try_lock_shared());
    matches!(lock, Ok(Err(TryLockError::WouldBlock)))
}

/// The folder's own checkpoint, then those kept elsewhere.
fn read_promises(
    dir: &Path,
    origin: &str,
    keys: &[VerifierKey],
    kept: &[String],
) -> Result<Vec<(u64, Hash)>, Broken> {
    let file = promise::path(dir);
    let own = match fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(broken(None, Some(file), Why::NoCheckpoint));
        }
        other => other.map_err(|error| unreadable(&error, file.clone()))?,
    };
    let open = |bytes: &[u8], file| {
        let opened = Checkpoint::open(bytes, origin, keys, &[]);
        let opened = opened.map_err(|refused| broken(None, file, Why::Checkpoint(refused)))?;
        Ok((opened.checkpoint().size(), opened.checkpoint().root()))
    };
    let mut promises = vec![open(&own, Some(file))?];
    for text in kept {
        promises.push(open(text.as_bytes(), None)?);
    }
    Ok(promises)
}

/// The state of a check.
struct Check<'a> {
    dir: &'a Path,
    /// A log is writing there.
    running: bool,
    /// Entries of the folder's checkpoint: tiles are there up to here.
    promised: u64,
    /// The first entry that is not cut: bundles are there from here.
    minimum: u64,
    /// The entry that is the record of the cut, and what it says.
    record_of_cut: Option<u64>,
    cut: Option<Vec<u8>>,
    frontier: Frontier,
    sizes: HashSet<u64>,
    roots: HashMap<u64, Hash>,
    /// The tile of the present 256 entries, and their bundle.
    tile: Vec<Hash>,
    bundle: Vec<Vec<u8>>,
    /// By level above 0: the tile that is compared now, by its index.
    upper: Vec<Option<(u64, Vec<Hash>)>>,
}

impl Check<'_> {
    /// Goes through the hashes of the entries before `end`, which are cut off.
    fn hashes_below(
        &mut self,
        end: u64,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), Broken> {
        while self.frontier.size() < end {
            let at = self.frontier.size();
            if at.is_multiple_of(WIDTH) {
                self.load(at / WIDTH)?;
                progress(Progress { entries: at, of: self.promised });
            }
            let leaf = self.tile.get(usize::try_from(at % WIDTH).unwrap_or(0)).copied();
            let missing = || broken(Some(at), self.tile_of(at, false), Why::TileMissing);
            self.grow(leaf.ok_or_else(missing)?)?;
        }
        Ok(())
    }

    /// Checks a segment; returns whether it ends in a torn write.
    fn segment(
        &mut self,
        first: u64,
        is_last: bool,
        progress: &mut impl FnMut(Progress),
    ) -> Result<bool, Broken> {
        let file = segment::path(self.dir, first);
        let next = self.frontier.size();
        if first != next {
            return Err(broken(Some(next), Some(file), Why::SegmentMissing));
        }
        let bytes = fs::read(&file).map_err(|error| unreadable(&error, file.clone()))?;
        let scan = segment::scan(&bytes, first);
        for offset in &scan.offsets {
            let frame = bytes.get(*offset..).and_then(|b| Frame::read(b, scan.salt).ok());
            let Some(frame) = frame else { break };
            self.entry(&frame, &file)?;
            if frame.index % WIDTH == 0 {
                progress(Progress { entries: frame.index, of: self.promised });
            }
        }
        self.rest(&scan, is_last, file)
    }

    fn rest(&self, scan: &Scan, is_last: bool, file: PathBuf) -> Result<bool, Broken> {
        let (index, file) = (Some(scan.next), Some(file));
        let (id, why) = match scan.rest {
            Rest::Blank => return Ok(false),
            // What is being written was read in part.
            _ if self.running && is_last && scan.next >= self.promised => return Ok(false),
            Rest::Torn { .. } if is_last && scan.next >= self.promised => return Ok(true),
            Rest::Torn { id } | Rest::Damaged { id } => (id, Why::Damaged),
            Rest::NoHeader => (None, Why::Damaged),
            Rest::Misplaced { found } => (None, Why::Misplaced { found }),
        };
        Err(Broken { index, id, file, why: Box::new(why) })
    }

    fn entry(&mut self, frame: &Frame<'_>, file: &Path) -> Result<(), Broken> {
        let leaf = tree::leaf(frame.bytes);
        if frame.index < self.promised {
            self.against_tile(frame, leaf, file)?;
        }
        if self.record_of_cut == Some(frame.index) {
            self.cut = Some(frame.bytes.to_vec());
        }
        self.grow(leaf)
    }

    /// Takes the next hash into the tree, and compares what it completes.
    fn grow(&mut self, leaf: Hash) -> Result<(), Broken> {
        let mut nodes = Vec::new();
        self.frontier.append_noting(leaf, |level, index, hash| {
            if level > 0 && level % 8 == 0 {
                nodes.push((level / 8, index, hash));
            }
        });
        for (level, index, hash) in nodes {
            self.against_upper(level, index, hash)?;
        }
        self.note_root();
        Ok(())
    }

    /// Three copies of an entry's hash: the segment's, the tile's, the bundle's. Two that agree
    /// tell which one was changed.
    fn against_tile(&mut self, frame: &Frame<'_>, leaf: Hash, file: &Path) -> Result<(), Broken> {
        let place = frame.index % WIDTH;
        if place == 0 {
            self.load(frame.index / WIDTH)?;
        }
        let place = usize::try_from(place).unwrap_or(0);
        let in_tile = self.tile.get(place) == Some(&leaf);
        let bundled = self.bundle.get(place).map(|entry| tree::leaf(entry));
        // Of what is cut the bundle is gone, and some entries are still in their segment.
        let in_bundle = bundled == Some(leaf) || (in_tile && frame.index < self.minimum);
        let (why, file) = match (in_tile, in_bundle) {
            (true, true) => return Ok(()),
            (false, true) => (Why::TileChanged, self.tile_of(frame.index, false)),
            (true, false) => (Why::BundleChanged, self.tile_of(frame.index, true)),
            (false, false) => (Why::EntryChanged, Some(file.to_owned())),
        };
        Err(Broken { index: Some(frame.index), id: Some(frame.id), file, why: Box::new(why) })
    }

    /// Reads the tile and the bundle with this index.
    fn load(&mut self, index: u64) -> Result<(), Broken> {
        let width = u16::try_from((self.promised - index * WIDTH).min(WIDTH)).unwrap_or(TILE_WIDTH);
        let first = index * WIDTH;
        let tile = TilePath::new(TileKind::Hashes { level: 0 }, index, width);
        let bundle = TilePath::new(TileKind::Entries, index, width);
        let (Some(tile), Some(bundle)) = (tile, bundle) else { return Ok(()) };
        let hashes = tree::hashes(self.dir, &tile);
        let missing = || broken(Some(first), self.tile_of(first, false), Why::TileMissing);
        self.tile = hashes.ok_or_else(missing)?;
        let bytes = tree::find(self.dir, &bundle).ok().flatten().unwrap_or_default();
        // Of a bundle that is too short or too long, the last entry is the one that is wrong.
        let entries = read_bundle(&bytes, width).unwrap_or_else(|_| {
            let entries = tlog::bundle_entries(&bytes).map_while(Result::ok);
            entries.take(usize::from(width) - 1).collect()
        });
        self.bundle = entries.into_iter().map(<[u8]>::to_vec).collect();
        Ok(())
    }

    /// Compares a hash above the leaves with its tile.
    fn against_upper(&mut self, level: u8, index: u64, hash: Hash) -> Result<(), Broken> {
        let nodes = self.promised >> (8 * u32::from(level));
        if index >= nodes {
            return Ok(());
        }
        let at = index / WIDTH;
        let width = u16::try_from((nodes - at * WIDTH).min(WIDTH)).unwrap_or(TILE_WIDTH);
        let Some(tile) = TilePath::new(TileKind::Hashes { level }, at, width) else {
            return Ok(());
        };
        let (entry, file) =
            (index << (8 * u32::from(level)), Some(self.dir.join(tile.to_string())));
        let slot = usize::from(level);
        if self.upper.len() <= slot {
            self.upper.resize(slot + 1, None);
        }
        let Some(kept) = self.upper.get_mut(slot) else { return Ok(()) };
        if kept.as_ref().is_none_or(|(kept, _)| *kept != at) {
            *kept = tree::hashes(self.dir, &tile).map(|hashes| (at, hashes));
        }
        let Some((_, hashes)) = kept else {
            return Err(broken(Some(entry), file, Why::TileMissing));
        };
        if hashes.get(usize::try_from(index % WIDTH).unwrap_or(0)) == Some(&hash) {
            return Ok(());
        }
        Err(broken(Some(entry), file, Why::TileChanged))
    }

    fn tile_of(&self, index: u64, entries: bool) -> Option<PathBuf> {
        let kind = if entries { TileKind::Entries } else { TileKind::Hashes { level: 0 } };
        let width = (self.promised - index / WIDTH * WIDTH).min(WIDTH);
        let tile = TilePath::new(kind, index / WIDTH, u16::try_from(width).ok()?)?;
        Some(self.dir.join(tile.to_string()))
    }

    fn note_root(&mut self) {
        let size = self.frontier.size();
        if self.sizes.contains(&size) {
            self.roots.insert(size, self.frontier.root());
        }
    }

    /// Compares what was read with what was promised.
    fn finish(&self, promises: &[(u64, Hash)]) -> Result<(), Broken> {
        let found = self.frontier.size();
        for (size, promised) in promises.iter().copied() {
            let Some(root) = self.roots.get(&size).copied() else {
                let why = Why::Truncated { promised: size, found };
                return Err(broken(Some(found), None, why));
            };
            if root != promised {
                let why = Why::Root { size, promised, found: root };
                return Err(broken(None, None, why));
            }
        }
        Ok(())
    }
}

fn broken(index: Option<u64>, file: Option<PathBuf>, why: Why) -> Broken {
    Broken { index, id: None, file, why: Box::new(why) }
}

fn unreadable(error: &std::io::Error, file: PathBuf) -> Broken {
    broken(None, Some(file), Why::Unreadable { reason: error.to_string() })
}
