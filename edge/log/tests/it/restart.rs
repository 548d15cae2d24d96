use std::fs;
use std::path::Path;

use log::{KnownBy, Log, OpenError, Options};
use tlog::note::{KeyKind, VerifierKey};
use tlog::{Checkpoint, Hash, hash_leaf};

use crate::{ORIGIN, Signer, append, check_all, key, make, make_with, options, verify};
use log::NoteSigner as _;

fn promised(checkpoint: &str) -> (u64, Hash) {
    let opened = Checkpoint::open(checkpoint.as_bytes(), ORIGIN, &[key()], &[]).unwrap();
    (opened.checkpoint().size(), opened.checkpoint().root())
}

fn refused(dir: &Path, options: Options) -> OpenError {
    Log::open(dir, options).err().expect("the log must not open")
}

fn segment(dir: &Path, first: u64) -> std::path::PathBuf {
    dir.join(format!("segments/{first:020}.seg"))
}

/// Overwrites a part of a file.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}

/// req: OBS-05 (part)
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_derived_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    // Small segments: tiles are marked as durable and the next start reads from there.
    let options = || Options { segment_bytes: 30_000, ..options() };
    let checkpoint = make_with(dir.path(), 2_000, options()).await;
    assert!(dir.path().join("tiles-durable").exists());
    let derived: [&[&str]; 9] = [
        &[],
        &["index.db"],
        &["index.db", "index.db-wal", "index.db-shm"],
        &["tile"],
        &["tile/0/003"],
        &["tile/1"],
        &["checkpoint"],
        &["tiles-durable"],
        &["tile", "index.db", "checkpoint", "tiles-durable"],
    ];
    for files in derived {
        for file in files {
            let path = dir.path().join(file);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                let _ = fs::remove_file(path);
            }
        }
        let log = Log::open(dir.path(), options()).unwrap();
        check_all(&log, 2_000);
        assert_eq!(log.checkpoint(), checkpoint, "{files:?}");
        assert_eq!(log.by_term(crate::ROOT, "root-100", 10, None).unwrap().len(), 8);
        log.close().await;
        if !files.iter().any(|file| file.starts_with("tile/")) {
            assert_eq!(verify(dir.path(), &[]).unwrap().size, 2_000, "{files:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), 2_000).await;
    let index = dir.path().join("index.db");
    for damage in [0..16, 4_096..100_000] {
        change(&index, |bytes| bytes[damage].fill(0x5a));
        let log = Log::open(dir.path(), options()).unwrap();
        append(&log, log.size()..log.size() + 10).await;
        assert_eq!(log.by_id(&crate::entry(1_500).id).unwrap(), Some(1_500));
        log.close().await;
    }
}

/// A tile that a crash left wrong is written again, because the promised root says who is right.
///
/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn tiles_that_do_not_fit_are_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = make(dir.path(), 1_000).await;
    change(&dir.path().join("tile/0/001"), |bytes| bytes[40] ^= 1);
    change(&dir.path().join("tile/entries/002"), |bytes| bytes.truncate(100));
    assert!(verify(dir.path(), &[]).is_err());
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!(log.checkpoint(), checkpoint);
    log.close().await;
    assert_eq!(verify(dir.path(), &[]).unwrap().size, 1_000);
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), 500).await;
    let older = tempfile::tempdir().unwrap();
    copy(dir.path(), older.path());
    let remembered = Some(promised(&make(dir.path(), 900).await));
    // A whole copy of the folder fits in itself: only who remembers notices.
    let error = refused(older.path(), Options { remembered, ..options() });
    let rollback = |by: KnownBy| matches!(&error, OpenError::Rollback { by: b, known: 900, found: 500 } if *b == by);
    assert!(rollback(KnownBy::Remembered), "{error}");
    assert!(error.hint().contains("older copy"));
    // With the newer checkpoint beside it, that is enough.
    fs::copy(dir.path().join("checkpoint"), older.path().join("checkpoint")).unwrap();
    let error = refused(older.path(), options());
    assert!(matches!(
        error,
        OpenError::Rollback { by: KnownBy::Checkpoint, known: 900, found: 500 }
    ));
    // And with the newer index.
    fs::remove_file(older.path().join("checkpoint")).unwrap();
    fs::copy(dir.path().join("index.db"), older.path().join("index.db")).unwrap();
    let error = refused(older.path(), options());
    assert!(matches!(error, OpenError::Rollback { by: KnownBy::Index, known: 900, found: 500 }));
    assert!(error.hint().contains("index.db"));
    fs::remove_file(older.path().join("index.db")).unwrap();
    Log::open(older.path(), options()).unwrap().close().await;
    // What is remembered from the middle of the log is fine.
    let log = Log::open(dir.path(), Options { remembered, ..options() }).unwrap();
    append(&log, 900..1_000).await;
    log.close().await;
    Log::open(dir.path(), Options { remembered, ..options() }).unwrap().close().await;
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn another_history_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let promised = promised(&make(dir.path(), 300).await);
    let other = tempfile::tempdir().unwrap();
    let log = Log::open(other.path(), options()).unwrap();
    append(&log, 1_000..1_400).await;
    log.close().await;
    let error = refused(other.path(), Options { remembered: Some(promised), ..options() });
    let (size, root) = promised;
    let fork = |error: &OpenError, by: KnownBy| {
        matches!(error, OpenError::Fork { by: b, size: s, known, .. }
            if *b == by && *s == size && *known == root)
    };
    assert!(fork(&error, KnownBy::Remembered), "{error}");
    assert!(error.hint().contains("evidence"));
    fs::copy(dir.path().join("checkpoint"), other.path().join("checkpoint")).unwrap();
    assert!(fork(&refused(other.path(), options()), KnownBy::Checkpoint));
    let none = Options { remembered: Some((0, hash_leaf(b"x"))), ..options() };
    assert!(matches!(refused(dir.path(), none), OpenError::Fork { size: 0, .. }));
}

