//! Lines of JSON that are sent as they are read: a slow reader holds one batch, not a log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use monitoring::ocsf;
use time::UnixTime;
use tokio::sync::mpsc;

use crate::admin::messages::Problem;
use crate::admin::problem::Undone;
use crate::admin::records::line;
use crate::answer::{Answer, NO_STORE};
use crate::audit::{Audit, AuditFault, Entry};
use crate::story::decode;

/// Entries that are read in one go.
const BATCH: usize = 256;
/// Batches that wait for the reader.
const WAITING: usize = 2;
/// The content type: one JSON document a line.
const LINES: HeaderValue = HeaderValue::from_static("application/jsonl");

/// What is read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) log: String,
    /// The first entry.
    pub(crate) from: u64,
    /// Entries of this time or later are not sent.
    pub(crate) until: Option<UnixTime>,
    pub(crate) format: Format,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `{log, index, record}`.
    Record,
    /// An OCSF event.
    Ocsf,
}

/// How a stream ends that broke: its last line.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Broken {
    pub(crate) problem: Box<Problem>,
}

/// The entries from `reading.from` to the end as it is now, or for ever with `follow`.
pub(crate) fn answer(audit: Arc<dyn Audit>, reading: Reading, follow: bool) -> Answer {
    let (lines, waiting) = mpsc::channel(WAITING);
    tokio::spawn(send(audit, reading, follow, lines));
    let mut answer = Answer::new(Body::new(Lines(waiting)));
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, LINES);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}

/// Ends when all is sent, or nobody reads any longer.
async fn send(
    audit: Arc<dyn Audit>,
    mut reading: Reading,
    follow: bool,
    lines: mpsc::Sender<Bytes>,
) {
    let end = if follow { u64::MAX } else { audit.size(&reading.log).unwrap_or_default() };
    while reading.from < end {
        let (doors, asked) = (Arc::clone(&audit), reading.clone());
        let read = tokio::task::spawn_blocking(move || batch(&*doors, &asked, end)).await;
        let read =
            read.unwrap_or_else(|error| Err(AuditFault::Unreadable { why: error.to_string() }));
        match read {
            Err(fault) => {
                let broken = Broken { problem: Undone::from(&fault).problem };
                let _ = lines.send(to_line(&broken)).await;
                return;
            }
            Ok(Batch { next, .. }) if next == reading.from && !follow => return,
            Ok(Batch { next, .. }) if next == reading.from => {
                // INVARIANT: nothing was there at `next`, so the log has at most `next` entries.
                let grown = tokio::select! {
                    grown = audit.grown(&reading.log, next) => grown,
                    () = lines.closed() => false,
                };
                if !grown {
                    return;
                }
            }
            Ok(Batch { next, text, ended }) => {
                if lines.send(text).await.is_err() || ended {
                    return;
                }
                reading.from = next;
            }
        }
    }
}

/// Some lines, and the entry after the last of them.
struct Batch {
    next: u64,
    text: Bytes,
    /// The time was reached at which the reading ends.
    ended: bool,
}

fn batch(audit: &dyn Audit, reading: &Reading, end: u64) -> Result<Batch, AuditFault> {
    let left = usize::try_from(end.saturating_sub(reading.from)).unwrap_or(BATCH);
    if reading.from >= audit.size(&reading.log)? {
        return Ok(Batch { next: reading.from, text: Bytes::new(), ended: false });
    }
    let entries = audit.read(&reading.log, reading.from, left.min(BATCH))?;
    if entries.is_empty() {
        let why = format!("entry {} should be there", reading.from);
        return Err(AuditFault::Unreadable { why });
    }
    let (mut text, mut next) = (Vec::new(), reading.from);
    for entry in entries {
        next = entry.index.saturating_add(1);
        if let Some(until) = reading.until
            && decode(&entry)?.time >= until
        {
            return Ok(Batch { next, text: text.into(), ended: true });
        }
        text.extend_from_slice(&formatted(reading, entry)?);
    }
    Ok(Batch { next, text: text.into(), ended: false })
}

fn formatted(reading: &Reading, entry: Entry) -> Result<Bytes, AuditFault> {
    match reading.format {
        Format::Record => Ok(to_line(&line(&reading.log, entry)?)),
        Format::Ocsf => {
            let record = decode(&entry)?;
            let version = env!("CARGO_PKG_VERSION");
            let (log, index) = (reading.log.as_str(), entry.index);
            let leaf = Some(*tlog::hash_leaf(&entry.bytes).as_bytes());
            let context = ocsf::Context { version, log, index, leaf };
            Ok(to_line(&ocsf::to_ocsf(&record, &context)))
        }
    }
}

fn to_line<T: serde::Serialize>(value: &T) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// A body that is what the channel gives.
#[derive(Debug)]
struct Lines(mpsc::Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|text| text.map(|text| Ok(Frame::data(text))))
    }
}
