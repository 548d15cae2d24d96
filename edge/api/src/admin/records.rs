//! Orders about the audit logs: tail, show, find, trace, prove, export.

use std::sync::Arc;

use axum::extract::State;
use env::World;
use http::{HeaderValue, StatusCode, Uri};
use monitoring::record::Term;
use monitoring::{Cut, RecordId};
use serde_json::value::RawValue;
use time::UnixTime;

use crate::admin::Shared;
use crate::admin::messages::{Line, Page, TraceShown};
use crate::admin::problem::Undone;
use crate::admin::query::{At, Query};
use crate::admin::router::Ended;
use crate::answer::{self, NO_STORE};
use crate::audit::{Audit, AuditFault, Entry};
use crate::lines::{self, Format, Reading};
use crate::story::{self, Told, decode};

/// The most records of one page.
const PAGE_MAX: usize = 1_000;

/// The end of a log as lines of JSON: `from` an index, or the `last` so many; with `follow` for as
/// long as somebody reads.
pub(crate) async fn tail<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["log", "from", "last", "follow"])?;
    let audit = Arc::clone(&shared.audit);
    let log = log(&*audit, query.get("log"))?;
    let size = audit.size(&log).map_err(|fault| Undone::from(&fault))?;
    let last = query.number("last")?.unwrap_or(10);
    let first = audit.first(&log).map_err(|fault| Undone::from(&fault))?;
    let from = query.number("from")?.unwrap_or_else(|| size.saturating_sub(last).max(first));
    let reading = Reading { log, from, until: None, format: Format::Record };
    Ok(lines::answer(audit, reading, query.flag("follow")?))
}

/// A log, or a span of time of it, as lines of JSON: as the records lie there, or as OCSF.
pub(crate) async fn export<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["log", "from_ms", "to_ms", "format"])?;
    let audit = Arc::clone(&shared.audit);
    let log = log(&*audit, query.get("log"))?;
    let format = match query.get("format").unwrap_or("aims") {
        "aims" => Format::Record,
        "ocsf" => Format::Ocsf,
        other => {
            let why = format!("no format `{other}`; there are `aims` and `ocsf`");
            return Err(Undone::misused(why));
        }
    };
    let since = query.number("from_ms")?.map(UnixTime::from_millis);
    let until = query.number("to_ms")?.map(UnixTime::from_millis);
    let (doors, name) = (Arc::clone(&audit), log.clone());
    let from = blocking(move || match since {
        Some(since) => doors.since(&name, since),
        None => doors.first(&name),
    });
    let reading = Reading { log, from: from.await?, until, format };
    Ok(lines::answer(audit, reading, false))
}

/// One record by its id, whichever log it is in.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(text): At<String>,
) -> Ended {
    let wrong = || Undone::misused(format!("`{text}` is no audit id"));
    let id = RecordId::parse(&text).ok_or_else(wrong)?;
    let audit = Arc::clone(&shared.audit);
    let found = blocking(move || {
        for log in audit.logs() {
            if let Some(entry) = audit.by_id(&log, &id.bytes())? {
                return line(&log, entry).map(Ok);
            }
        }
        // An id tells its time.
        cuts(&*audit, |cut| id.time().is_some_and(|time| time <= cut.last)).map(Err)
    });
    let unknown = |cuts| Undone::not_found(format!("no record `{text}` in these logs{cuts}"));
    found.await?.map(|line| answer::json(StatusCode::OK, &line)).map_err(unknown)
}

/// Records with a term, oldest first.
pub(crate) async fn find<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["log", "term", "value", "after", "limit"])?;
    let audit = Arc::clone(&shared.audit);
    let log = log(&*audit, query.get("log"))?;
    let name = query.required("term")?;
    let term = Term::parse(name).ok_or_else(|| {
        let known: Vec<_> = Term::ALL.iter().map(|term| term.name()).collect();
        Undone::misused(format!("no term `{name}`; there are `{}`", known.join("`, `")))
    })?;
    let value = query.required("value")?.to_owned();
    let (after, limit) = (query.number("after")?, query.limit(PAGE_MAX)?);
    let page = blocking(move || {
        let entries = audit.by_term(&log, term, &value, after, limit)?;
        let last = entries.last().map(|entry| entry.index);
        let next = last.filter(|_| entries.len() >= limit).map(|index| index.to_string());
        let items = entries.into_iter().map(|entry| line(&log, entry)).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    });
    Ok(answer::json(StatusCode::OK, &page.await?))
}

