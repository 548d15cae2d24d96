//! The one thread that writes: it takes what waits, makes it one transaction, gives the records to
//! the journal, and only then answers.

use std::sync::Arc;
use std::time::Duration;

use env::{CommitFault, Receipt, Row, Sealed, Seq, SingleUse, Unavailable};
use monitoring::RecordId;
use rusqlite::{Connection, TransactionBehavior};
use time::UnixTime;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::rows::{self, unavailable};
use crate::Swept;
use crate::change::{self, Prepared};
use crate::feed;

/// The most changes of one transaction.
const BATCH_CHANGES_MAX: usize = 1_024;
/// The most changes that wait; those who come later wait for a place.
pub(super) const QUEUE_CHANGES_MAX: usize = 4_096;
/// The most rows that one step of a sweep takes, so that commits come between.
const SWEEP_ROWS_MAX: usize = 1_000;
/// How long after the journal failed its records are offered again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What callers ask of the thread.
pub(super) enum Job {
    Commit(Prepared, Answer),
    /// One step of a sweep.
    Sweep(UnixTime, oneshot::Sender<Result<Step, Unavailable>>),
}

pub(super) type Answer = oneshot::Sender<Result<Receipt, CommitFault>>;

/// What one step of a sweep did.
pub(super) struct Step {
    pub(super) swept: Swept,
    pub(super) has_more: bool,
}

pub(super) struct Committer {
    db: Connection,
    shared: Arc<Shared>,
    /// The journal's futures run here: the thread has nothing else to do meanwhile.
    runtime: Runtime,
    seq: Seq,
    outbox: Outbox,
}

/// Entries of committed changes on their way into the log.
///
/// INVARIANT: an entry is in the file from the commit of its change until the log has it; entries
/// up to `logged` are in the log. While `is_behind` no change is committed, so that the log has
/// the records of changes in the order of the changes.
struct Outbox {
    last: u64,
    logged: u64,
    released: u64,
    is_behind: bool,
}

impl Committer {
    /// Takes over the database; nothing is written yet.
    pub(super) fn new(db: Connection, shared: Arc<Shared>, runtime: Runtime, seq: Seq) -> Self {
        let outbox = Outbox { last: 0, logged: 0, released: 0, is_behind: true };
        Self { db, shared, runtime, seq, outbox }
    }

    /// Puts into the log what an earlier process committed and may not have put there.
    pub(super) fn start(&mut self) -> Result<(), Unavailable> {
        let kept = rows::kept(&self.db, 0).map_err(unavailable)?;
        // The tail of the log, from which single-use values are restored, may have been read
        // before these entries were in it.
        let uses = kept.iter().flat_map(|(_, _, record)| change::uses_of(record));
        self.shared.replay.restore(uses)?;
        self.catch_up()
    }

    /// Works until the last caller is gone.
    pub(super) fn run(&mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = Vec::with_capacity(BATCH_CHANGES_MAX);
        while self.gather(&mut jobs, &mut waiting) {
            let mut batch = Vec::with_capacity(waiting.len());
            let mut sweeps = Vec::new();
            for job in waiting.drain(..) {
                match job {
                    Job::Commit(prepared, answer) => batch.push((prepared, answer)),
                    Job::Sweep(now, answer) => sweeps.push((now, answer)),
                }
            }
            self.commit(batch);
            for (now, answer) in sweeps {
                let _ = answer.send(self.sweep(now));
            }
        }
    }

    /// Takes out of the outbox what the log has, and gives the connection back.
    pub(super) fn close(self) -> Connection {
        if self.outbox.logged > self.outbox.released
            && let Err(error) = rows::release(&self.db, self.outbox.logged)
        {
            tracing::warn!(%error, "entries stay in the outbox; the log knows them by their ids");
        }
        self.db
    }

