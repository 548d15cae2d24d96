//! Each guarantee of `env::Store`, on every store.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use env::{
    Change, CommitFault, Entity, Expect, Index, Journal, Key, Seq, SingleUse, Store, Table,
    Unavailable, Unreadable, Write,
};
use monitoring::record::Used;
use monitoring::{Component, Event, Record, RecordId};
use serde::{Deserialize, Serialize};
use store::{Memory, Settings, Sqlite, Swept, TOMBSTONES_KEPT};
use time::{Span, UnixTime};

use crate::journal::{Fault, Tape};

pub(crate) const T0: UnixTime = UnixTime::from_seconds(1_800_000_000);

/// A row of the tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) owner: Option<String>,
    pub(crate) expires: Option<UnixTime>,
}

impl Item {
    pub(crate) fn new(id: impl Into<String>, number: u64) -> Self {
        Self { id: id.into(), number, owner: None, expires: None }
    }

    fn owned_by(self, owner: &str) -> Self {
        Self { owner: Some(owner.to_owned()), ..self }
    }

    fn until(self, expires: UnixTime) -> Self {
        Self { expires: Some(expires), ..self }
    }
}

impl Entity for Item {
    const TABLE: Table = Table::Agents;

    fn id(&self) -> String {
        self.id.clone()
    }

    fn encode(&self) -> Vec<u8> {
        Unreadable::to_json(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Unreadable::from_json(bytes)
    }

    fn terms(&self) -> Vec<(Index, String)> {
        self.owner.iter().map(|owner| (Index::Owner, owner.clone())).collect()
    }

    fn expires(&self) -> Option<UnixTime> {
        self.expires
    }
}

/// A record that says `action`.
pub(crate) fn record(action: &str) -> Record {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    random[8..].copy_from_slice(&(std::process::id() as u16).to_be_bytes());
    let id = RecordId::new(T0, random);
    let mut record = Record::new(id, T0, Component("test".into()), Event::CallDecided);
    record.action = action.to_owned();
    record
}

/// Number `n` as a single-use value, and the change that uses it up and records it.
pub(crate) fn using(n: u64) -> Change {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    let until = T0.plus(Span::from_seconds(300));
    let mut record = record(&format!("use {n}"));
    record.used = vec![Used { hash: URL_SAFE_NO_PAD.encode(hash), until }];
    Change { uses: vec![SingleUse { hash, until }], records: vec![record], ..Change::default() }
}

pub(crate) fn writing(writes: Vec<Write>) -> Change {
    Change { writes, records: vec![record("write")], ..Change::default() }
}

pub(crate) fn put(item: &Item, expect: Expect) -> Change {
    writing(vec![Write::put(item, expect)])
}

fn delete(id: &str) -> Change {
    writing(vec![Write::delete::<Item>(id, Expect::Any)])
}

pub(crate) async fn number(store: &impl Store, id: &str) -> Option<(u64, u64)> {
    let snapshot = store.snapshot(&[Key::of::<Item>(id)]).await.unwrap();
    snapshot.get::<Item>(id).unwrap().map(|stored| (stored.number, stored.version))
}

fn is_unavailable<T: std::fmt::Debug>(answer: &Result<T, CommitFault>) -> bool {
    matches!(answer, Err(CommitFault::Unavailable(_)))
}

/// A store under test: the trait, and what the stores have beside it.
pub(crate) trait Subject: Store {
    fn restore_uses(&self, uses: Vec<SingleUse>) -> Result<(), Unavailable>;
    fn sweep_at(&self, now: UnixTime) -> impl Future<Output = Swept> + Send;
}

impl Subject for Memory {
    fn restore_uses(&self, uses: Vec<SingleUse>) -> Result<(), Unavailable> {
        self.restore(uses)
    }

    async fn sweep_at(&self, now: UnixTime) -> Swept {
        self.sweep(now).await.unwrap()
    }
}

impl Subject for Sqlite {
    fn restore_uses(&self, uses: Vec<SingleUse>) -> Result<(), Unavailable> {
        self.restore(uses)
    }

