//! What is said of the files: a line of text each for people, an object each for scripts.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use time::{Span, UnixTime};
use wiring::world::SystemClock;

use super::set::Set;
use crate::exit::Failure;
use crate::output::{Output, plain, when};
use crate::span;
use wiring::after::Failed;

/// Something happened.
pub(super) enum Event<'a> {
    /// New files count.
    Written { set: &'a Set },
    /// Those who read them were told.
    Done,
    /// They could not be told.
    NotDone { why: &'a Failed },
    /// There is nothing new, because of this.
    Waiting { why: &'a Failure, again_in: Span },
    /// The files should have been replaced by now.
    Ending { until: UnixTime, left: Span },
    /// They are worth nothing any more.
    Expired { until: UnixTime },
}

/// Says it on stdout.
pub(super) struct Teller {
    pub(super) output: Output,
    pub(super) folder: PathBuf,
}

impl Teller {
    /// Nobody may be listening: the files are kept all the same.
    pub(super) fn event(&self, event: &Event<'_>) {
        let now = when(SystemClock::read());
        let line = if self.output.is_json() {
            let mut members = members(event);
            members.insert("time".to_owned(), Value::String(now));
            members.insert("dir".to_owned(), json!(self.folder));
            format!("{}\n", Value::Object(members))
        } else {
            format!("{now}  {}\n", plain(&text(event, &self.folder.display().to_string())))
        };
        let _ = self.output.text(&line);
    }
}

fn members(event: &Event<'_>) -> Map<String, Value> {
    let value = match event {
        Event::Written { set } => json!({
            "event": "written", "spiffe_id": set.spiffe_id, "serial": set.serial,
            "not_before": when(set.life.0), "not_after": when(set.life.1), "files": set.names(),
        }),
        Event::Done => json!({ "event": "done" }),
        Event::NotDone { why } => json!({ "event": "not_done", "message": why.to_string() }),
        Event::Waiting { why, again_in } => {
            let problem = why.problem();
            json!({
                "event": "waiting", "outcome": problem.outcome, "error": problem.error,
                "message": problem.message, "hint": problem.hint,
                "again_in_seconds": again_in.seconds(),
            })
        }
        Event::Ending { until, left } => json!({
            "event": "ending", "not_after": when(*until), "left_seconds": left.seconds(),
        }),
        Event::Expired { until } => json!({ "event": "expired", "not_after": when(*until) }),
    };
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn text(event: &Event<'_>, folder: &str) -> String {
    match event {
        Event::Written { set } => {
            let until = when(set.life.1);
            format!("written   {folder}: {} until {until}, serial {}", set.spiffe_id, set.serial)
        }
        Event::Done => "done      those who read the files were told".to_owned(),
        Event::NotDone { why } => format!("NOT DONE  {why}; again with the next files"),
        Event::Waiting { why, again_in } => {
            let hint = why.problem().hint.as_ref();
            let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            format!("waiting   {why}{hint}; again in {}", span::show(*again_in))
        }
        Event::Ending { until, left } => {
            let (until, left) = (when(*until), span::show(*left));
            format!("WARNING   {folder} ends in {left}, at {until}, and was not renewed")
        }
        Event::Expired { until } => {
            format!("WARNING   {folder} has expired, at {}, and was not renewed", when(*until))
        }
    }
}
