//! The command line, run as the binary that it is: what it prints, and how it ends
//! (docs/design.md §4).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod actor;
mod audit;
mod browser;
mod clients;
mod clock;
mod confidential;
mod decisions;
mod endings;
mod enrolling;
mod federation;
mod full_disk;
mod help;
mod joining;
mod kills;
mod load;
mod nested;
mod nodes;
mod oversized;
mod platform;
mod policy;
mod retention;
mod rows;
mod run;
mod running;
mod starts;
mod token;
mod users;
mod watch;
mod workloads;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a command ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    /// Everything, as a snapshot has it. `folder` is where the test's files are.
    fn shown(&self, folder: &Path) -> String {
        let Self { code, out, err } = self;
        let text = format!("exit {code}\n--- stdout\n{out}--- stderr\n{err}");
        text.replace(&folder.display().to_string(), "FOLDER")
    }
}

/// Runs `aims` in `folder` with a clean environment.
fn aims(folder: &Path, arguments: &[&str]) -> Ended {
    aims_fed(folder, arguments, "")
}

/// The same with text on stdin.
fn aims_fed(folder: &Path, arguments: &[&str], stdin: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_aims"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no stdin may have ended already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
