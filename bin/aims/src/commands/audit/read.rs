//! `aims audit tail` and `export`: one log, or all of them in the order of time.

use std::collections::VecDeque;

use api::admin::messages::Line;
use api::client::{Client, Lines};
use monitoring::Record;
use monitoring::record::Term;
use time::{Span, UnixTime};
use tokio::sync::mpsc;
use wiring::world::SystemClock;

use super::{ExportFormat, Tail, line};
use crate::commands::Context;
use crate::exit::Failure;

/// Records of one page of a search.
const PAGE: usize = 500;
/// Lines that wait to be shown, of all logs together.
const WAITING: usize = 256;

/// Shows the last records, of one log or of all.
pub(super) async fn tail(context: &Context, args: &Tail) -> Result<(), Failure> {
    let server = context.server();
    let logs = logs(&server, args.log.as_deref()).await?;
    let mut last = Vec::new();
    let mut following = Vec::new();
    for Known { name: log, first } in logs {
        let found = match &args.condition {
            Some((term, value)) => find(&server, &log, (*term, value), args.last).await?,
            None => last_of(&server, &log, args.last).await?,
        };
        if (found.len() as u64) < args.last {
            tell_cut(context, &log, first);
        }
        if args.follow {
            let next = found.back().map_or(0, |line| line.index.saturating_add(1));
            following.push(server.tail(Some(&log), (Some(next), None), true).await?);
        }
        last.extend(found);
    }
    // Two logs' records of one moment stay in the order of the logs.
    last.sort_by_key(when);
    let surplus = last.len().saturating_sub(usize::try_from(args.last).unwrap_or(usize::MAX));
    for one in last.iter().skip(surplus) {
        show(context, one)?;
    }
    follow(context, following).await
}

/// Writes one log out, or one after the other.
pub(super) async fn export(
    context: &Context,
    format: ExportFormat,
    since: Option<Span>,
    log: Option<String>,
) -> Result<(), Failure> {
    let format = match format {
        ExportFormat::Ocsf => "ocsf",
        ExportFormat::Json => "aims",
    };
    let server = context.server();
    let from = since.map(|span| SystemClock::read().minus(span)).map(UnixTime::millis);
    for Known { name: log, first } in logs(&server, log.as_deref()).await? {
        if since.is_none() {
            tell_cut(context, &log, first);
        }
        let mut lines = server.export(Some(&log), (from, None), format).await?;
        while let Some(text) = lines.next().await? {
            context.output.text(&format!("{text}\n"))?;
        }
    }
    Ok(())
}

/// A log, and the first entry that is not cut.
struct Known {
    name: String,
    first: u64,
}

/// The log that was named, or all of this installation.
async fn logs(server: &Client, named: Option<&str>) -> Result<Vec<Known>, Failure> {
    let known = server.status().await?.logs.into_iter();
    let known: Vec<_> = known.map(|log| Known { name: log.name, first: log.first }).collect();
    let Some(name) = named else { return Ok(known) };
    // Of one that is not there the server says so itself.
    let first = known.iter().find(|log| log.name == name).map_or(0, |log| log.first);
    Ok(vec![Known { name: name.to_owned(), first }])
}

/// Says that there was more once.
fn tell_cut(context: &Context, log: &str, first: u64) {
    if first > 0 {
        let text = "what was before is older than policy keeps and was cut";
        context.output.note(&format!("`{log}` begins with entry {first}: {text}"));
    }
}

async fn last_of(server: &Client, log: &str, last: u64) -> Result<VecDeque<Line>, Failure> {
    let mut lines = server.tail(Some(log), (None, Some(last)), false).await?;
    let mut found = VecDeque::new();
    while let Some(text) = lines.next().await? {
        let read = serde_json::from_str::<Line>(&text);
        found.push_back(read.map_err(|error| {
            Failure::unavailable(format!("a line of `{log}`: {error}"))
                .hint("the server may be of another version than the command")
        })?);
    }
    Ok(found)
}

async fn find(
    server: &Client,
    log: &str,
    (term, value): (Term, &str),
    last: u64,
) -> Result<VecDeque<Line>, Failure> {
    let last = usize::try_from(last).unwrap_or(usize::MAX);
    let (mut found, mut after) = (VecDeque::new(), None::<String>);
    loop {
        let by = (term.name(), value);
        let page = server.find(by, Some(log), after.as_deref(), Some(PAGE)).await?;
        found.extend(page.items);
        while found.len() > last {
            found.pop_front();
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// When the record was made; what does not read comes first, where it is seen.
fn when(line: &Line) -> Option<UnixTime> {
    Record::decode(line.record.get().as_bytes()).ok().map(|record| record.time)
}

fn show(context: &Context, one: &Line) -> Result<(), Failure> {
    let text = if context.output.is_json() {
        serde_json::to_string(one).map_err(|error| Failure::unavailable(error.to_string()))?
    } else {
        line::of_line(one)
    };
    context.output.text(&format!("{text}\n"))
}

/// Shows what comes in any of the logs, until one of them ends.
async fn follow(context: &Context, following: Vec<Lines>) -> Result<(), Failure> {
    let (sender, mut waiting) = mpsc::channel(WAITING);
    let mut readers = tokio::task::JoinSet::new();
    for mut lines in following {
        let sender = sender.clone();
        readers.spawn(async move {
            loop {
                let next = lines.next().await.transpose();
                let Some(next) = next else { return };
                let failed = next.is_err();
                if sender.send(next).await.is_err() || failed {
                    return;
                }
            }
        });
    }
    drop(sender);
    while let Some(text) = waiting.recv().await {
        let text = text?;
        let text = if context.output.is_json() { text } else { line::of_json(&text) };
        context.output.text(&format!("{text}\n"))?;
    }
    Ok(())
}
