//! Where the files of an installation are, and its settings.

use std::path::{Path, PathBuf};

use env::Site;
use serde::{Deserialize, Serialize};
use wimse::{Origin, Scheme};

use super::checks;
use super::devid::JoinTpm;
use super::key_place::KeyPlace;
use super::platform_attestors::Workloads;
use super::superior::UpstreamAuthority;

/// The first port, unless told otherwise: N the HTTPS origin, N+1 mutual TLS, N+2 the node API, N+3
/// the gateway.
pub const PORT_BASE: u16 = 8443;
/// The trust domain of an installation that names none.
pub const TRUST_DOMAIN: &str = "local.example";

/// `aims.toml`: the settings that an installation runs with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The trust domain.
    pub trust_domain: String,
    /// The scheme of its identifiers, as in `policy/domain.toml`: `spiffe` or `wimse`.
    #[serde(default, skip_serializing_if = "is_spiffe")]
    pub scheme: Scheme,
    /// The first of four ports.
    #[serde(default = "port_base")]
    pub port_base: u16,
    /// The name that the HTTPS listeners are called by.
    #[serde(default = "host")]
    pub host: String,
    /// The address that they listen on: loopback unless told otherwise.
    #[serde(default = "listen")]
    pub listen: String,
    /// A systemd credential with the key that private keys are sealed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_credential: Option<PathBuf>,
    /// A file with the passphrase that private keys are sealed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_passphrase: Option<PathBuf>,
    /// Hosts besides this machine that upstreams may be reached at by plain HTTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plain_upstreams: Vec<String>,
    /// Web pages that may call the gateway from a browser.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub web_origins: Vec<String>,
    /// The port of the bundle endpoint in the profile `https_spiffe`; without it there is only the
    /// one in `https_web`, at the issuer's origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federation_port: Option<u16>,
    /// The port at which SPIRE agents find SPIRE's server API; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spire_port: Option<u16>,
    /// Whether the node serves the SPIFFE Broker API, at `broker.sock`.
    #[serde(default, skip_serializing_if = "is_off")]
    pub broker: bool,
    /// The folder of the node's sockets (`workload.sock`, `run.sock`, `broker.sock`), where other
    /// users are to reach them: the installation's own is closed to them. Made with mode 0755.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<PathBuf>,
    /// Private addresses (`10.1.0.0/16`) that bundles of other trust domains may be fetched from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetch_addresses: Vec<String>,
    /// A PEM file with the roots of the Web PKI to believe, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_roots: Option<PathBuf>,
    /// The folder with the tokens to ask clusters with (`TokenReview`): one file a cluster, called
    /// like the cluster in policy; `cluster-tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_tokens: Option<PathBuf>,
    /// On a node or gateway of its own: where the server's node API is, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// On a node or gateway of its own: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// On a node or gateway of its own: the server's bundle, as `aims svid bundle` or `GET /bundle`
    /// give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
    /// On a node or gateway of its own: the mechanism that it joins by; without it, the one whose
    /// files are named below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest: Option<String>,
    /// The file with the token of its platform, to join by `k8s_psat` (else
    /// `/var/run/secrets/tokens/aims`), `github_actions` or `gitlab_ci`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_token: Option<PathBuf>,
    /// The name of its cluster in policy, to join by `k8s_psat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_cluster: Option<String>,
    /// The domain of its tenant in policy, to join by `azure_imds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_domain: Option<String>,
    /// Its DNS name, to join by `http_challenge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_host: Option<String>,
    /// The port at which it answers for that name; 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_port: Option<u16>,
    /// The address and port of its cloud's metadata service, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_metadata: Option<String>,
    /// The file with what the maker of its processor says, to join by `snp` (certificates and
    /// revocation lists, PEM) or `tdx` (collateral, JSON).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_collateral: Option<PathBuf>,
    /// The kernel's folder of requests to join by `snp` or `tdx`, where it is not
    /// `/sys/kernel/config/tsm/report`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_tsm: Option<PathBuf>,
    /// On a node or gateway of its own: the file with its join token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token: Option<PathBuf>,
    /// On a node or gateway of its own: certificates (PEM, leaf first) to join by `x509pop`,
    /// or the OpenSSH certificate to join by `sshpop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_certificates: Option<PathBuf>,
    /// Their key (PEM), or the OpenSSH key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_key: Option<PathBuf>,
    /// By which mechanism they are shown: `x509pop`, unless it is `idevid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_by: Option<JoinBy>,
    /// On a node or gateway of its own: a DevID in the TPM, to join by `tpm_devid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_tpm: Option<JoinTpm>,
    /// On a node: who is asked about its workloads, besides the kernel.
    #[serde(default, skip_serializing_if = "Workloads::is_empty")]
    pub workloads: Workloads,
    /// Where private keys are made; without it in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyPlace>,
    /// On a server: who signs its X.509 authority; without it, it signs for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_authority: Option<UpstreamAuthority>,
}

