//! What the gateway adds to a call when it checks nothing: a gate that forwards everything, between
//! a client with TLS and an upstream on this machine, against the same client and the upstream
//! alone.
//!
//! `cargo run --release -p proxy --example added_latency [seconds [connections [requests/s]]]`
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark may stop at the first surprise, and prints"
)]

#[path = "../tests/it/certificates.rs"]
mod certificates;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy::{
    Cut, Doors, Forward, Gate, Gateway, Incoming, Limits, Onward, Outgoing, Peer, Upstream,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tls::{Certificates, Clients, server_config};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use certificates::Certified;

/// A `tools/call` of usual size.
const BODY: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{
"name":"search","arguments":{"query":"what the gateway adds","limit":10},
"_meta":{"progressToken":1}}}"#;

struct Everything {
    base: String,
}

impl Gate for Everything {
    type Live = ();

    async fn call(&self, request: Incoming, onward: Onward) -> Outgoing<()> {
        let forward = Forward {
            url: format!("{}{}", self.base, request.path),
            method: request.method,
            headers: gateway::forwardable(&request.headers),
            body: request.body,
        };
        match onward.send(forward).await {
            Ok(answer) => Outgoing::Relay(answer, ()),
            Err(fault) => fault.reply(),
        }
    }

    fn metadata(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    async fn cut(&self, (): &()) -> Cut {
        pending().await
    }
}

/// Where the client sends.
#[derive(Clone)]
enum Way {
    Direct(SocketAddr),
    Through(SocketAddr, Arc<ClientConfig>),
}

impl Way {
    async fn open(&self) -> SendRequest<Full<Bytes>> {
        match self {
            Self::Direct(address) => {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                sender
            }
            Self::Through(address, config) => {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let name = ServerName::try_from("gw.example").unwrap();
                let tls = TlsConnector::from(Arc::clone(config));
                let stream = tls.connect(name, stream).await.unwrap();
                let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                sender
            }
        }
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>().unwrap());
    let seconds = Duration::from_secs(arguments.next().unwrap_or(5).into());
    let connections = arguments.next().unwrap_or(16).max(1);
    let rate = arguments.next().unwrap_or(3_000).max(1);
    let upstream = upstream().await;
    let (gateway, client) = gateway(format!("http://{upstream}")).await;
    let ways = [("direct", Way::Direct(upstream)), ("gateway", Way::Through(gateway, client))];
    println!("{} bytes a request, {connections} connections, {seconds:?} each", BODY.len());
    println!("{:<10}{:>14}{:>12}{:>12}{:>14}", "", "paced /s", "p50 us", "p99 us", "full /s");
    let mut rows = Vec::new();
    for (name, way) in ways {
        measure(&way, connections, Duration::from_millis(300), None).await;
        let period = Duration::from_secs(1) * connections / rate;
        let paced = measure(&way, connections, seconds, Some(period)).await;
        let full = measure(&way, connections, seconds, None).await;
        let per_second = |times: &[Duration]| times.len() as f64 / seconds.as_secs_f64();
        let row = (at(&paced, 50), at(&paced, 99), per_second(&full));
        let (p50, p99, full) = row;
        println!("{name:<10}{:>14.0}{p50:>12.0}{p99:>12.0}{full:>14.0}", per_second(&paced));
        rows.push(row);
    }
    let (p50, p99) = (rows[1].0 - rows[0].0, rows[1].1 - rows[0].1);
    println!("{:<10}{:>14}{p50:>12.0}{p99:>12.0}{:>14.2}", "added", "", rows[1].2 / rows[0].2);
}

/// The time of each request: one after the other on each connection, or one a period.
async fn measure(
    way: &Way,
    connections: u32,
    length: Duration,
    period: Option<Duration>,
) -> Vec<Duration> {
    let mut tasks = Vec::new();
    for at in 0..connections {
        let way = way.clone();
        tasks.push(tokio::spawn(async move {
            let mut sender = way.open().await;
            let begun = Instant::now();
            let mut due = begun + period.unwrap_or_default() * at / connections;
            let mut times = Vec::new();
            while begun.elapsed() < length {
                if let Some(period) = period {
                    tokio::time::sleep_until(due.into()).await;
                    due += period;
                }
                let sent = Instant::now();
                let request = Request::builder().method("POST").uri("/mcp");
                let request = request
                    .header("host", "gw.example")
                    .header("content-type", "application/json")
                    .header("accept", "application/json, text/event-stream")
                    .header("mcp-protocol-version", "2025-11-25")
                    .header("mcp-session-id", "1868a90c-1f0b-4f1b-8f0e-5f1a9e3c2b7d")
                    .header("authorization", "Bearer x")
                    .body(Full::new(Bytes::from_static(BODY)));
                sender.ready().await.unwrap();
                let answer = sender.send_request(request.unwrap()).await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(
                    answer.into_body().collect().await.unwrap().to_bytes().len(),
                    BODY.len()
                );
                times.push(sent.elapsed());
            }
            times
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    all
}

/// A percentile, in microseconds.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted[at].as_secs_f64() * 1e6
}

/// Sends back what it gets.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let service = service_fn(|request: Request<hyper::body::Incoming>| async {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn gateway(base: String) -> (SocketAddr, Arc<ClientConfig>) {
    let root = Certified::root("benchmark root");
    let server = root.server("gw.example");
    let client = root.client("spiffe://example.org/agent");
    let certificate = Certificates::new(server.certified());
    let gateway = Gateway {
        gate: Arc::new(Everything { base }),
        upstream: Upstream::new(&Peer::default()).unwrap(),
        tls: server_config(certificate, Clients::Asked, tls::HTTP).unwrap(),
        doors: Doors { authorities: vec!["gw.example".to_owned()], origins: Vec::new() },
        limits: Limits::default(),
        on_refused: Arc::new(|source, refused| println!("{source}: {refused}")),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(gateway.serve(listener, pending()));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root.der)).unwrap();
    let key = PrivateKeyDer::Pkcs8(client.pkcs8.into());
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![CertificateDer::from(client.der)], key)
        .unwrap();
    (address, Arc::new(config))
}
