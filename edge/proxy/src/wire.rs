//! The bytes of a connection, watched while they pass: what the HTTP library repairs silently is
//! seen here, and a peer that stands still in the middle of something is let go.
//!
//! The library drops a `Content-Length` beside a `Transfer-Encoding` and the second of two equal
//! lengths before anybody can object; somebody in front of us may have read them the other way.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::refused::Refused;

/// Bytes of a line that are kept: enough for the names and values that matter here.
const LINE_KEPT_BYTES_MAX: usize = 128;

/// What was seen in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Why it must be refused.
    pub(crate) fault: Option<Refused>,
    /// Whether nothing behind this request is read any more.
    pub(crate) is_last: bool,
}

/// What was seen in the heads of a connection, oldest first; taken one a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads(Arc<Mutex<VecDeque<Seen>>>);

impl Heads {
    /// What was seen in the head of the request that is now served.
    pub(crate) fn next(&self) -> Option<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, seen: Seen) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(seen);
    }
}

/// How long a peer may stand still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the first byte of a head to its last.
    pub(crate) head: Duration,
    /// Without taking anything of what is written.
    pub(crate) stall: Duration,
}

/// A connection, watched.
pub(crate) struct Watched<S> {
    inner: S,
    /// Only of HTTP/1.1.
    scanner: Option<Scanner>,
    patience: Patience,
    head_timer: Option<Pin<Box<Sleep>>>,
    stall_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    /// A connection of HTTP/1.1, and where the findings of its heads arrive.
    pub(crate) fn http1(inner: S, patience: Patience) -> (Self, Heads) {
        let heads = Heads::default();
        let scanner = Scanner { heads: heads.clone(), ..Scanner::default() };
        (Self { scanner: Some(scanner), ..Self::http2(inner, patience) }, heads)
    }

    /// A connection of HTTP/2, which frames its messages itself.
    pub(crate) fn http2(inner: S, patience: Patience) -> Self {
        Self { inner, scanner: None, patience, head_timer: None, stall_timer: None }
    }

