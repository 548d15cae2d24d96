//! The doors to the world: everything that a flow may ask of the outside, and nothing else
//! (see docs/style.md §1, and <https://datatracker.ietf.org/doc/draft-klrc-aiagent-auth/> for the
//! system that stands behind them).
//!
//! In scope: the traits, the values that cross them, and what an implementation guarantees. Not
//! here: any implementation; the real ones live in `edge/`, the simulated ones in `testkit/`.

pub use credential::{CannotMake, Purpose};

mod clock;
mod journal;
mod keys;
mod outside;
mod peers;
mod platforms;
mod published;
pub mod rows;
mod store;
mod superior;

pub use clock::{Clock, Entropy, Newest};
pub use journal::{Appending, Journal, Receipt, Recorded, Sealed};
pub use keys::{Handle, KeyFault, Keys};
pub use outside::{Asks, Outbound, Outside, Reach, Replying, SharedSecret};
pub use peers::{
    AssignedCredential, Delegation, IssueKind, IssueOrder, PeerFault, Peers, RenewOrder, Renewed,
};
pub use platforms::{Asking, Platforms};
pub use published::{NotRead, Page as PublishedPage, Published, Reading, Wanted};
pub use store::{
    Change, CommitFault, Entity, Expect, Index, Key, Page, Row, Seq, SingleUse, Snapshot, Store,
    Stored, Table, Unreadable, Write,
};
pub use superior::{
    Answering, Superior, SuperiorAnswer, SuperiorFault, SuperiorKey, SuperiorOrder, SuperiorTrust,
};

use monitoring::Component;

/// Nothing can be answered just now: the store, the log or a key did not answer. The one error
/// that a flow may end with; refusals are outcomes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} is unavailable: {why}")]
pub struct Unavailable {
    /// Which door failed: `store`, `log`, `keys`, `server`.
    pub part: &'static str,
    /// What it said, for the operator only.
    pub why: String,
}

impl Unavailable {
    /// The door that failed and what it said.
    pub fn of(part: &'static str, why: impl std::fmt::Display) -> Self {
        Self { part, why: why.to_string() }
    }
}

/// The world a flow runs in: one type parameter for all doors.
pub trait World: Send + Sync + 'static {
    /// State and record, in one commit.
    type Store: Store;
    /// Private keys.
    type Keys: Keys;
    /// Time.
    type Clock: Clock;
    /// Randomness.
    type Entropy: Entropy;
    /// Our own other components.
    type Peers: Peers;

    /// State and record.
    fn store(&self) -> &Self::Store;
    /// Private keys.
    fn keys(&self) -> &Self::Keys;
    /// Time.
    fn clock(&self) -> &Self::Clock;
    /// Randomness.
    fn entropy(&self) -> &Self::Entropy;
    /// Our own other components.
    fn peers(&self) -> &Self::Peers;
    /// Whom a verifier of evidence may ask; `None` where there is no client for that.
    fn platforms(&self) -> Option<&dyn Platforms> {
        None
    }
    /// What clients publish about themselves; `None` where there is no client for that.
    fn published(&self) -> Option<&dyn Published> {
        None
    }
    /// Whom people sign in by, and who is told that they left; `None` where there is no client for
    /// that.
    fn outside(&self) -> Option<&dyn Outside> {
        None
    }
    /// The authority above our X.509 authority; `None` where that signs for itself.
    fn superior(&self) -> Option<&dyn Superior> {
        None
    }
    /// Who writes the records here.
    fn component(&self) -> &Component;
    /// Where this installation is reached: settings that are neither policy nor state.
    fn site(&self) -> &Site;
}

/// Where an installation is reached, as its configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The issuer identifier of the authorization server: an https URL without a trailing slash.
    pub issuer: String,
    /// The mutual TLS origin of the server (RFC 8705 §5 aliases).
    pub mtls_origin: String,
    /// The base URL of the gateway: audiences of resources without one of their own begin so.
    pub gateway: String,
}
