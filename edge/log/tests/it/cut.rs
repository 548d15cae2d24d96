//! Cutting: what goes, what stays, what proves it, and what is found when it is forged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{AppendMode, Broken, CutError, Entry, Log, OpenError, Options, Plan, ReadError, Why};
use time::UnixTime;
use tlog::{ProofFile, hash_leaf};

use crate::append::Away;
use crate::kill::keep_short;
use crate::restart::copy;
use crate::tamper::{rewrite_entry, segments};
use crate::{ORIGIN, ROOT, Signer, append, entry, key, make_with, options, read_cut, verify};

pub(crate) fn small() -> Options {
    Options { segment_bytes: 20_000, ..options() }
}

/// The record of a cut; its id is like no other entry's.
pub(crate) fn record(plan: &Plan, salt: u64) -> Entry {
    let mut id = [0xcc; 16];
    id[8..].copy_from_slice(&salt.to_be_bytes());
    let bytes = format!("cut {} {}", plan.cut.minimum, plan.cut.root).into_bytes();
    Entry { id, bytes, terms: Vec::new(), time: UnixTime::from_seconds(1_000 + salt) }
}

/// Keeps entry `number` and what is younger; returns what was planned.
pub(crate) async fn cut(log: &Log, number: u64) -> Plan {
    // Only what a checkpoint covers is cut.
    log.inclusion_proof(log.size() - 1).unwrap();
    let plan = log.plan_cut(entry(number).time).unwrap().expect("something is old");
    let record = record(&plan, log.size());
    log.append(vec![record.clone()], AppendMode::Always).await.unwrap();
    log.cut(&plan, &record.id).unwrap();
    plan
}

fn bundle(dir: &Path, at: u64) -> PathBuf {
    dir.join(format!("tile/entries/{:03}", at / 256))
}

/// A closed log of 3,000 entries that was cut at about 2,000, and the checkpoints of before.
async fn make_cut(dir: &Path) -> (Plan, Vec<String>) {
    let mut kept = Vec::new();
    for size in [1, 700, 1_537, 3_000] {
        kept.push(make_with(dir, size, small()).await);
    }
    let log = Log::open(dir, small()).unwrap();
    let plan = cut(&log, 2_000).await;
    log.close().await;
    (plan, kept)
}

