//! Opaque access tokens (AUTHZ-04, AUTHZ-21): a text that says nothing, known here by its hash.

use jose::TokenHash;

/// How one begins, so that it is taken for nothing else.
pub const PREFIX: &str = "aims_at_";
/// Characters of one: the prefix, and 32 bytes in base64url.
const LENGTH: usize = PREFIX.len() + 43;

/// The text with these random bytes.
pub fn text(secret: [u8; 32]) -> String {
    format!("{PREFIX}{}", TokenHash::from_bytes(secret).to_base64url())
}

/// Whether a text has the form of one, whole (docs/past-defects.md 16: one that was cut short).
pub fn is_one(text: &str) -> bool {
    let rest = text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH);
    rest.is_some_and(|rest| TokenHash::parse(rest).is_ok())
}

/// How it is known in the store.
pub fn hash_of(text: &str) -> String {
    TokenHash::of(text).to_base64url()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Defect: an opaque token that was cut short, or changed in its last bits, was still valid.
    /// req: AUTHZ-04 (part)
    #[test]
    fn rfc7662_1_an_opaque_token_reads_in_its_one_form_alone() {
        let good = text([255; 32]);
        assert!(is_one(&good));
        let cut = good.get(..good.len() - 1).unwrap();
        let second_spelling = format!("{cut}9");
        let longer = format!("{good}A");
        for bad in ["", PREFIX, cut, &second_spelling, &longer, &good.to_uppercase(), "a.b.c"] {
            assert!(!is_one(bad), "{bad}");
        }
        assert_ne!(hash_of(&good), good);
    }
}