/// An entry that was rewritten, checksum and all, is a fork, and the tiles say where it begins.
///
/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_entry_is_a_fork_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), 700).await;
    crate::tamper::rewrite_entry(dir.path(), 300);
    let error = refused(dir.path(), options());
    assert!(matches!(error, OpenError::Fork { first_changed: Some(300), .. }), "{error:?}");
    // The tiles are left as they were: they are the evidence.
    assert_eq!(verify(dir.path(), &[]).unwrap_err().index, Some(300));
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    make_with(dir.path(), 1_000, Options { segment_bytes: 20_000, ..options() }).await;
    let damaged = |change: &dyn Fn(&Path)| {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        fs::remove_file(copied.path().join("tiles-durable")).unwrap();
        change(copied.path());
        refused(copied.path(), options())
    };
    let segments: Vec<u64> = crate::tamper::segments(dir.path());
    let (second, last) = (segments[1], *segments.last().unwrap());
    let flip = |first: u64, number: u64| {
        move |dir: &Path| {
            change(&segment(dir, first), |bytes| {
                let at = find(bytes, format!("{{\"entry\":{number}}}").as_bytes());
                bytes[at] ^= 1;
            });
        }
    };
    let error = damaged(&flip(second, second + 3));
    let index = second + 3;
    assert!(matches!(&error, OpenError::Damaged { index: i, id: Some(_), .. } if *i == index));
    // The very last entry is promised: it is no torn write.
    let error = damaged(&flip(last, 999));
    assert!(matches!(&error, OpenError::Damaged { index: 999, .. }), "{error:?}");
    let error = damaged(&|dir| fs::remove_file(segment(dir, second)).unwrap());
    assert!(matches!(&error, OpenError::SegmentMissing { index } if *index == second));
    let error = damaged(&|dir| fs::remove_file(segment(dir, 0)).unwrap());
    assert!(matches!(&error, OpenError::SegmentMissing { index: 0 }));
    let error = damaged(&|dir| change(&segment(dir, second), |bytes| bytes[9] ^= 1));
    assert!(matches!(&error, OpenError::Damaged { index, .. } if *index == second), "{error:?}");
    let error = damaged(&|dir| {
        fs::copy(segment(dir, 0), segment(dir, second)).unwrap();
    });
    assert!(matches!(&error, OpenError::Damaged { index, .. } if *index == second), "{error:?}");
    let error = damaged(&|dir| fs::remove_dir_all(dir.join("segments")).unwrap());
    let found = matches!(error, OpenError::Rollback { known: 1_000, found: 0, .. });
    assert!(found, "{error:?}");
    let error = damaged(&|dir| change(&dir.join("checkpoint"), |bytes| bytes[20] ^= 1));
    assert!(matches!(error, OpenError::Checkpoint { .. }), "{error:?}");
}

/// With the mark kept, a start reads only what is new; lost segments are noticed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn tiles_without_their_segments_are_a_rollback() {
    let dir = tempfile::tempdir().unwrap();
    make_with(dir.path(), 1_000, Options { segment_bytes: 20_000, ..options() }).await;
    fs::remove_dir_all(dir.path().join("segments")).unwrap();
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let error = refused(dir.path(), options());
    assert!(matches!(error, OpenError::Rollback { by: KnownBy::Index, known: 1_000, found: 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_goes_on_where_the_former_ended() {
    let dir = tempfile::tempdir().unwrap();
    let before = make(dir.path(), 10).await;
    let signer = || std::sync::Arc::new(Signer::new(2));
    let error = refused(dir.path(), Options { signer: signer(), ..options() });
    assert!(matches!(error, OpenError::Checkpoint { .. }), "{error}");
    let previous_keys = vec![Signer::new(1).public_key()];
    let with = Options { signer: signer(), previous_keys, ..options() };
    make_with(dir.path(), 20, with).await;
    let new = VerifierKey::new(ORIGIN, KeyKind::Ed25519, Signer::new(2).public_key()).unwrap();
    let verified =
        log::verify_dir(dir.path(), ORIGIN, &[key(), new], &[before], crate::read_cut, |_| {})
            .unwrap();
    assert_eq!((verified.size, verified.checkpoints.len()), (20, 2));
}

/// A crash while a segment is made leaves a file without header: it is made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_was_never_finished_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), 100).await;
    for unfinished in [&b""[..], &[0; 5_000], b"aimslo"] {
        fs::write(segment(dir.path(), 100), unfinished).unwrap();
        let log = Log::open(dir.path(), options()).unwrap();
        check_all(&log, 100);
        log.close().await;
        fs::remove_file(segment(dir.path(), 100)).unwrap();
    }
    fs::write(segment(dir.path(), 100), [1; 5_000]).unwrap();
    let error = refused(dir.path(), options());
    assert!(matches!(error, OpenError::Damaged { index: 100, .. }), "{error:?}");
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).unwrap();
        }
    }
}
