//! `aims doctor`: looks at everything that can be looked at, and says of each thing that is not as
//! it should be what to do.

mod agents;
mod clients;
mod files;
mod joining;
mod server;
mod workloads;

use clap::Args;
use serde::Serialize;

use crate::commands::Context;
use crate::exit::Failure;
use crate::output::lines;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  aims doctor --dir ./aims-data\n\n\
    Exit code 0: nothing is wrong (there may be notes); 1: something is; 3: the server does not\n\
    answer.")]
pub(crate) struct Arguments {
    /// Show also what is as it should be
    #[arg(long)]
    all: bool,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Note,
    /// It does not work, or is dangerous.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    /// How it is.
    pub(crate) state: State,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) todo: Option<String>,
}

impl Finding {
    /// As it should be.
    pub(crate) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), todo: None }
    }

    /// It works, and could be better.
    pub(crate) fn note(
        check: &'static str,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { check, state: State::Note, found: found.into(), todo: Some(todo.into()) }
    }

    /// It does not work, or is dangerous.
    pub(crate) fn wrong(
        check: &'static str,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { check, state: State::Wrong, found: found.into(), todo: Some(todo.into()) }
    }
}

/// Does it.
pub(crate) async fn run(context: &Context, args: Arguments) -> Result<(), Failure> {
    let mut findings = files::look(context);
    let answered = server::look(context, &mut findings).await;
    let policy = answered.as_ref().ok().and_then(|set| set.as_ref()).map(|set| set.attestation());
    findings.extend(joining::look(context, policy));
    findings.extend(workloads::look(context));
    let shown: Vec<_> =
        findings.iter().filter(|one| args.all || one.state != State::Ok).cloned().collect();
    context.output.show(&findings, || human(context, &findings, &shown))?;
    answered?;
    if findings.iter().any(|finding| finding.state == State::Wrong) {
        return Err(Failure::shown("doctor::Wrong"));
    }
    Ok(())
}

fn human(context: &Context, all: &[Finding], shown: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, state, found, todo } in shown {
        let word = match state {
            State::Ok => "ok   ".to_owned(),
            State::Note => "note ".to_owned(),
            State::Wrong => context.output.bold("WRONG"),
        };
        text.push_str(&format!("{word}  {check}: {}\n", lines(found)));
        if let Some(todo) = todo {
            text.push_str(&format!("       → {}\n", lines(todo)));
        }
    }
    let count = |state| all.iter().filter(|finding| finding.state == state).count();
    let (wrong, notes) = (count(State::Wrong), count(State::Note));
    text.push_str(&format!("looked at: {}, wrong: {wrong}, notes: {notes}\n", all.len()));
    text
}
