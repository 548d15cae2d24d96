//! The one thread that writes entries: it takes what is queued, writes it with one sync, then
//! answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use tlog::Hash;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::core::{Batch, Core};
use crate::disk::Disk;
use crate::entry::{AppendError, AppendMode};
use crate::frame;
use crate::segment::{self, HEADER_BYTES, Segment};

/// Entries that are synced together.
const BATCH_ENTRIES_MAX: usize = 8_192;
/// Bytes that are synced together, before the last append that is taken.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An entry whose frame lacks its number only.
pub(crate) struct Prepared {
    pub(crate) id: [u8; 16],
    pub(crate) leaf: Hash,
    pub(crate) frame: Vec<u8>,
}

pub(crate) struct Job {
    pub(crate) entries: Vec<Prepared>,
    pub(crate) mode: AppendMode,
    pub(crate) reply: oneshot::Sender<Result<Vec<u64>, AppendError>>,
    /// Its share of the queue, given back when it is answered.
    pub(crate) _room: OwnedSemaphorePermit,
}

pub(crate) enum Message {
    Append(Job),
    Close,
}

pub(crate) struct Writer {
    pub(crate) core: Arc<Core>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) queue: Receiver<Message>,
    pub(crate) segment: Arc<Segment>,
    pub(crate) segment_bytes: u64,
    /// Where the next batch goes.
    pub(crate) offset: u64,
    pub(crate) next: u64,
}

impl Writer {
    /// Runs until the log is closed, dropped or stopped.
    pub(crate) fn run(mut self) {
        loop {
            let (jobs, open) = self.take();
            let written = self.write(jobs);
            if let Err(reason) = &written {
                self.core.stop(reason);
            }
            if !open || written.is_err() {
                break;
            }
        }
        self.core.end();
        self.refuse_rest();
    }

    /// What is queued, at least one append; false when no more will come.
    fn take(&self) -> (Vec<Job>, bool) {
        let mut jobs = Vec::new();
        let (mut entries, mut bytes) = (0, 0);
        let mut message = self.queue.recv().map_err(|_| TryRecvError::Disconnected);
        loop {
            match message {
                Ok(Message::Append(job)) => {
                    entries += job.entries.len();
                    bytes += job.entries.iter().map(|entry| entry.frame.len()).sum::<usize>();
                    jobs.push(job);
                    if entries >= BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX {
                        return (jobs, true);
                    }
                    message = self.queue.try_recv();
                }
                Err(TryRecvError::Empty) => return (jobs, true),
                Ok(Message::Close) | Err(TryRecvError::Disconnected) => return (jobs, false),
            }
        }
    }

