//! One connection, driven to its end: served, closed when idle, asked to finish on shutdown, and
//! dropped when it does not.

use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, timeout};

use crate::limits::Limits;
use crate::refused::{OnRefused, Refused};

/// What a connection is doing.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// A request begins; it ends when the value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Serving {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    /// Requests so far, if none is under way.
    fn when_idle(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::Acquire);
        (self.begun.load(Ordering::Relaxed) == ended).then_some(ended)
    }
}

/// A request under way, until its answer was taken.
#[derive(Debug)]
pub(crate) struct Serving(Arc<Activity>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}

/// Drives `connection` to its end, and reports how it ended if that was a refusal.
pub(crate) async fn drive<C>(
    connection: C,
    activity: &Activity,
    limits: &Limits,
    mut closing: watch::Receiver<bool>,
    (source, on_refused): (IpAddr, &OnRefused),
) where
    C: GracefulConnection<Error = hyper::Error> + Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = pin!(connection);
    let first = Instant::now().checked_add(limits.idle_max).unwrap_or_else(Instant::now);
    let mut ticks = interval_at(first, limits.idle_max.max(Duration::from_millis(1)));
    let mut seen = Some(0);
    let outcome = loop {
        tokio::select! {
            outcome = connection.as_mut() => break Ok(outcome),
            _ = closing.wait_for(|closing| *closing) => break Err(()),
            // Idle between two ticks: nothing is under way, and nothing was in between.
            _ = ticks.tick() => match activity.when_idle() {
                Some(idle) if seen == Some(idle) => break Err(()),
                now => seen = now,
            },
        }
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(()) => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.drain_max, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        report(&error, source, on_refused);
    }
}

fn report(error: &hyper::Error, source: IpAddr, on_refused: &OnRefused) {
    tracing::debug!(%source, %error, "a connection broke");
    match Refused::carried_by(error) {
        Some(refused) => on_refused(source, refused),
        None if is_malformed(error) => on_refused(source, Refused::Malformed),
        None => {}
    }
}

/// What the library refused by itself: bytes that are no HTTP, heads that are too large, floods of
/// frames. A peer that goes away is none of it.
fn is_malformed(error: &hyper::Error) -> bool {
    // The type of an HTTP/2 error is not in reach here; its text says who found the fault.
    let found_here = |source: &dyn Error| {
        let text = source.to_string();
        text.starts_with("connection error detected") || text.starts_with("stream error detected")
    };
    error.is_parse() || error.is_parse_too_large() || error.source().is_some_and(found_here)
}
