//! What is long, slow, broken or too much.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use api::{FORM_BYTES_MAX, Limits};
use axum::body::Bytes;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::browser::{Served, form_request, soon};
use crate::endpoint::{CREDENTIALS, FORM};
use crate::world::{Doors, TestWorld};

#[tokio::test]
async fn a_body_over_the_bound_is_refused() {
    let served = Served::start().await;
    let long = "a".repeat(FORM_BYTES_MAX);
    for http1 in [false, true] {
        let request = form_request(&[CREDENTIALS, ("scope", &long)]);
        let sent =
            if http1 { served.send_http1(request).await } else { served.send(request).await };
        assert_eq!(sent.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(sent.json()["error"], "invalid_request");
    }
    assert_eq!(served.refusals(), ["too_long", "too_long"]);
}

#[tokio::test]
async fn a_head_over_the_bounds_is_refused() {
    let served = Served::start().await;
    let long = "a".repeat(api::HEAD_BYTES_MAX);
    let many = "x: y\r\n".repeat(api::HEADERS_MAX + 1);
    for head in [format!("x: {long}\r\n"), many] {
        let mut stream = served.connect(None, false).await;
        let text = format!("GET /ready HTTP/1.1\r\nhost: localhost\r\n{head}\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        soon(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 431");
        // The connection ends.
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
    }
    let mut stream = served.connect(None, false).await;
    stream.write_all(b"GET /ready\x01 HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
    drop(stream);
    assert_eq!(served.refusals_soon(3).await, ["not_http", "not_http", "not_http"]);
}

/// A body that comes piece by piece, and whether all of it was taken.
struct Slow {
    left: u32,
    next: Pin<Box<Sleep>>,
    taken: Arc<AtomicBool>,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::ready!(self.next.as_mut().poll(context));
        self.next = Box::pin(sleep(PIECES_APART));
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.taken.store(true, Ordering::Relaxed),
        }
        let piece = Frame::data(Bytes::from_static(&[b'x'; 100]));
        Poll::Ready((!self.taken.load(Ordering::Relaxed)).then_some(Ok(piece)))
    }
}

const PIECES_APART: Duration = Duration::from_millis(20);

/// RFC 9113 §8.1: a server that resets the stream of a request that it answered early does so
/// "after sending a complete response", and clients must not discard it; some do.
#[tokio::test]
async fn a_request_that_is_refused_before_it_ended_is_not_reset() {
    let served = Served::start().await;
    for path in ["/nothing", "/enrol", "/ready"] {
        let stream = served.connect(None, true).await;
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let taken = Arc::<AtomicBool>::default();
        let next = Box::pin(sleep(Duration::ZERO));
        let body = Slow { left: 25, next, taken: Arc::clone(&taken) };
        let request = Request::post(format!("https://localhost{path}")).body(body).unwrap();
        let answer = soon(sender.send_request(request)).await.unwrap();
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
        assert!(!taken.load(Ordering::Relaxed), "{path}: it was answered early");
        soon(async {
            while !taken.load(Ordering::Relaxed) {
                sleep(PIECES_APART).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = Limits { body_max: Duration::from_millis(50), ..Limits::default() };
    let served = Served::with(TestWorld::start().await, limits).await;
    let mut stream = served.connect(None, false).await;
    let head = format!(
        "POST /token HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\n\
         content-length: 10\r\n\r\ngrant"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert_eq!(served.refusals(), ["slow_body"]);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let limits = Limits { head_max: Duration::from_millis(50), ..Limits::default() };
    let served = Served::with(TestWorld::start().await, limits).await;
    let mut stream = served.connect(None, false).await;
    stream.write_all(b"GET /ready HT").await.unwrap();
    let mut rest = Vec::new();
    // Closed, whether with a word or without.
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

/// Requests over a bound are told when to come again: of one address 429, of all 503.
#[tokio::test]
async fn rfc6585_4_a_full_house_says_when_to_come_again() {
    for (limits, status, check) in [
        (Limits { requests_max: 1, ..Limits::default() }, 503, "requests"),
        (Limits { requests_per_source_max: 1, ..Limits::default() }, 429, "requests_of_source"),
    ] {
        let world = TestWorld::start().await;
        let slow = Duration::from_millis(500);
        let mut doors = Arc::into_inner(Doors::of(&world)).unwrap();
        doors.slow = slow;
        let served = Served::through(world, Arc::new(doors), limits).await;
        let second = async {
            tokio::time::sleep(slow / 5).await;
            served.get("/jwks").await
        };
        let (first, second) = tokio::join!(served.get("/log/server/checkpoint"), second);
        assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, status));
        assert_eq!(second.header("retry-after"), Some("1"));
        assert_eq!(served.refusals(), [check]);
        assert_eq!(served.get("/jwks").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn connections_over_a_bound_are_closed() {
    for (limits, check) in [
        (Limits { connections_max: 1, ..Limits::default() }, "connections"),
        (Limits { connections_per_source_max: 1, ..Limits::default() }, "connections_of_source"),
    ] {
        let served = Served::with(TestWorld::start().await, limits).await;
        let first = served.connect(None, false).await;
        let address = first.get_ref().0.peer_addr().unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut nothing = Vec::new();
        let _ = soon(second.read_to_end(&mut nothing)).await;
        assert!(nothing.is_empty());
        assert_eq!(served.refusals_soon(1).await, [check]);
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let limits = Limits { handshake_max: Duration::from_millis(50), ..Limits::default() };
    let served = Served::with(TestWorld::start().await, limits).await;
    let address = served.connect(None, false).await.get_ref().0.peer_addr().unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut nothing = Vec::new();
    let _ = soon(silent.read_to_end(&mut nothing)).await;
    assert!(nothing.is_empty());
    assert_eq!(served.refusals_soon(1).await, ["slow_handshake"]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let served = Served::start().await;
    let mut stream = served.connect(None, false).await;
    let head = format!(
        "POST /token HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\n\
         transfer-encoding: chunked\r\n\r\nzz\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
    assert_eq!(served.refusals().first(), Some(&"broken_body"));
}

#[tokio::test]
async fn what_is_under_way_is_finished_when_the_listener_stops() {
    let world = TestWorld::start().await;
    let mut doors = Arc::into_inner(Doors::of(&world)).unwrap();
    doors.slow = Duration::from_millis(300);
    let served = Served::through(world, Arc::new(doors), Limits::default()).await;
    let served = Arc::new(served);
    let asking = Arc::clone(&served);
    let asked = tokio::spawn(async move { asking.get("/log/server/checkpoint").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.begin_stop();
    assert_eq!(soon(asked).await.unwrap().status, StatusCode::OK);
    soon(Arc::into_inner(served).unwrap().stop()).await;
}
