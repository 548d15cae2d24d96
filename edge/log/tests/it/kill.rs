//! kill -9 at any moment loses nothing that was acknowledged.
//!
//! The test starts this binary again as a child that appends and writes each acknowledgement to a
//! pipe; the parent, who survives, kills it and compares. `LOG_KILLS` sets how often.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use log::{AppendMode, Log, Options, ReadError};

use crate::cut::record;
use crate::{entry, options, verify};

const KILLS: u64 = 20;
/// Kills of one log.
const ROUND: u64 = 40;
const FOLDER: &str = "LOG_KILL_FOLDER";

fn small() -> Options {
    Options { segment_bytes: 200_000, checkpoint_every: time::Span::from_millis(5), ..options() }
}

/// Does nothing unless the test below starts it.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let log = Log::open(Path::new(&dir), small()).unwrap();
        let next = Arc::new(std::sync::atomic::AtomicU64::new(log.size() * 2));
        let mut tasks: Vec<_> =
            (0..16).map(|_| tokio::spawn(produce(log.clone(), Arc::clone(&next)))).collect();
        tasks.push(tokio::spawn(keep_short(log)));
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn produce(log: Log, next: Arc<std::sync::atomic::AtomicU64>) {
    loop {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let index = log.append(vec![entry(number)], AppendMode::Always).await.unwrap()[0];
        // One write for a line, past the capture of the test harness.
        let line = format!("ack {index} {number}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

/// Cuts the log again and again, so that about so many entries stay.
pub(crate) async fn keep_short(log: Log) {
    loop {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let oldest = log.size().saturating_sub(2_000).max(log.minimum());
        let Ok(read) = log.read(oldest..oldest + 1) else { continue };
        let Some(time) = read.first().map(|stored| stored.time) else { continue };
        let Some(plan) = log.plan_cut(time).unwrap() else { continue };
        let record = record(&plan, log.size());
        log.append(vec![record.clone()], AppendMode::Always).await.unwrap();
        log.cut(&plan, &record.id).unwrap();
    }
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a child, kills it `after` its first acknowledgement, and returns what it acknowledged.
fn run_and_kill(dir: &Path, after: Duration) -> Vec<(u64, u64)> {
    let mut child = start(dir);
    let output = BufReader::new(child.stdout.take().unwrap());
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&acknowledged);
    let reader = std::thread::spawn(move || {
        for line in output.split(b'\n') {
            let line = String::from_utf8(line.unwrap()).unwrap();
            let Some(ack) = line.strip_prefix("ack ") else { continue };
            // A line that the kill cut off acknowledges nothing.
            let parts =
                ack.split_once(' ').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
            seen.lock().unwrap().extend(parts);
        }
    });
    let begin = Instant::now();
    while acknowledged.lock().unwrap().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the child acknowledges nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    let mut acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    // The last line may lack digits.
    acknowledged.pop();
    acknowledged
}

/// The log is cut meanwhile, too: what is below its minimum index is gone, and nothing else.
///
/// req: OBS-05 (part), OBS-06 (part)
#[test]
fn kill_9_loses_nothing_acknowledged_and_breaks_no_promise() {
    let kills = std::env::var_os("LOG_KILLS");
    let kills = kills.map_or(KILLS, |kills| kills.to_str().unwrap().parse().unwrap());
    // A new log now and then: all of it is verified after each kill.
    for round in 0..kills.div_ceil(ROUND) {
        kill_often(round * ROUND..kills.min((round + 1) * ROUND));
    }
}

fn kill_often(kills: std::ops::Range<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let dir: PathBuf = folder.path().join("log");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut expected, mut checkpoints) = (Vec::new(), Vec::new());
    let (mut checked, least) = (0, (kills.end - kills.start) * 10);
    let (mut cut, mut cuts) = (0, 0);
    for kill in kills {
        // Different moments: at once, between syncs, tiles, checkpoints, segments.
        let after = Duration::from_micros(kill * 7_919 % 90_000);
        expected.extend(run_and_kill(&dir, after));
        checkpoints.extend(std::fs::read_to_string(dir.join("checkpoint")));
        let log = Log::open(&dir, small()).unwrap();
        let size = log.size();
        let minimum = log.minimum();
        cuts += u64::from(minimum > cut);
        cut = minimum;
        for (index, number) in expected.iter().skip(checked) {
            if *index < minimum {
                let read = log.read(*index..*index + 1);
                assert!(matches!(read, Err(ReadError::Cut { .. })), "{index} below {minimum}");
                continue;
            }
            let stored = log.read(*index..*index + 1).unwrap();
            let stored = stored.first().unwrap_or_else(|| panic!("{index} of {size} is lost"));
            assert_eq!((stored.id, &stored.bytes), (entry(*number).id, &entry(*number).bytes));
            assert_eq!(log.by_id(&stored.id).unwrap(), Some(*index));
        }
        checked = expected.len();
        checkpoints.push(log.checkpoint());
        runtime.block_on(log.close());
        // Every checkpoint ever seen is consistent with what is there now.
        let verified = verify(&dir, &checkpoints).unwrap_or_else(|broken| panic!("{broken:?}"));
        assert_eq!(verified.size, size);
    }
    assert!(expected.len() as u64 > least, "only {} entries", expected.len());
    assert!(cuts > 0, "the log was never cut");
}
