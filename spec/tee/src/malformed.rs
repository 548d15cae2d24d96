//! Why bytes are not a structure that is read here.

/// Why bytes are not a structure that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("it is cut")]
    Short,
    /// It goes on.
    #[error("{bytes} bytes after its end")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Over the bound.
    #[error("{bytes} bytes, at most {max} are read")]
    TooLong {
        /// How many.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A number that says of which kind a part is, and is none that is read here.
    #[error("{what} is {found}, which is not read here")]
    Kind {
        /// Of what.
        what: &'static str,
        /// What was found.
        found: u32,
    },
    /// A part has another size than its kind.
    #[error("{what} has {bytes} bytes")]
    Size {
        /// Which part.
        what: &'static str,
        /// What was found.
        bytes: usize,
    },
    /// Bytes that must be zero are not.
    #[error("what is reserved in {what} is not zero")]
    Reserved {
        /// In which part.
        what: &'static str,
    },
}
