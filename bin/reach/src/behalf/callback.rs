//! The redirect to a port of this machine (RFC 8252 §7.3), and what a browser brings with it.

use std::collections::VecDeque;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jose::TokenHash;
use oauth::TokenText;
use oauth::authorization_response::{Received, ResponseRefused, receive};
use oauth::form::Form;
use oauth::redirect_uri::{RedirectKind, RedirectUri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use url::{Host, Url};

use crate::exit::Failure;

/// Where browsers are sent back to, unless told otherwise: the port is any.
pub const BACK: &str = "http://127.0.0.1/callback";
/// How long a browser may take to say what it wants.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Connections that are read at once: the oldest gives way to another one.
const CONNECTIONS_MAX: usize = 32;
/// How long nothing is accepted after a connection that could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of what a browser says.
const REQUEST_BYTES_MAX: usize = 16 * 1_024;

/// The same place, for this issuer alone.
///
/// RFC 9700 §4.4.2.2: "clients MUST use a distinct redirect URI for each issuer they interact
/// with."
pub fn distinct(uri: &str, issuer: &str) -> String {
    format!("{}/{}", uri.trim_end_matches('/'), TokenHash::of(issuer).to_base64url())
}

/// A port of the loopback that waits for a browser.
#[derive(Debug)]
pub struct Callback {
    listener: TcpListener,
    uri: String,
    path: String,
}

impl Callback {
    /// Listens where `uri` says; where it names no port, at `liked` or at any.
    pub async fn bind(uri: &str, liked: Option<u16>) -> Result<Self, Failure> {
        let misused = |why: &dyn std::fmt::Display| {
            Failure::misused(format!("`{uri}`: {why}"))
                .hint("browsers come back to this machine: `http://127.0.0.1/callback`")
        };
        // RFC 8252 §7.3: "the loopback IP redirect URI"; "MUST allow any port".
        let parsed = RedirectUri::parse(uri).map_err(|error| misused(&error))?;
        let url = Url::parse(uri).map_err(|error| misused(&error))?;
        if !matches!(parsed.kind(), RedirectKind::Loopback | RedirectKind::Localhost) {
            return Err(misused(&"not on the loopback of this machine"));
        }
        if url.query().is_some() {
            return Err(misused(&"with a query"));
        }
        let host = if url.host() == Some(Host::Ipv6(std::net::Ipv6Addr::LOCALHOST)) {
            "::1"
        } else {
            "127.0.0.1"
        };
        let listener = match (url.port(), liked) {
            (Some(port), _) => TcpListener::bind((host, port)).await,
            (None, Some(port)) => match TcpListener::bind((host, port)).await {
                Ok(listener) => Ok(listener),
                // Somebody else has it by now: the server is asked to allow another.
                Err(_) => TcpListener::bind((host, 0)).await,
            },
            (None, None) => TcpListener::bind((host, 0)).await,
        };
        let listener =
            listener.map_err(|error| Failure::unavailable(format!("`{uri}`: {error}")))?;
        let port = listener.local_addr().map_err(|error| Failure::unavailable(&error))?.port();
        let (host, path) = (url.host_str().unwrap_or(host), url.path().to_owned());
        Ok(Self { listener, uri: format!("http://{host}:{port}{path}"), path })
    }

    /// What the server is told.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Waits for the browser that comes back with our `state`. Others may knock at the port, too,
    /// and a page that guesses it may send a browser there: they are turned away, and keep nobody
    /// waiting.
    pub async fn wait(
        &self,
        state: &str,
        issuer: &str,
        iss_is_promised: bool,
    ) -> Result<TokenText, Failure> {
        let (mut open, mut order) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
        loop {
            let heard = tokio::select! {
                accepted = self.listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    };
                    order.retain(|one| !one.is_finished());
                    if order.len() >= CONNECTIONS_MAX && let Some(oldest) = order.pop_front() {
                        oldest.abort();
                    }
                    order.push_back(open.spawn(heard(stream, self.path.clone())));
                    continue;
                }
                Some(heard) = open.join_next() => heard,
            };
            let Ok(Some((mut stream, query))) = heard else { continue };
            let Some(query) = query else {
                answer(&mut stream, "404 Not Found", "nothing is here\n").await;
                continue;
            };
            if !has_state(&query, state) {
                answer(&mut stream, "400 Bad Request", "not what was asked for here\n").await;
                continue;
            }
            let received = Form::parse(query.as_bytes())
                .map_err(|_| ResponseRefused::NotOne)
                .and_then(|form| receive(&form, state, issuer, iss_is_promised));
            return match received {
                Ok(Received::Code(code)) => {
                    answer(&mut stream, "200 OK", "done: this page can be closed\n").await;
                    Ok(code)
                }
                Ok(Received::Error(error)) => {
                    answer(&mut stream, "200 OK", "refused: the terminal says why\n").await;
                    Err(Failure::refused(&format!("oauth::{error}"), &error).of_others())
                }
                Err(refused) => {
                    answer(&mut stream, "400 Bad Request", "the answer is not believed\n").await;
                    Err(Failure::refused("oauth::Response", &refused).of_others().hint(
                        "the code was not used: another server may have answered, or this one \
                         contradicts its own metadata",
                    ))
                }
            };
        }
    }
}

