//! The process at the other end of a unix socket.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use attestation::unix::PeerProof;
use attestors::{EXECUTABLE_BYTES_MAX, HashCache, MeasureError, Peer, PeerError};
use aws_lc_rs::digest;

use crate::child::{Meeting, NOBODY, Started};

pub(crate) fn sha256(path: &Path) -> Option<String> {
    let hash = digest::digest(&digest::SHA256, &fs::read(path).unwrap());
    Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// req: ATT-02 (part)
#[test]
fn s7_a_process_is_told_from_another_by_its_program() {
    let met = Meeting::new();
    let program = met.program("agent");
    let started = Started::new(&program, &["connect", &met.socket()]).ready();
    let peer = Peer::of(met.accept()).unwrap();
    let measured = peer.measure(&HashCache::new()).unwrap();
    assert_eq!((measured.pid, measured.peer), (started.pid(), PeerProof::Pidfd));
    assert_eq!(measured.path.as_deref(), program.to_str());
    assert_eq!(measured.sha256, sha256(&program));
    assert_eq!(measured.uid, nix::unistd::geteuid().as_raw());
    assert_eq!(measured.gid, nix::unistd::getegid().as_raw());
    assert_eq!(
        measured.user,
        nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().map(|user| user.name)
    );

    let own = std::env::current_exe().unwrap();
    let _mine = std::os::unix::net::UnixStream::connect(met.socket()).unwrap();
    let mine = Peer::of(met.accept()).unwrap().measure(&HashCache::new()).unwrap();
    assert_eq!(mine.path.as_deref(), own.to_str());
    assert_eq!(mine.sha256, sha256(&own));
    assert_ne!(mine.sha256, measured.sha256);
    assert_ne!(mine.pid, measured.pid);
}

/// req: ATT-02 (part)
#[test]
fn s7_the_user_and_groups_of_a_process_are_measured() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let met = Meeting::new();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65533", "--groups=7,65532"]);
    command.arg(met.program("agent")).args(["connect", &met.socket()]);
    let _started = Started::by(&mut command).ready();
    let measured = Peer::of(met.accept()).unwrap().measure(&HashCache::new()).unwrap();
    assert_eq!((measured.uid, measured.gid), (NOBODY, 65_533));
    assert_eq!(measured.supplementary, [7, 65_532]);
    assert_eq!(measured.group, None, "no group of that number has a name");
}

#[test]
fn s7_a_program_deleted_after_it_started_has_a_hash_and_no_path() {
    let met = Meeting::new();
    let program = met.program("agent");
    let hash = sha256(&program);
    let _started = Started::new(&program, &["connect", &met.socket()]).ready();
    let peer = Peer::of(met.accept()).unwrap();
    fs::remove_file(&program).unwrap();
    let measured = peer.measure(&HashCache::new()).unwrap();
    assert_eq!((measured.path, measured.sha256), (None, hash.clone()));

    // A file of the very name that the kernel shows for it does not become its path.
    met.copy(Path::new("/bin/cat"), "agent (deleted)");
    let measured = peer.measure(&HashCache::new()).unwrap();
    assert_eq!((measured.path, measured.sha256), (None, hash));
}

#[test]
fn s7_a_program_replaced_after_it_started_is_measured_as_what_runs() {
    let met = Meeting::new();
    let program = met.program("agent");
    let hash = sha256(&program);
    let _started = Started::new(&program, &["connect", &met.socket()]).ready();
    let peer = Peer::of(met.accept()).unwrap();
    let other = met.copy(Path::new("/bin/cat"), "other");
    fs::rename(&other, &program).unwrap();
    assert_ne!(sha256(&program), hash);
    let measured = peer.measure(&HashCache::new()).unwrap();
    assert_eq!((measured.path, measured.sha256), (None, hash));
}

#[test]
fn s7_a_program_started_after_connecting_is_the_one_that_counts() {
    let met = Meeting::new();
    let next = met.copy(Path::new("/bin/cat"), "next");
    let arguments = ["connect-then-run", &met.socket(), next.to_str().unwrap()];
    let started = Started::new(&met.program("agent"), &arguments);
    let peer = Peer::of(met.accept()).unwrap();
    assert_eq!(peer.pid(), started.pid());
    let runs = format!("/proc/{}/exe", started.pid());
    while fs::read_link(&runs).unwrap() != next {
        std::thread::yield_now();
    }
    let measured = peer.measure(&HashCache::new()).unwrap();
    assert_eq!(measured.path.as_deref(), next.to_str());
    assert_eq!(measured.sha256, sha256(&next));
}

#[test]
fn s7_a_process_that_exits_before_it_is_measured_is_refused() {
    let met = Meeting::new();
    let mut started = Started::new(&met.program("agent"), &["connect", &met.socket()]).ready();
    let accepted = met.accept();
    let peer = Peer::of(&accepted).unwrap();
    assert!(peer.alive());
    let pid = started.pid();
    started.end();
    assert!(!peer.alive());
    let refused = peer.measure(&HashCache::new());
    assert_eq!(refused.err(), Some(MeasureError::Exited { pid }));
    assert_eq!(Peer::of(&accepted).err(), Some(PeerError::Exited { pid }));
}

