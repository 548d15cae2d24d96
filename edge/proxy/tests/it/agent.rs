//! The agent proxy: who is let in, what is said in its name, and what comes back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use proxy::{Agent, Caller, Limits, Peer, Refused, Said, SignFault, Upstream, bind_loopback};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{
    HOST, House, LONG, Tally, channel, echo, read_quiet, request, text, upstream, whole,
};

/// Lets in whom it is told to, and signs with what it was asked to sign.
struct Test {
    admits: Result<&'static str, &'static str>,
    sign: Result<(), SignFault>,
    asked: Mutex<Vec<(SocketAddr, SocketAddr)>>,
}

impl Caller for Test {
    type Pass = &'static str;

    async fn admit(&self, local: SocketAddr, peer: SocketAddr) -> Result<&'static str, String> {
        self.asked.lock().unwrap().push((local, peer));
        self.admits.map_err(str::to_owned)
    }

    async fn sign(
        &self,
        pass: &&'static str,
        method: &str,
        url: &str,
        body: &[u8],
    ) -> Result<Vec<(String, Vec<u8>)>, SignFault> {
        self.sign.clone()?;
        let proof = format!("{pass} {method} {url} {}", String::from_utf8_lossy(body));
        Ok(vec![
            ("authorization".to_owned(), b"Bearer of-the-agent".to_vec()),
            ("workload-identity-token".to_owned(), b"wit".to_vec()),
            ("workload-proof-token".to_owned(), proof.into_bytes()),
        ])
    }
}

/// An agent proxy that is running.
struct Running {
    port: u16,
    caller: Arc<Test>,
    tally: Tally,
}

impl Running {
    async fn new(gateway: &str) -> Self {
        Self::with(gateway, Ok("agent"), Ok(()), Peer::default()).await
    }

