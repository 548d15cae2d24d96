//! What a gateway decides, as a trait: everything around the decision is here, the decision is not.

use std::future::Future;
use std::net::SocketAddr;

use hyper::body::Bytes;
use tokio::sync::watch;

use crate::upstream::{Answer, Forward, Upstream, UpstreamFault};

/// What a gateway decides; implemented over flows by the wiring.
pub trait Gate: Send + Sync + 'static {
    /// What an answer was allowed by. It lives exactly as long as the answer is being streamed.
    type Live: Send + Sync + 'static;

    /// One request, its body read whole. Runs to its end even if the client goes away, so that what
    /// was decided and sent is recorded; `onward` then refuses to send.
    fn call(
        &self,
        request: Incoming,
        onward: Onward,
    ) -> impl Future<Output = Outgoing<Self::Live>> + Send;

    /// The metadata (JSON) of the resource whose path stands behind
    /// `/.well-known/oauth-protected-resource` in `path`, which begins with a slash or is empty.
    fn metadata(&self, path: &str) -> Option<Vec<u8>>;

    /// Resolves when what an answer was allowed by holds no longer; the answer is then ended with
    /// an error. Never resolves if that cannot happen.
    fn cut(&self, live: &Self::Live) -> impl Future<Output = Cut> + Send;
}

/// A request that the listener found nothing wrong with. Nothing about its caller is proved yet.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The method.
    pub method: String,
    /// As received: not decoded, without the query.
    pub path: String,
    /// As received, without the question mark.
    pub query: Option<String>,
    /// One of the configured hosts, with its port if it was given, in lower case.
    pub authority: String,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body: what is decided on is what is sent.
    pub body: Bytes,
    /// Where it came from.
    pub peer: SocketAddr,
    /// The chain that the client showed in TLS (DER, leaf first), possession of the leaf's key
    /// proved, nothing else checked. Empty: none.
    pub certificates: Vec<Vec<u8>>,
}

/// What the gate lets out.
#[derive(Debug)]
pub enum Outgoing<L> {
    /// The upstream's answer, for as long as `L` holds.
    Relay(Answer, L),
    /// An answer of the gate's own.
    Reply {
        /// The status.
        status: u16,
        /// Names in lower case.
        headers: Vec<(String, Vec<u8>)>,
        /// The whole body.
        body: Vec<u8>,
    },
}

/// Why an answer that was allowed is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// Token or credential reached its end.
    #[error("what allowed the answer has expired")]
    Expired,
    /// Agent, user, grant or credential was revoked.
    #[error("what allowed the answer was revoked")]
    Revoked,
    /// The revocation feed was lost for longer than its bound.
    #[error("whether what allowed the answer still holds cannot be known")]
    Stale,
}

/// The way to the upstream, for one request: it can be gone once.
#[derive(Debug)]
pub struct Onward {
    upstream: Upstream,
    client: watch::Receiver<()>,
}

impl Onward {
    /// A way that is closed when the sender is dropped: the client went away.
    pub(crate) fn new(upstream: Upstream) -> (Self, watch::Sender<()>) {
        let (sender, client) = watch::channel(());
        (Self { upstream, client }, sender)
    }

    /// Sends a request and waits for the head of its answer. Ends early, and ends the exchange with
    /// the upstream, when the client goes away.
    pub async fn send(mut self, forward: Forward) -> Result<Answer, UpstreamFault> {
        tokio::select! {
            biased;
            // Nothing is ever sent through the channel: it changes only by being closed.
            _ = self.client.changed() => Err(UpstreamFault::ClientGone),
            answer = self.upstream.send(forward) => answer,
        }
    }
}
