//! Revocation lists (RFC 5280 §5), as far as those of device makers go: complete lists of an
//! authority's own certificates.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use der::asn1::{AnyRef, IntRef};
use der::{Decode, Sequence, Tag};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use time::UnixTime;
use x509_cert::time::Time;

use crate::certificate::{Certificate, whole};
use crate::issued;
use crate::key::BadSignature;
use crate::name::Name;
use crate::oid::Oid;
use crate::serial::Serial;
use crate::syntax::{Algorithm, ExtensionSyntax, Signed};

/// Longest revocation list that is read, in bytes.
pub const REVOCATION_LIST_BYTES_MAX: usize = 64 * 1024;
/// Most lists in one text.
const LISTS_MAX: usize = 16;

/// A revocation list that was read. That it was read says nothing of who signed it: see
/// [`RevocationList::verify_signed_by`]. Cloning is cheap.
#[derive(Clone)]
pub struct RevocationList(Arc<Contents>);

struct Contents {
    der: Vec<u8>,
    issuer: Name,
    this_update: UnixTime,
    next_update: UnixTime,
    revoked: BTreeSet<Serial>,
}

/// `TBSCertList`.
#[derive(Sequence)]
struct Body<'a> {
    version: u8,
    algorithm: Algorithm<'a>,
    issuer: AnyRef<'a>,
    this_update: Time,
    next_update: Time,
    revoked: Option<Vec<Entry<'a>>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<ExtensionSyntax<'a>>>,
}

/// An element of `revokedCertificates`.
#[derive(Sequence)]
struct Entry<'a> {
    serial: IntRef<'a>,
    date: Time,
    extensions: Option<Vec<ExtensionSyntax<'a>>>,
}

impl RevocationList {
    /// Reads the DER of one list, all of it. It must be of version 2, say when the next one comes,
    /// and have no critical extension: a delta, or a list of some certificates alone, has one.
    pub fn parse(der: &[u8]) -> Result<Self, RevocationListError> {
        if der.len() > REVOCATION_LIST_BYTES_MAX {
            return Err(RevocationListError::TooLong { bytes: der.len() });
        }
        let signed = Signed::from_der(der).map_err(|_| RevocationListError::Encoding)?;
        let body: Body<'_> = signed.body.decode_as().map_err(|_| RevocationListError::Encoding)?;
        // RFC 5280 §5.1.2.1: "this field MUST be present and MUST specify version 2 (the integer
        // value is 1)."
        if body.version != 1 {
            return Err(RevocationListError::Encoding);
        }
        let entries = body.revoked.unwrap_or_default();
        let extensions = entries.iter().filter_map(|entry| entry.extensions.as_ref());
        let mut extensions = extensions.chain(body.extensions.as_ref()).flatten();
        // RFC 5280 §5.2: "If a CRL contains a critical extension that the application cannot
        // process, then the application MUST NOT use that CRL to determine the status of
        // certificates."
        if let Some(critical) = extensions.find(|one| one.critical) {
            let oid = Oid::from_contents(critical.id.0).ok_or(RevocationListError::Encoding)?;
            return Err(RevocationListError::CriticalExtension(oid));
        }
        let issuer =
            whole(body.issuer, Tag::Sequence).map_err(|_| RevocationListError::Encoding)?;
        let revoked: Option<BTreeSet<_>> =
            entries.iter().map(|entry| Serial::from_contents(entry.serial.as_bytes())).collect();
        Ok(Self(Arc::new(Contents {
            der: der.to_vec(),
            issuer: Name::from_der(issuer),
            this_update: seconds(&body.this_update),
            next_update: seconds(&body.next_update),
            revoked: revoked.ok_or(RevocationListError::Encoding)?,
        })))
    }

    /// Every `X509 CRL` block of a text; other blocks and text between are passed over.
    pub fn from_pem_many(text: &str) -> Result<Vec<Self>, RevocationListError> {
        let mut found = Vec::new();
        for block in CertificateRevocationListDer::pem_slice_iter(text.as_bytes()) {
            let block = block.map_err(|_| RevocationListError::Encoding)?;
            if found.len() == LISTS_MAX {
                return Err(RevocationListError::TooMany);
            }
            found.push(Self::parse(block.as_ref())?);
        }
        Ok(found)
    }

    /// Verifies that `issuer` made this list: its name is there, and its key signed.
    pub fn verify_signed_by(&self, issuer: &Certificate) -> Result<(), RevocationListError> {
        if self.0.issuer != *issuer.subject() {
            return Err(RevocationListError::OtherIssuer);
        }
        issued::verify(&self.0.der, 1, issuer).map_err(RevocationListError::Signature)
    }

    /// Whether it is the current one.
    pub fn is_current(&self, now: UnixTime) -> bool {
        (self.0.this_update.seconds()..=self.0.next_update.seconds()).contains(&now.seconds())
    }

    /// The whole list, as it was read.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Who says to have issued it.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// When it was made.
    pub fn this_update(&self) -> UnixTime {
        self.0.this_update
    }

    /// When the next one is due.
    pub fn next_update(&self) -> UnixTime {
        self.0.next_update
    }

    /// Whether it names the certificate's serial. Whether that is of the same issuer is the
    /// caller's to know.
    pub fn names(&self, certificate: &Certificate) -> bool {
        self.0.revoked.contains(certificate.serial())
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("next_update", &self.0.next_update)
            .field("revoked", &self.0.revoked.len())
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a revocation list that is used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationListError {
    #[error("{bytes} bytes; at most {REVOCATION_LIST_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("the text has more than {LISTS_MAX} revocation lists")]
    TooMany,
    #[error("not the distinguished encoding of a revocation list of version 2")]
    Encoding,
    #[error("unknown critical extension `{0}`")]
    CriticalExtension(Oid),
    #[error("the list is of another issuer")]
    OtherIssuer,
    #[error("the list: {0}")]
    Signature(BadSignature),
}

fn seconds(time: &Time) -> UnixTime {
    UnixTime::from_seconds(time.to_unix_duration().as_secs())
}
