//! Opening a log: what is on disk is read, judged, repaired where that is safe, or refused.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog::note::{KeyError, KeyKind, VerifierKey};
use tlog::{EMPTY_ROOT, Hash};

use crate::cut::{self, Cut, Pointer, ReadCut, Unproven};
use crate::disk::Disk;
use crate::frame::Frame;
use crate::index::{Index, Rows};
use crate::keeper::Mark;
use crate::promise::{self, Notary, PromiseError, Unreadable};
use crate::segment::{self, Rest, Scan, Segment};
use crate::tree::{self, Present, Tree};
use crate::{NoteSigner, Options};

/// Entries that are indexed in one transaction while a log is opened.
const ROUND_ENTRIES_MAX: usize = 8_192;

/// Why a log was not opened; who says so names its folder. Nothing was written except to files that
/// are derived.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process writes it")]
    Locked,
    #[error("could not use the log's files: {0}")]
    Disk(#[from] io::Error),
    #[error("could not use the log's index: {reason}")]
    Index { reason: String },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("no segment begins with entry {index}")]
    SegmentMissing { index: u64 },
    #[error("the log is said to be cut at {minimum}, but no promised record of it says so")]
    CutNotRecorded { minimum: u64 },
    #[error("the hashes of the {minimum} entries that were cut are missing or changed")]
    CutHashes { minimum: u64 },
    #[error("entry {index} in `{segment}` is damaged")]
    Damaged { index: u64, id: Option<[u8; 16]>, segment: PathBuf },
    #[error("entry {found} stands in `{segment}` where entry {index} must be")]
    Misplaced { index: u64, found: u64, segment: PathBuf },
    #[error("the checkpoint on disk is not believed: {reason}")]
    Checkpoint { reason: String },
    #[error("the log has {found} entries, but {by} knows of {known}")]
    Rollback { by: KnownBy, known: u64, found: u64 },
    #[error("the first {size} entries have root {found}, but {by} knows {known}")]
    Fork { by: KnownBy, size: u64, known: Hash, found: Hash, first_changed: Option<u64> },
    #[error("could not sign the first checkpoint: {0}")]
    Promise(PromiseError),
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Locked => "stop the other process first",
            Self::Disk(_) | Self::Index { .. } => "check the folder's permissions and free space",
            Self::Key(_) | Self::Promise(_) => "check the log's signing key and its name",
            Self::SegmentMissing { .. } | Self::Damaged { .. } | Self::Misplaced { .. } => {
                "restore the segment from a backup; run `aims audit verify` for details"
            }
            Self::CutNotRecorded { .. } | Self::CutHashes { .. } => {
                "nothing is left to make it from: restore the log's folder from a backup; run \
                 `aims audit verify` for details"
            }
            Self::Checkpoint { .. } => {
                "if the log's key or origin was changed, name the former key in the settings"
            }
            Self::Rollback { by: KnownBy::Index, .. } => {
                "entries were lost after they were acknowledged: restore a newer copy; to go on \
                 without them, keep a copy of the folder as evidence and delete `index.db`"
            }
            Self::Rollback { .. } => {
                "this is an older copy of the log: restore the newest one, never go on from here"
            }
            Self::Fork { .. } => {
                "this is not the log that was promised: keep the folder as evidence, restore the \
                 true one"
            }
        }
    }
}

/// Who knows better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// The signed checkpoint beside the log.
    Checkpoint,
    /// What the caller remembers.
    Remembered,
    /// The query index, which only ever holds what was durable.
    Index,
}

impl std::fmt::Display for KnownBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Checkpoint => "the checkpoint beside it",
            Self::Remembered => "the state database",
            Self::Index => "its index",
        })
    }
}

