//! What the listener refuses by itself, over the wire: the status, the reason that is counted, and
//! that the gate never saw it.

use proxy::{Limits, PathFault, Peer, Refused};
use tokio::io::AsyncWriteExt;

use crate::rig::{HOST, House, echo, read_quiet, request, text};

/// One raw request; the answer's status (`None`: closed without one) and why it was counted.
async fn check(house: &House, raw: &str, status: Option<u16>, refused: Refused) {
    let before = house.tally.all().len();
    let answer = house.raw(raw.as_bytes()).await;
    let line = answer.lines().next().unwrap_or_default();
    let got = line.split(' ').nth(1).map(|status| status.parse().unwrap());
    assert_eq!(got, status, "{raw:?}: {answer}");
    house.tally.wait_for(refused).await;
    assert_eq!(house.tally.all().get(before..), Some(&[refused][..]), "{raw:?}");
    assert_eq!(house.gate.seen.lock().unwrap().len(), 0, "{raw:?} was decided on");
}

fn head(target: &str, fields: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

/// req: AUTHN-06 (part)
#[tokio::test]
async fn http_request_smuggling_is_refused_before_anything_is_decided() {
    let house = House::new("http://127.0.0.1:1").await;
    let both = Refused::AmbiguousLength;
    let lengths = Refused::Repeated { name: "content-length" };
    let hidden = format!("GET /hidden HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (fields, body, refused) in [
        (format!("Content-Length: 4\r\n{chunked}"), format!("0\r\n\r\n{hidden}"), both),
        (format!("{chunked}Content-Length: 4\r\n"), format!("0\r\n\r\n{hidden}"), both),
        ("Content-Length: 0\r\nContent-Length: 0\r\n".into(), hidden.clone(), lengths),
        ("Content-Length: 1\r\nContent-Length: 2\r\n".into(), "a".into(), Refused::Malformed),
        ("Content-Length: +1\r\n".into(), "a".into(), Refused::Malformed),
        ("Content-Length : 1\r\n".into(), "a".into(), Refused::Malformed),
        ("Transfer-Encoding: xchunked\r\n".into(), "a".into(), Refused::Malformed),
        (chunked.into(), "zz\r\n".into(), Refused::BrokenBody),
        (chunked.into(), "1\r\nabc\r\n0\r\n\r\n".into(), Refused::BrokenBody),
        ("A: b\r\n c: d\r\n".into(), String::new(), Refused::Malformed),
        ("A: b\n".into(), hidden.clone(), Refused::BareLineFeed),
        ("A: b\u{0}\r\n".into(), String::new(), Refused::Malformed),
    ] {
        let raw = format!("{}{body}", head("/mcp", &fields));
        check(&house, &raw, Some(400), refused).await;
    }
}

#[tokio::test]
async fn rfc9112_9_3_nothing_behind_a_chunked_body_is_served() {
    let house = House::new(&echo().await).await;
    let hidden = format!("GET /hidden HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let chunked = head("/mcp", "Transfer-Encoding: chunked\r\n");
    let answer = house.raw(format!("{chunked}3\r\nabc\r\n0\r\n\r\n{hidden}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!((answer.matches("HTTP/1.1 ").count(), house.tally.all()), (1, Vec::new()));
    let seen = house.gate.seen.lock().unwrap();
    assert_eq!(seen.iter().map(|call| call.path.as_str()).collect::<Vec<_>>(), ["/mcp"]);
    assert_eq!(seen[0].body, "abc");
}

#[tokio::test]
async fn rfc9112_9_3_2_pipelined_requests_are_each_checked() {
    let house = House::new(&echo().await).await;
    let good = format!("{}abc", head("/one", "Content-Length: 3\r\n"));
    let bad = format!("{}abc", head("/two", "Content-Length: 3\r\nContent-Length: 3\r\n"));
    let answer = house.raw(format!("{good}{good}{bad}{good}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400 Bad Request").count(), 1, "{answer}");
    assert_eq!(house.tally.all(), [Refused::Repeated { name: "content-length" }]);
    assert_eq!(house.gate.seen.lock().unwrap().len(), 2);
}

/// req: AUTHZ-26 (part)
#[tokio::test]
async fn hosts_origins_targets_and_methods_that_are_not_ours_are_refused() {
    let house = House::new("http://127.0.0.1:1").await;
    let path = |fault| Refused::Path(fault);
    let encoded = |byte| path(PathFault::Encoded { byte });
    for (raw, status, refused) in [
        (head("//mcp", ""), 400, path(PathFault::EmptySegment)),
        (head("/a/../mcp", ""), 400, path(PathFault::DotSegment)),
        (head("/a/..;/mcp", ""), 400, path(PathFault::DotSegment)),
        (head("/a/%2e%2e/mcp", ""), 400, encoded(b'.')),
        (head("/a%2Fmcp", ""), 400, encoded(b'/')),
        (head("/a%5cmcp", ""), 400, encoded(b'\\')),
        (head("/a%0amcp", ""), 400, encoded(b'\n')),
        (head(&format!("http://{HOST}/mcp"), ""), 400, Refused::TargetForm),
        (head("/mcp", &format!("Host: {HOST}\r\n")), 400, Refused::Repeated { name: "host" }),
        (
            head("/mcp", "Authorization: a\r\nauthorization: b\r\n"),
            400,
            Refused::Repeated { name: "authorization" },
        ),
        ("GET /mcp HTTP/1.1\r\n\r\n".to_owned(), 400, Refused::NoAuthority),
        ("GET /mcp HTTP/1.0\r\n\r\n".to_owned(), 400, Refused::NoAuthority),
        ("GET /mcp HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 421, Refused::Authority),
        (head("/mcp", "Origin: https://evil.example\r\n"), 403, Refused::Origin),
        (head("/mcp", "").replace("POST", "TRACE"), 501, Refused::Method),
        (format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 501, Refused::Method),
    ] {
        check(&house, &raw, Some(status), refused).await;
    }
    let answer = house.raw(b"OPTIONS * HTTP/1.1\r\nHost: gw.example\r\n\r\n").await;
    assert!(answer.contains(r#""error":"invalid_request""#), "{answer}");
    // What the library finds to be no HTTP at all.
    for raw in ["\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), head("/a\\mcp", "").replace("POST", "PO ST")]
    {
        check(&house, &raw, Some(400), Refused::Malformed).await;
    }
}

#[tokio::test]
async fn rfc9113_8_the_same_is_refused_in_http2() {
    let house = House::new("http://127.0.0.1:1").await;
    let mut sender = house.sender(b"h2").await;
    for (path, field, status, refused) in [
        ("/a/%2e%2e/b", ("a", "b"), 400, Refused::Path(PathFault::Encoded { byte: b'.' })),
        ("/a//b", ("a", "b"), 400, Refused::Path(PathFault::EmptySegment)),
        ("/a", ("origin", "https://evil.example"), 403, Refused::Origin),
    ] {
        let mut request = request("POST", path, "body");
        request.headers_mut().insert(field.0, field.1.parse().unwrap());
        let (got, body) = text(sender.send(request).await.unwrap()).await;
        assert_eq!(got, status, "{path}: {body}");
        assert_eq!(house.tally.all().last(), Some(&refused), "{path}");
    }
    assert_eq!(house.gate.seen.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn the_body_of_a_refusal_says_why() {
    let house = House::new("http://127.0.0.1:1").await;
    let answer = house.raw(head("/a/../b", "").as_bytes()).await;
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let expect = r#"{"error":"invalid_request","error_description":"the path has a dot segment"}"#;
    assert_eq!(body, expect);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn bodies_and_heads_have_bounds() {
    let limits = Limits {
        body_bytes_max: 1_000,
        head_bytes_max: 8_192,
        headers_max: 20,
        ..Limits::default()
    };
    let house = House::with("http://127.0.0.1:1", limits, Peer::default()).await;
    let large = "a".repeat(1_001);
    let announced = format!("{}{large}", head("/mcp", "Content-Length: 1001\r\n"));
    check(&house, &announced, Some(413), Refused::BodyTooLarge).await;
    let chunked = head("/mcp", "Transfer-Encoding: chunked\r\n");
    let chunked = format!("{chunked}3e9\r\n{large}\r\n0\r\n\r\n");
    let house = House::with(
        "http://127.0.0.1:1",
        Limits {
            body_bytes_max: 1_000,
            head_bytes_max: 8_192,
            headers_max: 20,
            ..Limits::default()
        },
        Peer::default(),
    )
    .await;
    check(&house, &chunked, Some(413), Refused::BodyTooLarge).await;
    let long = format!("A: {}\r\n", "a".repeat(9_000));
    check(&house, &head("/mcp", &long), Some(431), Refused::Malformed).await;
}

/// A bound of the library, which answers by itself.
#[tokio::test]
async fn too_many_headers_are_refused() {
    let limits = Limits { headers_max: 20, ..Limits::default() };
    let house = House::with("http://127.0.0.1:1", limits, Peer::default()).await;
    check(&house, &head("/mcp", &"A: b\r\n".repeat(21)), Some(431), Refused::Malformed).await;
}

#[tokio::test]
async fn what_is_no_tls_is_counted() {
    let house = House::new("http://127.0.0.1:1").await;
    let mut stream = tokio::net::TcpStream::connect(house.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: gw.example\r\n\r\n").await.unwrap();
    let answer = read_quiet(&mut stream).await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    house.tally.wait_for(Refused::Handshake).await;
}

/// req: AUTHZ-22 (part)
#[tokio::test]
async fn rfc9728_3_1_metadata_is_found_at_its_path() {
    let house = House::new("http://127.0.0.1:1").await;
    let mut sender = house.sender(b"http/1.1").await;
    let at = |resource: &str| format!("/.well-known/oauth-protected-resource{resource}");
    for (method, resource, status) in
        [("GET", "/mcp", 200), ("GET", "", 404), ("GET", "/other", 404), ("POST", "/mcp", 405)]
    {
        let answer = sender.send(request(method, &at(resource), "")).await.unwrap();
        let (got, body) = text(answer).await;
        assert_eq!(got, status, "{method} {resource}: {body}");
        assert_eq!(body.contains("https://gw.example/mcp"), status == 200, "{body}");
    }
    assert_eq!(house.gate.seen.lock().unwrap().len(), 0);
}

/// RFC 9110 §9.3.2: "the server MUST NOT send content in the response".
#[tokio::test]
async fn rfc9110_9_3_2_an_answer_to_head_has_no_content() {
    let house = House::new(&echo().await).await;
    for protocol in [&b"h2"[..], b"http/1.1"] {
        for path in ["/.well-known/oauth-protected-resource/nothing", "/a/../b", "/mcp"] {
            // What is refused over HTTP/1.1 ends its connection.
            let asked = house.sender(protocol).await.send(request("GET", path, "")).await.unwrap();
            let (status, content) = text(asked).await;
            let mut sender = house.sender(protocol).await;
            let answer = sender.send(request("HEAD", path, "")).await.unwrap();
            let length = answer.headers().get("content-length").cloned();
            let told = length.map(|length| length.to_str().unwrap().parse::<usize>().unwrap());
            assert_eq!(text(answer).await, (status, String::new()), "{path}");
            if status != 200 {
                assert_eq!(told, Some(content.len()), "{path}");
            }
        }
    }
}
