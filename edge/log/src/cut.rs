//! Cutting the beginning off: what a retention policy no longer keeps goes, its hashes stay.
//!
//! tlog-tiles, Pruning: "Pruning makes some prefix of the log unavailable, without changing the
//! tree structure." Segments, entry bundles and index rows below the minimum index are removed.
//! The tiles with hashes are not, though the text would let full ones go: with them every
//! checkpoint that was ever signed can still be compared, and the cut itself be checked.
//!
//! The order, safe wherever it breaks off: the caller appends a record of the cut; a checkpoint
//! covers it; the hashes are synced; the file `cut` names the record. Up to there nothing
//! happened. From there on the cut holds, and what is left to remove is removed when the log is
//! opened again. The file alone proves nothing: the record that it names must be in the log, under
//! a checkpoint, and say the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use time::UnixTime;
use tlog::{Hash, TILE_WIDTH, TileKind, TilePath};

use crate::Log;
use crate::core::CHECKPOINT_WAIT;
use crate::disk::Disk;
use crate::frame::Frame;
use crate::index::Index;
use crate::query::{self, ReadError};
use crate::segment;
use crate::tree::{self, OnDisk};

const WIDTH: u64 = TILE_WIDTH as u64;

/// Everything below an entry is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first entry that is kept, which is the size of the tree that was cut: a multiple of 256.
    // tlog-tiles, Pruning: "Logs maintain a *minimum index* value. The minimum index is a lower
    // bound on log entry indices that the log publishes."
    pub minimum: u64,
    /// The root of that tree.
    pub root: Hash,
}

/// Reads the cut that an entry is the record of, if it is one: what entries say is the caller's.
pub type ReadCut = fn(&[u8]) -> Option<Cut>;

/// What can be cut now, for the record of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub cut: Cut,
    /// The first entry that goes: what was before is cut already.
    pub from: u64,
    /// The earliest and the latest time of the entries that go.
    pub times: (UnixTime, UnixTime),
}

/// Why nothing was cut, or not all of it removed.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    #[error("entry {index} is not the one that its tile has: nothing is cut")]
    Changed { index: u64 },
    #[error("the log was cut at {minimum} meanwhile")]
    Moved { minimum: u64 },
    #[error("the log has no record of this cut")]
    NotRecorded,
    #[error("no checkpoint covers entry {entry} yet, the record of the cut")]
    NotPromised { entry: u64 },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("could not write or remove files: {0}")]
    Disk(#[from] io::Error),
}

/// These block on files; call them where that is allowed.
impl Log {
    /// The first entry that is kept.
    pub fn minimum(&self) -> u64 {
        self.core.state().minimum()
    }

    /// The last cut, and the entry that is its record.
    pub fn last_cut(&self) -> Option<(Cut, u64)> {
        self.core.state().cut.map(|pointer| (pointer.cut, pointer.entry))
    }

    /// What can be cut so that every entry of `time` or later stays: whole segments that are
    /// full, as far as a checkpoint covers them. Reads all that would go: what was changed is
    /// evidence, and not cut.
    pub fn plan_cut(&self, time: UnixTime) -> Result<Option<Plan>, CutError> {
        let (segments, indexed, promised, from) = {
            let state = self.core.state();
            let (segments, promised) = (state.segments.clone(), state.promise.size);
            (segments, state.tail_first(), promised, state.minimum())
        };
        let young = self.core.readers.since(time).map_err(query::index_error)?;
        // tlog-tiles, Pruning: "It MUST be less than or equal to the tree size of the log's
        // current checkpoint."
        let end = young.unwrap_or(indexed).min(indexed).min(promised);
        // A segment ends where the next begins, so the one that is written to never goes.
        let end = start_of(&segments, end);
        let minimum = end / WIDTH * WIDTH;
        if segments.first().is_none_or(|first| *first >= start_of(&segments, minimum)) {
            return Ok(None);
        }
        let times = self.times_of(&segments, from, minimum)?;
        let tiles = OnDisk { dir: &self.core.dir, size: promised };
        let root = tlog::root(minimum, &tiles).ok_or(ReadError::Tile { index: minimum })?;
        Ok(Some(Plan { cut: Cut { minimum, root }, from, times }))
    }

    /// Does what was planned, once the entry with the id `record` says so.
    pub fn cut(&self, plan: &Plan, record: &[u8; 16]) -> Result<(), CutError> {
        let core = &self.core;
        let _one = core.cutting.lock().unwrap_or_else(PoisonError::into_inner);
        let (minimum, cut) = (self.minimum(), plan.cut);
        if minimum != plan.from {
            return Err(CutError::Moved { minimum });
        }
        let entry = self.by_id(record)?.ok_or(CutError::NotRecorded)?;
        let said = self.read(entry..entry + 1)?;
        if said.first().and_then(|stored| (core.read_cut)(&stored.bytes)) != Some(cut) {
            return Err(CutError::NotRecorded);
        }
        if core.promise_for(entry, CHECKPOINT_WAIT).size <= entry {
            return Err(CutError::NotPromised { entry });
        }
        tree::sync_hashes(&*core.disk, &core.dir, plan.from..cut.minimum)?;
        let pointer = Pointer { cut, entry };
        pointer.write(&*core.disk, &core.dir)?;
        core.state().forget(pointer);
        let forgotten = Index::beside(&core.dir).and_then(|index| index.forget(cut.minimum));
        finish(&*core.disk, &core.dir, cut.minimum)?;
        Ok(forgotten.map_err(query::index_error)?)
    }