/// A log that was read and found to be the one that was promised.
pub(crate) struct Opened {
    /// Held while a thread of the log runs.
    pub(crate) lock: Arc<Lock>,
    pub(crate) tree: Tree,
    pub(crate) index: Index,
    pub(crate) notary: Notary,
    pub(crate) promise: promise::Promise,
    pub(crate) cut: Option<Pointer>,
    pub(crate) segments: Vec<u64>,
    pub(crate) segment: Segment,
    /// Where the next batch goes.
    pub(crate) offset: u64,
}

/// Opens or makes the log in `dir`.
pub(crate) fn open(dir: &Path, options: &Options, disk: &dyn Disk) -> Result<Opened, OpenError> {
    fs::create_dir_all(segment::folder(dir))?;
    let lock = lock(dir)?;
    let notary = Notary::new(&options.origin, Arc::clone(&options.signer))?;
    let keys = known_keys(&notary, &*options.signer, &options.previous_keys)?;
    let checkpoint = promise::read(dir, &options.origin, &keys).map_err(|error| match error {
        Unreadable::Disk(error) => OpenError::Disk(error),
        Unreadable::Refused(refused) => OpenError::Checkpoint { reason: refused.to_string() },
    })?;
    let mut known = Vec::new();
    known.extend(checkpoint.map(|c| Known {
        by: KnownBy::Checkpoint,
        size: c.size(),
        root: c.root(),
    }));
    known.extend(options.remembered.map(|(size, root)| Known {
        by: KnownBy::Remembered,
        size,
        root,
    }));

    let cut = find_cut(dir, disk, options.read_cut, &known)?;
    let log = Folder { dir, disk, cut: cut.map(|pointer| pointer.cut), known };
    let mut index = Index::open(dir).map_err(index_error)?;
    let replayed = replay_and_check(&log, &mut index)?;
    if let Some(Cut { minimum, .. }) = log.cut {
        index.forget(minimum).map_err(index_error)?;
        cut::finish(disk, dir, minimum)?;
    }
    let (segments, segment, offset) = repair(dir, disk, &replayed, options.segment_bytes)?;
    let mut tree = replayed.tree;
    tree.set_present(Present::Replace);
    tree.write_partial(disk)?;
    let promised = (tree.size(), tree.root());
    let promise = notary.promise(disk, dir, promised).map_err(OpenError::Promise)?;
    tree.sweep_partial(promise.size);
    Ok(Opened { lock, tree, index, notary, promise, cut, segments, segment, offset })
}

/// The cut that holds: only what a checkpoint covers proves it.
fn find_cut(
    dir: &Path,
    disk: &dyn Disk,
    read_cut: ReadCut,
    known: &[Known],
) -> Result<Option<Pointer>, OpenError> {
    let promised = known.iter().map(|known| known.size).max().unwrap_or(0);
    let found = cut::find(dir, read_cut, promised).map_err(|unproven| match unproven {
        Unproven::Disk(error) => OpenError::Disk(error),
        Unproven::Missing => OpenError::SegmentMissing { index: 0 },
        Unproven::NotRecorded(Pointer { cut, .. }) => {
            OpenError::CutNotRecorded { minimum: cut.minimum }
        }
    })?;
    if let Some(pointer) = found.filter(|found| Pointer::read(dir) != Some(*found)) {
        pointer.write(disk, dir)?;
    }
    Ok(found)
}

/// A log that is opened: where it lies, and what is known of it before it is read.
struct Folder<'a> {
    dir: &'a Path,
    disk: &'a dyn Disk,
    cut: Option<Cut>,
    known: Vec<Known>,
}

impl Folder<'_> {
    /// The first entry that must be there.
    fn minimum(&self) -> u64 {
        self.cut.map_or(0, |cut| cut.minimum)
    }

    /// The tree that reading from the beginning begins with.
    fn beginning(&self, present: Present) -> Result<Tree, OpenError> {
        let Some(Cut { minimum, root }) = self.cut else {
            return Ok(Tree::empty(self.dir, present));
        };
        let tree = Tree::load(self.dir, minimum, root, present);
        tree.ok_or(OpenError::CutHashes { minimum })
    }

    /// The tree that is known to be durable.
    fn marked(&self, present: Present) -> Option<Tree> {
        let mark = Mark::read(self.dir).filter(|mark| mark.size >= self.minimum())?;
        Tree::load(self.dir, mark.size, mark.root, present)
    }
}