    async fn sweep_at(&self, now: UnixTime) -> Swept {
        self.sweep(now).await.unwrap()
    }
}

/// A store, its journal, and what it stands on.
pub(crate) struct Fixture<S> {
    pub(crate) store: Arc<S>,
    pub(crate) tape: Arc<Tape>,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Fixture<Memory> {
    let tape = Arc::new(Tape::default());
    let store = Arc::new(Memory::open(Arc::clone(&tape) as Arc<dyn Journal>));
    Fixture { store, tape, _dir: None }
}

fn sqlite(rows_cached_max: usize) -> Fixture<Sqlite> {
    let tape = Arc::new(Tape::default());
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::clone(&tape) as Arc<dyn Journal>;
    let settings = Settings { rows_cached_max, ..Settings::default() };
    let store = Sqlite::open_with(&dir.path().join("state.db"), journal, settings).unwrap();
    Fixture { store: Arc::new(store), tape, _dir: Some(dir) }
}

/// Each check as a test on the store in memory, and on SQLite with every row, one row and no row
/// in its cache.
macro_rules! on_every_store {
    ($($check:ident),* $(,)?) => {
        mod in_memory { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() { super::$check(super::memory()).await; }
        )* }
        mod in_sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() { super::$check(super::sqlite(1_000)).await; }
        )* }
        mod in_sqlite_with_one_row_cached { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() { super::$check(super::sqlite(1)).await; }
        )* }
        mod in_sqlite_without_cache { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() { super::$check(super::sqlite(0)).await; }
        )* }
    };
}

mod feed;

on_every_store!(
    a_row_is_read_as_it_was_written,
    a_version_grows_by_one_with_each_write,
    a_change_is_made_whole_or_not_at_all,
    what_is_not_expected_is_a_conflict_and_changes_nothing,
    one_of_many_wins_an_absent_row,
    one_of_many_wins_a_version,
    one_of_many_wins_a_single_use_value,
    a_conflict_leaves_its_single_use_values_unused,
    restored_values_are_used,
    a_use_that_no_record_lists_is_refused,
    records_are_in_the_journal_when_the_answer_comes,
    a_snapshot_is_of_one_instant,
    positions_seen_never_go_back,
    scans_page_by_id,
    an_index_finds_what_stands_under_it_now,
    sweeping_deletes_what_ended_and_forgets_old_deletions,
    past_ends_with_the_next_commit,
    a_journal_that_fails_and_does_not_write_loses_nothing,
    a_journal_that_fails_but_writes_doubles_nothing,
    a_use_whose_record_failed_stays_used,
);

async fn a_row_is_read_as_it_was_written<S: Subject>(at: Fixture<S>) {
    let item = Item::new("a", 1).owned_by("o").until(T0);
    at.store.commit(put(&item, Expect::Absent)).await.unwrap();
    let keys = [Key::of::<Item>("a"), Key::of::<Item>("b")];
    for _ in 0..2 {
        let snapshot = at.store.snapshot(&keys).await.unwrap();
        assert_eq!(*snapshot.get::<Item>("a").unwrap().unwrap().value, item);
        assert!(snapshot.get::<Item>("b").unwrap().is_none());
    }
    let page = at.store.scan(Table::Agents, Index::All, "", None, 10).await.unwrap();
    let row = &page.rows[0];
    assert_eq!(row.terms, [(Index::Owner, "o".to_owned())]);
    assert_eq!((row.expires, row.version), (Some(T0), 1));
}

async fn a_version_grows_by_one_with_each_write<S: Subject>(at: Fixture<S>) {
    for version in 1..=3 {
        at.store.commit(put(&Item::new("a", 10 + version), Expect::Any)).await.unwrap();
        assert_eq!(number(&*at.store, "a").await, Some((10 + version, version)));
    }
    at.store.commit(delete("a")).await.unwrap();
    assert_eq!(number(&*at.store, "a").await, None);
    at.store.commit(put(&Item::new("a", 1), Expect::Absent)).await.unwrap();
    assert_eq!(number(&*at.store, "a").await, Some((1, 5)), "a deletion is a write");
    at.store.commit(delete("never")).await.unwrap();
    let page = at.store.changes(&Table::ALL, Seq(0), 10).await.unwrap();
    assert_eq!(page.rows.len(), 1, "deleting nothing leaves nothing");
}