    async fn with(
        gateway: &str,
        admits: Result<&'static str, &'static str>,
        sign: Result<(), SignFault>,
        peer: Peer,
    ) -> Self {
        let caller = Arc::new(Test { admits, sign, asked: Mutex::default() });
        let tally = Tally::default();
        let agent = Agent {
            caller: Arc::clone(&caller),
            upstream: Upstream::new(&peer).unwrap(),
            gateway: gateway.to_owned(),
            limits: Limits::default(),
            on_refused: tally.on_refused(),
        };
        let listener = bind_loopback().await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(agent.serve(listener, std::future::pending()));
        Self { port, caller, tally }
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Response<Incoming> {
        if request.headers()["host"] == HOST {
            let host = format!("127.0.0.1:{}", self.port);
            request.headers_mut().insert("host", host.parse().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }
}

/// req: SEC-01 (part)
#[tokio::test]
async fn an_agent_without_a_secret_calls_with_its_own_identity() {
    let base = echo().await;
    let proxy = Running::new(&base).await;
    for host in ["127.0.0.1", "localhost"] {
        let mut request = request("POST", "/mcp?a=%2Fb", "body");
        let host = format!("{host}:{}", proxy.port);
        request.headers_mut().insert("host", host.parse().unwrap());
        request.headers_mut().insert("authorization", "Bearer of-the-model".parse().unwrap());
        request.headers_mut().insert("mcp-session-id", "1868a90c".parse().unwrap());
        let (status, got) = text(proxy.send(request).await).await;
        assert_eq!(status, 200);
        assert!(got.starts_with("POST /mcp?a=%2Fb\n") && got.ends_with("\n\nbody"), "{got}");
        assert!(got.contains("authorization: Bearer of-the-agent\n"), "{got}");
        assert!(got.contains("workload-identity-token: wit\n"), "{got}");
        let proof = format!("workload-proof-token: agent POST {base}/mcp?a=%2Fb body\n");
        assert!(got.contains(&proof), "{got}");
        assert!(got.contains("mcp-session-id: 1868a90c\n"), "{got}");
        assert!(!got.contains("of-the-model"), "{got}");
    }
    let asked = proxy.caller.asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|(local, peer)| local.port() == proxy.port && peer != local));
}

#[tokio::test]
async fn a_process_that_is_not_admitted_is_told_why_and_what_to_do() {
    let why = "no agent record matches pid 42: start it with `aims run --agent NAME`";
    let base = "http://127.0.0.1:1";
    let proxy = Running::with(base, Err(why), Ok(()), Peer::default()).await;
    // The answer arrives although the client is still busy with a large body.
    let answer = proxy.send(request("POST", "/mcp", vec![0; 3 * 1024 * 1024])).await;
    assert_eq!(answer.headers()["connection"], "close");
    let expect = format!(r#"{{"error":"access_denied","error_description":"{why}"}}"#);
    assert_eq!(text(answer).await, (403, expect));
    assert_eq!(proxy.tally.all(), [Refused::NotAdmitted]);
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
    let get = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", proxy.port);
    stream.write_all(get.repeat(2).as_bytes()).await.unwrap();
    assert_eq!(read_quiet(&mut stream).await.matches("HTTP/1.1 403").count(), 1);
}

#[tokio::test]
async fn what_cannot_be_signed_is_not_sent() {
    let why = "the agent is suspended".to_owned();
    for (fault, status, error) in [
        (SignFault::Refused(why.clone()), 403, "access_denied"),
        (SignFault::Unavailable(why.clone()), 503, "temporarily_unavailable"),
    ] {
        let (count, base) = counting().await;
        let proxy = Running::with(&base, Ok("agent"), Err(fault), Peer::default()).await;
        let answer = proxy.send(request("POST", "/mcp", "x")).await;
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
        let expect = format!(r#"{{"error":"{error}","error_description":"{why}"}}"#);
        assert_eq!(text(answer).await, (status, expect));
        assert_eq!(*count.lock().unwrap(), 0);
    }
    // Or in the words of the gateway, which it would have come to.
    let said = Said {
        status: 404,
        headers: vec![("aims-audit-id".to_owned(), b"0193".to_vec())],
        body: b"{\"error\":\"gateway::NoResource\"}".to_vec(),
    };
    let (count, base) = counting().await;
    let fault = SignFault::Answered(said);
    let proxy = Running::with(&base, Ok("agent"), Err(fault), Peer::default()).await;
    let answer = proxy.send(request("POST", "/nothing", "x")).await;
    assert_eq!(answer.headers()["aims-audit-id"], "0193");
    assert_eq!(text(answer).await, (404, r#"{"error":"gateway::NoResource"}"#.to_owned()));
    assert_eq!(*count.lock().unwrap(), 0);
}

async fn counting() -> (Arc<Mutex<usize>>, String) {
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    let base = upstream(move |_| {
        *counted.lock().unwrap() += 1;
        async { Response::new(whole("")) }
    })
    .await;
    (count, base)
}

#[tokio::test]
async fn dns_rebinding_to_the_agent_proxy_fails() {
    let (count, base) = counting().await;
    let proxy = Running::new(&base).await;
    let with = |name: &'static str, value: &str| {
        let mut request = request("POST", "/mcp", "x");
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let port = proxy.port;
    for (request, status) in [
        (with("host", &format!("evil.example:{port}")), 421),
        (with("host", "localhost"), 421),
        (with("host", "127.0.0.1:1"), 421),
        (with("origin", &format!("http://127.0.0.1:{port}")), 403),
        (with("origin", "null"), 403),
    ] {
        assert_eq!(proxy.send(request).await.status(), status);
    }
    assert_eq!(proxy.tally.all().len(), 5);
    assert_eq!(*count.lock().unwrap(), 0);
}

#[tokio::test]
async fn the_client_is_not_led_into_a_dance_with_the_issuer() {
    let base = upstream(|_| async {
        let challenge = "Bearer resource_metadata=\"https://gw.example/x\"";
        let response = Response::builder().status(401).header("www-authenticate", challenge);
        response.body(whole(r#"{"error":"invalid_token"}"#)).unwrap()
    })
    .await;
    let proxy = Running::new(&base).await;
    let answer = proxy.send(request("POST", "/mcp", "x")).await;
    assert!(!answer.headers().contains_key("www-authenticate"));
    assert_eq!(text(answer).await, (401, r#"{"error":"invalid_token"}"#.to_owned()));
    for path in
        ["oauth-protected-resource/mcp", "oauth-authorization-server", "openid-configuration"]
    {
        let answer = proxy.send(request("GET", &format!("/.well-known/{path}"), "")).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    // Other well-known paths are the upstream's.
    let answer = proxy.send(request("GET", "/.well-known/agent-card.json", "")).await;
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn event_streams_pass_as_they_come_and_end_with_the_client() {
    let (sender, body) = channel();
    let body = Mutex::new(Some(body));
    let base = upstream(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let proxy = Running::new(&base).await;
    let mut answer = proxy.send(request("GET", "/mcp", "")).await.into_body();
    for piece in ["data: 1\n\n", "data: 2\n\n"] {
        sender.send(piece.into()).await.unwrap();
        let frame = tokio::time::timeout(LONG, answer.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(answer);
    tokio::time::timeout(LONG, sender.closed()).await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_is_down_or_stands_still_is_said_so() {
    let proxy = Running::new("http://127.0.0.1:1").await;
    let answer = proxy.send(request("POST", "/mcp", "x")).await;
    assert_eq!(answer.headers()["retry-after"], "2");
    let (status, body) = text(answer).await;
    assert_eq!(status, 502);
    assert!(body.contains("the gateway gave no answer"), "{body}");
    let base = upstream(|_| std::future::pending()).await;
    let peer = Peer { head_max: Duration::from_millis(100), ..Peer::default() };
    let proxy = Running::with(&base, Ok("agent"), Ok(()), peer).await;
    assert_eq!(proxy.send(request("POST", "/mcp", "x")).await.status(), 504);
}

#[tokio::test]
async fn mcp_security_endpoint_it_listens_on_this_machine_alone() {
    let agent = Agent {
        caller: Arc::new(Test { admits: Ok("agent"), sign: Ok(()), asked: Mutex::default() }),
        upstream: Upstream::new(&Peer::default()).unwrap(),
        gateway: String::new(),
        limits: Limits::default(),
        on_refused: Tally::default().on_refused(),
    };
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let fault = agent.serve(listener, std::future::pending()).await.unwrap_err();
    assert_eq!(fault.kind(), std::io::ErrorKind::InvalidInput);
    assert!(bind_loopback().await.unwrap().local_addr().unwrap().ip().is_loopback());
}

/// req: AUTHN-06 (part), AUTHN-12 (part)
#[tokio::test]
async fn from_agent_to_upstream_through_both_and_cut_in_the_middle() {
    let (sender, body) = channel();
    let body = Mutex::new(Some(body));
    let base = upstream(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let house = House::new(&base).await;
    let peer = Peer { roots: vec![house.root.der.clone()], ..Peer::default() };
    let gateway = format!("https://{}", house.address);
    let proxy = Running::with(&gateway, Ok("agent"), Ok(()), peer).await;
    let mut answer = proxy.send(request("GET", "/mcp", "")).await.into_body();
    sender.send("data: 1\n\n".into()).await.unwrap();
    let frame = tokio::time::timeout(LONG, answer.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data: 1\n\n");
    let proof = format!("agent GET {gateway}/mcp");
    let seen = house.gate.seen.lock().unwrap().pop().unwrap();
    assert!(seen.headers.contains(&("workload-proof-token".to_owned(), proof.into_bytes())));
    house.gate.cut.send_replace(true);
    assert!(tokio::time::timeout(LONG, answer.frame()).await.unwrap().unwrap().is_err());
    tokio::time::timeout(LONG, sender.closed()).await.unwrap();
}
