//! Certificates after OpenSSH's PROTOCOL.certkeys: a public key, what it may be called and when,
//! and the signature of an authority over all of it.

use aws_lc_rs::digest;
use time::UnixTime;

use crate::PRINCIPALS_MAX;
use crate::public_key::{BadSignature, KeyError, PublicKey, Signature};
use crate::wire::{self, Malformed, Reader};

/// What the name of a certificate's type adds to that of its key's.
const CERTIFICATE: &str = "-cert-v01@openssh.com";
/// Most options of one kind in one certificate.
const OPTIONS_MAX: usize = 32;

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `SSH_CERT_TYPE_USER`.
    User,
    /// `SSH_CERT_TYPE_HOST`.
    Host,
}

/// A certificate that was read. That it was read says nothing of who signed it: see
/// [`Certificate::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    bytes: Vec<u8>,
    signed: usize,
    key: PublicKey,
    serial: u64,
    role: Role,
    key_id: String,
    principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    critical: Vec<String>,
    authority: PublicKey,
    signature: Signature,
}

impl Certificate {
    /// Reads the wire form, all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, CertificateError> {
        let mut reader = Reader::new(wire::bounded(bytes)?);
        let name = reader.text()?;
        let Some(kind) = name.strip_suffix(CERTIFICATE) else {
            return Err(CertificateError::NoCertificate);
        };
        // PROTOCOL.certkeys: "nonce is a CA-provided random bitstring of arbitrary length"
        reader.string()?;
        let key = PublicKey::of_name(kind, &mut reader)?;
        let serial = reader.u64()?;
        let role = match reader.u32()? {
            1 => Role::User,
            2 => Role::Host,
            other => return Err(CertificateError::Role { role: other }),
        };
        let key_id = reader.text()?.to_owned();
        let principals = principals(reader.string()?)?;
        let (valid_after, valid_before) = (reader.u64()?, reader.u64()?);
        let critical = options(reader.string()?)?;
        options(reader.string()?)?;
        // PROTOCOL.certkeys: "The reserved field is currently unused and is ignored in this version
        // of the protocol."
        reader.string()?;
        // PROTOCOL.certkeys: "signature key contains the CA key used to sign the certificate.
        // [...] Note that it is possible for a RSA certificate key to be signed by a Ed25519 or
        // ECDSA CA key"; of a key only, for "Chained certificates, where the signature key type is
        // a certificate type itself are NOT supported."
        let authority = PublicKey::parse(reader.string()?)?;
        // PROTOCOL.certkeys: "signature is computed over all preceding fields from the initial
        // string up to, and including the signature key."
        let signed = bytes.len() - reader.left();
        let signature = Signature::parse(reader.string()?)?;
        reader.end()?;
        Ok(Self {
            bytes: bytes.to_vec(),
            signed,
            key,
            serial,
            role,
            key_id,
            principals,
            valid_after,
            valid_before,
            critical,
            authority,
            signature,
        })
    }

    /// Reads a line `ssh-ed25519-cert-v01@openssh.com AAAA… comment`.
    pub fn parse_line(text: &str) -> Result<Self, CertificateError> {
        Self::parse(&wire::line(text)?)
    }

    /// Whether the authority that it names signed it. Whether that authority counts is for the
    /// caller to say, before.
    pub fn verify(&self) -> Result<(), BadSignature> {
        let signed = self.bytes.get(..self.signed).unwrap_or_default();
        self.authority.verify(signed, &self.signature)
    }

    /// Whether it holds at `now`.
    pub const fn is_valid_at(&self, now: UnixTime) -> bool {
        // PROTOCOL.certkeys: "valid after <= current time < valid before"
        let seconds = now.millis() / 1_000;
        self.valid_after <= seconds && seconds < self.valid_before
    }

    /// The wire form, as it was read.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key that it is about.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The number that its authority gave it.
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// Whom it is for.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What its authority calls it, in its logs.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The names that it holds for. None means all: "a zero-length "valid principals" field means
    /// the certificate is valid for any principal of the specified type."
    pub fn principals(&self) -> &[String] {
        &self.principals
    }

    /// The first second in which it holds.
    pub const fn valid_after(&self) -> u64 {
        self.valid_after
    }

    /// The first second in which it does so no more.
    pub const fn valid_before(&self) -> u64 {
        self.valid_before
    }

    /// The names of its critical options. PROTOCOL.certkeys: "If an implementation does not
    /// recognise an option, then the validating party should refuse to accept the certificate."
    pub fn critical_options(&self) -> &[String] {
        &self.critical
    }

    /// The key that signed it.
    pub const fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// SHA-256 of the wire form.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.bytes).as_ref());
        hash
    }
}

// PROTOCOL.certkeys: ""valid principals" is a string containing zero or more principals as strings
// packed inside it."
fn principals(packed: &[u8]) -> Result<Vec<String>, CertificateError> {
    let mut reader = Reader::new(packed);
    let mut found = Vec::new();
    while !reader.is_empty() {
        if found.len() == PRINCIPALS_MAX {
            return Err(CertificateError::TooMany { what: "principals", max: PRINCIPALS_MAX });
        }
        let principal = reader.text()?;
        if principal.is_empty() {
            return Err(CertificateError::EmptyPrincipal);
        }
        found.push(principal.to_owned());
    }
    Ok(found)
}

/// The names of options; their data is read and passed over.
fn options(packed: &[u8]) -> Result<Vec<String>, CertificateError> {
    let mut reader = Reader::new(packed);
    let mut names: Vec<String> = Vec::new();
    while !reader.is_empty() {
        if names.len() == OPTIONS_MAX {
            return Err(CertificateError::TooMany { what: "options", max: OPTIONS_MAX });
        }
        let name = reader.text()?;
        reader.string()?;
        // PROTOCOL.certkeys: "Options must be lexically ordered by "name" if they appear in the
        // sequence. Each named option may only appear once in a certificate."
        if names.last().is_some_and(|last| last.as_str() >= name) {
            return Err(CertificateError::OptionOrder { name: name.chars().take(64).collect() });
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Why bytes are no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("its type is not that of a certificate")]
    NoCertificate,
    #[error("a certificate for neither users nor hosts ({role})")]
    Role { role: u32 },
    #[error("more than {max} {what}")]
    TooMany { what: &'static str, max: usize },
    #[error("a principal without a name")]
    EmptyPrincipal,
    #[error("the option `{name}` is there twice, or out of order")]
    OptionOrder { name: String },
}