/// Whether it says our `state`, whatever else it says. RFC 6749 §10.12: that "the attacker" cannot
/// guess.
fn has_state(query: &str, state: &str) -> bool {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let same = |value: &str| verify_slices_are_equal(value.as_bytes(), state.as_bytes()).is_ok();
    pairs.any(|(name, value)| name == "state" && same(&value))
}

/// Somebody who knocked, and their query; nothing of who says nothing in time.
async fn heard(mut stream: TcpStream, path: String) -> Option<(TcpStream, Option<String>)> {
    let query = tokio::time::timeout(REQUEST_TIME_MAX, asked_for(&mut stream, &path)).await;
    query.ok().map(|query| (stream, query))
}

/// The query that a browser comes back with; `None` for any other request.
async fn asked_for(stream: &mut TcpStream, path: &str) -> Option<String> {
    let mut read = Vec::new();
    let mut buffer = [0; 1_024];
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        read.extend_from_slice(buffer.get(..count)?);
        if read.len() > REQUEST_BYTES_MAX {
            return None;
        }
    }
    of_request(std::str::from_utf8(&read).ok()?, path)
}

fn of_request(text: &str, path: &str) -> Option<String> {
    let line = text.split("\r\n").next()?;
    let target = line.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    target.strip_prefix(path)?.strip_prefix('?').map(str::to_owned)
}

