//! The client, met by real listeners on loopback that do what they like.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod authority;
mod page;
mod plain;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fetch::{FetchFault, Fetcher, Limits, Names, Network, Peer, Roots};
use rustls::sign::CertifiedKey;
use spiffe::{BundleSet, SpiffeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;

use authority::{Authority, now};

/// The host that the names of these tests lead to loopback.
const HOST: &str = "peer.example";
const ID: &str = "spiffe://peer.example/bundle";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// Names that lead where the test says.
#[derive(Clone, Debug)]
struct Told(Vec<IpAddr>);

impl Names for Told {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        if host == HOST || host == "other.example" {
            return Ok(self.0.clone());
        }
        Err(std::io::Error::other("no such name"))
    }
}

/// What a listener does with a request.
#[derive(Clone)]
enum Act {
    /// Says this, and closes.
    Say(String),
    /// Says this for each request line that begins so, else 404.
    Routes(Vec<(&'static str, String)>),
    /// A byte of the head each 50 ms.
    Drip,
    /// Nothing at all.
    Stall,
    /// A body without an end.
    Flood,
}

struct Listener {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Listener {
    async fn start(certificate: CertifiedKey, act: Act) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificates = tls::Certificates::new(certificate);
        let config = tls::server_config(certificates, tls::Clients::NotAsked, tls::HTTP).unwrap();
        let acceptor = TlsAcceptor::from(config);
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, act, counted) = (acceptor.clone(), act.clone(), counted.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = vec![0; 4_096];
                    let Ok(length) = stream.read(&mut head).await else { return };
                    if length == 0 {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    let head = String::from_utf8_lossy(&head[..length]).into_owned();
                    serve(&mut stream, &act, &head).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { port, requests }
    }

    fn url(&self, host: &str, path: &str) -> Url {
        Url::parse(&format!("https://{host}:{}{path}", self.port)).unwrap()
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(stream: &mut (impl AsyncWriteExt + Unpin), act: &Act, head: &str) {
    match act {
        Act::Say(text) => drop(stream.write_all(text.as_bytes()).await),
        Act::Routes(routes) => {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let found = routes.iter().find(|(route, _)| *route == path);
            let none = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned();
            let text = found.map_or(none, |(_, text)| text.clone());
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Act::Drip => loop {
            if stream.write_all(b"H").await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        },
        Act::Stall => tokio::time::sleep(Duration::from_secs(60)).await,
        Act::Flood => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        }
    }
}

/// Limits that a test can wait for.
fn limits() -> Limits {
    Limits {
        bytes_max: 64 * 1024,
        connect_max: Duration::from_millis(500),
        whole_max: Duration::from_secs(1),
    }
}

struct Rig {
    web: Authority,
    domain: Authority,
    _folder: Folder,
    roots: Roots,
}

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Rig {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let web = Authority::new(None);
        let domain = Authority::new(Some("spiffe://peer.example"));
        let name = format!("fetch-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).unwrap();
        let path = folder.0.join("roots.pem");
        std::fs::write(&path, web.pem()).unwrap();
        let roots = Roots::read(&path).unwrap();
        Self { web, domain, _folder: folder, roots }
    }

    /// A client that may reach loopback if `listed`.
    fn fetcher(&self, listed: &[&str]) -> Fetcher<Told> {
        self.fetcher_at(listed, &["127.0.0.1"])
    }

    fn fetcher_at(&self, listed: &[&str], leads_to: &[&str]) -> Fetcher<Told> {
        let listed = listed.iter().map(|one| Network::parse(one).unwrap()).collect();
        let names = Told(leads_to.iter().map(|one| one.parse().unwrap()).collect());
        Fetcher::new(listed, self.roots.clone(), limits()).with_names(names)
    }

    fn spiffe(&self, id: &str, trust: BundleSet) -> Peer {
        Peer::Spiffe { id: SpiffeId::parse(id).unwrap(), trust, now: now() }
    }
}

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

#[tokio::test]
async fn s5_2_1_a_document_is_fetched_by_the_web_pki() {
    let rig = Rig::new();
    let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(OK.to_owned())).await;
    let fetcher = rig.fetcher(LOOPBACK);
    assert_eq!(fetcher.get(&listener.url(HOST, "/b"), &Peer::Web).await, Ok("{}".to_owned()));
    // Another name than the certificate's.
    let other = fetcher.get(&listener.url("other.example", "/b"), &Peer::Web).await;
    assert!(matches!(other, Err(FetchFault::Peer { .. })), "{other:?}");
    // An authority that nobody trusts, also where it is that of a trust domain.
    for stranger in [Authority::new(None), Authority::new(Some("spiffe://peer.example"))] {
        let listener = Listener::start(stranger.server(&[HOST], &[ID]), Act::Say(OK.into())).await;
        let refused = fetcher.get(&listener.url(HOST, "/b"), &Peer::Web).await;
        assert!(matches!(refused, Err(FetchFault::Peer { .. })), "{refused:?}");
        assert_eq!(listener.requests(), 0);
    }
}

#[tokio::test]
async fn s5_2_2_4_a_server_must_have_the_very_spiffe_id() {
    let rig = Rig::new();
    let trust = || rig.domain.trusted_as("peer.example");
    let fetcher = rig.fetcher(LOOPBACK);
    let ask = async |certificate: CertifiedKey, peer: &Peer| {
        let listener = Listener::start(certificate, Act::Say(OK.to_owned())).await;
        let got = fetcher.get(&listener.url(HOST, "/b"), peer).await;
        (got, listener.requests())
    };
    // The host does not matter.
    let right = || rig.domain.server(&[], &[ID]);
    assert_eq!(ask(right(), &rig.spiffe(ID, trust())).await, (Ok("{}".to_owned()), 1));
    let wrong = "spiffe://peer.example/bundle2";
    for (certificate, peer) in [
        // Another identifier.
        (right(), rig.spiffe(wrong, trust())),
        // None, though the Web PKI vouches for the host.
        (rig.web.server(&[HOST], &[]), rig.spiffe(ID, trust())),
        // Vouched for by an authority that is not that of its trust domain.
        (rig.web.server(&[HOST], &[ID]), rig.spiffe(ID, trust())),
        // By that of another trust domain.
        (right(), rig.spiffe(ID, rig.domain.trusted_as("other.example"))),
        // No bundle at all.
        (right(), rig.spiffe(ID, BundleSet::new())),
        // An SVID is no proof to the web.
        (right(), Peer::Web),
    ] {
        let (got, requests) = ask(certificate, &peer).await;
        assert!(matches!(got, Err(FetchFault::Peer { .. })), "{peer:?}: {got:?}");
        assert_eq!(requests, 0, "{peer:?}");
    }
    let told = ask(right(), &rig.spiffe(wrong, trust())).await.0.unwrap_err().to_string();
    let expect = "it is `spiffe://peer.example/bundle`, expected `spiffe://peer.example/bundle2`";
    assert!(told.contains(expect), "{told}");
}

#[tokio::test]
async fn an_address_that_only_we_can_reach_is_not_connected_to() {
    let rig = Rig::new();
    let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(OK.to_owned())).await;
    let check = async |fetcher: &Fetcher<Told>, host: &str, address: Option<&str>| {
        let got = fetcher.get(&listener.url(host, "/"), &Peer::Web).await;
        match address {
            Some(address) => {
                let expect =
                    FetchFault::Private { host: host.into(), address: address.parse().unwrap() };
                assert_eq!(got, Err(expect));
            }
            None => assert_eq!(got, Ok("{}".to_owned())),
        }
    };
    // A name that leads to one, and literals in every form that a URL has for them.
    let strict = rig.fetcher(&[]);
    check(&strict, HOST, Some("127.0.0.1")).await;
    check(&strict, "127.0.0.1", Some("127.0.0.1")).await;
    check(&strict, "[::1]", Some("::1")).await;
    check(&strict, "[::ffff:7f00:1]", Some("::ffff:127.0.0.1")).await;
    for (host, read) in [("2130706433", "127.0.0.1"), ("0x7f.1", "127.0.0.1")] {
        let url = listener.url(host, "/");
        assert_eq!(url.host_str(), Some(read), "{host}");
        let got = strict.get(&url, &Peer::Web).await;
        assert!(matches!(got, Err(FetchFault::Private { .. })), "{host}: {got:?}");
    }
    assert_eq!(listener.requests(), 0);
    // What is listed is listed exactly.
    check(&rig.fetcher(&["127.0.0.2", "10.0.0.0/8"]), HOST, Some("127.0.0.1")).await;
    // Of several addresses the ones that may be reached are taken.
    let mixed = rig.fetcher_at(&["127.0.0.1"], &["169.254.169.254", "127.0.0.1"]);
    check(&mixed, HOST, None).await;
    let metadata = rig.fetcher_at(&["127.0.0.1"], &["169.254.169.254"]);
    check(&metadata, HOST, Some("169.254.169.254")).await;
    assert_eq!(listener.requests(), 1);
}

#[tokio::test]
async fn a_redirect_stays_at_its_origin() {
    let rig = Rig::new();
    let target = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(OK.to_owned())).await;
    let to = |place: &str| {
        format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n")
    };
    let elsewhere = target.url(HOST, "/").to_string();
    let routes = vec![
        ("/here", to("/there")),
        ("/there", OK.to_owned()),
        ("/loop", to("/loop")),
        ("/elsewhere", to(&elsewhere)),
        ("/metadata", to("https://169.254.169.254/latest")),
        ("/plain", to("http://peer.example/")),
        ("/nowhere", "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_owned()),
        ("/wrong", "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned()),
    ];
    let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Routes(routes)).await;
    let fetcher = rig.fetcher(LOOPBACK);
    let check = async |path: &str, expect: Result<String, FetchFault>| {
        assert_eq!(fetcher.get(&listener.url(HOST, path), &Peer::Web).await, expect, "{path}");
    };
    check("/here", Ok("{}".to_owned())).await;
    check("/loop", Err(FetchFault::Redirects { max: 3 })).await;
    check("/elsewhere", Err(FetchFault::Elsewhere { to: elsewhere.clone() })).await;
    let metadata = "https://169.254.169.254/latest".to_owned();
    check("/metadata", Err(FetchFault::Elsewhere { to: metadata })).await;
    check("/plain", Err(FetchFault::Elsewhere { to: "http://peer.example/".to_owned() })).await;
    check("/nowhere", Err(FetchFault::Status { status: 302 })).await;
    check("/wrong", Err(FetchFault::Status { status: 500 })).await;
    check("/none", Err(FetchFault::Status { status: 404 })).await;
    assert_eq!(target.requests(), 0);
}

#[tokio::test]
async fn whatever_a_server_does_ends_in_time_and_in_bytes() {
    let rig = Rig::new();
    let fetcher = rig.fetcher(LOOPBACK);
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 5000000000\r\n\r\n".to_owned();
    let exact = |bytes: usize| {
        let body = "x".repeat(bytes);
        format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{body}")
    };
    let too_large = || FetchFault::TooLarge { bytes_max: 64 * 1024 };
    let late = || FetchFault::TimedOut { seconds_max: 1 };
    let packed = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}";
    for (name, act, expect) in [
        ("stall", Act::Stall, Some(late())),
        ("drip", Act::Drip, Some(late())),
        ("flood", Act::Flood, Some(too_large())),
        ("announced", Act::Say(announced), Some(too_large())),
        ("one more", Act::Say(exact(64 * 1024 + 1)), Some(too_large())),
        ("packed", Act::Say(packed.to_owned()), None),
        ("no http", Act::Say("220 smtp.example ready\r\n".to_owned()), None),
        ("closed", Act::Say(String::new()), None),
        ("cut", Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".to_owned()), None),
    ] {
        let listener = Listener::start(rig.web.server(&[HOST], &[]), act).await;
        let begun = Instant::now();
        let got = fetcher.get(&listener.url(HOST, "/"), &Peer::Web).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{name}");
        match expect {
            Some(expect) => assert_eq!(got, expect, "{name}"),
            None => assert!(matches!(got, FetchFault::Broken { .. }), "{name}: {got:?}"),
        }
    }
    let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(exact(64 * 1024))).await;
    let whole = fetcher.get(&listener.url(HOST, "/"), &Peer::Web).await.unwrap();
    assert_eq!(whole.len(), 64 * 1024);
    let binary = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\u{ff}".to_owned();
    let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(binary)).await;
    let cut = fetcher.get(&listener.url(HOST, "/"), &Peer::Web).await;
    assert_eq!(cut, Err(FetchFault::NotUtf8));
}

#[tokio::test]
async fn a_listener_that_never_shakes_hands_is_given_up() {
    let rig = Rig::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = Url::parse(&format!("https://{HOST}:{port}/")).unwrap();
    let got = rig.fetcher(LOOPBACK).get(&url, &Peer::Web).await;
    assert_eq!(got, Err(FetchFault::TimedOut { seconds_max: 1 }));
    drop(listener);
    let got = rig.fetcher(LOOPBACK).get(&url, &Peer::Web).await;
    assert!(matches!(got, Err(FetchFault::Unreachable { .. })), "{got:?}");
    let unknown = Url::parse("https://nobody.example/").unwrap();
    let got = rig.fetcher(LOOPBACK).get(&unknown, &Peer::Web).await;
    assert!(matches!(got, Err(FetchFault::Name { .. })), "{got:?}");
    for text in ["http://peer.example/", "https://me@peer.example/", "file:///etc/passwd"] {
        let got = rig.fetcher(LOOPBACK).get(&Url::parse(text).unwrap(), &Peer::Web).await;
        assert!(matches!(got, Err(FetchFault::Url { .. })), "{text}: {got:?}");
    }
}

#[test]
fn a_file_without_roots_is_an_error_and_not_nothing() {
    let rig = Rig::new();
    for (name, text) in [("empty", ""), ("other", "-----BEGIN X-----\nAA==\n-----END X-----\n")] {
        let path = rig._folder.0.join(name);
        std::fs::write(&path, text).unwrap();
        assert!(Roots::read(&path).is_err(), "{name}");
    }
    assert!(Roots::read(&rig._folder.0.join("absent")).is_err());
    assert_eq!(rig.roots.count(), 1);
}
