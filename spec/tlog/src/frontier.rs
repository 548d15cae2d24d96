//! The right edge of a growing tree: all that is needed to append and to know the root.

use crate::hash::{EMPTY_ROOT, Hash, hash_node};
use crate::tree::Hashes;

/// A compact range from entry 0: the roots of the complete subtrees that a tree of this size
/// falls into, largest first. Appending is O(1) amortised and the whole is at most 64 hashes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // INVARIANT: one hash for each bit that is set in `size`, from the highest.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` entries; `None` where a hash is missing.
    pub fn of(size: u64, hashes: &impl Hashes) -> Option<Self> {
        let mut peaks = Vec::new();
        let mut start = 0;
        for level in (0..64_u8).rev().filter(|level| size >> level & 1 == 1) {
            peaks.push(hashes.node(level, start >> level)?);
            start += 1 << level;
        }
        Some(Self { size, peaks })
    }

    /// Entries so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends the hash of the next entry.
    pub fn append(&mut self, leaf: Hash) {
        self.append_noting(leaf, |_, _, _| {});
    }

    /// Appends the hash of the next entry and tells every node that it completes, the leaf
    /// first, as (level, index, hash).
    pub fn append_noting(&mut self, leaf: Hash, mut completed: impl FnMut(u8, u64, Hash)) {
        let mut hash = leaf;
        let mut level = 0;
        completed(level, self.size, hash);
        while self.size >> level & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = hash_node(&left, &hash);
            level += 1;
            completed(level, self.size >> level, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree of this size.
    pub fn root(&self) -> Hash {
        // RFC 6962 §2.1: "let k be the largest power of two smaller than n": what is right of
        // the largest complete subtree is hashed together first.
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return EMPTY_ROOT };
        peaks.fold(*last, |right, left| hash_node(left, &right))
    }
}
