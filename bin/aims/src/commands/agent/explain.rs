//! `aims agent explain`: what an agent was measured as, what it got for it and why, from the log.

use std::collections::BTreeMap;

use api::admin::messages::ResultShown;
use attestation::class::Grade;
use identifier::AgentName;
use monitoring::record::Term;
use monitoring::{Event, Outcome, Record};
use registry::AgentRecord;
use serde::Serialize;
use serde_json::Value;
use time::{Span, UnixTime};

use crate::commands::Context;
use crate::exit::Failure;
use crate::output::{Table, pairs, plain, when};

/// What the help ends with.
pub(super) const EXAMPLES: &str = "Example:
  aims agent explain researcher

For each kind of credential: when the last one was issued and ends, on which node, on what
evidence, under which policy; and the last refusals. Each line names its record:
`aims audit show ID` tells all of it.";

/// Records of one page of a search.
const PAGE: usize = 500;
/// Refusals that are told.
const REFUSALS: usize = 5;

#[derive(Serialize)]
struct Explained {
    agent: AgentRecord,
    /// What the evidence amounted to on each host, when it was appraised last.
    results: Vec<ResultShown>,
    /// The last of each kind.
    credentials: Vec<Issued>,
    /// The last refusals, newest last.
    refusals: Vec<Refused>,
}

#[derive(Serialize)]
struct Issued {
    kind: String,
    issued: UnixTime,
    ends: Option<UnixTime>,
    /// When the node asks again, and is measured again; about.
    assessed_next: Option<UnixTime>,
    node: Option<String>,
    evidence: BTreeMap<String, String>,
    /// What of policy and record decided.
    decided_by: Value,
    policy: Option<String>,
    audit_id: String,
}

#[derive(Serialize)]
struct Refused {
    time: UnixTime,
    action: String,
    check: String,
    why: String,
    policy: Option<String>,
    audit_id: String,
}

