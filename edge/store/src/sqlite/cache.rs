//! Rows that were read or written lately, and the absence of rows that were asked for.
//!
//! INVARIANT: what the cache holds of a key is what the file held of it at the cache's position:
//! every commit passes here before it is acknowledged, and a reader fills in only what it read at
//! exactly that position.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use env::{Key, Row, Seq, Snapshot};

pub(super) struct Cache {
    inner: RwLock<Inner>,
    rows_max: usize,
}

/// What was read in the file, all at one position; `None` where there is no row.
pub(super) struct Read {
    pub(super) seq: Seq,
    pub(super) rows: Vec<(Key, Option<Row>)>,
}

struct Inner {
    seq: Seq,
    places: HashMap<Arc<Key>, usize>,
    slots: Vec<Slot>,
    /// Where the search for a slot to reuse goes on (the "clock" rule: a slot that was asked for
    /// since the hand last passed is passed over once).
    hand: usize,
}

struct Slot {
    key: Arc<Key>,
    row: Option<Arc<Row>>,
    is_wanted: AtomicBool,
}

impl Cache {
    /// An empty cache of at most `rows_max` rows, at `seq`.
    pub(super) fn new(seq: Seq, rows_max: usize) -> Self {
        let inner = Inner { seq, places: HashMap::new(), slots: Vec::new(), hand: 0 };
        Self { inner: RwLock::new(inner), rows_max }
    }

    /// All of `keys` at one instant, if the cache knows every one of them.
    pub(super) fn snapshot(&self, keys: &[Key]) -> Option<Snapshot> {
        let inner = self.read();
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.extend(inner.get(key)?.filter(|row| row.bytes.is_some()).cloned());
        }
        Some(Snapshot::new(inner.seq, rows))
    }

    /// A snapshot of what was read in the file, which the cache keeps if no commit came between.
    pub(super) fn settle(&self, read: Read) -> Snapshot {
        let Read { seq, rows } = read;
        let rows: Vec<(Key, Option<Arc<Row>>)> = {
            let inner = self.read();
            let shared = rows.into_iter().map(|(key, row)| {
                let row = row.map(|row| inner.shared(row));
                (key, row)
            });
            shared.collect()
        };
        let live: Vec<Arc<Row>> = rows
            .iter()
            .filter_map(|(_, row)| row.clone())
            .filter(|row| row.bytes.is_some())
            .collect();
        let mut inner = self.write();
        if inner.seq == seq {
            rows.into_iter().for_each(|(key, row)| inner.put(key, row, self.rows_max));
        }
        drop(inner);
        Snapshot::new(seq, live)
    }

    /// The rows, each the one that others already share where the cache has it.
    pub(super) fn share(&self, rows: Vec<Row>) -> Vec<Arc<Row>> {
        let inner = self.read();
        rows.into_iter().map(|row| inner.shared(row)).collect()
    }

    /// The rows of commits up to `seq`, which the file now has.
    pub(super) fn publish(&self, seq: Seq, rows: Vec<Arc<Row>>) {
        let mut inner = self.write();
        for row in rows {
            inner.put(row.key.clone(), Some(row), self.rows_max);
        }
        inner.seq = seq;
    }

    /// Forgets everything: the file is at `seq` after a commit of which nobody knows more.
    pub(super) fn reset(&self, seq: Seq) {
        let mut inner = self.write();
        *inner = Inner { seq, places: HashMap::new(), slots: Vec::new(), hand: 0 };
    }

    /// The position of the last commit that passed here.
    pub(super) fn seq(&self) -> Seq {
        self.read().seq
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What is known of `key`: nothing, that there is no row, or the row.
    fn get(&self, key: &Key) -> Option<Option<&Arc<Row>>> {
        let slot = self.slots.get(*self.places.get(key)?)?;
        if !slot.is_wanted.load(Ordering::Relaxed) {
            slot.is_wanted.store(true, Ordering::Relaxed);
        }
        Some(slot.row.as_ref())
    }

    fn shared(&self, row: Row) -> Arc<Row> {
        match self.get(&row.key) {
            Some(Some(known)) if known.seq == row.seq => Arc::clone(known),
            _ => Arc::new(row),
        }
    }

    fn put(&mut self, key: Key, row: Option<Arc<Row>>, rows_max: usize) {
        if let Some(slot) = self.places.get(&key).and_then(|place| self.slots.get_mut(*place)) {
            slot.row = row;
            return;
        }
        let key = Arc::new(key);
        let slot = Slot { key: Arc::clone(&key), row, is_wanted: AtomicBool::new(false) };
        if self.slots.len() < rows_max {
            self.places.insert(key, self.slots.len());
            self.slots.push(slot);
        } else if let Some(place) = self.unwanted()
            && let Some(old) = self.slots.get_mut(place)
        {
            self.places.remove(&old.key);
            *old = slot;
            self.places.insert(key, place);
        }
    }

    /// A slot that nobody asked for lately; `None` if there are no slots at all.
    fn unwanted(&mut self) -> Option<usize> {
        loop {
            let place = self.hand;
            let slot = self.slots.get_mut(place)?;
            let was_wanted = std::mem::take(slot.is_wanted.get_mut());
            self.hand = place.saturating_add(1) % self.slots.len();
            if !was_wanted {
                return Some(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use env::Table;

    use super::*;

    fn key(id: u64) -> Key {
        Key::new(Table::Agents, id.to_string())
    }

    fn row(id: u64, seq: u64) -> Row {
        Row::new(key(id), seq, Seq(seq), Some(vec![]))
    }

    fn known(cache: &Cache, id: u64) -> bool {
        cache.snapshot(&[key(id)]).is_some()
    }

    #[test]
    fn it_never_holds_more_rows_than_it_may() {
        for rows_max in [0, 1, 7] {
            let cache = Cache::new(Seq(0), rows_max);
            for id in 0..100 {
                cache.publish(Seq(id), vec![Arc::new(row(id, id))]);
                let inner = cache.read();
                assert!(inner.slots.len() <= rows_max);
                assert_eq!(inner.slots.len(), inner.places.len());
            }
            assert_eq!(known(&cache, 99), rows_max > 0);
        }
    }

    #[test]
    fn what_is_asked_for_stays_longer() {
        let cache = Cache::new(Seq(0), 3);
        for id in 0..50 {
            cache.publish(Seq(2), vec![Arc::new(row(id, 2))]);
            assert!(known(&cache, 0), "asked for each time");
        }
        assert!(!known(&cache, 1));
    }

    #[test]
    fn what_was_read_before_a_commit_is_not_kept_after_it() {
        let cache = Cache::new(Seq(2), 10);
        cache.publish(Seq(4), vec![]);
        let stale = Read { seq: Seq(2), rows: vec![(key(1), Some(row(1, 2))), (key(2), None)] };
        assert_eq!(cache.settle(stale).seq, Seq(2));
        assert!(!known(&cache, 1) && !known(&cache, 2));
        let fresh = Read { seq: Seq(4), rows: vec![(key(1), Some(row(1, 2))), (key(2), None)] };
        assert_eq!(cache.settle(fresh).seq, Seq(4));
        assert!(known(&cache, 1) && known(&cache, 2));
        cache.reset(Seq(6));
        assert!(!known(&cache, 1));
        assert_eq!(cache.seq(), Seq(6));
    }
}
