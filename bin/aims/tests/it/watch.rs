//! `aims svid watch`: an identity in files, through an outage and a withdrawal.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::full_disk::{SmallDisk, not_tested};
use crate::running::{Site, ended};
use crate::{Ended, aims};

/// How long an event may take on a busy machine.
const EVENT_MAX: Duration = Duration::from_secs(60);

fn register(site: &Site) {
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_aims")).unwrap();
    let path = format!("unix:path:{}", program.display());
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let named = ["--name", "files", "--kind", "service", "--owner", "tests", "--class", "path"];
    let selectors = ["--selector", &uid, "--selector", &path];
    let told = site.aims(&[&["agent", "register"], &named[..], &selectors].concat());
    assert_eq!(told.code, 0, "{}", told.err);
}

fn once(site: &Site, tls: &Path, more: &[&str]) -> Ended {
    let (data, tls) = (site.data.display().to_string(), tls.display().to_string());
    let watch = ["--dir", &data, "svid", "watch", "--once", "--dir", &tls];
    aims(site.folder.path(), &[&watch[..], more].concat())
}

/// req: PROV-08 (part)
#[test]
fn once_says_by_its_code_how_it_went() {
    let site = Site::new();
    let tls = site.folder.path().join("tls");
    assert_eq!(once(&site, &tls, &[]).code, 3, "nobody is there");
    let _running = site.up();
    let denied = once(&site, &tls, &[]);
    assert_eq!(denied.code, 1, "{}", denied.err);
    assert!(denied.err.contains("only registered and active agents"), "{}", denied.err);
    register(&site);
    let failed = once(&site, &tls, &["--exec", "sh -c 'exit 3'"]);
    assert_eq!(failed.code, 3, "{}", failed.err);
    assert!(failed.err.contains("the command failed: exit status: 3"), "{}", failed.err);
    let kinds = ["--wit", "--audience", "https://partner.example", "--mode", "0640"];
    let marker = site.folder.path().join("marker");
    let touch = format!("touch '{}'", marker.display());
    let done = once(&site, &tls, &[&kinds[..], &["--exec", &touch]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(marker.exists());
    let begins = |name: &str, text: &str| {
        let found = std::fs::read_to_string(tls.join(name)).unwrap();
        assert!(found.starts_with(text), "{name}");
        // What is shown says nothing of it.
        assert!(!done.out.contains(found.lines().nth(1).unwrap_or(&found)), "{}", done.out);
        std::fs::metadata(tls.join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(begins("svid.pem", "-----BEGIN CERTIFICATE-----\n"), 0o644);
    assert_eq!(begins("key.pem", "-----BEGIN PRIVATE KEY-----\n"), 0o640);
    assert_eq!(begins("bundle.pem", "-----BEGIN CERTIFICATE-----\n"), 0o644);
    assert_eq!(begins("jwt_svid.token", "ey"), 0o640);
    assert_eq!(begins("wit.jwt", "ey"), 0o640);
    assert_eq!(begins("wit_key.jwk", "{"), 0o640);
    assert_eq!(once(&site, &tls, &["--format", "combined"]).code, 0);
    assert_eq!(begins("identity.pem", "-----BEGIN PRIVATE KEY-----\n"), 0o600);
    assert!(!tls.join("key.pem").exists() && !tls.join("wit.jwt").exists(), "not kept any more");
    std::fs::set_permissions(&tls, std::fs::Permissions::from_mode(0o777)).unwrap();
    let open = once(&site, &tls, &[]);
    assert_eq!(open.code, 2, "{}", open.err);
    assert!(open.err.contains("chmod go-w"), "{}", open.err);
}

/// A watch that goes on, and what it says.
struct Watch {
    child: Child,
    events: Receiver<Value>,
}

impl Watch {
    fn start(site: &Site, tls: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_aims"))
            .args(["svid", "watch", "--output", "json", "--exec", "true", "--installation"])
            .arg(&site.data)
            .arg("--dir")
            .arg(tls)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (send, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, events }
    }

    /// The next event that has these members; those before it are passed over.
    fn wait(&self, members: &[(&str, &str)]) -> Value {
        let end = Instant::now() + EVENT_MAX;
        let mut passed = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!("no event {members:?}, but {passed:?}")
            };
            if members.iter().all(|(name, value)| event[name] == **value) {
                return event;
            }
            passed.push(event);
        }
    }

    fn stop(mut self) -> i32 {
        use nix::sys::signal::{Signal, kill};
        use nix::unistd::Pid;
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// req: PROV-08 (part)
#[test]
fn files_stay_through_an_outage_and_a_withdrawal() {
    let site = Site::new();
    let running = site.up();
    register(&site);
    let tls: PathBuf = site.folder.path().join("tls");
    let watch = Watch::start(&site, &tls);
    let first = watch.wait(&[("event", "written")]);
    watch.wait(&[("event", "done")]);
    let key = || std::fs::read(tls.join("key.pem")).unwrap();
    let before = key();

    running.kill_9();
    watch.wait(&[("event", "waiting"), ("outcome", "unavailable")]);
    assert_eq!(key(), before);
    let _running = site.up();
    // It is back, and has a new one.
    watch.wait(&[("event", "written")]);
    watch.wait(&[("event", "done")]);
    let before = key();

    let suspended = site.aims(&["agent", "suspend", "files", "--reason", "a test"]);
    assert_eq!(suspended.code, 0, "{}", suspended.err);
    let refused = watch.wait(&[("event", "waiting"), ("outcome", "refused")]);
    assert!(refused["again_in_seconds"].as_u64().is_some_and(|seconds| seconds > 0));
    assert_eq!(key(), before);

    let resumed = site.aims(&["agent", "resume", "files", "--reason", "a test"]);
    assert_eq!(resumed.code, 0, "{}", resumed.err);
    let second = watch.wait(&[("event", "written")]);
    assert_ne!(second["serial"], first["serial"]);
    assert_ne!(key(), before);
    assert_eq!(watch.stop(), 0);
}

/// Bytes of a disk that has no room for a set of files, and whose folder is nobody else's.
const TINY: &str = "size=8k,mode=755";

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_written() {
    let site = Site::new();
    let tls = site.folder.path().join("tls");
    std::fs::create_dir(&tls).unwrap();
    let disk = match SmallDisk::over(&tls, TINY) {
        Ok(disk) => disk,
        Err(why) => return not_tested(&why),
    };
    let _running = site.up();
    register(&site);
    let mut command = disk.program();
    command.args(["--dir"]).arg(&site.data).args(["svid", "watch", "--once", "--dir"]).arg(&tls);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    let full = ended(command);
    assert_eq!(full.code, 3, "{}", full.err);
    assert!(full.err.contains("was not written: No space left on device"), "{}", full.err);
    assert_eq!(std::fs::read_dir(disk.seen(&tls)).unwrap().count(), 0);
}
