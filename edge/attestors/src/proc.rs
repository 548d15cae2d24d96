//! Small files below `/proc`, read whole and bounded, and the few lines of them that count.

use std::fs::File;
use std::io::{self, Read};

use attestation::cgroup::Cgroups;

/// The longest file of these that is read; a status file names at most 65,536 groups.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// As much of the arguments of a process is read.
const CMDLINE_BYTES_MAX: u64 = 64 * 1024;

/// Why a file of the kernel could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcError {
    /// It could not be opened or read.
    #[error("cannot read `{file}`: {kind}")]
    Unreadable {
        /// Its path.
        file: String,
        /// What the kernel said.
        kind: io::ErrorKind,
    },
    /// It is longer than any such file should be.
    #[error("`{file}` is longer than {FILE_BYTES_MAX} bytes")]
    TooLong {
        /// Its path.
        file: String,
    },
    /// It lacks what proc(5) says it has.
    #[error("`{file}` has no readable `{field}`")]
    Malformed {
        /// Its path.
        file: String,
        /// What was looked for.
        field: &'static str,
    },
}

impl ProcError {
    pub(crate) fn unreadable(file: &str, error: &io::Error) -> Self {
        Self::Unreadable { file: file.to_owned(), kind: error.kind() }
    }

    fn malformed(file: &str, field: &'static str) -> Self {
        Self::Malformed { file: file.to_owned(), field }
    }
}

/// The user and the groups that a status file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The effective user.
    pub(crate) uid: u32,
    /// The effective group.
    pub(crate) gid: u32,
    /// The supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// The process id behind one of our own pidfds, in our PID namespace: 0 where the process has none
/// there, -1 where it has exited and was waited for.
pub(crate) fn pid_of(pidfd: i32) -> Result<i32, ProcError> {
    let file = format!("/proc/self/fdinfo/{pidfd}");
    read_pid(&read(&file)?).ok_or_else(|| ProcError::malformed(&file, "Pid"))
}

/// When the process started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
pub(crate) fn start_time(pid: i32) -> Result<u64, ProcError> {
    let file = format!("/proc/{pid}/stat");
    read_start_time(&read(&file)?).ok_or_else(|| ProcError::malformed(&file, "starttime"))
}

/// Where a process is among the cgroups.
pub(crate) fn cgroups(pid: i32) -> Result<Cgroups, ProcError> {
    let file = format!("/proc/{pid}/cgroup");
    Cgroups::parse(&read(&file)?).map_err(|_| ProcError::malformed(&file, "cgroup"))
}

/// The arguments of a process as it shows them; the longest are cut.
pub(crate) fn cmdline(pid: i32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline"))?.take(CMDLINE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The credentials of a process now.
pub(crate) fn credentials(pid: i32) -> Result<Credentials, ProcError> {
    let file = format!("/proc/{pid}/status");
    read_credentials(&read(&file)?).map_err(|field| ProcError::malformed(&file, field))
}

/// A file as text. A process may put any bytes in its name, which some of these files quote.
fn read(file: &str) -> Result<String, ProcError> {
    let unreadable = |error: io::Error| ProcError::unreadable(file, &error);
    let opened = File::open(file).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(ProcError::TooLong { file: file.to_owned() });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_pid(text: &str) -> Option<i32> {
    field(text, "Pid")?.parse().ok()
}

fn read_start_time(text: &str) -> Option<u64> {
    // proc_pid_stat(5): field 2 is "The filename of the executable, in parentheses"; it may hold
    // spaces and parentheses of its own, so counting starts behind the last one.
    let (_, after) = text.rsplit_once(')')?;
    after.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

fn read_credentials(text: &str) -> Result<Credentials, &'static str> {
    // proc_pid_status(5): "Uid, Gid: Real, effective, saved set, and filesystem UIDs (GIDs)."
    let effective = |name: &'static str| {
        let value = field(text, name).and_then(|line| line.split_ascii_whitespace().nth(1));
        value.and_then(|id| id.parse().ok()).ok_or(name)
    };
    // proc_pid_status(5): "Groups: Supplementary group list."
    let groups = field(text, "Groups").ok_or("Groups")?;
    let groups = groups.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>();
    Ok(Credentials {
        uid: effective("Uid")?,
        gid: effective("Gid")?,
        groups: groups.map_err(|_| "Groups")?,
    })
}

/// The value of the first line `name:`. The kernel escapes line ends in a process's name, so no
/// process can write a line of its own.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    text.lines().find_map(value).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_the_pid_of_a_pidfd_is_read_with_its_two_special_values() {
        let check = |text: &str, expect: Option<i32>| assert_eq!(read_pid(text), expect, "{text}");
        check("pos:\t0\nflags:\t02000002\nPid:\t42\nNSpid:\t42\n", Some(42));
        check("Pid:\t0\nNSpid:\t0\n", Some(0));
        check("Pid:\t-1\nNSpid:\t-1\n", Some(-1));
        check("NSpid:\t42\n", None);
        check("Pid:\t\n", None);
        check("", None);
    }

    #[test]
    fn s7_a_process_name_cannot_shift_the_start_time() {
        let stat = |name: &str, start: &str| {
            format!("42 ({name}) S 1 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 {start} 99 1 18\n")
        };
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(read_start_time(text), expect, "{text}");
        };
        check(&stat("agent", "7777"), Some(7777));
        check(&stat("a) S 1 1 1 0 -1 0 1 1 1 1 1 1 1 1 20 0 1 0 5 (", "7777"), Some(7777));
        check(&stat("agent", "x"), None);
        check("42 (agent) S 1", None);
        check("", None);
    }

    #[test]
    fn s7_the_effective_credentials_are_read() {
        let status = |uid: &str, gid: &str, groups: &str| {
            format!("Name:\tx\\nUid:\t0\t0\t0\t0\nUid:\t{uid}\nGid:\t{gid}\nGroups:\t{groups}\n")
        };
        let check = |text: String, expect: Result<(u32, u32, &[u32]), &'static str>| {
            let found = read_credentials(&text);
            let found = found.as_ref().map(|c| (c.uid, c.gid, c.groups.as_slice()));
            assert_eq!(found.map_err(|field| *field), expect, "{text}");
        };
        check(status("1\t2\t3\t4", "5\t6\t7\t8", "9 10 "), Ok((2, 6, &[9, 10])));
        check(status("1\t2\t3\t4", "5\t6\t7\t8", " "), Ok((2, 6, &[])));
        check(status("1", "5\t6\t7\t8", ""), Err("Uid"));
        check(status("1\t2", "5\t-1", ""), Err("Gid"));
        check(status("1\t2", "5\t6", "9 x"), Err("Groups"));
        check("Uid:\t1\t2\nGid:\t1\t2\n".to_owned(), Err("Groups"));
    }

    #[test]
    fn s7_what_is_not_there_is_named() {
        let file = "/proc/self/fdinfo/-7".to_owned();
        assert_eq!(pid_of(-7), Err(ProcError::Unreadable { file, kind: io::ErrorKind::NotFound }));
        assert!(start_time(i32::MAX).is_err());
        assert!(credentials(i32::MAX).is_err());
        let zeros = "/dev/zero".to_owned();
        assert_eq!(read(&zeros), Err(ProcError::TooLong { file: zeros }));
    }
}
