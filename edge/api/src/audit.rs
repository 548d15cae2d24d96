//! The audit logs as operators read them: a door that the wiring opens, since the logs live in
//! another crate of the edge.

use std::future::Future;
use std::pin::Pin;

use monitoring::record::Term;
use time::UnixTime;

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// No log of that name.
    #[error("no log `{log}`; there are {known}")]
    NoLog {
        /// The name asked for.
        log: String,
        /// Those there are.
        known: String,
    },
    /// The log does not reach so far.
    #[error("entry {index} is not in a log of {size} entries")]
    NoEntry {
        /// What was asked for.
        index: u64,
        /// How long the log is.
        size: u64,
    },
    /// The entry is older than policy keeps.
    #[error("entry {index} was cut off: the log begins with entry {minimum}")]
    Cut {
        /// What was asked for.
        index: u64,
        /// The first entry that is there.
        minimum: u64,
    },
    /// No checkpoint covers the entry.
    #[error("no checkpoint covers entry {index} yet")]
    NotYet {
        /// The entry.
        index: u64,
    },
    /// Files that do not read.
    #[error("the log does not read: {why}")]
    Unreadable {
        /// What they said.
        why: String,
    },
}

/// An entry of a log, as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub index: u64,
    /// What `monitoring::Record` encoded.
    pub bytes: Vec<u8>,
}

/// A future behind a pointer: the logs are held as `dyn`.
pub type Growing<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// The logs of this process. The methods that read may block on files; they are called where that
/// is allowed. Whoever can change the files can make old records vanish from here, not from
/// `aims audit verify`.
pub trait Audit: Send + Sync + 'static {
    /// Their names; the server's own first.
    fn logs(&self) -> Vec<String>;

    /// How many entries are durable.
    fn size(&self, log: &str) -> Result<u64, AuditFault>;

    /// The first entry that is there: those before were cut.
    fn first(&self, log: &str) -> Result<u64, AuditFault>;

    /// The record of the last cut, if there was one.
    fn record_of_cut(&self, log: &str) -> Result<Option<Entry>, AuditFault>;

    /// Entries from `from` on, at most `limit`, fewer where the log ends.
    fn read(&self, log: &str, from: u64, limit: usize) -> Result<Vec<Entry>, AuditFault>;

    /// The first entry of `time` or later, or the size of the log.
    fn since(&self, log: &str, time: UnixTime) -> Result<u64, AuditFault>;

    /// The entry of the record with these sixteen bytes of id.
    fn by_id(&self, log: &str, id: &[u8; 16]) -> Result<Option<Entry>, AuditFault>;

    /// Entries with a term, ascending, beyond `after` if given, at most `limit`.
    fn by_term(
        &self,
        log: &str,
        term: Term,
        value: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Entry>, AuditFault>;

    /// A `c2sp.org/tlog-proof@v1` file that the entry is in the log.
    fn proof(&self, log: &str, index: u64) -> Result<String, AuditFault>;

    /// Ends with true when the log has more than `size` entries, with false when it is closed.
    fn grown(&self, log: &str, size: u64) -> Growing<'_>;
}
