//! The statements: how rows, their index terms and the outbox stand in the file.

use std::sync::Arc;

use env::{Index, Key, Row, Seq, Table, Unavailable, Write};
use monitoring::Record;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use time::UnixTime;

use crate::change::Found;
use crate::feed::Marks;

const COLUMNS: &str = "rows.id, rows.version, rows.seq, rows.bytes, rows.terms, rows.expires";

/// The error of a statement, as callers are told of it.
pub(super) fn unavailable(error: rusqlite::Error) -> Unavailable {
    Unavailable::of("store", error)
}

/// The position of the last commit.
pub(super) fn reached(db: &Connection) -> rusqlite::Result<Seq> {
    let sql = "SELECT value FROM meta WHERE name = 'seq'";
    db.prepare_cached(sql)?.query_row([], |row| unsigned(row, 0).map(Seq))
}

pub(super) fn set_reached(db: &Connection, seq: Seq) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET value = ?1 WHERE name = 'seq'";
    db.prepare_cached(sql)?.execute([signed(seq.0)]).map(drop)
}

/// Which position was reached when.
pub(super) fn marks(db: &Connection) -> rusqlite::Result<Marks> {
    let sql = "SELECT value FROM meta WHERE name = 'marks'";
    let text: String = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    if text.is_empty() { Ok(Marks::default()) } else { from_json(0, &text) }
}

pub(super) fn set_marks(db: &Connection, marks: &Marks) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET value = ?1 WHERE name = 'marks'";
    db.prepare_cached(sql)?.execute([to_json(marks)?]).map(drop)
}

/// One row, deleted or not.
pub(super) fn read(db: &Connection, key: &Key) -> rusqlite::Result<Option<Row>> {
    let sql = "SELECT id, version, seq, bytes, terms, expires FROM rows \
               WHERE kind = ?1 AND id = ?2";
    let mut statement = db.prepare_cached(sql)?;
    statement
        .query_row(params![key.table.name(), key.id], |row| from_columns(key.table, row))
        .optional()
}

/// The live rows of `table` from after `after`, by id.
pub(super) fn all(
    db: &Connection,
    table: Table,
    after: &str,
    count: usize,
) -> rusqlite::Result<Vec<Row>> {
    // Every id is greater than the empty one, save the empty one itself, which no entity has.
    let sql = format!(
        "SELECT {COLUMNS} FROM rows \
         WHERE kind = ?1 AND id > ?2 AND bytes IS NOT NULL ORDER BY id LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let params = params![table.name(), after, signed(count)];
    statement.query_map(params, |row| from_columns(table, row))?.collect()
}

/// The live rows of `table` under `index` = `value` from after `after`, by id.
pub(super) fn under(
    db: &Connection,
    table: Table,
    (index, value): (Index, &str),
    after: &str,
    count: usize,
) -> rusqlite::Result<Vec<Row>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM terms JOIN rows ON rows.kind = terms.kind AND rows.id = terms.id \
         WHERE terms.kind = ?1 AND terms.term = ?2 AND terms.value = ?3 AND terms.id > ?4 \
         ORDER BY terms.id LIMIT ?5"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let params = params![table.name(), index.name(), value, after, signed(count)];
    statement.query_map(params, |row| from_columns(table, row))?.collect()
}

/// The rows of `tables` after `seq`, by position, up to the commit of the `limit`-th of them, and
/// whether there are more.
pub(super) fn after(
    db: &Connection,
    tables: &[Table],
    seq: Seq,
    limit: usize,
) -> rusqlite::Result<(Vec<Row>, bool)> {
    let kinds = vec!["?"; tables.len()].join(", ");
    let names = || params_from_iter(tables.iter().map(|table| table.name()));
    let start = signed(seq.0);
    let from = |columns: &str, from: i64| {
        // By position, not by kind: a page must not sort all that follows it.
        format!(
            "SELECT {columns} FROM rows INDEXED BY rows_by_seq \
             WHERE seq > {from} AND kind IN ({kinds})"
        )
    };
    let nth = limit.saturating_sub(1);
    let cut = format!("{} ORDER BY seq LIMIT 1 OFFSET {nth}", from("seq", start));
    let cut: Option<i64> = db.query_row(&cut, names(), |row| row.get(0)).optional()?;
    let end = cut.unwrap_or(i64::MAX);
    let columns = format!("{COLUMNS}, rows.kind");
    let page = format!("{} AND seq <= {end} ORDER BY seq", from(&columns, start));
    let mut page = db.prepare(&page)?;
    let rows = page.query_map(names(), |row| {
        let name: String = row.get(6)?;
        let table = Table::parse(&name).ok_or_else(|| unreadable(6, "an unknown table"))?;
        from_columns(table, row)
    })?;
    let rows = rows.collect::<rusqlite::Result<_>>()?;
    let more = format!("SELECT EXISTS ({})", from("1", end));
    Ok((rows, db.query_row(&more, names(), |row| row.get(0))?))
}

