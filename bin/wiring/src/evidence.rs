//! What a component joins with, by its settings.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use attestation::{http_challenge, k8s_psat, oidc};
use attestors::http_challenge::Served;
use attestors::metadata::{self, Metadata};
use attestors::tsm::{self, Guest, Provider};
use attestors::{join_token, sshpop, token_file, x509pop};
use env::{Entropy, Unavailable};
use tokio::sync::Mutex;

use super::devid::TpmDevid;
use super::layout::{JoinBy, Settings};
use super::world::SystemEntropy;

/// The mechanisms that a component can join by here, besides those of the server's choosing.
pub const MECHANISMS: &[&str] = &[
    "join_token",
    "x509pop",
    "sshpop",
    "k8s_psat",
    "github_actions",
    "gitlab_ci",
    "gcp_iit",
    "aws_iid",
    "azure_imds",
    "http_challenge",
    "idevid",
    "tpm_devid",
    "snp",
    "tdx",
];

/// What a component joins with.
pub enum Evidence {
    /// A join token.
    Token(String),
    /// A certificate and its key.
    Certificate(Box<x509pop::Credential>),
    /// The same, of a device.
    Device(Box<x509pop::Credential>),
    /// A DevID in a TPM.
    Tpm(TpmDevid),
    /// An SSH host certificate and its key.
    Ssh(Box<sshpop::Credential>),
    /// The token of a pod of this cluster.
    Pod {
        /// The cluster's name in policy.
        cluster: String,
        /// The file with the token.
        file: PathBuf,
    },
    /// The token of a job, put into a file.
    Job {
        /// `github_actions` or `gitlab_ci`.
        mechanism: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// What Google tells of this instance.
    Google(Metadata),
    /// What Amazon tells of it.
    Amazon(Metadata),
    /// What Azure tells of it.
    Azure {
        /// Its metadata service.
        metadata: Metadata,
        /// The domain of its tenant.
        domain: String,
    },
    /// What the processor of a confidential guest signs.
    Guest(Guest),
    /// That this host answers for its name.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// The nonce, while it is served.
        served: Mutex<Option<Served>>,
    },
}

impl Evidence {
    /// Whether the settings name anything to join by.
    pub const fn is_named(settings: &Settings) -> bool {
        settings.attest.is_some()
            || settings.join_token.is_some()
            || settings.join_certificates.is_some()
            || settings.join_tpm.is_some()
    }

    /// What the settings name: `attest`, or the one mechanism whose files are named.
    pub fn read(settings: &Settings, dir: &Path) -> Result<Self, String> {
        let at = |path: &Path| dir.join(path);
        let named = settings.attest.as_deref();
        let mechanism = match (named, &settings.join_token, &settings.join_certificates) {
            (Some(named), ..) => named,
            (None, ..) if settings.join_tpm.is_some() => "tpm_devid",
            (None, Some(_), _) => "join_token",
            (None, None, Some(_)) if settings.join_by == Some(JoinBy::Idevid) => "idevid",
            (None, None, Some(_)) => "x509pop",
            (None, None, None) => return Err(missing("attest` or `join_token")),
        };
        match mechanism {
            "join_token" => {
                let path = settings.join_token.as_deref().ok_or_else(|| missing("join_token"))?;
                let token = join_token::JoinToken::read(&at(path));
                let token = token.map_err(|error| {
                    let path = at(path).display().to_string();
                    format!(
                        "`join_token`: {error} (a file with the token alone, `chmod 600 {path}`)"
                    )
                })?;
                Ok(Self::Token(token.expose().to_owned()))
            }
            "tpm_devid" => {
                let tpm = settings.join_tpm.as_ref().ok_or_else(|| missing("join_tpm"))?;
                TpmDevid::new(tpm, dir).map(Self::Tpm)
            }
            "x509pop" | "idevid" => {
                let (Some(certificates), Some(key)) =
                    (&settings.join_certificates, &settings.join_key)
                else {
                    return Err(missing("join_certificates` and `join_key"));
                };
                let read = x509pop::Credential::read(&at(certificates), &at(key));
                let of = if mechanism == "idevid" { Self::Device } else { Self::Certificate };
                read.map(|read| of(Box::new(read))).map_err(text)
            }
            "sshpop" => {
                let (certificate, key) = ssh_files(settings);
                let read = sshpop::Credential::read(&at(&certificate), &at(&key));
                read.map(|read| Self::Ssh(Box::new(read))).map_err(text)
            }
            "snp" => guest(Provider::SevGuest, settings, dir).map(Self::Guest),
            "tdx" => guest(Provider::TdxGuest, settings, dir).map(Self::Guest),
            other => Self::of_platform(other, settings, dir),
        }
    }

