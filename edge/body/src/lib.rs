//! The body of a request over HTTP/2, of which the rest is read when nobody wants it any more
//! ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113) §8.1).
//!
//! An answer that comes before the request ended is followed by a reset of the stream, and some
//! clients lose the answer by that: curl 7.88 more than half of them.
//!
//! In scope: what is read after a body was dropped, and its bounds. Not here: how much of a body is
//! read by those who want it, and for how long (each door's own limits).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

/// As much is read of what nobody wants; the rest is reset.
const BYTES_MAX: usize = 1 << 20;
/// For so long.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Such a body. HTTP/1.1 needs none: who waits to be told to go on (RFC 9110 §10.1.1) would be told
/// it after a refusal.
#[derive(Debug)]
pub struct Drained(Option<Incoming>);

impl Drained {
    /// Of this body.
    pub const fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Drained {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime there is no connection left either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(TIME_MAX, rest(body)));
        }
    }
}

async fn rest(mut body: Incoming) {
    let mut bytes = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        bytes = bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if bytes > BYTES_MAX {
            return;
        }
    }
}
