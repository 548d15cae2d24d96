//! The tree on disk: tiles and entry bundles, derived from the segments.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tlog::{
    Frontier, Hash, Hashes, NodePlace, TILE_WIDTH, TileKind, TilePath, bundle_entries, hash_leaf,
    read_tile, root_of, write_bundle, write_tile,
};

use crate::disk::Disk;

/// Levels of tiles that a tree of 2^64 entries has.
const LEVELS_MAX: u8 = 8;
const WIDTH: u64 = TILE_WIDTH as u64;

/// What to do where a full tile is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    /// Keep it, and remember if it differs: until the root is checked, nobody knows who is right.
    Compare,
    Replace,
}

/// The tree of the log while it grows: what is not yet a full tile.
pub(crate) struct Tree {
    dir: PathBuf,
    frontier: Frontier,
    /// By level, the hashes that are not yet a full tile.
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
    present: Present,
    /// A tile that was there and differs from what the segments say: its first entry that does.
    differs: Option<u64>,
    /// Files that were written and not synced since the last mark.
    unsynced: Vec<PathBuf>,
}

impl Tree {
    pub(crate) fn empty(dir: &Path, present: Present) -> Self {
        Self {
            dir: dir.to_owned(),
            frontier: Frontier::new(),
            levels: Vec::new(),
            bundle: Vec::new(),
            present,
            differs: None,
            unsynced: Vec::new(),
        }
    }

