//! Who is asked about the workloads of a node besides the kernel, by its settings. What is named is
//! switched on.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use attestors::docker::Daemons;
use attestors::kubelet::{Kubelet, USUAL_CA, USUAL_TOKEN};
use attestors::systemd::{Bus, USUAL_BUS};
use attestors::{Attestors, HashCache};
use serde::{Deserialize, Serialize};

use super::layout::Settings;

/// Where Docker listens unless told otherwise.
pub const USUAL_DOCKER: &str = "/var/run/docker.sock";
/// Where the system's Podman listens.
pub const USUAL_PODMAN: &str = "/run/podman/podman.sock";
/// Where a kubelet listens on its own host.
pub const USUAL_KUBELET: &str = "https://127.0.0.1:10250";

/// How long a kubelet may take to be connected to, when it is looked whether it is there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// `[workloads]`: a table each for those that are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workloads {
    /// `systemd:` selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systemd: Option<Systemd>,
    /// `docker:` selectors of Docker's containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker: Option<Docker>,
    /// `docker:` selectors of the containers of the system's Podman.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub podman: Option<Podman>,
    /// `k8s:` selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

impl Workloads {
    /// Whether the kernel alone is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `[workloads.systemd]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Systemd {
    /// The socket of the system bus.
    pub bus: PathBuf,
}

impl Default for Systemd {
    fn default() -> Self {
        Self { bus: USUAL_BUS.into() }
    }
}

/// `[workloads.docker]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// The socket of the daemon.
    pub socket: PathBuf,
}

impl Default for Docker {
    fn default() -> Self {
        Self { socket: USUAL_DOCKER.into() }
    }
}

/// `[workloads.podman]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Podman {
    /// The socket of the system's service.
    pub socket: PathBuf,
}

impl Default for Podman {
    fn default() -> Self {
        Self { socket: USUAL_PODMAN.into() }
    }
}

/// `[workloads.kubernetes]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// The kubelet: `https://HOST:PORT`, or `http://` at a loopback address (the read-only port).
    pub kubelet: String,
    /// The authority below which its certificate is.
    pub ca: PathBuf,
    /// The name in its certificate, where that is not the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The token that it is asked with.
    pub token: PathBuf,
}

impl Default for Kubernetes {
    fn default() -> Self {
        let kubelet = USUAL_KUBELET.to_owned();
        Self { kubelet, ca: USUAL_CA.into(), name: None, token: USUAL_TOKEN.into() }
    }
}

/// What measures the workloads of a node; paths are relative to `dir`.
pub fn attestors(settings: &Settings, dir: &Path) -> Result<Attestors, String> {
    let Workloads { systemd, docker, podman, kubernetes } = &settings.workloads;
    let at = |path: &PathBuf| dir.join(path);
    let kubernetes = kubernetes.as_ref().map(|one| {
        let Kubernetes { kubelet, ca, name, token } = one;
        Kubelet::new(kubelet, &at(ca), name.as_deref(), &at(token))
            .map_err(|error| format!("[workloads.kubernetes]: {error}"))
    });
    let daemons = Daemons {
        docker: docker.as_ref().map(|one| at(&one.socket)),
        podman: podman.as_ref().map(|one| at(&one.socket)),
    };
    Ok(Attestors {
        hashes: Arc::new(HashCache::new()),
        systemd: systemd.as_ref().map(|one| Bus(at(&one.bus))),
        docker: (docker.is_some() || podman.is_some()).then_some(daemons),
        kubernetes: kubernetes.transpose()?,
    })
}

/// One that can be asked on this host, or is switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The name of its table.
    pub name: &'static str,
    /// Where it is.
    pub place: String,
    /// Whether its table is there.
    pub is_on: bool,
    /// Why it does not answer.
    pub silent: Option<String>,
}

/// Who is there: those switched on, and those that answer below `root` at the usual places.
pub fn look(root: &Path, dir: &Path, workloads: &Workloads) -> Vec<Seen> {
    let Workloads { systemd, docker, podman, kubernetes } = workloads;
    let mut seen = Vec::new();
    for (name, usual, named) in [
        ("systemd", USUAL_BUS, systemd.as_ref().map(|one| &one.bus)),
        ("docker", USUAL_DOCKER, docker.as_ref().map(|one| &one.socket)),
        ("podman", USUAL_PODMAN, podman.as_ref().map(|one| &one.socket)),
    ] {
        let path = match named {
            Some(named) => dir.join(named),
            None => root.join(usual.trim_start_matches('/')),
        };
        let tried = UnixStream::connect(&path);
        if named.is_some() || tried.is_ok() {
            let silent = tried.err().map(|error| error.to_string());
            let (is_on, place) = (named.is_some(), path.display().to_string());
            seen.push(Seen { name, place, is_on, silent });
        }
    }
    seen.extend(kubernetes.as_ref().map(|one| {
        let place = one.kubelet.clone();
        Seen { name: "kubernetes", place, is_on: true, silent: kubelet_silent(one, dir) }
    }));
    seen
}

