//! A gateway with a gate that forwards, upstreams, and clients that speak well or badly.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming as IncomingBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::{
    Cut, Doors, Forward, Gate, Gateway, Incoming, Limits, OnRefused, Onward, Outgoing, Peer,
    Refused, Upstream, UpstreamFault,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tls::{Certificates, Clients, server_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::Certified;

/// More than anything here takes, and less than anybody waits for a test.
pub(crate) const LONG: Duration = Duration::from_secs(20);
pub(crate) const HOST: &str = "gw.example";

/// Forwards everything to one base URL, and remembers.
pub(crate) struct Forwarding {
    pub base: String,
    pub seen: Mutex<Vec<Incoming>>,
    pub faults: Mutex<Vec<UpstreamFault>>,
    /// Cuts every answer when it becomes true.
    pub cut: watch::Sender<bool>,
    /// Answers that are being streamed.
    pub live: Arc<AtomicUsize>,
}

/// Counts the answers that are being streamed.
pub(crate) struct Streaming(Arc<AtomicUsize>);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate for Forwarding {
    type Live = Streaming;

    async fn call(&self, request: Incoming, onward: Onward) -> Outgoing<Streaming> {
        self.seen.lock().unwrap().push(request.clone());
        assert_ne!(request.path, "/panic", "as asked for");
        let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
        let forward = Forward {
            url: format!("{}{}{query}", self.base, request.path),
            method: request.method,
            headers: gateway::forwardable(&request.headers),
            body: request.body,
        };
        match onward.send(forward).await {
            Ok(answer) => {
                self.live.fetch_add(1, Ordering::SeqCst);
                Outgoing::Relay(answer, Streaming(Arc::clone(&self.live)))
            }
            Err(fault) => {
                let reply = fault.reply();
                self.faults.lock().unwrap().push(fault);
                reply
            }
        }
    }

    fn metadata(&self, path: &str) -> Option<Vec<u8>> {
        (path == "/mcp").then(|| br#"{"resource":"https://gw.example/mcp"}"#.to_vec())
    }

    async fn cut(&self, _: &Streaming) -> Cut {
        if self.cut.subscribe().wait_for(|cut| *cut).await.is_err() {
            pending::<()>().await;
        }
        Cut::Revoked
    }
}

/// Refusals, as they were counted.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Vec<(IpAddr, Refused)>>>);

impl Tally {
    pub(crate) fn on_refused(&self) -> OnRefused {
        let tally = self.clone();
        Arc::new(move |source, refused| tally.0.lock().unwrap().push((source, refused)))
    }

    /// The refusals so far, all of which came from this machine.
    pub(crate) fn all(&self) -> Vec<Refused> {
        let all = self.0.lock().unwrap();
        assert!(all.iter().all(|(source, _)| source.is_loopback()));
        all.iter().map(|(_, refused)| *refused).collect()
    }

    pub(crate) async fn wait_for(&self, expect: Refused) {
        eventually(|| self.all().contains(&expect)).await;
    }
}

/// A gateway that is running.
pub(crate) struct House {
    pub address: SocketAddr,
    pub gate: Arc<Forwarding>,
    pub tally: Tally,
    pub root: Certified,
    pub certificate: Arc<Certificates>,
    pub stop: Option<oneshot::Sender<()>>,
    pub running: JoinHandle<()>,
}

impl House {
    pub(crate) async fn new(base: &str) -> Self {
        Self::with(base, Limits::default(), Peer::default()).await
    }

    pub(crate) async fn with(base: &str, limits: Limits, peer: Peer) -> Self {
        let root = Certified::root("test root");
        let server = root.server(HOST);
        let certificate = Certificates::new(server.certified());
        let gate = Arc::new(Forwarding {
            base: base.to_owned(),
            seen: Mutex::default(),
            faults: Mutex::default(),
            cut: watch::Sender::new(false),
            live: Arc::default(),
        });
        let tally = Tally::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = Gateway {
            gate: Arc::clone(&gate),
            upstream: Upstream::new(&peer).unwrap(),
            tls: server_config(certificate.clone(), Clients::Asked, tls::HTTP).unwrap(),
            doors: Doors {
                authorities: vec![HOST.to_owned(), address.to_string()],
                origins: vec!["https://console.example".to_owned()],
            },
            limits,
            on_refused: tally.on_refused(),
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(gateway.serve(listener, async move {
            let _ = stopped.await;
        }));
        Self { address, gate, tally, root, certificate, stop: Some(stop), running }
    }

    /// A TLS connection of this protocol.
    pub(crate) async fn connect(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut config = self.client();
        config.alpn_protocols = vec![protocol.to_vec()];
        connect(self.address, config).await.unwrap()
    }

    /// What a client that trusts the gateway does in TLS.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.root.der.clone())).unwrap();
        roots
    }

    /// A well-behaved client of HTTP/1.1 or HTTP/2.
    pub(crate) async fn sender(&self, protocol: &[u8]) -> Sender {
        let io = TokioIo::new(self.connect(protocol).await);
        if protocol == b"h2" {
            let executor = TokioExecutor::new();
            let (sender, connection) =
                hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            Sender::Two(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Sender::One(sender)
        }
    }

    /// Writes bytes over TLS; what comes back until the connection ends or is quiet.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect(b"http/1.1").await;
        stream.write_all(bytes).await.unwrap();
        read_quiet(&mut stream).await
    }
}

/// A client.
pub(crate) enum Sender {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<IncomingBody>> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                sender.ready().await?;
                let (mut parts, body) = request.into_parts();
                parts.headers.remove("host");
                parts.uri = format!("https://{HOST}{}", parts.uri).parse().unwrap();
                sender.send_request(Request::from_parts(parts, body)).await
            }
        }
    }
}

