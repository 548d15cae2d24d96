//! A journal for tests: in memory or in a file, with the two faults that there are.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{Read, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};

use env::{Journal, Sealed, Unavailable};
use monitoring::{Record, RecordId};

/// What goes wrong with the next appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Failed, and not written.
    NotWritten,
    /// Failed, but written.
    Written,
}

/// Entries in the order in which they came.
#[derive(Default)]
pub(crate) struct Tape {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    records: Vec<Record>,
    ids: HashSet<RecordId>,
    fault: Option<Fault>,
    file: Option<File>,
}

impl Tape {
    /// A tape that a killed process leaves behind: what was written is in the page cache. A line
    /// that was cut is cut off.
    pub(crate) fn in_file(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).append(true);
        let mut file = options.open(path).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).unwrap();
        let records: Vec<Record> =
            text[..whole].lines().map(|line| Record::decode(line.as_bytes()).unwrap()).collect();
        let ids = records.iter().map(|record| record.id).collect();
        Self { inner: Mutex::new(Inner { records, ids, fault: None, file: Some(file) }) }
    }

    /// From now on every append fails so; `None` ends it.
    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// What was appended, in order.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// How often each record stands in it.
    pub(crate) fn count(&self, id: RecordId) -> usize {
        self.lock().records.iter().filter(|record| record.id == id).count()
    }

    /// The records by what they say that they did.
    pub(crate) fn by_action(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for record in self.records() {
            *counts.entry(record.action).or_default() += 1;
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Journal for Tape {
    fn append(
        &self,
        entries: Vec<Sealed>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Unavailable>> + Send + '_>> {
        Box::pin(async move {
            // Others run in between, as with a real one.
            tokio::task::yield_now().await;
            let mut inner = self.lock();
            let down = || Err(Unavailable::of("log", "the test says so"));
            if inner.fault == Some(Fault::NotWritten) {
                return down();
            }
            let mut lines = Vec::new();
            for entry in entries {
                if inner.ids.insert(entry.id) {
                    inner.records.push(Record::decode(&entry.bytes).unwrap());
                    lines.extend_from_slice(&entry.bytes);
                    lines.push(b'\n');
                }
            }
            if let Some(file) = &mut inner.file {
                file.write_all(&lines).unwrap();
            }
            if inner.fault == Some(Fault::Written) { down() } else { Ok(()) }
        })
    }
}
