//! Rows in memory: a replica, a test, a simulation. A real store: the same guarantees, where
//! "durable" means the journal's word for records, and the life of the process for rows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use env::{
    Change, CommitFault, Index, Journal, Key, Page, Receipt, Row, Sealed, Seq, SingleUse, Snapshot,
    Store, Table, Unavailable, Write,
};
use time::UnixTime;
use tokio::sync::{Mutex, watch};

use crate::Swept;
use crate::change::{self, Found, PAGE_ROWS_MAX, Prepared};
use crate::feed::{self, Marks};
use crate::replay::{Replay, SINGLE_USES_MAX};

/// A store whose rows end with the process.
///
/// Records are in the journal before the rows of their commit are seen. Where the journal does not
/// answer, the change waits, unseen, and is finished before the next one that writes rows: it is
/// made with its records or not at all.
pub struct Memory {
    journal: Arc<dyn Journal>,
    replay: Replay,
    rows: RwLock<Rows>,
    /// What a commit began and did not finish; the lock puts commits in order.
    unfinished: Mutex<Option<Unfinished>>,
    reached: watch::Sender<Seq>,
}

impl Memory {
    /// An empty store that puts the records of its commits into `journal`.
    pub fn open(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            replay: Replay::new(SINGLE_USES_MAX),
            rows: RwLock::default(),
            unfinished: Mutex::default(),
            reached: watch::Sender::default(),
        }
    }

    /// Remembers the single-use values that the tail of the log holds: once, before the first
    /// commit. Refuses if they are more than can be remembered.
    pub fn restore(&self, uses: impl IntoIterator<Item = SingleUse>) -> Result<(), Unavailable> {
        self.replay.restore(uses)
    }

    /// Deletes rows whose `expires` is not after `now`, forgets deletions that no feed needs and
    /// single-use values that ended.
    pub async fn sweep(&self, now: UnixTime) -> Result<Swept, Unavailable> {
        let mut unfinished = self.unfinished.lock().await;
        self.finish(&mut unfinished).await?;
        self.replay.forget(now);
        let mut rows = self.write_rows();
        let swept = rows.sweep(now);
        self.reached.send_replace(rows.seq);
        Ok(swept)
    }

    async fn append(&self, entries: Vec<Sealed>) -> Result<(), Unavailable> {
        if entries.is_empty() { Ok(()) } else { self.journal.append(entries).await }
    }

    /// Appends the records, then shows the rows. It may be dropped at its await: what is not done
    /// stays in `unfinished`, and entries that are in the log already are not written again.
    async fn finish(&self, unfinished: &mut Option<Unfinished>) -> Result<(), Unavailable> {
        let Some(pending) = unfinished.as_ref() else { return Ok(()) };
        self.append(pending.entries.clone()).await?;
        if let Some(Unfinished { writes, .. }) = unfinished.take() {
            let mut rows = self.write_rows();
            rows.apply(writes);
            self.reached.send_replace(rows.seq);
        }
        Ok(())
    }

    fn read_rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_rows(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    async fn snapshot(&self, keys: &[Key]) -> Result<Snapshot, Unavailable> {
        change::check_keys(keys)?;
        let rows = self.read_rows();
        let found = keys.iter().filter_map(|key| rows.live(key)).cloned();
        Ok(Snapshot::new(rows.seq, found))
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitFault> {
        let Prepared { writes, uses, entries, ids, now } = Prepared::new(change)?;
        if writes.is_empty() {
            self.replay.take(&uses, now)?;
            self.append(entries).await?;
            return Ok(change::receipt(ids));
        }
        let mut unfinished = self.unfinished.lock().await;
        self.finish(&mut unfinished).await?;
        self.read_rows().check(&writes)?;
        self.replay.take(&uses, now)?;
        *unfinished = Some(Unfinished { writes, entries });
        self.finish(&mut unfinished).await?;
        Ok(change::receipt(ids))
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
        let rows = self.read_rows();
        let mut found = match index {
            Index::All => rows.all(table, after, limit.saturating_add(1)),
            _ => rows.under(table, index, value, after, limit.saturating_add(1)),
        };
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|row| row.key.id.clone());
        Ok(Page { rows: found, next, seq: rows.seq })
    }

    async fn changes(&self, tables: &[Table], seq: Seq, limit: usize) -> Result<Page, Unavailable> {
        let rows = self.read_rows();
        let resumed = match feed::resume(seq, rows.marks.horizon(), rows.seq) {
            Ok(resumed) => resumed,
            Err(page) => return Ok(page),
        };
        let (found, has_more) = rows.after(tables, seq, limit.clamp(1, PAGE_ROWS_MAX));
        let last = found.last().map(|row| row.seq).filter(|_| has_more);
        let seq = last.map_or(rows.seq, |last| resumed.cut(last));
        Ok(Page { rows: found, next: last.map(|_| seq.0.to_string()), seq })
    }

    async fn past(&self, seq: Seq) -> Seq {
        feed::past(&self.reached, seq).await
    }
}

struct Unfinished {
    writes: Vec<Write>,
    entries: Vec<Sealed>,
}

