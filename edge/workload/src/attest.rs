//! Who is at the other end of the socket: a question that this crate asks and does not answer.

use std::future::Future;

use tokio::net::UnixStream;

/// Tells which process connected. The answer travels with every request of the connection.
// Workload Endpoint §5: "the SPIFFE Workload Endpoint MUST NOT require any direct authentication of
// its clients. In place of direct client authentication, implementers SHOULD perform out-of-band
// authenticity checks."
pub trait Attest: Send + Sync + 'static {
    /// A process, held so that its id cannot be reused unnoticed.
    type Peer: Send + Sync + Clone + 'static;

    /// The process that connected, or why it cannot be told (for the operator's log). It is asked
    /// once a connection and must not block for long; what the process runs is measured later.
    fn identify(&self, stream: &UnixStream) -> Result<Self::Peer, String>;

    /// The process id, by which its connections and calls are counted.
    fn process(&self, peer: &Self::Peer) -> i32;

    /// Ends when the process has exited, or when that can no longer be found out. What was opened
    /// by it ends then: whoever else holds the connection did not open it.
    fn exited(&self, peer: &Self::Peer) -> impl Future<Output = ()> + Send + 'static;
}
