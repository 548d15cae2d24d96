//! What a process runs, and as whom, read while it is known to live (ATT-02).

use std::fs::{self, File};
use std::io;
use std::time::Instant;

use nix::unistd::{Gid, Group, Uid, User};

use attestation::cgroup::CgroupError;
use attestation::selector::{SelectorError, Selectors};
use attestation::unix::Process;

use crate::docker::DockerError;
use crate::hash_cache::{EXECUTABLE_BYTES_MAX, HashCache, HashError, Stamp};
use crate::kubelet::KubeletError;
use crate::proc::{self, Credentials, ProcError};
use crate::script;
use crate::systemd::SystemdError;
use crate::unix::Peer;

/// The most supplementary groups of a process that is measured: each becomes a selector.
pub const GROUPS_MAX: usize = 200;

/// What the kernel appends to the name of an executable whose file was unlinked.
const DELETED: &str = " (deleted)";

impl Peer {
    /// Measures the process: its program by path and hash, its user and its groups. A program that
    /// it started by `exec` since it connected is the one that counts.
    ///
    /// It reads files and may ask a directory for names: it blocks, and a process whose program
    /// lies on a slow file system makes it block long. Call it on a blocking thread, of which one
    /// user cannot take all.
    pub fn measure(&self, hashes: &HashCache) -> Result<Process, MeasureError> {
        let measured = self.read(hashes);
        // attestation-and-audit §2.1: "After reading /proc/<pid>/exe, /cgroup, /maps ask the pidfd
        // again (poll, or fdinfo `Pid: -1`): if it has exited, refuse."
        // INVARIANT: alive now, so the id was its own all the while, and what was read is of it.
        if !self.alive() {
            return Err(MeasureError::Exited { pid: self.pid() });
        }
        measured
    }

    fn read(&self, hashes: &HashCache) -> Result<Process, MeasureError> {
        let name = format!("/proc/{}/exe", self.pid());
        let unreadable = |error: &io::Error| self.without_program(&name, error);
        let mut executable = File::open(&name).map_err(|error| unreadable(&error))?;
        let hashed =
            hashes.sha256(&mut executable, Instant::now()).map_err(|error| match error {
                HashError::Unreadable(error) => unreadable(&error),
                HashError::TooLarge { bytes } => MeasureError::TooLarge { bytes },
                HashError::Changed => MeasureError::FileChanged,
            })?;
        let program = fs::read_link(&name).map_err(|error| unreadable(&error))?;
        let path = program.to_str().and_then(|path| standing(path, &hashed.stamp));
        let credentials = proc::credentials(self.pid())?;
        still_as_connected(self, &credentials)?;
        let script = script::of(self.pid(), &program, &credentials, hashes);
        // The user was read after the program: it must be the user of that program, not of the
        // next.
        let runs = fs::metadata(&name).map_err(|error| unreadable(&error))?;
        if !hashed.stamp.is_file(&runs) {
            return Err(MeasureError::ProgramChanged);
        }
        let Credentials { uid, gid, groups } = credentials;
        Ok(Process {
            pid: self.pid(),
            uid,
            gid,
            user: User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name),
            group: Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name),
            supplementary_names: names(&groups),
            supplementary: groups,
            path,
            sha256: Some(hashed.sha256.iter().map(|byte| format!("{byte:02x}")).collect()),
            script,
            platform: Selectors::default(),
            peer: self.proof(),
        })
    }

    /// Why the link to its program leads nowhere. A file that was deleted is still found by it, so
    /// there is no program: the process gave up its memory, which it does some time before its
    /// pidfd tells of its end.
    fn without_program(&self, name: &str, error: &io::Error) -> MeasureError {
        match error.kind() {
            io::ErrorKind::NotFound => MeasureError::Exited { pid: self.pid() },
            _ => MeasureError::Proc(ProcError::unreadable(name, error)),
        }
    }
}

/// The names of those groups that have one here.
fn names(groups: &[u32]) -> Vec<String> {
    let found = groups.iter().filter_map(|gid| Group::from_gid(Gid::from_raw(*gid)).ok().flatten());
    found.map(|group| group.name).collect()
}

