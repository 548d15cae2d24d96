//! Which seeds are run. A seed that finds a bug gets a test of its own here, named for the bug.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::town::run;

/// The steps of one run.
const STEPS: usize = 150;
/// The seeds of every test run.
const ALWAYS: Range<u64> = 0..8;
/// How long new seeds are tried by the ordinary test.
const FRESH_FOR: Duration = Duration::from_secs(6);
/// The setting for long runs: `1000` for the seeds up to there, or `1000..2000`.
const SETTING: &str = "AIMS_SIM_SEEDS";
/// What must happen in the seeds of every run, or they would prove nothing.
const HAPPENS: [&str; 15] = [
    ": forwarded",
    "CallReplayed gateway::Replayed",
    "CallElsewhere gateway::Token",
    "CallByProxy",
    "gateway::NotInForce",
    "gateway::FeedLost",
    "gateway::Proof",
    "gateway::Denied",
    "grants::CallerNotInForce",
    "token::Subject",
    "Exchange issued",
    "unavailable: log",
    "unavailable: store",
    "unavailable: issuing",
    "RestartServer done",
];

#[test]
fn the_same_seed_tells_the_same_story() {
    assert_eq!(run(11, 60), run(11, 60));
    assert_ne!(run(11, 20), run(12, 20));
}

/// req: OBS-04 (part), OBS-05 (part), ID-03 (part), AUTHN-05 (part), AUTHZ-11 (part)
#[test]
fn seeds_that_are_always_run() {
    let told: Vec<_> = ALWAYS.flat_map(|seed| run(seed, STEPS)).collect();
    for happens in HAPPENS {
        assert!(told.iter().any(|step| step.contains(happens)), "never: {happens}");
    }
}

#[test]
fn seeds_that_were_never_run_before() {
    let until = Instant::now() + FRESH_FOR;
    while Instant::now() < until {
        run(RandomState::new().build_hasher().finish(), STEPS);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a long run is asked for by who runs the tests")]
fn seeds_of_a_long_run() {
    let setting = std::env::var(SETTING).unwrap_or_default();
    let (from, to) = setting.split_once("..").unwrap_or(("0", &setting));
    for seed in from.parse().unwrap_or_default()..to.parse().unwrap_or_default() {
        run(seed, STEPS);
    }
}
