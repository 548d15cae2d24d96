//! The schema of the database file, in numbered steps. A step that was released is never edited:
//! its checksum stands in every database that it was applied to.

use std::path::Path;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::OpenError;

/// The steps; step `n` makes schema `n` (the first is 1).
const STEPS: &[&str] = &[include_str!("schema/0001-state.sql")];

/// Brings the database to the newest schema, each step whole or not at all.
pub(super) fn run(db: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let found = known_schema(db, path)?;
    for (number, step) in (1_u32..).zip(STEPS) {
        if number > found {
            apply(db, number, step).map_err(failed)?;
        } else if applied(db, number).map_err(failed)?.as_deref() != Some(&*checksum(step)) {
            return Err(OpenError::Altered { path: path.to_owned(), number });
        }
    }
    Ok(())
}

/// The schema number of a file that is not newer than this version.
pub(super) fn known_schema(db: &Connection, path: &Path) -> Result<u32, OpenError> {
    let found = schema(db).map_err(|error| OpenError::of(path, &error))?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// The schema number of the file; 0 before the first step.
fn schema(db: &Connection) -> rusqlite::Result<u32> {
    let has_meta = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'meta'";
    if !db.query_row(has_meta, [], |row| row.get(0))? {
        return Ok(0);
    }
    db.query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get(0))
}

fn applied(db: &Connection, number: u32) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT checksum FROM migrations WHERE number = ?1";
    db.query_row(sql, [number], |row| row.get(0)).optional()
}

fn apply(db: &mut Connection, number: u32, step: &str) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if number == 1 {
        begin(&tx)?;
    }
    tx.execute_batch(step)?;
    let note = "INSERT INTO migrations (number, checksum) VALUES (?1, ?2)";
    tx.execute(note, params![number, checksum(step)])?;
    tx.execute("UPDATE meta SET value = ?1 WHERE name = 'schema'", [number])?;
    tx.commit()
}

fn begin(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
         CREATE TABLE migrations (number INTEGER PRIMARY KEY, checksum TEXT NOT NULL) STRICT;
         INSERT INTO meta (name, value) VALUES ('schema', 0);",
    )
}

fn checksum(step: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, step.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A released step must not change: files in the field hold its checksum.
    #[test]
    fn released_steps_stay_as_they_are() {
        let sums: Vec<String> = STEPS.iter().map(|step| checksum(step)).collect();
        assert_eq!(sums, ["Zp1EzZTyz5rNibYYUimNmINAk1u9XTahBD8f6LoACaU"]);
    }

    #[test]
    fn an_altered_step_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        run(&mut db, Path::new("a.db")).unwrap();
        run(&mut db, Path::new("a.db")).unwrap();
        db.execute("UPDATE migrations SET checksum = 'x'", []).unwrap();
        let refused = run(&mut db, Path::new("a.db"));
        assert!(matches!(refused, Err(OpenError::Altered { number: 1, .. })));
    }
}
