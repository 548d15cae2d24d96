//! The second thread: tiles, index and checkpoints, written behind what is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tlog::{Hash, TILE_WIDTH};

use crate::core::{Batch, Core};
use crate::disk::Disk;
use crate::frame::Frame;
use crate::index::{Index, Rows};
use crate::promise::{Notary, PromiseError};
use crate::tree::Tree;

/// How long entries gather before they are indexed: a transaction has its price.
const GATHER: Duration = Duration::from_millis(20);
/// Entries that are indexed in one transaction.
const ROUND_ENTRIES_MAX: usize = 8_192;

pub(crate) struct Keeper {
    pub(crate) core: Arc<Core>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) tree: Tree,
    pub(crate) index: Index,
    pub(crate) notary: Notary,
    pub(crate) checkpoint_every: Duration,
    pub(crate) segment_bytes: u64,
    /// The segment of the last entry that was kept, by its first entry.
    pub(crate) segment: u64,
}

impl Keeper {
    /// Runs until the writer has ended and everything is kept.
    pub(crate) fn run(mut self) {
        let mut promised = Instant::now();
        loop {
            let until_due = self.checkpoint_every.saturating_sub(promised.elapsed());
            let idle = if self.is_ahead() { until_due } else { self.checkpoint_every };
            let work = self.core.next_work(idle.max(Duration::from_millis(1)), GATHER);
            let last = work.closing;
            if let Err(reason) = self.keep(&work.batches) {
                self.core.stop(&reason);
                return;
            }
            for (segment, used) in work.sealed {
                // What was allocated too much is only a waste.
                let _ = segment.file.set_len(used);
            }
            if !last {
                let (segment, used) = &work.current;
                // If there is no room, the writer finds out when it needs it.
                let _ = segment.allocate_ahead(&*self.disk, *used, self.segment_bytes);
            }
            let due = promised.elapsed() >= self.checkpoint_every || work.wanted || last;
            if self.is_ahead() && due {
                promised = Instant::now();
                match self.promise() {
                    Ok(()) => {}
                    Err(PromiseError::Disk(error)) => {
                        self.core.stop(&format!("could not write a checkpoint: {error}"));
                        return;
                    }
                    // The key may be reachable again later; entries stay durable without.
                    Err(error) => {
                        self.core.give_up_wanted();
                        tracing::error!(%error, "no checkpoint");
                    }
                }
            }
            if last {
                self.index.settle();
                return;
            }
        }
    }

    fn is_ahead(&self) -> bool {
        self.tree.size() > self.core.state().promise.size
    }

    /// Adds what is durable to the tree and the index. `Err` says why the log must stop.
    fn keep(&mut self, batches: &[Arc<Batch>]) -> Result<(), String> {
        let mut rows = Rows::default();
        for batch in batches {
            if batch.segment != self.segment {
                self.segment = batch.segment;
                self.mark().map_err(|error| format!("could not sync tiles: {error}"))?;
            }
            self.keep_batch(batch, &mut rows)?;
            if rows.len() >= ROUND_ENTRIES_MAX {
                self.index(std::mem::take(&mut rows))?;
            }
        }
        self.index(rows)
    }

    fn keep_batch(&mut self, batch: &Batch, rows: &mut Rows) -> Result<(), String> {
        for (start, leaf) in batch.starts.iter().zip(&batch.leaves) {
            let bytes = batch.frames.get(*start..).unwrap_or_default();
            let frame = Frame::read(bytes, batch.salt)
                .map_err(|why| format!("an entry in memory is damaged: {why:?}"))?;
            self.tree
                .append(&*self.disk, *leaf, frame.bytes)
                .map_err(|error| format!("could not write tiles: {error}"))?;
            rows.add(&frame, batch.offset + u64::try_from(*start).unwrap_or(0));
        }
        Ok(())
    }

    fn index(&mut self, rows: Rows) -> Result<(), String> {
        if rows.len() == 0 {
            return Ok(());
        }
        let (size, root) = (self.tree.size(), self.tree.root());
        let inserted = self.index.insert(rows, size, root);
        inserted.map_err(|error| format!("could not write the index: {error}"))?;
        self.core.indexed(size);
        Ok(())
    }

    /// Makes the tiles so far durable, and remembers that: the next start reads from there.
    fn mark(&mut self) -> std::io::Result<()> {
        self.tree.sync(&*self.disk)?;
        let width = u64::from(TILE_WIDTH);
        let size = self.tree.size() / width * width;
        let Some(root) = self.tree.root_at(size) else { return Ok(()) };
        Mark { size, root }.write(&*self.disk, &self.core.dir)
    }

    fn promise(&mut self) -> Result<(), PromiseError> {
        self.tree.write_partial(&*self.disk)?;
        let promised = (self.tree.size(), self.tree.root());
        let promise = self.notary.promise(&*self.disk, &self.core.dir, promised)?;
        let before = self.core.state().promise.size;
        self.core.publish(promise);
        self.tree.sweep_partial(before);
        Ok(())
    }
}

/// Up to where full tiles are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// A multiple of 256.
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

impl Mark {
    /// The mark on disk, if it is there and can be read: it only saves time.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(Self::path(dir)).ok()?;
        let mut lines = text.lines();
        let size = lines.next()?.parse().ok()?;
        Some(Self { size, root: Hash::parse(lines.next()?).ok()? })
    }

    fn write(&self, disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
        let text = format!("{}\n{}\n", self.size, self.root);
        disk.replace(&Self::path(dir), text.as_bytes(), true)
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join("tiles-durable")
    }
}
