//! The proof that a template was checked: signing asks for it (docs/style.md, rule 10).

/// Something that obeys its profile and may be signed. It is made by a checker alone: those of this
/// crate, and through [`Checked::assertion`] the checkers of tokens in `authorization`.
#[derive(Debug)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    /// The word of a checker, given after its last check (`law` lists the uses).
    pub fn assertion(value: T) -> Self {
        Self(value)
    }

    /// What is to be signed.
    pub fn inspect(&self) -> &T {
        &self.0
    }

    /// What is to be signed, taken.
    pub fn into_inner(self) -> T {
        self.0
    }
}
