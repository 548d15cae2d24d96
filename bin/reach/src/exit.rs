//! How a command ends: its exit code, and what is said about it.

use std::path::Path;
use std::process::ExitCode;

use api::admin::messages::{Ending, FaultShown, Problem};
use api::client::Fault;

use crate::output::plain;

/// Letters of what somebody else said that are repeated.
const SAID_CHARS_MAX: usize = 1_000;

/// Why a command was not done: what the operators' socket answers, or the same said here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Failure(Box<Problem>);

impl Failure {
    /// Decided against, or found to be wrong.
    pub fn refused(error: &str, message: impl ToString) -> Self {
        Self::new(Ending::Refused, error, message)
    }

    /// It makes no sense as it was given.
    pub fn misused(message: impl ToString) -> Self {
        Self::new(Ending::Misused, "misused", message)
    }

    /// Nothing could be decided or done.
    pub fn unavailable(message: impl ToString) -> Self {
        Self::new(Ending::Unavailable, "unavailable", message)
    }

    /// A file that cannot be read or written.
    pub fn file(path: &Path, why: impl ToString) -> Self {
        Self::misused(format!("`{}`: {}", path.display(), why.to_string()))
    }

    /// A socket that nobody answers at.
    pub fn unreachable(what: &str, socket: &Path, why: impl ToString) -> Self {
        let why = why.to_string();
        Self::unavailable(format!("no {what} at `{}`: {why}", socket.display())).hint(
            "start it with `aims up`; if it runs: is this its directory (`--dir DIR`, or \
             `AIMS_DIR` in the environment), and are you its user?",
        )
    }

    /// What was found to be wrong was shown already.
    pub fn shown(error: &str) -> Self {
        Self::refused(error, "")
    }

    /// Nobody reads the output any longer.
    pub fn unread() -> Self {
        Self::unavailable("")
    }

    /// With what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same, where others chose words of the message: it is one line of bounded length, which
    /// forges no other line and does not steer the terminal. The hint is ours.
    pub fn of_others(mut self) -> Self {
        self.0.message = said(&self.0.message);
        self.0.error = said(&self.0.error);
        self
    }

    /// With the record of the decision.
    pub fn recorded(mut self, audit_id: Option<String>) -> Self {
        self.0.audit_id = audit_id;
        self
    }

    /// With what is wrong in a policy set.
    pub fn faults(mut self, faults: &[policy::Fault]) -> Self {
        self.0.faults = faults.iter().map(FaultShown::from).collect();
        self
    }

    /// What is said.
    pub fn problem(&self) -> &Problem {
        &self.0
    }

    /// The exit code.
    ///
    /// docs/design.md §4: "Exit code 0 done / 1 refused / 2 misused / 3 unavailable".
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.0.outcome.exit_code())
    }

    fn new(outcome: Ending, error: &str, message: impl ToString) -> Self {
        let (error, message) = (error.to_owned(), message.to_string());
        let problem =
            Problem { outcome, error, message, hint: None, audit_id: None, faults: Vec::new() };
        Self(Box::new(problem))
    }
}

/// An order to the server that was not done.
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Problem(problem) => Self(problem),
            Fault::Unreachable { socket, why } => Self::unreachable("server", &socket, why),
            Fault::Nameless => Self::misused(&fault),
            Fault::Unreadable { .. } => {
                Self::unavailable(&fault).hint(fault.hint().unwrap_or_default())
            }
        }
    }
}

/// `access/main.cedar:3:7: message`, as editors read it, and the fix on a line of its own.
pub fn fault_text(fault: &FaultShown) -> String {
    let FaultShown { file, line, column, message, fix } = fault.clone();
    policy::Fault { file, line, column, message, fix }.to_string()
}

/// What somebody else said, as it is repeated to people: one line of bounded length.
pub fn said(text: &str) -> String {
    let cut = text.chars().take(SAID_CHARS_MAX);
    let more = if text.chars().nth(SAID_CHARS_MAX).is_some() { "…" } else { "" };
    plain(&cut.chain(more.chars()).collect::<String>())
}

/// The word before a failure's message.
pub const fn word(outcome: Ending) -> &'static str {
    match outcome {
        Ending::Refused => "refused",
        Ending::Misused => "misused",
        Ending::Unavailable => "unavailable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_has_its_code() {
        for (failure, code, word_) in [
            (Failure::refused("a::B", ""), 1, "refused"),
            (Failure::misused(""), 2, "misused"),
            (Failure::unavailable(""), 3, "unavailable"),
        ] {
            assert_eq!(failure.problem().outcome.exit_code(), code);
            assert_eq!(word(failure.problem().outcome), word_);
        }
    }

    /// Defect: `error_description` of a server forged lines of ours.
    #[test]
    fn what_others_say_is_one_line() {
        let failure = Failure::refused("oauth::a\nb", "no\n  hint: run this\u{1b}[2J\u{9b}");
        let problem = failure.of_others().hint("ours").problem().clone();
        assert_eq!(problem.message, "no\\u{a}  hint: run this\\u{1b}[2J\\u{9b}");
        assert_eq!((&*problem.error, problem.hint.as_deref()), ("oauth::a\\u{a}b", Some("ours")));
        assert_eq!(said(&"ü".repeat(SAID_CHARS_MAX)), "ü".repeat(SAID_CHARS_MAX));
        let long = said(&"ü".repeat(SAID_CHARS_MAX + 1));
        assert_eq!(long, format!("{}…", "ü".repeat(SAID_CHARS_MAX)));
    }

    #[test]
    fn a_server_that_is_not_there_is_named_with_what_to_do() {
        let socket = Path::new("/data/admin.sock").to_owned();
        let fault = Fault::Unreachable { socket, why: "not found".to_owned() };
        let failure = Failure::from(fault);
        assert_eq!(failure.problem().outcome, Ending::Unavailable);
        assert_eq!(failure.to_string(), "no server at `/data/admin.sock`: not found");
        assert!(failure.problem().hint.as_ref().unwrap().contains("aims up"));
    }
}
