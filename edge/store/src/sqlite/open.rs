//! Opens a database file: one process at a time, never a newer one, never half a one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use env::Unavailable;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::migrations;

/// The file shows whose it is to `file` and to whoever opens it with SQLite's own tools: "AIMS".
const APPLICATION_ID: i64 = 0x4149_4d53;

/// Why a database was not opened. Nothing was changed in it, save for [`OpenError::Unrecorded`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refused.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has it open.
    #[error("`{}` is in use by another process", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// It is no database, or a part of it is missing.
    #[error("`{}` is damaged: {why}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// It is a database of something else.
    #[error("`{}` is not a database of this program", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error("`{}` has schema {found}, this version knows {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The schema of the file.
        found: u32,
        /// The newest schema of this version.
        known: u32,
    },
    /// A migration was applied to it that is not the one of that number here.
    #[error("migration {number} of `{}` is not the one that this version has", path.display())]
    Altered {
        /// The database.
        path: PathBuf,
        /// Its number.
        number: u32,
    },
    /// Records of earlier commits could not be put into the log.
    #[error("records of earlier commits are not in the log: {0}")]
    Unrecorded(Unavailable),
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check that the directory exists, is writable and has space",
            Self::InUse { .. } => "stop the other process, or give this one a directory of its own",
            Self::Damaged { .. } => "restore the database from a backup; the log is not affected",
            Self::Foreign { .. } => "name another file",
            Self::Newer { .. } => "run the version that wrote it, or a newer one",
            Self::Altered { .. } => "run the release that wrote it; development builds differ",
            Self::Unrecorded(_) => "make the log writable again, then start again",
        }
    }

    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::DiskFull | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::Io { path, error: io::Error::other(error.to_string()) }
            }
            _ => Self::Damaged { path, why: error.to_string() },
        }
    }
}

/// A database that is ours alone, at the newest schema.
pub(super) struct Opened {
    pub(super) db: Connection,
    /// Held as long as the store is open.
    pub(super) lock: Lock,
}

/// Opens or makes the database at `path`, at most `bytes_max` long.
pub(super) fn open(path: &Path, bytes_max: u64) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    let is_there = path.try_exists().map_err(|error| io_error(path, error))?;
    if !is_there {
        create(path)?;
    }
    let length = std::fs::metadata(path).map_err(|error| io_error(path, error))?.len();
    if length == 0 {
        // Made in one piece (`create`), so it never was empty: somebody cut it.
        let why = "the file is empty".to_owned();
        return Err(OpenError::Damaged { path: path.to_owned(), why });
    }
    let mut db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    ready(&mut db, bytes_max, path)?;
    Ok(Opened { db, lock })
}

/// A connection that reads what was committed, while the committer writes.
pub(super) fn reader(path: &Path, pages_kib: u32) -> Result<Connection, OpenError> {
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.pragma_update(None, "cache_size", -i64::from(pages_kib))
        .map_err(|error| OpenError::of(path, &error))?;
    Ok(db)
}

fn ready(db: &mut Connection, bytes_max: u64, path: &Path) -> Result<(), OpenError> {
    let damaged = |error: rusqlite::Error| OpenError::of(path, &error);
    let id: i64 = pragma(db, "application_id").map_err(damaged)?;
    if id != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    migrations::run(db, path)?;
    let page_bytes: u32 = pragma(db, "page_size").map_err(damaged)?;
    let pages =
        bytes_max.checked_div(page_bytes.into()).unwrap_or_default().min(u64::from(u32::MAX) - 1);
    let mode: String = db
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(damaged)?;
    if mode != "wal" {
        let error = io::Error::other("this file system cannot share a write-ahead log");
        return Err(io_error(path, error));
    }
    // SQLite, "PRAGMA synchronous": in WAL mode it is FULL that makes each commit outlive a loss
    // of power; NORMAL would only keep the file whole.
    db.execute_batch(&format!("PRAGMA synchronous = FULL; PRAGMA max_page_count = {pages};"))
        .map_err(damaged)
}

/// Makes a database beside its place and moves it there, so that half a one is never found.
fn create(path: &Path) -> Result<(), OpenError> {
    let wal = beside(path, "-wal");
    if wal.try_exists().map_err(|error| io_error(&wal, error))? {
        let why = format!("`{}` is there without it", wal.display());
        return Err(OpenError::Damaged { path: path.to_owned(), why });
    }
    let new = beside(path, ".new");
    for rest in [new.clone(), beside(&new, "-journal")] {
        match std::fs::remove_file(&rest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&rest, error));
            }
            _ => {}
        }
    }
    private().write(true).create_new(true).open(&new).map_err(|error| io_error(&new, error))?;
    let mut db = connect(&new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(|error| OpenError::of(&new, &error))?;
    migrations::run(&mut db, &new)?;
    db.close().map_err(|(_, error)| OpenError::of(&new, &error))?;
    std::fs::rename(&new, path).map_err(|error| io_error(path, error))?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io_error(folder, error))
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    // Without SQLITE_OPEN_URI: a path is a path. One thread at a time has it (`Mutex`, or owned).
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")
        .map_err(failed)?;
    Ok(db)
}

/// A file that this process alone writes to. A child of this process has the lock's file until it
/// runs another program, so closing it would not be enough.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // The file is closed in any case.
        let _ = self.0.unlock();
    }
}

/// One process at a time: two committers would each believe their cache.
fn lock(path: &Path) -> Result<Lock, OpenError> {
    let lock_path = beside(path, ".lock");
    let file = private().write(true).create(true).truncate(false).open(&lock_path);
    let file = file.map_err(|error| io_error(&lock_path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io_error(&lock_path, error)),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn pragma<T: rusqlite::types::FromSql>(db: &Connection, name: &str) -> rusqlite::Result<T> {
    db.pragma_query_value(None, name, |row| row.get(0))
}

fn io_error(path: &Path, error: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), error }
}
