//! The feed at the server: sent as it changes, no faster than its reader takes it, and ended as
//! soon as the reader may no longer have it (AUTHN-12, PROV-06).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use env::{Clock, Seq, Store, World};
use flow::feed::Message;
use time::Span;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tonic::Status;

use crate::answered::message_to_wire;
use crate::caller::{self, Caller};
use crate::connection::Connection;
use crate::server::{FEED_KIB_MAX, Shared};
use crate::service::{denied, unavailable};
use crate::wire;

/// How long a feed is silent at most, and from when on a word is due: sleeps may end early.
const HEARTBEAT: Span = Span::from_seconds(1);
const HEARTBEAT_DUE: Duration = Duration::from_millis(900);
/// The pause after a look that found something, and how far it grows while looks find nothing: many
/// commits do not concern a component.
const PACE_MIN: Duration = Duration::from_millis(5);
const PACE_MAX: Duration = Duration::from_millis(160);
/// How long a reader may take for a message.
const STALL_TIME_MAX: Duration = Duration::from_secs(30);

/// A message on its way, and its share of what all feeds may hold.
struct OnItsWay {
    message: Result<wire::FeedMessage, Status>,
    share: Option<Arc<OwnedSemaphorePermit>>,
}

/// One feed. The share of a message is given back when the transport asks for the next one: then
/// its reader has room again.
pub(crate) struct Feed {
    messages: mpsc::Receiver<OnItsWay>,
    share: Option<Arc<OwnedSemaphorePermit>>,
}

impl Stream for Feed {
    type Item = Result<wire::FeedMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.share = None;
        self.messages.poll_recv(context).map(|next| {
            let OnItsWay { message, share } = next?;
            self.share = share;
            Some(message)
        })
    }
}

/// Begins the feed of `caller` after `since`.
pub(crate) fn open<W: World>(
    shared: Arc<Shared<W>>,
    connection: Arc<Connection>,
    caller: Caller,
    since: Seq,
    mut stopping: watch::Receiver<bool>,
) -> Feed {
    let (sender, messages) = mpsc::channel(1);
    tokio::spawn(async move {
        let publisher = Publisher { shared, connection, caller, since, sender };
        let gone = publisher.sender.clone();
        tokio::select! {
            () = publisher.run() => {}
            () = gone.closed() => {}
            _ = stopping.wait_for(|stops| *stops) => {
                let status = Err(Status::unavailable("the server stops; come again"));
                let _ = gone.try_send(OnItsWay { message: status, share: None });
            }
        }
    });
    Feed { messages, share: None }
}

struct Publisher<W> {
    shared: Arc<Shared<W>>,
    connection: Arc<Connection>,
    caller: Caller,
    since: Seq,
    sender: mpsc::Sender<OnItsWay>,
}

impl<W: World> Publisher<W> {
    async fn run(mut self) {
        let mut sent = None;
        let mut pace = PACE_MIN;
        loop {
            let (message, share) = match self.gather().await {
                Ok(found) => found,
                Err(status) => {
                    let _ = self.send(Err(status), None).await;
                    return;
                }
            };
            let seq = message.seq;
            // The store has less than the reader, or forgot deletions that the reader did not see.
            if seq < self.since {
                self.since = Seq(0);
                continue;
            }
            let is_empty = message.rows.is_empty();
            let is_due = sent.is_none_or(|at: Instant| at.elapsed() >= HEARTBEAT_DUE);
            if !is_empty || message.anew || is_due {
                for part in message_to_wire(message) {
                    if self.send(Ok(part), share.clone()).await.is_err() {
                        return;
                    }
                }
                sent = Some(Instant::now());
                self.shared.heard(&self.caller.id, None);
            }
            drop(share);
            pace = if is_empty { (pace * 2).min(PACE_MAX) } else { PACE_MIN };
            if seq == self.since {
                self.rest().await;
            } else {
                self.since = seq;
                tokio::time::sleep(pace).await;
            }
        }
    }

    /// The next message, and its share. Where the share is not free the message is let go, and read
    /// again when it is.
    async fn gather(&mut self) -> Result<(Message, Option<Arc<OwnedSemaphorePermit>>), Status> {
        let mut share: Option<OwnedSemaphorePermit> = None;
        loop {
            let message = self.next().await?;
            let needed = share_of(&message);
            let has = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            if usize::try_from(needed).is_ok_and(|needed| needed <= has) {
                return Ok((message, share.map(Arc::new)));
            }
            drop(share.take());
            let all = Arc::clone(&self.shared.feed_kib);
            if let Ok(free) = Arc::clone(&all).try_acquire_many_owned(needed) {
                return Ok((message, Some(Arc::new(free))));
            }
            drop(message);
            let stops = |_| Status::unavailable("the server stops; come again");
            share = Some(all.acquire_many_owned(needed).await.map_err(stops)?);
        }
    }

    async fn next(&mut self) -> Result<Message, Status> {
        let world = &*self.shared.world;
        let chain = &self.connection.chain;
        let standing = caller::still(world, chain, self.caller.clone()).await;
        let unproved = match standing.map_err(unavailable)? {
            Ok(caller) => {
                self.caller = caller;
                None
            }
            Err(unproved) => Some(unproved),
        };
        if let Some(unproved) = unproved {
            self.connection.ends.notify_one();
            return Err(denied(&unproved));
        }
        let stops = |_| Status::unavailable("the server stops; come again");
        let _place = self.shared.gathering.acquire().await.map_err(stops)?;
        let (id, epoch) = (&self.caller.id, self.caller.epoch);
        let found = flow::feed::next(world, id, epoch, self.since).await;
        found.map_err(unavailable)?.map_err(|why| {
            self.connection.ends.notify_one();
            Status::permission_denied(why.to_string())
        })
    }

    /// Waits for a commit, no longer than a heartbeat.
    async fn rest(&self) {
        let world = &*self.shared.world;
        tokio::select! {
            _ = world.store().past(self.since) => {}
            () = world.clock().sleep(HEARTBEAT) => {}
        }
    }

    async fn send(
        &self,
        message: Result<wire::FeedMessage, Status>,
        share: Option<Arc<OwnedSemaphorePermit>>,
    ) -> Result<(), ()> {
        let sending = self.sender.send(OnItsWay { message, share });
        match timeout(STALL_TIME_MAX, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(()),
            Err(_) => {
                tracing::info!(id = %self.caller.id, "node api: a feed is not read; it ends");
                Err(())
            }
        }
    }
}

/// What a message takes of what all feeds may hold, in KiB; one larger than all takes all.
fn share_of(message: &Message) -> u32 {
    let bytes: usize = message.rows.iter().map(|row| row.bytes.as_ref().map_or(0, Vec::len)).sum();
    u32::try_from(bytes.div_ceil(1024).min(FEED_KIB_MAX)).unwrap_or(u32::MAX)
}
