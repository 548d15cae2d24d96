//! The process at the other end of a unix socket, held by a pidfd so that a process id that is
//! given to another cannot lie (ATT-02).

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use attestation::unix::PeerProof;

use crate::proc::{self, ProcError};

/// The process that connected a unix socket. Cheap to clone; all clones hold one pidfd.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Held>);

#[derive(Debug)]
struct Held {
    pidfd: OwnedFd,
    pid: i32,
    uid: u32,
    gid: u32,
    proof: PeerProof,
}

impl Peer {
    /// The process that connected this accepted socket. Its credentials are those of the moment
    /// when it connected.
    pub fn of(socket: impl AsFd) -> Result<Self, PeerError> {
        let socket = socket.as_fd();
        let told = getsockopt(&socket, PeerCredentials).map_err(PeerError::no_credentials)?;
        let told = Told { pid: told.pid(), uid: told.uid(), gid: told.gid() };
        match getsockopt(&socket, PeerPidfd) {
            Ok(pidfd) => Self::by_pidfd(pidfd, told),
            // attestation-and-audit §2.1: "Fallback for older kernels: SO_PEERCRED + pidfd_open +
            // start time, and say so in the selectors"
            Err(Errno::ENOPROTOOPT) => Self::by_credentials(told),
            // Kernels up to 6.15 make no pidfd for a process that has been waited for.
            Err(Errno::ESRCH | Errno::EINVAL) => Err(PeerError::Exited { pid: told.pid }),
            Err(errno) => Err(PeerError::no_credentials(errno)),
        }
    }

    /// The process that has this id now, as somebody else names it. That the id was given to
    /// another since it was named is not seen; from here on it is held.
    pub fn named(pid: i32) -> Result<Self, PeerError> {
        let pid = if pid > 0 { pid } else { return Err(PeerError::OtherNamespace) };
        let now = proc::credentials(pid).map_err(|_| PeerError::Exited { pid })?;
        Self::by_credentials(Told { pid, uid: now.uid, gid: now.gid })
    }

    /// Its id in our PID namespace. It names the process only while [`Peer::alive`].
    pub fn pid(&self) -> i32 {
        self.0.pid
    }

    /// Its effective user when it connected.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// Its effective group when it connected.
    pub fn gid(&self) -> u32 {
        self.0.gid
    }

    /// How it was identified.
    pub fn proof(&self) -> PeerProof {
        self.0.proof
    }

    /// False once it has exited; false too where the kernel does not say.
    pub fn alive(&self) -> bool {
        is_alive(self.0.pidfd.as_fd())
    }

    /// Ends when it has exited. The error is of the runtime's: no more descriptors, or no reactor.
    pub fn exited(&self) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let pidfd = self.0.pidfd.try_clone();
        async move {
            // pidfd_open(2): "it can be monitored using poll(2) [...] When the process that it
            // refers to terminates, these interfaces indicate the file descriptor as readable."
            let watched = watch(pidfd?)?;
            watched.readable().await.map(|_| ())
        }
    }

    fn by_pidfd(pidfd: OwnedFd, told: Told) -> Result<Self, PeerError> {
        let pid = in_our_namespace(proc::pid_of(pidfd.as_raw_fd())?, told)?;
        Self::living(pidfd, Told { pid, ..told }, PeerProof::Pidfd)
    }

    /// What remains of the race: that the process exited, and its id was given to another of the
    /// same user and group, before this began.
    fn by_credentials(told: Told) -> Result<Self, PeerError> {
        let pid = in_our_namespace(told.pid, told)?;
        let gone = PeerError::Exited { pid };
        let started = proc::start_time(pid).map_err(|_| gone.clone())?;
        let named = Pid::from_raw(pid).ok_or(PeerError::OtherNamespace)?;
        let pidfd = pidfd_open(named, PidfdFlags::empty()).map_err(|_| gone.clone())?;
        if proc::start_time(pid).map_err(|_| gone)? != started {
            return Err(PeerError::Reused { pid });
        }
        let now = proc::credentials(pid)?;
        if (now.uid, now.gid) != (told.uid, told.gid) {
            return Err(PeerError::Reused { pid });
        }
        Self::living(pidfd, told, PeerProof::Cred)
    }

    fn living(pidfd: OwnedFd, told: Told, proof: PeerProof) -> Result<Self, PeerError> {
        let Told { pid, uid, gid } = told;
        if !is_alive(pidfd.as_fd()) {
            return Err(PeerError::Exited { pid });
        }
        Ok(Self(Arc::new(Held { pidfd, pid, uid, gid, proof })))
    }
}

/// Why the process at the other end of a socket cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It runs in a PID namespace that is not ours nor below ours.
    #[error("the process runs in another pid namespace: nothing can be read about it here")]
    OtherNamespace,
    /// It connected and exited; whoever holds the socket now did not connect it.
    #[error("process {pid} has exited")]
    Exited {
        /// The id that it had.
        pid: i32,
    },
    /// Its id belongs to another process now, or it changed its user.
    #[error("process {pid} is not the one that connected, or changed its user")]
    Reused {
        /// The id.
        pid: i32,
    },
    /// The socket has no peer credentials.
    #[error("the socket does not say who connected it: {kind}")]
    NoCredentials {
        /// What the kernel said.
        kind: io::ErrorKind,
    },
    /// A file of the kernel could not be used.
    #[error(transparent)]
    Proc(#[from] ProcError),
}

