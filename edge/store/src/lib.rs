//! The state of one component: two implementations of `env::Store`. [`Sqlite`] keeps rows in a
//! file for the server; [`Memory`] keeps them as long as the process lives, for the replicas of
//! nodes and gateways, for tests and the simulation. Both give every guarantee of `env::Store`
//! and pass the same tests.
//!
//! In scope: rows, the order of commits, single-use values, the way of a record from a commit to
//! the journal, sweeping. Not here: the journal itself (`edge/log`), what rows mean (`stack`, read
//! through `env::Entity`), feeds to other components (`edge/link`).
//!
//! # Feeds
//!
//! A feed calls `changes` with the position of the page before, from `Seq(0)` on with an empty
//! replica, until `next` is `None`; then it waits with `past`. Positions are even. While a full set
//! is being read the position of a page is odd: more of the set follows. Tombstones are kept for
//! [`TOMBSTONES_KEPT`]; a feed that was away for longer, or that comes from another life of this
//! store, cannot be brought up to date by changes. It gets an empty page at `Seq(0)`: **a position
//! lower than the one it asked from means: drop the replica and start again.**
//!
//! # Trust
//!
//! Whoever can write to the file can make agents and policies up, but cannot sign anything and
//! cannot take a record out of the log unseen. Whoever can read it learns who is registered: the
//! file has mode 0600, and there is no secret in it (join tokens stand there as hashes).

mod change;
mod feed;
mod memory;
mod replay;
mod sqlite;

pub use change::{
    CHANGE_RECORDS_MAX, CHANGE_USES_MAX, CHANGE_WRITES_MAX, ID_BYTES_MAX, PAGE_ROWS_MAX,
    ROW_BYTES_MAX, SNAPSHOT_KEYS_MAX,
};
pub use feed::TOMBSTONES_KEPT;
pub use memory::Memory;
pub use replay::{FORGET_AFTER, SINGLE_USES_MAX};
pub use sqlite::{OpenError, Settings, Sqlite};

/// What a sweep took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Rows past their end: deleted, so that feeds see it.
    pub expired: usize,
    /// Deleted rows that no feed needs any more: gone.
    pub tombstones: usize,
}