    /// The earliest and the latest time of a range of entries, each compared with its tile.
    fn times_of(
        &self,
        segments: &[u64],
        from: u64,
        end: u64,
    ) -> Result<(UnixTime, UnixTime), CutError> {
        let dir = &self.core.dir;
        let (mut next, mut tile) = (from, Vec::new());
        let mut times: Option<(UnixTime, UnixTime)> = None;
        while next < end {
            let first = start_of(segments, next);
            let bytes = fs::read(segment::path(dir, first))?;
            let before = next;
            for frame in segment::frames(&bytes, first).filter(|frame| frame.index < end) {
                if frame.index != next {
                    continue;
                }
                if next.is_multiple_of(WIDTH) {
                    let kind = TileKind::Hashes { level: 0 };
                    let path = TilePath::new(kind, next / WIDTH, TILE_WIDTH);
                    tile = path.and_then(|path| tree::hashes(dir, &path)).unwrap_or_default();
                }
                let place = usize::try_from(next % WIDTH).unwrap_or(0);
                if tile.get(place) != Some(&tree::leaf(frame.bytes)) {
                    return Err(CutError::Changed { index: next });
                }
                let (first, last) = times.unwrap_or((frame.time, frame.time));
                times = Some((first.min(frame.time), last.max(frame.time)));
                next += 1;
            }
            if next == before {
                return Err(CutError::Changed { index: next });
            }
        }
        Ok(times.unwrap_or((UnixTime::EPOCH, UnixTime::EPOCH)))
    }
}

/// The file `cut`: which cut holds, and which entry is its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) cut: Cut,
    pub(crate) entry: u64,
}

impl Pointer {
    /// What the file says; `None` where it is missing or does not read, and the log is searched.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::path(dir)).ok()?;
        let mut lines = text.lines();
        let minimum = lines.next()?.parse().ok()?;
        let root = Hash::parse(lines.next()?).ok()?;
        let entry = lines.next()?.parse().ok()?;
        Some(Self { cut: Cut { minimum, root }, entry })
    }

    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let Cut { minimum, root } = self.cut;
        let text = format!("{minimum}\n{root}\n{}\n", self.entry);
        disk.replace(&Self::path(dir), text.as_bytes(), true)
    }

    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("cut")
    }
}

/// Why the beginning that a folder lacks is not believed to be cut.
pub(crate) enum Unproven {
    Disk(io::Error),
    /// Nothing says anything of a cut.
    Missing,
    /// The file `cut` says what no record of the log says that a checkpoint covers.
    NotRecorded(Pointer),
}

/// The cut that holds in a folder, proved by a record among the first `promised` entries.
pub(crate) fn find(
    dir: &Path,
    read_cut: ReadCut,
    promised: u64,
) -> Result<Option<Pointer>, Unproven> {
    let segments = match segment::list(dir) {
        Ok(segments) => segments,
        // Who asks for the entries is told that there is no such folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unproven::Disk(error)),
    };
    if let Some(pointer) = Pointer::read(dir) {
        let Pointer { cut, entry } = pointer;
        let fits = cut.minimum.is_multiple_of(WIDTH) && cut.minimum <= entry && entry < promised;
        let first = start_of(&segments, entry);
        let said = fits && recorded(dir, first, read_cut)?.contains(&pointer);
        return if said { Ok(Some(pointer)) } else { Err(Unproven::NotRecorded(pointer)) };
    }
    let Some(first) = segments.first().filter(|first| **first > 0) else { return Ok(None) };
    let mut found: Option<Pointer> = None;
    for segment in &segments {
        let told = recorded(dir, *segment, read_cut)?.into_iter();
        let told = told.filter(|told| told.cut.minimum >= *first && told.entry < promised);
        found = told.chain(found).max_by_key(|told| told.cut.minimum);
    }
    found.map(Some).ok_or(Unproven::Missing)
}

/// The cuts that a segment has records of.
fn recorded(dir: &Path, first: u64, read_cut: ReadCut) -> Result<Vec<Pointer>, Unproven> {
    let bytes = match fs::read(segment::path(dir, first)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Unproven::Disk)?,
    };
    let told = |frame: Frame<'_>| Some(Pointer { cut: read_cut(frame.bytes)?, entry: frame.index });
    Ok(segment::frames(&bytes, first).filter_map(told).collect())
}

/// Removes what a cut has left: segments and bundles that end at or below `minimum`.
pub(crate) fn finish(disk: &dyn Disk, dir: &Path, minimum: u64) -> io::Result<()> {
    let bundle = |index| {
        let path = TilePath::new(TileKind::Entries, index, TILE_WIDTH);
        dir.join(path.map(|path| path.to_string()).unwrap_or_default())
    };
    // Lowest first: what a crash leaves is found from the other end.
    let mut lowest = minimum / WIDTH;
    while lowest > 0 && bundle(lowest - 1).exists() {
        lowest -= 1;
    }
    for index in lowest..minimum / WIDTH {
        disk.remove(&bundle(index))?;
    }
    let segments = segment::list(dir)?;
    let kept = start_of(&segments, minimum);
    let gone: Vec<u64> = segments.into_iter().filter(|first| *first < kept).collect();
    for first in &gone {
        disk.remove(&segment::path(dir, *first))?;
    }
    if gone.is_empty() { Ok(()) } else { disk.sync_dir(&segment::folder(dir)) }
}

/// Where the segment begins that entry `at` is in; 0 if there is none.
pub(crate) fn start_of(segments: &[u64], at: u64) -> u64 {
    let after = segments.partition_point(|first| *first <= at);
    after.checked_sub(1).and_then(|place| segments.get(place)).copied().unwrap_or(0)
}