    /// Writes one batch and answers. `Err` says why the log must stop: after a failed sync nobody
    /// knows what is on the disk, and a second one would tell nothing.
    fn write(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        let stopped = |reason: &String| AppendError::Stopped { reason: reason.clone() };
        let mut draft = Draft { first: self.next, entries: Vec::new(), ids: HashMap::new() };
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            let answer = self.place(&mut draft, job.entries, job.mode);
            answers.push((job.reply, answer, job._room));
        }
        let written = self.commit(draft);
        for (reply, answer, _room) in answers {
            let answer = match &written {
                Ok(()) => answer,
                Err(reason) => Err(stopped(reason)),
            };
            // Who no longer waits does not want to know; the entry is in the log all the same.
            let _ = reply.send(answer);
        }
        written
    }

    /// Gives the entries of one append their indices, all or none.
    fn place(
        &self,
        draft: &mut Draft,
        entries: Vec<Prepared>,
        mode: AppendMode,
    ) -> Result<Vec<u64>, AppendError> {
        if mode == AppendMode::Always {
            return Ok(entries.into_iter().map(|entry| draft.add(entry)).collect());
        }
        let before = draft.entries.len();
        let mut placed = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.find(draft, &entry) {
                Ok(Some(at)) => placed.push(at),
                Ok(None) => placed.push(draft.add(entry)),
                Err(refused) => {
                    draft.truncate(before);
                    return Err(refused);
                }
            }
        }
        Ok(placed)
    }

    /// The entry with this id, if it is in the log or in this batch.
    fn find(&self, draft: &Draft, entry: &Prepared) -> Result<Option<u64>, AppendError> {
        if let Some(at) = draft.ids.get(&entry.id) {
            let leaf = draft.leaf(*at);
            return same(*at, leaf, &entry.leaf).map(Some);
        }
        let at = self.core.by_id(&entry.id).map_err(|error| unreadable(&error))?;
        let Some(at) = at else { return Ok(None) };
        let leaf = crate::query::leaf(&self.core, at).map_err(|error| unreadable(&error))?;
        same(at, Some(leaf), &entry.leaf).map(Some)
    }

    fn commit(&mut self, draft: Draft) -> Result<(), String> {
        if draft.entries.is_empty() {
            return Ok(());
        }
        self.core.wait_for_room()?;
        let length: usize = draft.entries.iter().map(|entry| entry.frame.len()).sum();
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        // A batch never spans two segments, so that a torn one is at the end of the last.
        if self.offset > HEADER_BYTES as u64 && self.offset + length > self.segment_bytes {
            self.enter_segment().map_err(|error| failed("make a segment", &error))?;
        }
        let batch = draft.number(self.segment.first, self.offset, self.segment.salt);
        let end = self.offset + length;
        let write = || {
            self.segment.allocate_to(&*self.disk, end)?;
            self.disk.write_at(&self.segment.file, &batch.frames, self.offset)?;
            self.disk.sync(&self.segment.file)
        };
        write().map_err(|error| failed("write entries", &error))?;
        self.offset = end;
        self.next = batch.end();
        self.core.show(batch);
        Ok(())
    }

    fn enter_segment(&mut self) -> std::io::Result<()> {
        let segment = Segment::create(&*self.disk, &self.core.dir, self.next, self.segment_bytes)?;
        self.segment = Arc::new(segment);
        self.offset = segment::HEADER_BYTES as u64;
        self.core.enter(&self.segment, self.offset);
        Ok(())
    }

    /// Answers what came too late.
    fn refuse_rest(&self) {
        let reason = self.core.state().stopped.clone();
        while let Ok(message) = self.queue.try_recv() {
            let Message::Append(job) = message else { continue };
            let refused = match &reason {
                Some(reason) => AppendError::Stopped { reason: reason.clone() },
                None => AppendError::Closed,
            };
            let _ = job.reply.send(Err(refused));
        }
    }
}

/// Entries that are about to become a batch.
struct Draft {
    first: u64,
    entries: Vec<Prepared>,
    ids: HashMap<[u8; 16], u64>,
}

impl Draft {
    fn add(&mut self, entry: Prepared) -> u64 {
        let at = self.first + u64::try_from(self.entries.len()).unwrap_or(0);
        self.ids.entry(entry.id).or_insert(at);
        self.entries.push(entry);
        at
    }

    fn truncate(&mut self, length: usize) {
        self.entries.truncate(length);
        let end = self.first + u64::try_from(length).unwrap_or(0);
        self.ids.retain(|_, at| *at < end);
    }

    fn leaf(&self, at: u64) -> Option<Hash> {
        let place = usize::try_from(at.checked_sub(self.first)?).ok()?;
        self.entries.get(place).map(|entry| entry.leaf)
    }

    fn number(self, segment: u64, offset: u64, salt: u32) -> Batch {
        let length = self.entries.iter().map(|entry| entry.frame.len()).sum();
        let mut frames = Vec::with_capacity(length);
        let mut starts = Vec::with_capacity(self.entries.len());
        for ((entry, at), place) in self.entries.iter().zip(self.first..).zip(0..) {
            starts.push(frames.len());
            frame::number(&mut frames, &entry.frame, salt, at, place);
        }
        let (leaves, ids) = self.entries.iter().map(|entry| (entry.leaf, entry.id)).unzip();
        Batch { first: self.first, segment, offset, salt, frames, starts, leaves, ids }
    }
}

/// An id names one entry only.
fn same(at: u64, found: Option<Hash>, wanted: &Hash) -> Result<u64, AppendError> {
    if found.as_ref() == Some(wanted) { Ok(at) } else { Err(AppendError::IdTaken { index: at }) }
}

fn unreadable(error: &dyn std::fmt::Display) -> AppendError {
    AppendError::Unreadable { reason: error.to_string() }
}

fn failed(what: &str, error: &std::io::Error) -> String {
    format!("could not {what}: {error}")
}
