//! kill -9 of everything, 50 times under load: nothing that was answered is lost, nothing that
//! serves once serves twice, and it starts again by itself.

use std::time::{Duration, Instant};

use env::PeerFault;
use provisioning::State;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::load::{Clients, Tool, lay_policy, refusal};
use crate::running::{Running, Site};

const KILLS: u32 = 50;
/// How long the first answer after a start may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How many of each kind are tried again after each kill: the newest, which were answered last.
const TRIED_AGAIN: usize = 3;
/// After how many kills the whole log is verified.
const VERIFY_EVERY: u32 = 10;

/// req: OBS-05, OBS-06 (part), AUTHN-05 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s11_kill_9_fifty_times_under_load_loses_nothing_and_lets_nothing_serve_twice() {
    let site = Site::new();
    let (tool, port) = Tool::start();
    lay_policy(&site, port);
    let mut running = site.up();
    let clients = Clients::enrol(&site).await;
    let mut seen = Seen::default();
    for kill in 0..KILLS {
        running = load_and_kill(&clients, running, &site, kill).await;
        Box::pin(seen.check(&clients)).await;
        if kill % VERIFY_EVERY == VERIFY_EVERY - 1 {
            let verified = site.aims(&["audit", "verify"]);
            assert_eq!(verified.code, 0, "after kill {kill}: {}{}", verified.out, verified.err);
        }
    }
    seen.check_all(&clients).await;
    for (number, times) in tool.booked() {
        assert_eq!(times, 1, "call {number} reached the tool {times} times");
    }
    let ledger = clients.ledger();
    assert_eq!(ledger.strange.first(), None);
    assert!(ledger.calls.len() >= KILLS as usize);
    // Or the test would prove nothing of them.
    for done in [ledger.agents.len(), ledger.joined.len(), ledger.forms.len(), ledger.lost.len()] {
        assert!(done > KILLS as usize / 2, "{done}");
    }
    drop(ledger);
    assert_eq!(running.stop(), 0);
    let verified = site.aims(&["audit", "verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    // What each start makes for itself is not kept for ever: there is a bound to it.
    for purpose in ["component", "web-server"] {
        let keys = std::fs::read_dir(site.data.join("keys/server").join(purpose)).unwrap().count();
        assert!(keys <= 2, "{keys} keys of `{purpose}` after {KILLS} kills");
    }
}

/// Everybody works until the kill; then it starts again.
async fn load_and_kill(clients: &Clients, running: Running, site: &Site, kill: u32) -> Running {
    let (is_over, over) = watch::channel(false);
    let before = clients.ledger().calls.len();
    let mut tasks = JoinSet::new();
    for worker in 0..8 {
        let (clients, over) = (clients.clone(), over.clone());
        tasks.spawn(async move {
            while !*over.borrow() {
                let done = match worker {
                    0..=3 => clients.task().await,
                    4 => clients.token().await.map(drop),
                    5 | 6 => clients.operate().await,
                    _ => clients.admit().await,
                };
                if done.is_none() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }
    let begun = Instant::now();
    while clients.ledger().calls.len() == before {
        assert!(begun.elapsed() < ANSWER_MAX, "no call is answered: {}", site.said());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Different moments: in the middle of commits, of syncs, of checkpoints.
    tokio::time::sleep(Duration::from_millis(20 + u64::from(kill) * 7_919 % 150)).await;
    running.kill_9();
    is_over.send_replace(true);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    if kill % 5 == 4 {
        // Also in the middle of a start.
        let mut starting = site.command().spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(u64::from(kill) * 13 % 500)).await;
        starting.kill().unwrap();
        starting.wait().unwrap();
    }
    tokio::task::block_in_place(|| site.up())
}

/// How much of the ledger was looked at already.
#[derive(Default)]
struct Seen {
    agents: usize,
    records: usize,
    forms: usize,
    calls: usize,
    lost: usize,
    joined: usize,
}

impl Seen {
    /// What the life before was answered, in the next life.
    async fn check(&mut self, clients: &Clients) {
        self.state_and_records(clients).await;
        Box::pin(self.single_use(clients)).await;
    }

    async fn state_and_records(&mut self, clients: &Clients) {
        let (agents, records) = {
            let ledger = clients.ledger();
            (ledger.agents.clone(), ledger.records.clone())
        };
        for (name, suspended) in &agents[self.agents..] {
            let expected = if *suspended { State::Suspended } else { State::Active };
            let found = clients.state_of(name).await;
            // A suspension that was not answered may have been done all the same.
            let is_so = found == Some(expected) || found == Some(State::Suspended);
            assert!(is_so, "{name}: {found:?}, not {expected:?}");
        }
        for id in &records[self.records..] {
            if let Err(lost) = clients.record(id).await {
                panic!("an answer without its record: {lost}");
            }
        }
        (self.agents, self.records) = (agents.len(), records.len());
    }

    async fn single_use(&mut self, clients: &Clients) {
        let newest = |from: usize, length: usize| from.max(length.saturating_sub(TRIED_AGAIN));
        let (forms, calls, lost, joined, unused) = {
            let mut ledger = clients.ledger();
            let unused = ledger.join_tokens.pop();
            let forms = ledger.forms[newest(self.forms, ledger.forms.len())..].to_vec();
            let calls = ledger.calls[newest(self.calls, ledger.calls.len())..].to_vec();
            let lost = ledger.lost[self.lost..].to_vec();
            let joined = ledger.joined[newest(self.joined, ledger.joined.len())..].to_vec();
            (self.forms, self.calls) = (ledger.forms.len(), ledger.calls.len());
            (self.lost, self.joined) = (ledger.lost.len(), ledger.joined.len());
            (forms, calls, lost, joined, unused)
        };
        let forms = async {
            for form in forms {
                let again = refusal(&clients.send_form(&form).await.unwrap());
                assert_eq!(again, (400, "the client's proof was used before".to_owned()));
            }
        };
        let calls = async {
            for call in calls {
                let again = refusal(&clients.send_call(&call).await.unwrap());
                assert!(again.0 == 400 && again.1.contains("used before"), "{again:?}");
            }
        };
        let lost = async {
            // Whether they were let through nobody was told; the tool counts.
            for call in lost {
                clients.send_call(&call).await.unwrap();
            }
        };
        let joined = async {
            for token in joined {
                let again = clients.join(&token).await;
                let is_so = matches!(&again, Err(PeerFault::Refused { check, .. })
                    if check == "attestation::TokenUsed");
                assert!(is_so, "{again:?}");
            }
        };
        let unused = async {
            if let Some(token) = unused {
                clients.join(&token).await.unwrap();
                clients.ledger().joined.push(token);
            }
        };
        tokio::join!(forms, calls, lost, joined, unused);
    }

    /// At the end: everything that was ever answered.
    async fn check_all(&mut self, clients: &Clients) {
        (self.agents, self.records) = (0, 0);
        self.state_and_records(clients).await;
    }
}
