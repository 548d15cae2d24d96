//! Checkpoints: what a log promises about its tree (tlog-checkpoint).

use time::UnixTime;

use crate::hash::{EMPTY_ROOT, Hash, HashParseError};
use crate::note::{self, Note, VerifierKey};

/// Size and root of a log's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    has_extensions: bool,
}

impl Checkpoint {
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, ParseError> {
        // tlog-checkpoint, Note text: "The origin MUST be non-empty".
        if origin.is_empty() || origin.contains('\n') {
            return Err(ParseError::Origin);
        }
        if size == 0 && root != EMPTY_ROOT {
            return Err(ParseError::EmptyRoot { root });
        }
        Ok(Self { origin: origin.to_owned(), size, root, has_extensions: false })
    }

    /// Reads the text of a note; extension lines are read over.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        // tlog-checkpoint, Note text: "The note text is a sequence of at least three non-empty
        // lines, separated by newlines (U+000A)."
        let text = text.strip_suffix('\n').ok_or(ParseError::Lines)?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(ParseError::Lines);
        };
        let mut checkpoint = Self::new(origin, parse_size(size)?, Hash::parse(root)?)?;
        for extension in lines {
            // "Extension lines, if any, MUST be non-empty."
            if extension.is_empty() {
                return Err(ParseError::EmptyExtension);
            }
            checkpoint.has_extensions = true;
        }
        Ok(checkpoint)
    }

    /// Reads and verifies a signed checkpoint of the log `origin`: one of the log's keys must have
    /// signed, whatever witnesses did.
    pub fn open(
        bytes: &[u8],
        origin: &str,
        log_keys: &[VerifierKey],
        witnesses: &[VerifierKey],
    ) -> Result<Opened, Refused> {
        let known: Vec<VerifierKey> = log_keys.iter().chain(witnesses).cloned().collect();
        let opened = Note::parse(bytes)?.verify(&known)?;
        if !opened.signers().iter().any(|signed| log_keys.contains(&signed.key)) {
            return Err(Refused::NotTheLog);
        }
        let checkpoint = Self::parse(opened.text())?;
        if checkpoint.origin != origin {
            let found = checkpoint.origin;
            return Err(Refused::Origin { found, expected: origin.to_owned() });
        }
        let cosigned = opened.signers().iter().filter_map(|signed| {
            let name = signed.key.name().to_owned();
            signed.time.map(|time| Cosigned { name, time })
        });
        Ok(Opened { checkpoint, cosigned: cosigned.collect() })
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> Hash {
        self.root
    }

    /// The text to sign.
    pub fn text(&self) -> Result<String, WriteError> {
        // tlog-checkpoint, Note text: "The use of extension lines is NOT RECOMMENDED, as they are
        // not auditable by log monitors."
        if self.has_extensions {
            return Err(WriteError::Extensions);
        }
        Ok(format!("{}\n{}\n{}\n", self.origin, self.size, self.root))
    }
}

/// A checkpoint that its log signed. Made only by [`Checkpoint::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    checkpoint: Checkpoint,
    cosigned: Vec<Cosigned>,
}

impl Opened {
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The known witnesses that cosigned.
    pub fn cosigned(&self) -> &[Cosigned] {
        &self.cosigned
    }
}

/// A witness and when it says that it cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    pub name: String,
    pub time: UnixTime,
}

/// Why a text is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("a checkpoint has an origin, a size and a root, each on its line")]
    Lines,
    #[error("the origin is empty or has a newline")]
    Origin,
    #[error("the size is not a number: `{found}`")]
    Size { found: String },
    #[error(transparent)]
    Root(#[from] HashParseError),
    #[error("the empty tree cannot have root {root}")]
    EmptyRoot { root: Hash },
    #[error("an extension line is empty")]
    EmptyExtension,
}

/// Why a checkpoint is not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("a checkpoint with extension lines is not signed")]
    Extensions,
}

/// Why a signed checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Note(#[from] note::ParseError),
    #[error(transparent)]
    Signature(#[from] note::VerifyError),
    #[error("witnesses signed, but not the log")]
    NotTheLog,
    #[error(transparent)]
    Text(#[from] ParseError),
    #[error("a checkpoint of `{found}` instead of `{expected}`")]
    Origin { found: String, expected: String },
}

fn parse_size(text: &str) -> Result<u64, ParseError> {
    // tlog-checkpoint, Note text: "with no leading zeroes (unless the tree is empty, in which case
    // the tree size is `0`)".
    let size = text.parse::<u64>().ok().filter(|size| size.to_string() == text);
    size.ok_or_else(|| ParseError::Size { found: text.to_owned() })
}
