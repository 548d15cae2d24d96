//! Roots and proofs over a tree whose nodes can be read (RFC 6962 §2.1), checked by the
//! algorithms of [RFC 9162 §2.1.3.2 and §2.1.4.2](https://www.rfc-editor.org/rfc/rfc9162).

use crate::hash::{EMPTY_ROOT, Hash, hash_node};

/// Hashes that a proof can have: one for each level of a tree of 2^63 entries.
pub const PROOF_HASHES_MAX: usize = 63;

/// Where the nodes of complete subtrees are read from.
pub trait Hashes {
    /// The root of the entries from `index << level` to `(index + 1) << level`, if it is there.
    fn node(&self, level: u8, index: u64) -> Option<Hash>;
}

/// Why a proof was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("index {index} is not in a tree of {size} entries")]
    OutsideTree { index: u64, size: u64 },
    #[error("a tree of {new} entries is smaller than one of {old}")]
    Shrunk { old: u64, new: u64 },
    #[error("the proof has {hashes} hashes, which does not fit these sizes")]
    Length { hashes: usize },
    #[error("the proof gives root {computed} instead of {expected}")]
    Root { expected: Hash, computed: Hash },
    #[error("the proof gives the earlier root {computed} instead of {expected}")]
    OldRoot { expected: Hash, computed: Hash },
}

/// The root of the first `size` entries; `None` where a hash is missing.
pub fn root(size: u64, hashes: &impl Hashes) -> Option<Hash> {
    if size == 0 { Some(EMPTY_ROOT) } else { range_root(0, size, hashes) }
}

/// The root over nodes of one level, as if they were leaves.
pub fn root_of(nodes: &[Hash]) -> Hash {
    let mut level: Vec<Hash> = nodes.to_vec();
    if level.is_empty() {
        return EMPTY_ROOT;
    }
    while level.len() > 1 {
        level = level
            .chunks(2)
            .filter_map(|pair| match pair {
                [left, right] => Some(hash_node(left, right)),
                // A node without a sibling rises unchanged until it has one.
                [alone] => Some(*alone),
                _ => None,
            })
            .collect();
    }
    level.first().copied().unwrap_or(EMPTY_ROOT)
}

/// The proof that entry `index` is in the tree of `size` entries, the leaf's sibling first
/// (RFC 6962 §2.1.1). `None` where a hash is missing or the index is not below the size.
pub fn inclusion_proof(index: u64, size: u64, hashes: &impl Hashes) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        // RFC 6962 §2.1.1: "For n > 1 [...] PATH(m, D[n]) = PATH(m, D[0:k]) : MTH(D[k:n]) for
        // m < k; and PATH(m, D[n]) = PATH(m - k, D[k:n]) : MTH(D[0:k]) for m >= k".
        let middle = start + split(end - start);
        if index < middle {
            path.push(range_root(middle, end, hashes)?);
            end = middle;
        } else {
            path.push(range_root(start, middle, hashes)?);
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The proof that the tree of `old` entries is the beginning of the one of `new` (RFC 6962
/// §2.1.2). Empty for an `old` of zero or of `new`. `None` where a hash is missing or it shrank.
pub fn consistency_proof(old: u64, new: u64, hashes: &impl Hashes) -> Option<Vec<Hash>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut path = Vec::new();
    while old < end {
        // RFC 6962 §2.1.2: "If m <= k, the right subtree entries D[k:n] only exist in the
        // current tree", otherwise "the left subtree entries D[0:k] are identical in both trees".
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range_root(middle, end, hashes)?);
            end = middle;
        } else {
            path.push(range_root(start, middle, hashes)?);
            start = middle;
        }
    }
    // RFC 6962 §2.1.2: "The subproof for m = n is empty if m is the value for which PROOF was
    // originally requested", which is when nothing was taken from the left.
    if start != 0 {
        path.push(range_root(start, end, hashes)?);
    }
    path.reverse();
    Some(path)
}