/// Somebody who knows what the log was.
#[derive(Clone, Copy)]
struct Known {
    by: KnownBy,
    size: u64,
    root: Hash,
}

/// What reading the segments gave.
struct Replayed {
    tree: Tree,
    /// The index after the last good frame.
    end: u64,
    /// What the index covered before, and the root that it was made for.
    covered: (u64, Option<Hash>),
    /// Roots at the sizes that were asked for, as far as the log reaches.
    roots: Vec<(u64, Hash)>,
    segments: Vec<u64>,
    /// The last segment: what it holds, and its bytes.
    last: Option<(Scan, Vec<u8>)>,
}

impl Replayed {
    fn root_at(&self, size: u64) -> Option<Hash> {
        let replayed = self.roots.iter().find(|(at, _)| *at == size).map(|(_, root)| *root);
        replayed.or_else(|| self.tree.root_at(size))
    }
}

/// A folder that this process alone writes to. A child of this process has the file until it runs
/// another program, so closing it would not be enough.
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // The file is closed in any case.
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<Arc<Lock>, OpenError> {
    let file = File::create(lock_path(dir))?;
    match file.try_lock() {
        Ok(()) => Ok(Arc::new(Lock(file))),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked),
        Err(TryLockError::Error(error)) => Err(OpenError::Disk(error)),
    }
}

/// The file whose lock the writing process holds.
pub(crate) fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// The keys whose checkpoints are believed: the present one and those before it.
fn known_keys(
    notary: &Notary,
    signer: &dyn NoteSigner,
    previous: &[[u8; 32]],
) -> Result<Vec<VerifierKey>, KeyError> {
    let former = previous.iter().map(|key| VerifierKey::new(signer.name(), KeyKind::Ed25519, *key));
    let mut keys = vec![notary.key().clone()];
    for key in former {
        keys.push(key?);
    }
    Ok(keys)
}

/// Reads the log from where its tiles are known to be durable; if anything does not fit, from the
/// beginning, which is what counts.
fn replay_and_check(log: &Folder<'_>, index: &mut Index) -> Result<Replayed, OpenError> {
    let dir = log.dir;
    let mut recreated = false;
    let mut present = Present::Compare;
    let mut tree = log.marked(present);
    loop {
        let from_start = tree.is_none();
        let from = tree.take().map_or_else(|| log.beginning(present), Ok)?;
        let replayed = match replay(log, from, index) {
            Err(OpenError::Index { reason }) if !recreated => {
                tracing::warn!(dir = %dir.display(), reason, "the index is damaged: rebuilding it");
                (*index, recreated) = (Index::create(dir).map_err(index_error)?, true);
                continue;
            }
            other => other?,
        };
        let checked = check(&replayed, &log.known)?;
        if checked.index_differs {
            tracing::warn!(dir = %dir.display(), "the index does not fit: rebuilding it");
            *index = Index::create(dir).map_err(index_error)?;
            continue;
        }
        // Tiles that lead to another root may be at fault themselves.
        if !from_start && (checked.fork.is_some() || replayed.tree.size() != replayed.end) {
            continue;
        }
        if let Some(fork) = checked.fork {
            return Err(fork);
        }
        if let Some(at) = replayed.tree.differs() {
            tracing::warn!(dir = %dir.display(), entry = at, "tiles differ: writing them again");
            present = Present::Replace;
            tree = if from_start { None } else { log.marked(present) };
        } else {
            return Ok(replayed);
        }
    }
}

struct Checked {
    index_differs: bool,
    fork: Option<OpenError>,
}

