use proptest::prelude::*;
use tlog::{
    BundleError, Hashes as _, NodePlace, PathError, TileContentError, TileKind, TilePath,
    hash_leaf, read_bundle, read_tile, root_of, write_bundle, write_tile,
};

use crate::Nodes;

#[test]
fn tlog_tiles_merkle_tree_a_tile_has_one_name() {
    let hashes = |level, index, width| TilePath::new(TileKind::Hashes { level }, index, width);
    for (path, tile) in [
        ("tile/0/000", hashes(0, 0, 256)),
        ("tile/0/x001/x234/067", hashes(0, 1_234_067, 256)),
        ("tile/63/999.p/255", hashes(63, 999, 255)),
        ("tile/1/x001/000.p/1", hashes(1, 1_000, 1)),
        ("tile/entries/x273/000", TilePath::new(TileKind::Entries, 273_000, 256)),
        ("tile/entries/000.p/7", TilePath::new(TileKind::Entries, 0, 7)),
    ] {
        assert_eq!(TilePath::parse(path).ok(), tile);
        assert_eq!(tile.unwrap().to_string(), path);
    }
    for (path, refused) in [
        ("checkpoint", PathError::NoTile),
        ("tile/0", PathError::NoTile),
        ("/tile/0/000", PathError::NoTile),
        ("tile/64/000", PathError::Level),
        ("tile/00/000", PathError::Level),
        ("tile/+1/000", PathError::Level),
        ("tile/data/000", PathError::Level),
        ("tile/0/00", PathError::Index),
        ("tile/0/0000", PathError::Index),
        ("tile/0/001/000", PathError::Index),
        ("tile/0/x001", PathError::Index),
        ("tile/0/x000/001", PathError::Index),
        ("tile/0/../000", PathError::Index),
        ("tile/0/", PathError::Index),
        ("tile/0/x999/x999/x999/x999/x999/x999/999", PathError::Index),
        ("tile/0/x100/x000/x000/x000/x000/000", PathError::Index),
        ("tile/0/000.p/0", PathError::Width),
        ("tile/0/000.p/256", PathError::Width),
        ("tile/0/000.p/08", PathError::Width),
        ("tile/0/000.p/", PathError::Width),
        ("tile/0/000.p/8/", PathError::Width),
    ] {
        assert_eq!(TilePath::parse(path), Err(refused), "{path}");
    }
    let long = format!("tile/0/{}000", "x000/".repeat(20));
    assert_eq!(TilePath::parse(&long), Err(PathError::TooLong { bytes: long.len() }));
    assert_eq!(hashes(64, 0, 1), None);
    assert_eq!(hashes(0, 0, 0), None);
    assert_eq!(hashes(0, 0, 257), None);
    assert_eq!(hashes(0, 1 << 56, 1), None);
}

#[test]
fn tlog_tiles_partial_tiles_of_a_tree() {
    let check = |size, expect: &[(u8, usize, &[u16])]| {
        let tiles: Vec<TilePath> = TilePath::of_tree(size).collect();
        for (level, full, partial) in expect {
            let of_level = |tile: &&TilePath| tile.kind() == TileKind::Hashes { level: *level };
            let (whole, rest): (Vec<&TilePath>, _) =
                tiles.iter().filter(of_level).partition(|tile| tile.is_full());
            let widths: Vec<u16> = rest.into_iter().map(TilePath::width).collect();
            assert_eq!((whole.len(), &widths[..]), (*full, *partial), "size {size} level {level}");
        }
        let bundles = tiles.iter().filter(|t| t.kind() == TileKind::Entries).count();
        let counted: usize = expect.iter().map(|(_, full, rest)| full + rest.len()).sum();
        assert_eq!(tiles.len(), counted + bundles, "size {size}");
        assert!(tiles.iter().all(|tile| tile.is_within(size)));
    };
    // tlog-tiles, Partial Tiles: the examples of the text, and the sizes around a full tile.
    check(70_000, &[(0, 273, &[112]), (1, 1, &[17]), (2, 0, &[1])]);
    check(256, &[(0, 1, &[]), (1, 0, &[1])]);
    check(0, &[]);
    check(1, &[(0, 0, &[1])]);
    check(255, &[(0, 0, &[255])]);
    check(257, &[(0, 1, &[1]), (1, 0, &[1])]);
    let names: Vec<String> = TilePath::grown(255, 257).map(|tile| tile.to_string()).collect();
    let expect = "tile/0/000 tile/0/001.p/1 tile/1/000.p/1 tile/entries/000 tile/entries/001.p/1";
    assert_eq!(names.join(" "), expect);
    assert_eq!(TilePath::grown(256, 256).count(), 0);
    let wide = TilePath::parse("tile/0/000.p/9").unwrap();
    assert!(!wide.is_within(8));
    assert!(!TilePath::parse("tile/1/000.p/1").unwrap().is_within(255));
}

