//! All that this node can find out of a process: what the kernel says, and what the platforms say
//! that are switched on. One that fails refuses the process: with fewer facts it could match a
//! record that it is not.

use std::sync::Arc;
use std::time::Duration;

use attestation::cgroup::Cgroups;
use attestation::selector::Selectors;
use attestation::unix::Process;

use crate::docker::Daemons;
use crate::hash_cache::HashCache;
use crate::kubelet::Kubelet;
use crate::measure::MeasureError;
use crate::proc;
use crate::systemd::Bus;
use crate::unix::Peer;

/// How long all platforms together may take, in which each has a bound of its own.
const PLATFORM_TIME_MAX: Duration = Duration::from_secs(20);

/// What is asked besides the kernel.
#[derive(Debug, Default)]
pub struct Attestors {
    /// Hashes of executables and scripts.
    pub hashes: Arc<HashCache>,
    /// systemd.
    pub systemd: Option<Bus>,
    /// Docker and Podman.
    pub docker: Option<Daemons>,
    /// The kubelet.
    pub kubernetes: Option<Kubelet>,
}

impl Attestors {
    /// Measures a process. Its cgroups are the same before and after, and it lives afterwards: what
    /// was read and asked is of it.
    pub async fn measure(&self, peer: &Peer) -> Result<Process, MeasureError> {
        let platform = tokio::time::timeout(PLATFORM_TIME_MAX, self.platform(peer)).await;
        let platform = match platform.unwrap_or(Err(MeasureError::Late)) {
            Ok(platform) => platform,
            Err(_) if !peer.alive() => return Err(MeasureError::Exited { pid: peer.pid() }),
            Err(error) => return Err(error),
        };
        let (asked, hashes) = (peer.clone(), Arc::clone(&self.hashes));
        let measured = tokio::task::spawn_blocking(move || asked.measure(&hashes)).await;
        let measured = measured.map_err(|_| MeasureError::Interrupted)??;
        let Some((cgroups, platform)) = platform else { return Ok(measured) };
        let now = cgroups_of(peer);
        if !peer.alive() {
            return Err(MeasureError::Exited { pid: peer.pid() });
        }
        if now? != cgroups {
            return Err(MeasureError::Moved);
        }
        Ok(Process { platform, ..measured })
    }

    async fn platform(&self, peer: &Peer) -> Result<Option<(Cgroups, Selectors)>, MeasureError> {
        if self.systemd.is_none() && self.docker.is_none() && self.kubernetes.is_none() {
            return Ok(None);
        }
        let cgroups = cgroups_of(peer)?;
        let mut all = Vec::new();
        if let Some(bus) = &self.systemd {
            all.push(bus.selectors(peer.pid(), &cgroups).await?);
        }
        if (self.docker.is_some() || self.kubernetes.is_some())
            && let Some(container) = cgroups.container()?
        {
            if let Some(daemons) = &self.docker {
                all.push(daemons.selectors(&cgroups, &container).await?);
            }
            if let Some(kubelet) = &self.kubernetes {
                all.push(kubelet.selectors(&container).await?);
            }
        }
        let all = all.iter().flat_map(Selectors::iter).cloned();
        let platform = Selectors::new(all)?;
        Ok(Some((cgroups, platform)))
    }
}

fn cgroups_of(peer: &Peer) -> Result<Cgroups, MeasureError> {
    Ok(proc::cgroups(peer.pid())?)
}

impl MeasureError {
    /// Whether asking again later may help: something of the platform is away.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Systemd(error) => error.is_temporary(),
            Self::Docker(error) => error.is_temporary(),
            Self::Kubernetes(error) => error.is_temporary(),
            Self::Interrupted | Self::Late => true,
            _ => false,
        }
    }

    /// The check that fired, as records name it.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Exited { .. } => "measure::Exited",
            Self::TooLarge { .. } => "measure::TooLarge",
            Self::FileChanged => "measure::FileChanged",
            Self::ProgramChanged => "measure::ProgramChanged",
            Self::UserChanged { .. } => "measure::UserChanged",
            Self::GroupChanged { .. } => "measure::GroupChanged",
            Self::TooManyGroups { .. } => "measure::TooManyGroups",
            Self::Moved => "measure::Moved",
            Self::Interrupted => "measure::Interrupted",
            Self::Late => "measure::Late",
            Self::Proc(_) => "measure::Proc",
            Self::Cgroup(_) => "measure::Cgroup",
            Self::Selectors(_) => "measure::Selectors",
            Self::Systemd(_) => "measure::Systemd",
            Self::Docker(_) => "measure::Docker",
            Self::Kubernetes(_) => "measure::Kubernetes",
        }
    }
}