/// Compares what was read with what is known. A log that is too short is refused at once.
fn check(replayed: &Replayed, known: &[Known]) -> Result<Checked, OpenError> {
    let found = replayed.end;
    let (covered, covered_root) = replayed.covered;
    for known in known {
        if known.size > found {
            return Err(OpenError::Rollback { by: known.by, known: known.size, found });
        }
    }
    if covered > found {
        return Err(OpenError::Rollback { by: KnownBy::Index, known: covered, found });
    }
    let other = |known: &&Known| replayed.root_at(known.size) != Some(known.root);
    let fork = known.iter().find(other).map(|known| OpenError::Fork {
        by: known.by,
        size: known.size,
        known: known.root,
        found: replayed.root_at(known.size).unwrap_or(EMPTY_ROOT),
        first_changed: replayed.tree.differs(),
    });
    Ok(Checked { index_differs: replayed.root_at(covered) != covered_root, fork })
}

/// Reads all segments that hold something which the tree or the index lacks, and adds it.
fn replay(log: &Folder<'_>, mut tree: Tree, index: &mut Index) -> Result<Replayed, OpenError> {
    let Folder { dir, disk, known, .. } = log;
    let mut segments = segment::list(dir)?;
    // Those that a cut should have removed are not looked at.
    let kept = cut::start_of(&segments, log.minimum());
    segments.retain(|first| *first >= kept);
    let before = index.covers().map_err(index_error)?;
    let covered = before.0.max(log.minimum());
    let from = tree.size().min(covered);
    let sizes: Vec<u64> = known.iter().map(|known| known.size).chain([covered]).collect();
    let promised = known.iter().map(|known| known.size).max().unwrap_or(0);
    let start = segments.partition_point(|first| *first <= from).saturating_sub(1);
    if segments.first().is_some_and(|first| *first > log.minimum()) {
        return Err(OpenError::SegmentMissing { index: log.minimum() });
    }
    let mut next = segments.get(start).copied().unwrap_or(0);
    let tree_of = &mut tree;
    let mut adding =
        Adding { disk: *disk, tree: tree_of, index, covered, sizes, roots: Vec::new() };
    adding.note_root();
    let mut last = None;
    for (place, first) in segments.iter().copied().enumerate().skip(start) {
        if first != next {
            return Err(OpenError::SegmentMissing { index: next });
        }
        let path = segment::path(dir, first);
        let bytes = fs::read(&path)?;
        let scan = segment::scan(&bytes, first);
        let is_last = place + 1 == segments.len();
        judge(&scan, is_last, promised, path)?;
        adding.add(&scan, &bytes)?;
        next = scan.next;
        last = is_last.then_some((scan, bytes));
    }
    let roots = adding.roots;
    Ok(Replayed { tree, end: next, covered: before, roots, segments, last })
}

/// Refuses a segment that holds anything but good frames, save a torn batch at the end of the
/// last one, beyond what was promised.
fn judge(scan: &Scan, is_last: bool, promised: u64, segment: PathBuf) -> Result<(), OpenError> {
    let index = scan.next;
    match scan.rest {
        Rest::Blank => Ok(()),
        Rest::Torn { .. } if is_last && index >= promised => Ok(()),
        Rest::NoHeader => Err(OpenError::Damaged { index, id: None, segment }),
        Rest::Torn { id } | Rest::Damaged { id } => Err(OpenError::Damaged { index, id, segment }),
        Rest::Misplaced { found } => Err(OpenError::Misplaced { index, found, segment }),
    }
}

/// Adds frames to the tree and the index, each to what lacks it.
struct Adding<'a> {
    disk: &'a dyn Disk,
    tree: &'a mut Tree,
    index: &'a mut Index,
    covered: u64,
    sizes: Vec<u64>,
    roots: Vec<(u64, Hash)>,
}

