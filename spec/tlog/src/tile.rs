//! Tiles and entry bundles: their names, contents, and which of them a tree has (tlog-tiles).

use std::fmt;

use crate::hash::{HASH_BYTES, Hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Bytes an entry can have: its length is written in 16 bits.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Levels of the binary tree that one level of tiles spans.
const TILE_HEIGHT: u8 = 8;
// tlog-tiles, Merkle Tree: "MUST be a decimal ASCII integer between 0 and 63".
const LEVEL_MAX: u8 = 63;
/// A tree of 2^64 entries has this many tiles at level 0.
const INDEX_END: u64 = 1 << 56;
/// Bytes a tile's name can have: level, 19 digits in groups, width.
const PATH_BYTES_MAX: usize = 64;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes: of entries at level 0, of full tiles of the level below at any other.
    Hashes { level: u8 },
    /// The entries themselves.
    Entries,
}

/// The name of a tile or entry bundle below a log's prefix, like `tile/0/x001/234.p/5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    // INVARIANT: 1 to 256.
    width: u16,
}

impl TilePath {
    /// `None` for a level above 63, an index no tree has, or a width outside 1 to 256.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let level_fits = !matches!(kind, TileKind::Hashes { level } if level > LEVEL_MAX);
        let fits = level_fits && index < INDEX_END && (1..=TILE_WIDTH).contains(&width);
        fits.then_some(Self { kind, index, width })
    }

    /// Reads the one name that each tile has.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if path.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong { bytes: path.len() });
        }
        let rest = path.strip_prefix("tile/").ok_or(PathError::NoTile)?;
        let (kind, rest) = rest.split_once('/').ok_or(PathError::NoTile)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes { level: parse_level(level)? },
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, parse_width(width)?),
            None => (rest, TILE_WIDTH),
        };
        let index = parse_index(index)?;
        Self::new(kind, index, width).ok_or(PathError::Index)
    }

    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Position among the tiles of its level, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or entries in it.
    pub fn width(&self) -> u16 {
        self.width
    }

    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile with another width; `None` for a width outside 1 to 256.
    pub fn with_width(&self, width: u16) -> Option<Self> {
        Self::new(self.kind, self.index, width)
    }

    /// Whether a tree of `size` entries has all that this tile holds.
    pub fn is_within(&self, size: u64) -> bool {
        let level = if let TileKind::Hashes { level } = self.kind { level } else { 0 };
        let nodes = size_at_level(size, level);
        self.index * u64::from(TILE_WIDTH) + u64::from(self.width) <= nodes
    }

    /// All tiles and entry bundles of a tree of `size` entries, the bundles last.
    pub fn of_tree(size: u64) -> impl Iterator<Item = Self> {
        Self::grown(0, size)
    }

    /// The tiles and bundles that a tree of `new` entries has and that one of `old` did not
    /// have, or not so wide.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        let levels = (0..=LEVEL_MAX).map(|level| TileKind::Hashes { level });
        levels.chain([TileKind::Entries]).flat_map(move |kind| {
            let level = if let TileKind::Hashes { level } = kind { level } else { 0 };
            let (old, new) = (size_at_level(old, level), size_at_level(new, level));
            let width = u64::from(TILE_WIDTH);
            let end = if new > old { new.div_ceil(width) } else { 0 };
            (old / width..end).filter_map(move |index| {
                let width = (new - index * width).min(width);
                Self::new(kind, index, u16::try_from(width).ok()?)
            })
        })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        // tlog-tiles, Merkle Tree: "encoded into zero-padded 3-digit path elements. All but the
        // last path element MUST begin with an `x`."
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        for (place, group) in groups.iter().enumerate().rev() {
            if place > 0 { write!(f, "x{group:03}/")? } else { write!(f, "{group:03}")? }
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// Why a path names no tile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a tile path of {bytes} bytes")]
    TooLong { bytes: usize },
    #[error("not the path of a tile")]
    NoTile,
    #[error("a tile level that is not a number from 0 to 63")]
    Level,
    #[error("a tile index that is not written in groups of three digits, or is too large")]
    Index,
    #[error("a tile width that is not a number from 1 to 255")]
    Width,
}

/// Where the tiles hold a node of the binary tree: the root over `count` hashes from `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePlace {
    pub tile_level: u8,
    pub tile_index: u64,
    pub start: usize,
    pub count: usize,
}

