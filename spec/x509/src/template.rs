//! Making a certificate in two steps (RFC 5280 §4.1): a template gives the bytes to sign, and the
//! signature gives the certificate. Who may have what is decided above.

use core::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use der::asn1::{GeneralizedTime, UtcTime};
use der::{Decode, Encode};
use time::UnixTime;

use crate::encode::{
    BIT_STRING, CONTEXT, CONTEXT_CONSTRUCTED, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE,
    TRUE, tlv, unsigned,
};
use crate::encoded::CertificateDer;
use crate::extension::{Extension, KeyUsage};
use crate::key::{KeyError, KeyKind, SignatureAlgorithm};
use crate::name::Name;
use crate::oid::Oid;
use crate::serial::Serial;
use crate::syntax::Spki;
use crate::{CERTIFICATE_BYTES_MAX, EXTENSIONS_MAX, NAMES_MAX};

/// Bytes that the signature of a certificate and what is around it may take: RSA-4096 needs 540.
const SIGNATURE_BYTES_MAX: usize = 1024;
// RFC 5280 §4.1.2.5: "CAs conforming to this profile MUST always encode certificate validity
// dates through the year 2049 as UTCTime"
/// 2050-01-01T00:00:00Z.
const GENERALIZED_TIME_FROM: u64 = 2_524_608_000;
// RFC 7093 §2: "The keyIdentifier is composed of the leftmost 160-bits of the SHA-256 hash of the
// value of the BIT STRING subjectPublicKey (excluding the tag, length, and number of unused bits)."
/// Bytes of a key identifier.
const KEY_ID_BYTES: usize = 20;

/// What a certificate shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub serial: Serial,
    /// The subject of the issuer's certificate, byte for byte; for a root its own.
    pub issuer: Name,
    pub subject: Name,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    /// DER of the `SubjectPublicKeyInfo`.
    pub spki_der: Vec<u8>,
    pub kind: Kind,
    pub uri_names: Vec<String>,
    pub dns_names: Vec<String>,
    pub ip_names: Vec<IpAddr>,
    pub key_usage: KeyUsage,
    pub extended_key_usages: Vec<Oid>,
    /// The subject key identifier of the issuer; `None` for a root.
    pub authority_key_id: Option<Vec<u8>>,
    /// DNS subtrees to which names in certificates below are held; only for an authority.
    pub permitted_dns_names: Vec<String>,
    /// Extensions that have no field here.
    pub extra: Vec<Extension>,
}

/// Whether the key signs certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It does not.
    Leaf,
    /// It does, with at most `path_len` authorities below it.
    Authority { path_len: Option<u8> },
}

impl Template {
    /// The bytes that the issuer signs with `algorithm`.
    pub fn to_be_signed(&self, algorithm: SignatureAlgorithm) -> Result<ToBeSigned, TemplateError> {
        if self.not_before > self.not_after {
            let (not_before, not_after) = (self.not_before, self.not_after);
            return Err(TemplateError::EndsBeforeItBegins { not_before, not_after });
        }
        KeyKind::of_spki(&self.spki_der)?;
        let extensions = self.extensions()?;
        let extensions: Vec<Vec<u8>> = extensions.iter().map(Extension::to_der).collect();
        let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
        let validity = [time(self.not_before)?, time(self.not_after)?];
        let bytes = tlv(
            SEQUENCE,
            &[
                &tlv(CONTEXT_CONSTRUCTED, &[&[INTEGER, 1, 2]]), // version 3
                &tlv(INTEGER, &[self.serial.as_bytes()]),
                algorithm.identifier(),
                self.issuer.der(),
                &tlv(SEQUENCE, &[&validity.concat()]),
                self.subject.der(),
                &self.spki_der,
                &tlv(CONTEXT_CONSTRUCTED | 3, &[&tlv(SEQUENCE, &extensions)]),
            ],
        );
        if bytes.len() + SIGNATURE_BYTES_MAX > CERTIFICATE_BYTES_MAX {
            return Err(TemplateError::TooLong { bytes: bytes.len() });
        }
        Ok(ToBeSigned { bytes, algorithm })
    }

