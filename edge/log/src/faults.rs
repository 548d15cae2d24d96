//! A disk that fails, and what the log then does.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use time::{Span, UnixTime};
use tlog::note::{KeyKind, VerifierKey};

use crate::disk::{Disk, RealDisk};
use crate::entry::Term;
use crate::{
    AppendError, AppendMode, Cut, CutError, Entry, Log, NoteSigner, Options, SEGMENT_BYTES,
    SignError, Verified, verify_dir,
};

const ORIGIN: &str = "log.example/faults";

/// What the next operations do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A sync fails, and nothing since the last one is on the disk.
    SyncNotWritten,
    /// A sync fails, and everything is on the disk.
    SyncWritten,
    /// There is no room for another byte.
    Full,
    /// Small files cannot be replaced.
    NoReplace,
    /// A sync does not return.
    Stuck,
    /// The process ends: so many more operations are done, then none; the first that fails was
    /// done, if so said.
    Ends {
        after: usize,
        done: bool,
    },
}

struct Write {
    file: File,
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
}

struct FaultyDisk {
    fault: Mutex<Fault>,
    changed: Condvar,
    unsynced: Mutex<Vec<Write>>,
}

impl FaultyDisk {
    fn new() -> Arc<Self> {
        let (fault, unsynced) = (Mutex::new(Fault::None), Mutex::new(Vec::new()));
        Arc::new(Self { fault, changed: Condvar::new(), unsynced })
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        self.changed.notify_all();
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    /// Does an operation, unless the process has ended.
    fn step<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut fault = self.fault.lock().unwrap();
        let Fault::Ends { after, done } = &mut *fault else {
            drop(fault);
            return operation();
        };
        if *after > 0 {
            *after -= 1;
            return operation();
        }
        if std::mem::take(done) {
            operation()?;
        }
        Err(io::Error::other("the process ended"))
    }

    /// The power fails: of each write since the last sync, only the bytes that `kept` names
    /// reached the disk.
    fn lose_power(&self, kept: impl Fn(usize) -> bool) {
        for write in self.unsynced.lock().unwrap().drain(..).rev() {
            let mixed = write.before.iter().zip(&write.after).enumerate();
            let bytes: Vec<u8> =
                mixed.map(|(at, (before, after))| *if kept(at) { after } else { before }).collect();
            write.file.write_all_at(&bytes, write.offset).unwrap();
        }
    }

    /// Bytes that were written since the last sync.
    fn unsynced_bytes(&self) -> usize {
        self.unsynced.lock().unwrap().iter().map(|write| write.after.len()).sum()
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        RealDisk.create(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.fault() == Fault::Full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let mut before = vec![0; bytes.len()];
        let mut read = 0;
        while let Ok(more @ 1..) = file.read_at(&mut before[read..], offset + read as u64) {
            read += more;
        }
        let (file, after) = (file.try_clone()?, bytes.to_vec());
        RealDisk.write_at(&file, bytes, offset)?;
        self.unsynced.lock().unwrap().push(Write { file, offset, before, after });
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut fault = self.fault.lock().unwrap();
        while *fault == Fault::Stuck {
            fault = self.changed.wait(fault).unwrap();
        }
        let (lost, written) = (*fault == Fault::SyncNotWritten, *fault == Fault::SyncWritten);
        drop(fault);
        if lost {
            // What is lost is for the test to say, by `lose_power`.
            return Err(io::Error::other("injected"));
        }
        let inode = file.metadata()?.ino();
        let other = |write: &Write| write.file.metadata().unwrap().ino() != inode;
        self.unsynced.lock().unwrap().retain(other);
        if written { Err(io::Error::other("injected")) } else { self.step(|| Ok(())) }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDisk.sync_dir(path))
    }

    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
        match self.fault() {
            Fault::NoReplace => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => self.step(|| RealDisk.replace(path, bytes, durable)),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDisk.remove(path))
    }
}

struct Signer(Ed25519KeyPair);

impl NoteSigner for Signer {
    fn name(&self) -> &str {
        ORIGIN
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }
}

fn options() -> Options {
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    Options {
        origin: ORIGIN.to_owned(),
        segment_bytes: 64 * 1024,
        checkpoint_every: Span::from_millis(20),
        signer: Arc::new(Signer(key)),
        previous_keys: Vec::new(),
        remembered: None,
        read_cut,
    }
}

