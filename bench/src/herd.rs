//! Many nodes: how fast they join, how long a registration takes to reach all of
//! them, what issuing costs beside them, and what happens when all come back at once.
//!
//! A node here is a link with a memory store and nobody's workloads, in this process: its memory
//! and processor time count with the server's.

use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use attestation::mechanism::Role;
use credential::Purpose;
use env::{Journal, Keys, Newest, Sealed, Seq, Store, Unavailable};
use flow::join::{self, Attempt, End};
use flow::{agents, join_token};
use keys::{Disk, KeyStore};
use link::{Address, Link, Presented};
use monitoring::Component;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use store::Memory;
use tempfile::TempDir;
use time::Span;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use wimse::{Bundles, WorkloadId};
use wiring::node::ComponentWorld;
use wiring::tls::certified;
use wiring::world::{SystemClock, SystemEntropy};

use crate::installation::{Installation, operator};
use crate::load::{count, percentile};
use crate::party::registration;
use crate::start::resident;
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured, svid};

/// Nodes that are connected while a registration is made and credentials are issued.
const NODES: usize = 1_000;
/// Nodes that come back at once.
const HERD: usize = 5_000;
/// Keys of one key store.
const KEYS_EACH: usize = 500;
/// Nodes that join at a time.
const JOINING: usize = 32;
/// Registrations whose way is measured.
const REGISTRATIONS: usize = 20;
/// So long is waited at most.
const GIVE_UP: Duration = Duration::from_secs(300);

/// What a log answers with.
type Appending<'a> = Pin<Box<dyn Future<Output = Result<(), Unavailable>> + Send + 'a>>;

/// A log that keeps nothing: nobody asks these nodes what they did.
struct Forgotten;

impl Journal for Forgotten {
    fn append(&self, _: Vec<Sealed>) -> Appending<'_> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Nodes, their keys, and how far each has heard.
struct Herd {
    nodes: Vec<Node>,
    keys: Vec<Arc<KeyStore>>,
    heard: Arc<Notify>,
    folders: Vec<TempDir>,
}

struct Node {
    keys: Arc<KeyStore>,
    presented: Presented,
    seq: Arc<AtomicU64>,
    task: Option<JoinHandle<()>>,
}

/// Joins, connects, registers, issues, and comes back.
pub(crate) async fn measure(all: &Installation) -> Measured {
    more_files()?;
    let mut found = Vec::new();
    let mut herd = Herd::new();
    let before = resident(std::process::id())?;
    let (joined, rate) = herd.join(all, NODES).await?;
    let served = herd.connect(all).await?;
    let after = resident(std::process::id())?;
    let mut rows = vec![
        Row::of(format!("{joined} nodes join by join token, in process"), rate, "/s"),
        Row::of("all of them have their first facts after", served, "s"),
        Row::of(
            "memory per 1,000 nodes, both ends",
            (after - before) * 1_000.0 / count(NODES),
            "MB",
        ),
    ];
    let times = herd.registrations(all).await?;
    let at = |percent| percentile(&times, percent).as_secs_f64() * 1_000.0;
    rows.push(Row::of("a registration reaches all nodes, p50", at(50), "ms"));
    rows.push(
        Row::of("a registration reaches all nodes, worst", at(100), "ms")
            .against(Target::AtMost(1_000.0)),
    );
    let how =
        format!("{NODES} nodes over mutual TLS on this machine, {REGISTRATIONS} registrations");
    found.push(Measurement { what: "connected nodes".to_owned(), how, rows });
    for mut one in svid::measure(all).await? {
        one.what = format!("{}, {NODES} nodes connected", one.what);
        found.push(one);
    }
    herd.join(all, HERD - NODES).await?;
    herd.connect(all).await?;
    herd.part().await;
    let idle = resident(std::process::id())?;
    let served = herd.connect(all).await?;
    let full = resident(std::process::id())?;
    let rows = vec![
        Row::of("all are served again after", served, "s"),
        Row::of("memory before they come", idle, "MB"),
        Row::of("memory when all are there, both ends", full, "MB"),
    ];
    let how =
        format!("{HERD} nodes connect in the same moment, each with a handshake and its feed");
    found.push(Measurement { what: "a herd comes back".to_owned(), how, rows });
    herd.part().await;
    Ok(found)
}

impl Herd {
    fn new() -> Self {
        let heard = Arc::new(Notify::new());
        Self { nodes: Vec::new(), keys: Vec::new(), heard, folders: Vec::new() }
    }

    /// The key store of the node of this number: a store has a bound on its keys.
    fn keys(&mut self, number: usize) -> Result<Arc<KeyStore>, Failure> {
        let place = number / KEYS_EACH;
        while self.keys.len() <= place {
            let owned = std::fs::Permissions::from_mode(0o700);
            let folder = tempfile::Builder::new().permissions(owned).tempdir()?;
            self.keys.push(Arc::new(KeyStore::on_disk(Disk::open(folder.path(), None)?)));
            self.folders.push(folder);
        }
        self.keys.get(place).cloned().ok_or_else(|| "no key store".into())
    }