async fn a_change_is_made_whole_or_not_at_all<S: Subject>(at: Fixture<S>) {
    at.store.commit(put(&Item::new("b", 1), Expect::Absent)).await.unwrap();
    let before = at.tape.records().len();
    let change = writing(vec![
        Write::put(&Item::new("a", 1), Expect::Absent),
        Write::put(&Item::new("b", 2), Expect::Absent),
        Write::put(&Item::new("c", 3), Expect::Any),
    ]);
    let refused = at.store.commit(change).await;
    assert_eq!(refused, Err(CommitFault::Conflict(Key::of::<Item>("b"))));
    for (id, expect) in [("a", None), ("b", Some((1, 1))), ("c", None)] {
        assert_eq!(number(&*at.store, id).await, expect, "{id}");
    }
    assert_eq!(at.tape.records().len(), before, "what was not done is not recorded");
}

async fn what_is_not_expected_is_a_conflict_and_changes_nothing<S: Subject>(at: Fixture<S>) {
    at.store.commit(put(&Item::new("live", 1), Expect::Absent)).await.unwrap();
    at.store.commit(put(&Item::new("dead", 1), Expect::Absent)).await.unwrap();
    at.store.commit(delete("dead")).await.unwrap();
    for (id, expect) in [
        ("live", Expect::Absent),
        ("live", Expect::Version(0)),
        ("live", Expect::Version(2)),
        ("dead", Expect::Version(2)),
        ("never", Expect::Version(1)),
    ] {
        let refused = at.store.commit(put(&Item::new(id, 9), expect)).await;
        assert_eq!(refused, Err(CommitFault::Conflict(Key::of::<Item>(id))), "{id} {expect:?}");
    }
    assert_eq!(number(&*at.store, "live").await, Some((1, 1)));
    assert_eq!(number(&*at.store, "dead").await, None);
}

/// Runs `change(n)` for a hundred tasks at once: who won, and how often each loser lost how.
async fn race<S: Subject>(
    at: &Fixture<S>,
    change: impl Fn(u64) -> Change,
) -> (Vec<u64>, Vec<CommitFault>) {
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let (store, change) = (Arc::clone(&at.store), change(n));
            tokio::spawn(async move { (n, store.commit(change).await) })
        })
        .collect();
    let (mut winners, mut faults) = (Vec::new(), Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            (n, Ok(_)) => winners.push(n),
            (_, Err(fault)) => faults.push(fault),
        }
    }
    (winners, faults)
}

async fn one_of_many_wins_an_absent_row<S: Subject>(at: Fixture<S>) {
    let (winners, faults) = race(&at, |n| put(&Item::new("a", n), Expect::Absent)).await;
    assert_eq!((winners.len(), faults.len()), (1, 99));
    assert!(faults.iter().all(|fault| *fault == CommitFault::Conflict(Key::of::<Item>("a"))));
    assert_eq!(number(&*at.store, "a").await, Some((winners[0], 1)));
    assert_eq!(at.tape.records().len(), 1);
}

async fn one_of_many_wins_a_version<S: Subject>(at: Fixture<S>) {
    at.store.commit(put(&Item::new("a", 1_000), Expect::Absent)).await.unwrap();
    let (winners, faults) = race(&at, |n| put(&Item::new("a", n), Expect::Version(1))).await;
    assert_eq!((winners.len(), faults.len()), (1, 99));
    assert!(faults.iter().all(|fault| *fault == CommitFault::Conflict(Key::of::<Item>("a"))));
    assert_eq!(number(&*at.store, "a").await, Some((winners[0], 2)));
}

