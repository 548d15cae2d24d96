//! The feed at a node or gateway: followed for ever, resumed where it broke off, begun anew when
//! the server says so or went back (docs/design.md §2, idea 6).

use std::convert::Infallible;
use std::time::Duration;

use env::rows::TrustRow;
use env::{Clock, Key, PeerFault, Seq, Store, Unavailable, World};
use flow::feed::Message;
use time::Span;
use tokio::time::timeout;
use tonic::Streaming;

use crate::answered::{self, senseless};
use crate::client::Link;
use crate::service::fault;
use crate::wire;

/// How long the server may take for one part of the feed: it says something each second, but what
/// it says may be a policy set over a slow line. A dead line is found sooner, by pings.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// What a feed is refused by where it was proved who asks: suspended, revoked, or not known.
const NOT_IN_FORCE: &str = "link::PermissionDenied";
/// The most rows of one message, and their bytes: the server sends far fewer.
const ROWS_MAX: usize = 16 * flow::feed::ROWS_MAX;
const ROWS_BYTES_MAX: usize = 256 * 1024 * 1024;

impl Link {
    /// Follows the feed into the world's own store, for ever. `on_heard` is called with the
    /// server's position after each message, heartbeats too. What goes wrong is logged, and tried
    /// again after a pause.
    pub async fn follow<W: World>(
        &self,
        world: &W,
        on_heard: impl Fn(Seq) + Send + Sync,
    ) -> Infallible {
        let mut follower =
            Follower { link: self, world, on_heard: &on_heard, anew: false, failures: 0 };
        loop {
            let end = follower.run().await;
            if let Err(PeerFault::Refused { check, .. }) = &end
                && check == NOT_IN_FORCE
                && let Err(error) = flow::feed::cut(world).await
            {
                tracing::error!(%error, "node api: cut off, and what is here serves on");
            }
            match end {
                Ok(End::Again) => continue,
                Ok(End::Closed) => {}
                // A server that stops, or starts again, breaks it once: that is no warning yet.
                Err(fault) if follower.failures == 0 => {
                    tracing::info!(%fault, "node api: no feed");
                }
                Err(fault) => tracing::warn!(%fault, "node api: no feed"),
            }
            follower.failures = follower.failures.saturating_add(1);
            let pause = self.pause(follower.failures).as_millis();
            let pause = Span::from_millis(u64::try_from(pause).unwrap_or(u64::MAX));
            world.clock().sleep(pause).await;
        }
    }
}

/// How a feed ended.
enum End {
    /// Another one is to be opened at once.
    Again,
    /// The server closed it.
    Closed,
}

struct Follower<'a, W, F> {
    link: &'a Link,
    world: &'a W,
    on_heard: &'a F,
    /// The next feed is to begin anew.
    anew: bool,
    /// Feeds since the last message.
    failures: u32,
}

impl<W: World, F: Fn(Seq) + Send + Sync> Follower<'_, W, F> {
    /// One feed, from its opening to its end.
    async fn run(&mut self) -> Result<End, PeerFault> {
        self.believe().await?;
        let mut replaced = self.link.presented().changes();
        let session = self.link.session().await?;
        let heard = flow::feed::heard(self.world).await?;
        let mut seq = heard.filter(|_| !self.anew).map_or(0, |feed| feed.seq);
        let mut calls = session.calls.clone();
        let opening = timeout(SILENCE_MAX, calls.feed(wire::FeedRequest { since: seq })).await;
        let opened = opening.map_err(|_| silence())?.map_err(|status| fault(&status))?;
        let mut parts = opened.into_inner();
        loop {
            let next = tokio::select! {
                next = message(&mut parts) => next?,
                // A new credential: the feed goes on over a connection that shows it.
                _ = replaced.changed() => return Ok(End::Again),
            };
            let Some(message) = next else { return Ok(End::Closed) };
            // It is another server, or one that lost what it knew.
            if message.seq.0 < seq && !message.anew {
                self.anew = true;
                return Ok(End::Again);
            }
            seq = message.seq.0;
            let has_rows = !message.rows.is_empty();
            flow::feed::apply(self.world, message).await?;
            (self.anew, self.failures) = (false, 0);
            if has_rows {
                self.believe().await?;
            }
            (self.on_heard)(Seq(seq));
            if !self.link.is_trusted(&session) {
                return Ok(End::Again);
            }
        }
    }

    /// Hands the newest bundles to the link.
    async fn believe(&self) -> Result<(), Unavailable> {
        let rows = self.world.store().snapshot(&[Key::of::<TrustRow>(TrustRow::ID)]).await?;
        if let Some(trust) = rows.get::<TrustRow>(TrustRow::ID)? {
            self.link.trust(&trust.bundles);
        }
        Ok(())
    }
}

/// The next message, put together of its parts; `None` at the end of the feed.
async fn message(parts: &mut Streaming<wire::FeedMessage>) -> Result<Option<Message>, PeerFault> {
    let (mut rows, mut bytes) = (Vec::new(), 0_usize);
    loop {
        let part = timeout(SILENCE_MAX, parts.message()).await.map_err(|_| silence())?;
        let Some(mut part) = part.map_err(|status| fault(&status))? else { return Ok(None) };
        let sent = answered::rows(std::mem::take(&mut part.rows))?;
        let sizes = sent.iter().map(|row| row.bytes.as_ref().map_or(0, Vec::len));
        bytes = sizes.fold(bytes, usize::saturating_add);
        rows.extend(sent);
        if rows.len() > ROWS_MAX || bytes > ROWS_BYTES_MAX {
            return Err(senseless(format!("{} rows, {bytes} bytes in a message", rows.len())));
        }
        if !part.partial {
            return Ok(Some(answered::message(rows, &part)));
        }
    }
}

fn silence() -> Unavailable {
    Unavailable::of("server", "the feed is silent")
}
