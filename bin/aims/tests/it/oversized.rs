//! Heads and bodies over the bounds, at each listener of the running program: refused by their
//! name, and nobody else notices.

use std::fmt::Write as _;

use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use spiffe::EndpointAddress;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_stream::StreamExt as _;
use workload::SecretText;
use workload::client::{CallError, Client};

use crate::load::{Clients, lay_policy};
use crate::running::{Https, Site};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Bytes of a head that is too long. The bound is 64 KiB of a buffer that is read into in one go, so
/// somewhat more may pass.
const HEAD_BYTES: usize = 256 * KIB;

/// What a listener is asked in these tests.
struct Door<'a> {
    name: &'a str,
    /// A path that takes a body.
    path: &'a str,
    content_type: &'a str,
    body_bytes_max: usize,
}

/// Each listener that speaks HTTP/1.1.
const DOORS: [Door<'static>; 4] = [
    Door {
        name: "issuer",
        path: "/token",
        content_type: "application/x-www-form-urlencoded",
        body_bytes_max: 64 * KIB,
    },
    Door {
        name: "mutual TLS",
        path: "/token",
        content_type: "application/x-www-form-urlencoded",
        body_bytes_max: 64 * KIB,
    },
    Door {
        name: "gateway",
        path: "/tools",
        content_type: "application/json",
        body_bytes_max: 4 * MIB,
    },
    Door {
        name: "operators",
        path: "/v1/agents",
        content_type: "application/json",
        body_bytes_max: 16 * MIB,
    },
];

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Door<'_> {
    async fn open(&self, site: &Site, plain: &Https, mutual: &Https) -> Box<dyn Stream> {
        match self.name {
            "issuer" => Box::new(plain.connect(site.port).await.unwrap()),
            "mutual TLS" => Box::new(mutual.connect(site.port + 1).await.unwrap()),
            "gateway" => Box::new(plain.connect(site.port + 3).await.unwrap()),
            _ => Box::new(UnixStream::connect(site.data.join("admin.sock")).await.unwrap()),
        }
    }

    /// A head with these fields besides, which says that a body of so many bytes follows.
    fn head(&self, site: &Site, fields: &str, body_bytes: usize) -> String {
        let Self { path, content_type, .. } = self;
        let port = site.port + if self.name == "gateway" { 3 } else { 0 };
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: {content_type}\r\n\
             content-length: {body_bytes}\r\n{fields}\r\n"
        )
    }
}

/// Sends bytes, and reads what comes back: the status, and the body.
async fn exchange(mut stream: Box<dyn Stream>, sent: Vec<u8>) -> (u16, String) {
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let sending = async {
        // It may be refused before all of it is there.
        let _ = write.write_all(&sent).await;
        let _ = write.flush().await;
    };
    let reading = async {
        let mut bytes = Vec::new();
        let mut piece = [0; 4_096];
        while let Ok(count) = read.read(&mut piece).await {
            bytes.extend_from_slice(&piece[..count]);
            if count == 0 || is_whole(&bytes) {
                break;
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        tokio::join!(sending, reading).1
    });
    let told = told.await.unwrap();
    let status = told.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = told.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status, body.unwrap_or_default())
}

/// Whether the answer has as many bytes as it says.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    length.and_then(|length| length.trim().parse().ok()).is_some_and(|length| body.len() >= length)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_is_refused_at_each_listener_and_it_lives_on() {
    let site = Site::new();
    lay_policy(&site, 9);
    let running = site.up();
    let clients = Clients::enrol(&site).await;
    let plain = site.https();
    let mutual = plain.showing(&site.data.join("workload.sock")).await;
    for door in &DOORS {
        let name = door.name;
        let check = async |what: &str, sent: String, statuses: &[u16]| {
            let stream = door.open(&site, &plain, &mutual).await;
            let (status, body) = exchange(stream, sent.into_bytes()).await;
            assert!(statuses.contains(&status), "{name}, {what}: {status} {body}");
            body
        };
        // One field that is too long; too many of them; a line that never ends.
        let long = format!("x-long: {}\r\n", "a".repeat(HEAD_BYTES));
        check("a long field", door.head(&site, &long, 0), &[431]).await;
        let mut many = String::new();
        for number in 0..200 {
            write!(many, "x-{number}: a\r\n").unwrap();
        }
        check("many fields", door.head(&site, &many, 0), &[431]).await;
        let line = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(HEAD_BYTES));
        check("a long path", line, &[414, 431]).await;
        check("no HTTP", "\u{1}nonsense\r\n\r\n".repeat(10), &[400]).await;

        // A body by its length, and one that only shows as it comes.
        let bytes = door.body_bytes_max + 1;
        let sent = door.head(&site, "", bytes) + &"a".repeat(bytes);
        let said = check("a long body", sent, &[413]).await;
        assert!(said.contains("body"), "{name}: {said}");
        let chunked = door.head(&site, "transfer-encoding: chunked\r\n", 0);
        let chunked = chunked.replace("content-length: 0\r\n", "");
        let sent = format!("{chunked}{bytes:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(bytes));
        check("a long body in chunks", sent, &[413]).await;
    }
    workload_api(&site).await;
    // Nobody else noticed.
    assert_eq!(clients.ready().await.status, 200);
    clients.operate().await.unwrap();
    clients.token().await.unwrap();
    assert_eq!(clients.ledger().strange.first(), None);
    assert_eq!(running.stop(), 0);
}

/// The Workload API speaks gRPC, so HTTP/2.
async fn workload_api(site: &Site) {
    let socket = site.data.join("workload.sock");
    let address = EndpointAddress::parse(&format!("unix://{}", socket.display())).unwrap();
    let client = Client::connect(&address).await.unwrap();
    let long = SecretText::new("a".repeat(workload::REQUEST_BYTES_MAX));
    match client.validate_jwt("a", &long).await {
        // gRPC status 11: OUT_OF_RANGE.
        Err(CallError::Failed { code, message }) => assert_eq!(code, 11, "{message}"),
        other => panic!("{other:?}"),
    }
    let stream = UnixStream::connect(&socket).await.unwrap();
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = shaken.await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri("http://localhost/SpiffeWorkloadAPI/FetchX509SVID")
        .header("content-type", "application/grpc")
        .header("workload.spiffe.io", "true")
        .header("x-long", "a".repeat(HEAD_BYTES))
        .body(Full::new(Bytes::new()))
        .unwrap();
    match sender.send_request(request).await {
        Ok(answer) => assert_eq!(answer.status(), 431),
        // Or the stream is reset.
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    // The same process is still served.
    let again = client.wit(None).await.unwrap();
    let mut again = std::pin::pin!(again);
    assert_eq!(again.next().await.unwrap().unwrap().svids.len(), 1);
}