/// Whichever part of its end it is in: without memory, without files, not yet waited for.
#[test]
fn s7_a_process_that_is_about_to_exit_is_refused_as_one_that_has() {
    const ROUNDS: usize = 50;
    let hashes = HashCache::new();
    for _ in 0..ROUNDS {
        let met = Meeting::new();
        let started = Started::new(&met.program("agent"), &["connect", &met.socket()]).ready();
        let peer = Peer::of(met.accept()).unwrap();
        let pid = started.pid();
        let killed = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
        let refused = std::iter::repeat_with(|| peer.measure(&hashes)).find_map(Result::err);
        assert_eq!(refused, Some(MeasureError::Exited { pid }));
    }
}

#[test]
fn s7_whoever_inherits_a_connection_is_not_who_connected() {
    let met = Meeting::new();
    let mut started = Started::new(&met.program("agent"), &["connect-and-leave", &met.socket()]);
    let heir: i32 = started.hear().strip_prefix("heir ").unwrap().parse().unwrap();
    let _kept_open_for_the_heir = started.process.stdin.take();
    assert!(started.process.wait().unwrap().success());
    let accepted = met.accept();
    let held = fs::read_link(format!("/proc/{heir}/fd/2")).unwrap();
    assert!(held.to_str().unwrap().starts_with("socket:"), "the connection is still open");
    assert_eq!(Peer::of(&accepted).err(), Some(PeerError::Exited { pid: started.pid() }));
}

#[test]
fn s7_a_process_that_changed_its_user_after_connecting_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let met = Meeting::new();
    let arguments = ["connect-as", &NOBODY.to_string(), &met.socket()];
    let _started = Started::new(&met.program("agent"), &arguments).ready();
    let refused = Peer::of(met.accept()).unwrap().measure(&HashCache::new());
    assert_eq!(refused.err(), Some(MeasureError::UserChanged { connected: 0, now: NOBODY }));
}

#[test]
fn s7_a_program_larger_than_the_bound_is_refused() {
    let met = Meeting::new();
    let program = met.program("agent");
    // By a process of its own, as in `Meeting::copy`.
    let size = format!("--size={}", EXECUTABLE_BYTES_MAX + 1);
    assert!(Command::new("truncate").arg(size).arg(&program).status().unwrap().success());
    let _started = Started::new(&program, &["connect", &met.socket()]).ready();
    let refused = Peer::of(met.accept()).unwrap().measure(&HashCache::new());
    assert_eq!(refused.err(), Some(MeasureError::TooLarge { bytes: EXECUTABLE_BYTES_MAX + 1 }));
}

/// Both run as a user without the right to trace the other.
#[test]
fn s7_a_process_that_cannot_be_read_is_refused() {
    let met = Meeting::new();
    let program = met.program("agent");
    let meeting = met.path("measures").to_str().unwrap().to_owned();
    let mut measures = Started::as_nobody(&program, &["measure", &meeting]).ready();
    let other = Started::as_nobody(&program, &["connect-untraceable", &meeting]).ready();
    let refused = measures.hear();
    let file = format!("/proc/{}/exe", other.pid());
    assert_eq!(
        refused,
        format!("Err(\"Proc(Unreadable {{ file: \\\"{file}\\\", kind: PermissionDenied }})\")")
    );
}

/// The one who measures lives in a PID namespace of its own and cannot see who connects.
#[test]
fn s7_a_process_of_another_pid_namespace_is_refused() {
    let met = Meeting::new();
    let program = met.program("agent");
    let meeting = met.path("measures").to_str().unwrap().to_owned();
    let mut apart = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        apart.args(["--user", "--map-root-user"]);
    }
    apart.args(["--pid", "--fork", "--mount-proc"]);
    let mut measures = Started::by(apart.arg(&program).args(["measure", &meeting])).ready();
    let _other = Started::new(&program, &["connect", &meeting]).ready();
    assert_eq!(measures.hear(), "Err(\"OtherNamespace\")");
}

#[tokio::test]
async fn s7_the_end_of_a_process_is_awaited() {
    let met = Meeting::new();
    let mut started = Started::new(&met.program("agent"), &["connect", &met.socket()]).ready();
    let peer = Peer::of(met.accept()).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), peer.exited()).await;
    assert!(early.is_err(), "it is alive");
    let ended = tokio::spawn(peer.exited());
    started.end();
    let late = tokio::time::timeout(Duration::from_secs(10), ended).await;
    assert!(late.unwrap().unwrap().is_ok());
    assert!(!peer.alive());
    assert!(peer.exited().await.is_ok(), "it ends at once for who asks later");
}
