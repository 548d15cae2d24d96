//! What the kubelet says of the pod and container that a process is in: `GET /pods`, with the token
//! of the node's service account, or at the read-only port of this host (the pure half is
//! `attestation::kubernetes`).
//!
//! Trusting it means to trust whoever answers there: the certificate below the named authority, or,
//! by plain HTTP, whoever listens on loopback.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use attestation::cgroup::{Container, Runtime};
use attestation::kubernetes::{PODS_BYTES_MAX, Pods, PodsError};
use attestation::selector::Selectors;
use http::Uri;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use crate::ask::{AskError, Question, ask, in_time};
use crate::bounded_file;
use crate::token_file::{self, TokenFileError};

/// Where a pod finds the authority of its cluster.
pub const USUAL_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// Where a pod finds the token of its service account.
pub const USUAL_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How often a container is looked for that the kubelet does not show yet.
const TRIES_MAX: u32 = 8;
/// How long is waited between.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a list of pods serves several processes.
const PODS_FRESH: Duration = Duration::from_secs(2);
/// The longest file of authorities, in bytes.
const CA_BYTES_MAX: usize = 1 << 20;

/// What it said last.
type Told = Result<Arc<Pods>, KubeletError>;

/// A kubelet.
pub struct Kubelet {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Option<PathBuf>,
    /// The last list; held while one is fetched, so that it is fetched once for all who wait.
    pods: Mutex<Option<(Instant, Told)>>,
}

impl std::fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubelet").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Kubelet {
    /// The kubelet at `https://HOST:PORT` whose certificate for `name` (else the host) is below an
    /// authority in the file `ca`, asked with the token in the file `token`; or the one at
    /// `http://` and a loopback address.
    pub fn new(
        url: &str,
        ca: &Path,
        name: Option<&str>,
        token: &Path,
    ) -> Result<Self, KubeletError> {
        let misused = |why: &str| KubeletError::Url { url: url.to_owned(), why: why.to_owned() };
        let parsed: Uri = url.parse().map_err(|_| misused("it is no URL"))?;
        let host = parsed.host().ok_or_else(|| misused("it has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = parsed.port_u16().ok_or_else(|| misused("it has no port"))?;
        if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() {
            return Err(misused("it has a path"));
        }
        let (tls, token) = match parsed.scheme_str() {
            Some("https") => {
                let name = name.unwrap_or(&host).to_owned();
                let name = ServerName::try_from(name).map_err(|_| misused("it has no name"))?;
                (Some((connector(ca)?, name)), Some(token.to_owned()))
            }
            Some("http") if host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) => (None, None),
            Some("http") => return Err(misused("plain HTTP is spoken on loopback alone")),
            _ => return Err(misused("it is neither https nor http")),
        };
        Ok(Self { host, port, tls, token, pods: Mutex::new(None) })
    }

    /// The selectors of a process's container; none where it is no kubelet's.
    pub(crate) async fn selectors(&self, container: &Container) -> Result<Selectors, KubeletError> {
        if container.runtime != Runtime::Kubernetes {
            return Ok(Selectors::default());
        }
        for turn in 0..TRIES_MAX {
            if turn > 0 {
                sleep(PAUSE).await;
            }
            // A list in which it is not may be older than the container.
            let pods = self.pods(turn == 0).await?;
            if let Some(selectors) = pods.selectors(container)? {
                return Ok(selectors);
            }
        }
        Err(KubeletError::Unknown { id: container.id.clone() })
    }

    async fn pods(&self, may_be_old: bool) -> Told {
        let waiting = Instant::now();
        let mut held = self.pods.lock().await;
        match held.as_ref() {
            Some((fetched, Ok(pods)))
                if fetched.elapsed() < if may_be_old { PODS_FRESH } else { PAUSE } =>
            {
                return Ok(Arc::clone(pods));
            }
            // It failed while others waited: each of them would wait as long, one after the other.
            Some((failed, Err(why))) if waiting <= *failed => return Err(why.clone()),
            _ => {}
        }
        let fetching = Instant::now();
        let found = match in_time(self.fetch()).await {
            Ok(answer) => Pods::parse(&answer).map(Arc::new).map_err(KubeletError::from),
            Err(why) => Err(KubeletError::Kubelet(why)),
        };
        let at = if found.is_ok() { fetching } else { Instant::now() };
        *held = Some((at, found.clone()));
        found
    }

    async fn fetch(&self) -> Result<hyper::body::Bytes, AskError> {
        let token = match &self.token {
            // Read again each time: the kubelet replaces it.
            Some(path) => Some(token(path).map_err(|error| AskError::unreachable(&error))?),
            None => None,
        };
        let host = format!("{}:{}", self.host, self.port);
        let question = Question {
            path: "/pods",
            host: &host,
            bearer: token.as_ref().map(|token| token.as_str()),
            answer_bytes_max: PODS_BYTES_MAX,
        };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| AskError::unreachable(&error))?;
        match &self.tls {
            None => ask(stream, question).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                ask(stream.map_err(|error| AskError::unreachable(&error))?, question).await
            }
        }
    }
}

fn token(path: &Path) -> Result<zeroize::Zeroizing<String>, TokenFileError> {
    token_file::read(path).map(zeroize::Zeroizing::new)
}

fn connector(ca: &Path) -> Result<TlsConnector, KubeletError> {
    let fault = |why: String| KubeletError::Authority { path: ca.display().to_string(), why };
    let text = bounded_file::read(ca, CA_BYTES_MAX).map_err(fault)?;
    let certificates = x509::CertificateDer::from_pem_many(&text);
    let mut roots = RootCertStore::empty();
    for der in certificates.map_err(|error| fault(error.to_string()))? {
        let der = CertificateDer::from(der.into_bytes());
        roots.add(der).map_err(|error| fault(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fault("it holds no certificate".to_owned()));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| fault(error.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Why a pod's facts cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeletError {
    /// The address cannot be used.
    #[error("`{url}` is no kubelet: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The authorities cannot be used.
    #[error("cannot use the authority in `{path}`: {why}")]
    Authority {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The kubelet did not tell.
    #[error("the kubelet {0}")]
    Kubelet(AskError),
    /// It does not show the container, for as long as was waited.
    #[error("the kubelet shows no container `{id}`, which the process's cgroup names")]
    Unknown {
        /// Its id.
        id: String,
    },
    /// What it says cannot be.
    #[error(transparent)]
    Pods(#[from] PodsError),
}

impl KubeletError {
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Kubelet(why) => why.is_temporary(),
            Self::Unknown { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those who wait for one that hangs do not wait one after the other.
    #[tokio::test]
    async fn s7_a_kubelet_that_hangs_is_waited_for_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let none = Path::new("/none");
        let kubelet = Kubelet::new(&url, none, None, none).unwrap();
        let container = Container { id: "a".repeat(64), runtime: Runtime::Kubernetes, pod: None };
        let begun = Instant::now();
        let one = || kubelet.selectors(&container);
        let (a, b, c) = tokio::join!(one(), one(), one());
        for end in [a, b, c] {
            let late = KubeletError::Kubelet(AskError::Late);
            assert_eq!(end.unwrap_err(), late);
        }
        // One answer may take five seconds.
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
        drop(listener);
    }
}
