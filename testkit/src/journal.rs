//! A log in memory that keeps every record.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use env::{Appending, Journal, Newest, Sealed, Unavailable};
use monitoring::{Event, Record, RecordId};

use crate::faults::{Fault, Faults};
use crate::sim::Sim;

/// The log of one component: it outlives restarts. A clone is the same log.
#[derive(Clone)]
pub struct SimJournal {
    sim: Sim,
    faults: Faults,
    newest: Arc<Newest>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    records: Vec<Record>,
    ids: HashSet<RecordId>,
}

impl SimJournal {
    /// An empty log.
    pub fn new(sim: &Sim) -> Self {
        let faults = Faults::new(sim.rng());
        Self { sim: sim.clone(), faults, newest: Arc::default(), inner: Arc::default() }
    }

    /// The newest time in it, for the clock.
    pub(crate) fn newest(&self) -> Arc<Newest> {
        Arc::clone(&self.newest)
    }

    /// What goes wrong with it.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Every record, in order.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// The records after the first `count`.
    pub fn after(&self, count: usize) -> Vec<Record> {
        self.lock().records.iter().skip(count).cloned().collect()
    }

    /// The records of one event.
    pub fn of(&self, event: Event) -> Vec<Record> {
        self.lock().records.iter().filter(|record| record.event == event).cloned().collect()
    }

    /// The record of that id.
    pub fn find(&self, id: RecordId) -> Option<Record> {
        self.lock().records.iter().rev().find(|record| record.id == id).cloned()
    }

    /// The newest record.
    pub fn last(&self) -> Option<Record> {
        self.lock().records.last().cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends at once.
    pub(crate) fn write(&self, entries: &[Sealed]) -> Result<(), Unavailable> {
        if entries.is_empty() {
            return Ok(());
        }
        let failed = || Err(Unavailable::of("log", "a simulated fault"));
        match self.faults.of_write() {
            Some(Fault::Lost) => failed(),
            Some(Fault::WrittenAnyway) => {
                self.keep(entries);
                failed()
            }
            Some(Fault::Overtaken) | None => {
                self.keep(entries);
                Ok(())
            }
        }
    }

    /// Entries whose id is there already are not written again. What does not read back is a defect
    /// of the record, and is seen here.
    #[expect(clippy::expect_used, reason = "a record that does not read back fails the test")]
    fn keep(&self, entries: &[Sealed]) {
        let mut inner = self.lock();
        for entry in entries {
            if inner.ids.insert(entry.id) {
                let record = Record::decode(&entry.bytes).expect("a record reads back");
                self.newest.note(record.time);
                inner.records.push(record);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for SimJournal {
    fn append(&self, entries: Vec<Sealed>) -> Appending<'_> {
        Box::pin(async move {
            self.sim.pause().await;
            let end = self.write(&entries);
            self.sim.pause().await;
            end
        })
    }
}
