//! Certificates, requests, and the text form that holds them.

use time::UnixTime;
use x509::{
    Certificate, CertificateDer, Purpose, Request, RevocationList, SignedData, Timestamp,
    verify_chain,
};

/// A certificate is kept as it came, and vouches for itself at most.
pub(crate) fn certificate(data: &[u8]) {
    let Ok(certificate) = Certificate::parse(data) else { return };
    assert_eq!(certificate.der(), data);
    assert!(certificate.uri_names().len() <= x509::NAMES_MAX);
    assert!(certificate.extensions().len() <= x509::EXTENSIONS_MAX);
    let _ = (certificate.epoch(), certificate.has_name_constraints(), certificate.is_ca());
    let chain = [certificate.clone()];
    let now = certificate.not_before();
    let _ = verify_chain(&chain, &chain, Purpose::Client, now);
    // Nothing vouches for a chain where there is no anchor.
    assert!(verify_chain(&chain, &[], Purpose::Client, now).is_err());
    assert!(verify_chain(&chain, &[], Purpose::Server, UnixTime::EPOCH).is_err());
}

/// Certificates as text; written again, they are the same.
pub(crate) fn pem(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(found) = CertificateDer::from_pem_many(text) else { return };
    let written: String = found.iter().map(CertificateDer::to_pem).collect();
    let again = CertificateDer::from_pem_many(&written).unwrap_or_default();
    let bytes = |list: &[CertificateDer]| -> Vec<Vec<u8>> {
        list.iter().map(|der| der.as_bytes().to_vec()).collect()
    };
    assert_eq!(bytes(&again), bytes(&found));
}

/// A request is taken only with the signature of the key that it asks a certificate for.
pub(crate) fn request(data: &[u8]) {
    if let Ok(request) = Request::verify(data) {
        assert!(!request.spki_der().is_empty());
        assert!(request.uri_names().len() <= x509::NAMES_MAX);
    }
}

/// A document is believed only of the certificate that the message names, and its signature's.
pub(crate) fn signed(data: &[u8]) {
    let Ok(signed) = SignedData::parse(data) else { return };
    for certificate in signed.certificates() {
        if signed.verify(certificate).is_ok() {
            assert!(signed.names(certificate));
        }
    }
}

/// A time stamp is believed only of the certificate that it names; here nobody has one.
pub(crate) fn timestamp(data: &[u8]) {
    let Ok(stamp) = Timestamp::parse(data) else { return };
    if let Ok(certificate) = Certificate::parse(data) {
        assert!(stamp.verify(&certificate).is_err());
    }
}

/// A revocation list.
pub(crate) fn revocation(data: &[u8]) {
    if let Ok(list) = RevocationList::parse(data) {
        let _ = (list.is_current(UnixTime::EPOCH), list.issuer().common_names());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = RevocationList::from_pem_many(text);
    }
}
