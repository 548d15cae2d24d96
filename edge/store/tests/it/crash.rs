//! A process that is killed under load, again and again.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use env::{Change, CommitFault, Expect, Journal, Key, SingleUse, Store, Write};
use store::Sqlite;

use crate::journal::Tape;
use crate::suite::{Item, number, record, using};

const DIR: &str = "STORE_UNDER_LOAD";
const KILLS: u64 = 20;
const ROWS: u64 = 6;
/// So few that a later life of the process tries again what an earlier one used.
const VALUES: u64 = 20_000;

/// The store and the journal of that folder, as a server opens them.
pub(crate) fn open(dir: &Path) -> (Sqlite, Arc<Tape>) {
    let tape = Arc::new(Tape::in_file(&dir.join("journal")));
    let journal = Arc::clone(&tape) as Arc<dyn Journal>;
    let store = Sqlite::open(&dir.join("state.db"), journal).unwrap();
    let uses = tape.records().into_iter().flat_map(|record| record.used).map(|used| SingleUse {
        hash: URL_SAFE_NO_PAD.decode(used.hash).unwrap().try_into().unwrap(),
        until: used.until,
    });
    store.restore(uses).unwrap();
    (store, tape)
}

/// Started by itself with a folder, it writes until it is killed.
///
/// req: OBS-05 (part)
/// req: AUTHN-05 (part)
#[test]
fn what_was_acknowledged_survives_kill_9_with_its_record() {
    if let Some(dir) = std::env::var_os(DIR) {
        return load(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut used = HashSet::new();
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let me = "crash::what_was_acknowledged_survives_kill_9_with_its_record";
        let after = Duration::from_millis(50 + kill * 37 % 120);
        let lines = run_and_kill(me, DIR, dir.path(), after);
        let (store, tape) = open(dir.path());
        let actions = tape.by_action();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let versions: HashMap<u64, u64> = runtime.block_on(async {
            let mut versions = HashMap::new();
            for row in 0..ROWS {
                let found = number(&store, &row.to_string()).await;
                versions.insert(row, found.map_or(0, |(_, version)| version));
            }
            versions
        });
        for line in &lines {
            acknowledged += 1;
            assert_eq!(actions.get(line), Some(&1), "the record of `{line}`");
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["use", value] => assert!(used.insert(value.to_owned()), "{value} used twice"),
                ["write", row, version] => {
                    let (row, version): (u64, u64) =
                        (row.parse().unwrap(), version.parse().unwrap());
                    assert!(versions[&row] >= version, "`{line}` is lost");
                }
                _ => panic!("{line}"),
            }
        }
        for (row, version) in versions {
            for earlier in 1..=version {
                let action = format!("write {row} {earlier}");
                assert_eq!(actions.get(&action), Some(&1), "state without its record: {action}");
            }
            let next = format!("write {row} {}", version + 1);
            assert_eq!(actions.get(&next), None, "a record without its state: {next}");
        }
        let twice = actions.iter().find(|(_, count)| **count != 1);
        assert_eq!(twice, None, "recorded twice");
    }
    assert!(acknowledged > 100 * KILLS, "only {acknowledged}: that is no load");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

/// The lines that `test` wrote, run with `variable` for its folder, before it was killed: what it
/// was told was done.
pub(crate) fn run_and_kill(test: &str, variable: &str, dir: &Path, after: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .arg("--nocapture")
        .env(variable, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (first, began) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in output.lines() {
            if let Some(done) = line.unwrap().strip_prefix("done: ") {
                let _ = first.send(());
                lines.push(done.to_owned());
            }
        }
        lines
    });
    began.recv_timeout(Duration::from_secs(20)).unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reading.join().unwrap()
}

fn load(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (store, _tape) = open(dir);
    let store = Arc::new(store);
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for row in 0..ROWS {
            tasks.push(tokio::spawn(write(Arc::clone(&store), row)));
            tasks.push(tokio::spawn(consume(Arc::clone(&store), row)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

pub(crate) fn tell(done: &str) {
    let line = format!("done: {done}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
}

async fn write(store: Arc<Sqlite>, row: u64) {
    loop {
        let id = row.to_string();
        let snapshot = store.snapshot(&[Key::of::<Item>(id.as_str())]).await.unwrap();
        let version = snapshot.get::<Item>(&id).unwrap().map_or(0, |stored| stored.version);
        let expect = if version == 0 { Expect::Absent } else { Expect::Version(version) };
        let action = format!("write {row} {}", version + 1);
        let writes = vec![Write::put(&Item::new(id, version), expect)];
        let change = Change { writes, records: vec![record(&action)], ..Change::default() };
        store.commit(change).await.unwrap();
        tell(&action);
    }
}

/// Every other value goes with a row, so through the committer.
async fn consume(store: Arc<Sqlite>, task: u64) {
    let mut random = u64::from(std::process::id()).wrapping_add(task << 32);
    loop {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let value = (random >> 33) % VALUES;
        let mut change = using(value);
        if value.is_multiple_of(2) {
            change.writes.push(Write::put(&Item::new("shared", value), Expect::Any));
        }
        match store.commit(change).await {
            Ok(_) => tell(&format!("use {value}")),
            Err(CommitFault::Used(_)) => tokio::task::yield_now().await,
            Err(fault) => panic!("{fault}"),
        }
    }
}