    /// The tree of the first `size` entries, a multiple of 256, from full tiles on disk. `None`
    /// where one is missing or the root is another.
    pub(crate) fn load(dir: &Path, size: u64, root: Hash, present: Present) -> Option<Self> {
        let mut tree = Self::empty(dir, present);
        for level in 1..LEVELS_MAX {
            let nodes = size >> (8 * u32::from(level));
            let of_tile = |index| {
                let tile = TilePath::new(TileKind::Hashes { level: level - 1 }, index, TILE_WIDTH)?;
                Some(root_of(&hashes(dir, &tile)?))
            };
            let partial = nodes / WIDTH * WIDTH..nodes;
            let hashes: Option<Vec<Hash>> = partial.map(of_tile).collect();
            tree.level(level).extend(hashes?);
        }
        tree.frontier = Frontier::of(size, &OfSize { tree: &tree, size })?;
        (tree.root() == root && size.is_multiple_of(WIDTH)).then_some(tree)
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The root that the tree had when it had `size` entries.
    pub(crate) fn root_at(&self, size: u64) -> Option<Hash> {
        tlog::root(size, &OfSize { tree: self, size: self.size() })
    }

    /// The first entry whose tile or bundle on disk differs from the segments.
    pub(crate) fn differs(&self) -> Option<u64> {
        self.differs
    }

    pub(crate) fn set_present(&mut self, present: Present) {
        self.present = present;
    }

    /// Appends an entry; writes the tiles that it fills.
    pub(crate) fn append(&mut self, disk: &dyn Disk, leaf: Hash, bytes: &[u8]) -> io::Result<()> {
        let mut completed = Vec::new();
        self.frontier.append_noting(leaf, |level, _, hash| {
            if level % 8 == 0 {
                completed.push((level / 8, hash));
            }
        });
        write_bundle(&mut self.bundle, bytes).map_err(io::Error::other)?;
        for (level, hash) in completed {
            self.level(level).push(hash);
            if self.level(level).len() == usize::from(TILE_WIDTH) {
                self.fill_tile(disk, level)?;
            }
        }
        Ok(())
    }

    /// Writes the tiles and the bundle that are not full, for a checkpoint of this size.
    pub(crate) fn write_partial(&self, disk: &dyn Disk) -> io::Result<()> {
        for (tile, bytes) in self.partial() {
            disk.replace(&self.dir.join(tile.to_string()), &bytes, false)?;
        }
        Ok(())
    }

    /// Removes partial tiles that no checkpoint of this size or of size `before` needs.
    pub(crate) fn sweep_partial(&self, before: u64) {
        for (tile, _) in self.partial() {
            let level = if let TileKind::Hashes { level } = tile.kind() { level } else { 0 };
            let nodes = before >> (8 * u32::from(level));
            let needed = nodes.saturating_sub(tile.index() * WIDTH);
            let keep = [u64::from(tile.width()), needed];
            for (width, path) in widths(&partial_folder(&self.dir, &tile)) {
                if !keep.contains(&u64::from(width)) {
                    // A partial tile too many does no harm.
                    let _ = fs::remove_file(path);
                }
            }
        }
    }

    /// Makes all full tiles written so far durable.
    pub(crate) fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for path in self.unsynced.drain(..) {
            disk.sync(&File::open(&path)?)?;
            let parents = path.ancestors().skip(1).take_while(|path| path.starts_with(&self.dir));
            folders.extend(parents.map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| disk.sync_dir(folder))
    }

    fn level(&mut self, level: u8) -> &mut Vec<Hash> {
        let level = usize::from(level);
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        #[expect(clippy::indexing_slicing, reason = "the line above made it long enough")]
        &mut self.levels[level]
    }

    fn fill_tile(&mut self, disk: &dyn Disk, level: u8) -> io::Result<()> {
        let hashes = std::mem::take(self.level(level));
        let index = (self.size() >> (8 * u32::from(level))) / WIDTH - 1;
        let first = index * WIDTH;
        self.put(disk, TileKind::Hashes { level }, index, &write_tile(&hashes), |there| {
            let there = read_tile(there, TILE_WIDTH).unwrap_or_default();
            let same = there.iter().zip(&hashes).take_while(|(a, b)| a == b).count();
            (first + u64::try_from(same).unwrap_or(0)) << (8 * u32::from(level))
        })?;
        if level > 0 {
            return Ok(());
        }
        let bundle = std::mem::take(&mut self.bundle);
        self.put(disk, TileKind::Entries, index, &bundle, |there| {
            let (there, ours) = (bundle_entries(there), bundle_entries(&bundle));
            let same = there.zip(ours).take_while(|(a, b)| a == b).count();
            first + u64::try_from(same).unwrap_or(0)
        })
    }

    /// Writes a full tile, unless the same is there; `first_other` finds where it differs.
    fn put(
        &mut self,
        disk: &dyn Disk,
        kind: TileKind,
        index: u64,
        bytes: &[u8],
        first_other: impl Fn(&[u8]) -> u64,
    ) -> io::Result<()> {
        let Some(tile) = TilePath::new(kind, index, TILE_WIDTH) else { return Ok(()) };
        let path = self.dir.join(tile.to_string());
        let there = match self.present {
            Present::Compare => fs::read(&path).ok(),
            Present::Replace => None,
        };
        match there {
            Some(there) if there != bytes => {
                let other = first_other(&there);
                self.differs = Some(self.differs.map_or(other, |at| at.min(other)));
                return Ok(());
            }
            Some(_) => {}
            None => disk.replace(&path, bytes, false)?,
        }
        self.unsynced.push(path);
        // tlog-tiles, Partial Tiles: "MAY delete any partial tile once the corresponding full tile
        // is [...] available".
        let _ = fs::remove_dir_all(partial_folder(&self.dir, &tile));
        Ok(())
    }

    fn partial(&self) -> impl Iterator<Item = (TilePath, Vec<u8>)> {
        let size = self.size();
        let levels = self.levels.iter().zip(0..).filter_map(move |(hashes, level)| {
            let width = u16::try_from(hashes.len()).ok()?;
            let index = (size >> (8 * u32::from(level))) / WIDTH;
            let tile = TilePath::new(TileKind::Hashes { level }, index, width)?;
            Some((tile, write_tile(hashes)))
        });
        let width = u16::try_from(size % WIDTH).unwrap_or(0);
        let bundle = TilePath::new(TileKind::Entries, size / WIDTH, width);
        levels.chain(bundle.map(|tile| (tile, self.bundle.clone())))
    }
}

/// The nodes of a tree of `size` entries that is being written: full tiles from disk, the rest
/// from memory.
struct OfSize<'a> {
    tree: &'a Tree,
    size: u64,
}

impl Hashes for OfSize<'_> {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        let place = NodePlace::of(level, index);
        let kind = TileKind::Hashes { level: place.tile_level };
        let nodes = self.size.checked_shr(8 * u32::from(place.tile_level)).unwrap_or(0);
        let hashes = if place.tile_index < nodes / WIDTH {
            &hashes(&self.tree.dir, &TilePath::new(kind, place.tile_index, TILE_WIDTH)?)?
        } else {
            self.tree.levels.get(usize::from(place.tile_level))?
        };
        Some(root_of(hashes.get(place.start..place.start + place.count)?))
    }
}

