//! Cold start and idle memory of the built `aims up`, in an empty folder and in one that it made.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::installation::free_ports;
use crate::load::{ROUNDS, count, median};
use crate::table::{Measurement, Row, Target};
use crate::{Failure, Measured};

/// How long it is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(1);
/// So long is waited for it at most.
const GIVE_UP: Duration = Duration::from_secs(20);

/// What one start showed.
struct Started {
    ready: f64,
    resident: f64,
}

/// Starts it again and again.
pub(crate) async fn measure(dir: &Path) -> Measured {
    let program = program()?;
    let (mut empty, mut made) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir_in(dir)?;
        let place = folder.path().join("aims");
        let port = free_ports()?;
        empty.push(start(&program, &place, port).await?);
        made.push(start(&program, &place, port).await?);
    }
    let of = |all: &[Started], one: fn(&Started) -> f64| median(all.iter().map(one).collect());
    let rows = vec![
        Row::of("from start to the ready line, empty folder", of(&empty, |one| one.ready), "ms")
            .against(Target::AtMost(300.0)),
        Row::of("from start to the ready line, made folder", of(&made, |one| one.ready), "ms")
            .against(Target::AtMost(300.0)),
        Row::of("resident memory, idle, empty folder", of(&empty, |one| one.resident), "MB")
            .against(Target::AtMost(50.0)),
        Row::of("resident memory, idle, made folder", of(&made, |one| one.resident), "MB")
            .against(Target::AtMost(50.0)),
    ];
    let how = format!(
        "`aims up`: server, node and gateway in one process; memory after {IDLE:?}; median of \
         {ROUNDS} starts"
    );
    Ok(vec![Measurement { what: "cold start and idle memory".to_owned(), how, rows }])
}

/// `aims`, built by the same profile.
fn program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?.with_file_name("aims");
    if program.exists() {
        return Ok(program);
    }
    let hint = "build it with the same profile: `cargo build --release`";
    Err(format!("there is no `{}`: {hint}", program.display()).into())
}

async fn start(program: &Path, place: &Path, port: u16) -> Result<Started, Failure> {
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.arg("up").arg("--dir").arg(place).arg("--port-base").arg(port.to_string());
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(GIVE_UP, lines.next_line()).await??;
    let ready = begun.elapsed().as_secs_f64() * 1_000.0;
    if !line.is_some_and(|line| line.starts_with("ready ")) {
        return Err("`aims up` did not become ready".into());
    }
    tokio::time::sleep(IDLE).await;
    let pid = child.id().ok_or("it has ended")?;
    let resident = resident(pid)?;
    kill(Pid::from_raw(pid.try_into()?), Signal::SIGTERM)?;
    tokio::time::timeout(GIVE_UP, child.wait()).await??;
    Ok(Started { ready, resident })
}

/// `VmRSS` of a process, in megabytes.
pub(crate) fn resident(pid: u32) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no `VmRSS`")?;
    Ok(count(kilobytes.parse()?) * 1_024.0 / 1e6)
}