    /// All extensions, in the order in which they are written.
    fn extensions(&self) -> Result<Vec<Extension>, TemplateError> {
        let mut all = vec![extension(Oid::BASIC_CONSTRAINTS, true, self.basic_constraints())];
        if !self.key_usage.is_empty() {
            // RFC 5280 §4.2.1.3: "When present, conforming CAs SHOULD mark this extension as
            // critical."
            all.push(extension(Oid::KEY_USAGE, true, self.key_usage.to_der()));
        }
        if !self.extended_key_usages.is_empty() {
            let usages = self.extended_key_usages.iter();
            let usages: Vec<u8> =
                usages.flat_map(|oid| tlv(OBJECT_IDENTIFIER, &[oid.contents()])).collect();
            all.push(extension(Oid::EXTENDED_KEY_USAGE, false, tlv(SEQUENCE, &[&usages])));
        }
        let key_id = tlv(OCTET_STRING, &[&key_id(&self.spki_der)?]);
        all.push(extension(Oid::SUBJECT_KEY_ID, false, key_id));
        if let Some(id) = &self.authority_key_id {
            let der = tlv(SEQUENCE, &[&tlv(CONTEXT, &[id])]);
            all.push(extension(Oid::AUTHORITY_KEY_ID, false, der));
        }
        let names = alternative_names(&self.uri_names, &self.dns_names, &self.ip_names)?;
        // RFC 5280 §4.1.2.6: "If the subject field contains an empty sequence, then the issuing CA
        // MUST include a subjectAltName extension that is marked as critical."
        match names {
            Some(der) => {
                all.push(extension(Oid::SUBJECT_ALT_NAME, self.subject.is_empty(), der));
            }
            None if self.subject.is_empty() => return Err(TemplateError::Nameless),
            None => {}
        }
        if let Some(der) = self.name_constraints()? {
            // RFC 5280 §4.2.1.10: "Conforming CAs MUST mark this extension as critical".
            all.push(extension(Oid::NAME_CONSTRAINTS, true, der));
        }
        all.extend(self.extra.iter().cloned());
        unique(&all)?;
        Ok(all)
    }

    /// `BasicConstraints`, written for leaves as well: SPIFFE asks for an explicit no.
    fn basic_constraints(&self) -> Vec<u8> {
        match self.kind {
            Kind::Leaf => tlv(SEQUENCE, &[]),
            Kind::Authority { path_len: None } => tlv(SEQUENCE, &[TRUE]),
            Kind::Authority { path_len: Some(length) } => {
                tlv(SEQUENCE, &[TRUE, &unsigned(&[length])])
            }
        }
    }

    /// `NameConstraints` with permitted DNS subtrees, if there are any.
    fn name_constraints(&self) -> Result<Option<Vec<u8>>, TemplateError> {
        if self.permitted_dns_names.is_empty() {
            return Ok(None);
        }
        // RFC 5280 §4.2.1.10: "The name constraints extension, which MUST be used only in a CA
        // certificate"
        if self.kind == Kind::Leaf {
            return Err(TemplateError::ConstraintsOnLeaf);
        }
        let mut subtrees = Vec::new();
        for name in &self.permitted_dns_names {
            subtrees.extend(tlv(SEQUENCE, &[&tlv(CONTEXT | 2, &[visible(name)?])]));
        }
        Ok(Some(tlv(SEQUENCE, &[&tlv(CONTEXT_CONSTRUCTED, &[&subtrees])])))
    }
}

/// A certificate that lacks only its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToBeSigned {
    bytes: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl ToBeSigned {
    /// What the issuer's key signs.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With which algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The certificate. `signature_der` is the contents of the signature's `BIT STRING`: for ECDSA
    /// the DER of `r` and `s` ([`crate::ecdsa_der_from_fixed`]), for the others the bytes as made.
    pub fn attach(self, signature_der: &[u8]) -> CertificateDer {
        CertificateDer::made(signed(&self.bytes, self.algorithm, signature_der))
    }
}

