//! Rows in an SQLite file: the state of a server.
//!
//! One thread writes ([`committer`]), a few connections read, a cache of rows stands before them.
//! A snapshot of cached rows is taken under one lock, at the cache's position; any other is read
//! in one read transaction of the file, on the caller's thread: a few point reads in memory that
//! the system caches cost less than a change of threads. Scans and changes go to threads that may
//! block.

mod cache;
mod committer;
mod migrations;
mod open;
mod readers;
mod rows;

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc as blocking};
use std::thread::JoinHandle;

use env::{
    Change, CommitFault, Index, Journal, Key, Page, Receipt, Seq, SingleUse, Snapshot, Store,
    Table, Unavailable,
};
use rusqlite::Connection;
use time::UnixTime;
use tokio::sync::{mpsc, oneshot, watch};

use self::cache::{Cache, Read};
use self::committer::{Committer, Job, QUEUE_CHANGES_MAX, Step};
pub use self::open::OpenError;
use self::readers::Readers;
use crate::Swept;
use crate::change::{self, PAGE_ROWS_MAX, Prepared};
use crate::feed;
use crate::replay::{Replay, SINGLE_USES_MAX};

/// Connections for snapshots.
const POINT_READERS: usize = 4;
/// Connections for scans and changes, so that long reads keep no snapshot waiting.
const SCAN_READERS: usize = 2;
/// Memory for a look into a database that is not open, in KiB.
const PEEK_KIB: u32 = 256;

/// The bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest the database file may become, in bytes; a commit that needs more is refused.
    pub bytes_max: u64,
    /// The most rows that are kept in memory.
    pub rows_cached_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bytes_max: 64 << 30, rows_cached_max: 65_536 }
    }
}

/// A store in a file.
///
/// A commit that writes rows is answered when SQLite has synced it **and** the journal has its
/// records. Between the two the records wait in the same file, written by the same transaction:
/// whatever happens in between, they reach the journal when it answers again or at the next
/// [`Sqlite::open`], before anything else is committed. Rows are seen from the first of the two
/// on. A commit that fails in SQLite (no space, an I/O error) does nothing, and later ones work
/// again as soon as there is space; its single-use values are as new.
pub struct Sqlite {
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<Connection>>,
    shared: Arc<Shared>,
    /// The committer's, from when it has ended. It is closed after the readers: the last one to
    /// close a database folds the write-ahead log into it, and readers could not.
    last: Option<Mutex<Connection>>,
    /// The file is ours as long as this is open.
    _lock: open::Lock,
}

/// What the committer, the readers and the callers share.
struct Shared {
    journal: Arc<dyn Journal>,
    replay: Replay,
    cache: Cache,
    points: Readers,
    scans: Readers,
    reached: watch::Sender<Seq>,
}

impl Sqlite {
    /// Opens or makes the database at `path`, and gives `journal` what an earlier process left for
    /// it. It blocks until then: the journal must run on other threads than this one.
    pub fn open(path: &Path, journal: Arc<dyn Journal>) -> Result<Self, OpenError> {
        Self::open_with(path, journal, Settings::default())
    }

    /// The contents of one row of a database that is not open, read before its journal is: `None`
    /// where there is no database or no such row.
    pub fn peek(path: &Path, key: &env::Key) -> Result<Option<Vec<u8>>, OpenError> {
        if !path.exists() {
            return Ok(None);
        }
        let db = open::reader(path, PEEK_KIB)?;
        migrations::known_schema(&db, path)?;
        let sql = "SELECT bytes FROM rows WHERE kind = ?1 AND id = ?2";
        let found = db.query_row(sql, (key.table.name(), &key.id), |row| row.get(0));
        match found {
            Ok(bytes) => Ok(bytes),
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
            Err(error) => Err(OpenError::of(path, &error)),
        }
    }

    /// [`Sqlite::open`] with other bounds.
    pub fn open_with(
        path: &Path,
        journal: Arc<dyn Journal>,
        settings: Settings,
    ) -> Result<Self, OpenError> {
        let open::Opened { db, lock } = open::open(path, settings.bytes_max)?;
        let seq = rows::reached(&db).map_err(|error| OpenError::of(path, &error))?;
        let shared = Arc::new(Shared {
            journal,
            replay: Replay::new(SINGLE_USES_MAX),
            cache: Cache::new(seq, settings.rows_cached_max),
            points: Readers::open(path, POINT_READERS)?,
            scans: Readers::open(path, SCAN_READERS)?,
            reached: watch::Sender::new(seq),
        });
        let io_error = |error| OpenError::Io { path: path.to_owned(), error };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(io_error)?;
        let mut committer = Committer::new(db, Arc::clone(&shared), runtime, seq);
        let (queue, jobs) = mpsc::channel(QUEUE_CHANGES_MAX);
        let (start, started) = blocking::channel();
        let work = move || {
            let done = committer.start();
            let is_ready = done.is_ok();
            if start.send(done).is_ok() && is_ready {
                committer.run(jobs);
            }
            committer.close()
        };
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(work);
        let thread = Some(thread.map_err(io_error)?);
        let store = Self { queue: Some(queue), thread, shared, last: None, _lock: lock };
        let started = started.recv().unwrap_or_else(|_| Err(stopped()));
        started.map_err(OpenError::Unrecorded).map(|()| store)
    }

