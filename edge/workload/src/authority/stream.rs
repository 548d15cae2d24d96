//! A connection whose reader sees authorities that it can read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Frames;

/// How much is read at once, in bytes: requests of the Workload API are small.
const READ_BYTES: usize = 4 * 1024;

/// A stream; what is read of it has passed [`Frames`].
#[derive(Debug)]
pub(crate) struct Readable<S> {
    stream: S,
    frames: Frames,
    /// What may be read, from `at` on.
    ready: Vec<u8>,
    at: usize,
}

impl<S> Readable<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, frames: Frames::default(), ready: Vec::new(), at: 0 }
    }

    /// Gives what is ready. Nothing is kept of an idle connection.
    fn give(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let rest = self.ready.get(self.at..).unwrap_or_default();
        let now = rest.get(..into.remaining().min(rest.len())).unwrap_or(rest);
        into.put_slice(now);
        self.at = self.at.saturating_add(now.len());
        let given = !now.is_empty();
        if self.at >= self.ready.len() {
            (self.ready, self.at) = (Vec::new(), 0);
        }
        given
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Readable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while into.remaining() > 0 && !this.give(into) {
            let mut space = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            let ended = read.filled().is_empty();
            this.frames.take(read.filled(), &mut this.ready);
            if ended {
                this.frames.end(&mut this.ready);
                this.give(into);
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Readable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
