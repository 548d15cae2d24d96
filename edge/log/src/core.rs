//! What the threads and the handles of a log share.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tlog::Hash;
use tokio::sync::watch;

use crate::cut::{Pointer, ReadCut, start_of};
use crate::disk::Disk;
use crate::index::Readers;
use crate::promise::Promise;
use crate::segment::Segment;

/// Bytes of entries that are durable and not yet in the index; then the writer waits.
const TAIL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Entries that wake the keeper at once.
const TAIL_ENTRIES_WAKE: u64 = 4_096;

/// How long is waited for a checkpoint that covers an entry.
pub(crate) const CHECKPOINT_WAIT: Duration = Duration::from_secs(5);

/// Entries that were made durable together.
pub(crate) struct Batch {
    pub(crate) first: u64,
    /// The segment that they are in, by its first entry.
    pub(crate) segment: u64,
    /// Where they begin in it.
    pub(crate) offset: u64,
    pub(crate) salt: u32,
    pub(crate) frames: Vec<u8>,
    /// Where each begins in `frames`.
    pub(crate) starts: Vec<usize>,
    pub(crate) leaves: Vec<Hash>,
    pub(crate) ids: Vec<[u8; 16]>,
}

impl Batch {
    /// The index after its last entry.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::try_from(self.starts.len()).unwrap_or(0)
    }
}

pub(crate) struct State {
    /// Durable, not yet in the index. INVARIANT: what leaves here was committed to the index, and
    /// readers look here before they look there.
    pub(crate) tail: VecDeque<Arc<Batch>>,
    tail_bytes: usize,
    tail_ids: HashMap<[u8; 16], u64>,
    /// Durable entries.
    pub(crate) size: u64,
    /// First entries of all segments.
    pub(crate) segments: Vec<u64>,
    /// The cut that holds.
    pub(crate) cut: Option<Pointer>,
    /// The segment that is written to, and up to where.
    pub(crate) current: Arc<Segment>,
    pub(crate) used: u64,
    /// Segments that are full, with the bytes they use.
    pub(crate) sealed: Vec<(Arc<Segment>, u64)>,
    pub(crate) promise: Promise,
    /// A checkpoint of at least this size is waited for.
    pub(crate) wanted: u64,
    /// No more batches will come.
    pub(crate) closing: bool,
    pub(crate) stopped: Option<String>,
}

pub(crate) struct Core {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) read_cut: ReadCut,
    /// Held while the log is cut.
    pub(crate) cutting: Mutex<()>,
    pub(crate) readers: Readers,
    pub(crate) durable: watch::Sender<u64>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What the keeper has to do next.
pub(crate) struct Work {
    pub(crate) batches: Vec<Arc<Batch>>,
    pub(crate) sealed: Vec<(Arc<Segment>, u64)>,
    pub(crate) current: (Arc<Segment>, u64),
    /// Somebody waits for a checkpoint.
    pub(crate) wanted: bool,
    pub(crate) closing: bool,
}

impl State {
    pub(crate) fn new(
        (size, segments): (u64, Vec<u64>),
        (current, used): (Arc<Segment>, u64),
        promise: Promise,
        cut: Option<Pointer>,
    ) -> Self {
        Self {
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_ids: HashMap::new(),
            size,
            segments,
            cut,
            current,
            used,
            sealed: Vec::new(),
            promise,
            wanted: 0,
            closing: false,
            stopped: None,
        }
    }

    /// The entry of the tail with this id.
    pub(crate) fn tail_id(&self, id: &[u8; 16]) -> Option<u64> {
        self.tail_ids.get(id).copied()
    }

    /// The first entry that is only in the tail.
    pub(crate) fn tail_first(&self) -> u64 {
        self.tail.front().map_or(self.size, |batch| batch.first)
    }

    /// The segment that entry `at` is in, by its first entry.
    pub(crate) fn segment_of(&self, at: u64) -> u64 {
        start_of(&self.segments, at)
    }

    /// The first entry that is not cut.
    pub(crate) fn minimum(&self) -> u64 {
        self.cut.map_or(0, |pointer| pointer.cut.minimum)
    }

    /// From now on nobody reads what is cut.
    pub(crate) fn forget(&mut self, pointer: Pointer) {
        let kept = self.segment_of(pointer.cut.minimum);
        self.segments.retain(|first| *first >= kept);
        self.cut = Some(pointer);
    }
}

