//! What a decision costs with 1,000 rules and 10,000 entities.
//! By hand: `cargo run -p pdp --profile perf --example measure`.
#![expect(clippy::print_stdout, reason = "it prints its table")]
#![expect(clippy::print_stderr, reason = "it says why it cannot run")]

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::hint::black_box;
use std::time::{Duration, Instant};

use pdp::{
    Access, Circumstances, Decision, Facts, Pdp, PolicyVersion, Principal, PrincipalKind, Question,
    Resource,
};
use time::UnixTime;

const AGENTS: usize = 8_000;
const AUDIENCES: usize = 200;
const TOOLS_EACH: usize = 9;
const QUESTIONS: usize = 200_000;

fn main() {
    let text = rules();
    let started = Instant::now();
    let access = match Access::compile(&[("measure.cedar", &text)]) {
        Ok(access) => access,
        Err(faults) => return faults.iter().for_each(|fault| eprintln!("{fault}")),
    };
    let count = access.rules().len();
    println!("{count} rules compiled in {:?}", started.elapsed());
    let pdp = Pdp::new(access, PolicyVersion::of_digest(&[7; 32]));
    // 8,000 agents, 200 audiences and 1,800 tools: 10,000 entities, visited out of order.
    let questions: Vec<_> = (0..AGENTS).map(question).collect();
    println!("{} entities", AGENTS + AUDIENCES * (1 + TOOLS_EACH));
    let mut times = Vec::with_capacity(QUESTIONS);
    let mut best = vec![Duration::MAX; AGENTS];
    let mut permits = 0;
    for round in 0..QUESTIONS {
        let n = round * 7_919 % AGENTS;
        let (Some(question), Some(best)) = (questions.get(n), best.get_mut(n)) else { continue };
        let started = Instant::now();
        let decision = pdp.decide(black_box(question));
        let time = started.elapsed();
        permits += usize::from(matches!(decision, Decision::Permit(_)));
        times.push(time);
        *best = time.min(*best);
    }
    println!("{QUESTIONS} decisions, {permits} permits");
    println!("each decision:          {}", Percentiles::of(times));
    // What the machine did meanwhile is in the line above, not in this one.
    println!("best for each question: {}", Percentiles::of(best));
}

struct Percentiles([Duration; 3]);

impl Percentiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |permille: usize| times.get(times.len() * permille / 1_000).copied();
        Self([500, 990, 999].map(|permille| at(permille).unwrap_or_default()))
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = self.0;
        write!(f, "p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}")
    }
}

/// 700 rules for one agent each, 200 for one audience each, 80 that forbid one tool each, and 20
/// for everyone.
fn rules() -> String {
    let mut text = String::new();
    for n in 0..700 {
        let _ = writeln!(
            text,
            "@id(\"agent-{n}\") @needs(\"the capability `c{n}`\")
            permit(principal == Aims::Agent::\"{}\", action == Aims::Action::\"tool.call\",
                resource in Aims::Audience::\"{}\")
            when {{ principal.capabilities.contains(\"c1\") && context.depth < 5 }};",
            agent(n),
            audience(n)
        );
    }
    for n in 0..AUDIENCES {
        let _ = writeln!(
            text,
            "@id(\"audience-{n}\")
            permit(principal is Aims::Agent, action in [Aims::Action::\"tool.call\",
                Aims::Action::\"tool.list\"], resource in Aims::Audience::\"{}\")
            when {{ context.scope.contains(\"tools:{n}\") && !context.autonomous }};",
            audience(n)
        );
    }
    for n in 0..80 {
        let _ = writeln!(
            text,
            "@id(\"forbid-{n}\") @reason(\"it is being repaired\")
            forbid(principal, action == Aims::Action::\"tool.call\",
                resource == Aims::Tool::\"{}#t0\") unless {{ principal.owner == \"ops\" }};",
            audience(n)
        );
    }
    for n in 0..20 {
        let action = if n % 4 == 0 { "tool.call" } else { "http.request" };
        let _ = writeln!(
            text,
            "@id(\"all-{n}\")
            forbid(principal, action == Aims::Action::\"{action}\", resource)
            when {{ context.depth > {} }};",
            n + 5
        );
    }
    text
}

fn question(n: usize) -> Question {
    let capabilities = ["c1", "c2", "c3"].map(str::to_owned);
    let name = format!("agent {n}");
    let principal = Principal::new(PrincipalKind::Agent, agent(n), name, "team", capabilities);
    let circumstances = Circumstances {
        scope: BTreeSet::from([format!("tools:{}", n % AUDIENCES), "read".to_owned()]),
        subject: "alice".to_owned(),
        actors: vec![agent(n + 1), agent(n + 2)],
        proof: "wit".to_owned(),
        transport: agent(n),
        autonomous: n.is_multiple_of(2),
        ..Circumstances::at(UnixTime::from_seconds(1_800_000_000))
    };
    Question {
        principal,
        action: "tool.call".to_owned(),
        resource: Resource::tool(&audience(n), &format!("t{}", n % TOOLS_EACH), true),
        context: Facts::from(circumstances),
    }
}

fn agent(n: usize) -> String {
    format!("spiffe://example.org/agent/{n}")
}

fn audience(n: usize) -> String {
    format!("https://tools{}.example/mcp", n % AUDIENCES)
}