impl NodePlace {
    /// The place of node `index` at `level` of the binary tree (0 are the leaves).
    pub fn of(level: u8, index: u64) -> Self {
        let height = level % TILE_HEIGHT;
        let count = 1_u64 << height;
        // Positions of a tile: 256 of its hashes are 256 >> height nodes of this level.
        let nodes = u64::from(TILE_WIDTH) >> height;
        Self {
            tile_level: level / TILE_HEIGHT,
            tile_index: index / nodes,
            start: usize::try_from(index % nodes * count).unwrap_or(0),
            count: usize::try_from(count).unwrap_or(0),
        }
    }
}

/// The bytes of a tile of hashes.
pub fn write_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile of `width`.
pub fn read_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileContentError> {
    // tlog-tiles, Merkle Tree: "Full tiles MUST be exactly 256 hashes wide, or 8,192 bytes."
    if bytes.len() != usize::from(width) * HASH_BYTES {
        return Err(TileContentError { bytes: bytes.len(), width });
    }
    Ok(bytes.chunks_exact(HASH_BYTES).filter_map(|hash| hash.try_into().ok().map(Hash)).collect())
}

/// A tile whose length does not fit its width.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tile of {bytes} bytes cannot hold {width} hashes")]
pub struct TileContentError {
    pub bytes: usize,
    pub width: u16,
}

/// Appends one entry to the bytes of a bundle.
pub fn write_bundle(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let length =
        u16::try_from(entry.len()).map_err(|_| BundleError::TooLong { bytes: entry.len() })?;
    // tlog-tiles, Log entries: "Entry bundles are sequences of big-endian uint16 length-prefixed
    // log entries."
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle of exactly `width`.
pub fn read_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let entries: Vec<&[u8]> =
        bundle_entries(bundle).take(usize::from(width) + 1).collect::<Result<_, _>>()?;
    if entries.len() != usize::from(width) {
        return Err(BundleError::Count { expected: width });
    }
    Ok(entries)
}

/// The entries of a bundle, one by one; ends after the first that is cut off.
pub fn bundle_entries(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], BundleError>> {
    let mut rest = bundle;
    let mut index = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = rest.split_first_chunk().and_then(|(length, after)| {
            after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let entry = match split {
            Some((entry, after)) => {
                rest = after;
                Ok(entry)
            }
            None => {
                rest = &[];
                Err(BundleError::CutOff { index })
            }
        };
        index += 1;
        Some(entry)
    })
}

/// Why bytes are no entry bundle, or an entry does not go into one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("an entry of {bytes} bytes, where 65535 are the most")]
    TooLong { bytes: usize },
    #[error("entry {index} of the bundle is cut off")]
    CutOff { index: usize },
    #[error("the bundle does not hold {expected} entries")]
    Count { expected: u16 },
}

/// Nodes at a level of tiles: `floor(size / 256**level)`.
fn size_at_level(size: u64, level: u8) -> u64 {
    // tlog-tiles, Partial Tiles: "MUST NOT be hashed into a tile at the level above": only
    // full tiles count, hence the rounding down.
    size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0)
}

fn parse_level(text: &str) -> Result<u8, PathError> {
    let level: u8 = parse_decimal(text).ok_or(PathError::Level)?;
    if level > LEVEL_MAX { Err(PathError::Level) } else { Ok(level) }
}

fn parse_width(text: &str) -> Result<u16, PathError> {
    // tlog-tiles, Merkle Tree: "`<W>` is the width of the tile, a decimal ASCII integer between 1
    // and 255, with no additional leading zeroes."
    let width: u16 = parse_decimal(text).ok_or(PathError::Width)?;
    if (1..TILE_WIDTH).contains(&width) { Ok(width) } else { Err(PathError::Width) }
}

fn parse_index(text: &str) -> Result<u64, PathError> {
    let mut index: u64 = 0;
    let last = text.split('/').count().saturating_sub(1);
    for (place, group) in text.split('/').enumerate() {
        let digits = if place < last { group.strip_prefix('x') } else { Some(group) };
        let digits = digits.filter(|d| d.len() == 3 && d.bytes().all(|b| b.is_ascii_digit()));
        let group: u64 = digits.and_then(|d| d.parse().ok()).ok_or(PathError::Index)?;
        // One name for each tile: no leading group of zeros.
        if place == 0 && last > 0 && group == 0 {
            return Err(PathError::Index);
        }
        index =
            index.checked_mul(1_000).and_then(|i| i.checked_add(group)).ok_or(PathError::Index)?;
    }
    Ok(index)
}

/// A number as it would be printed: digits only, no leading zero.
fn parse_decimal<N: std::str::FromStr + fmt::Display>(text: &str) -> Option<N> {
    text.parse::<N>().ok().filter(|number| number.to_string() == text)
}