/// The record of a cut, as these tests write it: the minimum index and the root.
fn read_cut(bytes: &[u8]) -> Option<Cut> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix("cut ")?;
    let (minimum, root) = text.split_once(' ')?;
    Some(Cut { minimum: minimum.parse().ok()?, root: tlog::Hash::parse(root).ok()? })
}

fn verified(dir: &Path) -> Verified {
    let signer = options().signer;
    let key = VerifierKey::new(ORIGIN, KeyKind::Ed25519, signer.public_key()).unwrap();
    verify_dir(dir, ORIGIN, &[key], &[], read_cut, |_| {}).unwrap()
}

fn entry(number: u8) -> Entry {
    let bytes = format!("entry {number}").into_bytes();
    Entry { id: [number; 16], bytes, terms: Vec::new(), time: UnixTime::EPOCH }
}

async fn append(log: &Log, numbers: std::ops::Range<u8>) -> Result<Vec<u64>, AppendError> {
    log.append(numbers.map(entry).collect(), AppendMode::Always).await
}

/// Entries of the log, as the numbers they were made from; each must be whole.
fn numbers(log: &Log) -> Vec<u8> {
    let stored = log.read(0..1_000).unwrap();
    for (at, stored) in stored.iter().enumerate() {
        assert_eq!((stored.index, &stored.bytes), (at as u64, &entry(stored.id[0]).bytes));
    }
    stored.iter().map(|stored| stored.id[0]).collect()
}

/// A log with two entries, and two more whose sync failed.
async fn with_failed_sync(dir: &Path, fault: Fault) -> Arc<FaultyDisk> {
    let disk = FaultyDisk::new();
    let log = Log::open_on(dir, options(), Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    assert_eq!(append(&log, 0..2).await, Ok(vec![0, 1]));
    disk.set(fault);
    let stopped = AppendError::Stopped { reason: "could not write entries: injected".to_owned() };
    assert_eq!(append(&log, 2..4).await, Err(stopped.clone()));
    disk.set(Fault::None);
    // It never tries again, even where a second sync would seem to succeed.
    assert_eq!(append(&log, 4..5).await, Err(stopped));
    assert_eq!((log.size(), numbers(&log)), (2, vec![0, 1]));
    log.close().await;
    disk
}

/// req: OBS-05 (part)
#[tokio::test]
async fn a_failed_sync_that_did_not_write_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let disk = with_failed_sync(dir.path(), Fault::SyncNotWritten).await;
    disk.lose_power(|_| false);
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!(numbers(&log), [0, 1]);
    assert_eq!(append(&log, 7..8).await, Ok(vec![2]));
    log.close().await;
    assert_eq!(verified(dir.path()).size, 3);
}

/// req: OBS-05 (part)
#[tokio::test]
async fn a_failed_sync_that_did_write_is_found_by_its_ids() {
    let dir = tempfile::tempdir().unwrap();
    let disk = with_failed_sync(dir.path(), Fault::SyncWritten).await;
    assert_eq!(disk.unsynced_bytes(), 0);
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!(numbers(&log), [0, 1, 2, 3]);
    let again = log.append(vec![entry(3), entry(2), entry(9)], AppendMode::Once).await;
    assert_eq!(again, Ok(vec![3, 2, 4]));
    log.close().await;
    assert_eq!(verified(dir.path()).size, 5);
}

/// What a batch that lost its sync leaves on the disk, whatever of it, does not hurt, and the log
/// goes on (which is tried when asked for: it takes a while).
async fn check_torn(source: &Path, goes_on: bool, lose: impl Fn(&Path)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    copy(source, dir.path());
    lose(dir.path());
    let log = Log::open(dir.path(), options()).unwrap();
    let found = numbers(&log);
    assert!(found.starts_with(&[0, 1]) && found.len() <= 4, "{found:?}");
    if !goes_on {
        log.close().await;
        return found;
    }
    let next = u64::try_from(found.len()).unwrap();
    assert_eq!(append(&log, 8..10).await, Ok(vec![next, next + 1]));
    log.close().await;
    let after = verified(dir.path());
    assert_eq!((after.size, after.torn), (next + 2, false));
    found
}

