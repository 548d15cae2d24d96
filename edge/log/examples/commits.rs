//! How many durable commits a second, and how long one takes:
//! `cargo run --release -p log@0.1.0 --example commits -- [TASKS] [SECONDS] [FOLDER]`.
//! A measurement, not a test: it prints and judges nothing.
#![expect(clippy::print_stdout, reason = "a command prints")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use log::{AppendMode, Entry, Log, NoteSigner, Options, SEGMENT_BYTES, SignError, Term};
use time::{Span, UnixTime};

/// Bytes of an entry: what an audit record has.
const ENTRY_BYTES: usize = 400;

struct Signer(Ed25519KeyPair);

impl NoteSigner for Signer {
    fn name(&self) -> &str {
        "bench.example/log"
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap_or_default()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signature = self.0.sign(message);
        let reason = "no Ed25519 signature".to_owned();
        signature.as_ref().try_into().map_err(|_| SignError { reason })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let tasks: u64 = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let temporary = std::env::temp_dir().join(format!("log-commits-{}", std::process::id()));
    let folder = arguments.next().map(PathBuf::from);
    let dir = folder.clone().unwrap_or_else(|| temporary.clone());
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(measure(&dir, tasks, Duration::from_secs(seconds)));
    if folder.is_none() {
        std::fs::remove_dir_all(temporary)?;
    }
    result
}

async fn measure(dir: &std::path::Path, tasks: u64, time: Duration) -> Result<(), Box<dyn Error>> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|_| "no key")?;
    let options = Options {
        origin: "bench.example/log".to_owned(),
        segment_bytes: SEGMENT_BYTES,
        checkpoint_every: Span::from_seconds(1),
        signer: Arc::new(Signer(key)),
        previous_keys: Vec::new(),
        remembered: None,
        read_cut: |_| None,
    };
    let opening = Instant::now();
    let log = Log::open(dir, options)?;
    println!("opened in {:.0?} with {} entries", opening.elapsed(), log.size());
    let start = Instant::now();
    let producers: Vec<_> =
        (0..tasks).map(|task| tokio::spawn(produce(log.clone(), task, start + time))).collect();
    let mut latencies = Vec::new();
    for producer in producers {
        latencies.extend(producer.await?);
    }
    let elapsed = start.elapsed();
    latencies.sort_unstable();
    let at = |part: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a quantile")]
        let place = (latencies.len() as f64 * part) as usize;
        latencies.get(place).copied().unwrap_or_default()
    };
    let rate = latencies.len() as f64 / elapsed.as_secs_f64();
    println!(
        "{tasks} tasks, {} commits in {elapsed:.1?}: {rate:.0} durable commits/s, \
         p50 {:.2?}, p99 {:.2?}, worst {:.2?}",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(1.0 - f64::EPSILON),
    );
    let closing = Instant::now();
    log.close().await;
    println!("closed in {:.0?}", closing.elapsed());
    Ok(())
}

/// Appends one entry after the other until `end`; returns how long each took.
async fn produce(log: Log, task: u64, end: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for number in 0_u64.. {
        let begin = Instant::now();
        if begin >= end {
            break;
        }
        if log.append(vec![entry(task, number)], AppendMode::Always).await.is_err() {
            break;
        }
        latencies.push(begin.elapsed());
    }
    latencies
}

fn entry(task: u64, number: u64) -> Entry {
    #[expect(clippy::disallowed_methods, reason = "a measurement may read the clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    // In the order of a UUIDv7: time first.
    let unique = ((task << 32) | number).to_be_bytes();
    let time = millis.to_be_bytes();
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(time.into_iter().skip(2).chain([0x70, 0]).chain(unique)) {
        *to = from;
    }
    let text = |name: &str, of: u64| format!("{name}-{of:032x}");
    Entry {
        id,
        bytes: vec![b'x'; ENTRY_BYTES],
        terms: vec![
            (Term("root"), text("root", (task << 32) | (number / 8))),
            (Term("txn"), text("txn", (task << 32) | number)),
            (Term("agent"), format!("spiffe://example.org/agent/{}", number % 1_000)),
            (Term("subject"), format!("user-{}", number % 5_000)),
            (Term("resource"), format!("https://tool-{}.example", number % 50)),
        ],
        time: UnixTime::from_millis(millis),
    }
}
