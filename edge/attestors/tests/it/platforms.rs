//! Metadata services, tokens in files, and a host that answers for its name, over real sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use attestors::http_challenge::Served;
use attestors::metadata::{Metadata, MetadataError};
use attestors::token_file;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A service that answers by `answer`, and what it was asked: first lines and headers.
async fn service(
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let answer = answer(&request);
            heard.lock().unwrap().push(request);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, asked)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// req: ATT-08 (part)
#[tokio::test]
async fn s7_a_machine_asks_its_cloud_about_itself() {
    let (address, asked) = service(|request| match request.split(' ').nth(1).unwrap() {
        "/latest/api/token" => ok("session"),
        path if path.starts_with("/latest/") => ok(path.rsplit('/').next().unwrap()),
        path if path.starts_with("/metadata/") => ok(r#"{"encoding":"pkcs7","signature":"AAAA"}"#),
        _ => ok("a.b.c"),
    })
    .await;
    let metadata = Metadata(address);
    let document = metadata.amazon_document().await.unwrap();
    let expect = r#"{"document":"document","signature":"signature","rsa2048":"rsa2048"}"#;
    assert_eq!(String::from_utf8(document).unwrap(), expect);
    let token = metadata.google_token("spiffe://demo.example/aims/server/k_-").await.unwrap();
    assert_eq!(token, b"a.b.c");
    let answer = metadata.azure_document(b"0123456789", "acme.example").await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["document"]["signature"], "AAAA");
    assert_eq!(answer["metadata"]["agentDomain"], "acme.example");
    let asked = asked.lock().unwrap().clone();
    assert!(asked[0].starts_with("PUT /latest/api/token "), "{}", asked[0]);
    assert!(asked[1].contains("x-aws-ec2-metadata-token: session"), "{}", asked[1]);
    assert!(
        asked[4].contains("audience=spiffe%3A%2F%2Fdemo.example%2Faims%2Fserver%2Fk_-&format=full")
    );
    assert!(asked[4].contains("metadata-flavor: Google"), "{}", asked[4]);
    assert!(asked[5].contains("nonce=0123456789") && asked[5].contains("metadata: true"));
}

#[tokio::test]
async fn s7_a_metadata_service_that_tells_nothing_is_an_error() {
    let (address, _) = service(|_| {
        "HTTP/1.1 302 Found\r\nlocation: http://other/\r\ncontent-length: 0\r\n\r\n".to_owned()
    })
    .await;
    let refused = Metadata(address).google_token("a").await;
    assert_eq!(refused, Err(MetadataError::Refused { status: 302 }));
    let (address, _) = service(|_| ok(&"a".repeat(70_000))).await;
    assert_eq!(Metadata(address).google_token("a").await, Err(MetadataError::Senseless));
    for nonce in [&b""[..], b"1&format=x", b"\xff", &[b'1'; 33]] {
        let refused = Metadata(address).azure_document(nonce, "a").await;
        assert_eq!(refused, Err(MetadataError::Senseless));
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = Metadata(closed).amazon_document().await;
    assert!(matches!(refused, Err(MetadataError::Unreachable { .. })), "{refused:?}");
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_host_serves_its_nonce_until_it_has_joined() {
    let any = "127.0.0.1:0".parse().unwrap();
    let served = Served::start(any, "default", "the-nonce".to_owned()).await.unwrap();
    let address = served.address();
    let get = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    };
    let path = "/.well-known/spiffe/nodeattestor/http_challenge/default/challenge";
    assert!(get(path).await.unwrap().ends_with("\r\n\r\nthe-nonce"));
    assert!(get("/").await.unwrap().starts_with("HTTP/1.1 404"));
    drop(served);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(get(path).await, None);
}

#[test]
fn s7_a_token_is_read_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        token_file::read(&path).map_err(|error| error.to_string())
    };
    assert_eq!(check("a.b.c\n").unwrap(), "a.b.c");
    for wrong in ["", "\n", "a b", "a\nb"] {
        assert!(check(wrong).unwrap_err().ends_with("it holds no token"));
    }
    assert!(check(&"a".repeat(20_000)).unwrap_err().contains("longer"));
    assert!(token_file::read(&folder.path().join("none")).is_err());
}
