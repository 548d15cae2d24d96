use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{
    AppendError, AppendMode, Cache, Entry, Log, NotFound, NoteSigner, OpenError, Options,
    ReadError, Resource, SignError, Term,
};
use time::{Span, UnixTime};
use tlog::note::VerifierKey;
use tlog::{ProofFile, hash_leaf};

use crate::{ORIGIN, ROOT, Signer, append, check_all, entry, key, options, verify};

async fn once(log: &Log, entries: &[Entry]) -> Result<Vec<u64>, AppendError> {
    log.append(entries.to_vec(), AppendMode::Once).await
}

/// req: OBS-01 (part), OBS-05 (part)
#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_found_at_once_by_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    for number in 0..300 {
        assert_eq!(append(&log, number..number + 1).await, [number]);
        let all: Vec<u64> = (number / 8 * 8..=number).collect();
        let root = format!("root-{}", number / 8);
        assert_eq!(log.by_term(ROOT, &root, 100, None).unwrap(), all);
        assert_eq!(log.by_id(&entry(number).id).unwrap(), Some(number));
        assert_eq!(log.latest(1).unwrap()[0].bytes, entry(number).bytes);
    }
    check_all(&log, 300);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_paged_and_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    append(&log, 0..3_000).await;
    let agent = Term("agent");
    let expect: Vec<u64> = (0..3_000).filter(|number| number % 3 == 1).collect();
    assert_eq!(log.by_term(agent, "agent-1", 10_000, None).unwrap(), expect);
    assert_eq!(log.by_term(agent, "agent-1", 2, Some(1)).unwrap(), [4, 7]);
    assert_eq!(log.by_term(agent, "agent-1", 2, Some(2_996)).unwrap(), [2_998]);
    assert_eq!(log.by_term(agent, "agent-1", 2, Some(u64::MAX)).unwrap(), [0; 0]);
    assert_eq!(log.by_term(agent, "agent-9", 2, None).unwrap(), [0; 0]);
    assert_eq!(log.by_term(ROOT, "agent-1", 2, None).unwrap(), [0; 0]);
    assert_eq!(log.by_id(&[0xff; 16]).unwrap(), None);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_instants_are_read_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 20_000, ..options() };
    let log = Log::open(dir.path(), options).unwrap();
    append(&log, 0..1_000).await;
    assert!(std::fs::read_dir(dir.path().join("segments")).unwrap().count() > 3);
    check_all(&log, 1_000);
    let indices = |read: Vec<log::Stored>| read.iter().map(|s| s.index).collect::<Vec<_>>();
    assert_eq!(indices(log.read(998..5_000).unwrap()), [998, 999]);
    assert_eq!(indices(log.read(5_000..6_000).unwrap()), [0; 0]);
    assert_eq!(indices(log.latest(2).unwrap()), [998, 999]);
    assert_eq!(log.latest(u64::MAX).unwrap().len(), 1_000);
    for since in [0, 1, 500, 999, 1_000] {
        let time = UnixTime::from_seconds(1_000 + since);
        let found: Result<Vec<_>, _> = log.tail_since(time).unwrap().collect();
        assert_eq!(indices(found.unwrap()), (since..1_000).collect::<Vec<_>>(), "{since}");
    }
    log.close().await;
    assert_eq!(verify(dir.path(), &[]).unwrap().size, 1_000);
}

/// A clock that goes back does not hide entries.
#[tokio::test]
async fn instants_need_not_ascend() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    for (number, seconds) in [50, 10, 90, 20, 60].into_iter().enumerate() {
        let time = UnixTime::from_seconds(seconds);
        let entry = Entry { time, ..entry(number as u64) };
        log.append(vec![entry], AppendMode::Always).await.unwrap();
    }
    let found = log.tail_since(UnixTime::from_seconds(50)).unwrap();
    let found: Vec<u64> = found.map(|stored| stored.unwrap().index).collect();
    assert_eq!(found, [0, 2, 4]);
    log.close().await;
}

/// req: OBS-05 (part)
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_may_repeat_itself() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!(once(&log, &[entry(0), entry(1)]).await, Ok(vec![0, 1]));
    assert_eq!(once(&log, &[entry(1), entry(2), entry(2), entry(0)]).await, Ok(vec![1, 2, 2, 0]));
    // From the index too, and after a restart.
    append(&log, 3..2_000).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(once(&log, &[entry(1_000), entry(7)]).await, Ok(vec![1_000, 7]));
    log.close().await;
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!(once(&log, &[entry(1), entry(2_000)]).await, Ok(vec![1, 2_000]));
    // An id names one entry: with other contents all of the append is refused.
    let other = Entry { bytes: b"other".to_vec(), ..entry(5) };
    let taken = Err(AppendError::IdTaken { index: 5 });
    assert_eq!(once(&log, &[entry(3_000), other.clone()]).await, taken);
    let twice = [entry(4_000), Entry { bytes: b"other".to_vec(), ..entry(4_000) }];
    assert_eq!(once(&log, &twice).await, Err(AppendError::IdTaken { index: 2_001 }));
    assert_eq!(log.size(), 2_001);
    // Where nobody looks, the entry is written.
    assert_eq!(log.append(vec![other], AppendMode::Always).await, Ok(vec![2_001]));
    assert_eq!(log.by_id(&entry(5).id).unwrap(), Some(5));
    log.close().await;
}

