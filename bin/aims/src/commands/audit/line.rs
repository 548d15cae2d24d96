//! A record for people: in a line, and whole.

use api::admin::messages::Line;
use monitoring::{Outcome, Record};
use serde_json::Value;

use crate::output::{pairs, plain, when};

/// A line of the log as it came; what does not read is shown as it is.
pub(crate) fn of_json(text: &str) -> String {
    serde_json::from_str::<Line>(text).map_or_else(|_| plain(text), |line| of_line(&line))
}

/// The same, taken apart.
pub(crate) fn of_line(line: &Line) -> String {
    let text = line.record.get();
    Record::decode(text.as_bytes()).map_or_else(|_| plain(text), |record| brief(&record))
}

/// When, how it ended, what (the event that `--where` finds it by, and the action, where that says
/// more), who → what with, why, audit id.
fn brief(record: &Record) -> String {
    let who = [&record.operator, &record.agent, &record.subject, &record.transport];
    let who = who.into_iter().flatten().next().cloned().unwrap_or_else(|| "-".to_owned());
    let ordered = record.operator.as_ref().and(record.agent.as_ref().or(record.subject.as_ref()));
    let mut text = format!(
        "{}  {:9}  {}  {}",
        when(record.time),
        record.outcome.name(),
        crate::asked::what(record),
        plain(&who)
    );
    if let Some(resource) = ordered.or(record.resource.as_ref()) {
        text.push_str(&format!(" → {}", plain(resource)));
    }
    if !record.rules.is_empty() {
        text.push_str(&format!("  by {}", plain(&record.rules.join(", "))));
    }
    if let Some(why) = &record.why {
        text.push_str(&format!("  {}", plain(&why.message)));
    }
    text.push_str(&format!("  {}", record.id));
    text
}

/// Everything that the record says.
pub(crate) fn whole(record: &Record, log: &str, index: u64) -> String {
    let mut rows = vec![
        ("audit id", record.id.to_string()),
        ("time", record.time.to_string()),
        ("log", format!("{log}, entry {index}, written by {}", record.component.0)),
        ("event", record.event.name().to_owned()),
        ("action", record.action.clone()),
        ("outcome", record.outcome.name().to_owned()),
    ];
    if let Some(why) = &record.why {
        let word = if record.outcome == Outcome::Refused { "refused for" } else { "failed for" };
        rows.push((word, format!("{} [{}]", why.message, why.check)));
        rows.extend(why.needs.iter().map(|needs| ("would need", needs.clone())));
    }
    let some = |name, value: &Option<String>| value.clone().map(|value| (name, value));
    rows.extend(some("agent", &record.agent));
    rows.extend(some("on behalf of", &record.subject));
    rows.extend(list("actors", record.actors.iter().cloned()));
    rows.extend(some("resource", &record.resource));
    rows.extend(some("operator", &record.operator));
    rows.extend(some("channel of", &record.transport));
    rows.extend(some("proved by", &record.proof));
    rows.extend(list("rules", record.rules.iter().cloned()));
    rows.extend(some("policy", &record.policy));
    rows.extend(some("task", &record.root));
    rows.extend(some("transaction", &record.txn));
    rows.extend(some("token", &record.jti));
    rows.extend(some("came of token", &record.parent));
    rows.extend(record.after.map(|id| ("follows", id.to_string())));
    rows.extend(some("trace id", &record.trace));
    rows.extend(record.epoch.map(|epoch| ("epoch", epoch.to_string())));
    let measured = record.attestation.iter().map(|(name, value)| format!("{name}: {value}"));
    rows.extend(list("attestation", measured));
    if record.facts != Value::Null {
        rows.push(("facts", crate::output::json(&record.facts)));
    }
    let mut text = pairs(rows);
    if let Some(root) = &record.root {
        text.push_str(&format!("\nthe whole task: aims audit trace {}\n", plain(root)));
    }
    text
}

fn list(
    name: &'static str,
    values: impl Iterator<Item = String>,
) -> Option<(&'static str, String)> {
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then(|| (name, values.join("\n")))
}
