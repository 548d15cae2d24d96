//! Tests of a log on a real disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod append;
mod cut;
mod kill;
mod oracle;
mod restart;
mod tamper;

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use log::{
    AppendMode, Broken, Cut, Entry, Log, NoteSigner, Options, SignError, Term, Verified, verify_dir,
};
use time::{Span, UnixTime};
use tlog::Hash;
use tlog::note::{KeyKind, VerifierKey};

pub(crate) const ORIGIN: &str = "log.example/audit";
pub(crate) const ROOT: Term = Term("root");

pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }
}

impl NoteSigner for Signer {
    fn name(&self) -> &str {
        ORIGIN
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }
}

pub(crate) fn options() -> Options {
    Options {
        origin: ORIGIN.to_owned(),
        segment_bytes: 256 * 1024,
        checkpoint_every: Span::from_millis(50),
        signer: Arc::new(Signer::new(1)),
        previous_keys: Vec::new(),
        remembered: None,
        read_cut,
    }
}

/// The record of a cut, as these tests write it: `cut 1024 ROOT`.
pub(crate) fn read_cut(bytes: &[u8]) -> Option<Cut> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix("cut ")?;
    let (minimum, root) = text.split_once(' ')?;
    Some(Cut { minimum: minimum.parse().ok()?, root: Hash::parse(root).ok()? })
}

pub(crate) fn key() -> VerifierKey {
    VerifierKey::new(ORIGIN, KeyKind::Ed25519, Signer::new(1).public_key()).unwrap()
}

/// Entry `number`, always the same: an id, some hundred bytes, a root that eight entries share.
pub(crate) fn entry(number: u64) -> Entry {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    Entry {
        id,
        bytes: format!("{{\"entry\":{number}}}")
            .repeat(1 + usize::try_from(number % 9).unwrap())
            .into(),
        terms: vec![
            (ROOT, format!("root-{}", number / 8)),
            (Term("agent"), format!("agent-{}", number % 3)),
        ],
        time: UnixTime::from_seconds(1_000 + number),
    }
}

pub(crate) async fn append(log: &Log, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let mut indices = Vec::new();
    for chunk in numbers.collect::<Vec<_>>().chunks(200) {
        let entries = chunk.iter().copied().map(entry).collect();
        indices.extend(log.append(entries, AppendMode::Always).await.unwrap());
    }
    indices
}

/// A closed log with so many entries; its last checkpoint.
pub(crate) async fn make(dir: &Path, entries: u64) -> String {
    make_with(dir, entries, options()).await
}

pub(crate) async fn make_with(dir: &Path, entries: u64, options: Options) -> String {
    let log = Log::open(dir, options).unwrap();
    append(&log, log.size()..entries).await;
    log.close().await;
    std::fs::read_to_string(dir.join("checkpoint")).unwrap()
}

/// Every entry from the first is the one that was appended there.
pub(crate) fn check_all(log: &Log, entries: u64) {
    assert_eq!(log.size(), entries);
    let mut next = 0;
    while next < entries {
        let read = log.read(next..entries).unwrap();
        assert!(!read.is_empty());
        for stored in read {
            let expected = entry(next);
            assert_eq!(stored.index, next);
            assert_eq!((stored.id, stored.time), (expected.id, expected.time));
            assert_eq!(stored.bytes, expected.bytes);
            let terms = expected.terms.into_iter().map(|(name, value)| (name.0.to_owned(), value));
            assert_eq!(stored.terms, terms.collect::<Vec<_>>());
            next += 1;
        }
    }
}

pub(crate) fn verify(dir: &Path, kept: &[String]) -> Result<Verified, Broken> {
    verify_dir(dir, ORIGIN, &[key()], kept, read_cut, |_| {})
}
