//! The script of an interpreter: which file the process's arguments name, and its hash (the pure
//! half, and what it is worth, is `attestation::script`).

use std::fs::{self, File, Metadata};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

use attestation::script::{Interpreter, arguments};
use attestation::unix::Script;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

use crate::hash_cache::HashCache;
use crate::measure::standing;
use crate::proc::{self, Credentials};

/// The largest script that is hashed, in bytes: a Java archive carries its libraries.
const SCRIPT_BYTES_MAX: u64 = 256 << 20;

/// The script that a process of this program says to run, if it says one that can be read. Nothing
/// here is an error: what a process says of itself it need not say.
pub(crate) fn of(
    pid: i32,
    program: &Path,
    credentials: &Credentials,
    hashes: &HashCache,
) -> Option<Script> {
    let interpreter = Interpreter::of(program.to_str()?)?;
    let cmdline = proc::cmdline(pid).ok()?;
    let texts = arguments(&cmdline).into_iter().map_while(|one| str::from_utf8(one).ok());
    let texts: Vec<_> = texts.collect();
    let named = Path::new(interpreter.script(&texts)?);
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let place = open_within(pid, &folder.join(named))?;
    let opened = format!("/proc/self/fd/{}", place.as_raw_fd());
    // A place is no open file: what is not a regular one is not opened, which could block, or do
    // something.
    let found = fs::metadata(&opened).ok()?;
    if !found.is_file() || found.file_type().is_fifo() || found.size() > SCRIPT_BYTES_MAX {
        return None;
    }
    // We may read what the process may not: it is not told by files that it cannot run.
    if !may_read(credentials, &found) {
        return None;
    }
    let mut file = File::open(&opened).ok()?;
    let hashed = hashes.sha256(&mut file, Instant::now()).ok()?;
    let path = fs::read_link(&opened).ok()?;
    let path = path.to_str().and_then(|path| standing(path, &hashed.stamp));
    let sha256 = hashed.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Script { path, sha256 })
}

/// The file that a path leads to below the root of the process, whatever its links say.
fn open_within(pid: i32, path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = open(format!("/proc/{pid}/root"), flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(&root, path, flags, Mode::empty(), resolve).ok()
}

/// By the bits of its mode; access lists are not looked at.
fn may_read(who: &Credentials, file: &Metadata) -> bool {
    let bits = file.mode();
    if who.uid == 0 {
        true
    } else if who.uid == file.uid() {
        bits & 0o400 != 0
    } else if who.gid == file.gid() || who.groups.contains(&file.gid()) {
        bits & 0o040 != 0
    } else {
        bits & 0o004 != 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn s7_a_file_that_the_process_cannot_read_is_not_its_script() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = fs::metadata(file.path()).unwrap();
        let (uid, gid) = (own.uid(), own.gid());
        let check = |mode: u32, who: (u32, u32, &[u32]), expect: bool| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let found = fs::metadata(file.path()).unwrap();
            let who = Credentials { uid: who.0, gid: who.1, groups: who.2.to_vec() };
            assert_eq!(may_read(&who, &found), expect, "{mode:o} {who:?}");
        };
        let (other, others) = (uid + 7, gid + 7);
        check(0o600, (other, others, &[]), false);
        check(0o604, (other, others, &[]), true);
        check(0o640, (other, others, &[gid]), true);
        check(0o604, (other, gid, &[]), false);
        check(0o000, (0, others, &[]), true);
    }
}
