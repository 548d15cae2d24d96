//! Attestation results and message wrappers.

use jose::Unverified;
use rats::{Cmw, Ear, EarToken};

/// A result is trusted no more than its worst part, and written it is read as the same.
pub(crate) fn ear(data: &[u8]) {
    let text = str::from_utf8(data).unwrap_or_default();
    let _ = Unverified::<EarToken>::parse(text);
    let Ok(ear) = serde_json::from_slice::<Ear>(data) else { return };
    assert!(ear.submods.values().all(|part| part.tier() <= ear.tier()));
    let written = serde_json::to_value(&ear).unwrap_or_default();
    let again = serde_json::from_value::<Ear>(written);
    assert_eq!(again.map(|again| again.tier()).ok(), Some(ear.tier()));
}

/// A wrapper that is written is read as the same, in both forms.
pub(crate) fn cmw(data: &[u8]) {
    if let Ok(read) = Cmw::parse_cbor(data) {
        assert!(read.records().len() <= rats::COLLECTION_ENTRIES_MAX);
        assert_eq!(Cmw::parse_cbor(&read.to_cbor()), Ok(read.clone()));
        assert_eq!(Cmw::read(&read.to_json()), Ok(read));
    }
    let Ok(read) = Cmw::parse(data) else { return };
    assert!(read.records().len() <= rats::COLLECTION_ENTRIES_MAX);
    assert_eq!(Cmw::read(&read.to_json()), Ok(read));
}
