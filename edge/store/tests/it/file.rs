//! What an SQLite store does with its file: who may open it, what it refuses, what it survives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use env::{CommitFault, Expect, Index, Journal, Store, Table};
use rusqlite::Connection;
use store::{OpenError, Settings, Sqlite};
use tempfile::TempDir;

use crate::journal::{Fault, Tape};
use crate::suite::{Item, number, put, using, writing};

fn tape() -> Arc<Tape> {
    Arc::new(Tape::default())
}

fn open(path: &Path, tape: &Arc<Tape>) -> Result<Sqlite, OpenError> {
    Sqlite::open(path, Arc::clone(tape) as Arc<dyn Journal>)
}

/// A folder with a database that holds the row `a`.
async fn made() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = open(&path, &tape()).unwrap();
    store.commit(put(&Item::new("a", 1), Expect::Absent)).await.unwrap();
    (dir, path)
}

#[tokio::test]
async fn rows_positions_and_versions_outlive_the_process() {
    let (dir, path) = made().await;
    assert!(!dir.path().join("state.db-wal").exists(), "a closed database is one file");
    let store = open(&path, &tape()).unwrap();
    assert_eq!(number(&store, "a").await, Some((1, 1)));
    let seq = store.snapshot(&[]).await.unwrap().seq;
    store.commit(put(&Item::new("a", 2), Expect::Version(1))).await.unwrap();
    assert!(store.snapshot(&[]).await.unwrap().seq > seq);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let (_dir, path) = made().await;
    let first = open(&path, &tape()).unwrap();
    let refused = open(&path, &tape()).err().unwrap();
    assert!(matches!(&refused, OpenError::InUse { path: named } if *named == path));
    assert_eq!(refused.to_string(), format!("`{}` is in use by another process", path.display()));
    drop(first);
    open(&path, &tape()).unwrap();
}

