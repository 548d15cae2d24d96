//! JOSE: strict JSON, keys and key sets.

use jose::jws::Jws;
use jose::{Jwk, KeySet, PublicKey, json};
use serde_json::{Map, Value};

/// What the strict reader takes, the usual one reads as the same; and written again it is taken.
pub(crate) fn json(data: &[u8]) {
    let Ok(strict) = json::parse_bytes::<Map<String, Value>>(data) else { return };
    assert_eq!(serde_json::from_slice::<Map<String, Value>>(data).ok(), Some(strict.clone()));
    let written = serde_json::to_vec(&strict).unwrap_or_default();
    let again = json::parse_bytes::<Map<String, Value>>(&written);
    assert!(again.is_ok_and(|again| again == strict || strict.values().any(crate::has_fraction)));
}

/// A key or a set of them; a key written again has the same thumbprint.
pub(crate) fn key_set(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(jwk) = Jwk::parse(text) {
        let written = Jwk::from_value(&jwk.to_value());
        assert_eq!(written.map(|jwk| jwk.thumbprint()), Ok(jwk.thumbprint()));
        let _ = PublicKey::from_jwk(&jwk);
    }
    if let Ok(set) = KeySet::parse(text) {
        for kid in set.keys().iter().filter_map(Jwk::kid) {
            let holders = set.keys().iter().filter(|jwk| jwk.kid() == Some(kid)).count();
            assert_eq!(set.by_kid(kid).is_some(), holders == 1);
        }
    }
    let _ = PublicKey::from_spki_der(data);
}

/// A signature of nobody verifies with no key that is at hand.
pub(crate) fn jws(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok((jws, payload)) = Jws::parse_compact(text) {
        assert!(payload.len() <= text.len());
        let _ = (jws.kid(), jws.typ());
    }
    let (protected, signature) = text.split_once('\n').unwrap_or((text, ""));
    let _ = Jws::parse(protected, signature);
}
