//! The story of a task, for operators.

use askama::Template;
use axum::response::Response;
use env::World;
use http::StatusCode;
use monitoring::trace::{Missing, Node, Place, Trace, ending, words};
use monitoring::{Event, Outcome};

use super::lists;
use crate::Shared;
use crate::page::{self, Frame};
use crate::visit::Visit;

/// Characters of a root, transaction or token.
const ASKED_CHARS_MAX: usize = 512;
/// The deepest level that is drawn as such; what is deeper stands beside it.
const DEPTH_DRAWN_MAX: usize = 8;

#[derive(Template)]
#[template(path = "trace.html")]
struct Page<'a> {
    frame: Frame,
    asked: &'a str,
    /// Empty where nothing was asked for.
    missing: String,
    root: String,
    lines: Vec<Line>,
    gaps: Vec<String>,
    omitted: usize,
}

impl Page<'_> {
    fn lists(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        lists("trace")
    }
}

struct Line {
    id: String,
    depth: usize,
    day: String,
    time: String,
    what: String,
    who: String,
    whom: String,
    ended: String,
    tag: &'static str,
    note: &'static str,
}

/// `GET /console/operate/trace?id=…`: a root, a transaction or any token of the task.
pub(super) async fn show<W: World>(shared: &Shared<W>, visit: &Visit, asked: &str) -> Response {
    let asked: String = asked.trim().chars().take(ASKED_CHARS_MAX).collect();
    let (mut status, mut missing, mut trace) = (StatusCode::OK, String::new(), None);
    if !asked.is_empty() {
        match (shared.stories)(asked.clone()).await {
            Ok(found @ Some(_)) => trace = found,
            Ok(None) => {
                status = StatusCode::NOT_FOUND;
                missing = "Nothing in these logs has that root, transaction or token.".to_owned();
            }
            Err(why) => {
                status = StatusCode::SERVICE_UNAVAILABLE;
                missing = format!("The logs do not answer: {why}.");
            }
        }
    }
    let shown = Page {
        frame: visit.frame("Audit trace", "operate"),
        asked: &asked,
        missing,
        root: trace.as_ref().map(|trace| trace.root.clone()).unwrap_or_default(),
        lines: trace.iter().flat_map(|trace| trace.nodes.iter().map(line)).collect(),
        gaps: trace.iter().flat_map(gaps).collect(),
        omitted: trace.as_ref().map_or(0, |trace| trace.omitted),
    };
    visit.answer(page::show(status, &shown))
}

fn gaps(trace: &Trace) -> Vec<String> {
    let told = trace.gaps.iter().map(|gap| match &gap.missing {
        Missing::Token(jti) => format!("{} follows the issue of token {jti}", gap.record),
        Missing::Record(id) => format!("{} follows record {id}", gap.record),
    });
    told.collect()
}

fn line(node: &Node) -> Line {
    let record = &node.record;
    let time = record.time.to_string();
    let (who, whom) = match node.place {
        Place::Meanwhile => (&record.operator, record.agent.as_ref().or(record.subject.as_ref())),
        Place::Lineage | Place::Gap => (&record.agent, record.resource.as_ref()),
    };
    let who = who.as_ref().or(record.operator.as_ref()).or(record.transport.as_ref());
    let mut who = who.cloned().unwrap_or_default();
    let behalf = record.subject.as_ref().filter(|subject| **subject != who);
    if let Some(subject) = behalf.filter(|_| node.place != Place::Meanwhile) {
        who = format!("{who} for {subject}");
    }
    let told = record.event != Event::CallFinished;
    Line {
        id: record.id.to_string(),
        depth: node.depth.clamp(1, DEPTH_DRAWN_MAX),
        day: time.get(..10).unwrap_or_default().to_owned(),
        time: time.get(11..23).unwrap_or_default().to_owned(),
        what: words(record),
        who: if told { who } else { String::new() },
        whom: whom.filter(|_| told).cloned().unwrap_or_default(),
        ended: ending(record),
        tag: match record.outcome {
            Outcome::Refused => "bad",
            Outcome::Failed => "warn",
            _ => "good",
        },
        note: match node.place {
            Place::Lineage => "",
            Place::Meanwhile => "meanwhile",
            Place::Gap => "what it follows is not in these logs",
        },
    }
}
