//! Bills of materials, advisories, and the texts in them.

use bom::{Advisories, Bom, Purl, Score, SemVer};
use time::UnixTime;

/// What is read is whole: whatever is reached is there.
pub(crate) fn bill(data: &[u8]) {
    let Ok(bom) = Bom::parse(data) else { return };
    assert!(bom.reached().len() <= bom.components().len());
    let _ = bom.has_unattested_data();
}

/// Advisories, against nothing and against themselves.
pub(crate) fn advisories(data: &[u8]) {
    if let Ok(list) = Advisories::parse(data) {
        assert!(list.len() <= bom::ADVISORIES_MAX);
        let subject = br#"{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":
            {"bom-ref":"a","type":"library","name":"a","version":"1.0.0","purl":"pkg:npm/a@1.0.0"}},
            "dependencies":[{"ref":"a"}]}"#;
        if let Ok(bom) = Bom::parse(subject) {
            for one in list.of(bom.subject(), UnixTime::EPOCH) {
                let _ = one.severity_for(bom.subject());
            }
        }
    }
}

/// A name, a version and a vector: what is written of a name is read as the same.
pub(crate) fn text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(purl) = Purl::parse(text) {
        let _ = (purl.in_osv(), purl.to_string());
        assert!(purl.is_same_package(&purl));
    }
    if let Some(version) = SemVer::parse(text) {
        assert_eq!(version.cmp(&version), std::cmp::Ordering::Equal);
    }
    if let Ok(score) = Score::of_vector(text) {
        assert!(score <= Score::MAX);
    }
}