fn copy(from: &Path, to: &Path) {
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

/// req: OBS-05 (part)
#[tokio::test]
async fn a_write_torn_at_any_byte_is_cut() {
    let source = tempfile::tempdir().unwrap();
    let disk = with_failed_sync(source.path(), Fault::SyncNotWritten).await;
    let length = disk.unsynced_bytes();
    let offset = disk.unsynced.lock().unwrap()[0].offset;
    let segment = |dir: &Path| {
        let file = crate::segment::path(dir, 0);
        File::options().write(true).open(file).unwrap()
    };
    // Copies need no zeros.
    segment(source.path()).set_len(offset + length as u64 + 1_000).unwrap();
    for kept in 0..length {
        let zeros = vec![0; length - kept];
        let lose = |dir: &Path| segment(dir).write_all_at(&zeros, offset + kept as u64).unwrap();
        let found = check_torn(source.path(), kept % 16 == 0, lose).await;
        assert_eq!(found.len(), 2 + kept / (length / 2), "{kept} of {length} bytes");
    }
    // The pages of one write reach the disk in any order: the first frame is lost, the second not.
    let zeros = vec![0; length / 2];
    let lose = |dir: &Path| segment(dir).write_all_at(&zeros, offset).unwrap();
    assert_eq!(check_torn(source.path(), true, lose).await, [0, 1]);
}

/// req: OBS-05 (part)
#[tokio::test]
async fn a_full_disk_stops_the_log_before_it_says_yes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let log = Log::open_on(dir.path(), options(), Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    append(&log, 0..1).await.unwrap();
    disk.set(Fault::Full);
    let refused = append(&log, 1..2).await.unwrap_err();
    assert!(matches!(refused, AppendError::Stopped { .. }), "{refused:?}");
    disk.set(Fault::None);
    assert_eq!(append(&log, 1..2).await, Err(refused));
    assert_eq!(numbers(&log), [0]);
    log.close().await;
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!(append(&log, 1..2).await, Ok(vec![1]));
    log.close().await;
}

/// req: OBS-05 (part)
#[tokio::test]
async fn a_checkpoint_that_cannot_be_kept_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let log = Log::open_on(dir.path(), options(), Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    let before = log.checkpoint();
    disk.set(Fault::NoReplace);
    append(&log, 0..1).await.unwrap();
    let proof = log.inclusion_proof(0).unwrap_err();
    assert_eq!(proof.to_string(), "no checkpoint covers entry 0 yet");
    assert_eq!(log.checkpoint(), before);
    let refused = append(&log, 1..2).await.unwrap_err();
    assert!(matches!(refused, AppendError::Stopped { .. }), "{refused:?}");
    log.close().await;
    disk.set(Fault::None);
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!((numbers(&log), log.promised().0), (vec![0], 1));
    log.close().await;
}

/// req: OBS-05 (part)
#[tokio::test]
async fn a_log_that_cannot_keep_up_says_so_and_holds_no_more_than_its_queue() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let options = Options { segment_bytes: SEGMENT_BYTES, ..options() };
    let log = Log::open_on(dir.path(), options, Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    disk.set(Fault::Stuck);
    let large = || {
        let entry = Entry { bytes: vec![b'x'; 65_535], ..entry(0) };
        vec![entry; 60]
    };
    let mut waiting = Vec::new();
    for _ in 0..17 {
        let log = log.clone();
        let entries = large();
        waiting.push(tokio::spawn(async move { log.append(entries, AppendMode::Always).await }));
        tokio::task::yield_now().await;
    }
    assert_eq!(log.append(large(), AppendMode::Always).await, Err(AppendError::Busy));
    disk.set(Fault::None);
    let mut accepted = 0;
    for append in waiting {
        accepted += append.await.unwrap().map_or(0, |indices| indices.len() as u64);
    }
    assert_eq!(accepted, log.size());
    assert!(accepted >= 16 * 60, "{accepted}");
    log.close().await;
}

/// Entries of the log of the test below.
const LONG: u64 = 1_000;

fn long_entry(number: u64) -> Entry {
    let mut id = [1; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    let (time, terms) = (UnixTime::from_seconds(number), vec![(Term("root"), "r".to_owned())]);
    Entry { id, bytes: format!("entry {number}").into_bytes(), terms, time }
}

/// Cuts at entry 800, on a disk that fails as said once the record of it is durable.
async fn cut_on(dir: &Path, disk: &Arc<FaultyDisk>, fault: Fault) -> (u64, Result<(), CutError>) {
    let options = Options { segment_bytes: 8_000, ..options() };
    let log = Log::open_on(dir, options, Arc::clone(disk) as Arc<dyn Disk>).unwrap();
    let plan = log.plan_cut(UnixTime::from_seconds(800)).unwrap().unwrap();
    let bytes = format!("cut {} {}", plan.cut.minimum, plan.cut.root).into_bytes();
    let record = Entry { bytes, terms: Vec::new(), ..long_entry(log.size() + LONG) };
    let at = log.append(vec![record.clone()], AppendMode::Always).await.unwrap();
    // Nothing else is written from here on.
    log.inclusion_proof(at[0]).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    disk.set(fault);
    let result = log.cut(&plan, &record.id);
    log.close().await;
    (plan.cut.minimum, result)
}

/// What is there of a log that was perhaps cut: all, or all from the minimum index on and nothing
/// below. Whether it was cut.
async fn check_perhaps_cut(dir: &Path, minimum: u64) -> bool {
    let options = Options { segment_bytes: 8_000, ..options() };
    let log = Log::open(dir, options).unwrap();
    let found = log.minimum();
    assert!(found == 0 || found == minimum, "{found}");
    for number in 0..LONG {
        let at = log.core.readers.by_id(&long_entry(number).id).unwrap();
        assert_eq!(at, (number >= found).then_some(number), "rows are removed");
        if let Some(at) = at {
            let read = log.read(at..at + 1).unwrap();
            assert_eq!(read[0].bytes, long_entry(number).bytes, "{number}");
        }
    }
    let rows = log.core.readers.by_term(("root", "r"), (0, u64::MAX), 2_000).unwrap();
    assert_eq!(rows, (found..LONG).collect::<Vec<_>>());
    assert_eq!(log.core.readers.place(0).unwrap().is_some(), found == 0);
    let segments = crate::segment::list(dir).unwrap();
    let below = segments.iter().filter(|first| **first <= found).count();
    assert_eq!(below, 1, "what is cut is gone: {segments:?}");
    for bundle in 0..LONG / 256 {
        let path = dir.join(format!("tile/entries/{bundle:03}"));
        assert_eq!(path.exists(), (bundle + 1) * 256 > found, "{bundle}");
    }
    log.close().await;
    found > 0
}

/// Wherever the process ends while it cuts: the log opens again, has all that is not cut, and the
/// cut is either finished or forgotten.
///
/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_ends_anywhere_is_finished_or_forgotten() {
    let source = tempfile::tempdir().unwrap();
    let log = Log::open(source.path(), Options { segment_bytes: 8_000, ..options() }).unwrap();
    for number in 0..LONG {
        log.append(vec![long_entry(number)], AppendMode::Always).await.unwrap();
    }
    log.close().await;
    let (mut forgotten, mut finished) = (0, 0);
    for step in 0.. {
        let dir = tempfile::tempdir().unwrap();
        copy(source.path(), dir.path());
        let (after, done) = (step / 2, step % 2 == 1);
        let disk = FaultyDisk::new();
        let (minimum, result) = cut_on(dir.path(), &disk, Fault::Ends { after, done }).await;
        assert_eq!(minimum, 512);
        // The folder as it was left is whole; and so is what is made of it.
        let left = verified(dir.path());
        assert_eq!((left.size, left.torn), (LONG + 1, false));
        let cut = check_perhaps_cut(dir.path(), minimum).await;
        assert_eq!(left.cut.is_some(), cut, "step {step}");
        assert_eq!(verified(dir.path()).cut.is_some(), cut);
        if result.is_ok() {
            assert!(cut && forgotten >= 6 && finished >= 6, "{forgotten} {finished}");
            break;
        }
        if cut {
            finished += 1;
            continue;
        }
        forgotten += 1;
        // What was forgotten is done the next time.
        cut_on(dir.path(), &FaultyDisk::new(), Fault::None).await.1.unwrap();
        assert!(check_perhaps_cut(dir.path(), minimum).await);
    }
}