pub(crate) async fn connect(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(HOST).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A request of a client that names the host rightly.
pub(crate) fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", HOST);
    request.body(Full::new(body.into())).unwrap()
}

/// Status and whole body as text.
pub(crate) async fn text(response: Response<IncomingBody>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// What arrives until the end of the connection, or until nothing has come for a while.
pub(crate) async fn read_quiet<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(count @ 1..)) =
        tokio::time::timeout(Duration::from_millis(500), stream.read(&mut buffer)).await
    {
        all.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Waits until it is so.
pub(crate) async fn eventually(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("it came to be so");
}

/// A request as the upstream saw it.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub(crate) type AnyBody = BoxBody<Bytes, Infallible>;

/// An upstream that answers each request with what `answer` makes of it; its base URL.
pub(crate) async fn upstream<F, Fut>(answer: F) -> String
where
    F: Fn(Got) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<AnyBody>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            let service = service_fn(move |request: Request<IncomingBody>| {
                let answer = Arc::clone(&answer);
                async move {
                    let (head, body) = request.into_parts();
                    let got = Got {
                        method: head.method.to_string(),
                        target: head.uri.to_string(),
                        headers: head.headers,
                        body: body.collect().await?.to_bytes(),
                    };
                    Ok::<_, hyper::Error>(answer(got).await)
                }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    base
}

/// An upstream that says what it got, as lines.
pub(crate) async fn echo() -> String {
    upstream(|got| async move {
        let mut text = format!("{} {}\n", got.method, got.target);
        for (name, value) in &got.headers {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
        text.push_str(&format!("\n{}", String::from_utf8_lossy(&got.body)));
        Response::new(whole(text))
    })
    .await
}

pub(crate) fn whole(bytes: impl Into<Bytes>) -> AnyBody {
    Full::new(bytes.into()).boxed()
}

/// A body that comes from a channel.
pub(crate) fn channel() -> (mpsc::Sender<Bytes>, AnyBody) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    (sender, Pieces(receiver).boxed())
}

struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