    /// Waits for jobs; while the journal is behind, offers it its records meanwhile.
    fn gather(&mut self, jobs: &mut mpsc::Receiver<Job>, waiting: &mut Vec<Job>) -> bool {
        loop {
            let some = jobs.recv_many(waiting, BATCH_CHANGES_MAX);
            let count = if self.outbox.is_behind {
                self.runtime.block_on(async { tokio::time::timeout(RETRY_AFTER, some).await })
            } else {
                Ok(self.runtime.block_on(some))
            };
            match count {
                Ok(count) => return count > 0,
                Err(_) => drop(self.catch_up()),
            }
        }
    }

    fn commit(&mut self, batch: Vec<(Prepared, Answer)>) {
        if batch.is_empty() {
            return;
        }
        let (changes, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let mut taken = Vec::new();
        let done = self.catch_up().and_then(|()| {
            self.write(changes, &mut taken).map_err(|error| {
                let before = self.seq;
                // INVARIANT: each change that is written moves the position of the store.
                if self.recover(&error) == Some(before) {
                    self.shared.replay.give_back(&taken);
                }
                unavailable(error)
            })
        });
        match done {
            Ok(written) => self.finish(written, answers),
            Err(fault) => {
                for answer in answers {
                    let _ = answer.send(Err(fault.clone().into()));
                }
            }
        }
    }

    /// One transaction for all of `batch`; each change whole or not at all.
    fn write(
        &mut self,
        batch: Vec<Prepared>,
        taken: &mut Vec<SingleUse>,
    ) -> rusqlite::Result<Written> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.outbox.logged > self.outbox.released {
            rows::release(&tx, self.outbox.logged)?;
        }
        let mut written = Written::after(self.seq, self.outbox.last);
        for prepared in batch {
            let outcome = apply(&tx, &self.shared, prepared, &mut written, taken)?;
            written.outcomes.push(outcome);
        }
        if written.seq != self.seq {
            rows::set_reached(&tx, written.seq)?;
        }
        tx.commit()?;
        self.outbox.released = self.outbox.logged;
        Ok(written)
    }

    /// Shows what was committed, has its records logged, and answers.
    fn finish(&mut self, written: Written, answers: Vec<Answer>) {
        let Written { seq, last, rows, entries, outcomes } = written;
        self.show(seq, rows);
        self.outbox.last = last;
        let logged = if entries.is_empty() {
            Ok(())
        } else {
            self.runtime.block_on(self.shared.journal.append(entries))
        };
        match &logged {
            Ok(()) => self.outbox.logged = last,
            Err(error) => {
                tracing::error!(%error, "the log does not answer: no changes until it does");
                self.outbox.is_behind = true;
            }
        }
        for (outcome, answer) in outcomes.into_iter().zip(answers) {
            let outcome = outcome.and_then(|ids| match &logged {
                Err(error) if !ids.is_empty() => Err(error.clone().into()),
                _ => Ok(change::receipt(ids)),
            });
            // Who asked may have gone; the change is made all the same.
            let _ = answer.send(outcome);
        }
    }

    fn show(&mut self, seq: Seq, rows: Vec<Arc<Row>>) {
        self.seq = seq;
        self.shared.cache.publish(seq, rows);
        self.shared.reached.send_replace(seq);
    }

    /// Gives the journal what it did not take before.
    fn catch_up(&mut self) -> Result<(), Unavailable> {
        if !self.outbox.is_behind {
            return Ok(());
        }
        let kept = rows::kept(&self.db, self.outbox.logged).map_err(unavailable)?;
        let last = kept.last().map_or(self.outbox.last, |(n, _, _)| *n);
        let entries: Vec<Sealed> = kept
            .into_iter()
            .map(|(_, bytes, record)| Sealed { bytes, ..Sealed::from(&record) })
            .collect();
        if !entries.is_empty() {
            self.runtime.block_on(self.shared.journal.append(entries))?;
        }
        self.outbox.last = self.outbox.last.max(last);
        self.outbox.logged = self.outbox.last;
        self.outbox.is_behind = false;
        Ok(())
    }