/// What a certificate with its key in a file is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinBy {
    /// A certificate of a host.
    X509pop,
    /// The identity of a device (802.1AR).
    Idevid,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
const fn is_off(switch: &bool) -> bool {
    !*switch
}

const fn port_base() -> u16 {
    PORT_BASE
}

fn host() -> String {
    "localhost".to_owned()
}

fn is_spiffe(scheme: &Scheme) -> bool {
    *scheme == Scheme::Spiffe
}

fn listen() -> String {
    "127.0.0.1".to_owned()
}

impl Settings {
    /// The settings of a new installation.
    pub fn new(trust_domain: &str, port_base: u16) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            scheme: Scheme::Spiffe,
            port_base,
            host: host(),
            listen: listen(),
            seal_credential: None,
            seal_passphrase: None,
            plain_upstreams: Vec::new(),
            web_origins: Vec::new(),
            federation_port: None,
            spire_port: None,
            broker: false,
            sockets: None,
            fetch_addresses: Vec::new(),
            web_roots: None,
            cluster_tokens: None,
            server: None,
            name: None,
            bundle: None,
            attest: None,
            attest_token: None,
            attest_cluster: None,
            attest_domain: None,
            attest_host: None,
            attest_port: None,
            attest_metadata: None,
            attest_collateral: None,
            attest_tsm: None,
            join_token: None,
            join_certificates: None,
            join_key: None,
            join_by: None,
            join_tpm: None,
            workloads: Workloads::default(),
            keys: None,
            upstream_authority: None,
        }
    }

    /// Reads `aims.toml`.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let path = path.display();
            format!("`{path}` cannot be read: {error}\n  hint: `aims up` leaves one in its folder")
        })?;
        Self::parse(&text).map_err(|why| format!("`{}`: {why}", path.display()))
    }

    /// Reads the text of `aims.toml`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.check()?;
        Ok(settings)
    }

    /// Whether every value can be, and what is switched on goes together.
    pub fn check(&self) -> Result<(), String> {
        let faults = checks::faults(self);
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// What every identifier here belongs to.
    pub fn origin(&self) -> Result<Origin, String> {
        let text = format!("{}://{}", self.scheme, self.trust_domain);
        Origin::parse(&text).map_err(|error| format!("`{text}`: {error}"))
    }

    /// Where the installation is reached.
    pub fn site(&self) -> Site {
        let origin = |offset: u16| format!("https://{}:{}", self.host, self.port(offset));
        Site { issuer: origin(0), mtls_origin: origin(1), gateway: origin(3) }
    }

    /// Port N + `offset`.
    pub const fn port(&self, offset: u16) -> u16 {
        self.port_base.saturating_add(offset)
    }
}

/// Who but the owner could put a socket into a folder.
const OTHERS_WRITE: u32 = 0o022;

/// The files below a directory.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The directory.
    pub dir: PathBuf,
    /// Where the node's sockets are, if not there.
    pub sockets: Option<PathBuf>,
}