/// Whether the browser hears it changes nothing.
async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let length = text.len();
    let page = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n\
         cache-control: no-store\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    );
    drop(stream.write_all(page.as_bytes()).await);
    drop(stream.shutdown().await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8252_7_3_only_the_browser_that_comes_back_is_heard() {
        for (text, expect) in [
            ("GET /callback?code=a&state=b HTTP/1.1\r\nhost: x\r\n\r\n", Some("code=a&state=b")),
            ("GET /callback HTTP/1.1\r\n\r\n", None),
            ("GET /favicon.ico HTTP/1.1\r\n\r\n", None),
            ("GET /callbacks?code=a HTTP/1.1\r\n\r\n", None),
            ("POST /callback?code=a HTTP/1.1\r\n\r\n", None),
            ("GET /callback?code=a HTTP/2\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(of_request(text, "/callback").as_deref(), expect, "{text}");
        }
    }

    /// One request, and the first line of its answer.
    async fn knock(port: u16, target: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// Defect: what any page can send to the port ended the wait, and one idle connection kept the
    /// answer waiting for ten seconds.
    #[tokio::test]
    async fn rfc6749_10_12_what_has_not_our_state_is_waited_on() {
        let back = Callback::bind(BACK, None).await.ok().unwrap();
        let port = back.listener.local_addr().unwrap().port();
        let waiting =
            tokio::spawn(async move { back.wait("ours", "https://i.example", false).await });
        let mut idle = Vec::new();
        for _ in 0..=CONNECTIONS_MAX {
            idle.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        }
        let begun = std::time::Instant::now();
        for (target, status) in [
            ("/callback?state=a&state=b", "400"),
            ("/callback?%zz", "400"),
            ("/callback?state=%zz&code=a", "400"),
            ("/callback?code=a", "400"),
            ("/callback?code=a&state=OURS", "400"),
            ("/callback?error=access_denied&state=our", "400"),
            ("/callback?iss=https://evil.example&state=", "400"),
            ("/callback", "404"),
            ("/callback/other?code=a&state=ours", "404"),
            ("/callback?code=c0de&state=ours", "200"),
        ] {
            assert!(!waiting.is_finished(), "{target}");
            let line = knock(port, target).await;
            assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {line}");
        }
        assert_eq!(waiting.await.unwrap().ok().unwrap().as_str(), "c0de");
        assert!(begun.elapsed() < REQUEST_TIME_MAX, "{:?}", begun.elapsed());
        drop(idle);
    }

    /// What has it is the answer, and a wrong one ends it.
    #[tokio::test]
    async fn rfc9207_2_4_a_wrong_answer_with_our_state_is_not_believed() {
        for (query, error) in [
            ("state=ours&state=b&code=a", "oauth::Response"),
            ("state=ours&code=a&error=b", "oauth::Response"),
            ("state=ours&code=a&iss=https://evil.example", "oauth::Response"),
            ("state=ours&error=a%1bb%e2%80%ae", "oauth::ab"),
        ] {
            let back = Callback::bind(BACK, None).await.ok().unwrap();
            let port = back.listener.local_addr().unwrap().port();
            let waiting =
                tokio::spawn(async move { back.wait("ours", "https://i.example", false).await });
            knock(port, &format!("/callback?{query}")).await;
            let failure = waiting.await.unwrap().err().unwrap();
            assert_eq!(failure.problem().error, error, "{query}");
        }
    }

    /// RFC 9700 §4.4.2.2: each issuer has its own.
    #[tokio::test]
    async fn rfc9700_4_4_2_2_each_issuer_has_its_redirect() {
        let (a, b) = (distinct(BACK, "https://a.example"), distinct(BACK, "https://b.example"));
        assert_ne!(a, b);
        assert_eq!(a, distinct(&format!("{BACK}/"), "https://a.example"));
        let back = Callback::bind(&a, None).await.ok().unwrap();
        let port = back.listener.local_addr().unwrap().port();
        let path = |uri: &str| url::Url::parse(uri).unwrap().path().to_owned();
        assert_eq!(path(back.uri()), path(&a));
        let waiting =
            tokio::spawn(async move { back.wait("ours", "https://a.example", false).await });
        for other in [path(&b), path(BACK)] {
            let line = knock(port, &format!("{other}?code=a&state=ours")).await;
            assert!(line.contains(" 404 "), "{line}");
        }
        let line = knock(port, &format!("{}?code=a&state=ours", path(&a))).await;
        assert!(line.contains(" 200 "), "{line}");
        waiting.await.unwrap().ok().unwrap();
    }

    #[tokio::test]
    async fn rfc8252_7_3_browsers_come_back_to_this_machine_alone() {
        let any = Callback::bind(BACK, None).await.ok().unwrap();
        let port = any.listener.local_addr().unwrap().port();
        assert_eq!(any.uri(), format!("http://127.0.0.1:{port}/callback"));
        let other = Callback::bind(BACK, Some(port)).await.ok().unwrap();
        assert_ne!(other.uri(), any.uri());
        drop(any);
        let liked = Callback::bind("http://localhost/back", Some(port)).await.ok().unwrap();
        assert_eq!(liked.uri(), format!("http://localhost:{port}/back"));
        for uri in [
            "https://127.0.0.1/callback",
            "http://a.example/callback",
            "http://10.0.0.1/callback",
            "app:/callback",
            "http://127.0.0.1/callback?a=b",
            "callback",
        ] {
            let failure = Callback::bind(uri, None).await.err().unwrap();
            assert_eq!(failure.problem().outcome.exit_code(), 2, "{uri}");
        }
    }
}
