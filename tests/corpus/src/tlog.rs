//! The transparency log: notes, checkpoints, proofs, tiles.

use tlog::note::{Note, VerifierKey};
use tlog::{Checkpoint, ProofFile, TILE_WIDTH, TilePath};
use tlog::{bundle_entries, read_bundle, read_tile, write_bundle, write_tile};

/// A signed note, the checkpoint in it, a key; each written as it was read.
pub(crate) fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data);
        let _ = note.verify(&[]);
    }
    let _ = Checkpoint::open(data, "example.org/log", &[], &[]);
    let Ok(text) = str::from_utf8(data) else { return };
    let checkpoint = Checkpoint::parse(text);
    if let Some(Ok(written)) = checkpoint.as_ref().ok().map(Checkpoint::text) {
        assert_eq!(Checkpoint::parse(&written), checkpoint);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(VerifierKey::parse(&key.to_string()).map(|key| key.id()), Ok(key.id()));
    }
}

/// A proof that an entry is in a log; written again, it is the same proof.
pub(crate) fn proof(data: &[u8]) {
    if let Ok(proof) = ProofFile::parse(data) {
        assert_eq!(ProofFile::parse(proof.to_string().as_bytes()), Ok(proof));
    }
}

/// The path of a tile has one form.
pub(crate) fn path(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(path) = TilePath::parse(text) {
        assert_eq!(path.to_string(), text);
        assert!((1..=TILE_WIDTH).contains(&path.width()));
    }
}

/// A bundle of entries and a tile; what is read whole is written as it was.
pub(crate) fn bundle(data: &[u8]) {
    let entries: Vec<&[u8]> = bundle_entries(data).map_while(Result::ok).collect();
    let width = u16::try_from(entries.len()).unwrap_or(u16::MAX);
    if let Ok(read) = read_bundle(data, width) {
        let mut written = Vec::new();
        assert!(read.iter().all(|entry| write_bundle(&mut written, entry).is_ok()));
        assert_eq!(written, data);
    }
    let hashes = u16::try_from(data.len() / tlog::HASH_BYTES).unwrap_or(u16::MAX);
    if let Ok(tile) = read_tile(data, hashes) {
        assert_eq!(write_tile(&tile), data);
    }
}
