//! What someone with write access to the folder may try, and what the check says.

use std::fs;
use std::path::{Path, PathBuf};

use log::{Broken, Log, Options, Why};

use crate::restart::copy;
use crate::{append, entry, make, make_with, options, verify};

const HEADER_BYTES: usize = 16;

pub(crate) fn segments(dir: &Path) -> Vec<u64> {
    let files = fs::read_dir(dir.join("segments")).unwrap();
    let name = |file: fs::DirEntry| file.file_name().into_string().unwrap();
    let mut segments: Vec<u64> = files
        .map(|file| name(file.unwrap()).strip_suffix(".seg").unwrap().parse().unwrap())
        .collect();
    segments.sort_unstable();
    segments
}

/// The frames of a segment by offset and length, read from its documented form.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    while at + 8 <= bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if length == 0 {
            break;
        }
        frames.push((at, 8 + length));
        at += 8 + length;
    }
    frames
}

fn seal(segment: &mut [u8], (at, length): (usize, usize)) {
    let salt = u32::from_le_bytes(segment[8..12].try_into().unwrap());
    let checksum = crc32c::crc32c_append(salt, &segment[at..at + 4]);
    let checksum = crc32c::crc32c_append(checksum, &segment[at + 8..at + length]);
    segment[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Changes the contents of an entry in the first segment and sets its checksum right.
pub(crate) fn rewrite_entry(dir: &Path, index: usize) {
    let file = dir.join("segments/00000000000000000000.seg");
    let mut bytes = fs::read(&file).unwrap();
    let frame = frames(&bytes)[index];
    bytes[frame.0 + frame.1 - 2] ^= 1;
    seal(&mut bytes, frame);
    fs::write(file, bytes).unwrap();
}

fn change(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Copies the log, lets `tamper` change the copy, and returns what the check says.
fn check(source: &Path, kept: &[String], tamper: impl FnOnce(&Path)) -> Broken {
    let dir = tempfile::tempdir().unwrap();
    copy(source, dir.path());
    tamper(dir.path());
    verify(dir.path(), kept).expect_err("must be found")
}

fn first_segment(dir: &Path) -> PathBuf {
    dir.join("segments/00000000000000000000.seg")
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn one_changed_byte_names_the_entry() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), 40).await;
    let bytes = fs::read(first_segment(dir.path())).unwrap();
    let frames = frames(&bytes);
    assert_eq!(frames.len(), 40);
    let end = frames[39].0 + frames[39].1;
    // Every byte of some frames, and of the others here and there.
    let changed = |at: usize| {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs::write(first_segment(dir.path()), changed).unwrap();
        verify(dir.path(), &[]).expect_err("must be found")
    };
    // Every byte of some frames, and of the others here and there.
    for at in (HEADER_BYTES..end).filter(|at| *at < 600 || at % 37 == 0 || end - at < 200) {
        let index = frames.iter().position(|(start, length)| at < start + length).unwrap();
        let broken = changed(at);
        let why = format!("byte {at}: {broken:?}");
        assert_eq!((broken.index, *broken.why), (Some(index as u64), Why::Damaged), "{why}");
        // Unless the change is in the index or the id, the id is read.
        let place = at - frames[index].0;
        if !(8..16).contains(&place) && !(20..36).contains(&place) {
            assert_eq!(broken.id, Some(entry(index as u64).id), "{why}");
        }
    }
    for at in 0..HEADER_BYTES {
        let broken = changed(at);
        assert_eq!((broken.index, *broken.why), (Some(0), Why::Damaged));
    }
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_tampering_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let kept = make(dir.path(), 300).await;
    let check = |tamper: &dyn Fn(&Path)| {
        let broken = check(dir.path(), &[], tamper);
        (broken.index, *broken.why)
    };
    let tile = |name: &'static str, at: usize| {
        move |dir: &Path| change(dir.join(name), |bytes| bytes[at] ^= 1)
    };
    // The entry, with a checksum that fits.
    for index in [0, 255, 256, 299] {
        let found = check(&|dir| rewrite_entry(dir, index));
        assert_eq!(found, (Some(index as u64), Why::EntryChanged));
    }
    // A tile, a bundle, a tile above.
    assert_eq!(check(&tile("tile/0/000", 32 * 7 + 5)), (Some(7), Why::TileChanged));
    assert_eq!(check(&tile("tile/0/001.p/44", 32 * 43)), (Some(299), Why::TileChanged));
    assert_eq!(check(&tile("tile/1/000.p/1", 3)), (Some(0), Why::TileChanged));
    assert_eq!(check(&tile("tile/entries/000", 3)), (Some(0), Why::BundleChanged));
    let long = |dir: &Path| change(dir.join("tile/entries/000"), |bytes| bytes.push(0));
    assert_eq!(check(&long), (Some(255), Why::BundleChanged));
    let remove = |name: &'static str| move |dir: &Path| fs::remove_file(dir.join(name)).unwrap();
    assert_eq!(check(&remove("tile/0/000")), (Some(0), Why::TileMissing));
    assert_eq!(check(&remove("tile/0/001.p/44")), (Some(256), Why::TileMissing));
    assert_eq!(check(&remove("tile/1/000.p/1")), (Some(0), Why::TileMissing));
    assert_eq!(check(&remove("tile/entries/001.p/44")), (Some(256), Why::BundleChanged));
    let cut = |dir: &Path| change(dir.join("tile/0/000"), |bytes| bytes.truncate(8_000));
    assert_eq!(check(&cut), (Some(0), Why::TileMissing));
    // The checkpoint: its size, its signature, its absence.
    let (_, why) = check(&tile("checkpoint", 18));
    assert!(matches!(why, Why::Checkpoint(_)), "{why:?}");
    let (_, why) = check(&|dir| {
        let last = kept.len() - 5;
        change(dir.join("checkpoint"), |bytes| bytes[last] ^= 1);
    });
    assert!(matches!(why, Why::Checkpoint(_)), "{why:?}");
    assert_eq!(check(&remove("checkpoint")), (None, Why::NoCheckpoint));
    // Entries: swapped, repeated, taken out, cut off.
    let swap = |dir: &Path| {
        change(first_segment(dir), |bytes| {
            let frames = frames(bytes);
            let part = |(at, length): (usize, usize)| bytes[at..at + length].to_vec();
            let swapped = [part(frames[11]), part(frames[10])].concat();
            let at = frames[10].0;
            bytes[at..at + swapped.len()].copy_from_slice(&swapped);
        });
    };
    assert_eq!(check(&swap), (Some(10), Why::Misplaced { found: 11 }));
    let take_out = |dir: &Path| {
        change(first_segment(dir), |bytes| {
            let (at, length) = frames(bytes)[20];
            bytes.drain(at..at + length);
        });
    };
    assert_eq!(check(&take_out), (Some(20), Why::Misplaced { found: 21 }));
    let truncate = |dir: &Path| {
        change(first_segment(dir), |bytes| {
            let at = frames(bytes)[290].0;
            bytes.truncate(at);
        });
    };
    assert_eq!(check(&truncate), (Some(290), Why::Truncated { promised: 300, found: 290 }));
    let no_segment = |dir: &Path| fs::remove_file(first_segment(dir)).unwrap();
    assert_eq!(check(&no_segment), (Some(0), Why::Truncated { promised: 300, found: 0 }));
    let no_folder = |dir: &Path| fs::remove_dir_all(dir.join("segments")).unwrap();
    assert!(matches!(check(&no_folder), (None, Why::Unreadable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    make_with(dir.path(), 1_000, Options { segment_bytes: 20_000, ..options() }).await;
    let second = segments(dir.path())[1];
    let file = format!("segments/{second:020}.seg");
    let broken = check(dir.path(), &[], |dir| fs::remove_file(dir.join(file)).unwrap());
    assert_eq!((broken.index, *broken.why), (Some(second), Why::SegmentMissing));
}

/// The whole folder made again by someone who has the key: only a checkpoint kept elsewhere tells.
///
/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_kept_elsewhere_finds_rollback_and_fork() {
    let dir = tempfile::tempdir().unwrap();
    let first = make(dir.path(), 100).await;
    let second = make(dir.path(), 400).await;
    let kept = [first.clone(), second];
    let verified = verify(dir.path(), &kept).unwrap();
    let sizes: Vec<u64> = verified.checkpoints.iter().map(|(size, _)| *size).collect();
    assert_eq!(sizes, [400, 100, 400]);
    let older = tempfile::tempdir().unwrap();
    make(older.path(), 200).await;
    assert_eq!(verify(older.path(), &kept[..1]).unwrap().size, 200);
    let broken = verify(older.path(), &kept).unwrap_err();
    assert_eq!(*broken.why, Why::Truncated { promised: 400, found: 200 });
    let other = tempfile::tempdir().unwrap();
    let log = Log::open(other.path(), options()).unwrap();
    append(&log, 1..500).await;
    log.close().await;
    let broken = verify(other.path(), &[first]).unwrap_err();
    assert!(matches!(*broken.why, Why::Root { size: 100, .. }), "{broken}");
    let broken = verify(other.path(), &["no note".to_owned()]).unwrap_err();
    assert!(matches!(*broken.why, Why::Checkpoint(_)), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_and_an_empty_log_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), 0).await;
    assert_eq!(verify(dir.path(), &[]).unwrap().size, 0);
    make(dir.path(), 600).await;
    let mut told = Vec::new();
    let key = [crate::key()];
    log::verify_dir(dir.path(), crate::ORIGIN, &key, &[], crate::read_cut, |p| {
        told.push((p.entries, p.of))
    })
    .unwrap();
    assert_eq!(told, [(0, 600), (256, 600), (512, 600)]);
}
