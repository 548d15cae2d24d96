//! The audit log as the store sees it, and the proof that a record is durable.

use std::future::Future;
use std::pin::Pin;

use monitoring::{Record, RecordId};
use time::UnixTime;

use crate::Unavailable;

/// A record in the form that goes into the log.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Its identity: appending it a second time is appending it once.
    pub id: RecordId,
    /// When it was made.
    pub time: UnixTime,
    /// The entry.
    pub bytes: Vec<u8>,
    /// What it is found by.
    pub terms: Vec<(&'static str, String)>,
}

impl From<&Record> for Sealed {
    fn from(record: &Record) -> Self {
        let terms = record.terms().into_iter().map(|(term, value)| (term.name(), value)).collect();
        Self { id: record.id, time: record.time, bytes: record.encode(), terms }
    }
}

/// A future behind a pointer: the journal is held as `dyn`.
pub type Appending<'a> = Pin<Box<dyn Future<Output = Result<(), Unavailable>> + Send + 'a>>;

/// Where a store puts the records of its commits.
///
/// Contract: when `append` answers `Ok`, every entry is durable, in order, and found by its terms;
/// entries whose id is in the log already are not written again. When it answers `Unavailable`,
/// each entry may or may not have been written; after a restart it is one of the two for good.
pub trait Journal: Send + Sync + 'static {
    /// Writes the entries and makes them durable.
    fn append(&self, entries: Vec<Sealed>) -> Appending<'_>;
}

/// The store's word that a commit is durable, its records among it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    records: Vec<RecordId>,
}

impl Receipt {
    /// Made by a store, after its commit is durable, and by nothing else (`law` lists the uses).
    pub fn assertion(records: Vec<RecordId>) -> Self {
        Self { records }
    }

    /// The records that the commit made durable.
    pub fn records(&self) -> &[RecordId] {
        &self.records
    }
}

/// A value whose audit record is durable: the one thing that an edge can answer with.
#[derive(Clone, Debug)]
pub struct Recorded<T> {
    value: T,
    id: Option<RecordId>,
}

impl<T> Recorded<T> {
    /// The value may leave, for its commit is durable.
    pub fn new(value: T, receipt: &Receipt) -> Self {
        Self { value, id: receipt.records.first().copied() }
    }

    /// The first record of the commit: the audit id that a person is shown.
    pub fn audit_id(&self) -> Option<RecordId> {
        self.id
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, released.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The same record stands behind what is made of the value.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Recorded<U> {
        Recorded { value: make(self.value), id: self.id }
    }
}
