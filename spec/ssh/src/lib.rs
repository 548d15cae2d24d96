//! Keys, signatures and certificates of SSH: the data types of
//! [RFC 4251](https://www.rfc-editor.org/rfc/rfc4251), the public keys of
//! [RFC 4253](https://www.rfc-editor.org/rfc/rfc4253), RFC 5656, RFC 8332 and RFC 8709, and OpenSSH's
//! [certificates](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.certkeys) and
//! private key files (its `PROTOCOL.key`).
//!
//! In scope: reading a public key, a signature, a certificate or an unencrypted private key file,
//! verifying with a public key, and whether a certificate's authority signed it. Not here: whose
//! authority counts and what a host may be called (`stack/attestation`), signing
//! (`edge/attestors`),
//! the protocol itself. Kinds of keys: Ed25519, ECDSA on P-256, RSA of 2,048 to 8,192 bits with
//! SHA-2; others are refused.

mod certificate;
mod private_key;
mod public_key;
mod wire;

pub use certificate::{Certificate, CertificateError, Role};
pub use private_key::{PrivateKeyError, PrivateKeyFile};
pub use public_key::{BadSignature, KeyError, PublicKey, Signature};
pub use wire::{Malformed, put_string};

/// Longest certificate, key or key file that is read, in bytes.
pub const BLOB_BYTES_MAX: usize = 16 * 1024;
/// Most principals of one certificate; OpenSSH's own bound is 256.
pub const PRINCIPALS_MAX: usize = 256;