/// Does it.
pub(super) async fn run(context: &Context, name: &AgentName) -> Result<(), Failure> {
    let server = context.server();
    let agent = server.agent(name).await?;
    let (id, mut credentials, mut refusals) = (agent.id.to_string(), BTreeMap::new(), Vec::new());
    for log in server.status().await?.logs {
        let mut after = None::<String>;
        loop {
            let by = (Term::Agent.name(), id.as_str());
            let log = Some(log.name.as_str());
            let page = server.find(by, log, after.as_deref(), Some(PAGE)).await?;
            for line in &page.items {
                let Ok(record) = Record::decode(line.record.get().as_bytes()) else { continue };
                take(record, &mut credentials, &mut refusals);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    refusals.sort_by_key(|refused: &Refused| refused.time);
    refusals.drain(..refusals.len().saturating_sub(REFUSALS));
    let credentials = credentials.into_values().collect();
    let results = server.evidence(name).await?.results;
    let explained = Explained { agent, results, credentials, refusals };
    context.output.show(&explained, || human(context, &explained))
}

fn take(record: Record, issued: &mut BTreeMap<String, Issued>, refusals: &mut Vec<Refused>) {
    let concerns = matches!(record.event, Event::CredentialIssued | Event::WorkloadAttested);
    if !concerns {
        return;
    }
    let audit_id = record.id.to_string();
    if record.outcome == Outcome::Refused {
        let Some(why) = record.why else { return };
        let (time, action, policy) = (record.time, record.action, record.policy);
        refusals.push(Refused {
            time,
            action,
            check: why.check,
            why: why.message,
            policy,
            audit_id,
        });
    } else if record.event == Event::CredentialIssued {
        let kind = record.action.rsplit('.').next().unwrap_or_default().to_owned();
        let time = |name: &str| {
            let value = record.facts.get(name).cloned()?;
            serde_json::from_value::<UnixTime>(value).ok()
        };
        let ends = time("ends");
        let half = |ends: UnixTime| {
            let life = ends.since(record.time);
            record.time.plus(Span::from_millis(life.millis() / 2))
        };
        let last = Issued {
            kind: kind.clone(),
            issued: record.time,
            ends,
            assessed_next: ends.filter(|_| kind != "jwt").map(half),
            node: record.transport,
            evidence: record.attestation,
            decided_by: record.facts,
            policy: record.policy,
            audit_id,
        };
        issued.insert(kind, last);
    }
}

fn human(context: &Context, explained: &Explained) -> String {
    let Explained { agent, results, credentials, refusals } = explained;
    let rule = &agent.entry.rule;
    let selectors: Vec<_> = rule.selectors.iter().map(ToString::to_string).collect();
    let life = &agent.lifecycle;
    let mut text = pairs([
        ("identifier", agent.id.to_string()),
        ("state", format!("{} since {}: {}", life.state, when(life.since), plain(&life.reason))),
        ("may be", format!("a process with {}", plain(&selectors.join(", ")))),
        ("risk class", rule.class.clone()),
    ]);
    for result in results {
        text.push_str(&appraised(context, result));
    }
    if credentials.is_empty() {
        text.push_str("\nIt got no credential yet.\n");
    }
    for one in credentials {
        let facts = |name: &str| list(one.decided_by.get(name));
        let evidence: Vec<_> =
            one.evidence.iter().filter(|(name, _)| is_measured(name)).map(told).collect();
        let lasts = one.ends.map_or_else(|| "-".to_owned(), when);
        let next = one.assessed_next.map_or_else(|| "at the next request".to_owned(), when);
        text.push_str(&format!("\n{}\n", context.output.bold(&one.kind)));
        text.push_str(&pairs([
            ("  issued", format!("{}, ends {lasts}", when(one.issued))),
            ("  measured", plain(&evidence.join(", "))),
            ("  by node", plain(one.node.as_deref().unwrap_or("-"))),
            ("  class demands", facts("demands")),
            ("  class issues", facts("issues")),
            ("  policy", one.policy.clone().unwrap_or_default()),
            ("  result", result_of(&one.evidence)),
            ("  assessed next", next),
            ("  audit id", one.audit_id.clone()),
        ]));
    }
    if !refusals.is_empty() {
        let mut table = Table::new(&["REFUSED", "ACTION", "WHY", "AUDIT ID"]);
        for one in refusals {
            let (action, why) = (plain(&one.action), plain(&one.why));
            table.row([when(one.time), action, why, one.audit_id.clone()]);
        }
        text.push_str(&format!("\n{}", table.render(context.output)));
    }
    text
}

/// The result on one host, part by part.
fn appraised(context: &Context, result: &ResultShown) -> String {
    let title = context.output.bold("attestation");
    let gets = match result.grade {
        Some(Grade::Full) => "everything of its class",
        Some(Grade::Warned) => "what its class leaves after a warning",
        None => "nothing",
    };
    let mut lines = vec![
        ("  by host", plain(&result.host)),
        ("  tier", format!("{}: it gets {gets}", result.tier)),
    ];
    let parts: Vec<_> =
        result.parts.iter().map(|(name, told)| (format!("  {name}"), told)).collect();
    lines.extend(parts.iter().map(|(name, told)| (name.as_str(), plain(told))));
    lines.push(("  assessed next", format!("{} at the latest", when(result.until))));
    lines.push(("  result", result.digest.clone()));
    format!("\n{title}\n{}", pairs(lines))
}

/// Whether a line of the evidence was measured; the others tell what it amounted to.
fn is_measured(name: &str) -> bool {
    !name.starts_with("part.") && !matches!(name, "result" | "tier" | "grade")
}

fn told((name, value): (&String, &String)) -> String {
    format!("{name} {value}")
}

/// The result that a credential was issued on.
fn result_of(evidence: &BTreeMap<String, String>) -> String {
    let part = |name: &str| evidence.get(name).map(|value| plain(value));
    match (part("tier"), part("result")) {
        (Some(tier), Some(digest)) => format!("{tier}, {digest}"),
        _ => "-".to_owned(),
    }
}

fn list(value: Option<&Value>) -> String {
    let all = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> = all.iter().filter_map(Value::as_str).collect();
    if names.is_empty() { "nothing".to_owned() } else { plain(&names.join(", ")) }
}
