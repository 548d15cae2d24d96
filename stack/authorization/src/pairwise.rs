//! Pairwise subject identifiers (OpenID Connect Core 1.0 §8.1; AUTHZ-21): two clients, or two
//! resources, cannot tell that they serve the same person.

use aws_lc_rs::hmac;
use jose::TokenHash;

/// What they are made over, so that the secret is not used for something else.
const LABEL: &[u8] = b"aims pairwise subject 1";
/// How one begins: nobody takes it for an identifier of ours.
pub const PREFIX: &str = "pairwise-";

/// The `sub` of `subject` for one client or resource. §8.1: "The Subject Identifier value MUST NOT
/// be reversible by any party other than the OpenID Provider."
pub fn subject(secret: &[u8; 32], sector: &str, subject: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let parts = [LABEL, &[0], sector.as_bytes(), &[0], subject.as_bytes()].concat();
    let tag = hmac::sign(&key, &parts);
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    format!("{PREFIX}{}", TokenHash::from_bytes(hash).to_base64url())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: AUTHZ-21 (part)
    #[test]
    fn openid_core_8_1_each_sector_has_its_own_and_always_the_same() {
        let of = |secret: u8, sector: &str, user: &str| subject(&[secret; 32], sector, user);
        let ada = of(1, "client-1", "user:ada");
        assert_eq!(ada, of(1, "client-1", "user:ada"));
        for other in [
            of(1, "client-2", "user:ada"),
            of(1, "client-1", "user:eve"),
            of(2, "client-1", "user:ada"),
            of(1, "client-1\0user:ada", ""),
        ] {
            assert_ne!(ada, other);
        }
        assert!(ada.starts_with(PREFIX) && !ada.contains("ada"), "{ada}");
    }
}
