//! Why bytes are not a structure that is read here.

/// Why bytes are not a structure that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("the structure is cut")]
    Short,
    /// It goes on.
    #[error("{bytes} bytes after the end of the structure")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Over the bound.
    #[error("{bytes} bytes; at most {} are read", crate::STRUCTURE_BYTES_MAX)]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// An algorithm that is not supported there.
    #[error("`{id:#06x}` is no supported {what}")]
    Algorithm {
        /// What it should be.
        what: &'static str,
        /// Its identifier.
        id: u16,
    },
    /// A size that does not fit the algorithm.
    #[error("{what} of {bytes} bytes")]
    Size {
        /// Of what.
        what: &'static str,
        /// What was found.
        bytes: usize,
    },
    /// A structure that a TPM did not make: the magic number is another.
    #[error("the magic number is `{found:#010x}`: no tpm made this structure")]
    Magic {
        /// What was found.
        found: u32,
    },
    /// An attestation of a kind that is not read.
    #[error("an attestation of type `{found:#06x}`")]
    Kind {
        /// What was found.
        found: u16,
    },
    /// A bit that no version defines.
    #[error("reserved bits are set in the attributes `{bits:#010x}`")]
    Reserved {
        /// All bits.
        bits: u32,
    },
    /// Over a count.
    #[error("{found} {what}, at most {max} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// What was found.
        found: usize,
        /// The bound.
        max: usize,
    },
}
