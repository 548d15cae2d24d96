//! A trace for a terminal: one line a record.

use std::fmt::Write as _;

use super::{Gap, Missing, Node, Place, Trace};
use crate::record::{Event, Outcome, Record};

/// The deepest level that is drawn as such; what is deeper stands beside it.
const DEPTH_DRAWN_MAX: usize = 24;
/// The longest text of a record in a line, in characters.
const TEXT_CHARS_MAX: usize = 160;
/// How much of a policy version is shown, in characters.
const VERSION_CHARS: usize = 12;

/// How much of an identifier is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Identifiers without the trust domain, where the whole trace has only one.
    Short,
    /// Everything as it was recorded.
    Whole,
}

/// The tree as text: UTF-8, no colours, a final newline. Whatever a record holds, it is shown as
/// text and cannot steer the terminal.
pub fn render(trace: &Trace, style: Style) -> String {
    let domain = match style {
        Style::Short => sole_domain(trace),
        Style::Whole => None,
    };
    let names = Names { domain };
    let mut text = heading(trace, &names);
    for (node, lead) in trace.nodes.iter().zip(leads(&trace.nodes)) {
        text.push_str(&lead);
        text.push_str(&line(node, &names));
        text.push('\n');
    }
    text.push_str(&footing(trace));
    text
}

fn heading(trace: &Trace, names: &Names<'_>) -> String {
    let mut text = format!("trace {}", plain(&trace.root));
    if let Some(domain) = names.domain {
        let _ = write!(text, " in {}", plain(domain));
    }
    let first = trace.nodes.first().map(|node| day(&node.record));
    let last = trace.nodes.iter().map(|node| day(&node.record)).max();
    match (first, last) {
        (Some(first), Some(last)) if first == last => text.push_str(&format!(", {first}")),
        (Some(first), Some(last)) => text.push_str(&format!(", {first} to {last}")),
        _ => text.push_str(": no record"),
    }
    text.push('\n');
    text
}

fn footing(trace: &Trace) -> String {
    let mut text = String::new();
    for Gap { record, missing } in &trace.gaps {
        let what = match missing {
            Missing::Token(jti) => format!("the issue of token {}", plain(jti)),
            Missing::Record(id) => format!("record {id}"),
        };
        let _ = writeln!(text, "gap: {record} follows {what}, which is not among the records");
    }
    if trace.omitted > 0 {
        let _ = writeln!(text, "{} more records are not shown", trace.omitted);
    }
    text
}

/// The lines of the tree before each node.
fn leads(nodes: &[Node]) -> Vec<String> {
    // From the end: whether something more comes on a level, before the level above goes on.
    let mut more = [false; DEPTH_DRAWN_MAX + 1];
    let mut leads: Vec<_> = nodes
        .iter()
        .rev()
        .map(|node| {
            let depth = node.depth.clamp(1, DEPTH_DRAWN_MAX);
            let mut lead = String::new();
            for above in more.iter().take(depth).skip(1) {
                lead.push_str(if *above { "│  " } else { "   " });
            }
            let goes_on = more.get(depth).is_some_and(|more| *more);
            lead.push(if goes_on { '├' } else { '└' });
            lead.push_str(match node.place {
                Place::Lineage => "─ ",
                Place::Meanwhile => "╌ ",
                Place::Gap => "? ",
            });
            for (level, more) in more.iter_mut().enumerate().skip(depth) {
                *more = level == depth;
            }
            lead
        })
        .collect();
    leads.reverse();
    leads
}

