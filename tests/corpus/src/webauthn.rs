//! Authenticator data, client data, keys, attestation objects and responses of browsers.

use webauthn::{
    AttestationObject, AuthenticationResponse, AuthenticatorData, CREDENTIAL_ID_BYTES_MAX,
    ClientData, CredentialKey, EXTENSIONS_MAX, RegistrationResponse,
};

/// Authenticator data is kept as it came, and its credential's key is read again as the same.
pub(crate) fn authenticator_data(data: &[u8]) {
    let Ok(read) = AuthenticatorData::parse(data) else { return };
    assert_eq!(read.as_bytes(), data);
    assert_eq!(read.flags().has_credential(), read.attested().is_some());
    assert!(read.extensions().len() <= EXTENSIONS_MAX);
    if let Some(attested) = read.attested() {
        assert!((1..=CREDENTIAL_ID_BYTES_MAX).contains(&attested.id.as_bytes().len()));
        assert_eq!(CredentialKey::parse(attested.key.as_bytes()).as_ref(), Ok(&attested.key));
    }
}

/// What has an attestation object has authenticator data that reads alone.
pub(crate) fn attestation_object(data: &[u8]) {
    let Ok(read) = AttestationObject::parse(data) else { return };
    let inner = read.authenticator_data();
    assert_eq!(AuthenticatorData::parse(inner.as_bytes()).as_ref(), Ok(inner));
}

/// Client data that reads is JSON.
pub(crate) fn client_data(data: &[u8]) {
    let Ok(read) = ClientData::parse(data) else { return };
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let value: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    let origin = value.as_ref().and_then(|value| value.get("origin")?.as_str());
    assert_eq!(origin, Some(read.origin()));
}

/// A key is kept as it came, and verifies without a panic.
pub(crate) fn key(data: &[u8]) {
    let Ok(read) = CredentialKey::parse(data) else { return };
    assert_eq!(read.as_bytes(), data);
    assert!(read.verify(b"message", data).is_err());
}

/// A response of a registration names a credential.
pub(crate) fn registration(data: &[u8]) {
    let Ok(read) = RegistrationResponse::parse(data) else { return };
    assert!((1..=CREDENTIAL_ID_BYTES_MAX).contains(&read.id().as_bytes().len()));
}

/// A response of an authentication names a credential.
pub(crate) fn authentication(data: &[u8]) {
    let Ok(read) = AuthenticationResponse::parse(data) else { return };
    assert!((1..=CREDENTIAL_ID_BYTES_MAX).contains(&read.id().as_bytes().len()));
}