/// The nodes of a tree of `size` entries, all from tiles on disk.
pub(crate) struct OnDisk<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) size: u64,
}

impl Hashes for OnDisk<'_> {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        let place = NodePlace::of(level, index);
        let nodes = self.size.checked_shr(8 * u32::from(place.tile_level)).unwrap_or(0);
        let width = nodes.checked_sub(place.tile_index * WIDTH)?.min(WIDTH);
        let kind = TileKind::Hashes { level: place.tile_level };
        let tile = TilePath::new(kind, place.tile_index, u16::try_from(width).ok()?)?;
        let hashes = hashes(self.dir, &tile)?;
        Some(root_of(hashes.get(place.start..place.start + place.count)?))
    }
}

/// Makes the full tiles with the hashes of a range of entries durable.
pub(crate) fn sync_hashes(disk: &dyn Disk, dir: &Path, entries: Range<u64>) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for level in 0..LEVELS_MAX {
        let tiles = |at: u64| at.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
        for index in tiles(entries.start)..tiles(entries.end) {
            let tile = TilePath::new(TileKind::Hashes { level }, index, TILE_WIDTH);
            let Some(tile) = tile else { continue };
            let path = dir.join(tile.to_string());
            disk.sync(&File::open(&path)?)?;
            let parents = path.ancestors().skip(1).take_while(|path| path.starts_with(dir));
            folders.extend(parents.map(Path::to_owned));
        }
    }
    folders.iter().try_for_each(|folder| disk.sync_dir(folder))
}

/// The hashes of a tile on disk.
pub(crate) fn hashes(dir: &Path, tile: &TilePath) -> Option<Vec<Hash>> {
    read_tile(&find(dir, tile).ok()??, tile.width()).ok()
}

/// The bytes of a tile or bundle on disk: its own file, or the beginning of a wider one.
pub(crate) fn find(dir: &Path, tile: &TilePath) -> io::Result<Option<Vec<u8>>> {
    // A wider partial tile may be swept between the look at the folder and the read.
    for _ in 0..3 {
        if let Some(bytes) = read(&dir.join(tile.to_string()))? {
            return Ok(Some(bytes));
        }
        if tile.is_full() {
            return Ok(None);
        }
        let full = tile.with_width(TILE_WIDTH).map(|full| dir.join(full.to_string()));
        let wider = widths(&partial_folder(dir, tile));
        let wider = wider.into_iter().filter(|(width, _)| *width > tile.width());
        for path in full.into_iter().chain(wider.map(|(_, path)| path)) {
            if let Some(bytes) = read(&path)? {
                return Ok(narrow(tile, &bytes));
            }
        }
    }
    Ok(None)
}

/// The beginning of a wider tile.
fn narrow(tile: &TilePath, bytes: &[u8]) -> Option<Vec<u8>> {
    let width = usize::from(tile.width());
    let end = match tile.kind() {
        TileKind::Hashes { .. } => width * tlog::HASH_BYTES,
        TileKind::Entries => {
            let entries = bundle_entries(bytes).take(width);
            entries.map(|entry| entry.map_or(0, |entry| entry.len() + 2)).sum()
        }
    };
    bytes.get(..end).map(<[u8]>::to_vec)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The folder of a tile's partial forms.
fn partial_folder(dir: &Path, tile: &TilePath) -> PathBuf {
    let full = tile.with_width(TILE_WIDTH).unwrap_or(*tile);
    dir.join(format!("{full}.p"))
}

fn widths(folder: &Path) -> Vec<(u16, PathBuf)> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let width = |path: PathBuf| Some((path.file_name()?.to_str()?.parse().ok()?, path));
    files.filter_map(|file| width(file.ok()?.path())).collect()
}

/// The hash of an entry, as it goes into the tree.
pub(crate) fn leaf(bytes: &[u8]) -> Hash {
    // RFC 6962 §2.1, over the entry alone: who has an entry bundle can recompute it.
    hash_leaf(bytes)
}
