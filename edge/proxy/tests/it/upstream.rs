//! The way to the upstream: what is sent, what comes back, and what happens when nothing does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use hyper::body::Bytes;
use proxy::{Forward, Limits, Peer, Upstream, UpstreamFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::certificates::Certified;
use crate::rig::{House, echo, request, text, upstream, whole};

/// A raw upstream that counts connections and requests, and does this to each.
async fn raw_upstream(answer: &'static [u8], keep_open: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut buffer = [0; 65_536];
                if stream.read(&mut buffer).await.unwrap() > 0 {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                let _ = stream.write_all(answer).await;
                if keep_open {
                    let _ = stream.read(&mut buffer).await;
                }
            });
        }
    });
    (base, requests)
}

/// req: AUTHZ-20 (part)
#[tokio::test]
async fn requests_arrive_as_they_were_decided_on_and_without_the_callers_credentials() {
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let house = House::new(&echo().await).await;
        let mut sender = house.sender(protocol).await;
        for method in ["POST", "GET", "DELETE"] {
            let mut request = request(method, "/mcp/a%20b;c?d=%2F&e", r#"{"jsonrpc":"2.0"}"#);
            for (name, value) in [
                ("authorization", "Bearer secret"),
                ("workload-identity-token", "secret"),
                ("workload-proof-token", "secret"),
                ("txn-token", "secret"),
                ("dpop", "secret"),
                ("cookie", "secret"),
                ("x-forwarded-for", "secret"),
                ("mcp-session-id", "1868a90c"),
                ("accept", "application/json, text/event-stream"),
            ] {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            let (status, got) = text(sender.send(request).await.unwrap()).await;
            assert_eq!(status, 200);
            assert!(got.starts_with(&format!("{method} /mcp/a%20b;c?d=%2F&e\n")), "{got}");
            assert!(got.ends_with("\n\n{\"jsonrpc\":\"2.0\"}"), "{got}");
            assert!(got.contains("mcp-session-id: 1868a90c\n"), "{got}");
            assert!(got.contains("via: 1.1 aims\n") && got.contains("host: 127.0.0.1:"), "{got}");
            assert!(!got.contains("secret"), "{got}");
        }
        let seen = house.gate.seen.lock().unwrap();
        assert_eq!(seen[0].path, "/mcp/a%20b;c");
        assert_eq!(seen[0].query.as_deref(), Some("d=%2F&e"));
        assert_eq!(seen[0].authority, "gw.example");
        assert!(seen[0].headers.contains(&("authorization".into(), b"Bearer secret".to_vec())));
    }
}

#[tokio::test]
async fn answers_lose_what_is_the_upstreams_own_business() {
    let base = upstream(|_| async {
        Response::builder()
            .status(401)
            .header("www-authenticate", "Bearer realm=\"upstream\"")
            .header("set-cookie", "a=b")
            .header("server", "upstream/1.0")
            .header("alt-svc", "h3=\":443\"")
            .header("keep-alive", "timeout=5")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("mcp-session-id", "1868a90c")
            .body(whole("the body"))
            .unwrap()
    })
    .await;
    let house = House::new(&base).await;
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let answer = house.sender(protocol).await.send(request("POST", "/", "")).await.unwrap();
        let mut names: Vec<_> = answer.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "date", "mcp-session-id"]);
        assert_eq!(text(answer).await, (401, "the body".to_owned()));
    }
}

#[tokio::test]
async fn large_bodies_cross_whole_and_larger_ones_do_not() {
    let base = upstream(|got| async move { Response::new(whole(got.body)) }).await;
    let house = House::new(&base).await;
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let mut sender = house.sender(protocol).await;
        let large: Vec<u8> = (0..4 * 1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
        let answer = sender.send(request("POST", "/", large.clone())).await.unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, large);
        let larger = vec![0; 4 * 1024 * 1024 + 1];
        if let Ok(answer) = sender.send(request("POST", "/", larger)).await {
            assert_eq!(answer.status(), 413);
        }
        assert_eq!(house.tally.all().pop(), Some(proxy::Refused::BodyTooLarge));
    }
}

#[tokio::test]
async fn rfc9110_15_6_an_upstream_that_fails_is_a_502_or_a_504() {
    let short = Duration::from_millis(200);
    let slow = Peer { head_max: short, connect_max: short, ..Peer::default() };
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let down = ("upstream_unavailable", "the upstream cannot be reached");
    let bad = ("upstream_unavailable", "the upstream gave no usable answer");
    let late = ("upstream_timeout", "the upstream took too long");
    let misled = ("upstream_unavailable", "the upstream is not configured rightly");
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    for (base, status, (error, description)) in [
        (closed, 502, down),
        (raw_upstream(b"", false).await.0, 502, bad),
        (raw_upstream(b"no http\r\n\r\n", false).await.0, 502, bad),
        (raw_upstream(switch, true).await.0, 502, bad),
        (raw_upstream(b"", true).await.0, 504, late),
        // No handshake of TLS.
        (raw_upstream(b"", true).await.0.replace("http:", "https:"), 504, late),
        ("http://192.0.2.1".to_owned(), 502, misled),
        ("ftp://127.0.0.1".to_owned(), 502, misled),
    ] {
        let house = House::with(&base, Limits::default(), slow.clone()).await;
        let mut sender = house.sender(b"http/1.1").await;
        let answer = sender.send(request("POST", "/", "x")).await.unwrap();
        let expect = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(text(answer).await, (status, expect), "{base}");
    }
}