/// Why a template gives no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("valid until {not_after}, before it begins at {not_before}")]
    EndsBeforeItBegins { not_before: UnixTime, not_after: UnixTime },
    #[error("the date {0} cannot be written in a certificate")]
    Date(UnixTime),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("neither a subject nor an alternative name")]
    Nameless,
    #[error("the name `{0}` has characters that a certificate cannot hold")]
    Name(String),
    #[error("more than {NAMES_MAX} alternative names")]
    TooManyNames,
    #[error("name constraints on a certificate that is no authority")]
    ConstraintsOnLeaf,
    #[error("extension `{0}` is there twice")]
    DuplicateExtension(Oid),
    #[error("more than {EXTENSIONS_MAX} extensions")]
    TooManyExtensions,
    #[error("{bytes} bytes to sign; a certificate has at most {CERTIFICATE_BYTES_MAX}")]
    TooLong { bytes: usize },
    /// The key of a request cannot make signatures of this algorithm.
    #[error("the key cannot sign with this algorithm")]
    WrongAlgorithm,
}

/// Body, algorithm and signature put together.
pub(crate) fn signed(body: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[body, algorithm.identifier(), &tlv(BIT_STRING, &[&[0], signature])])
}

/// `GeneralNames`: URIs, hosts, addresses; `None` if there are none.
pub(crate) fn alternative_names(
    uris: &[String],
    hosts: &[String],
    addresses: &[IpAddr],
) -> Result<Option<Vec<u8>>, TemplateError> {
    let count = uris.len() + hosts.len() + addresses.len();
    if count == 0 {
        return Ok(None);
    }
    if count > NAMES_MAX {
        return Err(TemplateError::TooManyNames);
    }
    let mut names = Vec::new();
    for uri in uris {
        names.extend(tlv(CONTEXT | 6, &[visible(uri)?]));
    }
    for host in hosts {
        names.extend(tlv(CONTEXT | 2, &[visible(host)?]));
    }
    for address in addresses {
        names.extend(match address {
            IpAddr::V4(four) => tlv(CONTEXT | 7, &[&four.octets()]),
            IpAddr::V6(six) => tlv(CONTEXT | 7, &[&six.octets()]),
        });
    }
    Ok(Some(tlv(SEQUENCE, &[&names])))
}

/// An extension by its parts.
pub(crate) fn extension(oid: Oid, critical: bool, der: Vec<u8>) -> Extension {
    Extension { oid, critical, der }
}

/// The identifier of a key.
fn key_id(spki_der: &[u8]) -> Result<Vec<u8>, TemplateError> {
    let spki = Spki::from_der(spki_der).map_err(|_| KeyError::Malformed)?;
    let key = spki.key.as_bytes().ok_or(KeyError::Malformed)?;
    let hash = digest::digest(&digest::SHA256, key);
    Ok(hash.as_ref().iter().copied().take(KEY_ID_BYTES).collect())
}

/// Not too many, and each once.
fn unique(extensions: &[Extension]) -> Result<(), TemplateError> {
    if extensions.len() > EXTENSIONS_MAX {
        return Err(TemplateError::TooManyExtensions);
    }
    for (index, extension) in extensions.iter().enumerate() {
        if extensions.iter().take(index).any(|before| before.oid == extension.oid) {
            return Err(TemplateError::DuplicateExtension(extension.oid.clone()));
        }
    }
    Ok(())
}

/// The characters of a name that an `IA5String` may hold and a reader can see.
fn visible(name: &str) -> Result<&[u8], TemplateError> {
    let clean = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    clean.then_some(name.as_bytes()).ok_or_else(|| TemplateError::Name(name.to_owned()))
}

/// `Time`, in whole seconds.
fn time(at: UnixTime) -> Result<Vec<u8>, TemplateError> {
    let since_epoch = Duration::from_secs(at.seconds());
    let der = if at.seconds() < GENERALIZED_TIME_FROM {
        UtcTime::from_unix_duration(since_epoch).and_then(|time| time.to_der())
    } else {
        GeneralizedTime::from_unix_duration(since_epoch).and_then(|time| time.to_der())
    };
    der.map_err(|_| TemplateError::Date(at))
}