#[tokio::test]
async fn bounds_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    let with = |bytes: usize| Entry { bytes: vec![0; bytes], ..entry(0) };
    let append = |entries| log.append(entries, AppendMode::Always);
    let too_long = AppendError::EntryTooLong { bytes: 65_536, max: 65_535 };
    assert_eq!(append(vec![entry(0), with(65_536)]).await, Err(too_long));
    let many = Entry { terms: vec![(ROOT, String::new()); 65], ..entry(0) };
    assert_eq!(append(vec![many]).await, Err(AppendError::TooManyTerms { terms: 65, max: 64 }));
    let term = Entry { terms: vec![(ROOT, "x".repeat(4_097))], ..entry(0) };
    let too_long = AppendError::TermTooLong { term: "root", bytes: 4_097, max: 4_096 };
    assert_eq!(append(vec![term]).await, Err(too_long));
    let refused = append(vec![with(65_535); 65]).await.unwrap_err();
    assert!(matches!(refused, AppendError::AppendTooLong { .. }), "{refused:?}");
    assert_eq!(append(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(log.size(), 0);
    assert_eq!(append(vec![with(65_535), with(0)]).await, Ok(vec![0, 1]));
    assert_eq!(log.read(0..2).unwrap()[0].bytes.len(), 65_535);
    log.close().await;
    assert_eq!(verify(dir.path(), &[]).unwrap().size, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_are_next_to_each_other_and_announced() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    let mut announced = log.subscribe();
    let producers: Vec<_> = (0..20_u64)
        .map(|task| {
            let log = log.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let first = task * 1_000 + round * 3;
                    let indices = append(&log, first..first + 3).await;
                    assert_eq!(indices, (indices[0]..indices[0] + 3).collect::<Vec<_>>());
                    let stored = log.read(indices[0]..indices[0] + 3).unwrap();
                    let ids: Vec<_> = stored.iter().map(|stored| stored.id).collect();
                    assert_eq!(ids, [first, first + 1, first + 2].map(|n| entry(n).id));
                }
            })
        })
        .collect();
    announced.wait_for(|size| *size == 1_200).await.unwrap();
    for producer in producers {
        producer.await.unwrap();
    }
    let left = log.clone();
    log.close().await;
    let refused = left.append(vec![entry(0)], AppendMode::Always).await;
    assert_eq!(refused, Err(AppendError::Closed));
    assert_eq!(verify(dir.path(), &[]).unwrap().size, 1_200);
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_any_entry_verifies_offline() {
    let dir = tempfile::tempdir().unwrap();
    // No checkpoint comes by itself: the proof asks for one.
    let options = Options { checkpoint_every: Span::from_seconds(3_600), ..options() };
    let log = Log::open(dir.path(), options).unwrap();
    append(&log, 0..600).await;
    for index in [0, 255, 256, 511, 512, 599] {
        let proof = log.inclusion_proof(index).unwrap();
        let proof = ProofFile::parse(proof.as_bytes()).unwrap();
        let leaf = hash_leaf(&entry(index).bytes);
        let included = proof.verify(&leaf, ORIGIN, &[key()], &[]).unwrap();
        assert_eq!(included.index(), index);
    }
    let missing = log.inclusion_proof(600).unwrap_err();
    assert!(matches!(missing, ReadError::NotThere { index: 600, size: 600 }), "{missing:?}");
    log.close().await;
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_promised_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_every: Span::from_seconds(3_600), ..options() };
    let log = Log::open(dir.path(), options).unwrap();
    let missing = |path: &str| Err(NotFound { path: path.to_owned() });
    append(&log, 0..10).await;
    assert_eq!(log.resource("tile/entries/000.p/10"), missing("tile/entries/000.p/10"));
    log.inclusion_proof(9).unwrap();
    append(&log, 10..300).await;
    let tile = |path: &str| log.resource(path).unwrap();
    let Resource { bytes, content_type, cache } = tile("tile/0/000.p/10");
    assert_eq!((bytes.len(), content_type), (320, "application/octet-stream"));
    assert_eq!(cache, Cache::Forever);
    let checkpoint = tile("checkpoint");
    assert_eq!(String::from_utf8(checkpoint.bytes).unwrap(), log.checkpoint());
    assert_eq!(checkpoint.content_type, "text/plain; charset=utf-8");
    assert_eq!(checkpoint.cache, Cache::Never);
    log.inclusion_proof(299).unwrap();
    // An older, narrower tile is the beginning of the newer one.
    assert_eq!(tile("tile/0/000.p/10").bytes, bytes);
    assert!(tile("tile/entries/000").bytes.starts_with(&tile("tile/entries/000.p/10").bytes));
    assert_eq!(tile("tile/1/000.p/1").bytes.len(), 32);
    assert_eq!(tile("tile/0/001.p/43").bytes, tile("tile/0/001.p/44").bytes[..43 * 32]);
    for path in [
        "tile/0/001.p/45",
        "tile/0/001",
        "tile/0/002.p/1",
        "tile/1/000.p/2",
        "tile/0/0",
        "tile/entries/../../index.db",
        "index.db",
        "segments/00000000000000000000.seg",
        "",
    ] {
        assert_eq!(log.resource(path), missing(path));
    }
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    let second = Log::open(dir.path(), options()).err().unwrap();
    assert!(matches!(second, OpenError::Locked), "{second}");
    assert_eq!(second.hint(), "stop the other process first");
    log.close().await;
    Log::open(dir.path(), options()).unwrap().close().await;
}

