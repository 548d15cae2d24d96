//! Policy decisions in process, with few rules and with many.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use pdp::{
    Access, Circumstances, Decision, Facts, Pdp, PolicyVersion, Principal, PrincipalKind, Question,
    Resource,
};
use time::UnixTime;

use crate::load::{count, percentile};
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured};

/// Agents, audiences and tools: 10,000 entities in all.
const AGENTS: usize = 8_000;
const AUDIENCES: usize = 200;
const TOOLS_EACH: usize = 9;
/// Decisions that are timed.
const QUESTIONS: usize = 100_000;

/// With 10, 100 and 1,000 rules.
pub(crate) fn measure() -> Measured {
    [10, 100, 1_000].into_iter().map(with_rules).collect()
}

fn with_rules(number: usize) -> Result<Measurement, Failure> {
    let text = rules(number);
    let compiling = Instant::now();
    let access = Access::compile(&[("bench.cedar", &text)])
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let compiled = compiling.elapsed();
    let found = access.rules().len();
    let pdp = Pdp::new(access, PolicyVersion::of_digest(&[7; 32]));
    let questions: Vec<_> = (0..AGENTS).map(question).collect();
    let mut times = Vec::with_capacity(QUESTIONS);
    let mut best = vec![Duration::MAX; AGENTS];
    let mut permits = 0;
    for round in 0..QUESTIONS {
        // Out of order, so that no question finds the caches warm from its neighbour.
        let n = round * 7_919 % AGENTS;
        let (Some(question), Some(best)) = (questions.get(n), best.get_mut(n)) else { continue };
        let begun = Instant::now();
        let decision = pdp.decide(black_box(question));
        let time = begun.elapsed();
        permits += usize::from(matches!(decision, Decision::Permit(_)));
        times.push(time);
        *best = time.min(*best);
    }
    times.sort_unstable();
    best.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let p99 = Row::of("time of a decision, p99", micros(percentile(&times, 99)), "us");
    let rows = vec![
        Row::of("time of a decision, p50", micros(percentile(&times, 50)), "us"),
        p99.against(Target::AtMost(50.0)),
        // What the machine did meanwhile is in the figure above, not in this one.
        Row::of("best time of each question, p99", micros(percentile(&best, 99)), "us"),
        Row::of("to compile the rules", compiled.as_secs_f64() * 1_000.0, "ms"),
    ];
    let how = format!(
        "{found} rules, {} entities; {QUESTIONS} decisions on one thread, {:.0} % of them permits",
        AGENTS + AUDIENCES * (1 + TOOLS_EACH),
        count(permits) * 100.0 / count(QUESTIONS)
    );
    Ok(Measurement { what: format!("policy decision in process, {number} rules"), how, rows })
}

/// Of each ten rules seven are for one agent, two for one audience; of the rest most forbid a tool,
/// and one in fifty is for everyone.
fn rules(number: usize) -> String {
    let mut text = String::new();
    let everyone = (number / 50).max(1);
    let (agents, audiences) = (number * 7 / 10, number * 2 / 10);
    for n in 0..agents {
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
    for n in 0..audiences {
        let _ = writeln!(
            text,
            "@id(\"audience-{n}\")
            permit(principal is Aims::Agent, action in [Aims::Action::\"tool.call\",
                Aims::Action::\"tool.list\"], resource in Aims::Audience::\"{}\")
            when {{ context.scope.contains(\"tools:{n}\") && !context.autonomous }};",
            audience(n)
        );
    }
    for n in 0..number.saturating_sub(agents + audiences + everyone) {
        let _ = writeln!(
            text,
            "@id(\"forbid-{n}\") @reason(\"it is being repaired\")
            forbid(principal, action == Aims::Action::\"tool.call\",
                resource == Aims::Tool::\"{}#t0\") unless {{ principal.owner == \"ops\" }};",
            audience(n)
        );
    }
    for n in 0..everyone {
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
