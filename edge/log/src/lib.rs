//! The audit log of one component: a write-ahead log of opaque entries whose Merkle tree, tiles
//! and checkpoints follow [tlog-tiles](https://c2sp.org/tlog-tiles), so that other people's tools
//! can verify it.
//!
//! In scope: appending with one sync for many, tiles, entry bundles, signed checkpoints, an index
//! by terms, proofs, cutting the beginning off, and the check of a folder against all of these. Not
//! here: what an entry says and how long it is kept (`stack/monitoring`), where keys lie
//! (`edge/keys`), HTTP (`edge/api` serves [`Log::resource`]).
//!
//! Trusting it means: what was acknowledged is durable, and what a checkpoint promised cannot be
//! changed unnoticed by anyone without the log's key. An attacker who can change the folder can
//! stop the log, and drop what came after the last checkpoint that someone else knows.
//!
//! Folder: `segments/` is what counts; `tile/`, `checkpoint`, `index.db`, `tiles-durable` and `cut`
//! are derived and are made again when they are missing. Once the log was cut, its checkpoint and
//! the hashes of what is gone count too, since nothing is left to make them from.

mod core;
mod cut;
mod disk;
mod entry;
#[cfg(test)]
mod faults;
mod frame;
mod index;
mod keeper;
mod open;
mod promise;
mod query;
mod segment;
mod tree;
mod verify;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use time::Span;
use tlog::Hash;
use tokio::sync::{Semaphore, oneshot, watch};

pub use crate::cut::{Cut, CutError, Plan, ReadCut};
pub use crate::entry::{AppendError, AppendMode, Entry, Stored, Term};
pub use crate::open::{KnownBy, OpenError};
pub use crate::promise::{NoteSigner, PromiseError, SignError};
pub use crate::query::{Cache, NotFound, READ_ENTRIES_MAX, ReadError, Resource, Since};
pub use crate::verify::{Broken, Progress, Recorded, Verified, Why, verify_dir};

use crate::core::{Core, State};
use crate::disk::{Disk, RealDisk};
use crate::keeper::Keeper;
use crate::writer::{Job, Message, Prepared, Writer};

/// Bytes a segment has before the next one begins, unless told otherwise.
pub const SEGMENT_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that one append can have.
pub const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that wait to be written, in units of [`QUEUE_UNIT`].
const QUEUE_UNITS: usize = 64 * 1024;
/// Bytes; each append takes one unit at least, which bounds their number.
const QUEUE_UNIT: usize = 1024;
/// How long an append waits for room in the queue.
const QUEUE_WAIT: Duration = Duration::from_millis(200);

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// The name of the log in its checkpoints: a URL without scheme.
    pub origin: String,
    /// See [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// How often a checkpoint is signed while the log grows.
    pub checkpoint_every: Span,
    pub signer: Arc<dyn NoteSigner>,
    /// Former public keys of the signer, whose last checkpoint may be the one on disk.
    pub previous_keys: Vec<[u8; 32]>,
    /// Size and root of the last checkpoint that is known elsewhere: an older log is refused.
    pub remembered: Option<(u64, Hash)>,
    /// How the record of a cut is read; see [`Log::cut`].
    pub read_cut: ReadCut,
}

/// A log that this process writes. A handle: clones are cheap and mean the same log. When the last
/// is dropped the log ends by itself; [`Log::close`] waits until it has.
#[derive(Clone)]
pub struct Log {
    core: Arc<Core>,
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Log {
    /// Opens the log in `dir`, or makes it. Reads what is not known to be in the tiles, cuts a
    /// torn write at the very end, and refuses a log that is not the one that was promised.
    /// Blocks on files. One process at a time.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_on(dir, options, Arc::new(RealDisk))
    }

