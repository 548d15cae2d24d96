//! A few connections that read.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use env::Unavailable;
use rusqlite::Connection;

use super::OpenError;
use super::open;
use super::rows::unavailable;

/// Pages of the file that one connection may keep, in KiB; taken as they are read.
const PAGES_KIB: u32 = 8_192;

pub(super) struct Readers {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Readers {
    pub(super) fn open(path: &Path, count: usize) -> Result<Self, OpenError> {
        let connections = (0..count).map(|_| open::reader(path, PAGES_KIB).map(Mutex::new));
        Ok(Self { connections: connections.collect::<Result<_, _>>()?, next: AtomicUsize::new(0) })
    }

    /// Runs `read` in a transaction of its own: it sees one instant, whatever is committed
    /// meanwhile. (Prepared statements: to parse the words would cost as much as a read.)
    pub(super) fn at_once<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        self.with(|db| {
            db.prepare_cached("BEGIN")?.execute([])?;
            let value = read(db);
            db.prepare_cached("COMMIT")?.execute([])?;
            value
        })
        .map_err(unavailable)
    }

    /// The next connection if it is free, else one that is, else the next when it is.
    fn with<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (late, early) = self.connections.split_at(turn % self.connections.len().max(1));
        for connection in early.iter().chain(late) {
            match connection.try_lock() {
                Ok(db) => return run(&db),
                Err(TryLockError::Poisoned(poisoned)) => return run(&poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let first = early.first().ok_or(rusqlite::Error::InvalidQuery)?;
        run(&first.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
