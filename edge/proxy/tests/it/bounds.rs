//! Bounds of time and number, and how the listener ends.

use std::time::{Duration, Instant};

use http::Response;
use proxy::{Limits, Peer, Refused};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{HOST, House, LONG, echo, read_quiet, request, text, upstream, whole};

const SHORT: Duration = Duration::from_millis(200);

async fn house(limits: Limits) -> House {
    House::with(&echo().await, limits, Peer::default()).await
}

/// Reads to the end of the connection, however it ends.
async fn read_to_end<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut all)).await.expect("an end");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn slowloris_a_head_that_drips_is_ended() {
    let house = house(Limits { head_max: SHORT, ..Limits::default() }).await;
    // Nothing more after half a head; and a byte now and then, for ever.
    let mut silent = house.connect(b"http/1.1").await;
    silent.write_all(b"GET / HTTP/1.1\r\nHost: gw").await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(house.tally.all(), [Refused::SlowHead]);
    let mut dripping = house.connect(b"http/1.1").await;
    let begun = Instant::now();
    while dripping.write_all(b"G").await.is_ok() && dripping.flush().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(begun.elapsed() < LONG, "it may drip for ever");
    }
    assert_eq!(house.tally.all(), [Refused::SlowHead; 2]);
}

#[tokio::test]
async fn slowloris_a_body_that_does_not_come_is_a_408() {
    let house = house(Limits { body_max: SHORT, ..Limits::default() }).await;
    let mut stream = house.connect(b"http/1.1").await;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nabc");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert_eq!(house.tally.all(), [Refused::SlowBody]);
}

#[tokio::test]
async fn slowloris_a_handshake_that_does_not_come_is_ended() {
    let house = house(Limits { handshake_max: SHORT, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    assert_eq!(house.tally.all(), [Refused::SlowHandshake]);
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let base = upstream(|_| async {
        tokio::time::sleep(SHORT * 4).await;
        Response::new(whole("late"))
    })
    .await;
    let limits = Limits { idle_max: SHORT, ..Limits::default() };
    let house = House::with(&base, limits, Peer::default()).await;
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let begun = Instant::now();
        let mut idle = house.connect(protocol).await;
        if protocol == b"h2" {
            idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        }
        read_to_end(&mut idle).await;
        assert!(begun.elapsed() >= SHORT);
        let mut busy = house.sender(protocol).await;
        let answer = busy.send(request("GET", "/", "")).await.unwrap();
        assert_eq!(text(answer).await, (200, "late".to_owned()));
    }
    assert_eq!(house.tally.all(), []);
}

#[tokio::test]
async fn connections_of_one_source_are_bounded() {
    let house = house(Limits { connections_per_source_max: 2, ..Limits::default() }).await;
    let first = house.connect(b"http/1.1").await;
    let _second = house.connect(b"http/1.1").await;
    let mut third = TcpStream::connect(house.address).await.unwrap();
    assert_eq!(read_to_end(&mut third).await, "");
    assert_eq!(house.tally.all(), [Refused::ConnectionsOfSource]);
    drop(first);
    let again = async {
        loop {
            let connected = crate::rig::connect(house.address, house.client()).await;
            if connected.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, again).await.expect("the place is free again");
}

#[tokio::test]
async fn requests_and_bodies_that_are_held_at_once_are_bounded() {
    let base = upstream(|_| std::future::pending()).await;
    for limits in [
        Limits { requests_max: 1, ..Limits::default() },
        Limits { bodies_bytes_max: 1_024, ..Limits::default() },
    ] {
        let house = House::with(&base, limits, Peer::default()).await;
        let mut sender = house.sender(b"h2").await;
        let mut first = Box::pin(sender.send(request("POST", "/", vec![0; 1_000])));
        assert!(tokio::time::timeout(SHORT, &mut first).await.is_err());
        let second = house.sender(b"h2").await.send(request("POST", "/", vec![0; 1_000])).await;
        let second = second.unwrap();
        assert_eq!(second.headers()["retry-after"], "1");
        assert_eq!(second.status(), 503);
        assert_eq!(house.tally.all(), [Refused::Busy]);
    }
}

#[tokio::test]
async fn http2_rapid_reset_ends_the_connection() {
    let base = upstream(|_| std::future::pending()).await;
    let house = House::with(&base, Limits::default(), Peer::default()).await;
    let mut stream = house.connect(b"h2").await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // `:method: GET`, `:scheme: https`, `:path: /`, `:authority: gw.example`; then RST_STREAM.
    let block = [&[0x82, 0x87, 0x84, 0x41, 10][..], HOST.as_bytes()].concat();
    let mut all = Vec::new();
    for id in (1..2_000_u32).step_by(2) {
        let length = u8::try_from(block.len()).unwrap();
        all.extend([0, 0, length, 1, 5]);
        all.extend(id.to_be_bytes());
        all.extend(&block);
        all.extend([0, 0, 4, 3, 0]);
        all.extend(id.to_be_bytes());
        all.extend(8_u32.to_be_bytes());
    }
    let _ = stream.write_all(&all).await;
    read_to_end(&mut stream).await;
    house.tally.wait_for(Refused::Malformed).await;
}

#[tokio::test]
async fn http2_continuation_flood_ends_the_connection() {
    let house = house(Limits::default()).await;
    let mut stream = house.connect(b"h2").await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // HEADERS without END_HEADERS, and then frames that never have it.
    stream.write_all(&[0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82]).await.unwrap();
    let flood =
        async { while stream.write_all(&[0, 0, 0, 9, 0, 0, 0, 0, 1].repeat(64)).await.is_ok() {} };
    tokio::time::timeout(LONG, flood).await.expect("it may go on for ever");
    house.tally.wait_for(Refused::Malformed).await;
}

#[tokio::test]
async fn shutdown_lets_what_is_under_way_finish() {
    let base = upstream(|_| async {
        tokio::time::sleep(SHORT * 2).await;
        Response::new(whole("done"))
    })
    .await;
    let mut house = House::with(&base, Limits::default(), Peer::default()).await;
    let mut idle = house.connect(b"http/1.1").await;
    let mut busy = [house.sender(b"http/1.1").await, house.sender(b"h2").await];
    let [one, two] = &mut busy;
    let stop = house.stop.take().unwrap();
    let (one, two, ()) = tokio::join!(
        one.send(request("POST", "/", "")),
        two.send(request("POST", "/", "")),
        async {
            tokio::time::sleep(SHORT).await;
            stop.send(()).unwrap();
        }
    );
    assert_eq!(text(one.unwrap()).await.1, "done");
    assert_eq!(text(two.unwrap()).await.1, "done");
    assert_eq!(read_quiet(&mut idle).await, "");
    tokio::time::timeout(LONG, house.running).await.unwrap().unwrap();
    assert!(TcpStream::connect(house.address).await.is_err());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let base = upstream(|_| std::future::pending()).await;
    let limits = Limits { drain_max: SHORT, ..Limits::default() };
    let mut house = House::with(&base, limits, Peer::default()).await;
    let mut sender = house.sender(b"http/1.1").await;
    let mut sending = Box::pin(sender.send(request("POST", "/", "")));
    assert!(tokio::time::timeout(SHORT, &mut sending).await.is_err());
    house.stop.take().unwrap().send(()).unwrap();
    assert!(sending.await.is_err());
    tokio::time::timeout(LONG, house.running).await.unwrap().unwrap();
}
