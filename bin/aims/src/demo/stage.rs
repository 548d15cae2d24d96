//! The processes of the demo: copies of this program at paths of their own, so that the node tells
//! each apart for real. They are told what to do by lines of JSON, and answer so.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::exit::Failure;

/// How long a process of the demo may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// One process.
pub(super) struct Part {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Part {
    /// Starts `program` as the part `kind`.
    pub(super) fn start(
        program: &Path,
        name: &'static str,
        kind: &str,
        arguments: &[String],
    ) -> Result<Self, Failure> {
        let fault = |error: std::io::Error| {
            Failure::unavailable(format!("`{}` cannot be started: {error}", program.display()))
        };
        let mut child = Command::new(program)
            .args(["demo", "--part", kind, "--"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(fault)?;
        let missing = || Failure::unavailable("a process without input or output");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        Ok(Self { name, child, input, output })
    }

    /// Tells it to do something, and waits for the answer.
    pub(super) async fn tell(&mut self, order: Value) -> Result<Value, Failure> {
        let line = format!("{order}\n");
        let gone = |error: std::io::Error| {
            Failure::unavailable(format!("the process `{}` went away: {error}", self.name))
        };
        self.input.write_all(line.as_bytes()).await.map_err(gone)?;
        let answer = tokio::time::timeout(ANSWER_MAX, self.output.next_line()).await;
        let late = |_| Failure::unavailable(format!("`{}` does not answer", self.name));
        let answer = answer
            .map_err(late)?
            .map_err(gone)?
            .ok_or_else(|| Failure::unavailable(format!("the process `{}` ended", self.name)))?;
        serde_json::from_str(&answer).map_err(Failure::unavailable)
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Ends it.
    pub(super) async fn end(mut self) {
        drop(self.input);
        let _ = tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await;
        let _ = self.child.kill().await;
    }
}

/// A copy of this program at a path of its own.
pub(super) fn copy_of_self(folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(Failure::unavailable)?;
    let path = folder.join(name);
    let copied = std::fs::copy(&own, &path);
    copied.map_err(|error| Failure::file(&path, error))?;
    Ok(path)
}

/// The first of four free ports.
pub(super) fn free_ports() -> Result<u16, Failure> {
    use std::net::TcpListener;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for base in (20_443..32_000).step_by(16) {
        if (0..4).all(|offset| free(base + offset)) {
            return Ok(base);
        }
    }
    Err(Failure::unavailable("no four free ports between 20443 and 32000"))
}

/// `aims up` as a process of its own.
pub(super) struct Running {
    child: Child,
    /// What its ready line says.
    pub ready: Value,
}

impl Running {
    /// Starts it on `dir` and waits until it is ready.
    pub(super) async fn start(
        dir: &Path,
        port_base: u16,
        trust_domain: &str,
    ) -> Result<Self, Failure> {
        let own = std::env::current_exe().map_err(Failure::unavailable)?;
        let mut child = Command::new(own)
            .args(["up", "--trust-domain", trust_domain, "--port-base"])
            .arg(port_base.to_string())
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Failure::unavailable)?;
        let output = child.stdout.take();
        let output = output.ok_or_else(|| Failure::unavailable("no output"))?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(ANSWER_MAX, lines.next_line()).await;
        let line = line.map_err(|_| Failure::unavailable("`aims up` does not become ready"))?;
        let line = line.map_err(Failure::unavailable)?;
        let line = line.ok_or_else(|| Failure::unavailable("`aims up` ended"))?;
        let json = line.strip_prefix("ready ").unwrap_or(&line);
        let ready = serde_json::from_str(json).map_err(Failure::unavailable)?;
        Ok(Self { child, ready })
    }

    /// A value of the ready line.
    pub(super) fn said(&self, name: &str) -> String {
        self.ready.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Stops it in good order.
    pub(super) async fn stop(mut self) {
        use nix::sys::signal::{Signal, kill};
        use nix::unistd::Pid;
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // A process that is gone already needs no signal.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
        let _ = self.child.kill().await;
    }
}