    /// So many more join, each by a token of its own; returns how many a second.
    async fn join(&mut self, all: &Installation, more: usize) -> Result<(usize, f64), Failure> {
        let server = all.server();
        let life = Span::from_seconds(3_600);
        let mut tokens = Vec::with_capacity(more);
        for _ in 0..more {
            let made = join_token::create(&*server, &operator(), Role::Node, None, life).await?;
            tokens.push(made.into_value().expose().to_owned());
        }
        let turns = Arc::new(Semaphore::new(JOINING));
        let begun = Instant::now();
        let mut joining = JoinSet::new();
        let first = self.nodes.len();
        for (number, token) in tokens.into_iter().enumerate() {
            let keys = self.keys(first.saturating_add(number))?;
            let turns = Arc::clone(&turns);
            let server = all.server();
            joining.spawn(async move {
                let _turn = turns.acquire().await?;
                let (handle, public) =
                    keys.generate(Purpose::Component, flow::sign::ALGORITHM).await?;
                let request = flow::workload::request_with(keys.as_ref(), &handle, &public).await?;
                let attempt = Attempt {
                    mechanism: "join_token".to_owned(),
                    role: Role::Node,
                    evidence: token.into_bytes(),
                    request,
                    source: "bench".to_owned(),
                };
                match join::join(&*server, &attempt, None).await? {
                    End::Decided(decided) => {
                        let chain = decided.into_value()?.chain;
                        let presented = Presented::new(certified(chain, &keys, &handle));
                        Ok::<_, Failure>((keys, presented))
                    }
                    End::Stranger(refusal) => Err(refusal.into()),
                }
            });
        }
        while let Some(joined) = joining.join_next().await {
            let seq = Arc::new(AtomicU64::new(0));
            let (keys, presented) = joined??;
            self.nodes.push(Node { keys, presented, seq, task: None });
        }
        Ok((more, count(more) / begun.elapsed().as_secs_f64()))
    }

    /// All that are not connected connect now; returns after how many seconds all have facts.
    async fn connect(&mut self, all: &Installation) -> Result<f64, Failure> {
        let begun = Instant::now();
        let (id, trust) = (server_id()?, trust(all).await?);
        for node in self.nodes.iter_mut().filter(|node| node.task.is_none()) {
            node.seq.store(0, Ordering::Release);
            let presented = node.presented.clone();
            let now = SystemClock::read;
            let link = Link::new(address(all)?, id.clone(), presented, trust.clone(), now);
            let world = ComponentWorld {
                store: Memory::open(Arc::new(Forgotten)),
                keys: Arc::clone(&node.keys),
                peers: link,
                platforms: None,
                superior: None,
                published: None,
                outside: None,
                clock: SystemClock { newest: Arc::new(Newest::default()) },
                entropy: SystemEntropy::default(),
                component: Component("node:herd".to_owned()),
                site: all.up.server.world.site.clone(),
            };
            let (seq, heard) = (Arc::clone(&node.seq), Arc::clone(&self.heard));
            node.task = Some(tokio::spawn(async move {
                let told = move |at: Seq| {
                    seq.store(at.0.max(1), Ordering::Release);
                    heard.notify_one();
                };
                world.peers.follow(&world, told).await;
            }));
        }
        self.until(1).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Waits until all have heard of this position.
    async fn until(&self, position: u64) -> Result<(), Failure> {
        let waiting = async {
            for node in &self.nodes {
                while node.seq.load(Ordering::Acquire) < position {
                    self.heard.notified().await;
                }
            }
        };
        Ok(tokio::time::timeout(GIVE_UP, waiting).await?)
    }

    /// From the answer to a registration until the last node has it.
    async fn registrations(&self, all: &Installation) -> Result<Vec<Duration>, Failure> {
        let server = all.server();
        let mut times = Vec::new();
        for number in 0..REGISTRATIONS {
            let entry = registration(&format!("registered-{number}"))?;
            let begun = Instant::now();
            agents::register(&*server, &operator(), entry).await?.into_value()?;
            let position = server.store.snapshot(&[]).await?.seq;
            self.until(position.0).await?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    }

    /// All lose their connections.
    async fn part(&mut self) {
        for node in &mut self.nodes {
            if let Some(task) = node.task.take() {
                task.abort();
                let _ = task.await;
            }
        }
    }
}

/// As many files as the system allows: two for each connection, both ends being here.
fn more_files() -> Result<(), Failure> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

fn address(all: &Installation) -> Result<Address, Failure> {
    Ok(Address::parse(&format!("localhost:{}", all.port().saturating_add(2)))?)
}

fn server_id() -> Result<WorkloadId, Failure> {
    Ok(WorkloadId::parse(&format!("spiffe://{}/aims/server", crate::policy_files::DOMAIN))?)
}

/// What a host is given by other means: our bundle.
async fn trust(all: &Installation) -> Result<Bundles, Failure> {
    let facts = flow::facts::basis(&*all.server(), Vec::new()).await?;
    Ok(facts.trust.bundles.clone())
}
