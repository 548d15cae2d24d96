//! The query index: SQLite in a file of its own. Derived from the segments, written behind,
//! rebuilt when it is missing or does not fit.
//!
//! Terms are kept as 64-bit keys: an index hit is a candidate, and the entry decides.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use time::UnixTime;
use tlog::Hash;

use crate::frame::Frame;

/// Entries between two whose place is in the index.
pub(crate) const CHUNK_ENTRIES: u64 = 64;
/// Connections that are kept for readers.
const READERS_MAX: usize = 4;
/// Rows that are looked at in one go when old ones are removed: nobody waits long for the file.
const FORGET_ROWS: i64 = 4_096;
/// Raised when the tables change: an older file is rebuilt.
const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE meta (version INTEGER, size INTEGER, root TEXT);
    CREATE TABLE ids (id BLOB PRIMARY KEY, at INTEGER) WITHOUT ROWID;
    CREATE TABLE terms (key INTEGER, at INTEGER, PRIMARY KEY (key, at)) WITHOUT ROWID;
    CREATE TABLE chunks (first INTEGER PRIMARY KEY, place INTEGER, latest INTEGER);
    CREATE INDEX chunks_by_latest ON chunks (latest, first);
";

/// The one connection that writes.
pub(crate) struct Index {
    connection: Connection,
}

/// What the entries of one round add.
#[derive(Default)]
pub(crate) struct Rows {
    ids: Vec<([u8; 16], i64)>,
    terms: Vec<(i64, i64)>,
    chunks: Vec<Chunk>,
}

#[derive(Clone, Copy)]
struct Chunk {
    first: i64,
    /// Offset of its first entry in that entry's segment, if the entry is among these.
    place: Option<i64>,
    latest: i64,
}

impl Rows {
    /// Adds an entry that stands at `place` of its segment.
    pub(crate) fn add(&mut self, frame: &Frame<'_>, place: u64) {
        let at = signed(frame.index);
        self.ids.push((frame.id, at));
        self.terms.extend(frame.terms().map(|(name, value)| (key(name, value), at)));
        let first = signed(frame.index / CHUNK_ENTRIES * CHUNK_ENTRIES);
        let latest = signed(frame.time.millis());
        match self.chunks.last_mut() {
            Some(chunk) if chunk.first == first => chunk.latest = chunk.latest.max(latest),
            _ => {
                let place = (at == first).then_some(signed(place));
                self.chunks.push(Chunk { first, place, latest });
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}

impl Index {
    /// Opens the index, or makes it anew if it is missing, of another version or unreadable.
    pub(crate) fn open(dir: &Path) -> rusqlite::Result<Self> {
        if let Ok(index) = Self::open_file(&path(dir))
            && index.has_version()
        {
            return Ok(index);
        }
        Self::create(dir)
    }

    /// An empty index in place of what is there.
    pub(crate) fn create(dir: &Path) -> rusqlite::Result<Self> {
        for end in ["", "-wal", "-shm"] {
            // What cannot be removed cannot be created either, and that is reported.
            let _ = std::fs::remove_file(dir.join(format!("index.db{end}")));
        }
        let index = Self::open_file(&path(dir))?;
        index.connection.execute_batch(SCHEMA)?;
        let empty = tlog::EMPTY_ROOT.to_string();
        let insert = "INSERT INTO meta (version, size, root) VALUES (?1, 0, ?2)";
        index.connection.execute(insert, params![VERSION, empty])?;
        Ok(index)
    }

    fn open_file(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        // A write-ahead log that is synced at checkpoints only cannot be torn; what it loses with
        // the power is read from the segments again.
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "wal_autocheckpoint", 8_000)?;
        connection.pragma_update(None, "cache_size", -16_000)?;
        Ok(Self { connection })
    }

    fn has_version(&self) -> bool {
        let version = self.connection.query_row("SELECT version FROM meta", [], |row| row.get(0));
        version == Ok(VERSION)
    }

    /// How many entries it covers, and the root of the tree that they made.
    pub(crate) fn covers(&self) -> rusqlite::Result<(u64, Option<Hash>)> {
        self.connection.query_row("SELECT size, root FROM meta", [], |row| {
            let root: String = row.get(1)?;
            Ok((unsigned(row.get(0)?), Hash::parse(&root).ok()))
        })
    }

    /// Adds rows; the index then covers `size` entries. All or nothing.
    pub(crate) fn insert(&mut self, mut rows: Rows, size: u64, root: Hash) -> rusqlite::Result<()> {
        // In order of the key, neighbours fall on one page.
        rows.terms.sort_unstable();
        let transaction = self.connection.transaction()?;
        {
            // Of a repeated id the first entry is the one that is found.
            let sql = "INSERT OR IGNORE INTO ids (id, at) VALUES (?1, ?2)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (id, at) in rows.ids {
                insert.execute(params![id, at])?;
            }
            let sql = "INSERT OR IGNORE INTO terms (key, at) VALUES (?1, ?2)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (key, at) in rows.terms {
                insert.execute(params![key, at])?;
            }
            let sql = "INSERT INTO chunks (first, place, latest) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO UPDATE SET latest = max(latest, excluded.latest)";
            let mut insert = transaction.prepare_cached(sql)?;
            for chunk in rows.chunks {
                insert.execute(params![chunk.first, chunk.place, chunk.latest])?;
            }
            let sql = "UPDATE meta SET size = ?1, root = ?2";
            transaction.execute(sql, params![signed(size), root.to_string()])?;
        }
        transaction.commit()
    }

