//! The files on disk, judged by another implementation (`tlog_tiles` and `signed_note`).

use std::path::{Path, PathBuf};

use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles as oracle;

use crate::{ORIGIN, entry, key, make};

/// Serves tiles from files, as any web server would.
struct Files(PathBuf);

impl oracle::TileReader for Files {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[oracle::Tile]) -> Result<Vec<Vec<u8>>, oracle::Error> {
        let read = |tile: &oracle::Tile| {
            let path = self.0.join(tile.path().replacen("tile/8/", "tile/", 1));
            std::fs::read(path).map_err(|error| oracle::Error::InvalidInput(error.to_string()))
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[oracle::Tile], _: &[Vec<u8>]) {}
}

fn opened(dir: &Path) -> oracle::Checkpoint {
    let note = Note::from_bytes(&std::fs::read(dir.join("checkpoint")).unwrap()).unwrap();
    let verifier = StandardVerifier::new(&key().to_string()).unwrap();
    note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    oracle::Checkpoint::from_bytes(note.text()).unwrap()
}

/// req: OBS-06 (part)
#[tokio::test(flavor = "multi_thread")]
async fn another_implementation_verifies_checkpoint_tiles_bundles_and_proofs() {
    let dir = tempfile::tempdir().unwrap();
    let mut before: Option<oracle::Checkpoint> = None;
    for size in [1, 255, 256, 257, 1_000, 70_000] {
        make(dir.path(), size).await;
        let checkpoint = opened(dir.path());
        assert_eq!((checkpoint.origin(), checkpoint.size()), (ORIGIN, size));
        let files = Files(dir.path().to_owned());
        let hashes = oracle::TileHashReader::new(size, *checkpoint.hash(), &files);
        assert_eq!(oracle::tree_hash(size, &hashes).unwrap(), *checkpoint.hash());
        for index in [0, size / 2, size - 1] {
            let proof = oracle::prove_record(size, index, &hashes).unwrap();
            let leaf = oracle::record_hash(&entry(index).bytes);
            oracle::check_record(&proof, size, *checkpoint.hash(), index, leaf).unwrap();
        }
        if let Some(before) = before {
            let proof = oracle::prove_tree(size, before.size(), &hashes).unwrap();
            let (old, root) = (before.size(), *before.hash());
            oracle::check_tree(&proof, size, *checkpoint.hash(), old, root).unwrap();
        }
        before = Some(checkpoint);
    }
    // tlog-tiles, Log entries: "sequences of big-endian uint16 length-prefixed log entries".
    let bundle = std::fs::read(dir.path().join("tile/entries/273.p/112")).unwrap();
    let mut rest = &bundle[..];
    for number in 273 * 256..70_000 {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        assert_eq!(rest[2..2 + length], entry(number).bytes);
        rest = &rest[2 + length..];
    }
    assert_eq!(rest, [0; 0]);
}
