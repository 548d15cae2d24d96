//! The code of a user for clients that may get them asked (CIBA Core 1.0 §7.1, `user_code`), as it
//! is stored: what is stored does not tell it.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Rounds. The code is one of ours, with 60 bits: they need not make up for a word of a dictionary.
const ROUNDS: NonZeroU32 = match NonZeroU32::new(10_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};
/// The most rounds that a row may ask for.
const ROUNDS_MAX: u32 = 1_000_000;
/// How the text begins.
const SCHEME: &str = "pbkdf2-sha256";
/// Bytes of the hash.
const HASH: usize = 32;

/// What is stored of a code.
pub fn hashed(letters: &str, salt: &[u8; 16]) -> String {
    let mut hash = [0; HASH];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, letters.as_bytes(), &mut hash);
    let (salt, hash) = (URL_SAFE_NO_PAD.encode(salt), URL_SAFE_NO_PAD.encode(hash));
    format!("{SCHEME}${ROUNDS}${salt}${hash}")
}

/// Whether that is stored of this code; compared in constant time.
pub fn is_of(stored: &str, letters: &str) -> bool {
    let mut parts = stored.split('$');
    let (Some(SCHEME), Some(rounds), Some(salt), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let rounds = rounds.parse::<NonZeroU32>().ok().filter(|rounds| rounds.get() <= ROUNDS_MAX);
    let (salt, hash) = (URL_SAFE_NO_PAD.decode(salt), URL_SAFE_NO_PAD.decode(hash));
    let (Some(rounds), Ok(salt), Ok(hash)) = (rounds, salt, hash) else { return false };
    if hash.len() != HASH {
        return false;
    }
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::verify(algorithm, rounds, &salt, letters.as_bytes(), &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciba_7_1_a_code_is_known_by_its_hash_alone() {
        let stored = hashed("7KQ29MXAF3TN", &[7; 16]);
        assert!(stored.starts_with("pbkdf2-sha256$10000$") && !stored.contains("7KQ2"));
        assert!(is_of(&stored, "7KQ29MXAF3TN"));
        assert!(!is_of(&stored, "7KQ29MXAF3TM"));
        assert_ne!(stored, hashed("7KQ29MXAF3TN", &[8; 16]));
        let other = stored.replace("$10000$", "$10001$");
        let huge = stored.replace("$10000$", "$4000000000$");
        for wrong in [other.as_str(), huge.as_str(), "", "$$$", "pbkdf2-sha256$1$$"] {
            assert!(!is_of(wrong, "7KQ29MXAF3TN"), "{wrong}");
        }
    }
}