/// Everything that a log of 3,000 entries and one record says after the cut.
fn check_cut(log: &Log, minimum: u64) {
    assert_eq!((log.minimum(), log.size()), (minimum, 3_001));
    let mut next = minimum;
    while next < 3_000 {
        for stored in log.read(next..3_000).unwrap() {
            assert_eq!((stored.index, &stored.bytes), (next, &entry(next).bytes));
            assert_eq!(log.by_id(&stored.id).unwrap(), Some(next));
            next += 1;
        }
    }
    for at in [0, 1, 255, minimum - 1] {
        let error = log.read(at..at + 10).unwrap_err();
        let is_cut = |error: &ReadError| matches!(error, ReadError::Cut { index, minimum: m } if (*index, *m) == (at, minimum));
        assert!(is_cut(&error), "{error}");
        assert_eq!(log.by_id(&entry(at).id).unwrap(), None);
    }
    assert_eq!(log.by_term(ROOT, "root-3", 10, None).unwrap(), [0; 0]);
    assert_eq!(log.by_term(ROOT, "root-370", 10, None).unwrap().len(), 8);
    let since = log.tail_since(UnixTime::EPOCH).unwrap();
    let first = since.map(Result::unwrap).next().unwrap();
    assert_eq!(first.index, minimum);
    let since = log.tail_since(entry(2_900).time).unwrap();
    assert_eq!(since.map(Result::unwrap).count(), 101);
    assert_eq!(log.latest(4_096).unwrap().first().unwrap().index, minimum);
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    make_with(dir.path(), 3_000, small()).await;
    let before = segments(dir.path());
    let log = Log::open(dir.path(), small()).unwrap();
    assert_eq!((log.minimum(), log.last_cut()), (0, None));
    assert_eq!(log.plan_cut(entry(5).time).unwrap(), None, "less than a segment");
    let plan = cut(&log, 2_000).await;
    let minimum = plan.cut.minimum;
    assert!(minimum.is_multiple_of(256) && (1_024..=2_000).contains(&minimum), "{plan:?}");
    assert_eq!((plan.from, plan.times), (0, (entry(0).time, entry(minimum - 1).time)));
    assert_eq!(log.last_cut(), Some((plan.cut, 3_000)));
    check_cut(&log, minimum);
    // tlog-tiles, Pruning: bundles that end at or below the minimum index, and no others.
    for at in (0..3_000).step_by(256) {
        let kept = at >= minimum;
        assert_eq!(
            log.resource(&format!("tile/entries/{:03}", at / 256)).is_ok(),
            kept && at < 2_816
        );
        assert_eq!(bundle(dir.path(), at).exists(), kept && at < 2_816, "{at}");
    }
    assert!(log.resource("tile/entries/000.p/7").is_err());
    for kept in ["tile/0/000", "tile/0/001", "checkpoint"] {
        assert!(log.resource(kept).is_ok(), "{kept}");
    }
    let after = segments(dir.path());
    assert!(after[0] <= minimum && after[1] > minimum && after.len() < before.len(), "{after:?}");
    assert!(before.ends_with(&after[..after.len() - 1]) || before.ends_with(&after));
    assert_eq!(log.plan_cut(entry(2_000).time).unwrap(), None, "nothing more is old");
    // Of what is kept, and of what was cut for whoever kept a copy of it.
    for at in [0, minimum - 1, minimum, 2_999] {
        let proof = ProofFile::parse(log.inclusion_proof(at).unwrap().as_bytes()).unwrap();
        let included = proof.verify(&hash_leaf(&entry(at).bytes), ORIGIN, &[key()], &[]).unwrap();
        assert_eq!(included.index(), at);
    }
    log.close().await;
    let log = Log::open(dir.path(), small()).unwrap();
    check_cut(&log, minimum);
    log.close().await;
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_log_is_whole_and_fits_every_checkpoint_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let (plan, kept) = make_cut(dir.path()).await;
    let verified = verify(dir.path(), &kept).unwrap();
    let sizes: Vec<u64> = verified.checkpoints.iter().map(|(size, _)| *size).collect();
    assert_eq!((verified.size, sizes), (3_001, vec![3_001, 1, 700, 1_537, 3_000]));
    let recorded = verified.cut.unwrap();
    assert_eq!((recorded.cut, recorded.entry), (plan.cut, 3_000));
    assert_eq!(read_cut(&recorded.bytes), Some(plan.cut));
    // And one of another log does not fit, though it is about what is gone.
    let other = tempfile::tempdir().unwrap();
    let log = Log::open(other.path(), small()).unwrap();
    append(&log, 1..701).await;
    log.close().await;
    let foreign = fs::read_to_string(other.path().join("checkpoint")).unwrap();
    let broken = verify(dir.path(), &[foreign]).unwrap_err();
    assert!(matches!(*broken.why, Why::Root { size: 700, .. }), "{broken}");
    // It goes on, and is cut again; the second record stands for both.
    let log = Log::open(dir.path(), small()).unwrap();
    append(&log, 3_000..4_500).await;
    let second = cut(&log, 3_600).await;
    assert_eq!(second.from, plan.cut.minimum);
    assert!(second.cut.minimum > 3_001, "the first record is gone");
    assert_eq!(second.times.0, entry(second.from).time);
    log.close().await;
    assert_eq!(verify(dir.path(), &kept).unwrap().cut.unwrap().cut, second.cut);
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn what_is_derived_of_a_cut_log_is_made_again() {
    let source = tempfile::tempdir().unwrap();
    let (plan, kept) = make_cut(source.path()).await;
    let minimum = plan.cut.minimum;
    let derived: [&[&str]; 5] = [
        &["cut"],
        &["index.db", "index.db-wal", "index.db-shm"],
        &["tiles-durable"],
        &["tile/0/009", "tile/0/010", "tile/entries/009"],
        &["cut", "index.db", "tiles-durable", "tile/1"],
    ];
    for files in derived {
        let dir = tempfile::tempdir().unwrap();
        copy(source.path(), dir.path());
        for file in files {
            let path = dir.path().join(file);
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        let log = Log::open(dir.path(), small()).unwrap_or_else(|e| panic!("{files:?}: {e}"));
        check_cut(&log, minimum);
        assert_eq!(log.last_cut(), Some((plan.cut, 3_000)), "{files:?}");
        append(&log, 3_001..3_200).await;
        log.close().await;
        if !files.iter().any(|file| file.starts_with("tile/")) {
            verify(dir.path(), &kept).unwrap_or_else(|broken| panic!("{files:?}: {broken:?}"));
        }
    }
}

/// Copies a cut log, lets `tamper` change the copy; what opening and the check say.
fn tampered(source: &Path, tamper: impl FnOnce(&Path)) -> (OpenError, Broken) {
    let dir = tempfile::tempdir().unwrap();
    copy(source, dir.path());
    tamper(dir.path());
    let broken = verify(dir.path(), &[]).expect_err("the check must find it");
    let _ = fs::remove_file(dir.path().join("tiles-durable"));
    (Log::open(dir.path(), small()).err().expect("it must not open"), broken)
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_is_forged_or_goes_too_far_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (plan, _) = make_cut(dir.path()).await;
    let minimum = plan.cut.minimum;
    let first = segments(dir.path())[0];
    // One segment more than the record says.
    let (open, broken) = tampered(dir.path(), |dir| {
        fs::remove_file(dir.join(format!("segments/{first:020}.seg"))).unwrap();
    });
    assert!(matches!(open, OpenError::SegmentMissing { index } if index == minimum), "{open}");
    assert_eq!((broken.index, *broken.why), (Some(minimum), Why::SegmentMissing));
}

/// The same, where somebody tries to make it fit.
///
/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_promised_record_proves_a_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (plan, _) = make_cut(dir.path()).await;
    let minimum = plan.cut.minimum;
    let not_recorded = |at: u64, tamper: &dyn Fn(&Path)| {
        let (open, broken) = tampered(dir.path(), tamper);
        let told = matches!(open, OpenError::CutNotRecorded { minimum } if minimum == at);
        assert!(told, "{open:?}");
        assert_eq!(*broken.why, Why::CutNotRecorded { minimum: at });
    };
    let say = |dir: &Path, minimum: u64, entry: u64| {
        fs::write(dir.join("cut"), format!("{minimum}\n{}\n{entry}\n", plan.cut.root)).unwrap();
    };
    // The file says another cut than the record, names another entry, or one that is not there.
    not_recorded(minimum + 256, &|dir| say(dir, minimum + 256, 3_000));
    not_recorded(minimum, &|dir| say(dir, minimum, 2_990));
    not_recorded(minimum, &|dir| say(dir, minimum, 9_000));
    // A record that no checkpoint covers could be anybody's.
    let old = tempfile::tempdir().unwrap();
    make_with(old.path(), 3_000, small()).await;
    not_recorded(minimum, &|dir| {
        fs::copy(old.path().join("checkpoint"), dir.join("checkpoint")).unwrap();
    });
    // Without the file and without a record that counts, a beginning is just missing.
    let (open, broken) = tampered(dir.path(), |dir| {
        fs::copy(old.path().join("checkpoint"), dir.join("checkpoint")).unwrap();
        fs::remove_file(dir.join("cut")).unwrap();
    });
    assert!(matches!(open, OpenError::SegmentMissing { index: 0 }), "{open}");
    assert_eq!((broken.index, *broken.why), (Some(0), Why::SegmentMissing));
    // The hashes of what was cut cannot be made again.
    let (open, broken) =
        tampered(dir.path(), |dir| fs::remove_file(dir.join("tile/0/001")).unwrap());
    assert!(matches!(open, OpenError::CutHashes { minimum: at } if at == minimum), "{open}");
    assert_eq!((broken.index, *broken.why), (Some(256), Why::TileMissing));
    let (_, broken) = tampered(dir.path(), |dir| {
        let path = dir.join("tile/0/000");
        let mut bytes = fs::read(&path).unwrap();
        bytes[70] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    assert_eq!((broken.index, *broken.why), (Some(0), Why::TileChanged));
    // More bundles than the record says.
    let copied = tempfile::tempdir().unwrap();
    copy(dir.path(), copied.path());
    fs::remove_file(bundle(copied.path(), minimum)).unwrap();
    let broken = verify(copied.path(), &[]).unwrap_err();
    assert_eq!((broken.index, *broken.why), (Some(minimum), Why::BundleChanged));
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_evidence_and_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    make_with(dir.path(), 3_000, small()).await;
    rewrite_entry(dir.path(), 40);
    // With the mark kept, a start does not read so far back.
    let log = Log::open(dir.path(), small()).unwrap();
    let error = log.plan_cut(entry(2_000).time).unwrap_err();
    assert!(matches!(error, CutError::Changed { index: 40 }), "{error}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_needs_its_own_record() {
    let dir = tempfile::tempdir().unwrap();
    make_with(dir.path(), 3_000, small()).await;
    let log = Log::open(dir.path(), small()).unwrap();
    let plan = log.plan_cut(entry(2_000).time).unwrap().unwrap();
    let refused = |id: &[u8; 16]| log.cut(&plan, id).unwrap_err();
    assert!(matches!(refused(&[0xcc; 16]), CutError::NotRecorded), "no such entry");
    assert!(matches!(refused(&entry(2_990).id), CutError::NotRecorded), "no record of a cut");
    let less = log.plan_cut(entry(1_000).time).unwrap().unwrap();
    let other = record(&less, 1);
    log.append(vec![other.clone()], AppendMode::Always).await.unwrap();
    assert!(matches!(refused(&other.id), CutError::NotRecorded), "of another cut");
    assert_eq!((log.minimum(), dir.path().join("cut").exists()), (0, false));
    log.cut(&less, &other.id).unwrap();
    let minimum = less.cut.minimum;
    let moved = refused(&other.id);
    assert!(matches!(moved, CutError::Moved { minimum: m } if m == minimum), "{moved}");
    log.close().await;
}

/// The segment that is written to stays, however old it is; and so does what no checkpoint covers.
#[tokio::test(flavor = "multi_thread")]
async fn the_open_segment_is_never_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    append(&log, 0..1_000).await;
    log.inclusion_proof(999).unwrap();
    assert_eq!(segments(dir.path()), [0]);
    assert_eq!(log.plan_cut(UnixTime::from_seconds(1_000_000)).unwrap(), None);
    log.close().await;
    let log = Log::open(dir.path(), small()).unwrap();
    append(&log, 1_000..1_400).await;
    log.inclusion_proof(1_399).unwrap();
    let plan = log.plan_cut(UnixTime::from_seconds(1_000_000)).unwrap().unwrap();
    let open = *segments(dir.path()).last().unwrap();
    assert!(plan.cut.minimum <= open, "{plan:?}");
    log.close().await;
}

/// While no checkpoint covers the record of a cut, anybody could have written it: nothing goes.
///
/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cut_before_the_record_is_promised() {
    let dir = tempfile::tempdir().unwrap();
    make_with(dir.path(), 3_000, small()).await;
    let before = segments(dir.path());
    let away = Arc::new(AtomicBool::new(false));
    let signer = Arc::new(Away(Arc::clone(&away), Signer::new(1)));
    let log = Log::open(dir.path(), Options { signer, ..small() }).unwrap();
    away.store(true, Ordering::SeqCst);
    let plan = log.plan_cut(entry(2_000).time).unwrap().unwrap();
    let record = record(&plan, 3_000);
    log.append(vec![record.clone()], AppendMode::Always).await.unwrap();
    let error = log.cut(&plan, &record.id).unwrap_err();
    assert!(matches!(error, CutError::NotPromised { entry: 3_000 }), "{error}");
    assert!(log.minimum() == 0 && segments(dir.path()).starts_with(&before));
    assert!(!dir.path().join("cut").exists());
    away.store(false, Ordering::SeqCst);
    log.cut(&plan, &record.id).unwrap();
    check_cut(&log, plan.cut.minimum);
    log.close().await;
}

/// Whoever reads or verifies a log while it is cut finds it whole, or is told what is gone.
///
/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_cut_under_the_eyes_of_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    let cutting = tokio::spawn(keep_short(log.clone()));
    let writing = log.clone();
    let producer = tokio::spawn(async move { append(&writing, 0..12_000).await });
    let mut kept = Vec::new();
    while !producer.is_finished() {
        verify(dir.path(), &kept).unwrap_or_else(|broken| panic!("{broken:?}"));
        kept.push(log.checkpoint());
        for at in [log.minimum(), log.minimum().saturating_sub(300)] {
            match log.read(at..at + 500) {
                Ok(read) => assert!(read.iter().zip(at..).all(|(read, at)| read.index == at)),
                Err(error) => assert!(matches!(error, ReadError::Cut { .. }), "{error}"),
            }
        }
        log.by_term(ROOT, "root-3", 10, None).unwrap();
    }
    producer.await.unwrap();
    cutting.abort();
    let _ = cutting.await;
    assert!(log.minimum() > 0 && kept.len() > 2, "{} {}", log.minimum(), kept.len());
    log.close().await;
}
