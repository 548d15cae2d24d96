//! What the process knows of itself beside its state: given by the wiring.

use flow::watch::Seen;
use provisioning::renewal::Heard;
use serde::{Deserialize, Serialize};
use time::UnixTime;

/// What only the process knows.
pub trait Health: Send + Sync + 'static {
    /// Whether it can serve: otherwise what is missing, in words for operators.
    fn ready(&self) -> Result<(), String>;

    /// Its logs.
    fn logs(&self) -> Vec<LogState>;

    /// Commits that were acknowledged since it started.
    fn durable_commits(&self) -> u64;

    /// Whether its private keys lie sealed on disk.
    fn keys_sealed(&self) -> bool;

    /// The components in this process that follow the server, and when they last heard of it.
    fn feeds(&self) -> Vec<FeedState>;

    /// What this process knows of a host or gateway that joined, by its identifier.
    fn heard(&self, component: &str) -> Option<Heard>;

    /// What the server saw when it last looked over what has to be renewed in time.
    fn seen(&self) -> Option<Seen>;
}

/// How far a log is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// Its name in URLs: `server`.
    pub name: String,
    /// The first entry that is there: those before were cut.
    pub first: u64,
    /// How many entries are durable, those that were cut included.
    pub entries: u64,
    /// How many of them the latest checkpoint covers.
    pub promised: u64,
}

/// How fresh a component's view of the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedState {
    /// The component: `node:host-1`.
    pub component: String,
    /// When it last heard, by its own clock; milliseconds.
    pub heard: UnixTime,
    /// The server's position that it has applied.
    pub seq: u64,
}
