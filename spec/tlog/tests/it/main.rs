//! Tests of the public surface, against published data and against another implementation.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod note;
mod oracle;
mod published;
mod tile;
mod tree;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use tlog::note::{KeyKind, VerifierKey};
use tlog::{Frontier, Hash, Hashes, hash_leaf};

pub(crate) const ORIGIN: &str = "log.example/audit";

/// All nodes of a tree of entries that are their own number.
pub(crate) struct Nodes(Vec<Vec<Hash>>);

impl Nodes {
    pub(crate) fn of(size: u64) -> Self {
        let mut nodes = Self(Vec::new());
        let mut frontier = Frontier::new();
        for index in 0..size {
            frontier.append_noting(hash_leaf(&entry(index)), |level, at, hash| {
                if nodes.0.len() <= usize::from(level) {
                    nodes.0.push(Vec::new());
                }
                let nodes = &mut nodes.0[usize::from(level)];
                assert_eq!(nodes.len() as u64, at);
                nodes.push(hash);
            });
        }
        nodes
    }
}

impl Hashes for Nodes {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        self.0.get(usize::from(level))?.get(usize::try_from(index).ok()?).copied()
    }
}

pub(crate) fn entry(index: u64) -> Vec<u8> {
    index.to_string().into_bytes()
}

pub(crate) struct Key {
    pair: Ed25519KeyPair,
    pub(crate) public: VerifierKey,
}

impl Key {
    pub(crate) fn new(name: &str, kind: KeyKind, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        Self { pair, public: VerifierKey::new(name, kind, public).unwrap() }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().unwrap()
    }
}

pub(crate) fn vector(path: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/tlog/");
    std::fs::read(format!("{root}{path}")).unwrap()
}