    fn open_on(dir: &Path, options: Options, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let opened = open::open(dir, &options, &*disk)?;
        let (segment, offset) = (Arc::new(opened.segment), opened.offset);
        let current = (Arc::clone(&segment), offset);
        let size = opened.tree.size();
        let state = State::new((size, opened.segments), current, opened.promise, opened.cut);
        let core = Core::new(dir.to_owned(), Arc::clone(&disk), options.read_cut, state);
        let core = Arc::new(core);
        let (queue, jobs) = mpsc::channel();
        let keeper = Keeper {
            core: Arc::clone(&core),
            disk: Arc::clone(&disk),
            tree: opened.tree,
            index: opened.index,
            notary: opened.notary,
            checkpoint_every: options.checkpoint_every.duration(),
            segment_bytes: options.segment_bytes,
            segment: segment.first,
        };
        let writer = Writer {
            core: Arc::clone(&core),
            disk,
            queue: jobs,
            segment,
            segment_bytes: options.segment_bytes,
            offset,
            next: size,
        };
        // Another process may write when both threads have ended.
        let lock = Arc::clone(&opened.lock);
        let write = move || {
            writer.run();
            drop(lock);
        };
        let lock = opened.lock;
        let keep = move || {
            keeper.run();
            drop(lock);
        };
        let threads = vec![
            thread::Builder::new().name("log writer".to_owned()).spawn(write)?,
            thread::Builder::new().name("log keeper".to_owned()).spawn(keep)?,
        ];
        let room = Arc::new(Semaphore::new(QUEUE_UNITS));
        Ok(Self { core, queue, room, threads: Arc::new(Mutex::new(threads)) })
    }

    /// Appends entries next to each other, all or none, and returns their indices. When it
    /// returns they are durable. Once it has begun, dropping the future changes nothing: the
    /// entries may be in the log.
    pub async fn append(
        &self,
        entries: Vec<Entry>,
        mode: AppendMode,
    ) -> Result<Vec<u64>, AppendError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.is_running()?;
        let prepare = |entry: &Entry| {
            let frame = frame::prepare(entry)?;
            Ok(Prepared { id: entry.id, leaf: tree::leaf(&entry.bytes), frame })
        };
        let entries: Vec<Prepared> = entries.iter().map(prepare).collect::<Result<_, _>>()?;
        let bytes: usize = entries.iter().map(|entry| entry.frame.len()).sum();
        if bytes > APPEND_BYTES_MAX {
            return Err(AppendError::AppendTooLong { bytes, max: APPEND_BYTES_MAX });
        }
        let units = u32::try_from(bytes / QUEUE_UNIT + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units);
        let room = tokio::time::timeout(QUEUE_WAIT, room).await;
        let _room = room.map_err(|_| AppendError::Busy)?.map_err(|_| AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let job = Job { entries, mode, reply, _room };
        self.queue.send(Message::Append(job)).map_err(|_| self.ended())?;
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// How many entries are durable.
    pub fn size(&self) -> u64 {
        self.core.state().size
    }

    /// Why nothing can be appended until the log is opened again; nothing while all is well.
    pub fn stopped(&self) -> Option<String> {
        self.core.state().stopped.clone()
    }

    /// The latest checkpoint, signed and durable.
    pub fn checkpoint(&self) -> String {
        self.core.state().promise.text.to_string()
    }

    /// Size and root of the latest checkpoint: what to remember elsewhere.
    pub fn promised(&self) -> (u64, Hash) {
        let state = self.core.state();
        (state.promise.size, state.promise.root)
    }

    /// The number of durable entries, as it grows.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.core.durable.subscribe()
    }

    /// Writes what is queued, signs a last checkpoint and lets go of the folder. What other
    /// handles append from now on is refused.
    pub async fn close(self) {
        self.room.close();
        // Fails only if the writer has ended already.
        let _ = self.queue.send(Message::Close);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = || threads.into_iter().for_each(|thread| drop(thread.join()));
        let _ = tokio::task::spawn_blocking(join).await;
    }

    fn is_running(&self) -> Result<(), AppendError> {
        let state = self.core.state();
        match (&state.stopped, state.closing) {
            (Some(reason), _) => Err(AppendError::Stopped { reason: reason.clone() }),
            (None, true) => Err(AppendError::Closed),
            (None, false) => Ok(()),
        }
    }

    fn ended(&self) -> AppendError {
        self.is_running().err().unwrap_or(AppendError::Closed)
    }
}
