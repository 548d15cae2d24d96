//! State in memory behind the three verbs, with faults.
//!
//! It forgets a single-use value as soon as the contract lets it, and keeps nothing of what it did
//! not have to: what a flow relies on beyond the contract fails here.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use env::{
    Change, CommitFault, Entity, Expect, Index, Key, Page, Receipt, Row, Sealed, Seq, SingleUse,
    Snapshot, Store, Table, Unavailable, Write,
};
use jose::TokenHash;
use monitoring::Record;
use time::UnixTime;

use crate::faults::{Fault, Faults};
use crate::journal::SimJournal;
use crate::sim::Sim;

/// What lies below a store: of a server it outlives restarts. A clone is the same.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    seq: Seq,
    rows: BTreeMap<Key, Arc<Row>>,
    uses: HashMap<[u8; 32], UnixTime>,
    /// Values that end before it may have been forgotten.
    forgotten: UnixTime,
    /// A change whose records were not acknowledged by the journal: made before the next one.
    unfinished: Option<(Vec<Write>, Vec<Sealed>)>,
    waiting: Vec<Waker>,
}

/// The store of one run of a component. A clone is the same.
#[derive(Clone)]
pub struct SimStore {
    sim: Sim,
    disk: Disk,
    journal: SimJournal,
    faults: Faults,
}

impl SimStore {
    /// A store over `disk` whose records go to `journal`. Single-use values are what the journal
    /// holds, as after a restart of the real ones.
    pub fn open(sim: &Sim, disk: Disk, journal: SimJournal, faults: Faults) -> Self {
        let used = journal.records();
        let used = used.iter().flat_map(|record| &record.used);
        let uses =
            used.filter_map(|one| Some((*TokenHash::parse(&one.hash).ok()?.as_bytes(), one.until)));
        {
            let mut state = disk.lock();
            state.uses = uses.collect();
            state.forgotten = UnixTime::EPOCH;
            state.waiting.clear();
        }
        Self { sim: sim.clone(), disk, journal, faults }
    }

    /// What lies below it.
    pub fn disk(&self) -> Disk {
        self.disk.clone()
    }

    /// Its log.
    pub fn journal(&self) -> &SimJournal {
        &self.journal
    }

    /// What goes wrong with it.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Every live row of `E`, which has a table of its own, whatever faults there are: for checks
    /// from outside.
    #[expect(clippy::expect_used, reason = "a row that does not read back fails the test")]
    pub fn every<E: Entity>(&self) -> Vec<Arc<E>> {
        let state = self.disk.lock();
        let rows = state.rows.values().filter(|row| row.key.table == E::TABLE);
        rows.filter_map(|row| row.value::<E>().expect("a row reads back")).collect()
    }

    /// The row `id` of `E`, in the same way.
    #[expect(clippy::expect_used, reason = "a row that does not read back fails the test")]
    pub fn single<E: Entity>(&self, id: &str) -> Option<Arc<E>> {
        let state = self.disk.lock();
        state.rows.get(&Key::of::<E>(id))?.value::<E>().expect("a row reads back")
    }

    /// Writes a row without a flow, for what no flow does yet.
    pub fn put<E: Entity>(&self, entity: &E) {
        self.disk.lock().apply(vec![Write::put(entity, Expect::Any)]);
    }

    /// The commit itself, between the waits.
    fn commit_now(&self, change: Change) -> Result<Receipt, CommitFault> {
        check_uses(&change);
        let failed = || CommitFault::Unavailable(Unavailable::of("store", "a simulated fault"));
        let fault = self.faults.of_write();
        let mut state = self.disk.lock();
        match fault {
            Some(Fault::Lost) => return Err(failed()),
            Some(Fault::Overtaken) => state.overtake(&change),
            Some(Fault::WrittenAnyway) | None => {}
        }
        let ids = change.records.iter().map(|record| record.id).collect();
        state.commit(change, &self.journal)?;
        if fault == Some(Fault::WrittenAnyway) {
            Err(failed())
        } else {
            Ok(Receipt::assertion(ids))
        }
    }