/// Why a process could not be measured. None of them is a reason to serve it with less.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// It exited before the measurement was complete.
    #[error("process {pid} has exited")]
    Exited {
        /// The id that it had.
        pid: i32,
    },
    /// Its executable is larger than what is hashed.
    #[error("the executable has {bytes} bytes, at most {EXECUTABLE_BYTES_MAX} are hashed")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Its executable was written to while it was hashed.
    #[error("the executable changed while it was hashed")]
    FileChanged,
    /// It started another program while it was measured.
    #[error("the process started another program while it was measured")]
    ProgramChanged,
    /// It runs as another user than when it connected.
    #[error("the process connected as user {connected} and runs as user {now}")]
    UserChanged {
        /// Its effective user then.
        connected: u32,
        /// And now.
        now: u32,
    },
    /// It runs as another group than when it connected.
    #[error("the process connected as group {connected} and runs as group {now}")]
    GroupChanged {
        /// Its effective group then.
        connected: u32,
        /// And now.
        now: u32,
    },
    /// It is in more groups than [`GROUPS_MAX`].
    #[error("the process is in {count} groups, at most {GROUPS_MAX} are read")]
    TooManyGroups {
        /// How many.
        count: usize,
    },
    /// It went to another cgroup.
    #[error("the process moved to another cgroup while it was measured")]
    Moved,
    /// The node stops.
    #[error("the measurement was broken off")]
    Interrupted,
    /// What was asked of it did not come in time.
    #[error("the platforms did not tell of the process in time")]
    Late,
    /// Its place among the cgroups does not tell where it is.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// More facts than are read.
    #[error(transparent)]
    Selectors(#[from] SelectorError),
    /// systemd did not tell its unit.
    #[error("systemd: {0}")]
    Systemd(#[from] SystemdError),
    /// The daemon did not tell its container.
    #[error("docker: {0}")]
    Docker(#[from] DockerError),
    /// The kubelet did not tell its pod.
    #[error("kubernetes: {0}")]
    Kubernetes(#[from] KubeletError),
    /// A file of the kernel could not be used; without the right to trace the process, `exe`
    /// cannot be read.
    #[error(transparent)]
    Proc(#[from] ProcError),
}

/// The path, if it still leads to the file that was hashed. In another mount namespace, or after
/// the file was replaced or deleted, the same name is another file or none.
pub(crate) fn standing(path: &str, hashed: &Stamp) -> Option<String> {
    if path.ends_with(DELETED) {
        return None;
    }
    let there = fs::symlink_metadata(path).ok()?;
    hashed.is_file(&there).then(|| path.to_owned())
}

fn still_as_connected(peer: &Peer, now: &Credentials) -> Result<(), MeasureError> {
    if now.uid != peer.uid() {
        return Err(MeasureError::UserChanged { connected: peer.uid(), now: now.uid });
    }
    if now.gid != peer.gid() {
        return Err(MeasureError::GroupChanged { connected: peer.gid(), now: now.gid });
    }
    if now.groups.len() > GROUPS_MAX {
        return Err(MeasureError::TooManyGroups { count: now.groups.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn s7_a_path_stands_while_it_leads_to_the_file_that_was_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("agent"), "1").unwrap();
        fs::write(at("other"), "1").unwrap();
        fs::write(at("agent (deleted)"), "1").unwrap();
        std::os::unix::fs::symlink(at("agent"), at("link")).unwrap();
        let stamp = |name: &str| Stamp::of(&fs::metadata(at(name)).unwrap());
        let check = |name: &str, stamp: &Stamp, expect: bool| {
            assert_eq!(standing(&at(name), stamp), expect.then(|| at(name)), "{name}");
        };
        let agent = stamp("agent");
        check("agent", &agent, true);
        check("other", &agent, false);
        check("link", &agent, false);
        check("missing", &agent, false);
        check("agent (deleted)", &stamp("agent (deleted)"), false);
    }

    #[test]
    fn s7_credentials_that_changed_since_the_connection_are_refused() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&socket).unwrap();
        let (uid, gid) = (peer.uid(), peer.gid());
        let check = |uid: u32, gid: u32, groups: usize, expect: Result<(), MeasureError>| {
            let now = Credentials { uid, gid, groups: vec![0; groups] };
            assert_eq!(still_as_connected(&peer, &now), expect);
        };
        check(uid, gid, GROUPS_MAX, Ok(()));
        check(uid + 1, gid, 0, Err(MeasureError::UserChanged { connected: uid, now: uid + 1 }));
        check(uid, gid + 1, 0, Err(MeasureError::GroupChanged { connected: gid, now: gid + 1 }));
        let count = GROUPS_MAX + 1;
        check(uid, gid, count, Err(MeasureError::TooManyGroups { count }));
    }
}