/// A child of ours has our files until it runs its own program: it keeps nobody from opening.
#[tokio::test]
async fn a_store_that_was_closed_opens_again_while_children_are_started() {
    let (_dir, path) = made().await;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        let opened = (0..100).try_for_each(|_| open(&path, &tape()).map(drop));
        stop.store(true, Ordering::Relaxed);
        opened.unwrap();
    });
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let (_dir, path) = made().await;
    let db = Connection::open(&path).unwrap();
    db.execute("UPDATE meta SET value = 99 WHERE name = 'schema'", []).unwrap();
    db.close().unwrap();
    let before = fs::read(&path).unwrap();
    let refused = open(&path, &tape()).err().unwrap();
    assert!(matches!(refused, OpenError::Newer { found: 99, known: 1, .. }));
    assert!(refused.hint().contains("newer"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn an_altered_migration_is_refused() {
    let (_dir, path) = made().await;
    let db = Connection::open(&path).unwrap();
    db.execute("UPDATE migrations SET checksum = 'x'", []).unwrap();
    db.close().unwrap();
    assert!(matches!(open(&path, &tape()), Err(OpenError::Altered { number: 1, .. })));
}

#[tokio::test]
async fn a_cut_file_is_refused_as_damaged() {
    for keep in [0, 100, 4_096, 5_000, 12_288] {
        let (_dir, path) = made().await;
        let length = fs::metadata(&path).unwrap().len();
        assert!(length > keep, "{length}");
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
        let refused = open(&path, &tape()).err().unwrap();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{keep}: {refused}");
    }
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_refused() {
    let (dir, path) = made().await;
    let text = dir.path().join("text");
    fs::write(&text, "a text that is no database\n".repeat(100)).unwrap();
    assert!(matches!(open(&text, &tape()), Err(OpenError::Damaged { .. })));
    let foreign = dir.path().join("foreign");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(open(&foreign, &tape()), Err(OpenError::Foreign { .. })));
    let nowhere = dir.path().join("no").join("state.db");
    assert!(matches!(open(&nowhere, &tape()), Err(OpenError::Io { .. })));
    fs::remove_file(&path).unwrap();
    fs::write(dir.path().join("state.db-wal"), "left over").unwrap();
    assert!(matches!(open(&path, &tape()), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn half_a_new_database_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    fs::write(dir.path().join("state.db.new"), "").unwrap();
    let store = open(&path, &tape()).unwrap();
    assert_eq!(number(&store, "a").await, None);
    assert!(!dir.path().join("state.db.new").exists());
}

/// req: OBS-05 (part)
#[tokio::test]
async fn records_that_the_journal_did_not_take_are_offered_at_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let first = tape();
    let store = open(&path, &first).unwrap();
    first.fail(Some(Fault::NotWritten));
    let writes = put(&Item::new("a", 1), Expect::Absent).writes;
    let change = env::Change { writes, ..using(1) };
    let id = change.records[0].id;
    let answer = store.commit(change).await;
    assert!(matches!(answer, Err(CommitFault::Unavailable(_))));
    drop(store);
    let refused = open(&path, &first).err().unwrap();
    assert!(matches!(refused, OpenError::Unrecorded(_)));

    first.fail(None);
    let store = open(&path, &first).unwrap();
    assert_eq!(first.count(id), 1);
    assert_eq!(number(&store, "a").await, Some((1, 1)));
    let used = store.commit(using(1)).await;
    assert!(matches!(used, Err(CommitFault::Used(_))), "no window after the restart");
    drop(store);
    let third = tape();
    drop(open(&path, &third).unwrap());
    assert_eq!(third.records().len(), 0, "the outbox is empty");
}

/// Without another commit, too.
#[tokio::test]
async fn records_that_the_journal_did_not_take_are_offered_again_soon() {
    let dir = tempfile::tempdir().unwrap();
    let tape = tape();
    let store = open(&dir.path().join("state.db"), &tape).unwrap();
    tape.fail(Some(Fault::NotWritten));
    let change = put(&Item::new("a", 1), Expect::Absent);
    let id = change.records[0].id;
    assert!(store.commit(change).await.is_err());
    tape.fail(None);
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if tape.count(id) == 1 {
            return;
        }
    }
    panic!("the record is not in the journal after five seconds");
}

/// Writes until there is no space, makes space with `free`, and goes on.
async fn fill(path: &Path, settings: Settings, free: impl AsyncFnOnce(&Sqlite)) {
    let tape = tape();
    let journal = Arc::clone(&tape) as Arc<dyn Journal>;
    let store = Sqlite::open_with(path, journal, settings).unwrap();
    let large = |n: u64| Item { owner: None, ..Item::new(format!("{n}{}", "x".repeat(4_000)), n) };
    let mut written = 0;
    // Each with a value that serves once.
    let change = |n: u64| env::Change { writes: put(&large(n), Expect::Absent).writes, ..using(n) };
    let fault = loop {
        assert!(written < 5_000, "the disk is never full");
        match store.commit(change(written)).await {
            Ok(_) => written += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(&fault, CommitFault::Unavailable(why) if why.part == "store"), "{fault}");
    assert_eq!(tape.records().len() as u64, written, "nothing of it was done");
    assert_eq!(number(&store, &large(written).id).await, None);
    let last = number(&store, &large(written - 1).id).await;
    assert_eq!(last, Some((written - 1, 1)), "what was acknowledged is there");
    free(&store).await;
    // Nothing was done: its value serves still, and those of what was done do not.
    store.commit(change(written)).await.unwrap();
    for used in [written, written - 1] {
        let again = store.commit(using(used)).await;
        assert!(matches!(again, Err(CommitFault::Used(_))), "{used}");
    }
    drop(store);
    let store = open(path, &tape).unwrap();
    assert_eq!(number(&store, &large(written).id).await, Some((written, 1)));
}

#[tokio::test]
async fn a_full_database_refuses_and_works_again_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { bytes_max: 1 << 20, ..Settings::default() };
    fill(&dir.path().join("state.db"), settings, async |store| {
        let page = store.scan(Table::Agents, Index::All, "", None, 10).await.unwrap();
        let ids = page.rows.iter().map(|row| row.key.id.clone());
        let writes = ids.map(|id| env::Write::delete::<Item>(id, Expect::Any)).collect();
        store.commit(writing(writes)).await.unwrap();
    })
    .await;
}

/// Where a file system can be mounted; elsewhere the test above stands for it.
#[tokio::test]
async fn a_full_disk_refuses_and_works_again_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(dir.path())
        .output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        return;
    }
    struct Unmount<'a>(&'a Path);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let _unmount = Unmount(dir.path());
    let filler = dir.path().join("filler");
    fs::write(&filler, vec![0; 1 << 20]).unwrap();
    fill(&dir.path().join("state.db"), Settings::default(), async |_| {
        fs::remove_file(&filler).unwrap();
    })
    .await;
}
