//! Reading: entries, terms, proofs and the resources that tlog-tiles names.
//!
//! Everything that was acknowledged is found at once: what the index lacks is still in memory.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use time::UnixTime;
use tlog::{Hash, ProofFile, TILE_WIDTH, TileKind, TilePath, inclusion_proof};

use crate::core::{Batch, CHECKPOINT_WAIT, Core};
use crate::entry::Stored;
use crate::frame::Frame;
use crate::segment::Reader;
use crate::tree::{self, OnDisk};
use crate::{Log, Term};

/// Entries that one read returns.
pub const READ_ENTRIES_MAX: u64 = 4_096;
/// Entries that an iteration reads ahead.
const AHEAD_ENTRIES: u64 = 256;
/// Candidates that are looked at in one go.
const CANDIDATES: usize = 256;

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("entry {index} is not in a log of {size} entries")]
    NotThere { index: u64, size: u64 },
    #[error("entry {index} was cut off: the log begins with entry {minimum}")]
    Cut { index: u64, minimum: u64 },
    #[error("no checkpoint covers entry {index} yet")]
    NotPromised { index: u64 },
    #[error("a tile that the proof of entry {index} needs is missing or damaged")]
    Tile { index: u64 },
    #[error("could not read entries: {0}")]
    Segment(#[from] io::Error),
    #[error("could not read the index, which is made again when `index.db` is deleted: {reason}")]
    Index { reason: String },
}

/// A file of the log, to be served under its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    pub cache: Cache,
}

/// How long a resource may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// It changes.
    Never,
    /// It never changes.
    Forever,
}

/// There is no such resource, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log has no `{path}`")]
pub struct NotFound {
    pub path: String,
}

