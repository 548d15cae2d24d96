//! A running installation, met as its clients meet it: the program as it is built, its sockets and
//! its files.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::client::WantsClientCert;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt as _;
use workload::X509Svid;

use crate::{Ended, aims};

/// The trust domain of these installations.
pub(crate) const DOMAIN: &str = "running.example";
/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// Where an installation lies, and its ports.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    pub(crate) domain: &'static str,
}

impl Site {
    /// A folder and ports that are free; nothing is there yet.
    pub(crate) fn new() -> Self {
        Self::of(DOMAIN)
    }

    /// The same of another trust domain.
    pub(crate) fn of(domain: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Self { folder, data, port: free_ports(), domain }
    }

    /// Lays one file of the policy that a first start begins with over the starter set.
    pub(crate) fn policy(&self, name: &str, text: &str) {
        let policy = self.data.join("policy");
        if !policy.exists() {
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
                .create(&self.data)
                .unwrap();
            let dir = policy.display().to_string();
            let made = self.aims(&["policy", "init", &dir, "--trust-domain", self.domain]);
            assert_eq!(made.code, 0, "{}", made.err);
        }
        std::fs::write(policy.join(name), text).unwrap();
    }

    /// `aims up` of this installation, not started.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aims"));
        self.arguments(&mut command);
        command
    }

    /// Gives a command the arguments of `aims up`.
    pub(crate) fn arguments(&self, command: &mut Command) {
        command
            .args([
                "up",
                "--trust-domain",
                self.domain,
                "--port-base",
                &self.port.to_string(),
                "--dir",
            ])
            .arg(&self.data)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.stderr());
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn up(&self) -> Running {
        Running::ready(self.command(), &self.said_path())
    }

    /// Starts it where it must not start: how it ended.
    pub(crate) fn refused(&self) -> Ended {
        ended(self.command())
    }

    /// A command of an operator on it.
    pub(crate) fn aims(&self, arguments: &[&str]) -> Ended {
        let dir = self.data.display().to_string();
        aims(self.folder.path(), &[arguments, &["--dir", &dir]].concat())
    }

    /// What it wrote to stderr so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.said_path()).unwrap_or_default()
    }

    /// The operators' socket.
    pub(crate) fn desk(&self) -> api::client::Client {
        api::client::Client::new(&self.data.join("admin.sock"))
    }

    /// The origin at port N + `offset`.
    pub(crate) fn url(&self, offset: u16) -> String {
        format!("https://localhost:{}", self.port + offset)
    }

    /// A client of its HTTPS listeners.
    pub(crate) fn https(&self) -> Https {
        Https::trusting(&self.data.join("ca.pem"))
    }

    /// Where stderr goes.
    pub(crate) fn said_path(&self) -> PathBuf {
        self.folder.path().join("stderr")
    }

    fn stderr(&self) -> Stdio {
        File::options().create(true).append(true).open(self.said_path()).unwrap().into()
    }
}

/// A command that must end by itself: how it did.
pub(crate) fn ended(mut command: Command) -> Ended {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > START_MAX {
            let _ = child.kill();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A process of it. It is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts the command and waits for its ready line.
    pub(crate) fn ready(mut command: Command, said: &Path) -> Self {
        let mut running = Self { child: command.spawn().unwrap() };
        let output = running.child.stdout.take().unwrap();
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            // Reads on to the end: a full pipe would stop the process.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let line = receive.recv_timeout(START_MAX);
        let line = line.unwrap_or_else(|_| {
            let said = std::fs::read_to_string(said).unwrap_or_default();
            panic!("it did not become ready: {said}")
        });
        assert!(line.starts_with("ready {"), "{line}");
        running
    }

    /// SIGKILL, at this moment.
    pub(crate) fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn stop(mut self) -> i32 {
        use nix::sys::signal::{Signal, kill};
        use nix::unistd::Pid;
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, or null.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The audit id that it names.
    pub(crate) fn audit_id(&self) -> Option<String> {
        let id = self.headers.get("aims-audit-id")?;
        id.to_str().ok().map(str::to_owned)
    }
}

/// A client that trusts one authority; a connection each request.
#[derive(Clone)]
pub(crate) struct Https {
    roots: Arc<RootCertStore>,
    config: Arc<ClientConfig>,
}

impl Https {
    fn trusting(ca: &Path) -> Self {
        let pem = std::fs::read_to_string(ca).unwrap();
        let mut roots = RootCertStore::empty();
        for der in x509::CertificateDer::from_pem_many(&pem).unwrap() {
            roots.add(CertificateDer::from(der.into_bytes())).unwrap();
        }
        let roots = Arc::new(roots);
        let config = Arc::new(builder(&roots).with_no_client_auth());
        Self { roots, config }
    }

    /// The same, showing this process's X.509-SVID.
    pub(crate) async fn showing(&self, socket: &Path) -> Self {
        let address = format!("unix://{}", socket.display());
        let address = spiffe::EndpointAddress::parse(&address).unwrap();
        let client = workload::client::Client::connect(&address).await.unwrap();
        let mut answers = std::pin::pin!(client.x509().await.unwrap());
        let svid = answers.next().await.unwrap().unwrap().svids.remove(0);
        self.presenting(&svid)
    }

    /// The same, showing this X.509-SVID for as long as it likes.
    pub(crate) fn presenting(&self, svid: &X509Svid) -> Self {
        // The leaf is all that such a short chain has.
        let chain = vec![CertificateDer::from(svid.chain.clone())];
        let key = PrivatePkcs8KeyDer::from(svid.key.expose().to_vec());
        let config = builder(&self.roots).with_client_auth_cert(chain, key.into()).unwrap();
        Self { roots: Arc::clone(&self.roots), config: Arc::new(config) }
    }

    /// The same, showing these certificates, leaf first, with their key.
    pub(crate) fn showing_chain(&self, chain: &[Vec<u8>], key: &jose::PrivateKey) -> Self {
        let chain = chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(key.to_pkcs8().unwrap().to_vec());
        let config = builder(&self.roots).with_client_auth_cert(chain, key.into()).unwrap();
        Self { roots: Arc::clone(&self.roots), config: Arc::new(config) }
    }

    /// A connection to a port of this machine.
    pub(crate) async fn connect(&self, port: u16) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }

    /// Sends a request and reads the answer whole.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Answer> {
        let (parts, body) = self.begin(method, url, fields, body).await?.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes().to_vec();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Sends a request; the body of the answer is read as it comes.
    pub(crate) async fn begin(
        &self,
        method: Method,
        url: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Response<Incoming>> {
        let url = url::Url::parse(url).unwrap();
        let port = url.port().unwrap();
        let stream = self.connect(port).await?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        let host = format!("localhost:{port}");
        let target = &url[url::Position::BeforePath..];
        let mut request = Request::builder().method(method).uri(target);
        if fields.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", host);
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        sender.send_request(request).await.map_err(std::io::Error::other)
    }
}

fn builder(roots: &Arc<RootCertStore>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(Arc::clone(roots))
}

/// The first of four ports that nobody listens on. Below those that the system gives to clients, and
/// different for each test process.
pub(crate) fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).unwrap() * 16;
    for _ in 0..4_000 {
        let next = NEXT.fetch_add(4, Ordering::Relaxed);
        let base = 12_000 + (own + next) % 16_000;
        if (base..base + 4).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no four free ports");
}
