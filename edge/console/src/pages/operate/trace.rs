//! The story of a task, for operators.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::response::Response;
use basis::facts::{Basis, basis};
use consent::acting;
use env::{Unavailable, World};
use http::StatusCode;
use monitoring::trace::{Missing, Node, Place, Trace, ending, words};
use monitoring::{Event, Outcome};

use super::lists;
use crate::Shared;
use crate::page::{self, Frame};
use crate::pages::acting::place;
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
    who: Option<Called>,
    /// In whose name, where that is somebody else.
    behalf: Option<Called>,
    whom: Option<Called>,
    ended: String,
    tag: &'static str,
    note: &'static str,
}

/// Somebody or something: what it is called, and its identifier.
struct Called {
    name: String,
    id: String,
}

/// What identifiers are called: of agents, clients and people, and of resources.
struct Names<'a, W> {
    world: &'a W,
    facts: Basis,
    known: BTreeMap<String, String>,
}

impl<'a, W: World> Names<'a, W> {
    async fn of(world: &'a W, trace: Option<&Trace>) -> Result<Self, Unavailable> {
        let mut ids = BTreeSet::new();
        for node in trace.iter().flat_map(|trace| &trace.nodes) {
            let one = &node.record;
            let all = [&one.agent, &one.subject, &one.operator, &one.transport];
            ids.extend(all.into_iter().flatten().cloned());
        }
        let known = acting::names(world, &ids).await?;
        Ok(Self { world, facts: basis(world, Vec::new()).await?, known })
    }

    fn called(&self, id: &str) -> Called {
        let known = self.known.get(id).cloned();
        let name = known.unwrap_or_else(|| place(self.world, &self.facts, id));
        Called { name: if name == id { String::new() } else { name }, id: id.to_owned() }
    }
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
    let Ok(names) = Names::of(shared.world.as_ref(), trace.as_ref()).await else {
        return page::unavailable();
    };
    let lines = trace.iter().flat_map(|trace| trace.nodes.iter().map(|node| line(node, &names)));
    let shown = Page {
        frame: visit.frame("Audit trace", "operate"),
        asked: &asked,
        missing,
        root: trace.as_ref().map(|trace| trace.root.clone()).unwrap_or_default(),
        lines: lines.collect(),
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

fn line<W: World>(node: &Node, names: &Names<'_, W>) -> Line {
    let record = &node.record;
    let time = record.time.to_string();
    let (who, whom) = match node.place {
        Place::Meanwhile => (&record.operator, record.agent.as_ref().or(record.subject.as_ref())),
        Place::Lineage | Place::Gap => (&record.agent, record.resource.as_ref()),
    };
    let who = who.as_ref().or(record.operator.as_ref()).or(record.transport.as_ref());
    let behalf = record.subject.as_ref().filter(|subject| Some(*subject) != who);
    let behalf = behalf.filter(|_| node.place != Place::Meanwhile);
    let told = record.event != Event::CallFinished;
    let called = |id: Option<&String>| id.filter(|_| told).map(|id| names.called(id));
    Line {
        id: record.id.to_string(),
        depth: node.depth.clamp(1, DEPTH_DRAWN_MAX),
        day: time.get(..10).unwrap_or_default().to_owned(),
        time: time.get(11..23).unwrap_or_default().to_owned(),
        what: words(record),
        who: called(who),
        behalf: called(behalf),
        whom: called(whom),
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
