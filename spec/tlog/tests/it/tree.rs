use proptest::prelude::*;
use tlog::{
    EMPTY_ROOT, Frontier, Hash, ProofError, consistency_proof, hash_leaf, hash_node,
    inclusion_proof, root, root_of, verify_consistency, verify_inclusion,
};

use crate::{Nodes, entry};

/// RFC 6962 §2.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            hash_node(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

const SIZES: [u64; 12] = [0, 1, 2, 3, 7, 8, 255, 256, 257, 1000, 65_536, 70_000];

/// req: OBS-06 (part)
#[test]
fn rfc6962_2_1_roots_follow_the_definition() {
    let nodes = Nodes::of(70_000);
    let leaves: Vec<Hash> = (0..70_000).map(|i| hash_leaf(&entry(i))).collect();
    for size in SIZES {
        let expected = mth(&leaves[..usize::try_from(size).unwrap()]);
        assert_eq!(root(size, &nodes), Some(expected), "size {size}");
        assert_eq!(Frontier::of(size, &nodes).unwrap().root(), expected, "size {size}");
        assert_eq!(root_of(&leaves[..usize::try_from(size).unwrap()]), expected, "size {size}");
    }
    assert_eq!(root(70_001, &nodes), None);
    assert_eq!(Frontier::of(70_001, &nodes), None);
}

/// req: OBS-06 (part)
#[test]
fn rfc6962_2_1_1_inclusion_proofs_verify_and_nothing_else_does() {
    let nodes = Nodes::of(70_000);
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        let root = root(size, &nodes).unwrap();
        for index in [0, 1, 254, 255, 256, 257, size / 2, size - 1] {
            let Some(proof) = inclusion_proof(index, size, &nodes) else {
                assert!(index >= size);
                continue;
            };
            let leaf = hash_leaf(&entry(index));
            assert_eq!(verify_inclusion(&leaf, index, size, &root, &proof), Ok(()));
            let other = hash_leaf(b"another entry");
            let refused = verify_inclusion(&other, index, size, &root, &proof);
            assert!(matches!(refused, Err(ProofError::Root { .. })), "{refused:?}");
            let long = [proof.clone(), vec![other]].concat();
            let refused = verify_inclusion(&leaf, index, size, &root, &long);
            assert_eq!(refused, Err(ProofError::Length { hashes: long.len() }));
            if let Some((_, short)) = proof.split_last() {
                let refused = verify_inclusion(&leaf, index, size, &root, short);
                assert_eq!(refused, Err(ProofError::Length { hashes: short.len() }));
            }
        }
        let outside = verify_inclusion(&EMPTY_ROOT, size, size, &root, &[]);
        assert_eq!(outside, Err(ProofError::OutsideTree { index: size, size }));
    }
}

/// req: OBS-06 (part)
#[test]
fn rfc6962_2_1_2_consistency_proofs_verify_and_nothing_else_does() {
    let nodes = Nodes::of(300);
    for new in [1, 2, 3, 7, 8, 255, 256, 257, 300] {
        let new_root = root(new, &nodes).unwrap();
        for old in 0..=new {
            let old_root = root(old, &nodes).unwrap();
            let proof = consistency_proof(old, new, &nodes).unwrap();
            let check = |o: &Hash, n: &Hash, p: &[Hash]| verify_consistency((old, o), (new, n), p);
            assert_eq!(check(&old_root, &new_root, &proof), Ok(()), "{old} to {new}");
            let other = hash_leaf(b"another");
            if old == new {
                let refused = check(&old_root, &other, &proof);
                assert!(matches!(refused, Err(ProofError::Root { .. })), "{refused:?}");
            } else {
                // Where a power of two begins the proof, the new root is what differs.
                let refused = check(&other, &new_root, &proof).unwrap_err();
                let of_old = matches!(refused, ProofError::OldRoot { .. });
                let of_new = matches!(refused, ProofError::Root { .. });
                assert_eq!((of_old, of_new), (!old.is_power_of_two(), old.is_power_of_two()));
            }
            if old > 0 && old < new {
                let refused = check(&old_root, &other, &proof);
                assert!(matches!(refused, Err(ProofError::Root { .. })), "{refused:?}");
                let short = check(&old_root, &new_root, &proof[1..]);
                assert!(short.is_err(), "{old} to {new}");
            }
            let long = [proof.clone(), vec![other]].concat();
            let refused = check(&old_root, &new_root, &long);
            assert_eq!(refused, Err(ProofError::Length { hashes: long.len() }));
        }
    }
    let refused = verify_consistency((2, &EMPTY_ROOT), (1, &EMPTY_ROOT), &[]);
    assert_eq!(refused, Err(ProofError::Shrunk { old: 2, new: 1 }));
    assert_eq!(consistency_proof(2, 1, &nodes), None);
}

proptest! {
    /// A log that changed an old entry cannot prove that it only grew.
    #[test]
    fn rfc6962_2_1_2_a_rewritten_tree_has_no_proof(
        old in 1_u64..200, more in 1_u64..200, changed in 0_u64..200,
    ) {
        let changed = changed % old;
        let new = old + more;
        let honest = Nodes::of(old);
        let mut leaves: Vec<Hash> = (0..new).map(|i| hash_leaf(&entry(i))).collect();
        leaves[usize::try_from(changed).unwrap()] = hash_leaf(b"rewritten");
        let mut forged = Frontier::new();
        leaves.iter().for_each(|leaf| forged.append(*leaf));
        let proof = consistency_proof(old, new, &Nodes::of(new)).unwrap();
        let old_root = root(old, &honest).unwrap();
        prop_assert!(verify_consistency((old, &old_root), (new, &forged.root()), &proof).is_err());
    }

    #[test]
    fn rfc6962_2_1_1_any_entry_of_any_tree_is_proved(size in 1_u64..3_000, at in any::<u64>()) {
        let nodes = Nodes::of(size);
        let index = at % size;
        let proof = inclusion_proof(index, size, &nodes).unwrap();
        let root = root(size, &nodes).unwrap();
        let leaf = hash_leaf(&entry(index));
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &root, &proof), Ok(()));
    }
}
