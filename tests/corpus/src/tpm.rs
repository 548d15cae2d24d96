//! Structures of a TPM: what is read and written again has the same bytes.

use tpm::{Attest, Public, Signature};

/// Any of the structures that evidence is made of.
pub(crate) fn structure(data: &[u8]) {
    if let Ok(key) = Public::parse(data) {
        assert_eq!(key.to_bytes(), data);
        let _ = (key.name(), key.spki_der());
        let _ = tpm::make_credential(&key, &key.name(), b"secret", &[7; 32]);
    }
    let _ = Public::parse_file(data);
    if let Ok(attest) = Attest::parse(data) {
        assert_eq!(attest.to_bytes(), data);
    }
    if let Ok(signature) = Signature::parse(data) {
        assert_eq!(signature.to_bytes(), data);
    }
}