    /// Remembers the single-use values that the tail of the log holds: once, before the first
    /// commit. Refuses if they are more than can be remembered.
    pub fn restore(&self, uses: impl IntoIterator<Item = SingleUse>) -> Result<(), Unavailable> {
        self.shared.replay.restore(uses)
    }

    /// Deletes rows whose `expires` is not after `now`, forgets deletions that no feed needs and
    /// single-use values that ended.
    pub async fn sweep(&self, now: UnixTime) -> Result<Swept, Unavailable> {
        let mut swept = Swept::default();
        loop {
            let (answer, answered) = oneshot::channel();
            self.send(Job::Sweep(now, answer)).await?;
            let step: Step = answered.await.unwrap_or_else(|_| Err(stopped()))?;
            swept.expired = swept.expired.saturating_add(step.swept.expired);
            swept.tombstones = swept.tombstones.saturating_add(step.swept.tombstones);
            if !step.has_more {
                return Ok(swept);
            }
        }
    }

    async fn send(&self, job: Job) -> Result<(), Unavailable> {
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(job).await.map_err(|_| stopped())
    }

    async fn scanning<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, Unavailable> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || read(&shared));
        task.await.unwrap_or_else(|error| Err(Unavailable::of("store", error)))
    }
}

/// What was sent before is done before the file is closed.
impl Drop for Sqlite {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            self.last = thread.join().ok().map(Mutex::new);
        }
    }
}

impl Store for Sqlite {
    async fn snapshot(&self, keys: &[Key]) -> Result<Snapshot, Unavailable> {
        change::check_keys(keys)?;
        if let Some(snapshot) = self.shared.cache.snapshot(keys) {
            return Ok(snapshot);
        }
        let read = self.shared.points.at_once(|db| {
            let read = |key: &Key| Ok((key.clone(), rows::read(db, key)?));
            let rows = keys.iter().map(read).collect::<rusqlite::Result<_>>()?;
            Ok(Read { seq: rows::reached(db)?, rows })
        })?;
        if self.shared.cache.seq() < read.seq {
            // Committed this moment, not yet in the cache: who saw it must not see less later.
            let mut reached = self.shared.reached.subscribe();
            let shown = reached.wait_for(|reached| *reached >= read.seq).await;
            drop(shown.map_err(|_| stopped())?);
        }
        Ok(self.shared.cache.settle(read))
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitFault> {
        let prepared = Prepared::new(change)?;
        if prepared.writes.is_empty() {
            let Prepared { uses, entries, ids, now, .. } = prepared;
            self.shared.replay.take(&uses, now)?;
            if !entries.is_empty() {
                self.shared.journal.append(entries).await?;
            }
            return Ok(change::receipt(ids));
        }
        let (answer, answered) = oneshot::channel();
        self.send(Job::Commit(prepared, answer)).await?;
        answered.await.unwrap_or_else(|_| Err(stopped().into()))
    }

    async fn scan(
        &self,
        table: Table,
        index: Index,
        value: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Unavailable> {
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let (value, after) = (value.to_owned(), after.unwrap_or_default().to_owned());
        self.scanning(move |shared| {
            let count = limit.saturating_add(1);
            let (mut found, seq) = shared.scans.at_once(|db| {
                let found = match index {
                    Index::All => rows::all(db, table, &after, count)?,
                    _ => rows::under(db, table, (index, &value), &after, count)?,
                };
                Ok((found, rows::reached(db)?))
            })?;
            let has_more = found.len() > limit;
            found.truncate(limit);
            let next = found.last().filter(|_| has_more).map(|row| row.key.id.clone());
            Ok(Page { rows: shared.cache.share(found), next, seq })
        })
        .await
    }

    async fn changes(&self, tables: &[Table], seq: Seq, limit: usize) -> Result<Page, Unavailable> {
        let tables = tables.to_vec();
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.scanning(move |shared| {
            shared.scans.at_once(|db| {
                let reached = rows::reached(db)?;
                let resumed = match feed::resume(seq, rows::marks(db)?.horizon(), reached) {
                    Ok(resumed) => resumed,
                    Err(page) => return Ok(page),
                };
                let (found, has_more) = rows::after(db, &tables, seq, limit)?;
                let last = found.last().map(|row| row.seq).filter(|_| has_more);
                let seq = last.map_or(reached, |last| resumed.cut(last));
                let next = last.map(|_| seq.0.to_string());
                Ok(Page { rows: shared.cache.share(found), next, seq })
            })
        })
        .await
    }

    async fn past(&self, seq: Seq) -> Seq {
        feed::past(&self.shared.reached, seq).await
    }
}

fn stopped() -> Unavailable {
    Unavailable::of("store", "its committing thread has ended")
}