    fn of_platform(mechanism: &str, settings: &Settings, dir: &Path) -> Result<Self, String> {
        let token = |usual: Option<&str>| {
            let named = settings.attest_token.as_deref().or(usual.map(Path::new));
            named.map(|path| dir.join(path)).ok_or_else(|| missing("attest_token"))
        };
        let metadata = || match &settings.attest_metadata {
            None => Ok(Metadata(metadata::USUAL)),
            Some(address) => address.parse().map(Metadata).map_err(|_| {
                format!("`attest_metadata = \"{address}\"` is not an address and a port")
            }),
        };
        let name = |value: &Option<String>, key: &str| value.clone().ok_or_else(|| missing(key));
        match mechanism {
            "k8s_psat" => {
                let cluster = name(&settings.attest_cluster, "attest_cluster")?;
                Ok(Self::Pod { cluster, file: token(Some(token_file::USUAL))? })
            }
            "github_actions" => Ok(Self::Job { mechanism: "github_actions", file: token(None)? }),
            "gitlab_ci" => Ok(Self::Job { mechanism: "gitlab_ci", file: token(None)? }),
            "gcp_iit" => metadata().map(Self::Google),
            "aws_iid" => metadata().map(Self::Amazon),
            "azure_imds" => {
                let domain = name(&settings.attest_domain, "attest_domain")?;
                Ok(Self::Azure { metadata: metadata()?, domain })
            }
            "http_challenge" => {
                let host = name(&settings.attest_host, "attest_host")?;
                let port = settings.attest_port.unwrap_or(80);
                Ok(Self::Name { host, port, served: Mutex::new(None) })
            }
            other => Err(format!(
                "`attest = \"{other}\"`: no such mechanism\n  hint: known are {}",
                MECHANISMS.join(", ")
            )),
        }
    }

