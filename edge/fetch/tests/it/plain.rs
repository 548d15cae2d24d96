//! What is read by plain HTTP, and what is posted.

use std::sync::Mutex;

use super::*;

/// A listener without TLS.
async fn plain(act: Act) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (act, told) = (act.clone(), Arc::clone(&told));
            tokio::spawn(async move {
                let mut head = vec![0; 4_096];
                let Ok(length) = stream.read(&mut head).await else { return };
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                told.lock().unwrap().push(head.clone());
                serve(&mut stream, &act, &head).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, heads)
}

fn said(bytes: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{}", "n".repeat(bytes))
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_name_is_asked_over_plain_http_and_no_further() {
    let rig = Rig::new();
    let ask = async |act: Act, listed: &[&str]| {
        let (port, heads) = plain(act).await;
        let got = rig.fetcher(listed).plain(HOST, port, "/a/challenge", 64).await;
        let heads = heads.lock().unwrap().clone();
        (got, heads)
    };
    let (got, heads) = ask(Act::Say(said(64)), LOOPBACK).await;
    assert_eq!(got, Ok(vec![b'n'; 64]));
    assert!(heads[0].starts_with("GET /a/challenge HTTP/1.1\r\nhost: peer.example:"), "{heads:?}");
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: /a/other\r\ncontent-length: 0\r\n\r\n";
    let too_large = FetchFault::TooLarge { bytes_max: 64 };
    let late = FetchFault::TimedOut { seconds_max: 1 };
    for (name, act, expect) in [
        ("one more", Act::Say(said(65)), too_large.clone()),
        ("flood", Act::Flood, too_large),
        ("redirect", Act::Say(elsewhere.to_owned()), FetchFault::Status { status: 302 }),
        ("stall", Act::Stall, late.clone()),
        ("drip", Act::Drip, late),
    ] {
        let (got, heads) = ask(act, LOOPBACK).await;
        assert_eq!(got, Err(expect), "{name}");
        assert_eq!(heads.len(), 1, "{name}");
    }
    // An address inside is not connected to.
    let (got, heads) = ask(Act::Say(said(2)), &[]).await;
    assert!(matches!(got, Err(FetchFault::Private { .. })), "{got:?}");
    assert!(heads.is_empty());
    // What is no plain name or path is not made one.
    let (port, heads) = plain(Act::Say(said(2))).await;
    for (host, path) in [
        ("127.0.0.1", "/a"),
        ("2130706433", "/a"),
        ("user@peer.example", "/a"),
        ("PEER.example", "/a"),
        (HOST, "/../a"),
        (HOST, "/a?b"),
        (HOST, "a"),
    ] {
        let got = rig.fetcher(LOOPBACK).plain(host, port, path, 64).await;
        assert!(matches!(got, Err(FetchFault::Url { .. })), "{host}{path}: {got:?}");
    }
    assert!(heads.lock().unwrap().is_empty());
}

/// req: ATT-02 (part)
#[tokio::test]
async fn s7_what_is_posted_is_told_to_one_place() {
    let rig = Rig::new();
    let fetcher = rig.fetcher(LOOPBACK);
    let created = OK.replace("200 OK", "201 Created");
    let target = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(OK.to_owned())).await;
    let to = target.url(HOST, "/");
    let elsewhere = format!("HTTP/1.1 307 T\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    for (answer, expect) in [
        (created, Ok("{}".to_owned())),
        (elsewhere, Err(FetchFault::Status { status: 307 })),
        (OK.replace("200 OK", "202 Accepted"), Err(FetchFault::Status { status: 202 })),
    ] {
        let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(answer)).await;
        let got = fetcher.post(&listener.url(HOST, "/r"), "secret", "{}".to_owned()).await;
        assert_eq!(got, expect);
    }
    assert_eq!(target.requests(), 0);
    // Whoever is not known gets no token, and one that is no header goes nowhere.
    let other = Authority::new(None);
    let listener = Listener::start(other.server(&[HOST], &[]), Act::Say(OK.to_owned())).await;
    let got = fetcher.post(&listener.url(HOST, "/r"), "secret", String::new()).await;
    assert!(matches!(got, Err(FetchFault::Peer { .. })), "{got:?}");
    assert_eq!(listener.requests(), 0);
    let known = rig.fetcher(LOOPBACK).believing(Roots::of_pem(&other.pem()).unwrap());
    let url = listener.url(HOST, "/r");
    assert_eq!(known.post(&url, "secret", String::new()).await, Ok("{}".to_owned()));
    let got = known.post(&url, "secret\r\nx: y", String::new()).await;
    assert!(matches!(got, Err(FetchFault::Broken { .. })), "{got:?}");
    assert!(Roots::of_pem("").is_err());
}

/// CIBA Core 1.0 §10.2: 204 or 200 is an answer, a redirect is not followed, and no body is read.
#[tokio::test]
async fn ciba_10_2_who_is_told_answers_with_a_status_alone() {
    let rig = Rig::new();
    let fetcher = rig.fetcher(LOOPBACK);
    let target = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(OK.to_owned())).await;
    let to = target.url(HOST, "/");
    let elsewhere = format!("HTTP/1.1 302 T\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nno end".to_owned();
    let refused = |status| Err(FetchFault::Status { status });
    for (answer, expect) in [
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Ok(())),
        (OK.to_owned(), Ok(())),
        (endless, Ok(())),
        (elsewhere, refused(302)),
        (OK.replace("200 OK", "401 Unauthorized"), refused(401)),
    ] {
        let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(answer)).await;
        let got = fetcher.tell(&listener.url(HOST, "/cb"), "secret", "{}".to_owned()).await;
        assert_eq!(got, expect);
    }
    assert_eq!(target.requests(), 0);
    // No private address, unless an operator lists it.
    let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(OK.to_owned())).await;
    let got = rig.fetcher(&[]).tell(&listener.url(HOST, "/cb"), "secret", String::new()).await;
    assert!(matches!(got, Err(FetchFault::Private { .. })), "{got:?}");
    assert_eq!(listener.requests(), 0);
}
