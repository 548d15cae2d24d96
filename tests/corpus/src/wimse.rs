//! `spec/wimse`: identifiers, patterns, tokens.

use jose::Unverified;
use wimse::{Pattern, Wit, WorkloadId, Wpt, check_token_syntax};

/// An identifier or a pattern: what is read is written the same, byte for byte.
pub(crate) fn id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = WorkloadId::parse(text) {
        assert_eq!(id.as_str(), text);
    }
    let _ = Pattern::parse(text);
}

/// A WIT or a WPT, before any key is looked for.
pub(crate) fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = check_token_syntax(text);
    let _ = Unverified::<Wit>::parse(text).map(|token| token.hint());
    let _ = Unverified::<Wpt>::parse(text);
}
