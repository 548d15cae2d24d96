//! Documents that strangers publish: read without a redirect, within their bytes, kept as they say.

use fetch::Page;

use super::*;

fn said(headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// docs/past-defects.md 11.
/// req: AUTHZ-22 (part)
#[tokio::test]
async fn cimd_6_a_document_is_read_from_where_it_says_and_no_further() {
    let rig = Rig::new();
    let ask = async |act: Act, listed: &[&str]| {
        let listener = Listener::start(rig.web.server(&[HOST], &[]), act).await;
        let got = rig.fetcher(listed).page(&listener.url(HOST, "/client.json"), 64).await;
        (got, listener.requests())
    };
    let json = "content-type: application/json\r\n";
    let good = || Act::Say(said(json, "{}"));
    let page = Page { text: "{}".to_owned(), keep: None };
    assert_eq!(ask(good(), LOOPBACK).await, (Ok(page), 1));
    let elsewhere = |to: &str| {
        Act::Say(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))
    };
    let moved = FetchFault::Status { status: 302 };
    let too_large = FetchFault::TooLarge { bytes_max: 64 };
    let late = FetchFault::TimedOut { seconds_max: 1 };
    let media = FetchFault::Broken { why: "its media type is not JSON".to_owned() };
    let flood = format!("HTTP/1.1 200 OK\r\n{json}content-length: 5000000000\r\n\r\n");
    for (name, act, expect) in [
        ("redirect to itself", elsewhere("/client.json"), moved.clone()),
        ("redirect inside", elsewhere("http://169.254.169.254/"), moved),
        ("one more byte", Act::Say(said(json, &"n".repeat(65))), too_large.clone()),
        ("gigabytes", Act::Say(flood), too_large),
        ("stall", Act::Stall, late.clone()),
        ("drip", Act::Drip, late),
        ("a page", Act::Say(said("content-type: text/html\r\n", "{}")), media.clone()),
        ("no type", Act::Say(said("", "{}")), media),
    ] {
        assert_eq!(ask(act, LOOPBACK).await, (Err(expect), 1), "{name}");
    }
    // An address inside is not connected to.
    let (got, requests) = ask(good(), &[]).await;
    assert!(matches!(got, Err(FetchFault::Private { .. })), "{got:?}");
    assert_eq!(requests, 0);
    for url in ["http://peer.example/", "https://a@peer.example/", "file:///etc/passwd"] {
        let got = rig.fetcher(LOOPBACK).page(&Url::parse(url).unwrap(), 64).await;
        assert!(matches!(got, Err(FetchFault::Url { .. })), "{url}: {got:?}");
    }
}

#[tokio::test]
async fn rfc9111_5_2_2_a_document_says_how_long_it_may_be_kept() {
    let rig = Rig::new();
    for (headers, expect) in [
        ("", None),
        ("cache-control: max-age=60\r\n", Some(60)),
        ("cache-control: public, Max-Age=60, max-age=30\r\n", Some(30)),
        ("cache-control: max-age=60\r\nage: 50\r\n", Some(10)),
        ("cache-control: max-age=60\r\nage: 70\r\n", Some(0)),
        ("cache-control: max-age=60, no-store\r\n", Some(0)),
        ("cache-control: no-cache\r\n", Some(0)),
        ("cache-control: max-age=soon\r\n", Some(0)),
        ("cache-control: public\r\n", None),
    ] {
        let text = said(&format!("content-type: application/json\r\n{headers}"), "{}");
        let listener = Listener::start(rig.web.server(&[HOST], &[]), Act::Say(text)).await;
        let got = rig.fetcher(LOOPBACK).page(&listener.url(HOST, "/"), 64).await.unwrap();
        assert_eq!(got.keep.map(|keep| keep.as_secs()), expect, "{headers}");
    }
}

/// A refusal is an answer of a token endpoint (§5.2), and of nobody else who is told something.
#[tokio::test]
async fn rfc6749_5_2_a_token_endpoint_answers_with_a_refusal_too() {
    let rig = Rig::new();
    for (status, told, redeemed) in [
        (200, true, true),
        (204, true, false),
        (302, false, false),
        (400, false, true),
        (401, false, false),
        (500, false, false),
    ] {
        let act = Act::Say(format!("HTTP/1.1 {status} Told\r\ncontent-length: 0\r\n\r\n"));
        let listener = Listener::start(rig.web.server(&[HOST], &[]), act).await;
        let (url, fetcher) = (listener.url(HOST, "/token"), rig.fetcher(LOOPBACK));
        let form = fetcher.form(&url, None, "a=1".to_owned()).await;
        let redeem = fetcher.redeem(&url, None, "a=1".to_owned()).await;
        assert_eq!((form.is_ok(), redeem.is_ok()), (told, redeemed), "{status}");
    }
}
