//! What makes a ceremony happen once: random bytes that the response must repeat.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::ZeroizeOnDrop;

use crate::base64url;

/// 32 bytes that nobody can guess; the caller draws them, keeps them for one ceremony and takes
/// them away with its end. Compared in constant time, never shown.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Challenge([u8; Self::LENGTH]);

impl Challenge {
    /// Its length, in bytes.
    // §13.4.3: "the challenges MUST contain enough entropy to make guessing them infeasible.
    // Challenges SHOULD therefore be at least 16 bytes long."
    pub const LENGTH: usize = 32;

    /// Of random bytes.
    pub const fn of(random: [u8; Self::LENGTH]) -> Self {
        Self(random)
    }

    /// The bytes, to keep them.
    pub const fn expose(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// As client data has it.
    pub fn to_base64url(&self) -> String {
        base64url::encode(&self.0)
    }

    /// Whether `text` is its one base64url form.
    pub(crate) fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(self.to_base64url().as_bytes(), text.as_bytes()).is_ok()
    }
}

impl PartialEq for Challenge {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Challenge {}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenge(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s13_4_3_a_challenge_is_compared_and_not_shown() {
        let challenge = Challenge::of([0xab; 32]);
        assert_eq!(challenge, Challenge::of([0xab; 32]));
        assert_ne!(challenge, Challenge::of([0xac; 32]));
        assert_eq!(format!("{challenge:?}"), "Challenge(…)");
        let text = challenge.to_base64url();
        assert!(challenge.is(&text));
        assert!(!challenge.is(&format!("{text}=")));
        assert!(!challenge.is(""));
    }
}