    /// Whether the head that began long ago is still not there.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.scanner.as_ref().is_some_and(Scanner::is_inside_head) {
            self.head_timer = None;
            return Poll::Pending;
        }
        let patience = self.patience.head;
        let timer = self.head_timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        // A peer that sends a byte now and then never lets the runtime poll the timer itself.
        if timer.deadline() <= Instant::now() || timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Refused::SlowHead.into_io());
        }
        Poll::Pending
    }

    /// What a write came to, or the end of our patience.
    fn timed<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall_timer = None;
            return outcome;
        }
        let patience = self.patience.stall;
        let timer = self.stall_timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        timer.as_mut().poll(cx).map(|()| Err(Refused::SlowReader.into_io()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if let Some(scanner) = &mut self.scanner {
            scanner.scan(buffer.filled().get(before..).unwrap_or_default());
        }
        match self.poll_head(cx) {
            Poll::Ready(late) => Poll::Ready(Err(late)),
            Poll::Pending => outcome,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.timed(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.timed(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.timed(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.timed(cx, outcome)
    }
}

/// Finds the heads in the bytes of an HTTP/1.1 connection. It splits lines where the library does,
/// at each line feed, so that both always agree where a head ends.
#[derive(Debug, Default)]
struct Scanner {
    heads: Heads,
    at: At,
    head: Head,
}

/// What the next byte belongs to.
#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    /// A head.
    #[default]
    Head,
    /// A body with so many bytes to come.
    Body(u64),
    /// A body whose end is not sought: the connection ends with this request.
    Rest,
}

/// A head that is being read.
#[derive(Debug, Default)]
struct Head {
    line: Vec<u8>,
    line_bytes: usize,
    has_request_line: bool,
    bare_line_feed: bool,
    lengths: usize,
    length: u64,
    has_transfer_encoding: bool,
    has_unreadable_length: bool,
}

impl Scanner {
    fn is_inside_head(&self) -> bool {
        self.at == At::Head && (self.head.has_request_line || self.head.line_bytes > 0)
    }

    fn scan(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.at {
                At::Rest => return,
                At::Body(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(here..).unwrap_or_default();
                    let left = left.saturating_sub(here as u64);
                    self.at = if left == 0 { At::Head } else { At::Body(left) };
                }
                At::Head => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    self.head.extend(line);
                    // Past the line feed, if there is one.
                    bytes = rest.get(1..).unwrap_or_default();
                    if end.is_some() && self.head.end_line() {
                        self.end_head();
                    }
                }
            }
        }
    }

    fn end_head(&mut self) {
        let head = std::mem::take(&mut self.head);
        let fault = head.fault();
        // The end of a chunked body is not sought, so nothing may stand behind it.
        let is_last = fault.is_some() || head.has_transfer_encoding;
        self.heads.push(Seen { fault, is_last });
        self.at = match head.length {
            _ if is_last => At::Rest,
            0 => At::Head,
            length => At::Body(length),
        };
    }
}

impl Head {
    fn extend(&mut self, part: &[u8]) {
        let room = LINE_KEPT_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend(part.iter().take(room));
        self.line_bytes = self.line_bytes.saturating_add(part.len());
        // Whether a long line ends with a carriage return must be known as well.
        if part.len() > room
            && let (Some(kept), Some(last)) = (self.line.last_mut(), part.last())
        {
            *kept = *last;
        }
    }

    /// Takes in a whole line; true where the head ends.
    fn end_line(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        let is_whole = std::mem::take(&mut self.line_bytes) <= LINE_KEPT_BYTES_MAX;
        let Some(line) = line.strip_suffix(b"\r") else {
            // RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line terminator and
            // ignore any preceding CR." Not everybody does, so nobody here.
            self.bare_line_feed = true;
            return line.is_empty() && self.has_request_line;
        };
        if line.is_empty() {
            // RFC 9112 §2.2: "a server that is expecting to receive and parse a request-line
            // SHOULD ignore at least one empty line (CRLF) received prior to the request-line."
            return self.has_request_line;
        }
        if self.has_request_line {
            self.read_field(line, is_whole);
        }
        self.has_request_line = true;
        false
    }

    fn read_field(&mut self, line: &[u8], is_whole: bool) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let value = parts.next().unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths = self.lengths.saturating_add(1);
            let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            // INVARIANT: where a body ends is known here exactly as the library knows it.
            self.has_unreadable_length |= !is_whole || length.is_none();
            self.length = length.unwrap_or(0);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.has_transfer_encoding = true;
        }
    }

    fn fault(&self) -> Option<Refused> {
        if self.bare_line_feed {
            return Some(Refused::BareLineFeed);
        }
        // RFC 9112 §6.1: "A server MAY reject a request that contains both Content-Length and
        // Transfer-Encoding"
        if self.has_transfer_encoding && self.lengths > 0 {
            return Some(Refused::AmbiguousLength);
        }
        if self.lengths > 1 {
            return Some(Refused::Repeated { name: "content-length" });
        }
        self.has_unreadable_length.then_some(Refused::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Seen = Seen { fault: None, is_last: false };
    const LAST: Seen = Seen { fault: None, is_last: true };

    fn refused(fault: Refused) -> Seen {
        Seen { fault: Some(fault), is_last: true }
    }

    /// The same findings however the bytes are cut.
    fn check(text: &str, expect: &[Seen]) {
        for piece in [1, 2, 3, 7, text.len().max(1)] {
            let mut scanner = Scanner::default();
            text.as_bytes().chunks(piece).for_each(|bytes| scanner.scan(bytes));
            let found: Vec<Seen> = std::iter::from_fn(|| scanner.heads.next()).collect();
            assert_eq!(found, expect, "{text:?} in pieces of {piece}");
        }
    }

    #[test]
    fn rfc9112_6_1_smuggled_lengths_are_seen() {
        let both = refused(Refused::AmbiguousLength);
        let twice = refused(Refused::Repeated { name: "content-length" });
        let bare = refused(Refused::BareLineFeed);
        for (text, expect) in [
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", both),
            ("POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\ncontent-length:0\r\n\r\n", both),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", twice),
            ("POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", refused(Refused::Malformed)),
            ("POST / HTTP/1.1\nHost: a\r\n\r\n", bare),
            ("POST / HTTP/1.1\r\nHost: a\n\r\n", bare),
            ("POST / HTTP/1.1\r\nHost: a\r\n\n", bare),
        ] {
            check(text, &[expect]);
        }
    }

    #[test]
    fn rfc9112_9_3_2_every_pipelined_head_is_seen_and_no_body_is_taken_for_one() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        check(get, &[FINE]);
        check(&get.repeat(3), &[FINE, FINE, FINE]);
        check(&format!("\r\n{get}"), &[FINE]);
        let inner = "GET /x HTTP/1.1\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        let post = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
        check(&format!("{post}{get}"), &[FINE, FINE]);
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        check(&format!("{chunked}{get}"), &[LAST]);
        let long = "x".repeat(5 * LINE_KEPT_BYTES_MAX);
        check(&format!("GET /{long} HTTP/1.1\r\nA: {long}\r\n\r\n"), &[FINE]);
        check(&format!("GET /{long}\nHost: a\r\n\r\n"), &[refused(Refused::BareLineFeed)]);
        let pad = " ".repeat(2 * LINE_KEPT_BYTES_MAX);
        let padded = format!("POST / HTTP/1.1\r\nContent-Length:{pad}5\r\n\r\n");
        check(&padded, &[refused(Refused::Malformed)]);
    }

    #[test]
    fn a_head_is_under_way_from_its_first_byte_to_its_last() {
        let mut scanner = Scanner::default();
        for (bytes, inside) in
            [("\r\n", false), ("G", true), ("ET / HTTP/1.1\r\n", true), ("A: b\r\n\r\n", false)]
        {
            scanner.scan(bytes.as_bytes());
            assert_eq!(scanner.is_inside_head(), inside, "{bytes:?}");
        }
    }
}