#[tokio::test]
async fn rfc9110_9_2_2_what_may_have_had_effects_is_not_repeated() {
    for method in ["POST", "DELETE", "GET"] {
        let (base, requests) = raw_upstream(b"", false).await;
        let house = House::new(&base).await;
        let mut sender = house.sender(b"http/1.1").await;
        let answer = sender.send(request(method, "/", "effect")).await.unwrap();
        assert_eq!(answer.status(), 502);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(requests.load(Ordering::SeqCst), 1, "{method}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let secret = echo().await;
    let (calls, to) = (Arc::new(AtomicUsize::new(0)), secret.clone());
    let counted = Arc::clone(&calls);
    let base =
        upstream(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let to = to.clone();
            async move {
                Response::builder().status(307).header("location", to).body(whole("")).unwrap()
            }
        })
        .await;
    let house = House::new(&base).await;
    let answer = house.sender(b"http/1.1").await.send(request("POST", "/", "x")).await.unwrap();
    assert_eq!((answer.status().as_u16(), calls.load(Ordering::SeqCst)), (307, 1));
}

#[tokio::test]
async fn a_decision_that_breaks_off_is_a_500_and_nothing_else_breaks() {
    let house = House::new(&echo().await).await;
    let mut sender = house.sender(b"h2").await;
    let (status, body) = text(sender.send(request("POST", "/panic", "")).await.unwrap()).await;
    assert_eq!(status, 500);
    let expect =
        r#"{"error":"server_error","error_description":"the request could not be decided"}"#;
    assert_eq!(body, expect);
    assert_eq!(text(sender.send(request("GET", "/", "")).await.unwrap()).await.0, 200);
}

fn forward(url: &str) -> Forward {
    Forward { url: url.to_owned(), method: "GET".into(), headers: Vec::new(), body: Bytes::new() }
}

/// req: AUTHN-01 (part)
#[tokio::test]
async fn upstreams_over_tls_are_verified_against_the_roots_of_now() {
    let house = House::new(&echo().await).await;
    let url = format!("https://127.0.0.1:{}/", house.address.port());
    let other = Certified::root("other root");
    let upstream = Upstream::new(&Peer { roots: vec![other.der], ..Peer::default() }).unwrap();
    let fault = upstream.send(forward(&url)).await.unwrap_err();
    assert!(matches!(&fault, UpstreamFault::Unreachable(why) if why.contains("UnknownIssuer")));
    upstream.trust(std::slice::from_ref(&house.root.der)).unwrap();
    assert_eq!(upstream.send(forward(&url)).await.unwrap().status, 200);
    assert!(Upstream::new(&Peer { roots: vec![vec![1]], ..Peer::default() }).is_err());
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_sent() {
    let upstream = Upstream::new(&Peer::default()).unwrap();
    for url in
        ["", "/mcp", "127.0.0.1", "ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://a b/"]
    {
        let fault = upstream.send(forward(url)).await.unwrap_err();
        assert!(matches!(fault, UpstreamFault::Unsendable(_)), "{url}: {fault:?}");
    }
    let headers = vec![("a".to_owned(), b"b\r\nc: d".to_vec())];
    let fault = upstream.send(Forward { headers, ..forward("http://127.0.0.1:1/") }).await;
    assert_eq!(fault.unwrap_err(), UpstreamFault::Unsendable("a".to_owned()));
    let method = "GET /".to_owned();
    let fault = upstream.send(Forward { method, ..forward("http://127.0.0.1:1/") }).await;
    assert_eq!(fault.unwrap_err(), UpstreamFault::Unsendable("GET /".to_owned()));
    let plain = upstream.send(forward("http://192.0.2.1/")).await.unwrap_err();
    assert_eq!(plain, UpstreamFault::Plain { host: "192.0.2.1".to_owned() });
}

#[tokio::test]
async fn a_gate_can_read_an_answer_up_to_its_bound() {
    let base = upstream(|_| async { Response::new(whole("0123456789")) }).await;
    let upstream = Upstream::new(&Peer::default()).unwrap();
    let body = upstream.send(forward(&base)).await.unwrap().body;
    assert_eq!(body.read(10).await.unwrap(), "0123456789");
    let body = upstream.send(forward(&base)).await.unwrap().body;
    assert_eq!(body.read(9).await.unwrap_err(), UpstreamFault::TooLarge { bytes_max: 9 });
}

#[test]
fn forwards_show_no_values() {
    let headers = vec![("authorization".to_owned(), b"Bearer secret".to_vec())];
    let shown = format!("{:?}", Forward { headers, ..forward("http://127.0.0.1/") });
    assert!(shown.contains("authorization") && !shown.contains("secret"), "{shown}");
}