    fn read(&self) -> Result<MutexGuard<'_, State>, Unavailable> {
        if self.faults.of_read() {
            return Err(Unavailable::of("store", "a simulated fault"));
        }
        Ok(self.disk.lock())
    }
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callers' side of the contract: each single-use value stands in a record, or a restart would
/// forget it; and no row is written twice.
fn check_uses(change: &Change) {
    for single in &change.uses {
        let hash = TokenHash::from_bytes(single.hash).to_base64url();
        let mut listed = change.records.iter().flat_map(|record: &Record| &record.used);
        let is_listed = listed.any(|used| used.hash == hash && used.until >= single.until);
        assert!(is_listed, "a single-use value stands in no record of its change");
    }
    for (at, write) in change.writes.iter().enumerate() {
        let twice = change.writes.iter().skip(at + 1).any(|other| other.key == write.key);
        assert!(!twice, "`{}` is written twice in a change", write.key.id);
    }
}

impl State {
    fn commit(&mut self, change: Change, journal: &SimJournal) -> Result<(), CommitFault> {
        let Change { writes, uses, records } = change;
        let entries: Vec<Sealed> = records.iter().map(Sealed::from).collect();
        let now = records.iter().map(|record| record.time).max().unwrap_or_default();
        if !writes.is_empty() {
            self.finish(journal)?;
            writes.iter().try_for_each(|write| self.check(write))?;
        }
        self.take(&uses, now)?;
        if writes.is_empty() {
            return Ok(journal.write(&entries)?);
        }
        self.unfinished = Some((writes, entries));
        Ok(self.finish(journal)?)
    }

    /// Records first, then rows: what is seen is recorded.
    fn finish(&mut self, journal: &SimJournal) -> Result<(), Unavailable> {
        if let Some((_, entries)) = &self.unfinished {
            journal.write(entries)?;
        }
        if let Some((writes, _)) = self.unfinished.take() {
            self.apply(writes);
        }
        Ok(())
    }

    fn check(&self, write: &Write) -> Result<(), CommitFault> {
        let found = self.rows.get(&write.key).filter(|row| row.bytes.is_some());
        let is_met = match write.expect {
            Expect::Absent => found.is_none(),
            Expect::Version(version) => found.is_some_and(|row| row.version == version),
            Expect::Any => true,
        };
        if is_met { Ok(()) } else { Err(CommitFault::Conflict(write.key.clone())) }
    }

    fn take(&mut self, uses: &[SingleUse], now: UnixTime) -> Result<(), CommitFault> {
        if uses.is_empty() {
            return Ok(());
        }
        self.forgotten = self.forgotten.max(now);
        let forgotten = self.forgotten;
        self.uses.retain(|_, until| *until >= forgotten);
        for single in uses {
            if self.uses.contains_key(&single.hash) {
                return Err(CommitFault::Used(single.clone()));
            }
            if single.until < forgotten {
                let why = format!("values that end before {forgotten} are forgotten");
                return Err(Unavailable::of("store", why).into());
            }
        }
        self.uses.extend(uses.iter().map(|single| (single.hash, single.until)));
        Ok(())
    }

    fn apply(&mut self, writes: Vec<Write>) {
        self.seq = Seq(self.seq.0 + 1);
        for write in writes {
            let old = self.rows.get(&write.key);
            if write.bytes.is_none() && old.is_none_or(|row| row.bytes.is_none()) {
                continue;
            }
            let version = old.map_or(1, |row| row.version + 1);
            let row = Row::new(write.key.clone(), version, self.seq, write.bytes);
            self.rows.insert(write.key, Arc::new(row.with(write.terms, write.expires)));
        }
        self.waiting.drain(..).for_each(Waker::wake);
    }

    /// Somebody else writes the rows that the change expects at a version, as they are.
    fn overtake(&mut self, change: &Change) {
        let expects = |write: &&Write| matches!(write.expect, Expect::Version(_));
        let rows = change.writes.iter().filter(expects).filter_map(|write| {
            let row = self.rows.get(&write.key)?;
            let (key, expect) = (write.key.clone(), Expect::Any);
            let (terms, expires) = (row.terms.clone(), row.expires);
            Some(Write { key, expect, bytes: row.bytes.clone(), terms, expires })
        });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            self.apply(rows);
        }
    }
}