/// Half of them write a row, too: both ways of a commit share the one memory.
async fn one_of_many_wins_a_single_use_value<S: Subject>(at: Fixture<S>) {
    let change = |n: u64| {
        let mut change = using(7);
        if n.is_multiple_of(2) {
            change.writes.push(Write::put(&Item::new(n.to_string(), n), Expect::Absent));
        }
        change
    };
    let (winners, faults) = race(&at, change).await;
    assert_eq!((winners.len(), faults.len()), (1, 99));
    let used = CommitFault::Used(using(7).uses[0].clone());
    assert!(faults.iter().all(|fault| *fault == used));
    assert_eq!(at.tape.records().len(), 1);
    let page = at.store.scan(Table::Agents, Index::All, "", None, 100).await.unwrap();
    assert_eq!(page.rows.len() as u64, 1 - winners[0] % 2, "a loser wrote nothing");
}

async fn a_conflict_leaves_its_single_use_values_unused<S: Subject>(at: Fixture<S>) {
    let with_write = |expect| {
        let writes = vec![Write::put(&Item::new("a", 1), expect)];
        Change { writes, ..using(1) }
    };
    let refused = at.store.commit(with_write(Expect::Version(1))).await;
    assert_eq!(refused, Err(CommitFault::Conflict(Key::of::<Item>("a"))));
    at.store.commit(with_write(Expect::Absent)).await.unwrap();
    let refused = at.store.commit(using(1)).await;
    assert_eq!(refused, Err(CommitFault::Used(using(1).uses[0].clone())));
}

async fn restored_values_are_used<S: Subject>(at: Fixture<S>) {
    at.store.restore_uses(using(1).uses).unwrap();
    let refused = at.store.commit(using(1)).await;
    assert_eq!(refused, Err(CommitFault::Used(using(1).uses[0].clone())));
    at.store.commit(using(2)).await.unwrap();
}

async fn a_use_that_no_record_lists_is_refused<S: Subject>(at: Fixture<S>) {
    for records in [vec![], vec![record("another")]] {
        let refused = at.store.commit(Change { records, ..using(1) }).await;
        assert!(is_unavailable(&refused), "{refused:?}");
    }
    at.store.commit(using(1)).await.unwrap();
}

async fn records_are_in_the_journal_when_the_answer_comes<S: Subject>(at: Fixture<S>) {
    for n in 0..20 {
        let mut change =
            if n % 2 == 0 { put(&Item::new("a", n), Expect::Any) } else { Change::default() };
        change.records = vec![record("one"), record("two")];
        let ids: Vec<RecordId> = change.records.iter().map(|record| record.id).collect();
        let receipt = at.store.commit(change).await.unwrap();
        assert_eq!(receipt.records(), ids);
        let tape: Vec<RecordId> = at.tape.records().iter().map(|record| record.id).collect();
        assert_eq!(tape[tape.len() - 2..], ids, "in order");
    }
}