/// Checks that `leaf` is entry `index` of the tree of `size` entries with `root`.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    // RFC 9162 §2.1.3.2: "If leaf_index is greater than or equal to tree_size, then fail the
    // proof verification."
    if index >= size {
        return Err(ProofError::OutsideTree { index, size });
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        // RFC 9162 §2.1.3.2: "If sn is 0, then stop the iteration and fail the proof verification."
        if last == 0 {
            return Err(ProofError::Length { hashes: proof.len() });
        }
        // "If LSB(fn) is set, or if fn is equal to sn, then: Set r to HASH(0x01 || p || r)."
        if at & 1 == 1 || at == last {
            hash = hash_node(sibling, &hash);
            skip_levels_without_sibling(&mut at, &mut last);
        } else {
            hash = hash_node(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length { hashes: proof.len() });
    }
    // RFC 9162 §2.1.3.2: "Compare r to root_hash."
    if hash != *root {
        return Err(ProofError::Root { expected: *root, computed: hash });
    }
    Ok(())
}

/// Checks that the tree (`old`, `old_root`) is the beginning of the tree (`new`, `new_root`).
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    if old == 0 || old == new {
        return verify_trivial(old, old_root, (new, new_root), proof);
    }
    // RFC 9162 §2.1.4.2: "If first is an exact power of 2, then prepend first_hash to the
    // consistency_path array."
    let (seed, rest) = match (old.is_power_of_two(), proof.split_first()) {
        (_, None) => return Err(ProofError::Length { hashes: 0 }),
        (true, Some(_)) => (*old_root, proof),
        (false, Some((first, rest))) => (*first, rest),
    };
    let (mut at, mut last) = (old - 1, new - 1);
    // "If LSB(fn) is set, then right-shift both fn and sn equally until LSB(fn) is not set."
    let shift = at.trailing_ones();
    (at, last) = (at >> shift, last >> shift);
    let (mut old_hash, mut new_hash) = (seed, seed);
    for node in rest {
        if last == 0 {
            return Err(ProofError::Length { hashes: proof.len() });
        }
        // "If LSB(fn) is set, or if fn is equal to sn, then: Set fr to HASH(0x01 || c || fr), set
        // sr to HASH(0x01 || c || sr)."
        if at & 1 == 1 || at == last {
            old_hash = hash_node(node, &old_hash);
            new_hash = hash_node(node, &new_hash);
            skip_levels_without_sibling(&mut at, &mut last);
        } else {
            new_hash = hash_node(&new_hash, node);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length { hashes: proof.len() });
    }
    // RFC 9162 §2.1.4.2: "verify that the fr calculated is equal to the first_hash supplied, that
    // the sr calculated is equal to the second_hash supplied".
    if old_hash != *old_root {
        return Err(ProofError::OldRoot { expected: *old_root, computed: old_hash });
    }
    if new_hash != *new_root {
        return Err(ProofError::Root { expected: *new_root, computed: new_hash });
    }
    Ok(())
}

/// Every tree begins with the empty one and with itself; neither needs a proof.
fn verify_trivial(
    old: u64,
    old_root: &Hash,
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::Length { hashes: proof.len() });
    }
    if old == 0 && *old_root != EMPTY_ROOT {
        return Err(ProofError::OldRoot { expected: *old_root, computed: EMPTY_ROOT });
    }
    if old == new && old_root != new_root {
        return Err(ProofError::Root { expected: *new_root, computed: *old_root });
    }
    Ok(())
}

/// RFC 9162 §2.1.3.2: "If LSB(fn) is not set, then right-shift both fn and sn equally until
/// either LSB(fn) is set or fn is 0."
fn skip_levels_without_sibling(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        (*at, *last) = (*at >> 1, *last >> 1);
    }
}

/// The root of the entries from `start` to `end`; `start` is a multiple of the power of two that
/// is not below their number.
fn range_root(start: u64, end: u64, hashes: &impl Hashes) -> Option<Hash> {
    let count = end - start;
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        return hashes.node(u8::try_from(level).ok()?, start >> level);
    }
    let middle = start + split(count);
    Some(hash_node(&range_root(start, middle, hashes)?, &range_root(middle, end, hashes)?))
}

/// RFC 6962 §2.1: "let k be the largest power of two smaller than n (i.e., k < n <= 2k)". For an
/// `n` of two or more.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}
