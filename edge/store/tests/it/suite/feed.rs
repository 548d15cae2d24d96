//! What changed since: pages that make an equal store.

use std::collections::BTreeMap;
use std::sync::Arc;

use env::{Change, Expect, Index, Key, Page, Row, Seq, Store, Table, Write};
use store::{Memory, TOMBSTONES_KEPT};
use time::UnixTime;

use super::{Fixture, Item, Subject, T0, delete, memory, put, sqlite, writing};

on_every_store!(
    changes_make_an_equal_store,
    a_page_of_changes_never_tears_a_commit,
    a_feed_that_was_away_too_long_starts_again,
);

/// The writes that bring a replica up to a page.
fn applied(page: &Page) -> Change {
    let writes = page.rows.iter().map(|row| Write {
        key: row.key.clone(),
        expect: Expect::Any,
        bytes: row.bytes.clone(),
        terms: row.terms.clone(),
        expires: row.expires,
    });
    Change { writes: writes.collect(), ..Change::default() }
}

async fn follow<S: Store>(from: &S, to: &Memory, mut seq: Seq, limit: usize) -> Seq {
    loop {
        let page = from.changes(&Table::ALL, seq, limit).await.unwrap();
        assert!(page.rows.iter().all(|row| row.seq > seq));
        to.commit(applied(&page)).await.unwrap();
        seq = page.seq;
        if page.next.is_none() {
            return seq;
        }
    }
}

type Contents = BTreeMap<Key, (Option<Vec<u8>>, Vec<(Index, String)>, Option<UnixTime>)>;

async fn contents(store: &impl Store) -> Contents {
    let mut all = BTreeMap::new();
    for table in Table::ALL {
        let page = store.scan(table, Index::All, "", None, 1_000).await.unwrap();
        assert_eq!(page.next, None);
        let of = |row: &Arc<Row>| (row.bytes.clone(), row.terms.clone(), row.expires);
        all.extend(page.rows.iter().map(|row| (row.key.clone(), of(row))));
    }
    all
}

/// Some writes, deletions and new beginnings, the same ones for the same `seed`.
async fn churn<S: Subject>(at: &Fixture<S>, seed: u64) {
    let mut random = seed;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    for _ in 0..60 {
        let mut writes = BTreeMap::new();
        for _ in 0..=next(3) {
            let table = Table::ALL[next(3) as usize];
            let id = next(12).to_string();
            let item = Item::new(id.as_str(), next(100)).owned_by(&next(3).to_string());
            let mut write = Write::put(&item, Expect::Any);
            write.key.table = table;
            if next(4) == 0 {
                (write.bytes, write.terms) = (None, Vec::new());
            }
            writes.insert(write.key.clone(), write);
        }
        at.store.commit(writing(writes.into_values().collect())).await.unwrap();
    }
}

async fn changes_make_an_equal_store<S: Subject>(at: Fixture<S>) {
    for seed in 1..=3 {
        churn(&at, seed).await;
        let replica = memory().store;
        let seq = follow(&*at.store, &replica, Seq(0), 3).await;
        assert_eq!(contents(&*replica).await, contents(&*at.store).await);
        churn(&at, seed + 100).await;
        let seq = follow(&*at.store, &replica, seq, 5).await;
        assert_eq!(contents(&*replica).await, contents(&*at.store).await);
        let page = at.store.changes(&Table::ALL, seq, 5).await.unwrap();
        assert!(page.rows.is_empty() && page.next.is_none() && page.seq == seq);
    }
    assert!(contents(&*at.store).await.len() > 10, "or nothing was compared");
}

async fn a_page_of_changes_never_tears_a_commit<S: Subject>(at: Fixture<S>) {
    for commit in 0..4 {
        let ids = (0..5).map(|n| Item::new(format!("{commit}.{n}"), n));
        let writes = ids.map(|item| Write::put(&item, Expect::Any)).collect();
        at.store.commit(writing(writes)).await.unwrap();
    }
    for (limit, expect) in [(1, 5), (5, 5), (6, 10), (19, 20), (1_000, 20)] {
        let page = at.store.changes(&[Table::Agents], Seq(0), limit).await.unwrap();
        assert_eq!(page.rows.len(), expect, "limit {limit}");
        assert_eq!(page.next.is_some(), expect < 20);
        let seqs: Vec<Seq> = page.rows.iter().map(|row| row.seq).collect();
        assert!(seqs.is_sorted());
    }
    let page = at.store.changes(&[Table::Clients, Table::Nodes], Seq(0), 5).await.unwrap();
    assert!(page.rows.is_empty() && page.next.is_none());
    let page = at.store.changes(&[], Seq(0), 5).await.unwrap();
    assert!(page.rows.is_empty() && page.next.is_none());
}

async fn a_feed_that_was_away_too_long_starts_again<S: Subject>(at: Fixture<S>) {
    let day = TOMBSTONES_KEPT;
    for id in ["a", "b", "c", "d"] {
        at.store.commit(put(&Item::new(id, 1), Expect::Any)).await.unwrap();
    }
    let left = at.store.changes(&Table::ALL, Seq(0), 10).await.unwrap().seq;
    at.store.commit(delete("a")).await.unwrap();
    let stayed = at.store.changes(&Table::ALL, left, 10).await.unwrap().seq;
    assert_eq!(at.store.sweep_at(T0).await.tombstones, 0);
    assert_eq!(at.store.changes(&Table::ALL, left, 10).await.unwrap().rows.len(), 1);
    assert_eq!(at.store.sweep_at(T0.plus(day)).await.tombstones, 1);

    let page = at.store.changes(&Table::ALL, left, 10).await.unwrap();
    assert!(page.seq < left && page.seq == Seq(0) && page.rows.is_empty() && page.next.is_some());
    let page = at.store.changes(&Table::ALL, stayed, 10).await.unwrap();
    assert!(page.rows.is_empty() && page.next.is_none() && page.seq == stayed);
    let ahead = at.store.changes(&Table::ALL, Seq(stayed.0 + 2), 10).await.unwrap();
    assert!(ahead.seq == Seq(0), "another life of the store");

    let replica = memory().store;
    let seq = follow(&*at.store, &replica, page.seq.min(Seq(0)), 1).await;
    assert_eq!(contents(&*replica).await, contents(&*at.store).await);
    assert_eq!(contents(&*replica).await.len(), 3);
    assert!(at.store.changes(&Table::ALL, seq, 1).await.unwrap().rows.is_empty());
}