impl PeerError {
    fn no_credentials(errno: Errno) -> Self {
        Self::NoCredentials { kind: io::Error::from(errno).kind() }
    }
}

/// What `SO_PEERCRED` says.
#[derive(Clone, Copy, Debug)]
struct Told {
    pid: i32,
    uid: u32,
    gid: u32,
}

/// attestation-and-audit §2.1: "Refuse PID namespaces where the pid reads 0."
fn in_our_namespace(pid: i32, told: Told) -> Result<i32, PeerError> {
    match pid {
        0 => Err(PeerError::OtherNamespace),
        // attestation-and-audit §2.1: "fdinfo `Pid: -1`): if it has exited, refuse"
        ..0 => Err(PeerError::Exited { pid: told.pid }),
        _ => Ok(pid),
    }
}

/// Asks without waiting. A process that has exited and was not waited for is not alive.
pub(crate) fn is_alive(pidfd: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(&pidfd, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match rustix::event::poll(&mut asked, Some(&at_once)) {
            Ok(ready) => return ready == 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Registers a pidfd with the runtime.
// INVARIANT: an `OwnedFd` is one open descriptor, the same one at each call, until it is dropped;
// nothing here takes it out of the `AsyncFd` or exchanges it.
#[expect(
    deprecated,
    reason = "unsound only for types whose descriptor may change or close; the replacement is \
              `unsafe`, which this tree forbids"
)]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that waits until its standard input closes.
    fn waiting() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    fn told(pid: i32) -> Told {
        let own = proc::credentials(i32::try_from(std::process::id()).unwrap()).unwrap();
        Told { pid, uid: own.uid, gid: own.gid }
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_an_older_kernels_peer_is_told_by_its_credentials_and_says_so() {
        let mut child = waiting();
        let told = told(i32::try_from(child.id()).unwrap());
        let peer = Peer::by_credentials(told).unwrap();
        assert_eq!((peer.pid(), peer.proof()), (told.pid, PeerProof::Cred));
        assert!(peer.alive());

        let check = |told: Told, expect: PeerError| {
            assert_eq!(Peer::by_credentials(told).err(), Some(expect));
        };
        check(Told { uid: told.uid + 1, ..told }, PeerError::Reused { pid: told.pid });
        check(Told { gid: told.gid + 1, ..told }, PeerError::Reused { pid: told.pid });
        check(Told { pid: 0, ..told }, PeerError::OtherNamespace);
        check(Told { pid: i32::MAX, ..told }, PeerError::Exited { pid: i32::MAX });

        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!peer.alive());
        check(told, PeerError::Exited { pid: told.pid });
    }

    /// req: PROV-10 (part)
    #[test]
    fn s4_8_a_process_that_is_named_is_held_and_says_that_it_was_named() {
        let mut child = waiting();
        let pid = i32::try_from(child.id()).unwrap();
        let named = Peer::named(pid).unwrap();
        assert_eq!((named.pid(), named.proof()), (pid, PeerProof::Cred));
        let own = proc::credentials(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!((named.uid(), named.gid()), (own.uid, own.gid));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!named.alive());
        assert_eq!(Peer::named(pid).err(), Some(PeerError::Exited { pid }));
        for pid in [0, -1] {
            assert_eq!(Peer::named(pid).err(), Some(PeerError::OtherNamespace));
        }
    }

    #[test]
    fn s7_a_process_that_nobody_waited_for_has_exited() {
        let mut child = waiting();
        let told = told(i32::try_from(child.id()).unwrap());
        let peer = Peer::by_credentials(told).unwrap();
        child.kill().unwrap();
        while peer.alive() {
            std::thread::yield_now();
        }
        assert_eq!(
            Peer::by_credentials(told).err(),
            Some(PeerError::Exited { pid: told.pid }),
            "it is a zombie until it is waited for"
        );
        child.wait().unwrap();
    }

    #[test]
    fn s7_a_pidfd_in_another_namespace_is_refused() {
        let check = |pid: i32, expect: Result<i32, PeerError>| {
            assert_eq!(in_our_namespace(pid, told(7)), expect);
        };
        check(0, Err(PeerError::OtherNamespace));
        check(-1, Err(PeerError::Exited { pid: 7 }));
        check(9, Ok(9));
    }

    #[test]
    fn s7_what_is_no_unix_socket_has_no_peer() {
        let (a, _b) = UnixStream::pair().unwrap();
        let own = Peer::of(&a).unwrap();
        assert_eq!(own.pid(), i32::try_from(std::process::id()).unwrap());
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Peer::of(&file), Err(PeerError::NoCredentials { .. })));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(matches!(Peer::of(&tcp), Err(PeerError::NoCredentials { .. })));
    }
}