fn kubelet_silent(kubernetes: &Kubernetes, dir: &Path) -> Option<String> {
    let Kubernetes { kubelet, ca, name, token } = kubernetes;
    if let Err(error) = Kubelet::new(kubelet, &dir.join(ca), name.as_deref(), &dir.join(token)) {
        return Some(error.to_string());
    }
    let place = kubelet.split_once("://").map_or(kubelet.as_str(), |(_, place)| place);
    let connect = || {
        let mut found = place.trim_end_matches('/').to_socket_addrs()?;
        let address = found.next().ok_or(io::ErrorKind::NotFound)?;
        TcpStream::connect_timeout(&address, CONNECT_TIME_MAX)
    };
    connect().err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_host_knows_whom_it_can_ask_about_its_workloads() {
        let root = tempfile::tempdir().unwrap();
        let look = |workloads: &Workloads| look(root.path(), root.path(), workloads);
        let off = Workloads::default();
        assert_eq!(look(&off), []);
        let socket = PathBuf::from("run/docker.sock");
        let on = Workloads { docker: Some(Docker { socket: socket.clone() }), ..off.clone() };
        let seen = look(&on);
        assert!(seen.len() == 1 && seen[0].is_on && seen[0].silent.is_some(), "{seen:?}");
        std::fs::create_dir_all(root.path().join("run")).unwrap();
        std::fs::create_dir_all(root.path().join("var/run")).unwrap();
        let _own = UnixListener::bind(root.path().join(socket)).unwrap();
        assert_eq!(look(&on)[0].silent, None);
        let _usual = UnixListener::bind(root.path().join("var/run/docker.sock")).unwrap();
        let seen = look(&off);
        assert!(seen.len() == 1 && !seen[0].is_on && seen[0].name == "docker", "{seen:?}");
    }

    #[test]
    fn s7_a_kubelet_that_is_away_is_seen() {
        let listens = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let kubelet = format!("http://{}", listens.local_addr().unwrap());
        let kubernetes = Kubernetes { kubelet, ..Kubernetes::default() };
        assert_eq!(kubelet_silent(&kubernetes, Path::new("/")), None);
        drop(listens);
        assert!(kubelet_silent(&kubernetes, Path::new("/")).is_some());
        let no_authority = kubelet_silent(&Kubernetes::default(), Path::new("/"));
        assert!(no_authority.unwrap().contains(USUAL_CA));
    }

    fn read(text: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(&format!("trust_domain = \"demo.example\"\n{text}"))
    }

    #[test]
    fn a_table_switches_an_attestor_on() {
        let none = read("").unwrap();
        assert!(none.workloads.is_empty());
        let written = toml::to_string(&none).unwrap();
        assert!(!written.contains("workloads"), "{written}");
        let measured = attestors(&none, Path::new("/data")).unwrap();
        assert!(measured.systemd.is_none() && measured.docker.is_none());

        let all = "[workloads.systemd]\n[workloads.docker]\nsocket = \"own.sock\"\n\
                   [workloads.podman]\n[workloads.kubernetes]\nkubelet = \"http://127.0.0.1:10255\"";
        let all = read(all).unwrap();
        assert_eq!(toml::from_str::<Settings>(&toml::to_string(&all).unwrap()).unwrap(), all);
        let measured = attestors(&all, Path::new("/data")).unwrap();
        assert_eq!(measured.systemd, Some(Bus(USUAL_BUS.into())));
        let expect =
            Daemons { docker: Some("/data/own.sock".into()), podman: Some(USUAL_PODMAN.into()) };
        assert_eq!(measured.docker, Some(expect));
        assert!(measured.kubernetes.is_some());
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        assert!(read("[workloads.slurm]").is_err());
        assert!(read("[workloads.docker]\nsock = \"a\"").is_err());
        let check = |kubelet: &str, expect: &str| {
            let text = format!("[workloads.kubernetes]\nkubelet = \"{kubelet}\"");
            let refused = attestors(&read(&text).unwrap(), Path::new("/data")).unwrap_err();
            assert!(refused.contains(expect), "{refused}");
        };
        check("http://192.0.2.1:10255", "plain HTTP is spoken on loopback alone");
        check("http://localhost:10255", "plain HTTP is spoken on loopback alone");
        check("https://127.0.0.1", "it has no port");
        check("unix:/run/kubelet.sock", "`unix:/run/kubelet.sock`");
        check("https://127.0.0.1:10250", USUAL_CA);
    }
}