/// These block on files; call them where that is allowed.
impl Log {
    /// Entries of a range, at most [`READ_ENTRIES_MAX`], fewer where the log ends.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<Stored>, ReadError> {
        let mut found = Vec::new();
        let end = range.end.min(range.start.saturating_add(READ_ENTRIES_MAX));
        see(&self.core, range.start..end, |frame| found.push(frame.to_stored()))?;
        Ok(found)
    }

    /// The last `count` entries, oldest first, at most [`READ_ENTRIES_MAX`].
    pub fn latest(&self, count: u64) -> Result<Vec<Stored>, ReadError> {
        let (size, minimum) = (self.size(), self.minimum());
        self.read(size.saturating_sub(count.min(READ_ENTRIES_MAX)).max(minimum)..size)
    }

    /// Indices of the entries with a term, ascending, at most `limit`, beyond `after` if given.
    pub fn by_term(
        &self,
        term: Term,
        value: &str,
        limit: usize,
        after: Option<u64>,
    ) -> Result<Vec<u64>, ReadError> {
        // The tail first: an entry leaves it only when it is in the index.
        let (tail, indexed) = self.core.tail();
        let mut from = after.map_or(0, |after| after.saturating_add(1)).max(self.minimum());
        let mut found = Vec::new();
        while found.len() < limit {
            let readers = &self.core.readers;
            let candidates = readers
                .by_term((term.0, value), (from, indexed), CANDIDATES)
                .map_err(index_error)?;
            let Some(last) = candidates.last() else { break };
            from = last + 1;
            for at in candidates {
                // Two terms may share a key: the entry decides.
                let mut has = false;
                match see(&self.core, at..at + 1, |frame| has = frame.has_term(term.0, value)) {
                    Ok(()) => found.extend(has.then_some(at)),
                    // It was cut since.
                    Err(ReadError::Cut { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for batch in tail {
            see_batch(&batch, from..u64::MAX, |frame| {
                if frame.has_term(term.0, value) {
                    found.push(frame.index);
                }
            });
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The index of the first entry with this id.
    pub fn by_id(&self, id: &[u8; 16]) -> Result<Option<u64>, ReadError> {
        self.core.by_id(id).map_err(index_error)
    }

    /// All entries of `time` or later, ascending.
    pub fn tail_since(&self, time: UnixTime) -> Result<Since, ReadError> {
        let (_, indexed) = self.core.tail();
        let next = self.core.readers.since(time).map_err(index_error)?.unwrap_or(indexed);
        let next = next.min(indexed).max(self.minimum());
        let (log, end) = (self.clone(), self.size());
        Ok(Since { log, time, next, end, ahead: VecDeque::new() })
    }

    /// Size and root of a checkpoint that covers all that is durable now: what to remember
    /// elsewhere before an end. Waits for it, some seconds at most; then it is the latest there is.
    pub async fn promise_all(&self) -> (u64, Hash) {
        let (core, size) = (Arc::clone(&self.core), self.size());
        let Some(last) = size.checked_sub(1) else { return self.promised() };
        let waiting = move || core.promise_for(last, CHECKPOINT_WAIT);
        match tokio::task::spawn_blocking(waiting).await {
            Ok(promise) => (promise.size, promise.root),
            Err(_) => self.promised(),
        }
    }

    /// A proof that an entry is in the log, as a `c2sp.org/tlog-proof@v1` file. Waits for a
    /// checkpoint that covers it, some seconds at most. What was cut is proved as well: whoever
    /// kept a copy of such an entry can still show that it was there.
    pub fn inclusion_proof(&self, index: u64) -> Result<String, ReadError> {
        let size = self.size();
        if index >= size {
            return Err(ReadError::NotThere { index, size });
        }
        let promise = self.core.promise_for(index, CHECKPOINT_WAIT);
        if index >= promise.size {
            return Err(ReadError::NotPromised { index });
        }
        let tiles = OnDisk { dir: &self.core.dir, size: promise.size };
        let hashes = inclusion_proof(index, promise.size, &tiles);
        let hashes = hashes.ok_or(ReadError::Tile { index })?;
        let checkpoint = promise.text.to_string();
        Ok(ProofFile { extra: None, index, hashes, checkpoint }.to_string())
    }

    /// The bytes of `checkpoint`, `tile/…` or `tile/entries/…`, as far as they are promised.
    pub fn resource(&self, path: &str) -> Result<Resource, NotFound> {
        let (promise, minimum) = {
            let state = self.core.state();
            (state.promise.clone(), state.minimum())
        };
        if path == "checkpoint" {
            // tlog-tiles, Checkpoints: "with `Content-Type: text/plain; charset=utf-8`. This
            // endpoint is mutable, so its headers SHOULD prevent caching beyond a few seconds."
            let content_type = "text/plain; charset=utf-8";
            let bytes = promise.text.as_bytes().to_vec();
            return Ok(Resource { bytes, content_type, cache: Cache::Never });
        }
        let not_found = || NotFound { path: path.to_owned() };
        let tile = TilePath::parse(path).ok().filter(|tile| tile.is_within(promise.size));
        // tlog-tiles, Pruning: "the log MAY return an error response if the resource's end index,
        // defined above, is below or equal to the minimum index."
        let is_cut = |tile: &TilePath| {
            tile.kind() == TileKind::Entries
                && (tile.index() + 1).saturating_mul(TILE_WIDTH.into()) <= minimum
        };
        let tile = tile.filter(|tile| !is_cut(tile)).ok_or_else(not_found)?;
        let bytes = tree::find(&self.core.dir, &tile).ok().flatten().ok_or_else(not_found)?;
        // tlog-tiles, Merkle Tree: "This endpoint is immutable, so its caching headers SHOULD be
        // long-lived."
        Ok(Resource { bytes, content_type: "application/octet-stream", cache: Cache::Forever })
    }
}

/// Entries from an instant on; see [`Log::tail_since`].
pub struct Since {
    log: Log,
    time: UnixTime,
    next: u64,
    end: u64,
    ahead: VecDeque<Stored>,
}

impl Iterator for Since {
    type Item = Result<Stored, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(stored) = self.ahead.pop_front() {
                if stored.time >= self.time {
                    return Some(Ok(stored));
                }
            }
            if self.next >= self.end {
                return None;
            }
            let end = self.end.min(self.next + AHEAD_ENTRIES);
            match self.log.read(self.next..end) {
                Ok(read) => self.ahead.extend(read),
                Err(error) => {
                    self.next = self.end;
                    return Some(Err(error));
                }
            }
            self.next = end;
        }
    }
}

impl Core {
    /// What is not in the index, and the first entry of it.
    fn tail(&self) -> (Vec<Arc<Batch>>, u64) {
        let state = self.state();
        (state.tail.iter().cloned().collect(), state.tail_first())
    }

    /// The first entry with this id.
    pub(crate) fn by_id(&self, id: &[u8; 16]) -> rusqlite::Result<Option<u64>> {
        // Look into the tail before the index: an entry leaves it only when it is there.
        let (in_tail, minimum) = {
            let state = self.state();
            (state.tail_id(id), state.minimum())
        };
        Ok(self.readers.by_id(id)?.filter(|at| *at >= minimum).or(in_tail))
    }
}

/// The hash of an entry that is in the log.
pub(crate) fn leaf(core: &Core, at: u64) -> Result<Hash, ReadError> {
    let mut leaf = None;
    see(core, at..at + 1, |frame| leaf = Some(tree::leaf(frame.bytes)))?;
    leaf.ok_or(ReadError::NotThere { index: at, size: core.state().size })
}

/// Shows every entry of a range, as far as the log reaches.
fn see(core: &Core, range: Range<u64>, mut show: impl FnMut(&Frame<'_>)) -> Result<(), ReadError> {
    let (tail, indexed) = core.tail();
    let on_disk = range.start..range.end.min(indexed);
    if !on_disk.is_empty() {
        let read = see_on_disk(core, on_disk, &mut show);
        // What could not be read may be what was cut meanwhile.
        let (index, minimum) = (range.start, core.state().minimum());
        if index < minimum {
            return Err(ReadError::Cut { index, minimum });
        }
        read?;
    }
    for batch in tail {
        see_batch(&batch, range.clone(), &mut show);
    }
    Ok(())
}

fn see_batch(batch: &Batch, range: Range<u64>, mut show: impl FnMut(&Frame<'_>)) {
    let starts = batch.starts.iter().zip(batch.first..).filter(|(_, at)| range.contains(at));
    for (start, _) in starts {
        let bytes = batch.frames.get(*start..).unwrap_or_default();
        if let Ok(frame) = Frame::read(bytes, batch.salt) {
            show(&frame);
        }
    }
}

fn see_on_disk(
    core: &Core,
    range: Range<u64>,
    show: &mut impl FnMut(&Frame<'_>),
) -> Result<(), ReadError> {
    let place = core.readers.place(range.start).map_err(index_error)?;
    let size = core.state().size;
    let (first, offset) = place.ok_or(ReadError::NotThere { index: range.start, size })?;
    let segment = core.state().segment_of(first);
    let mut reader = Reader::new(&core.dir, segment, offset, first)?;
    for at in first..range.end {
        reader.next(&mut |frame: &Frame<'_>| {
            if range.contains(&at) {
                show(frame);
            }
        })?;
    }
    Ok(())
}

pub(crate) fn index_error(error: rusqlite::Error) -> ReadError {
    ReadError::Index { reason: error.to_string() }
}
