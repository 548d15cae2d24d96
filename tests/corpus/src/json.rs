//! Strict JSON.

use json::Bounds;
use serde_json::Value;

const BOUNDS: Bounds = Bounds { bytes_max: 64 * 1024, depth_max: 32 };

/// What the strict reader takes, the usual one reads; an object is the same to both, and written
/// again it is taken.
pub(crate) fn text(data: &[u8]) {
    let strict = json::text(data, BOUNDS);
    let usual = serde_json::from_slice::<Value>(data);
    assert!(strict.is_err() || usual.is_ok());
    let Ok(object) = json::object(data, BOUNDS) else { return };
    assert_eq!(usual.ok(), Some(Value::Object(object.clone())));
    let written = serde_json::to_vec(&object).unwrap_or_default();
    if written.len() <= BOUNDS.bytes_max {
        let again = json::object(&written, BOUNDS);
        assert!(
            again.is_ok_and(|again| again == object || object.values().any(crate::has_fraction))
        );
    }
    let found = strict.and_then(|text| json::members_of(text, ["a", "jsonrpc"]));
    if let Ok([Some(a), _]) = found {
        let read = serde_json::from_str::<Value>(a.get()).ok();
        assert!(read.as_ref() == object.get("a"));
    }
}

/// The canonical form of a value is its own canonical form, and means what the value means.
pub(crate) fn canonical(data: &[u8]) {
    let Ok(text) = json::text(data, BOUNDS) else { return };
    let Ok(canonical) = json::canonical(text, &[]) else { return };
    assert_eq!(json::canonical(&canonical, &[]).as_deref(), Ok(canonical.as_str()));
    let _ = json::canonical(text, &["signatures"]);
}