    /// A second connection that writes, beside the keeper's. Each waits while the other commits.
    pub(crate) fn beside(dir: &Path) -> rusqlite::Result<Self> {
        Self::open_file(&path(dir))
    }

    /// Removes the rows of entries below `minimum`, if there are any: a few at a time, in the order
    /// of the tables. Chunks go last, and so tell that something is left.
    pub(crate) fn forget(&self, minimum: u64) -> rusqlite::Result<()> {
        let minimum = signed(minimum);
        let sql = "SELECT EXISTS (SELECT 1 FROM chunks WHERE first < ?1)";
        if !self.connection.query_row(sql, [minimum], |row| row.get::<_, bool>(0))? {
            return Ok(());
        }
        self.forget_terms(minimum)?;
        self.forget_ids(minimum)?;
        self.connection.execute("DELETE FROM chunks WHERE first < ?1", [minimum])?;
        Ok(())
    }

    fn forget_terms(&self, minimum: i64) -> rusqlite::Result<()> {
        let (mut key, mut at) = (i64::MIN, -1);
        loop {
            let sql = "SELECT key, at FROM terms WHERE (key, at) > (?1, ?2) ORDER BY key, at
                       LIMIT 1 OFFSET ?3";
            let mut select = self.connection.prepare_cached(sql)?;
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let last = select.query_row(params![key, at, FORGET_ROWS], read).optional()?;
            let (to_key, to_at) = last.unwrap_or((i64::MAX, i64::MAX));
            let sql = "DELETE FROM terms WHERE at < ?1 AND (key, at) > (?2, ?3)
                       AND (key, at) <= (?4, ?5)";
            self.connection.execute(sql, params![minimum, key, at, to_key, to_at])?;
            if last.is_none() {
                return Ok(());
            }
            (key, at) = (to_key, to_at);
        }
    }

    fn forget_ids(&self, minimum: i64) -> rusqlite::Result<()> {
        let mut id = Vec::new();
        loop {
            let sql = "SELECT id FROM ids WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2";
            let mut select = self.connection.prepare_cached(sql)?;
            let last: Option<Vec<u8>> =
                select.query_row(params![id, FORGET_ROWS], |row| row.get(0)).optional()?;
            // No id is as long as the bound that stands for the end of the table.
            let to = last.clone().unwrap_or_else(|| vec![u8::MAX; 17]);
            let sql = "DELETE FROM ids WHERE at < ?1 AND id > ?2 AND id <= ?3";
            self.connection.execute(sql, params![minimum, id, to])?;
            let Some(last) = last else { return Ok(()) };
            id = last;
        }
    }

    /// Moves everything into the one file, so that it can be copied alone.
    pub(crate) fn settle(&self) {
        // What stays in the write-ahead log is found there at the next start.
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// Connections that read.
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { path: path(dir), idle: Mutex::new(Vec::new()) }
    }

    /// The entry with this id.
    pub(crate) fn by_id(&self, id: &[u8; 16]) -> rusqlite::Result<Option<u64>> {
        self.with(|connection| {
            let mut select = connection.prepare_cached("SELECT at FROM ids WHERE id = ?1")?;
            Ok(select.query_row([id], |row| row.get(0)).optional()?.map(unsigned))
        })
    }

    /// Entries from `from` up to `end` that may have this term, ascending, at most `limit`.
    pub(crate) fn by_term(
        &self,
        (name, value): (&str, &str),
        (from, end): (u64, u64),
        limit: usize,
    ) -> rusqlite::Result<Vec<u64>> {
        let (key, limit) = (key(name.as_bytes(), value.as_bytes()), i64::try_from(limit));
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT at FROM terms WHERE key = ?1 AND at >= ?2 AND at < ?3 ORDER BY at LIMIT ?4",
            )?;
            let arguments = params![key, signed(from), signed(end), limit.unwrap_or(i64::MAX)];
            let rows = select.query_map(arguments, |row| row.get(0).map(unsigned))?;
            rows.collect()
        })
    }

    /// The first entry of the chunk of `at`, and its offset in its segment.
    pub(crate) fn place(&self, at: u64) -> rusqlite::Result<Option<(u64, u64)>> {
        let first = at / CHUNK_ENTRIES * CHUNK_ENTRIES;
        self.with(|connection| {
            let mut select =
                connection.prepare_cached("SELECT place FROM chunks WHERE first = ?1")?;
            let place = select.query_row([signed(first)], |row| row.get(0)).optional()?;
            Ok(place.map(|place: i64| (first, unsigned(place))))
        })
    }

    /// The first entry of the first chunk that has an entry of `time` or later.
    pub(crate) fn since(&self, time: UnixTime) -> rusqlite::Result<Option<u64>> {
        self.with(|connection| {
            let sql = "SELECT min(first) FROM chunks WHERE latest >= ?1";
            let mut select = connection.prepare_cached(sql)?;
            let first: Option<i64> = select.query_row([signed(time.millis())], |row| row.get(0))?;
            Ok(first.map(unsigned))
        })
    }

    fn with<T>(&self, read: impl Fn(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(&self.path, flags)?
            }
        };
        let result = read(&connection);
        let mut idle = idle();
        if idle.len() < READERS_MAX {
            idle.push(connection);
        }
        result
    }
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("index.db")
}

/// The first 64 bits of a hash over name and value.
fn key(name: &[u8], value: &[u8]) -> i64 {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [name, &[0], value] {
        context.update(part);
    }
    context.finish().as_ref().first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

/// SQLite's integers are signed; entries and milliseconds stay far below 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
