//! What a certificate says (RFC 5280 §4).

use core::net::IpAddr;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use der::asn1::{AnyRef, BitStringRef, OctetStringRef, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use time::UnixTime;
use x509_cert::Version;

use crate::extension::{ATTRIBUTES, EPOCH, Extension, KeyUsage};
use crate::key::{self, BadSignature};
use crate::name::Name;
use crate::oid::Oid;
use crate::serial::Serial;
use crate::syntax::{BasicConstraints, Body, ExtensionSyntax, NameConstraints, OidSyntax, Signed};
use crate::{CERTIFICATE_BYTES_MAX, EXTENSIONS_MAX, NAMES_MAX};

/// A certificate that was read: version 3, each extension once. That it was read says nothing of
/// who signed it: see [`crate::verify_chain`]. Cloning is cheap.
#[derive(Clone)]
pub struct Certificate(Arc<Contents>);

struct Contents {
    der: Vec<u8>,
    serial: Serial,
    issuer: Name,
    subject: Name,
    not_before: UnixTime,
    not_after: UnixTime,
    spki: Vec<u8>,
    extensions: Vec<Extension>,
    known: Known,
}

/// The extensions that are understood, read.
#[derive(Default)]
struct Known {
    names: AlternativeNames,
    authority: bool,
    path_len: Option<u8>,
    key_usage: KeyUsage,
    extended_key_usages: Vec<Oid>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    uri_constraints: bool,
    epoch: Option<u64>,
    attributes: Option<String>,
}

impl Certificate {
    /// Reads the DER of one certificate, all of it.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(Malformed::TooLong { bytes: der.len() });
        }
        let signed = Signed::from_der(der).map_err(|_| Malformed::Encoding)?;
        let body: Body<'_> = signed.body.decode_as().map_err(|_| Malformed::Encoding)?;
        // RFC 5280 §4.1.2.1: "When extensions are used, as expected in this profile, version MUST
        // be 3 (value is 2)."
        if body.version != Version::V3 {
            return Err(Malformed::Version);
        }
        // RFC 5280 §4.1.2.8: "CAs conforming to this profile MUST NOT generate certificates with
        // unique identifiers."
        if body.issuer_id.is_some() || body.subject_id.is_some() {
            return Err(Malformed::UniqueIdentifier);
        }
        let extensions = read_extensions(body.extensions.as_deref().unwrap_or_default())?;
        let known = Known::read(&extensions)?;
        let seconds = |time: &x509_cert::time::Time| {
            UnixTime::from_seconds(time.to_unix_duration().as_secs())
        };
        Ok(Self(Arc::new(Contents {
            serial: Serial::from_contents(body.serial.as_bytes()).ok_or(Malformed::Serial)?,
            issuer: Name::from_der(whole(body.issuer, Tag::Sequence)?),
            subject: Name::from_der(whole(body.subject, Tag::Sequence)?),
            not_before: seconds(&body.validity.not_before),
            not_after: seconds(&body.validity.not_after),
            spki: whole(body.spki, Tag::Sequence)?,
            extensions,
            known,
            der: der.to_vec(),
        })))
    }

    /// The whole certificate, as it was read.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Every URI among the subject alternative names, in order.
    pub fn uri_names(&self) -> &[String] {
        &self.0.known.names.uris
    }

    /// Every mail address among the subject alternative names, in order, as written.
    pub fn mail_names(&self) -> &[String] {
        &self.0.known.names.mails
    }

    /// Every DNS name among the subject alternative names, in order, as written.
    pub fn dns_names(&self) -> &[String] {
        &self.0.known.names.hosts
    }

    /// Every IP address among the subject alternative names, in order.
    pub fn ip_names(&self) -> &[IpAddr] {
        &self.0.known.names.addresses
    }

    /// Whether its key may be that of an authority (`cA`).
    pub fn is_ca(&self) -> bool {
        self.0.known.authority
    }

    /// How many authorities may stand between this one and a leaf; `None` is any number.
    pub fn path_len(&self) -> Option<u8> {
        self.0.known.path_len
    }

    /// What the key may be used for; empty if the certificate does not say.
    pub fn key_usage(&self) -> KeyUsage {
        self.0.known.key_usage
    }

    /// The extended key usages; empty if the certificate does not restrict them.
    pub fn extended_key_usages(&self) -> &[Oid] {
        &self.0.known.extended_key_usages
    }

    /// The first instant at which it is valid.
    pub fn not_before(&self) -> UnixTime {
        self.0.not_before
    }

    /// The last second in which it is valid.
    pub fn not_after(&self) -> UnixTime {
        self.0.not_after
    }

    /// Its serial number, unique for its issuer.
    pub fn serial(&self) -> &Serial {
        &self.0.serial
    }

    /// DER of its `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// Who it says has issued it.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// Whom it is about, as a distinguished name.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// Whether the distinguished name of the subject is empty.
    pub fn subject_is_empty(&self) -> bool {
        self.0.subject.is_empty()
    }

    /// Whether the subject alternative names are there and critical.
    pub fn san_is_critical(&self) -> bool {
        self.is_critical(&Oid::SUBJECT_ALT_NAME)
    }

    /// The subject key identifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.known.subject_key_id.as_deref()
    }

    /// The key identifier of the authority that signed it.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.known.authority_key_id.as_deref()
    }

    /// The DER value of an extension, if the certificate has it.
    pub fn extension(&self, oid: &Oid) -> Option<&[u8]> {
        self.extensions().iter().find(|extension| extension.oid == *oid).map(|it| it.der.as_slice())
    }

    /// Whether it has this extension, and marks it critical.
    pub fn is_critical(&self, oid: &Oid) -> bool {
        self.extensions().iter().any(|extension| extension.oid == *oid && extension.critical)
    }

    /// Its extensions, in order.
    pub fn extensions(&self) -> &[Extension] {
        &self.0.extensions
    }

    /// Whether it restricts the names in certificates below it.
    pub fn has_name_constraints(&self) -> bool {
        self.extension(&Oid::NAME_CONSTRAINTS).is_some()
    }

    /// Whether it restricts the URIs in certificates below it.
    pub(crate) fn has_uri_constraints(&self) -> bool {
        self.0.known.uri_constraints
    }

    /// What it says about its holder beside who it is, if we issued it.
    pub fn attributes(&self) -> Option<&str> {
        self.0.known.attributes.as_deref()
    }

    /// The revocation epoch under which it was issued, if we issued it.
    pub fn epoch(&self) -> Option<u64> {
        self.0.known.epoch
    }

    /// Verifies a signature over `message` that the holder of its key has made, with the algorithm
    /// of [`crate::SignatureAlgorithm`] for that kind of key; ECDSA as DER.
    pub fn verify_signature(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        key::verify_by_kind(&self.0.spki, message, signature)
    }

    /// The same for a signer that takes ECDSA with SHA-256 whatever the curve of its key.
    pub fn verify_ecdsa_sha256(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        key::verify_ecdsa_sha256(&self.0.spki, message, signature)
    }

    /// SHA-256 of the whole certificate.
    pub fn fingerprint_sha256(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &self.0.der).as_ref());
        fingerprint
    }

    /// SHA-1 of the whole certificate: the name that others call it by. It proves nothing.
    pub fn fingerprint_sha1(&self) -> [u8; 20] {
        let mut fingerprint = [0; 20];
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.0.der);
        fingerprint.copy_from_slice(digest.as_ref());
        fingerprint
    }
}