/// The rows and what they are found by.
///
/// INVARIANT: the sets hold exactly what `rows` says; `put` and `forget` alone change them.
#[derive(Default)]
struct Rows {
    seq: Seq,
    rows: BTreeMap<Key, Arc<Row>>,
    terms: BTreeSet<(Table, Index, String, String)>,
    by_seq: BTreeSet<(Seq, Key)>,
    dead: BTreeSet<(Seq, Key)>,
    ends: BTreeSet<(UnixTime, Key)>,
    marks: Marks,
}

impl Rows {
    fn live(&self, key: &Key) -> Option<&Arc<Row>> {
        self.rows.get(key).filter(|row| row.bytes.is_some())
    }

    fn found(&self, key: &Key) -> Found {
        self.rows.get(key).map_or(Found::default(), |row| Found {
            version: row.version,
            is_live: row.bytes.is_some(),
        })
    }

    fn check(&self, writes: &[Write]) -> Result<(), CommitFault> {
        writes.iter().try_for_each(|write| change::expected(write, self.found(&write.key)))
    }

    fn apply(&mut self, writes: Vec<Write>) {
        self.seq = feed::next(self.seq);
        for write in writes {
            let found = self.found(&write.key);
            if change::has_effect(&write, found) {
                let version = found.version.saturating_add(1);
                let row = Row::new(write.key, version, self.seq, write.bytes);
                self.put(row.with(write.terms, write.expires));
            }
        }
    }

    fn put(&mut self, row: Row) {
        self.forget(&row.key);
        let Key { table, id } = &row.key;
        for (index, value) in &row.terms {
            self.terms.insert((*table, *index, value.clone(), id.clone()));
        }
        self.by_seq.insert((row.seq, row.key.clone()));
        if row.bytes.is_none() {
            self.dead.insert((row.seq, row.key.clone()));
        }
        if let Some(expires) = row.expires {
            self.ends.insert((expires, row.key.clone()));
        }
        self.rows.insert(row.key.clone(), Arc::new(row));
    }

    fn forget(&mut self, key: &Key) {
        let Some(row) = self.rows.remove(key) else { return };
        for (index, value) in &row.terms {
            self.terms.remove(&(key.table, *index, value.clone(), key.id.clone()));
        }
        let at = (row.seq, key.clone());
        self.by_seq.remove(&at);
        self.dead.remove(&at);
        if let Some(expires) = row.expires {
            self.ends.remove(&(expires, key.clone()));
        }
    }

    fn sweep(&mut self, now: UnixTime) -> Swept {
        let ended = self.ends.iter().take_while(|(expires, _)| *expires <= now);
        let expired: Vec<Key> = ended.map(|(_, key)| key.clone()).collect();
        if !expired.is_empty() {
            self.seq = feed::next(self.seq);
        }
        for key in &expired {
            let version = self.found(key).version.saturating_add(1);
            self.put(Row::new(key.clone(), version, self.seq, None));
        }
        self.marks.note(self.seq, now);
        let horizon = self.marks.horizon();
        let old = self.dead.iter().take_while(|(seq, _)| *seq <= horizon);
        let tombstones: Vec<Key> = old.map(|(_, key)| key.clone()).collect();
        tombstones.iter().for_each(|key| self.forget(key));
        Swept { expired: expired.len(), tombstones: tombstones.len() }
    }

    fn all(&self, table: Table, after: Option<&str>, count: usize) -> Vec<Arc<Row>> {
        let from = match after {
            Some(id) => Bound::Excluded(Key::new(table, id)),
            None => Bound::Included(Key::new(table, "")),
        };
        let rows = self.rows.range((from, Bound::Unbounded)).map(|(_, row)| row);
        let rows = rows.take_while(|row| row.key.table == table);
        rows.filter(|row| row.bytes.is_some()).take(count).cloned().collect()
    }

    fn under(
        &self,
        table: Table,
        index: Index,
        value: &str,
        after: Option<&str>,
        count: usize,
    ) -> Vec<Arc<Row>> {
        let term = |id: &str| (table, index, value.to_owned(), id.to_owned());
        let from = match after {
            Some(id) => Bound::Excluded(term(id)),
            None => Bound::Included(term("")),
        };
        let terms = self.terms.range((from, Bound::Unbounded));
        let terms = terms.take_while(|(t, i, v, _)| *t == table && *i == index && v == value);
        let keys = terms.map(|(_, _, _, id)| Key::new(table, id.as_str()));
        keys.filter_map(|key| self.rows.get(&key).cloned()).take(count).collect()
    }

    /// Rows written after `seq`, about `limit` of them, and whether there are more.
    fn after(&self, tables: &[Table], seq: Seq, limit: usize) -> (Vec<Arc<Row>>, bool) {
        let first = (Seq(seq.0.saturating_add(1)), Key::new(Table::ALL[0], ""));
        let mut found: Vec<Arc<Row>> = Vec::new();
        let keys = self.by_seq.range(first..).map(|(_, key)| key);
        let keys = keys.filter(|key| tables.contains(&key.table));
        for row in keys.filter_map(|key| self.rows.get(key)) {
            let is_torn = found.last().is_some_and(|last| last.seq == row.seq);
            if found.len() >= limit && !is_torn {
                return (found, true);
            }
            found.push(Arc::clone(row));
        }
        (found, false)
    }
}