#[test]
fn tlog_tiles_every_node_is_found_in_its_tile() {
    let nodes = Nodes::of(70_000);
    for (level, index) in
        [(0, 0), (0, 69_999), (3, 8_749), (7, 545), (8, 0), (8, 272), (11, 33), (16, 0)]
    {
        let place = NodePlace::of(level, index);
        let first = place.tile_index * 256 + place.start as u64;
        let hashes: Vec<_> = (first..first + place.count as u64)
            .map(|at| nodes.node(place.tile_level * 8, at).unwrap())
            .collect();
        assert_eq!(nodes.node(level, index), Some(root_of(&hashes)), "{level} {index}");
    }
}

#[test]
fn tlog_tiles_merkle_tree_a_tile_has_the_bytes_of_its_width() {
    let hashes = [hash_leaf(b"a"), hash_leaf(b"b")];
    let bytes = write_tile(&hashes);
    assert_eq!(read_tile(&bytes, 2).as_deref(), Ok(&hashes[..]));
    assert_eq!(read_tile(&bytes, 3), Err(TileContentError { bytes: 64, width: 3 }));
    assert_eq!(read_tile(&bytes[1..], 2), Err(TileContentError { bytes: 63, width: 2 }));
}

#[test]
fn tlog_tiles_log_entries_bundles_are_cut_exactly() {
    let mut bundle = Vec::new();
    for entry in [&b"one"[..], b"", &[7; 65_535]] {
        write_bundle(&mut bundle, entry).unwrap();
    }
    assert_eq!(&bundle[..7], b"\0\x03one\0\0");
    assert_eq!(read_bundle(&bundle, 3).unwrap(), [&b"one"[..], b"", &[7; 65_535]]);
    assert_eq!(read_bundle(&bundle, 2), Err(BundleError::Count { expected: 2 }));
    assert_eq!(read_bundle(&bundle, 4), Err(BundleError::Count { expected: 4 }));
    let cut = &bundle[..bundle.len() - 1];
    assert_eq!(read_bundle(cut, 3), Err(BundleError::CutOff { index: 2 }));
    assert_eq!(read_bundle(b"\0", 1), Err(BundleError::CutOff { index: 0 }));
    let refused = write_bundle(&mut bundle, &[7; 65_536]);
    assert_eq!(refused, Err(BundleError::TooLong { bytes: 65_536 }));
}

proptest! {
    #[test]
    fn tlog_tiles_merkle_tree_names_are_read_as_they_are_printed(
        level in 0_u8..64, index in 0_u64..1 << 56, width in 1_u16..=256, entries in any::<bool>(),
    ) {
        let kind = if entries { TileKind::Entries } else { TileKind::Hashes { level } };
        let tile = TilePath::new(kind, index, width).unwrap();
        prop_assert_eq!(TilePath::parse(&tile.to_string()), Ok(tile));
    }

    #[test]
    fn tlog_tiles_what_is_read_is_printed_the_same(
        path in "tile/[0-9]{1,2}/[x0-9/]{3,9}(.p/[0-9]{1,3})?",
    ) {
        if let Ok(tile) = TilePath::parse(&path) {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn tlog_tiles_log_entries_any_bytes_are_read_without_panic(
        bytes: Vec<u8>, width in 0_u16..300,
    ) {
        if let Ok(entries) = read_bundle(&bytes, width) {
            let mut again = Vec::new();
            entries.iter().for_each(|entry| write_bundle(&mut again, entry).unwrap());
            prop_assert_eq!(again, bytes);
        }
    }
}
