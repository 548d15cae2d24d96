//! The script of an interpreter. The interpreter is the child's program under another name: it shows
//! the same arguments, and that it never reads the file shows what they are worth.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use attestation::unix::Script;
use attestors::{HashCache, Peer};

use crate::child::{Meeting, Started};
use crate::unix::sha256;

/// What is told of a child with this program's name in this folder; its first argument, `connect`,
/// is the script's name.
fn told(met: &Meeting, program: &str, folder: &Path) -> Option<Script> {
    let program = met.program(program);
    let mut command = Command::new(&program);
    command.args(["connect", &met.socket()]).current_dir(folder);
    let _started = Started::by(&mut command).ready();
    Peer::of(met.accept()).unwrap().measure(&HashCache::new()).unwrap().script
}

/// req: ATT-02 (part)
#[test]
fn s7_an_interpreters_script_is_told_by_path_and_hash() {
    let met = Meeting::new();
    let (script, real) = (met.path("connect"), met.path("agent.py"));
    let told = |program: &str| told(&met, program, met.path("").as_path());
    assert_eq!(told("python3.9"), None, "the file is not there");
    fs::write(&real, "print()\n").unwrap();
    std::os::unix::fs::symlink("agent.py", &script).unwrap();
    let path = Some(real.to_str().unwrap().to_owned());
    let expect = Some(Script { path, sha256: sha256(&real).unwrap() });
    assert_eq!(told("python3"), expect, "the file itself, not the link to it");
    assert_eq!(told("bash"), expect);
    assert_eq!(told("agent"), None, "no interpreter");
    assert_eq!(told("java"), None, "a class, not a file");
}

#[test]
fn s7_what_is_no_readable_file_is_no_script() {
    let met = Meeting::new();
    let script = met.path("connect");
    let told = |name: &str| told(&met, name, met.path("").as_path());
    fs::create_dir(&script).unwrap();
    assert_eq!(told("python3"), None);
    fs::remove_dir(&script).unwrap();
    // Nobody writes into it: to open it would wait for ever.
    assert!(Command::new("mkfifo").arg(&script).status().unwrap().success());
    assert_eq!(told("python4"), None);
    fs::remove_file(&script).unwrap();
    std::os::unix::fs::symlink("/proc/self/exe", &script).unwrap();
    assert_eq!(told("python5"), None, "a link of the kernel is ours, not the process's");
}

#[test]
fn s7_a_script_that_only_we_can_read_is_not_the_processs() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let met = Meeting::new();
    let script = met.path("connect");
    fs::write(&script, "secret").unwrap();
    let told = |name: &str, mode: u32| {
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(met.program(name)).args(["connect", &met.socket()]);
        command.current_dir(met.path(""));
        let _started = Started::by(&mut command).ready();
        Peer::of(met.accept()).unwrap().measure(&HashCache::new()).unwrap().script
    };
    assert_eq!(told("python3", 0o600), None);
    assert!(told("python4", 0o604).is_some());
}

/// Below another root the same path is another file.
#[test]
fn s7_a_script_is_looked_for_below_the_root_of_its_process() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let met = Meeting::new();
    let (program, inner) = (met.program("python3"), met.path("inner"));
    fs::create_dir(&inner).unwrap();
    fs::write(met.path("connect"), "outer").unwrap();
    fs::write(inner.join("connect"), "inner").unwrap();
    let (outer, inner) = (met.path(""), inner);
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$1\" \"$2\" && cd \"$2\" && shift 2 && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&inner).arg(&outer);
    // The folder of the socket and the program is covered; both are reached as they were opened.
    let _socket = fs::hard_link(met.socket(), inner.join("socket"));
    let copied = Command::new("cp").arg(&program).arg(inner.join("python3")).status().unwrap();
    assert!(copied.success());
    command.arg(outer.join("python3")).args(["connect", &met.socket()]);
    let _started = Started::by(&mut command).ready();
    let told = Peer::of(met.accept()).unwrap().measure(&HashCache::new()).unwrap().script;
    let expect = Script { path: None, sha256: sha256(&inner.join("connect")).unwrap() };
    assert_eq!(told, Some(expect), "and its path leads elsewhere here");
}
