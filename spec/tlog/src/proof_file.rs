//! Proofs as files: that an entry is in a log, to be checked without asking anyone (tlog-proof).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{self, Checkpoint, Opened};
use crate::hash::{Hash, HashParseError};
use crate::note::{NOTE_BYTES_MAX, VerifierKey};
use crate::tree::{PROOF_HASHES_MAX, ProofError, verify_inclusion};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Bytes of extra data a proof can carry.
const EXTRA_BYTES_MAX: usize = 64 * 1024;
/// Bytes a file can have: a checkpoint, extra data in base64, hashes.
const FILE_BYTES_MAX: usize = NOTE_BYTES_MAX + EXTRA_BYTES_MAX * 2;

/// An entry's index, its inclusion proof and the checkpoint that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    // tlog-proof, Format: "Appications MUST NOT implicitly trust the extra data, as it is not
    // authenticated."
    pub extra: Option<Vec<u8>>,
    pub index: u64,
    /// The leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl ProofFile {
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(ParseError::TooLong { bytes: bytes.len() });
        }
        let text = str::from_utf8(bytes).map_err(|_| ParseError::NotUtf8)?;
        // tlog-proof, Format: "After the inclusion proof lines and an empty line, the checkpoint
        // issued by the log is included verbatim".
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ParseError::NoCheckpoint)?;
        let mut lines = head.split('\n');
        // "The first line MUST be the string `c2sp.org/tlog-proof@v1`."
        if lines.next() != Some(FIRST_LINE) {
            return Err(ParseError::FirstLine);
        }
        let mut line = lines.next().ok_or(ParseError::Index)?;
        let mut extra = None;
        if let Some(data) = line.strip_prefix("extra ") {
            let data = STANDARD.decode(data).ok().filter(|data| data.len() <= EXTRA_BYTES_MAX);
            extra = Some(data.ok_or(ParseError::Extra)?);
            line = lines.next().ok_or(ParseError::Index)?;
        }
        // "represented as an ASCII decimal with no leading zeroes (unless the index is `0`)"
        let index = line
            .strip_prefix("index ")
            .and_then(|text| text.parse::<u64>().ok().filter(|index| index.to_string() == text));
        let index = index.ok_or(ParseError::Index)?;
        let hashes: Vec<Hash> =
            lines.take(PROOF_HASHES_MAX + 1).map(Hash::parse).collect::<Result<_, _>>()?;
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(ParseError::TooManyHashes);
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that an entry with the hash `leaf` is in the log `origin`. How many of the known
    /// witnesses must have cosigned is for the caller to say.
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &str,
        log_keys: &[VerifierKey],
        witnesses: &[VerifierKey],
    ) -> Result<Included, Refused> {
        // tlog-proof, Verifying: "Check that the checkpoint origin line is acceptable, and that
        // the checkpoint is signed by a log public key configured for that origin line."
        let opened = Checkpoint::open(self.checkpoint.as_bytes(), origin, log_keys, witnesses)?;
        let checkpoint = opened.checkpoint();
        // "Check that the inclusion proof is valid, to bind the leaf hash computed in step 1 to
        // the the root hash of the signed checkpoint."
        let (size, root) = (checkpoint.size(), checkpoint.root());
        verify_inclusion(leaf, self.index, size, &root, &self.hashes)?;
        Ok(Included { index: self.index, opened })
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// An entry that is in a log. Made only by [`ProofFile::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    index: u64,
    opened: Opened,
}

impl Included {
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The checkpoint that the proof leads to, and who cosigned it.
    pub fn checkpoint(&self) -> &Opened {
        &self.opened
    }
}

/// Why bytes are no proof file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("a proof of {bytes} bytes")]
    TooLong { bytes: usize },
    #[error("the proof is not UTF-8")]
    NotUtf8,
    #[error("the first line is not `c2sp.org/tlog-proof@v1`")]
    FirstLine,
    #[error("the extra data is not base64, or too long")]
    Extra,
    #[error("the line with the index is missing or malformed")]
    Index,
    #[error(transparent)]
    Hash(#[from] HashParseError),
    #[error("more hashes than a proof can have")]
    TooManyHashes,
    #[error("the proof has no checkpoint")]
    NoCheckpoint,
}

/// Why a proof is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Refused),
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}