    /// After a failed transaction: what stands in the file is what counts. Its position, where
    /// that reads.
    fn recover(&mut self, error: &rusqlite::Error) -> Option<Seq> {
        tracing::error!(%error, "a commit failed; nothing of it was done");
        self.outbox.is_behind = true;
        match rows::reached(&self.db) {
            Ok(seq) => {
                self.shared.cache.reset(seq);
                self.show(seq, Vec::new());
                Some(seq)
            }
            Err(error) => {
                tracing::error!(%error, "the position of the store does not read");
                None
            }
        }
    }

    fn sweep(&mut self, now: UnixTime) -> Result<Step, Unavailable> {
        self.shared.replay.forget(now);
        let (seq, rows, step) = self.write_sweep(now).map_err(|error| {
            self.recover(&error);
            unavailable(error)
        })?;
        self.show(seq, rows);
        Ok(step)
    }

    fn write_sweep(&mut self, now: UnixTime) -> rusqlite::Result<(Seq, Vec<Arc<Row>>, Step)> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let ended = rows::ended(&tx, now, SWEEP_ROWS_MAX)?;
        let seq = if ended.is_empty() { self.seq } else { feed::next(self.seq) };
        let mut dead = Vec::with_capacity(ended.len());
        for key in ended {
            let (found, terms) = rows::find(&tx, &key)?;
            let (bytes, expires, expect) = (None, None, env::Expect::Any);
            let write = env::Write { key, expect, bytes, terms: Vec::new(), expires };
            dead.push(rows::put(&tx, write, found.version.saturating_add(1), seq, &terms)?);
        }
        let before = rows::marks(&tx)?;
        let mut marks = before.clone();
        marks.note(seq, now);
        let tombstones = rows::bury(&tx, marks.horizon(), SWEEP_ROWS_MAX)?;
        if marks != before {
            rows::set_marks(&tx, &marks)?;
        }
        if seq != self.seq {
            rows::set_reached(&tx, seq)?;
        }
        tx.commit()?;
        let expired = dead.len();
        let has_more = expired == SWEEP_ROWS_MAX || tombstones == SWEEP_ROWS_MAX;
        Ok((seq, dead, Step { swept: Swept { expired, tombstones }, has_more }))
    }
}

/// What a transaction did, before it is shown.
struct Written {
    seq: Seq,
    /// The number of the last entry in the outbox.
    last: u64,
    rows: Vec<Arc<Row>>,
    entries: Vec<Sealed>,
    outcomes: Vec<Result<Vec<RecordId>, CommitFault>>,
}

impl Written {
    fn after(seq: Seq, last: u64) -> Self {
        Self { seq, last, rows: Vec::new(), entries: Vec::new(), outcomes: Vec::new() }
    }
}

/// One change: all expectations, then the single-use values, then the writes. The outer error
/// fails the whole transaction; `taken` are the values that were used up by then.
fn apply(
    db: &Connection,
    shared: &Shared,
    prepared: Prepared,
    written: &mut Written,
    taken: &mut Vec<SingleUse>,
) -> rusqlite::Result<Result<Vec<RecordId>, CommitFault>> {
    let Prepared { writes, uses, entries, ids, now } = prepared;
    let mut found = Vec::with_capacity(writes.len());
    for write in &writes {
        let (state, terms) = rows::find(db, &write.key)?;
        if let Err(conflict) = change::expected(write, state) {
            return Ok(Err(conflict));
        }
        found.push((state, terms));
    }
    if let Err(fault) = shared.replay.take(&uses, now) {
        return Ok(Err(fault));
    }
    taken.extend(uses);
    written.seq = feed::next(written.seq);
    for (write, (state, terms)) in writes.into_iter().zip(found) {
        if change::has_effect(&write, state) {
            let version = state.version.saturating_add(1);
            written.rows.push(rows::put(db, write, version, written.seq, &terms)?);
        }
    }
    for entry in entries {
        written.last = written.last.saturating_add(1);
        rows::keep(db, written.last, &entry.bytes)?;
        written.entries.push(entry);
    }
    Ok(Ok(ids))
}
