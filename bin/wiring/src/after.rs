//! What happens when new files count: a command runs, or a process gets a signal.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// How long a command may run.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);
/// The signals by which programs are asked to look again, or to end so that they are started anew.
const SIGNALS: [(&str, Signal); 5] = [
    ("HUP", Signal::SIGHUP),
    ("USR1", Signal::SIGUSR1),
    ("USR2", Signal::SIGUSR2),
    ("INT", Signal::SIGINT),
    ("TERM", Signal::SIGTERM),
];
/// The longest file with a process id in it, in bytes.
const PID_FILE_BYTES_MAX: u64 = 64;
/// Who but the owner could name another process.
const OTHERS_WRITE: u32 = 0o022;

/// A command as words: no shell reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Words {
    /// Splits at blanks; single or double quotes hold a word together.
    pub fn parse(text: &str) -> Result<Self, NoCommand> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for letter in text.chars() {
            match (quote, letter) {
                (Some(open), _) if letter == open => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                (None, blank) if blank.is_whitespace() => words.extend(word.take()),
                _ => word.get_or_insert_default().push(letter),
            }
        }
        if quote.is_some() {
            return Err(NoCommand::Quote);
        }
        words.extend(word);
        if words.is_empty() { Err(NoCommand::Empty) } else { Ok(Self(words)) }
    }
}

/// Why a text is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCommand {
    /// A word goes on to the end.
    #[error("a quote is not closed")]
    Quote,
    /// Blanks alone.
    #[error("no program is named")]
    Empty,
}

/// A signal by its name, with `SIG` or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub Signal);

impl Name {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, UnknownSignal> {
        let bare = text.strip_prefix("SIG").unwrap_or(text);
        let known = SIGNALS.into_iter().find(|(name, _)| *name == bare);
        known.map(|(_, signal)| Self(signal)).ok_or(UnknownSignal)
    }
}

/// A text that names none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of HUP, USR1, USR2, INT, TERM")]
pub struct UnknownSignal;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing at all.
    Nothing,
    /// Run it.
    Command(Words),
    /// Send it.
    Signal {
        /// Which.
        signal: Signal,
        /// The file with the id of the process.
        pid_file: PathBuf,
    },
}

impl After {
    /// Does it. `None` if there is nothing to do.
    pub async fn run(&self) -> Option<Result<(), Failed>> {
        match self {
            Self::Nothing => None,
            Self::Command(words) => Some(command(words).await),
            Self::Signal { signal, pid_file } => Some(send(*signal, pid_file)),
        }
    }
}

async fn command(Words(words): &Words) -> Result<(), Failed> {
    let Some((program, rest)) = words.split_first() else { return Ok(()) };
    let started = tokio::process::Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        // Our stdout is for those who read what happened.
        .stdout(std::io::stderr())
        .process_group(0)
        .spawn();
    let mut child = started
        .map_err(|error| Failed::NotStarted { program: program.clone(), why: error.to_string() })?;
    let id = child.id();
    let Ok(ended) = tokio::time::timeout(COMMAND_TIME_MAX, child.wait()).await else {
        if let Some(id) = id.and_then(|id| i32::try_from(id).ok()) {
            // Gone by itself in this instant, or killed.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = child.wait().await;
        return Err(Failed::TooLong);
    };
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed::Ended { how: status.to_string() }),
        Err(error) => Err(Failed::Ended { how: error.to_string() }),
    }
}

fn send(signal: Signal, pid_file: &Path) -> Result<(), Failed> {
    let wrong = |why: &dyn std::fmt::Display| Failed::PidFile {
        path: pid_file.to_owned(),
        why: why.to_string(),
    };
    let file = File::open(pid_file).map_err(|error| wrong(&error))?;
    let found = file.metadata().map_err(|error| wrong(&error))?;
    if found.mode() & OTHERS_WRITE != 0 {
        return Err(wrong(&"other users may write to it, and could name any process"));
    }
    let mut text = String::new();
    let read = file.take(PID_FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| wrong(&error))?;
    // 0 and negative numbers are groups of processes, 1 is the system's.
    let id = text.trim().parse().ok().filter(|id: &i32| *id > 1);
    let id = id.ok_or_else(|| wrong(&"no process id in it"))?;
    kill(Pid::from_raw(id), signal).map_err(|error| Failed::NotSent { id, why: error.to_string() })
}

/// Why it was not done. The files count all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It did not begin.
    #[error("`{program}` cannot be run: {why}")]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        why: String,
    },
    /// It did not end.
    #[error("the command was killed: it ran for more than {} seconds", COMMAND_TIME_MAX.as_secs())]
    TooLong,
    /// It ended otherwise than well.
    #[error("the command failed: {how}")]
    Ended {
        /// How.
        how: String,
    },
    /// The file names no process that may be signalled.
    #[error("`{}`: {why}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The process is not there, or not ours.
    #[error("process {id} cannot be signalled: {why}")]
    NotSent {
        /// Its id.
        id: i32,
        /// What the system said.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_command_is_words_and_no_shell() {
        let check = |text: &str, expect: Result<&[&str], NoCommand>| {
            let expect = expect.map(|words| Words(words.iter().map(ToString::to_string).collect()));
            assert_eq!(Words::parse(text), expect, "{text}");
        };
        check("nginx -s reload", Ok(&["nginx", "-s", "reload"]));
        check("  a\tb  ", Ok(&["a", "b"]));
        check("sh -c 'a; \"b\" $C'", Ok(&["sh", "-c", "a; \"b\" $C"]));
        check("a\"b c\"d ''", Ok(&["ab cd", ""]));
        check("$(x) ; y", Ok(&["$(x)", ";", "y"]));
        check("a 'b", Err(NoCommand::Quote));
        check(" ", Err(NoCommand::Empty));
    }

    #[test]
    fn signals_are_known_by_name() {
        assert_eq!(Name::parse("HUP"), Ok(Name(Signal::SIGHUP)));
        assert_eq!(Name::parse("SIGUSR1"), Ok(Name(Signal::SIGUSR1)));
        for text in ["KILL", "hup", "1", "", "SIG"] {
            assert_eq!(Name::parse(text), Err(UnknownSignal), "{text}");
        }
    }

    #[tokio::test]
    async fn a_command_that_fails_says_how() {
        let run = async |text: &str| command(&Words::parse(text).unwrap()).await;
        assert_eq!(run("true").await, Ok(()));
        let failed = run("sh -c 'exit 3'").await.unwrap_err();
        assert_eq!(failed.to_string(), "the command failed: exit status: 3");
        let failed = run("/nowhere/at-all").await.unwrap_err();
        assert!(failed.to_string().starts_with("`/nowhere/at-all` cannot be run: No such file"));
    }

    #[test]
    fn a_signal_needs_a_file_that_names_a_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let check = |text: &str, mode: u32, expect: &str| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let failed = send(Signal::SIGHUP, &path).unwrap_err().to_string();
            assert!(failed.contains(expect), "{text}: {failed}");
        };
        check("", 0o644, "no process id in it");
        check("1", 0o644, "no process id in it");
        check("-5", 0o644, "no process id in it");
        check("x", 0o644, "no process id in it");
        check("2147483646\n", 0o644, "process 2147483646 cannot be signalled");
        check("2147483646", 0o666, "could name any process");
        std::fs::remove_file(&path).unwrap();
        assert!(send(Signal::SIGHUP, &path).unwrap_err().to_string().contains("No such file"));
    }
}