async fn a_snapshot_is_of_one_instant<S: Subject>(at: Fixture<S>) {
    const FLIPS: u64 = 200;
    let both = |n| {
        let ids = ["a", "b"];
        writing(ids.iter().map(|id| Write::put(&Item::new(*id, n), Expect::Any)).collect())
    };
    at.store.commit(both(0)).await.unwrap();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&at.store);
            tokio::spawn(async move {
                let keys = [Key::of::<Item>("a"), Key::of::<Item>("b")];
                let mut seen = 0;
                while seen < FLIPS {
                    let snapshot = store.snapshot(&keys).await.unwrap();
                    let of = |id| snapshot.get::<Item>(id).unwrap().unwrap().number;
                    assert_eq!(of("a"), of("b"));
                    assert!(of("a") >= seen, "from {seen} back to {}", of("a"));
                    seen = of("a");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for n in 1..=FLIPS {
        at.store.commit(both(n)).await.unwrap();
        assert_eq!(number(&*at.store, "b").await.map(|(n, _)| n), Some(n), "acknowledged, seen");
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

/// One reader asks for a row that is cached, for one that is not, for both.
async fn positions_seen_never_go_back<S: Subject>(at: Fixture<S>) {
    at.store.commit(put(&Item::new("cold", 0), Expect::Any)).await.unwrap();
    let writer = {
        let store = Arc::clone(&at.store);
        tokio::spawn(async move {
            for n in 0..200 {
                store.commit(put(&Item::new("hot", n), Expect::Any)).await.unwrap();
            }
        })
    };
    let (cold, hot) = (Key::of::<Item>("cold"), Key::of::<Item>("hot"));
    let mut seen = Seq(0);
    while !writer.is_finished() {
        for keys in [vec![cold.clone()], vec![hot.clone()], vec![hot.clone(), cold.clone()]] {
            let snapshot = at.store.snapshot(&keys).await.unwrap();
            assert!(snapshot.seq >= seen);
            seen = snapshot.seq;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

async fn scans_page_by_id<S: Subject>(at: Fixture<S>) {
    let ids: Vec<String> = (0..25).map(|n| format!("{n:02}")).collect();
    for id in ids.iter().rev() {
        at.store.commit(put(&Item::new(id.as_str(), 1), Expect::Any)).await.unwrap();
    }
    at.store.commit(delete("07")).await.unwrap();
    let other = Key::new(Table::Clients, "00");
    let write = Write { key: other, ..Write::put(&Item::new("00", 1), Expect::Any) };
    at.store.commit(writing(vec![write])).await.unwrap();
    let (mut found, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page =
            at.store.scan(Table::Agents, Index::All, "", after.as_deref(), 10).await.unwrap();
        assert!(page.rows.len() <= 10);
        found.extend(page.rows.iter().map(|row| row.key.id.clone()));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expect: Vec<String> = ids.into_iter().filter(|id| id != "07").collect();
    assert_eq!((found, pages), (expect, 3));
}

async fn ids_under<S: Store>(store: &S, owner: &str, after: Option<&str>) -> Vec<String> {
    let page = store.scan(Table::Agents, Index::Owner, owner, after, 10).await.unwrap();
    page.rows.iter().map(|row| row.key.id.clone()).collect()
}

async fn an_index_finds_what_stands_under_it_now<S: Subject>(at: Fixture<S>) {
    for (id, owner) in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x"), ("e", "xy")] {
        let item = Item::new(id, 1).owned_by(owner);
        at.store.commit(put(&item, Expect::Any)).await.unwrap();
    }
    assert_eq!(ids_under(&*at.store, "x", None).await, ["a", "c", "d"]);
    assert_eq!(ids_under(&*at.store, "x", Some("a")).await, ["c", "d"]);
    let page = at.store.scan(Table::Agents, Index::Owner, "x", None, 2).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("c"));
    at.store.commit(put(&Item::new("a", 2).owned_by("y"), Expect::Any)).await.unwrap();
    at.store.commit(put(&Item::new("c", 2), Expect::Any)).await.unwrap();
    at.store.commit(delete("d")).await.unwrap();
    assert_eq!(ids_under(&*at.store, "x", None).await, [""; 0]);
    assert_eq!(ids_under(&*at.store, "y", None).await, ["a", "b"]);
    assert_eq!(ids_under(&*at.store, "", None).await, [""; 0]);
}

async fn sweeping_deletes_what_ended_and_forgets_old_deletions<S: Subject>(at: Fixture<S>) {
    let later = |seconds| T0.plus(Span::from_seconds(seconds));
    for (id, end) in [("a", 10), ("b", 20), ("c", 30)] {
        let item = Item::new(id, 1).owned_by("o").until(later(end));
        at.store.commit(put(&item, Expect::Any)).await.unwrap();
    }
    at.store.commit(put(&Item::new("d", 1).owned_by("o"), Expect::Any)).await.unwrap();
    let seq = at.store.changes(&Table::ALL, Seq(0), 10).await.unwrap().seq;
    assert_eq!(at.store.sweep_at(later(20)).await, Swept { expired: 2, tombstones: 0 });
    assert_eq!(number(&*at.store, "b").await, None);
    assert_eq!(ids_under(&*at.store, "o", None).await, ["c", "d"]);
    let page = at.store.changes(&Table::ALL, seq, 10).await.unwrap();
    assert_eq!(page.rows.len(), 2, "feeds see it");
    assert!(page.rows.iter().all(|row| row.bytes.is_none() && row.version == 2));
    assert_eq!(at.store.sweep_at(later(20)).await, Swept::default());
    let day = Swept { expired: 1, tombstones: 2 };
    assert_eq!(at.store.sweep_at(later(20).plus(TOMBSTONES_KEPT)).await, day);
    at.store.commit(put(&Item::new("a", 2), Expect::Absent)).await.unwrap();
    assert_eq!(number(&*at.store, "a").await, Some((2, 1)), "nothing is left of it");
}

async fn past_ends_with_the_next_commit<S: Subject>(at: Fixture<S>) {
    at.store.commit(put(&Item::new("a", 1), Expect::Any)).await.unwrap();
    let seq = at.store.changes(&Table::ALL, Seq(0), 1).await.unwrap().seq;
    assert_eq!(at.store.past(Seq(0)).await, seq, "at once");
    let waiting = {
        let store = Arc::clone(&at.store);
        tokio::spawn(async move { store.past(seq).await })
    };
    at.store.commit(Change::record(record("no row"))).await.unwrap();
    assert!(at.store.commit(put(&Item::new("a", 1), Expect::Absent)).await.is_err());
    tokio::time::sleep(Span::from_millis(20).duration()).await;
    assert!(!waiting.is_finished(), "nothing was written");
    at.store.commit(put(&Item::new("a", 2), Expect::Any)).await.unwrap();
    assert!(waiting.await.unwrap() > seq);
}

/// With either fault: the caller is told that nothing is known; later commits bring to an end what
/// was begun, once and in order.
async fn fail_with<S: Subject>(at: Fixture<S>, fault: Fault) {
    at.store.commit(put(&Item::new("a", 1), Expect::Absent)).await.unwrap();
    at.tape.fail(Some(fault));
    let torn = put(&Item::new("a", 2), Expect::Version(1));
    let torn_id = torn.records[0].id;
    assert!(is_unavailable(&at.store.commit(torn).await));
    let refused = put(&Item::new("b", 1), Expect::Absent);
    let refused_id = refused.records[0].id;
    if fault == Fault::NotWritten {
        assert!(is_unavailable(&at.store.commit(refused).await));
    }
    assert!(is_unavailable(&at.store.commit(Change::record(record("direct"))).await));
    at.tape.fail(None);

    let last = put(&Item::new("c", 1), Expect::Absent);
    let last_id = last.records[0].id;
    at.store.commit(last).await.unwrap();
    assert_eq!(number(&*at.store, "a").await, Some((2, 2)), "made, with its record");
    assert_eq!(at.tape.count(torn_id), 1);
    assert_eq!(number(&*at.store, "b").await, None);
    assert_eq!(at.tape.count(refused_id), 0, "not made, without its record");
    assert_eq!(number(&*at.store, "c").await, Some((1, 1)));
    let order: Vec<RecordId> = at.tape.records().iter().map(|record| record.id).collect();
    let place = |id| order.iter().position(|other| *other == id);
    assert!(place(torn_id) < place(last_id));
}

async fn a_journal_that_fails_and_does_not_write_loses_nothing<S: Subject>(at: Fixture<S>) {
    fail_with(at, Fault::NotWritten).await;
}

async fn a_journal_that_fails_but_writes_doubles_nothing<S: Subject>(at: Fixture<S>) {
    fail_with(at, Fault::Written).await;
}

async fn a_use_whose_record_failed_stays_used<S: Subject>(at: Fixture<S>) {
    at.tape.fail(Some(Fault::Written));
    assert!(is_unavailable(&at.store.commit(using(1)).await));
    at.tape.fail(None);
    let refused = at.store.commit(using(1)).await;
    assert_eq!(refused, Err(CommitFault::Used(using(1).uses[0].clone())));
}