impl Store for SimStore {
    async fn snapshot(&self, keys: &[Key]) -> Result<Snapshot, Unavailable> {
        self.sim.pause().await;
        let found = {
            let state = self.read()?;
            let live = |key| state.rows.get(key).filter(|row| row.bytes.is_some()).cloned();
            Snapshot::new(state.seq, keys.iter().filter_map(live))
        };
        self.sim.pause().await;
        Ok(found)
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitFault> {
        self.sim.pause().await;
        let end = self.commit_now(change);
        self.sim.pause().await;
        end
    }

    async fn scan(
        &self,
        table: Table,
        index: Index,
        value: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Unavailable> {
        self.sim.pause().await;
        let state = self.read()?;
        let under = |row: &Row| {
            index == Index::All || row.terms.iter().any(|(at, of)| *at == index && of == value)
        };
        let mut rows: Vec<_> = state
            .rows
            .values()
            .filter(|row| row.key.table == table && row.bytes.is_some() && under(row))
            .filter(|row| after.is_none_or(|after| row.key.id.as_str() > after))
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|row| row.key.id.clone());
        Ok(Page { rows, next, seq: state.seq })
    }

    async fn changes(&self, tables: &[Table], seq: Seq, limit: usize) -> Result<Page, Unavailable> {
        self.sim.pause().await;
        let state = self.read()?;
        if seq > state.seq {
            return Ok(Page { rows: Vec::new(), next: Some(String::new()), seq: Seq(0) });
        }
        let wanted = |row: &&Arc<Row>| row.seq > seq && tables.contains(&row.key.table);
        let mut rows: Vec<_> = state.rows.values().filter(wanted).cloned().collect();
        rows.sort_by_key(|row| row.seq);
        let end = rows.get(limit.saturating_sub(1)).map(|row| row.seq);
        let cut = end.and_then(|end| rows.iter().position(|row| row.seq > end));
        let Some(cut) = cut else { return Ok(Page { rows, next: None, seq: state.seq }) };
        rows.truncate(cut);
        let seq = rows.last().map_or(state.seq, |row| row.seq);
        Ok(Page { rows, next: Some(seq.0.to_string()), seq })
    }

    async fn past(&self, seq: Seq) -> Seq {
        poll_fn(|context| {
            let mut state = self.disk.lock();
            if state.seq > seq {
                return Poll::Ready(state.seq);
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use env::rows::DomainEpoch;
    use monitoring::record::Used;
    use monitoring::{Component, Event, RecordId};
    use provisioning::Epoch;
    use time::Span;

    use super::*;
    use crate::rng::Seed;

    const T: UnixTime = UnixTime::from_seconds(1_000);

    struct Kit {
        sim: Sim,
        store: SimStore,
        disk: Disk,
    }

    fn kit() -> Kit {
        let sim = Sim::new(Seed(5));
        let (disk, journal) = (Disk::default(), SimJournal::new(&sim));
        let store = SimStore::open(&sim, disk.clone(), journal, Faults::new(sim.rng()));
        Kit { sim, store, disk }
    }

    impl Kit {
        fn commit(&self, change: Change) -> Result<(), CommitFault> {
            self.sim.run(self.store.commit(change)).map(|_| ())
        }

        fn epoch(&self) -> Option<(u64, u64)> {
            let key = Key::of::<DomainEpoch>(DomainEpoch::ID);
            let rows = self.sim.run(self.store.snapshot(&[key])).unwrap();
            let row = rows.get::<DomainEpoch>(DomainEpoch::ID).unwrap();
            row.map(|row| (row.epoch.0, row.version))
        }
    }

    fn record(n: u8, time: UnixTime) -> Record {
        Record::new(RecordId::new(T, [n; 10]), time, Component("x".into()), Event::Started)
    }

    fn epoch(epoch: u64, expect: Expect, n: u8) -> Change {
        let writes = vec![Write::put(&DomainEpoch { epoch: Epoch(epoch) }, expect)];
        Change { writes, uses: Vec::new(), records: vec![record(n, T)] }
    }

    fn once(value: u8, until: u64, now: u64, n: u8) -> Change {
        let (hash, until) = ([value; 32], UnixTime::from_seconds(until));
        let mut record = record(n, UnixTime::from_seconds(now));
        let text = TokenHash::from_bytes(hash).to_base64url();
        record.used.push(Used { hash: text, until });
        Change { writes: Vec::new(), uses: vec![SingleUse { hash, until }], records: vec![record] }
    }

    #[test]
    fn rows_are_compared_and_swapped() {
        let kit = kit();
        assert_eq!(kit.commit(epoch(1, Expect::Absent, 1)), Ok(()));
        let conflict = Err(CommitFault::Conflict(Key::of::<DomainEpoch>(DomainEpoch::ID)));
        assert_eq!(kit.commit(epoch(2, Expect::Absent, 2)), conflict);
        assert_eq!(kit.commit(epoch(2, Expect::Version(1), 3)), Ok(()));
        assert_eq!(kit.commit(epoch(3, Expect::Version(1), 4)), conflict);
        assert_eq!(kit.epoch(), Some((2, 2)));
        assert_eq!(kit.store.journal().len(), 2, "what was not done is not recorded");
    }

    #[test]
    fn a_fault_is_lost_or_written_anyway_or_another_comes_first() {
        let kit = kit();
        kit.store.faults().next(Fault::Lost);
        assert!(kit.commit(epoch(1, Expect::Absent, 1)).is_err());
        assert_eq!((kit.epoch(), kit.store.journal().len()), (None, 0));
        kit.store.faults().next(Fault::WrittenAnyway);
        assert!(kit.commit(epoch(1, Expect::Absent, 2)).is_err());
        assert_eq!((kit.epoch(), kit.store.journal().len()), (Some((1, 1)), 1));
        kit.store.faults().after(1, Fault::Overtaken);
        assert_eq!(kit.commit(epoch(2, Expect::Version(1), 3)), Ok(()));
        assert!(matches!(
            kit.commit(epoch(3, Expect::Version(2), 4)),
            Err(CommitFault::Conflict(_))
        ));
        assert_eq!(kit.epoch(), Some((2, 3)));
    }

    #[test]
    fn rows_wait_for_a_journal_that_does_not_answer() {
        let kit = kit();
        for (n, fault) in [(1, Fault::Lost), (2, Fault::WrittenAnyway)] {
            kit.store.journal().faults().next(fault);
            assert!(kit.commit(epoch(u64::from(n), Expect::Any, n)).is_err());
            assert_eq!(kit.epoch(), None, "unseen");
        }
        assert_eq!(
            kit.store.journal().len(),
            1,
            "the first, which waits; the second was not begun"
        );
        assert_eq!(kit.commit(epoch(3, Expect::Any, 3)), Ok(()));
        assert_eq!((kit.epoch(), kit.store.journal().len()), (Some((3, 2)), 2));
    }

    #[test]
    fn a_value_is_taken_once_also_after_a_restart() {
        let kit = kit();
        assert_eq!(kit.commit(once(7, 100, 50, 1)), Ok(()));
        assert!(matches!(kit.commit(once(7, 100, 60, 2)), Err(CommitFault::Used(_))));
        assert!(matches!(kit.commit(once(8, 40, 60, 3)), Err(CommitFault::Unavailable(_))));
        let journal = kit.store.journal().clone();
        let store = SimStore::open(&kit.sim, kit.disk.clone(), journal, kit.store.faults().clone());
        let again = kit.sim.run(store.commit(once(7, 100, 60, 4)));
        assert!(matches!(again, Err(CommitFault::Used(_))));
    }

    #[test]
    fn a_feed_tells_each_row_once_and_waits() {
        let kit = kit();
        kit.commit(epoch(1, Expect::Absent, 1)).unwrap();
        let (sim, store) = (kit.sim.clone(), kit.store.clone());
        let page = sim.run(store.changes(&[Table::Singles], Seq(0), 10)).unwrap();
        assert_eq!((page.rows.len(), page.seq, page.next), (1, Seq(1), None));
        assert_eq!(sim.run(store.changes(&Table::ALL, Seq(1), 10)).unwrap().rows.len(), 0);
        assert_eq!(sim.run(store.changes(&Table::ALL, Seq(9), 10)).unwrap().seq, Seq(0));
        let other = store.clone();
        sim.spawn({
            let sim = sim.clone();
            async move {
                sim.sleep(Span::from_seconds(1)).await;
                other.commit(epoch(2, Expect::Any, 2)).await.unwrap();
            }
        });
        assert_eq!(sim.run(store.past(Seq(1))), Seq(2));
        assert_eq!(sim.elapsed().seconds(), 1);
    }
}
