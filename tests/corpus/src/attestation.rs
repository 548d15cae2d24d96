//! Attestation: what an issuer of tokens answers when it is asked for its keys.

use attestation::issuer_keys::{Kept, KeySource, discovered};
use time::UnixTime;

/// A discovery document names a place, and written again the same; a key set is kept, or not used.
pub(crate) fn discovery(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = KeySource {
        issuer: "https://issuer.example".to_owned(),
        url: String::new(),
        discovery: true,
        ca: None,
        addresses: Vec::new(),
    };
    if let Ok(place) = discovered(&source, text) {
        let again = serde_json::json!({ "issuer": source.issuer, "jwks_uri": place }).to_string();
        assert_eq!(discovered(&source, &again), Ok(place));
    }
    let mut kept = Kept::default();
    let now = UnixTime::from_seconds(1_800_000_000);
    let used = kept.answered(text.to_owned(), 0, now).is_ok();
    assert_eq!(kept.text(now), used.then_some(text));
}
