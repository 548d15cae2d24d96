//! The redirect to a port of this machine (RFC 8252 §7.3), and what a browser brings with it.

use std::time::Duration;

use oauth::authorization_response::{Received, ResponseRefused, receive};
use oauth::form::Form;
use oauth::redirect_uri::{RedirectKind, RedirectUri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::{Host, Url};

use crate::exit::Failure;

/// Where browsers are sent back to, unless told otherwise: the port is any.
pub const BACK: &str = "http://127.0.0.1/callback";
/// How long a browser may take to say what it wants.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of what a browser says.
const REQUEST_BYTES_MAX: usize = 16 * 1_024;

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

    /// Waits for the browser that comes back with our `state`. Other programs may knock at the
    /// port, too: they are turned away.
    pub async fn wait(
        &self,
        state: &str,
        issuer: &str,
        iss_is_promised: bool,
    ) -> Result<oauth::TokenText, Failure> {
        loop {
            let accepted = self.listener.accept().await;
            let (mut stream, _) = accepted.map_err(|error| Failure::unavailable(&error))?;
            let asked = asked_for(&mut stream, &self.path);
            let Ok(Some(query)) = tokio::time::timeout(REQUEST_TIME_MAX, asked).await else {
                answer(&mut stream, "404 Not Found", "nothing is here\n").await;
                continue;
            };
            let received = Form::parse(query.as_bytes())
                .map_err(|_| ResponseRefused::NotOne)
                .and_then(|form| receive(&form, state, issuer, iss_is_promised));
            match received {
                Ok(Received::Code(code)) => {
                    answer(&mut stream, "200 OK", "done: this page can be closed\n").await;
                    return Ok(code);
                }
                Ok(Received::Error(error)) => {
                    answer(&mut stream, "200 OK", "refused: the terminal says why\n").await;
                    return Err(Failure::refused(&format!("oauth::{error}"), &error));
                }
                Err(ResponseRefused::WrongState) => {
                    answer(&mut stream, "400 Bad Request", "not what was asked for here\n").await;
                }
                Err(refused) => {
                    answer(&mut stream, "400 Bad Request", "the answer is not believed\n").await;
                    return Err(Failure::refused("oauth::Response", &refused).hint(
                        "the code was not used: another server may have answered, or this one \
                         contradicts its own metadata",
                    ));
                }
            }
        }
    }
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