/// What a write finds, and the index terms that it replaces, as they are stored.
pub(super) fn find(db: &Connection, key: &Key) -> rusqlite::Result<(Found, String)> {
    let sql = "SELECT version, bytes IS NOT NULL, terms FROM rows WHERE kind = ?1 AND id = ?2";
    let found = db
        .prepare_cached(sql)?
        .query_row(params![key.table.name(), key.id], |row| {
            Ok((Found { version: unsigned(row, 0)?, is_live: row.get(1)? }, row.get(2)?))
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Writes one row and its index terms; `old_terms` is what [`find`] gave.
pub(super) fn put(
    db: &Connection,
    write: Write,
    version: u64,
    seq: Seq,
    old_terms: &str,
) -> rusqlite::Result<Arc<Row>> {
    let Write { key, bytes, terms, expires, .. } = write;
    let kind = key.table.name();
    let names: Vec<(&str, &str)> =
        terms.iter().map(|(index, value)| (index.name(), value.as_str())).collect();
    let new_terms = if names.is_empty() { String::new() } else { to_json(&names)? };
    if new_terms != old_terms {
        let delete = "DELETE FROM terms WHERE kind = ?1 AND term = ?2 AND value = ?3 AND id = ?4";
        for (name, value) in stored_terms(old_terms)? {
            db.prepare_cached(delete)?.execute(params![kind, name, value, key.id])?;
        }
        let insert = "INSERT OR REPLACE INTO terms (kind, term, value, id) VALUES (?1, ?2, ?3, ?4)";
        for (name, value) in names {
            db.prepare_cached(insert)?.execute(params![kind, name, value, key.id])?;
        }
    }
    let sql = "INSERT INTO rows (kind, id, version, seq, bytes, terms, expires) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (kind, id) DO UPDATE SET \
               version = ?3, seq = ?4, bytes = ?5, terms = ?6, expires = ?7";
    let end = expires.map(|expires| signed(expires.millis()));
    db.prepare_cached(sql)?.execute(params![
        kind,
        key.id,
        signed(version),
        signed(seq.0),
        bytes,
        new_terms,
        end
    ])?;
    Ok(Arc::new(Row::new(key, version, seq, bytes).with(terms, expires)))
}

/// The first rows that end at or before `now`.
pub(super) fn ended(db: &Connection, now: UnixTime, limit: usize) -> rusqlite::Result<Vec<Key>> {
    let sql = "SELECT kind, id FROM rows WHERE expires <= ?1 ORDER BY expires LIMIT ?2";
    db.prepare_cached(sql)?
        .query_map(params![signed(now.millis()), signed(limit)], |row| {
            let name: String = row.get(0)?;
            let table = Table::parse(&name).ok_or_else(|| unreadable(0, "an unknown table"))?;
            Ok(Key::new(table, row.get::<_, String>(1)?))
        })?
        .collect()
}

/// Takes away deleted rows at or before `horizon`.
pub(super) fn bury(db: &Connection, horizon: Seq, limit: usize) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM rows WHERE rowid IN \
               (SELECT rowid FROM rows WHERE bytes IS NULL AND seq <= ?1 LIMIT ?2)";
    db.prepare_cached(sql)?.execute(params![signed(horizon.0), signed(limit)])
}

/// Keeps an entry until the log has it.
pub(super) fn keep(db: &Connection, n: u64, entry: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO outbox (n, entry) VALUES (?1, ?2)";
    db.prepare_cached(sql)?.execute(params![signed(n), entry]).map(drop)
}

/// The entries after `n`, in order.
pub(super) fn kept(db: &Connection, n: u64) -> rusqlite::Result<Vec<(u64, Vec<u8>, Record)>> {
    let sql = "SELECT n, entry FROM outbox WHERE n > ?1 ORDER BY n";
    db.prepare_cached(sql)?
        .query_map([signed(n)], |row| {
            let entry: Vec<u8> = row.get(1)?;
            let record = Record::decode(&entry).map_err(|error| unreadable(1, error))?;
            Ok((unsigned(row, 0)?, entry, record))
        })?
        .collect()
}

/// Takes away the entries up to `n`: the log has them.
pub(super) fn release(db: &Connection, n: u64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM outbox WHERE n <= ?1")?.execute([signed(n)]).map(drop)
}

fn from_columns(table: Table, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let key = Key::new(table, row.get::<_, String>(0)?);
    let terms: String = row.get(4)?;
    let terms = stored_terms(&terms)?
        .into_iter()
        .map(|(name, value)| Index::parse(&name).map(|index| (index, value)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| unreadable(4, "an unknown index"))?;
    let expires = row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs).map(UnixTime::from_millis);
    let (version, seq) = (unsigned(row, 1)?, Seq(unsigned(row, 2)?));
    Ok(Row::new(key, version, seq, row.get(3)?).with(terms, expires))
}

fn stored_terms(text: &str) -> rusqlite::Result<Vec<(String, String)>> {
    if text.is_empty() { Ok(Vec::new()) } else { from_json(4, text) }
}

/// SQLite's integers have a sign; what is beyond them ends at the largest.
fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn from_json<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

fn unreadable(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