/// The whole story of a task: by its root, its transaction, or any token of it.
pub(crate) async fn trace<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(text): At<String>,
) -> Ended {
    let audit = Arc::clone(&shared.audit);
    let asked = text.clone();
    let shown = blocking(move || match story::of(&*audit, &asked)? {
        Some(told) => shown(told).map(Ok),
        None => cuts(&*audit, |_| true).map(Err),
    });
    let unknown = |cuts| {
        Undone::not_found(format!("nothing has the root, transaction or token `{text}`{cuts}"))
    };
    shown.await?.map(|shown| answer::json(StatusCode::OK, &shown)).map_err(unknown)
}

fn shown(told: Told) -> Result<TraceShown, AuditFault> {
    let lines = told.records.into_iter().map(|(log, entry, _)| line(&log, entry));
    let records = lines.collect::<Result<_, _>>()?;
    Ok(TraceShown { root: told.root, records, cut: told.cut })
}

/// A proof that an entry is in its log.
pub(crate) async fn prove<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At((log, index)): At<(String, String)>,
) -> Ended {
    let wrong = |_| Undone::misused(format!("`{index}` is no index"));
    let index: u64 = index.parse().map_err(wrong)?;
    let audit = Arc::clone(&shared.audit);
    let proof = blocking(move || audit.proof(&log, index)).await?;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(answer::kept(answer::bytes(StatusCode::OK, text, proof.into_bytes()), NO_STORE))
}

/// What was cut off the logs, as far as it `concerns` what was not found: the end of a sentence.
fn cuts(audit: &dyn Audit, concerns: impl Fn(&Cut) -> bool) -> Result<String, AuditFault> {
    let mut told = String::new();
    for log in audit.logs() {
        let Some(entry) = audit.record_of_cut(&log)? else { continue };
        let record = decode(&entry)?;
        if let Some(cut) = Cut::of(&record).filter(&concerns) {
            told.push_str("; ");
            told.push_str(&cut.told(&record));
        }
    }
    Ok(told)
}

/// Runs what blocks on files where that is allowed.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, AuditFault> + Send + 'static,
) -> Result<T, Undone> {
    let read = tokio::task::spawn_blocking(read).await;
    let fault = |why: &dyn std::fmt::Display| AuditFault::Unreadable { why: why.to_string() };
    read.unwrap_or_else(|error| Err(fault(&error))).map_err(|fault| Undone::from(&fault))
}

/// The log of that name, or the server's own.
fn log(audit: &dyn Audit, name: Option<&str>) -> Result<String, Undone> {
    let known = audit.logs();
    match name {
        None => known.into_iter().next().ok_or_else(|| Undone::not_found("there is no log here")),
        Some(name) if known.iter().any(|log| log == name) => Ok(name.to_owned()),
        Some(name) => {
            let (log, known) = (name.to_owned(), known.join(", "));
            Err(Undone::from(&AuditFault::NoLog { log, known }))
        }
    }
}

/// An entry as a line: its bytes as they are, which must be JSON.
pub(crate) fn line(log: &str, entry: Entry) -> Result<Line, AuditFault> {
    let damaged = |why: &dyn std::fmt::Display| AuditFault::Unreadable {
        why: format!("entry {}: {why}", entry.index),
    };
    let text = std::str::from_utf8(&entry.bytes).map_err(|error| damaged(&error))?;
    let record = RawValue::from_string(text.to_owned()).map_err(|error| damaged(&error))?;
    Ok(Line { log: log.to_owned(), index: entry.index, record })
}
