//! A disk that is full: a clear error, no half state, and a way on.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::load::{Clients, Tool, lay_policy};
use crate::running::{Running, Site, ended};

/// Bytes of the disk: three logs with their first stretch of 4 MiB each, and some to spare.
const DISK: &str = "size=32m";

/// A small disk that is mounted in a namespace of its own, and the process that holds it.
pub(crate) struct SmallDisk {
    holder: Child,
}

impl SmallDisk {
    /// Mounts it over `folder`; or why this machine does not let us.
    pub(crate) fn over(folder: &Path, size: &str) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("only root may mount a small disk".to_owned());
        }
        let mut holder = Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                "mount -t tmpfs -o \"$0\" aims \"$1\" && echo held && exec cat",
            ])
            .arg(size)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`unshare` (util-linux) does not start: {error}"))?;
        let mut said = [0; 5];
        if holder.stdout.take().unwrap().read_exact(&mut said).is_err() {
            let mut why = String::new();
            holder.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            return Err(format!("a tmpfs cannot be mounted in a namespace: {}", why.trim()));
        }
        Ok(Self { holder })
    }

    /// What another process sees of a path on it.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// `aims up` on it.
    fn command(&self, site: &Site) -> Command {
        let mut command = self.program();
        site.arguments(&mut command);
        command
    }

    /// The program, where it sees this disk.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-m"]);
        command.arg("--").arg(env!("CARGO_BIN_EXE_aims"));
        command
    }

    fn up(&self, site: &Site) -> Running {
        Running::ready(self.command(site), &site.said_path())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may be gone.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Takes all the space there is.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for block in [1 << 20, 4_096] {
        while file.write_all(&vec![1; block]).is_ok() {}
    }
}

/// req: OBS-05 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s11_a_full_disk_is_told_and_leaves_nothing_half_done() {
    let mut site = Site::new();
    let disk = match SmallDisk::over(site.folder.path(), DISK) {
        Ok(disk) => disk,
        Err(why) => return not_tested(&why),
    };
    let inside = site.data.clone();
    let (_tool, port) = Tool::start();
    let mut running = {
        // The policy is laid from outside, the process starts inside.
        site.data = disk.seen(&inside);
        lay_policy(&site, port);
        site.data = inside.clone();
        disk.up(&site)
    };
    site.data = disk.seen(&inside);
    let clients = Clients::enrol(&site).await;
    clients.operate().await.unwrap();
    clients.task().await.unwrap();
    let filler = disk.seen(&site.folder.path().join("filler"));
    fill(&filler);
    refuses(&site, &clients).await;

    // With space again: at once, or after a restart where it says so.
    fs::remove_file(&filler).unwrap();
    let ready = clients.ready().await;
    if ready.status != 200 {
        let why = ready.json()["why"].as_str().unwrap().to_owned();
        assert!(why.contains("has stopped until a restart: "), "{why}");
        assert_eq!(running.stop(), 0);
        let data = std::mem::replace(&mut site.data, inside.clone());
        running = disk.up(&site);
        site.data = data;
    }
    for _ in 0..3 {
        clients.operate().await.unwrap();
    }
    clients.task().await.unwrap();
    whole(&site, &clients).await;

    // It does not start on a full disk, and does when there is space.
    running.kill_9();
    fill(&filler);
    let refused = {
        let data = std::mem::replace(&mut site.data, inside.clone());
        let refused = ended(disk.command(&site));
        site.data = data;
        refused
    };
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("No space left on device"), "{}", refused.err);
    assert!(refused.err.contains("\n  hint: "), "{}", refused.err);
    fs::remove_file(&filler).unwrap();
    let data = std::mem::replace(&mut site.data, inside);
    running = disk.up(&site);
    site.data = data;
    clients.task().await.unwrap();
    whole(&site, &clients).await;
    assert_eq!(running.stop(), 0);
    let verified = site.aims(&["audit", "verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
}

/// A first start that found no space leaves nothing that keeps the second from being the first.
#[test]
fn s11_a_first_start_on_a_full_disk_can_be_tried_again() {
    let site = Site::new();
    let disk = match SmallDisk::over(site.folder.path(), DISK) {
        Ok(disk) => disk,
        Err(why) => return not_tested(&why),
    };
    let filler = disk.seen(&site.folder.path().join("filler"));
    // Between nothing at all and nearly enough.
    for spare in [0, 4, 12, 16, 60, 1_024, 5_000] {
        fill(&filler);
        let file = File::options().write(true).open(&filler).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - spare * 1_024).unwrap();
        let refused = ended(disk.command(&site));
        assert_eq!(refused.code, 3, "with {spare} KiB: {}", refused.err);
        assert!(
            refused.err.contains("No space") || refused.err.contains("disk is full"),
            "{spare}: {}",
            refused.err
        );
        assert!(refused.err.contains("\n  hint: "), "{spare}: {}", refused.err);
    }
    fs::remove_file(&filler).unwrap();
    assert_eq!(disk.up(&site).stop(), 0);
}

pub(crate) fn not_tested(why: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "CI must be able to run this test: {why}");
    let said = format!("NOT TESTED, a full disk: {why}\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}

/// Everybody is told, and told what to do.
async fn refuses(site: &Site, clients: &Clients) {
    // What is left of the last page may take some more.
    let mut told = site.aims(&["join-token", "create"]);
    for _ in 0..1_000 {
        if told.code != 0 {
            break;
        }
        told = site.aims(&["join-token", "create"]);
    }
    assert_eq!(told.code, 3, "{}", told.err);
    assert!(
        told.err.contains("disk is full") || told.err.contains("No space left"),
        "{}",
        told.err
    );
    assert!(told.err.contains("\n  hint: `aims doctor` says what is wrong"), "{}", told.err);
    let doctor = site.aims(&["doctor"]);
    assert_eq!(doctor.code, 1, "{}", doctor.out);
    assert!(doctor.out.contains("WRONG  disk: 0 MiB are free in "), "{}", doctor.out);
    assert!(doctor.out.contains("→ make room; "), "{}", doctor.out);
    // The log has room ahead, so that some are still answered; then nobody is.
    let mut refused = None;
    for _ in 0..20_000 {
        let answer = clients.ask_token().await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("it goes on without space");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.audit_id().is_none());
}

/// Whoever is there has a record, whoever has a record is there; what was answered is among them.
async fn whole(site: &Site, clients: &Clients) {
    let desk = site.desk();
    let there = desk.agents(None, Some(1_000)).await.unwrap().items;
    let mut there: Vec<_> = there.iter().map(|agent| agent.id.to_string()).collect();
    let found = desk.find(("event", "agent_registered"), Some("server"), None, Some(1_000)).await;
    let mut recorded: Vec<String> = found
        .unwrap()
        .items
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line.record.get()).unwrap())
        .filter(|record| record["outcome"] == "done")
        .map(|record| record["agent"].as_str().unwrap().to_owned())
        .collect();
    there.sort();
    recorded.sort();
    assert_eq!(there, recorded);
    let (agents, records) = {
        let ledger = clients.ledger();
        (ledger.agents.clone(), ledger.records.clone())
    };
    for (name, _) in agents {
        assert!(clients.state_of(&name).await.is_some(), "{name} is lost");
    }
    for id in records {
        clients.record(&id).await.unwrap();
    }
    assert_eq!(clients.ledger().strange.first(), None);
    assert_eq!(clients.ready().await.status, 200);
}