    /// The mechanism's name.
    pub const fn mechanism(&self) -> &'static str {
        match self {
            Self::Token(_) => "join_token",
            Self::Certificate(_) => "x509pop",
            Self::Device(_) => "idevid",
            Self::Tpm(_) => "tpm_devid",
            Self::Ssh(_) => "sshpop",
            Self::Pod { .. } => "k8s_psat",
            Self::Job { mechanism, .. } => mechanism,
            Self::Google(_) => "gcp_iit",
            Self::Amazon(_) => "aws_iid",
            Self::Azure { .. } => "azure_imds",
            Self::Guest(guest) => guest.mechanism(),
            Self::Name { .. } => "http_challenge",
        }
    }

    /// What is sent first, by a host that asks a server of `domain` to certify `key`
    /// (`SubjectPublicKeyInfo`).
    pub async fn show(&self, domain: &str, key: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Token(token) => Ok(token.clone().into_bytes()),
            Self::Certificate(credential) | Self::Device(credential) => {
                credential.evidence().map_err(text)
            }
            Self::Tpm(devid) => devid.evidence().await,
            Self::Ssh(credential) => credential.evidence().map_err(text),
            Self::Pod { cluster, file } => {
                let (cluster, token) = (cluster.clone(), token_file::read(file).map_err(text)?);
                serde_json::to_vec(&k8s_psat::Evidence { cluster, token }).map_err(text)
            }
            Self::Job { file, .. } => token_file::read(file).map(String::into_bytes).map_err(text),
            Self::Google(metadata) => {
                let audience = oidc::bound_audience(domain, key);
                metadata.google_token(&audience).await.map_err(text)
            }
            Self::Amazon(metadata) => metadata.amazon_document().await.map_err(text),
            Self::Azure { .. } => Ok(b"{}".to_vec()),
            Self::Guest(guest) => guest.evidence().map_err(text),
            Self::Name { host, port, .. } => {
                let (hostname, agentname) = (host.clone(), AGENT.to_owned());
                let evidence = http_challenge::Evidence { hostname, agentname, port: *port };
                serde_json::to_vec(&evidence).map_err(text)
            }
        }
    }

    /// What is answered to a challenge, by a host that asks to certify `key`.
    pub async fn answer(&self, challenge: Vec<u8>, key: &[u8]) -> Result<Vec<u8>, Unavailable> {
        let nonce = SystemEntropy::default().secret();
        let unanswered = |error: &dyn std::fmt::Display| Unavailable::of("attestor", error);
        match self {
            Self::Tpm(devid) => devid.answer(challenge).await.map_err(|error| unanswered(&error)),
            Self::Certificate(credential) | Self::Device(credential) => {
                credential.answer(&challenge, nonce).map_err(|error| unanswered(&error))
            }
            Self::Ssh(credential) => {
                credential.answer(&challenge, nonce).map_err(|error| unanswered(&error))
            }
            Self::Azure { metadata, domain } => {
                let document = metadata.azure_document(&challenge, domain).await;
                document.map_err(|error| unanswered(&error))
            }
            Self::Guest(guest) => {
                let (guest, key) = (guest.clone(), key.to_vec());
                let answer = move || guest.answer(&challenge, &key);
                let answered = tokio::task::spawn_blocking(answer).await;
                let answered = answered.map_err(|error| unanswered(&error))?;
                answered.map_err(|error| unanswered(&error))
            }
            Self::Name { port, served, .. } => {
                let challenge: http_challenge::Challenge =
                    serde_json::from_slice(&challenge).map_err(|error| unanswered(&error))?;
                let address = SocketAddr::from(([0, 0, 0, 0], *port));
                let started = Served::start(address, AGENT, challenge.nonce).await;
                *served.lock().await = Some(started.map_err(|error| unanswered(&error))?);
                Ok(b"{}".to_vec())
            }
            Self::Token(_)
            | Self::Pod { .. }
            | Self::Job { .. }
            | Self::Google(_)
            | Self::Amazon(_) => {
                let what = format!("a challenge to `{}`", self.mechanism());
                Err(Unavailable::of("server", what))
            }
        }
    }

    /// The attempt is over: what was served for it is served no more.
    pub async fn end(&self) {
        if let Self::Name { served, .. } = self {
            served.lock().await.take();
        }
    }
}

/// The one agent of a host: the name is part of the path that the server fetches.
const AGENT: &str = "default";

/// The certificate and the key of a host: those named, or where `sshd` has them.
fn ssh_files(settings: &Settings) -> (PathBuf, PathBuf) {
    let usual = sshpop::USUAL_KEYS.map(PathBuf::from);
    let certificate = |key: &Path| PathBuf::from(format!("{}-cert.pub", key.display()));
    let first = usual.iter().find(|key| certificate(key).exists()).or(usual.first());
    let key = settings.join_key.clone().or_else(|| first.cloned()).unwrap_or_default();
    let named = settings.join_certificates.clone();
    (named.unwrap_or_else(|| certificate(&key)), key)
}

/// A confidential guest, by its settings.
fn guest(provider: Provider, settings: &Settings, dir: &Path) -> Result<Guest, String> {
    let folder = settings.attest_tsm.as_deref().unwrap_or(Path::new(tsm::USUAL));
    let collateral = settings.attest_collateral.as_ref().map(|path| dir.join(path));
    Guest::new(&dir.join(folder), provider, collateral).map_err(text)
}

fn missing(name: &str) -> String {
    format!("`{name}` is missing in aims.toml: a component joins by something")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
