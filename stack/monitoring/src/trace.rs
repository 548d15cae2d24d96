//! A task as a tree: which token came from which, what was called with it, what came of that, and
//! what operators changed meanwhile (S1 §11; OBS-09; docs/design.md §5, "Correlation").
//!
//! In scope: making the tree of records that were found, and writing it for a person or as JSON.
//! Not here: finding the records (`edge/log`).

mod place;
mod render;

use std::collections::BTreeSet;

use serde::Serialize;
use time::{Span, UnixTime};

use crate::record::{Event, Outcome, Record, RecordId};

pub use render::{Style, ending, render, words};

/// The most records of one trace; later ones are counted and left out.
pub const RECORDS_MAX: usize = 10_000;

/// How long after the last record of a task an operator's act still belongs to its story: resuming
/// an agent comes after what its suspension stopped.
pub const AFTERMATH: Span = Span::from_seconds(3_600);

/// All records of one root as a tree, in the order of a reader: each node before those below it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// The root of the lineage.
    pub root: String,
    /// The nodes; `depth` and `under` say how they hang together.
    pub nodes: Vec<Node>,
    /// The records that follow something which is not among the records.
    pub gaps: Vec<Gap>,
    /// How many records were left out (over [`RECORDS_MAX`]).
    pub omitted: usize,
}

/// One record in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// How far below the root: 1 for what hangs on the root itself.
    pub depth: usize,
    /// The record that it hangs on; none: the root itself.
    pub under: Option<RecordId>,
    /// Why it stands here.
    pub place: Place,
    /// The record.
    pub record: Record,
}

/// Why a record stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It follows from the one above it.
    Lineage,
    /// An operator's act, put in by its time among what happened meanwhile.
    Meanwhile,
    /// What it follows from is not among the records.
    Gap,
}

/// A record whose predecessor is missing: in another log, cut by retention, or never written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The record.
    pub record: RecordId,
    /// What it follows from.
    pub missing: Missing,
}

/// What is not among the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The issue of the token with this id.
    Token(String),
    /// The record with this id.
    Record(RecordId),
}

impl Trace {
    /// The tree of `root`. `records`: all that carry this root, and what operators did to its
    /// [`subjects`] (others are passed over). Their order does not matter, nor do doubles.
    pub fn of(root: &str, records: &[Record]) -> Self {
        let mut all: Vec<_> = records.iter().collect();
        all.sort_by_key(|record| (record.time, record.id));
        all.dedup_by_key(|record| record.id);
        let (mut lineage, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|record| record.root.as_deref() == Some(root));
        let mut acts = acts_of(&lineage, &others);
        let omitted = (lineage.len() + acts.len()).saturating_sub(RECORDS_MAX);
        lineage.truncate(RECORDS_MAX);
        acts.truncate(RECORDS_MAX - lineage.len());
        let (nodes, gaps) = place::tree(&lineage, &acts);
        Self { root: root.to_owned(), nodes, gaps, omitted }
    }
}

/// Everyone whom the records concern: agents, clients, subjects, actors, and resources that are
/// agents. What operators did to these belongs to the story.
pub fn subjects(records: &[Record]) -> BTreeSet<String> {
    concerned(records.iter()).map(str::to_owned).collect()
}

fn concerned<'a>(records: impl Iterator<Item = &'a Record>) -> impl Iterator<Item = &'a str> {
    records.flat_map(|record| {
        let agent = |id: &&String| ["spiffe://", "wimse://"].iter().any(|one| id.starts_with(one));
        let called = record.resource.iter().filter(agent);
        let named = record.agent.iter().chain(&record.subject).chain(&record.actors);
        named.chain(called).map(String::as_str)
    })
}

/// Of the records that are not of this root: what operators did, to its subjects or to policy,
/// from its beginning until a while after its end. What was refused them changed nothing.
fn acts_of<'a>(lineage: &[&'a Record], others: &[&'a Record]) -> Vec<&'a Record> {
    let (Some(first), Some(last)) = (lineage.first(), lineage.last()) else { return Vec::new() };
    let until: UnixTime = last.time.plus(AFTERMATH);
    let subjects: BTreeSet<_> = concerned(lineage.iter().copied()).collect();
    let concerns = |record: &Record| match record.event {
        Event::PolicyApplied => true,
        Event::AgentRegistered
        | Event::AgentLifecycle
        | Event::ClientRegistered
        | Event::UserLifecycle => {
            let mut named = record.agent.iter().chain(&record.subject);
            named.any(|id| subjects.contains(id.as_str()))
        }
        _ => false,
    };
    let acts = others.iter().filter(|record| {
        (first.time..=until).contains(&record.time)
            && record.outcome != Outcome::Refused
            && concerns(record)
    });
    acts.copied().collect()
}