impl Adding<'_> {
    fn add(&mut self, scan: &Scan, bytes: &[u8]) -> Result<(), OpenError> {
        let mut rows = Rows::default();
        for offset in &scan.offsets {
            let frame = bytes.get(*offset..).and_then(|b| Frame::read(b, scan.salt).ok());
            let Some(frame) = frame else { break };
            if frame.index >= self.tree.size() {
                self.tree.append(self.disk, tree::leaf(frame.bytes), frame.bytes)?;
                self.note_root();
            }
            if frame.index >= self.covered {
                rows.add(&frame, u64::try_from(*offset).unwrap_or(0));
            }
            if rows.len() >= ROUND_ENTRIES_MAX {
                self.index(std::mem::take(&mut rows), frame.index + 1)?;
            }
        }
        self.index(rows, scan.next)
    }

    fn note_root(&mut self) {
        if self.sizes.contains(&self.tree.size()) {
            self.roots.push((self.tree.size(), self.tree.root()));
        }
    }

    fn index(&mut self, rows: Rows, size: u64) -> Result<(), OpenError> {
        if rows.len() == 0 {
            return Ok(());
        }
        let root = if size == self.tree.size() { Some(self.tree.root()) } else { None };
        let root = root.or_else(|| self.tree.root_at(size)).unwrap_or(EMPTY_ROOT);
        self.covered = size;
        self.index.insert(rows, size, root).map_err(index_error)
    }
}

/// Makes the end of the last segment fit to be written on, or makes the first segment.
fn repair(
    dir: &Path,
    disk: &dyn Disk,
    replayed: &Replayed,
    size: u64,
) -> Result<(Vec<u64>, Segment, u64), OpenError> {
    let mut segments = replayed.segments.clone();
    let (first, scan, bytes) = match (segments.last(), &replayed.last) {
        (Some(first), Some((scan, bytes))) if scan.end > 0 => (*first, scan, bytes),
        (last, _) => {
            // No segment yet, or one that a crash left without its header.
            let first = last.copied().unwrap_or(0);
            if last.is_some() {
                fs::remove_file(segment::path(dir, first))?;
            } else {
                segments.push(first);
            }
            let segment = Segment::create(disk, dir, first, size)?;
            return Ok((segments, segment, segment::HEADER_BYTES as u64));
        }
    };
    let segment = Segment::open(dir, first, scan.salt, size)?;
    let is_torn = matches!(scan.rest, Rest::Torn { .. });
    let mut tail = bytes.get(last_batch(scan, bytes)..).unwrap_or_default().to_vec();
    let used = scan.end - (bytes.len() - tail.len());
    if is_torn {
        tracing::warn!(dir = %dir.display(), entry = scan.next, "cutting a torn write");
    }
    // INVARIANT: nothing but zeros after the last good frame. What is left of a torn batch could
    // else continue what is written in its place.
    tail.iter_mut().skip(used).for_each(|byte| *byte = 0);
    let written = if is_torn { tail.len() } else { used };
    // The last batch was perhaps never synced, or its sync failed: the kernel may show bytes that
    // are not on the disk and think that they are. Writing them again makes it true.
    let start = u64::try_from(bytes.len() - tail.len()).unwrap_or(0);
    disk.write_at(&segment.file, tail.get(..written).unwrap_or_default(), start)?;
    disk.sync(&segment.file)?;
    disk.sync_dir(&segment::folder(dir))?;
    Ok((segments, segment, u64::try_from(scan.end).unwrap_or(u64::MAX)))
}

/// Where the last batch begins in its segment.
fn last_batch(scan: &Scan, bytes: &[u8]) -> usize {
    let read = |offset: &usize| Frame::read(bytes.get(*offset..)?, scan.salt).ok();
    let batch = scan.offsets.last().and_then(read).map(|frame| frame.batch());
    let of_batch = |offset: &&usize| read(offset).map(|frame| frame.batch()) == batch;
    let first = scan.offsets.iter().rev().take_while(of_batch).last();
    first.copied().unwrap_or(scan.end)
}

fn index_error(error: rusqlite::Error) -> OpenError {
    OpenError::Index { reason: error.to_string() }
}