impl Core {
    pub(crate) fn new(dir: PathBuf, disk: Arc<dyn Disk>, read_cut: ReadCut, state: State) -> Self {
        let readers = Readers::new(&dir);
        let (durable, _) = watch::channel(state.size);
        let (cutting, state) = (Mutex::new(()), Mutex::new(state));
        Self { dir, disk, read_cut, cutting, readers, durable, state, changed: Condvar::new() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something changes or the time is over.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Stops the log for good.
    pub(crate) fn stop(&self, reason: &str) {
        self.state().stopped.get_or_insert_with(|| reason.to_owned());
        self.changed.notify_all();
        tracing::error!(dir = %self.dir.display(), reason, "the log has stopped");
    }

    /// Called by the writer: no more batches will come.
    pub(crate) fn end(&self) {
        self.state().closing = true;
        self.changed.notify_all();
    }

    /// Waits until the tail has room. `Err` when the log has stopped.
    pub(crate) fn wait_for_room(&self) -> Result<(), String> {
        let mut state = self.state();
        loop {
            if let Some(reason) = &state.stopped {
                return Err(reason.clone());
            }
            if state.tail_bytes < TAIL_BYTES_MAX {
                return Ok(());
            }
            state = self.wait(state, Duration::from_secs(1));
        }
    }

    /// Shows a batch that is durable to everyone.
    pub(crate) fn show(&self, batch: Batch) {
        let mut state = self.state();
        let (was_idle, size) = (state.tail.is_empty(), batch.end());
        state.tail_bytes += batch.frames.len();
        for (id, at) in batch.ids.iter().zip(batch.first..) {
            state.tail_ids.entry(*id).or_insert(at);
        }
        state.size = size;
        state.used = batch.offset + u64::try_from(batch.frames.len()).unwrap_or(0);
        state.tail.push_back(Arc::new(batch));
        let wakes = was_idle || size - state.tail_first() >= TAIL_ENTRIES_WAKE;
        drop(state);
        if wakes {
            self.changed.notify_all();
        }
        self.durable.send_replace(size);
    }

    /// Called by the writer when it goes on in another segment.
    pub(crate) fn enter(&self, segment: &Arc<Segment>, used: u64) {
        let mut state = self.state();
        let full = std::mem::replace(&mut state.current, Arc::clone(segment));
        let full_used = std::mem::replace(&mut state.used, used);
        state.sealed.push((full, full_used));
        state.segments.push(segment.first);
    }

    /// Work for the keeper, at the latest after `idle`; `gather` is how long it lets entries
    /// gather once there are some.
    pub(crate) fn next_work(&self, idle: Duration, gather: Duration) -> Work {
        let mut state = self.state();
        let calm = |state: &State| {
            !state.closing && state.stopped.is_none() && state.wanted <= state.promise.size
        };
        if state.tail.is_empty() && calm(&state) {
            state = self.wait(state, idle);
        }
        let few = |state: &State| state.size - state.tail_first() < TAIL_ENTRIES_WAKE;
        if !state.tail.is_empty() && few(&state) && calm(&state) {
            state = self.wait(state, gather);
        }
        Work {
            batches: state.tail.iter().cloned().collect(),
            sealed: std::mem::take(&mut state.sealed),
            current: (Arc::clone(&state.current), state.used),
            wanted: state.wanted > state.promise.size,
            closing: state.closing || state.stopped.is_some(),
        }
    }

    /// Called by the keeper: entries below `size` are in the index.
    pub(crate) fn indexed(&self, size: u64) {
        let mut state = self.state();
        while state.tail.front().is_some_and(|batch| batch.end() <= size) {
            let Some(batch) = state.tail.pop_front() else { break };
            state.tail_bytes -= batch.frames.len();
            for id in &batch.ids {
                if state.tail_ids.get(id).is_some_and(|at| *at < batch.end()) {
                    state.tail_ids.remove(id);
                }
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Called by the keeper: a new checkpoint is durable.
    pub(crate) fn publish(&self, promise: Promise) {
        self.state().promise = promise;
        self.changed.notify_all();
    }

    /// Called by the keeper: there is no new checkpoint this time, whoever waits.
    pub(crate) fn give_up_wanted(&self) {
        self.state().wanted = 0;
    }

    /// A checkpoint that covers entry `at`; the latest after `time`, if none does.
    pub(crate) fn promise_for(&self, at: u64, time: Duration) -> Promise {
        let mut state = self.state();
        if at < state.size && state.promise.size <= at {
            state.wanted = state.wanted.max(at + 1);
            self.changed.notify_all();
            let waits = |state: &mut State| {
                state.promise.size <= at && state.stopped.is_none() && !state.closing
            };
            let waited = self.changed.wait_timeout_while(state, time, waits);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.promise.clone()
    }
}
