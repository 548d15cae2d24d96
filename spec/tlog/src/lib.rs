//! Transparency logs: [RFC 6962 §2.1](https://www.rfc-editor.org/rfc/rfc6962#section-2.1) Merkle
//! trees, [tlog-tiles](https://c2sp.org/tlog-tiles), [signed-note](https://c2sp.org/signed-note),
//! [tlog-checkpoint](https://c2sp.org/tlog-checkpoint),
//! [tlog-cosignature](https://c2sp.org/tlog-cosignature) (Ed25519) and
//! [tlog-proof](https://c2sp.org/tlog-proof), as of C2SP 5ba5ee830903.
//!
//! In scope: hashes, tile names and contents, proofs, and what is written, signed and checked.
//! Not here: files, HTTP and keys (`edge/log` writes a log; whoever holds a key signs the bytes
//! that [`note::Draft`] names), ML-DSA-44 cosignatures, the witness protocol, policy files.

mod checkpoint;
mod frontier;
mod hash;
pub mod note;
mod proof_file;
mod tile;
mod tree;

pub use checkpoint::{Checkpoint, Cosigned, Opened, Refused as CheckpointRefused};
pub use checkpoint::{ParseError as CheckpointParseError, WriteError as CheckpointWriteError};
pub use frontier::Frontier;
pub use hash::{EMPTY_ROOT, HASH_BYTES, Hash, HashParseError, hash_leaf, hash_node};
pub use proof_file::{Included, ParseError as ProofParseError, ProofFile, Refused as ProofRefused};
pub use tile::{
    BundleError, ENTRY_BYTES_MAX, NodePlace, PathError, TILE_WIDTH, TileContentError, TileKind,
    TilePath, bundle_entries, read_bundle, read_tile, write_bundle, write_tile,
};
pub use tree::{
    Hashes, PROOF_HASHES_MAX, ProofError, consistency_proof, inclusion_proof, root, root_of,
    verify_consistency, verify_inclusion,
};
