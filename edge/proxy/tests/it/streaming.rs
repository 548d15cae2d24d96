//! Answers that come piece by piece: passed on at once, no faster than they are taken, and no
//! longer than they are allowed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use proxy::{Limits, Peer, Refused, UpstreamFault};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::rig::{HOST, House, LONG, channel, eventually, request, upstream};

const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"h2"];

/// An upstream whose every answer is an event stream; its ends arrive in the list.
async fn events() -> (String, Arc<Mutex<Vec<mpsc::Sender<Bytes>>>>) {
    let streams: Arc<Mutex<Vec<mpsc::Sender<Bytes>>>> = Arc::default();
    let kept = Arc::clone(&streams);
    let base = upstream(move |_| {
        let (sender, body) = channel();
        kept.lock().unwrap().push(sender);
        async move {
            let response = Response::builder().header("content-type", "text/event-stream");
            response.header("mcp-session-id", "1868a90c").body(body).unwrap()
        }
    })
    .await;
    (base, streams)
}

/// The next piece; HTTP/2 may end with an empty one.
async fn next(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    loop {
        let frame = tokio::time::timeout(LONG, body.frame()).await.expect("a frame in time")?;
        let data = frame.map(|frame| frame.into_data().unwrap());
        if !matches!(&data, Ok(data) if data.is_empty()) {
            return Some(data);
        }
    }
}

/// req: AUTHZ-26 (part)
#[tokio::test]
async fn mcp_event_streams_are_passed_on_as_they_come() {
    for protocol in PROTOCOLS {
        for method in ["GET", "POST"] {
            let (base, streams) = events().await;
            let house = House::new(&base).await;
            let mut sender = house.sender(protocol).await;
            let answer = sender.send(request(method, "/mcp", "")).await.unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            assert_eq!(answer.headers()["mcp-session-id"], "1868a90c");
            let mut body = answer.into_body();
            let stream = streams.lock().unwrap().pop().unwrap();
            for piece in ["event: message\n", "data: 1\n\n", ":\n\n"] {
                // Sent only when the piece before has arrived.
                stream.send(piece.into()).await.unwrap();
                assert_eq!(next(&mut body).await.unwrap().unwrap(), piece);
            }
            drop(stream);
            assert!(next(&mut body).await.is_none());
            eventually(|| house.gate.live.load(Ordering::SeqCst) == 0).await;
        }
    }
}

#[tokio::test]
async fn streams_come_no_faster_than_they_are_taken() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 1_024;
    for protocol in PROTOCOLS {
        let (base, streams) = events().await;
        let house = House::new(&base).await;
        let answer = house.sender(protocol).await.send(request("GET", "/mcp", "")).await.unwrap();
        let stream = streams.lock().unwrap().pop().unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        tokio::spawn(async move {
            for _ in 0..PIECES {
                stream.send(Bytes::from(vec![7; PIECE])).await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        // What fits into the buffers on the way, and then nothing: long before all of it.
        let mut before = usize::MAX;
        while before != sent.load(Ordering::SeqCst) {
            before = sent.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(before * 2 < PIECES, "{before} of {PIECES} pieces without a reader");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), PIECE * PIECES);
    }
}

/// req: AUTHN-12 (part), OBS-04 (part)
#[tokio::test]
async fn revocation_ends_a_stream_within_a_second() {
    for protocol in PROTOCOLS {
        let (base, streams) = events().await;
        let house = House::new(&base).await;
        let answer = house.sender(protocol).await.send(request("GET", "/mcp", "")).await.unwrap();
        let mut body = answer.into_body();
        let stream = streams.lock().unwrap().pop().unwrap();
        stream.send("data: 1\n\n".into()).await.unwrap();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "data: 1\n\n");
        let cut = Instant::now();
        house.gate.cut.send_replace(true);
        assert!(next(&mut body).await.unwrap().is_err(), "an end that looks like the end");
        assert!(cut.elapsed() < Duration::from_secs(1), "{:?}", cut.elapsed());
        // The upstream is let go as well, and what it still sends reaches nobody.
        tokio::time::timeout(LONG, stream.closed()).await.unwrap();
        assert_eq!(house.gate.live.load(Ordering::SeqCst), 0);
    }
}

/// req: AUTHN-12 (part)
#[tokio::test]
async fn revocation_ends_a_stream_that_is_always_full() {
    let (base, streams) = events().await;
    let house = House::new(&base).await;
    let answer = house.sender(b"http/1.1").await.send(request("GET", "/mcp", "")).await.unwrap();
    let mut body = answer.into_body();
    let stream = streams.lock().unwrap().pop().unwrap();
    tokio::spawn(
        async move { while stream.send(Bytes::from_static(b"data: 1\n\n")).await.is_ok() {} },
    );
    for _ in 0..100 {
        next(&mut body).await.unwrap().unwrap();
    }
    house.gate.cut.send_replace(true);
    let cut = Instant::now();
    while let Some(Ok(_)) = next(&mut body).await {}
    assert!(cut.elapsed() < Duration::from_secs(1), "{:?}", cut.elapsed());
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_it_at_the_upstream() {
    for protocol in PROTOCOLS {
        let (base, streams) = events().await;
        let house = House::new(&base).await;
        let mut sender = house.sender(protocol).await;
        let answer = sender.send(request("GET", "/mcp", "")).await.unwrap();
        let stream = streams.lock().unwrap().pop().unwrap();
        assert_eq!(house.gate.live.load(Ordering::SeqCst), 1);
        drop(answer);
        tokio::time::timeout(LONG, stream.closed()).await.unwrap();
        eventually(|| house.gate.live.load(Ordering::SeqCst) == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_exchange_and_the_gate_learns_it() {
    for protocol in PROTOCOLS {
        let gone = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&gone);
        struct Leaves(Arc<AtomicUsize>);
        impl Drop for Leaves {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let base = upstream(move |_| {
            let leaves = Leaves(Arc::clone(&counted));
            async move {
                let _leaves = leaves;
                std::future::pending().await
            }
        })
        .await;
        let house = House::new(&base).await;
        let mut sender = house.sender(protocol).await;
        let mut sending = Box::pin(async move { sender.send(request("POST", "/", "x")).await });
        let some_time = tokio::time::timeout(Duration::from_millis(200), &mut sending);
        assert!(some_time.await.is_err());
        assert_eq!((house.gate.seen.lock().unwrap().len(), gone.load(Ordering::SeqCst)), (1, 0));
        drop(sending);
        eventually(|| gone.load(Ordering::SeqCst) == 1).await;
        eventually(|| !house.gate.faults.lock().unwrap().is_empty()).await;
        assert_eq!(*house.gate.faults.lock().unwrap(), [UpstreamFault::ClientGone]);
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_does_not_look_like_an_end() {
    for protocol in PROTOCOLS {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
            stream.write_all(head).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        });
        let house = House::new(&base).await;
        let answer = house.sender(protocol).await.send(request("GET", "/", "")).await.unwrap();
        assert!(answer.into_body().collect().await.is_err());
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let (base, streams) = events().await;
    let limits = Limits { stall_max: Duration::from_millis(300), ..Limits::default() };
    let house = House::with(&base, limits, Peer::default()).await;
    let mut client = house.connect(b"http/1.1").await;
    let raw = format!("GET /mcp HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    client.write_all(raw.as_bytes()).await.unwrap();
    eventually(|| !streams.lock().unwrap().is_empty()).await;
    let stream = streams.lock().unwrap().pop().unwrap();
    while stream.send(Bytes::from(vec![7; 64 * 1024])).await.is_ok() {}
    house.tally.wait_for(Refused::SlowReader).await;
}
