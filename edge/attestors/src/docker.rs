//! What the Docker daemon, or Podman, says of the container that a process is in
//! (<https://docs.docker.com/reference/api/engine/>; the pure half is `attestation::docker`).
//!
//! The name of a cgroup alone proves nothing: a user may make one below a part of the tree that was
//! given to it. The daemon names the first process of the container, and the process in question
//! must stand where that one stands.

use std::path::{Path, PathBuf};

use attestation::cgroup::{Cgroups, Container, Runtime};
use attestation::docker::{INSPECT_BYTES_MAX, InspectError, Inspected};
use attestation::selector::{SelectorError, Selectors};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;

use crate::ask::{AskError, Question, ask, in_time};
use crate::proc::{self, ProcError};
use crate::unix::is_alive;

/// Where the daemons listen; one that is not named is not asked about its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Daemons {
    /// Docker's socket.
    pub docker: Option<PathBuf>,
    /// That of the system's Podman. A user's own Podman says what that user likes and is not asked.
    pub podman: Option<PathBuf>,
}

impl Daemons {
    /// The selectors of a process's container; none where it is no container of theirs.
    pub(crate) async fn selectors(
        &self,
        cgroups: &Cgroups,
        container: &Container,
    ) -> Result<Selectors, DockerError> {
        let socket = match container.runtime {
            Runtime::Docker => &self.docker,
            Runtime::Podman => &self.podman,
            Runtime::Kubernetes => return Ok(Selectors::default()),
        };
        let Some(socket) = socket else { return Ok(Selectors::default()) };
        let id = &container.id;
        let first = inspect(socket, id).await?;
        let gone = || DockerError::Changed { id: id.clone() };
        let pid = Pid::from_raw(first.pid).ok_or_else(gone)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
        let its = proc::cgroups(first.pid).map_err(DockerError::Proc)?;
        if !cgroups.within(&its, id) {
            return Err(DockerError::Elsewhere { id: id.clone(), pid: first.pid });
        }
        // INVARIANT: the daemon names the same first process before and after its cgroups were
        // read, and it lives: the id was its own all the while.
        let again = inspect(socket, id).await?;
        use std::os::fd::AsFd;
        if !first.is_same_run(&again) || !is_alive(pidfd.as_fd()) {
            return Err(gone());
        }
        Ok(again.selectors()?)
    }
}

async fn inspect(socket: &Path, id: &str) -> Result<Inspected, DockerError> {
    let daemon = |why| DockerError::Daemon { socket: socket.display().to_string(), why };
    let asking = async {
        let stream = UnixStream::connect(socket).await;
        let stream = stream.map_err(|error| AskError::unreachable(&error))?;
        let path = format!("/containers/{id}/json");
        let (path, host) = (path.as_str(), "localhost");
        let answer_bytes_max = INSPECT_BYTES_MAX;
        ask(stream, Question { path, host, bearer: None, answer_bytes_max }).await
    };
    let answer = match in_time(asking).await {
        Err(AskError::Status { status: 404 }) => {
            return Err(DockerError::Unknown { id: id.to_owned() });
        }
        other => other.map_err(daemon)?,
    };
    Ok(Inspected::parse(&answer, id)?)
}

/// Why a container's facts cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// The daemon did not tell.
    #[error("the daemon at `{socket}` {why}")]
    Daemon {
        /// Its socket.
        socket: String,
        /// What happened.
        why: AskError,
    },
    /// The daemon has no such container.
    #[error("the daemon has no container `{id}`, which the process's cgroup names")]
    Unknown {
        /// Its id.
        id: String,
    },
    /// The process's cgroup has the container's name and is another.
    #[error("the process is not where process {pid} of container `{id}` is")]
    Elsewhere {
        /// The container.
        id: String,
        /// Its first process, as the daemon says.
        pid: i32,
    },
    /// The container ended, or was started again.
    #[error("container `{id}` ended while it was measured, or its first process is not here")]
    Changed {
        /// Its id.
        id: String,
    },
    /// The answer is not about what was asked.
    #[error(transparent)]
    Answer(#[from] InspectError),
    /// The container has too many facts.
    #[error(transparent)]
    Selectors(#[from] SelectorError),
    /// A file of the kernel could not be used.
    #[error(transparent)]
    Proc(ProcError),
}

impl DockerError {
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Daemon { why, .. } => why.is_temporary(),
            Self::Changed { .. } => true,
            _ => false,
        }
    }
}
