//! SSH certificates and keys, as bytes and as lines of a file.

use ssh::{Certificate, PrivateKeyFile, PublicKey, Signature};

/// A certificate is kept as it came, and read again is the same.
pub(crate) fn certificate(data: &[u8]) {
    let line = str::from_utf8(data).ok().and_then(|text| Certificate::parse_line(text).ok());
    let Some(read) = line.or_else(|| Certificate::parse(data).ok()) else { return };
    assert_eq!(Certificate::parse(read.as_bytes()).as_ref(), Ok(&read));
    assert!(read.principals().len() <= ssh::PRINCIPALS_MAX);
    let _ = read.verify();
}

/// A public key that is written is read as the same; a private key knows its public half.
pub(crate) fn key(data: &[u8]) {
    let text = str::from_utf8(data).unwrap_or_default();
    let line = PublicKey::parse_line(text).ok();
    if let Some(key) = line.or_else(|| PublicKey::parse(data).ok()) {
        assert_eq!(PublicKey::parse(&key.to_bytes()).as_ref(), Ok(&key));
    }
    let _ = Signature::parse(data);
    if let Ok(file) = PrivateKeyFile::parse(text) {
        assert!(matches!(file.public, PublicKey::Ed25519(_) | PublicKey::P256(_)));
    }
}