/// The same bytes are the same certificate.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("serial", &self.0.serial)
            .field("uri_names", &self.uri_names())
            .field("not_after", &self.0.not_after)
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a certificate that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{bytes} bytes; at most {CERTIFICATE_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    /// Cut, trailing bytes, or no distinguished encoding of the structure.
    #[error("not the distinguished encoding of a certificate")]
    Encoding,
    #[error("not version 3")]
    Version,
    #[error("a unique identifier, which no authority may issue")]
    UniqueIdentifier,
    #[error("a serial number longer than 20 bytes")]
    Serial,
    #[error("more than {EXTENSIONS_MAX} extensions")]
    TooManyExtensions,
    #[error("extension `{0}` is there twice")]
    DuplicateExtension(Oid),
    #[error("the value of extension `{0}` is not what it must be")]
    Extension(Oid),
    #[error("more than {NAMES_MAX} subject alternative names")]
    TooManyNames,
}

/// Subject alternative names of the kinds that are used; others are passed over.
#[derive(Default)]
pub(crate) struct AlternativeNames {
    pub(crate) mails: Vec<String>,
    pub(crate) uris: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
}

impl AlternativeNames {
    /// Reads `GeneralNames`.
    pub(crate) fn read(der: &[u8]) -> Result<Self, Malformed> {
        let malformed = || Malformed::Extension(Oid::SUBJECT_ALT_NAME);
        let general = Vec::<AnyRef<'_>>::from_der(der).map_err(|_| malformed())?;
        // RFC 5280 §4.2.1.6: "If the subjectAltName extension is present, the sequence MUST
        // contain at least one entry."
        if general.is_empty() {
            return Err(malformed());
        }
        if general.len() > NAMES_MAX {
            return Err(Malformed::TooManyNames);
        }
        let mut names = Self::default();
        for name in general {
            let Tag::ContextSpecific { number, constructed } = name.tag() else {
                return Err(malformed());
            };
            match (number.value(), constructed) {
                // rfc822Name [1] IA5String; one that is not visible text names nobody here
                (1, false) => names.mails.extend(visible(name.value())),
                // dNSName [2] IA5String
                (2, false) => names.hosts.push(visible(name.value()).ok_or_else(malformed)?),
                // uniformResourceIdentifier [6] IA5String
                (6, false) => names.uris.push(visible(name.value()).ok_or_else(malformed)?),
                // iPAddress [7] OCTET STRING
                (7, false) => names.addresses.push(address(name.value()).ok_or_else(malformed)?),
                // otherName, x400Address, directoryName, ediPartyName, registeredID
                (0 | 3 | 4 | 5 | 8, _) => {}
                _ => return Err(malformed()),
            }
        }
        Ok(names)
    }
}

