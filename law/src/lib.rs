//! The rules of this tree that a compiler does not know, as tests: who may depend on whom, which
//! foreign crate belongs to which layer, how long a file may be, what pure code must not mention.
//!
//! In scope: readers of the checkout (this module's children `source`, `manifest`, `tree`) and one
//! checker a rule; `tests/it/main.rs` runs them over the tree. A finding names the file, the line
//! and what to do. Not here: what a crate does (its own tests), types and borrow rules (rustc),
//! idiom (clippy), formatting (rustfmt), licences and advisories (`deny.toml`).
//!
//! Trusting it means: a change that passes keeps the shape that `ARCHITECTURE.md` draws. It reads
//! text, so whoever sets out to deceive it can; it is there for mistakes.

pub mod assertions;
pub mod ceilings;
pub mod citations;
pub mod dependencies;
pub mod documents;
pub mod foreign;
pub mod fuzzing;
pub mod headers;
pub mod leaks;
pub mod manifest;
pub mod names;
pub mod purity;
pub mod requirements;
pub mod source;
pub mod tree;
pub mod wording;

use std::fmt;

/// One place that breaks a rule: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path below the checkout.
    pub file: String,
    /// Counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Finding {
    /// A finding at `file:line`.
    pub fn at(file: &str, line: usize, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into(), fix: fix.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.what, self.fix)
    }
}

/// Whether `c` can stand in an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `needle` occurs in `line` with no identifier character right before or after it (where
/// the needle itself begins or ends with one).
pub(crate) fn has_word(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|s| s.chars().next_back());
        let after = line.get(at.saturating_add(needle.len())..).and_then(|s| s.chars().next());
        let open = !needle.starts_with(is_word) || !before.is_some_and(is_word);
        let shut = !needle.ends_with(is_word) || !after.is_some_and(is_word);
        open && shut
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_ends_where_an_identifier_ends() {
        assert!(has_word("use rand::Rng;", "rand"));
        assert!(!has_word("let brand = 1;", "rand"));
        assert!(!has_word("let rando = 1;", "rand"));
        assert!(has_word("x.unwrap()", ".unwrap()"));
    }

    #[test]
    fn a_finding_reads_as_a_place_a_fault_and_a_remedy() {
        let finding = Finding::at("a/src/lib.rs", 3, "`x` is long", "cut it");
        assert_eq!(finding.to_string(), "a/src/lib.rs:3: `x` is long; cut it");
    }
}
