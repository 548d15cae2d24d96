//! A compact token on its way through the system.

use std::fmt;

use jose::TokenHash;
use zeroize::Zeroize;

/// The text of a token or credential. It is never shown: `Debug` prints the start of its hash, it
/// has no `Display`, and the memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    /// Wraps a token.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token itself, to be put on the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of it: what proofs and caches name it by.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.hash().to_base64url();
        write!(f, "TokenText(sha256 {}…)", hash.get(..8).unwrap_or_default())
    }
}

impl Drop for TokenText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_a_token_is_not_shown() {
        let token = TokenText::new("eyJhbGciOiJFUzI1NiJ9.secret.signature");
        assert_eq!(format!("{token:?}"), "TokenText(sha256 WSZ5Zuk9…)");
        assert_eq!(token.hash(), TokenHash::of(token.expose()));
    }
}
