//! What people write on a command line, where they may write it in two ways.

use std::ffi::OsString;

use api::admin::messages::TraceShown;
use api::client::{Client, Fault};
use monitoring::record::Term;
use monitoring::{Event, Outcome, Record, RecordId};
use serde::de::DeserializeOwned;

use crate::exit::Failure;
use crate::output::plain;

/// The word that asks for help.
const HELP: &str = "help";

/// The arguments of a command line, with `help COMMAND` as `COMMAND --help`: both are the same to
/// people.
pub fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut given: Vec<_> = given.into_iter().collect();
    if given.get(1).is_some_and(|word| word == HELP) {
        given.remove(1);
        given.push("--help".into());
    }
    given
}

/// What is said of roles that no page of ours knows: the list of roles is open, since policy may
/// name any, so a slip of the pen is taken like a role.
pub fn unknown_roles<'a>(roles: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let known = registry::user::OPERATOR;
    let others: Vec<_> = roles.into_iter().filter(|role| *role != known).collect();
    if others.is_empty() {
        return None;
    }
    let named: Vec<_> = others.into_iter().map(|role| format!("`{role}`")).collect();
    let named = named.join(", ");
    Some(format!(
        "{named}: a role that only policy gives a meaning (`ask = \"role:NAME\"`); the one that \
         opens the operators' pages is `{known}`"
    ))
}

/// The story of a task, by any of its ids. The one that `tail` shows is a record's: that names the
/// task.
pub async fn story(server: &Client, id: &str) -> Result<TraceShown, Failure> {
    let unknown = match server.trace(id).await {
        Ok(told) => return Ok(told),
        Err(Fault::Problem(problem)) if problem.error == "not_found" => Fault::Problem(problem),
        Err(fault) => return Err(fault.into()),
    };
    let Some(record) = RecordId::parse(id) else { return Err(unknown.into()) };
    let line = server.record(&record.to_string()).await?;
    let read = Record::decode(line.record.get().as_bytes());
    let Some(root) = read.ok().and_then(|record| record.root.or(record.txn).or(record.jti)) else {
        return Err(Failure::refused("not_found", format!("the record `{id}` is of no task"))
            .hint(format!("`aims audit show {id}` shows it, whole")));
    };
    Ok(server.trace(&root).await?)
}

/// What a record is of, in a line: its event, by which records are found, and the action, where
/// that says more.
pub fn what(record: &Record) -> String {
    let event = record.event.name();
    match record.action.as_str() {
        "" => event.to_owned(),
        action if action == event => event.to_owned(),
        action => format!("{event} {}", plain(action)),
    }
}

/// Whether a record can have this value: events and outcomes are closed lists.
pub fn fits(term: Term, value: &str) -> Result<(), String> {
    match term {
        Term::Event => one_of::<Event>("event", value),
        Term::Outcome => one_of::<Outcome>("outcome", value),
        _ => Ok(()),
    }
}

fn one_of<T: DeserializeOwned>(what: &str, value: &str) -> Result<(), String> {
    let read = serde_json::from_value::<T>(value.into());
    read.map(drop).map_err(|error| {
        let text = error.to_string();
        let known = text.split_once("expected ").map_or("", |(_, known)| known);
        format!("no {what} `{}`; there is {known}", plain(value))
    })
}

#[cfg(test)]
mod tests {
    use monitoring::record::Component;
    use time::UnixTime;

    use super::*;

    /// Defect: `tail` showed `tool.call`, and `--where event=tool.call` found nothing, silently.
    #[test]
    fn what_a_line_shows_of_a_record_finds_it() {
        let time = UnixTime::from_seconds(1_795_220_013);
        let id = RecordId::new(time, [7; 10]);
        let begun = |event| Record::new(id, time, Component("gateway".to_owned()), event);
        let called = Record { action: "tool.call".to_owned(), ..begun(Event::CallDecided) };
        for (record, expect) in [
            (called, "call_decided tool.call"),
            (begun(Event::KeyRotated), "key_rotated"),
            (Record { action: String::new(), ..begun(Event::Alarm) }, "alarm"),
        ] {
            let shown = what(&record);
            assert_eq!(shown, expect);
            let event = shown.split(' ').next().unwrap();
            assert_eq!(fits(Term::Event, event), Ok(()));
            assert!(record.terms().contains(&(Term::Event, event.to_owned())));
        }
        let why = fits(Term::Event, "tool.call").unwrap_err();
        let begins = "no event `tool.call`; there is one of `started`";
        assert!(why.starts_with(begins) && why.contains("`call_decided`"), "{why}");
        let why = fits(Term::Outcome, "denied").unwrap_err();
        assert!(why.contains("`refused`"), "{why}");
        assert_eq!(fits(Term::Agent, "denied"), Ok(()));
    }

    /// Defect: `aims help` was no command.
    #[test]
    fn help_is_asked_for_in_both_ways() {
        let check = |given: &str, expect: &str| {
            let split = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(arguments(split(given)), split(expect), "{given}");
        };
        check("aims help", "aims --help");
        check("aims help agent register", "aims agent register --help");
        check("aims run --agent a -- help", "aims run --agent a -- help");
        check("aims agent help", "aims agent help");
    }

    /// Defect: `--role operatr` was taken without a word.
    #[test]
    fn a_role_that_no_page_knows_is_named() {
        let told = |roles: &[&str]| {
            let roles: Vec<_> = roles.iter().map(|&role| role.to_owned()).collect();
            unknown_roles(&roles)
        };
        assert_eq!((told(&[]), told(&["operator"])), (None, None));
        let text = told(&["operator", "operatr"]).unwrap();
        assert!(text.starts_with("`operatr`:") && text.contains("is `operator`"), "{text}");
    }
}
