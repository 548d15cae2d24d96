//! Base64url as §3 defines it: one text for each value.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` for padding, foreign characters and trailing bits that are not zero.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    // §3: "with all trailing '=' characters omitted (as permitted by Section 3.2) and without the
    // inclusion of any line breaks, whitespace, or other additional characters."
    URL_SAFE_NO_PAD.decode(text).ok()
}
