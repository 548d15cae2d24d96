//! The texts that clients hold: each of a kind is known by how it begins, and found nowhere but
//! where its kind is looked for (docs/past-defects.md 7).

use authentication::session::hash_of;
use jose::TokenHash;
use zeroize::Zeroizing;

/// An initial access token (RFC 7591 §3).
pub(crate) const INVITATION: &str = "aims_iat_";
/// A registration access token (RFC 7592 §3).
pub(crate) const MANAGER: &str = "aims_rat_";
/// A client secret.
pub(crate) const SECRET: &str = "aims_cs_";
/// Bytes of any of them.
const TEXT_BYTES_MAX: usize = 128;

/// A secret text: not shown, and wiped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// One of this kind, of these random bytes.
    pub(crate) fn made(kind: &str, random: &[u8; 32]) -> Self {
        Self(Zeroizing::new(format!("{kind}{}", TokenHash::from_bytes(*random).to_base64url())))
    }

    /// One that was shown.
    pub(crate) fn shown(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text, for the one whom it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What it is stored under.
    pub(crate) fn hash(&self) -> String {
        hash_of(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whether a text can be of this kind.
pub(crate) fn is_of(kind: &str, text: &str) -> bool {
    text.starts_with(kind) && text.len() <= TEXT_BYTES_MAX
}
