//! A server that is killed while it redeems: between the use of a value and the answer, and at
//! every other moment. Nothing is served twice, and nothing that was acknowledged is forgotten.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use credential::{KeyRing, Purpose};
use env::{Change, Expect, Store, Write};
use monitoring::{Event, Outcome};
use oauth::token_request::TokenRequest;
use store::Sqlite;
use testkit::Seed;
use testkit::fixture::code_request;

use crate::crash::{open, run_and_kill, tell};
use crate::journal::Tape;
use crate::redeemed::{House, ciba_request, device_request, refreshing};
use crate::suite::record;

const DIR: &str = "REDEEMING_UNTIL_KILLED";
const KILLS: u64 = 10;
/// More than one life gets through.
const CODES: usize = 150;
/// Of each kind that somebody answers.
const WAITS: usize = 8;
/// How many are asked for at once.
const TASKS: usize = 8;
/// How the grants of refresh tokens begin.
const REFRESHED: &str = "refreshed-";

/// What serves once, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Code,
    Refresh,
    Device,
    Ciba,
}

impl Kind {
    fn of(text: &str) -> Self {
        [
            (Self::Code, "aims_ac_"),
            (Self::Refresh, "aims_rt_"),
            (Self::Device, "aims_dc_"),
            (Self::Ciba, "aims_ar_"),
        ]
        .into_iter()
        .find_map(|(kind, prefix)| text.starts_with(prefix).then_some(kind))
        .unwrap()
    }

    fn request(self, text: &str) -> TokenRequest {
        match self {
            Self::Code => code_request(text),
            Self::Refresh => refreshing(text),
            Self::Device => device_request(text),
            Self::Ciba => ciba_request(text),
        }
    }
}

/// Shows a value: the refresh token that came of it, or the check that refused it.
async fn redeem(house: &House<Sqlite>, text: &str) -> Result<String, &'static str> {
    let kind = Kind::of(text);
    let client = if kind == Kind::Refresh { &house.public } else { &house.keyed };
    let end = house.ask(client, kind.request(text)).await;
    end.map(|one| one.refresh_token.unwrap_or_default()).map_err(|refusal| refusal.check())
}

/// A server over the store. The keys of these tests live in memory: those of the life before are
/// gone, and new ones are made.
async fn house(store: Sqlite, seed: u64) -> House<Sqlite> {
    let rings = Purpose::ROTATED.map(|one| Write::delete::<KeyRing>(one.name(), Expect::Any));
    let change = Change { writes: rings.to_vec(), uses: Vec::new(), records: vec![record("new")] };
    store.commit(change).await.unwrap();
    House::open(store, Seed(seed)).await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Started by itself with a folder, it redeems until it is killed.
///
/// req: AUTHZ-09 (part)
#[test]
fn past_defect_05_what_was_redeemed_when_the_server_was_killed_is_not_served_again() {
    if let Some(dir) = std::env::var_os(DIR) {
        return redeem_all(Path::new(&dir));
    }
    let me = "killed::\
              past_defect_05_what_was_redeemed_when_the_server_was_killed_is_not_served_again";
    let (mut acknowledged, mut untold) = (0, BTreeMap::<_, usize>::new());
    for kill in 0..KILLS {
        let dir = tempfile::tempdir().unwrap();
        let after = Duration::from_millis(10 + kill * 37 % 150);
        let lines = run_and_kill(me, DIR, dir.path(), after);
        let (begun, done) = read(&lines);
        acknowledged += done.len();
        let (store, tape) = open(dir.path());
        runtime().block_on(async {
            let house = house(store, 1_000 + kill).await;
            for text in begun {
                let end = redeem(&house, text).await;
                match done.get(text) {
                    Some(first) => check_known(text, first, end),
                    None => {
                        *untold.entry((Kind::of(text), end.is_err())).or_default() += 1;
                        check_untold(&house, text, end).await;
                    }
                }
            }
        });
        let counts = given(&tape);
        assert!(counts.values().all(|count| *count == 1), "given twice: {counts:?}");
    }
    assert!(acknowledged > 10 * KILLS as usize, "only {acknowledged}: that is no load");
    // Killed between the use and the answer, or there is nothing to see here.
    assert!(untold.get(&(Kind::Code, true)).is_some_and(|count| *count > 0), "{untold:?}");
}

/// A value whose use was acknowledged.
fn check_known(text: &str, first: &str, end: Result<String, &'static str>) {
    match (Kind::of(text), end) {
        // RFC 6749 §4.1.2: "The client MUST NOT use the authorization code more than once."
        (Kind::Code, end) => assert_eq!(end, Err("grants::CodeUsed")),
        (Kind::Device | Kind::Ciba, end) => assert_eq!(end, Err("grants::WaitUsed")),
        (Kind::Refresh, end) => assert_eq!(end.as_deref(), Ok(first), "another successor"),
    }
}

/// A value of whose use nobody was told: it serves once in all.
async fn check_untold(house: &House<Sqlite>, text: &str, end: Result<String, &'static str>) {
    let again = redeem(house, text).await;
    match (Kind::of(text), &end) {
        (Kind::Refresh, _) => assert_eq!(again, end, "another successor"),
        (Kind::Code, Ok(_) | Err("grants::CodeUsed" | "grants::Over")) => {
            assert!(matches!(again, Err("grants::CodeUsed" | "grants::Over")), "{again:?}");
        }
        (Kind::Device | Kind::Ciba, Ok(_) | Err("grants::WaitUsed")) => {
            assert_eq!(again, Err("grants::WaitUsed"));
        }
        (kind, other) => panic!("{kind:?}: {other:?}"),
    }
}

/// What was begun before the kill, and what came of it where that was told.
fn read(lines: &[String]) -> (Vec<&str>, BTreeMap<&str, &str>) {
    let (mut begun, mut done) = (Vec::new(), BTreeMap::new());
    for line in lines {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["begin", text] => begun.push(text),
            ["end", text, answer] => assert_eq!(done.insert(text, answer), None),
            _ => panic!("{line}"),
        }
    }
    (begun, done)
}

/// How often tokens were given of each grant, save of those that were refreshed.
fn given(tape: &Tape) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in tape.records() {
        if (record.event, record.outcome) == (Event::TokenIssued, Outcome::Permitted) {
            let root = record.root.unwrap();
            *counts.entry(root).or_default() += 1;
        }
    }
    counts.retain(|root, _| !root.starts_with(REFRESHED));
    counts
}

fn redeem_all(dir: &Path) {
    runtime().block_on(async {
        let house = Arc::new(house(open(dir).0, u64::from(std::process::id())).await);
        let mut values = Vec::new();
        for at in 0..WAITS {
            values.extend([house.device().await, house.allowed().await]);
            let code = house.code(&format!("{REFRESHED}{at}"), &house.public).await;
            let first = house.ask(&house.public, code_request(&code)).await.unwrap();
            values.push(first.refresh_token.unwrap());
            for of in 0..CODES / WAITS {
                values.push(house.code(&format!("code-{at}-{of}"), &house.keyed).await);
            }
        }
        let values = Arc::new(Mutex::new(values));
        let tasks = (0..TASKS).map(|_| {
            let (house, values) = (Arc::clone(&house), Arc::clone(&values));
            tokio::spawn(async move {
                loop {
                    let Some(text) = values.lock().unwrap().pop() else { break };
                    tell(&format!("begin {text}"));
                    let answer = redeem(&house, &text).await.unwrap();
                    tell(&format!("end {text} {answer}"));
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        std::future::pending::<()>().await;
    });
}
