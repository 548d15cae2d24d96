//! A log that Tessera made, and the roots that every implementation of RFC 6962 knows.

use serde::Deserialize;
use tlog::note::VerifierKey;
use tlog::{
    Checkpoint, Frontier, Hash, hash_leaf, read_bundle, read_tile, root_of, write_bundle,
    write_tile,
};

use crate::vector;

const TESSERA: &str =
    "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";

#[derive(Deserialize)]
struct Roots {
    entries: Vec<String>,
    roots: Vec<String>,
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

/// req: OBS-06 (part)
#[test]
fn rfc6962_2_1_published_roots() {
    let vector: Roots = serde_json::from_slice(&vector("rfc6962-roots.json")).unwrap();
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root().0[..], hex(&vector.roots[0]));
    for (entry, root) in vector.entries.iter().zip(&vector.roots[1..]) {
        frontier.append(hash_leaf(&hex(entry)));
        assert_eq!(frontier.root().0[..], hex(root));
    }
    assert_eq!(frontier.size(), 8);
}

/// req: OBS-06 (part)
#[test]
fn tlog_tiles_a_log_of_tessera_is_recomputed_at_every_size() {
    let key = [VerifierKey::parse(TESSERA).unwrap()];
    let mut frontier = Frontier::new();
    let mut leaves: Vec<Hash> = Vec::new();
    let mut bundle = Vec::new();
    for size in 0..=15_u16 {
        if size > 0 {
            let published = vector(&format!("tessera-log/tile/entries/000.p/{size}"));
            let entry = *read_bundle(&published, size).unwrap().last().unwrap();
            write_bundle(&mut bundle, entry).unwrap();
            assert_eq!(bundle, published);
            leaves.push(hash_leaf(entry));
            frontier.append(hash_leaf(entry));
            let tile = vector(&format!("tessera-log/tile/0/000.p/{size}"));
            assert_eq!(read_tile(&tile, size).as_deref(), Ok(&leaves[..]));
            assert_eq!(write_tile(&leaves), tile);
        }
        let signed = vector(&format!("tessera-log/checkpoint.{size}"));
        let opened = Checkpoint::open(&signed, "example.com/log/testdata", &key, &[]).unwrap();
        let checkpoint = opened.checkpoint();
        assert_eq!((checkpoint.size(), checkpoint.root()), (size.into(), frontier.root()));
        assert_eq!(root_of(&leaves), frontier.root());
    }
}