impl Layout {
    /// The layout below `dir`, which is made with mode 0700 if it is not there.
    pub fn make(dir: &Path) -> Result<Self, String> {
        use std::os::unix::fs::DirBuilderExt;
        let fault = |error| unwritten(dir, &error);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault)?;
        let dir = dir.canonicalize().map_err(fault)?;
        Ok(Self { dir, sockets: None })
    }

    /// The same with the node's sockets where the settings say.
    #[must_use]
    pub fn with(self, settings: &Settings) -> Self {
        let sockets = settings.sockets.as_ref().map(|folder| self.dir.join(folder));
        Self { sockets, ..self }
    }

    /// Makes the folder of the node's sockets, if it is one of its own. Whoever may write in it
    /// could put a socket of theirs in the place of ours.
    pub fn open_sockets(&self) -> Result<(), String> {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        let Some(folder) = &self.sockets else { return Ok(()) };
        let fault = |error| unwritten(folder, &error);
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(fault)?;
        let found = std::fs::metadata(folder).map_err(fault)?;
        let own = [0, nix::unistd::geteuid().as_raw()];
        if found.mode() & OTHERS_WRITE != 0 || !own.contains(&found.uid()) {
            let path = folder.display();
            return Err(format!(
                "`{path}` is not safe for sockets: other users may write to it\n  hint: give it to \
                 the user that runs the node, with mode 0755"
            ));
        }
        Ok(())
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.sockets.as_ref().map_or_else(|| self.at(name), |folder| folder.join(name))
    }

    /// A file or folder below.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `aims.toml`.
    pub fn settings(&self) -> PathBuf {
        self.at("aims.toml")
    }

    /// The log of a component.
    pub fn log(&self, component: &str) -> PathBuf {
        self.at("log").join(component)
    }

    /// The keys of a component.
    pub fn keys(&self, component: &str) -> PathBuf {
        self.at("keys").join(component)
    }

    /// The Workload API.
    pub fn workload_socket(&self) -> PathBuf {
        self.socket("workload.sock")
    }

    /// The SPIFFE Broker API.
    pub fn broker_socket(&self) -> PathBuf {
        self.socket("broker.sock")
    }

    /// Operators.
    pub fn admin_socket(&self) -> PathBuf {
        self.at("admin.sock")
    }

    /// `aims run`.
    pub fn run_socket(&self) -> PathBuf {
        self.socket("run.sock")
    }

    /// The policy directory.
    pub fn policy(&self) -> PathBuf {
        self.at("policy")
    }

    /// Trust this to reach the HTTPS listeners.
    pub fn ca(&self) -> PathBuf {
        self.at("ca.pem")
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, contents: &[u8], mode: u32) -> Result<(), String> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.at(name);
        let temporary = self.at(&format!(".{name}.tmp"));
        let written = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(mode)
                .open(&temporary)?;
            file.write_all(contents)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            std::fs::File::open(&self.dir)?.sync_all()
        };
        written().map_err(|error| unwritten(&path, &error))
    }
}

/// A file or folder that cannot be made, and what to do about it.
pub fn unwritten(path: &Path, error: &dyn std::fmt::Display) -> String {
    let path = path.display();
    format!(
        "`{path}` cannot be written: {error}\n  hint: check that its folder is yours and that \
         there is space"
    )
}

/// Reads a policy directory into a set's files; what policy does not read is told by compiling.
pub fn policy_files(dir: &Path) -> Result<policy::Files, String> {
    let mut files = std::collections::BTreeMap::new();
    gather(dir, dir, &mut files)?;
    policy::Files::new(files).map_err(|error| error.to_string())
}

fn gather(
    root: &Path,
    dir: &Path,
    files: &mut std::collections::BTreeMap<String, String>,
) -> Result<(), String> {
    let fault = |path: &Path, error: &dyn std::fmt::Display| {
        format!("`{}` cannot be read: {error}", path.display())
    };
    for entry in std::fs::read_dir(dir).map_err(|error| fault(dir, &error))? {
        let entry = entry.map_err(|error| fault(dir, &error))?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().map_err(|error| fault(&path, &error))?.is_dir() {
            gather(root, &path, files)?;
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| fault(&path, &error))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        files.insert(name, text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Other users cannot look into the folder of an installation: their sockets are elsewhere.
    #[test]
    fn the_sockets_lie_where_other_users_reach_them_and_cannot_replace_them() {
        let whole = tempfile::tempdir().unwrap();
        let layout = Layout::make(&whole.path().join("data")).unwrap();
        let own = std::fs::metadata(&layout.dir).unwrap().permissions().mode() & 0o777;
        assert_eq!((own, layout.workload_socket()), (0o700, layout.dir.join("workload.sock")));
        let folder = whole.path().join("run");
        let sockets = Some(folder.clone());
        let settings = Settings { sockets, ..Settings::new("a.example", 8_443) };
        let layout = layout.with(&settings);
        layout.open_sockets().unwrap();
        let mode = || std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o755);
        for socket in [layout.workload_socket(), layout.run_socket(), layout.broker_socket()] {
            assert_eq!(socket.parent(), Some(folder.as_path()));
        }
        assert_eq!(layout.admin_socket(), layout.dir.join("admin.sock"));
        for open in [0o775, 0o757, 0o1777] {
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(open)).unwrap();
            let refused = layout.open_sockets().unwrap_err();
            assert!(refused.contains("other users may write to it"), "{refused}");
        }
    }
}
