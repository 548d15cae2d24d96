//! What goes into the log and what comes out of it.

use time::UnixTime;

/// The name of an index term, like `Term("root")`. Names are the caller's; the log only compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term(pub &'static str);

/// Something to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A UUIDv7: names the entry and makes a repeated [`AppendMode::Once`] harmless.
    pub id: [u8; 16],
    /// What the tree commits to; opaque here, at most [`tlog::ENTRY_BYTES_MAX`] bytes.
    pub bytes: Vec<u8>,
    /// What the entry can be found by. Not covered by the tree: whoever relies on a term reads it
    /// from `bytes`.
    pub terms: Vec<(Term, String)>,
    pub time: UnixTime,
}

/// Something that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub index: u64,
    pub id: [u8; 16],
    pub time: UnixTime,
    pub terms: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

/// What an id that is already in the log means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendMode {
    /// Nobody looks: ids are new.
    Always,
    /// The same entry again: its index is returned and nothing is written. For outboxes, which
    /// repeat what they are not sure of.
    Once,
}

/// Why entries were not appended. After [`AppendError::Stopped`] they may still be in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the log has more to write than it can take")]
    Busy,
    #[error("the log has stopped: {reason}")]
    Stopped { reason: String },
    #[error("the log is closed")]
    Closed,
    #[error("an entry of {bytes} bytes, where {max} are the most")]
    EntryTooLong { bytes: usize, max: usize },
    #[error("an entry with {terms} terms, where {max} are the most")]
    TooManyTerms { terms: usize, max: usize },
    #[error("a value of `{term}` of {bytes} bytes, where {max} are the most")]
    TermTooLong { term: &'static str, bytes: usize, max: usize },
    #[error("an append of {bytes} bytes, where {max} are the most")]
    AppendTooLong { bytes: usize, max: usize },
    #[error("could not look whether the id is there: {reason}")]
    Unreadable { reason: String },
    #[error("entry {index} has this id and other contents")]
    IdTaken { index: u64 },
}
