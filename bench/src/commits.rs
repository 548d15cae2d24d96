//! Durable commits: records through the store of the running server, and entries in a log alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use env::{Change, Store, World};
use flow::record::begin;
use log::{AppendMode, Entry, Log, NoteSigner, Options, SEGMENT_BYTES, SignError, Term};
use monitoring::{Event, Outcome, Record};
use time::Span;

use crate::installation::{Installation, now};
use crate::load::{Load, ROUNDS, cores, deal, drive, median};
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured};

/// Tasks that commit at once.
const TASKS: usize = 256;
/// Commits of one round.
const COMMITS: usize = 51_200;
/// Commits of one task alone.
const ALONE: usize = 200;
/// Bytes of an entry of the log alone: what a record has.
const ENTRY_BYTES: usize = 400;

/// Measures both.
pub(crate) async fn measure(all: &Installation, dir: &Path) -> Measured {
    Ok(vec![by_the_server(all).await?, by_the_log(dir).await?])
}

async fn by_the_server(all: &Installation) -> Result<Measurement, Failure> {
    let server = all.server();
    let agent = all.clerk.id.clone();
    let each = move |number: usize| {
        let (server, agent) = (Arc::clone(&server), agent.clone());
        async move { commit(&*server, &agent, number).await }
    };
    let alone = drive(vec![(0..ALONE).collect()], each.clone()).await?;
    let mut loads = Vec::new();
    for _ in 0..ROUNDS {
        loads.push(drive(deal((0..COMMITS).collect(), TASKS), each.clone()).await?);
    }
    let mut rows = rows(&loads);
    rows.push(Row::of("one task alone, p50", alone.at(50) / 1_000.0, "ms"));
    rows.push(Row::of("one task alone, p99", alone.at(99) / 1_000.0, "ms"));
    let how = format!(
        "a record each through the running server's store, {COMMITS} by {TASKS} tasks on {} \
         cores, fdatasync before each answer; median of {ROUNDS} rounds",
        cores()
    );
    Ok(Measurement { what: "durable commits in a running server".to_owned(), how, rows })
}

/// One record, durable: what a decision of the gateway says.
async fn commit<W: World>(world: &W, agent: &str, number: usize) -> Result<(), String> {
    let mut record: Record = begin(world, Event::CallDecided);
    record.outcome = Outcome::Permitted;
    record.action = "tool.call".to_owned();
    record.agent = Some(agent.to_owned());
    record.subject = Some(format!("user-{}", number % 5_000));
    record.resource = Some(format!("https://tool-{}.example/mcp", number % 50));
    record.root = Some(format!("root-{:032x}", number / 8));
    record.jti = Some(format!("jti-{number:032x}"));
    let done = world.store().commit(Change::record(record)).await;
    done.map(drop).map_err(|fault| fault.to_string())
}

fn rows(loads: &[Load]) -> Vec<Row> {
    let all = |of: &dyn Fn(&Load) -> f64| median(loads.iter().map(of).collect());
    vec![
        Row::of("commits a second", all(&Load::rate), "/s").against(Target::AtLeast(50_000.0)),
        Row::of("time each under that load, p99", all(&|load| load.at(99)) / 1_000.0, "ms")
            .against(Target::AtMost(20.0)),
        Row::of("processor time each, all threads", all(&Load::cpu_each), "us"),
        Row::of("cores that others kept busy meanwhile", all(&Load::others), ""),
    ]
}

async fn by_the_log(dir: &Path) -> Result<Measurement, Failure> {
    let folder = tempfile::tempdir_in(dir)?;
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
    let log = Log::open(folder.path(), options)?;
    let mut loads = Vec::new();
    for round in 0..ROUNDS {
        let jobs = (round * COMMITS..(round + 1) * COMMITS).collect();
        let appending = log.clone();
        let each = move |number: usize| {
            let log = appending.clone();
            async move {
                let done = log.append(vec![entry(number)], AppendMode::Always).await;
                done.map(drop).map_err(|error| error.to_string())
            }
        };
        loads.push(drive(deal(jobs, TASKS), each).await?);
    }
    let closing = Instant::now();
    log.close().await;
    let mut rows: Vec<_> =
        rows(&loads).into_iter().map(|row| Row { target: None, met: None, ..row }).collect();
    rows.push(Row::of("to index the rest and close", closing.elapsed().as_secs_f64(), "s"));
    let how = format!(
        "entries of {ENTRY_BYTES} bytes with five terms, {COMMITS} by {TASKS} tasks; median of \
         {ROUNDS} rounds"
    );
    Ok(Measurement { what: "the log alone, without a store".to_owned(), how, rows })
}

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

fn entry(number: usize) -> Entry {
    let now = now();
    // In the order of a UUIDv7: time first.
    let number = u64::try_from(number).unwrap_or_default();
    let (time, unique) = (now.millis().to_be_bytes(), number.to_be_bytes());
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(time.into_iter().skip(2).chain([0x70, 0]).chain(unique)) {
        *to = from;
    }
    let text = |name: &str, of: u64| format!("{name}-{of:032x}");
    Entry {
        id,
        bytes: vec![b'x'; ENTRY_BYTES],
        terms: vec![
            (Term("root"), text("root", number / 8)),
            (Term("txn"), text("txn", number)),
            (Term("agent"), format!("spiffe://example.org/agent/{}", number % 1_000)),
            (Term("subject"), format!("user-{}", number % 5_000)),
            (Term("resource"), format!("https://tool-{}.example", number % 50)),
        ],
        time: now,
    }
}