/// Time of day, what, who → what with, how it ended and why, under which policy, audit id.
fn line(node: &Node, names: &Names<'_>) -> String {
    let record = &node.record;
    let written = record.time.to_string();
    let time = written.get(11..23).unwrap_or_default();
    let mut text = format!("{time} {}", words(record));
    let (who, whom) = match node.place {
        Place::Meanwhile => (&record.operator, record.agent.as_ref().or(record.subject.as_ref())),
        Place::Lineage | Place::Gap => (&record.agent, record.resource.as_ref()),
    };
    if record.event != Event::CallFinished {
        let who = who.as_ref().or(record.transport.as_ref());
        let _ = write!(text, "  {}", who.map_or("?".to_owned(), |id| names.short(id)));
        if let Some(subject) = behalf(node, who) {
            let _ = write!(text, " for {}", names.short(subject));
        }
        if let Some(whom) = whom {
            let _ = write!(text, " → {}", names.short(whom));
        }
    }
    let _ = write!(text, "  {}", ending(record));
    if let Some(policy) = &record.policy {
        let version = policy.strip_prefix("sha256:").unwrap_or(policy);
        let short: String = version.chars().take(VERSION_CHARS).collect();
        let _ = write!(text, " (policy {})", plain(&short));
    }
    let _ = write!(text, "  {}", record.id);
    text
}

/// What happened, in words.
pub fn words(record: &Record) -> String {
    match record.event {
        Event::CallFinished => "call finished".to_owned(),
        _ => plain(&record.action.replace(['.', '_'], " ")),
    }
}

/// For whom it was done, where that is somebody else.
fn behalf<'a>(node: &'a Node, who: Option<&String>) -> Option<&'a String> {
    let subject = node.record.subject.as_ref()?;
    (node.place != Place::Meanwhile && Some(subject) != who).then_some(subject)
}

/// How it ended, by which rules, and why: one line, as text that steers nothing.
pub fn ending(record: &Record) -> String {
    let mut text = record.outcome.name().to_owned();
    if let Some(status) = record.facts.get("status").and_then(serde_json::Value::as_u64) {
        let _ = write!(text, ", status {status}");
    }
    // A human's answer is told by who gave it; in whose name it is stands elsewhere.
    if let Some(who) = record
        .attestation
        .get("answered_by")
        .or_else(|| record.operator.as_ref().filter(|_| record.event == Event::ApprovalAnswered))
    {
        let _ = write!(text, ", answered by {}", plain(who));
    }
    if !record.rules.is_empty() {
        let rules: Vec<_> = record.rules.iter().map(|rule| plain(rule)).collect();
        let _ = write!(text, " by {}", rules.join(", "));
    }
    if let Some(why) = &record.why {
        let _ = write!(text, ": {} [{}]", plain(&why.message), plain(&why.check));
        if let Some(needs) = why.needs.as_ref().filter(|needs| !why.message.contains(*needs)) {
            let _ = write!(text, ", needs {}", plain(needs));
        }
    } else if record.outcome == Outcome::Done && record.event == Event::AgentLifecycle {
        let reason = record.facts.get("reason").and_then(serde_json::Value::as_str);
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            let _ = write!(text, ": {}", plain(reason));
        }
    }
    text
}

fn day(record: &Record) -> String {
    record.time.to_string().chars().take(10).collect()
}

/// How identifiers are written.
struct Names<'a> {
    domain: Option<&'a str>,
}

impl Names<'_> {
    fn short(&self, id: &str) -> String {
        let within = self.domain.and_then(|domain| {
            id.strip_prefix("spiffe://")?.strip_prefix(domain)?.strip_prefix('/')
        });
        plain(within.unwrap_or(id))
    }
}

/// The trust domain of all identifiers, if they have only one.
fn sole_domain(trace: &Trace) -> Option<&str> {
    let mut domains = trace.nodes.iter().flat_map(|node| {
        let record = &node.record;
        let named = record.agent.iter().chain(&record.subject).chain(&record.resource);
        let named = named.chain(&record.transport).chain(&record.actors);
        named.filter_map(|id| id.strip_prefix("spiffe://")?.split('/').next())
    });
    let first = domains.next()?;
    domains.all(|other| other == first).then_some(first)
}

/// Text that stays text: what could steer a terminal, or write from right to left, is escaped; what
/// is very long is cut.
fn plain(text: &str) -> String {
    let cut: String = text.chars().take(TEXT_CHARS_MAX).collect();
    let mut plain = letters::written_out(&cut);
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        plain.push('…');
    }
    plain
}