/// A key that is away.
pub(crate) struct Away(pub(crate) Arc<AtomicBool>, pub(crate) Signer);

impl NoteSigner for Away {
    fn name(&self) -> &str {
        self.1.name()
    }

    fn public_key(&self) -> [u8; 32] {
        self.1.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        if self.0.load(Ordering::SeqCst) {
            return Err(SignError { reason: "away".to_owned() });
        }
        self.1.sign(message)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_away_delays_checkpoints_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let away = Arc::new(AtomicBool::new(false));
    let signer = Arc::new(Away(Arc::clone(&away), Signer::new(1)));
    let log = Log::open(dir.path(), Options { signer, ..options() }).unwrap();
    away.store(true, Ordering::SeqCst);
    append(&log, 0..5).await;
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    assert_eq!((log.promised().0, log.size()), (0, 5));
    away.store(false, Ordering::SeqCst);
    log.inclusion_proof(4).unwrap();
    assert_eq!(log.promised().0, 5);
    log.close().await;
    away.store(true, Ordering::SeqCst);
    let signer = Arc::new(Away(away, Signer::new(1)));
    let refused = Log::open(dir.path(), Options { signer, ..options() }).err().unwrap();
    assert!(matches!(refused, OpenError::Promise(_)), "{refused}");
}

/// While it is written, a log can be verified up to its checkpoint.
///
/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn a_running_log_is_verified_as_far_as_it_promised() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 50_000, ..options() };
    let log = Log::open(dir.path(), options).unwrap();
    let writing = log.clone();
    let producer = tokio::spawn(async move { append(&writing, 0..6_000).await });
    let mut kept = Vec::new();
    while !producer.is_finished() {
        let verified = check_running(dir.path(), &kept).await;
        kept.push(log.checkpoint());
        assert_eq!(verified, None);
    }
    producer.await.unwrap();
    log.inclusion_proof(5_999).unwrap();
    assert_eq!(check_running(dir.path(), &kept).await, None);
    log.close().await;
    let verified = verify(dir.path(), &kept).unwrap();
    assert_eq!((verified.size, verified.checkpoints.len()), (6_000, kept.len() + 1));
}

/// What no checkpoint covers yet is counted, and told from what one covers.
///
/// req: OBS-06 (part)
#[tokio::test]
async fn the_young_end_of_a_running_log_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let seldom = Options { checkpoint_every: Span::from_seconds(3_600), ..options() };
    let log = Log::open(dir.path(), seldom).unwrap();
    append(&log, 0..3).await;
    log.inclusion_proof(2).unwrap();
    append(&log, 3..10).await;
    let verified = verify(dir.path(), &[]).unwrap();
    assert_eq!((verified.size, verified.checkpoints[0].0), (10, 3));
}

async fn check_running(dir: &Path, kept: &[String]) -> Option<log::Broken> {
    let (dir, kept) = (dir.to_owned(), kept.to_vec());
    tokio::task::spawn_blocking(move || verify(&dir, &kept).err()).await.unwrap()
}

#[test]
fn keys_have_one_name() {
    assert_eq!(VerifierKey::parse(&key().to_string()).unwrap().name(), ORIGIN);
}
