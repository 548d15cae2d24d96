//! The same judged by another implementation (`tlog_tiles` and `signed_note`).

use signed_note::{StandardVerifier, VerifierList};
use tlog::note::{Draft, KeyKind};
use tlog::{
    Checkpoint, Hash, Hashes as _, TileKind, TilePath, consistency_proof, inclusion_proof, root,
    write_tile,
};
use tlog_tiles as oracle;

use crate::{Key, Nodes, ORIGIN, entry};

fn theirs(hash: Hash) -> oracle::Hash {
    oracle::Hash(hash.0)
}

/// Serves our tiles, by the names that they ask for.
struct Tiles<'a>(&'a Nodes);

impl oracle::TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[oracle::Tile]) -> Result<Vec<Vec<u8>>, oracle::Error> {
        let read = |tile: &oracle::Tile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            let ours = TilePath::parse(&path).unwrap();
            assert_eq!(ours.to_string(), path);
            let TileKind::Hashes { level } = ours.kind() else { panic!("not hashes: {path}") };
            let first = ours.index() * 256;
            let hashes = (first..first + u64::from(ours.width()))
                .map(|at| self.0.node(level * 8, at).unwrap())
                .collect::<Vec<_>>();
            write_tile(&hashes)
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[oracle::Tile], _: &[Vec<u8>]) {}
}

/// req: OBS-06 (part)
#[test]
fn tlog_tiles_another_implementation_accepts_our_tiles_and_proofs() {
    let nodes = Nodes::of(70_000);
    for size in [1_u64, 255, 256, 257, 70_000] {
        let root = root(size, &nodes).unwrap();
        let tiles = Tiles(&nodes);
        let reader = oracle::TileHashReader::new(size, theirs(root), &tiles);
        assert_eq!(oracle::tree_hash(size, &reader).unwrap(), theirs(root));
        for index in [0, size / 2, size - 1] {
            let leaf = oracle::record_hash(&entry(index));
            let ours: Vec<_> =
                inclusion_proof(index, size, &nodes).unwrap().into_iter().map(theirs).collect();
            assert_eq!(ours, oracle::prove_record(size, index, &reader).unwrap());
            oracle::check_record(&ours, size, theirs(root), index, leaf).unwrap();
        }
        for old in [1, size / 2, size - 1, size].into_iter().filter(|old| *old > 0) {
            let ours: Vec<_> =
                consistency_proof(old, size, &nodes).unwrap().into_iter().map(theirs).collect();
            let old_root = theirs(tlog::root(old, &nodes).unwrap());
            assert_eq!(ours, oracle::prove_tree(size, old, &reader).unwrap());
            oracle::check_tree(&ours, size, theirs(root), old, old_root).unwrap();
        }
    }
}

/// req: OBS-06 (part)
#[test]
fn tlog_checkpoint_another_implementation_opens_ours() {
    let key = Key::new(ORIGIN, KeyKind::Ed25519, 3);
    let nodes = Nodes::of(257);
    let checkpoint = Checkpoint::new(ORIGIN, 257, root(257, &nodes).unwrap()).unwrap();
    let draft = Draft::new(checkpoint.text().unwrap()).unwrap();
    let signature = key.sign(draft.signing_input());
    let note = draft.attach(&key.public, &signature).unwrap().to_string();
    let opened = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key.public.to_string()).unwrap();
    let (verified, _) = opened.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!(verified.len(), 1);
    let read = oracle::Checkpoint::from_bytes(opened.text()).unwrap();
    let expected = (ORIGIN, 257, theirs(checkpoint.root()));
    assert_eq!((read.origin(), read.size(), *read.hash()), expected);
}
