//! Both origins, served, and a client of them over TLS.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Limits, Origin, Parts, Source, Unread};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::{ResolvesClientCert, Resumption, WantsClientCert};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tls::{Certificates, Clients, server_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{Doors, NOW, TestWorld};

/// What was refused before it reached a flow: the source, and the check.
pub(crate) type Refused = Arc<Mutex<Vec<(Source, &'static str)>>>;

pub(crate) struct Served {
    pub(crate) world: Arc<TestWorld>,
    pub(crate) doors: Arc<Doors>,
    pub(crate) origin: Origin<TestWorld>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) refused: Refused,
    pub(crate) roots: Arc<RootCertStore>,
    public: SocketAddr,
    mutual: SocketAddr,
    stop: Arc<Notify>,
    serving: Vec<JoinHandle<()>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status, the headers that mean something, and the body: for snapshots.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for (name, value) in &self.headers {
            if !["date", "content-length", "aims-audit-id"].contains(&name.as_str()) {
                text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
            }
        }
        let body = match serde_json::from_slice::<serde_json::Value>(&self.body) {
            Ok(json) => serde_json::to_string_pretty(&json).unwrap(),
            Err(_) => String::from_utf8_lossy(&self.body).into_owned(),
        };
        format!("{text}\n{body}")
    }
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::with(TestWorld::start().await, Limits::default()).await
    }

    pub(crate) async fn with(world: Arc<TestWorld>, limits: Limits) -> Self {
        let doors = Doors::of(&world);
        Self::through(world, doors, limits).await
    }

    pub(crate) async fn through(world: Arc<TestWorld>, doors: Arc<Doors>, limits: Limits) -> Self {
        let refused = Refused::default();
        let seen = Arc::clone(&refused);
        let on_refused = move |source: &Source, unread: &Unread| {
            seen.lock().unwrap().push((source.clone(), unread.check()));
        };
        let (certificate, roots) = certificate(&world).await;
        let certificates = Certificates::new(certificate);
        let origin = Origin::new(Parts {
            world: Arc::clone(&world),
            tiles: Arc::clone(&doors) as _,
            health: Arc::clone(&doors) as _,
            limits,
            on_refused: Arc::new(on_refused),
            pages: axum::Router::new(),
        });
        let stop = Arc::new(Notify::new());
        let mut serving = Vec::new();
        let mut addresses = Vec::new();
        for clients in [Clients::NotAsked, Clients::Demanded] {
            let tls = server_config(Arc::clone(&certificates) as _, clients, tls::HTTP).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let (origin, stop) = (origin.clone(), Arc::clone(&stop));
            serving.push(tokio::spawn(async move {
                origin.serve(listener, tls, async move { stop.notified().await }).await;
            }));
        }
        let (public, mutual) = (addresses[0], addresses[1]);
        let roots = Arc::new(roots);
        Self { world, doors, origin, certificates, refused, roots, public, mutual, stop, serving }
    }

    /// Stops both listeners and waits until they have.
    pub(crate) async fn stop(self) {
        self.stop.notify_waiters();
        for serving in self.serving {
            soon(serving).await.unwrap();
        }
    }

    /// Asks both listeners to stop.
    pub(crate) fn begin_stop(&self) {
        self.stop.notify_waiters();
    }

    /// The checks that fired, in order.
    pub(crate) fn refusals(&self) -> Vec<&'static str> {
        self.refused.lock().unwrap().iter().map(|(_, check)| *check).collect()
    }

    /// The same, as soon as there are so many: a connection that was refused ends on its own time.
    pub(crate) async fn refusals_soon(&self, count: usize) -> Vec<&'static str> {
        let enough = async {
            while self.refusals().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(enough).await;
        self.refusals()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Vec::new()).unwrap()).await
    }

    /// A request to the token endpoint.
    pub(crate) async fn form(&self, form: &[(&str, &str)]) -> Reply {
        self.send(form_request(form)).await
    }

    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> Reply {
        send(self.connect(None, true).await, request, true).await
    }

    /// The same over HTTP/1.1.
    pub(crate) async fn send_http1(&self, request: Request<Vec<u8>>) -> Reply {
        send(self.connect(None, false).await, request, false).await
    }

    /// The same at the origin that asks for a certificate.
    pub(crate) async fn send_mutual(
        &self,
        identity: (Vec<CertificateDer<'static>>, Vec<u8>),
        request: Request<Vec<u8>>,
    ) -> Reply {
        send(self.connect(Some(identity), true).await, request, true).await
    }

    pub(crate) async fn connect(
        &self,
        identity: Option<(Vec<CertificateDer<'static>>, Vec<u8>)>,
        http2: bool,
    ) -> TlsStream<TcpStream> {
        let address = if identity.is_some() { self.mutual } else { self.public };
        self.handshake(address, identity, http2).await.unwrap()
    }

    /// Without a certificate at the origin that asks for one: its first answer is the refusal.
    pub(crate) async fn connect_mutual_without(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.handshake(self.mutual, None, true).await
    }

    async fn handshake(
        &self,
        address: SocketAddr,
        identity: Option<(Vec<CertificateDer<'static>>, Vec<u8>)>,
        http2: bool,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = match identity {
            None => self.config().with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::Pkcs8(key.into());
                self.config().with_client_auth_cert(chain, key).unwrap()
            }
        };
        self.shake(address, config, http2).await
    }

    fn config(&self) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        ClientConfig::builder_with_details(provider, Arc::new(Still))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
    }

    async fn shake(
        &self,
        address: SocketAddr,
        mut config: ClientConfig,
        http2: bool,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// At the origin that asks for a certificate, with whatever `identity` shows.
    pub(crate) async fn connect_as(
        &self,
        identity: Arc<dyn ResolvesClientCert>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.config().with_client_cert_resolver(identity);
        self.shake(self.mutual, config, true).await
    }

    /// How many session tickets a client is sent until its first answer.
    pub(crate) async fn tickets(&self) -> u32 {
        let mut stream = self.connect(None, false).await;
        let request = b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        soon(stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        stream.get_ref().1.tls13_tickets_received()
    }

    pub(crate) fn local(&self) -> Source {
        Source::Address(IpAddr::from([127, 0, 0, 1]))
    }
}

pub(crate) fn form_request(form: &[(&str, &str)]) -> Request<Vec<u8>> {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    Request::post("/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.finish().into_bytes())
        .unwrap()
}

async fn send(stream: TlsStream<TcpStream>, request: Request<Vec<u8>>, http2: bool) -> Reply {
    let (mut parts, body) = request.into_parts();
    let body = Full::new(Bytes::from(body));
    let is_head = parts.method == Method::HEAD;
    let response = if http2 {
        let path = parts.uri.to_string();
        parts.uri = format!("https://localhost{path}").parse().unwrap();
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        soon(sender.send_request(Request::from_parts(parts, body))).await.unwrap()
    } else {
        parts.headers.insert("host", "localhost".parse().unwrap());
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.unwrap();
        tokio::spawn(connection);
        soon(sender.send_request(Request::from_parts(parts, body))).await.unwrap()
    };
    let (parts, body) = response.into_parts();
    let body = soon(body.collect()).await.unwrap().to_bytes().to_vec();
    assert!(!is_head || body.is_empty());
    Reply { status: parts.status, headers: parts.headers, body }
}

/// A certificate of our own for `localhost`, and the roots that vouch for it.
pub(crate) async fn certificate(world: &TestWorld) -> (CertifiedKey, RootCertStore) {
    let names = ["localhost".to_owned()];
    let flow::web::Shown { identity, standing } =
        flow::web::identity(world, &names, &[]).await.unwrap();
    let chain = identity.chain.into_iter().map(|der| der.into_bytes().into()).collect();
    let key = PrivateKeyDer::Pkcs8(world.pkcs8(&identity.key).into());
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap();
    let mut roots = RootCertStore::empty();
    for root in standing.authorities {
        roots.add(root.into_bytes().into()).unwrap();
    }
    (certified, roots)
}

/// The world's time, for checking certificates.
#[derive(Debug)]
struct Still;

impl TimeProvider for Still {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(NOW.millis() + 1_000)))
    }
}

/// What must come soon.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it should have come")
}