/// Every extension once.
pub(crate) fn read_extensions(list: &[ExtensionSyntax<'_>]) -> Result<Vec<Extension>, Malformed> {
    if list.len() > EXTENSIONS_MAX {
        return Err(Malformed::TooManyExtensions);
    }
    let mut extensions: Vec<Extension> = Vec::with_capacity(list.len());
    for syntax in list {
        let oid = Oid::from_contents(syntax.id.0).ok_or(Malformed::Encoding)?;
        // RFC 5280 §4.2: "A certificate MUST NOT include more than one instance of a particular
        // extension."
        if extensions.iter().any(|extension| extension.oid == oid) {
            return Err(Malformed::DuplicateExtension(oid));
        }
        let (critical, der) = (syntax.critical, syntax.value.as_bytes().to_vec());
        extensions.push(Extension { oid, critical, der });
    }
    Ok(extensions)
}

impl Known {
    /// Reads the extensions that are understood, critical or not.
    fn read(extensions: &[Extension]) -> Result<Self, Malformed> {
        let mut known = Self::default();
        for Extension { oid, der, .. } in extensions {
            known.remember(oid, der)?;
        }
        Ok(known)
    }

    /// Reads one extension, if it is understood.
    fn remember(&mut self, oid: &Oid, der: &[u8]) -> Result<(), Malformed> {
        let malformed = |_| Malformed::Extension(oid.clone());
        if *oid == Oid::SUBJECT_ALT_NAME {
            self.names = AlternativeNames::read(der)?;
        } else if *oid == Oid::BASIC_CONSTRAINTS {
            let constraints = BasicConstraints::from_der(der).map_err(malformed)?;
            (self.authority, self.path_len) = (constraints.authority, constraints.path_len);
        } else if *oid == Oid::KEY_USAGE {
            self.key_usage = KeyUsage::from_bits(BitStringRef::from_der(der).map_err(malformed)?);
            // RFC 5280 §4.2.1.3: "When the keyUsage extension appears in a certificate, at least
            // one of the bits MUST be set to 1."
            if self.key_usage.is_empty() {
                return Err(Malformed::Extension(oid.clone()));
            }
        } else if *oid == Oid::EXTENDED_KEY_USAGE {
            // RFC 5280 §4.2.1.12: "ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX)"
            let usages = Vec::<OidSyntax<'_>>::from_der(der).map_err(malformed)?;
            let usages: Option<Vec<_>> =
                usages.iter().map(|usage| Oid::from_contents(usage.0)).collect();
            self.extended_key_usages = usages
                .filter(|usages| !usages.is_empty())
                .ok_or_else(|| Malformed::Extension(oid.clone()))?;
        } else if *oid == Oid::SUBJECT_KEY_ID {
            let id = <&OctetStringRef>::from_der(der).map_err(malformed)?;
            self.subject_key_id = Some(id.as_bytes().to_vec());
        } else if *oid == Oid::AUTHORITY_KEY_ID {
            // RFC 5280 §4.2.1.1: "keyIdentifier [0] KeyIdentifier OPTIONAL", before all else.
            let parts = Vec::<AnyRef<'_>>::from_der(der).map_err(malformed)?;
            let id = parts.first().filter(|part| is_context_zero(part.tag()));
            self.authority_key_id = id.map(|id| id.value().to_vec());
        } else if *oid == Oid::NAME_CONSTRAINTS {
            let constraints = NameConstraints::from_der(der).map_err(malformed)?;
            self.uri_constraints = names_a_uri(&constraints);
        } else if *oid == EPOCH {
            self.epoch = Some(u64::from_der(der).map_err(malformed)?);
        } else if *oid == ATTRIBUTES {
            let text = Utf8StringRef::from_der(der).map_err(malformed)?;
            self.attributes = Some(text.as_str().to_owned());
        }
        Ok(())
    }
}

fn is_context_zero(tag: Tag) -> bool {
    matches!(tag, Tag::ContextSpecific { number, constructed: false } if number.value() == 0)
}

/// Whether a constraint is on URIs.
fn names_a_uri(constraints: &NameConstraints<'_>) -> bool {
    let subtrees = [&constraints.permitted, &constraints.excluded];
    subtrees.into_iter().flatten().flatten().any(|subtree| {
        matches!(subtree.base.tag(), Tag::ContextSpecific { number, .. } if number.value() == 6)
    })
}

/// An element with its header, which must have this tag.
pub(crate) fn whole(any: AnyRef<'_>, tag: Tag) -> Result<Vec<u8>, Malformed> {
    if any.tag() != tag {
        return Err(Malformed::Encoding);
    }
    any.to_der().map_err(|_| Malformed::Encoding)
}

/// An `IA5String` without control characters or spaces: everything else could hide in a log or be
/// cut at a NUL by whoever reads it next.
fn visible(bytes: &[u8]) -> Option<String> {
    let clean = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
    clean.then(|| String::from_utf8_lossy(bytes).into_owned())
}

// RFC 5280 §4.2.1.6: "For IP version 4 [...] the octet string MUST contain exactly four octets.
// For IP version 6 [...] exactly sixteen octets."
fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
