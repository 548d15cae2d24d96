//! Certification requests (PKCS #10, RFC 2986): made in two steps, and read only together with
//! the proof that the asker has the private key.

use der::{Decode, Encode, Tag};

use crate::CERTIFICATE_BYTES_MAX;
use crate::certificate::{AlternativeNames, Malformed, read_extensions, whole};
use crate::encode::{CONTEXT_CONSTRUCTED, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, SET, tlv};
use crate::extension::Extension;
use crate::key::{self, BadSignature, KeyError, KeyKind, SignatureAlgorithm};
use crate::name::Name;
use crate::oid::Oid;
use crate::syntax::{
    AttestationBundle, AttestationStatement, ExtensionSyntax, RequestBody, Signed,
};
use crate::template::{TemplateError, alternative_names, extension, signed};

/// `id-extensionRequest` of PKCS #9 (RFC 2985 §5.4.2).
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];

/// `id-aa-attestation` (draft-ietf-lamps-csr-attestation): `{ id-aa 59 }`.
const ATTESTATION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 59];
/// The most statements of one request.
const ATTESTATIONS_MAX: usize = 8;

/// A statement that a request carries about its key: of a type, and not read further here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// What it is.
    pub kind: Oid,
    /// The tag of its value, as DER has it.
    pub tag: u8,
    /// The contents of its value.
    pub contents: Vec<u8>,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTemplate {
    pub subject: Name,
    /// DER of the `SubjectPublicKeyInfo` of the key that will sign it.
    pub spki_der: Vec<u8>,
    pub uri_names: Vec<String>,
    pub dns_names: Vec<String>,
}

impl RequestTemplate {
    /// The bytes that the asker's own key signs with `algorithm`.
    pub fn to_be_signed(
        &self,
        algorithm: SignatureAlgorithm,
    ) -> Result<RequestToBeSigned, TemplateError> {
        self.to_be_signed_with(algorithm, &[])
    }

    /// The same with statements about the key.
    pub fn to_be_signed_with(
        &self,
        algorithm: SignatureAlgorithm,
        attestations: &[Attestation],
    ) -> Result<RequestToBeSigned, TemplateError> {
        if !algorithm.fits(KeyKind::of_spki(&self.spki_der)?) {
            return Err(TemplateError::WrongAlgorithm);
        }
        let mut attributes = Vec::new();
        if !attestations.is_empty() {
            attributes.push(carried(attestations));
        }
        let asked = match alternative_names(&self.uri_names, &self.dns_names, &[])? {
            Some(names) => asked_extensions(&extension(Oid::SUBJECT_ALT_NAME, false, names)),
            None => Vec::new(),
        };
        attributes.push(asked);
        // X.690 §11.6: "The encodings of the component values of a set-of value shall appear in
        // ascending order".
        attributes.sort();
        let attributes = attributes.concat();
        let bytes = tlv(
            SEQUENCE,
            &[
                &[INTEGER, 1, 0], // version 1
                self.subject.der(),
                &self.spki_der,
                &tlv(CONTEXT_CONSTRUCTED, &[&attributes]),
            ],
        );
        Ok(RequestToBeSigned { bytes, algorithm })
    }
}

/// A request that lacks only its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestToBeSigned {
    bytes: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl RequestToBeSigned {
    /// What the asker's key signs.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With which algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// DER of the request; the signature is in the form of [`crate::ToBeSigned::attach`].
    pub fn attach(self, signature_der: &[u8]) -> Vec<u8> {
        signed(&self.bytes, self.algorithm, signature_der)
    }
}

/// A request whose signature was verified: its sender has the private key. What it asks for is a
/// wish; nothing in it is authorized by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    spki_der: Vec<u8>,
    key: KeyKind,
    uri_names: Vec<String>,
    dns_names: Vec<String>,
    attestations: Vec<Attestation>,
}

impl Request {
    /// Reads the DER of one request, all of it, and verifies its signature with its own key.
    pub fn verify(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(RequestError::TooLong { bytes: der.len() });
        }
        let signed = Signed::from_der(der).map_err(|_| RequestError::Encoding)?;
        let body: RequestBody<'_> = signed.body.decode_as().map_err(|_| RequestError::Encoding)?;
        // RFC 2986 §4.1: "version is the version number, for compatibility with future revisions
        // of this document. It shall be 0 for this version of the standard."
        if body.version != 0 {
            return Err(RequestError::Version(body.version));
        }
        let encoding = |_| RequestError::Encoding;
        let spki_der = whole(body.spki, Tag::Sequence).map_err(encoding)?;
        let message = whole(signed.body, Tag::Sequence).map_err(encoding)?;
        let signature = signed.signature.as_bytes().ok_or(RequestError::Encoding)?;
        // RFC 2986 §3, note 2: "The signature on the certification request prevents an entity from
        // requesting a certificate with another party's public key."
        let key = key::verify(&spki_der, &signed.algorithm, &message, signature)?;
        let names = asked_names(&body)?;
        let attestations = attestations(&body)?;
        Ok(Self { spki_der, key, uri_names: names.uris, dns_names: names.hosts, attestations })
    }

    /// DER of the `SubjectPublicKeyInfo` whose private key the sender has.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// What kind of key it is.
    pub fn key(&self) -> KeyKind {
        self.key
    }

    /// The URIs that are asked for.
    pub fn uri_names(&self) -> &[String] {
        &self.uri_names
    }

    /// The DNS names that are asked for.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// What it carries about its key.
    pub fn attestations(&self) -> &[Attestation] {
        &self.attestations
    }
}

/// Why a request is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("{bytes} bytes; at most {CERTIFICATE_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("not the distinguished encoding of a certification request")]
    Encoding,
    #[error("version {0} of the request is not 0")]
    Version(u8),
    #[error(transparent)]
    Key(KeyError),
    #[error("signature algorithm `{0}` is unknown or does not fit the key")]
    Algorithm(Oid),
    #[error("the request is not signed by the key that it asks a certificate for")]
    Signature,
    #[error("an attribute is there twice")]
    DuplicateAttribute,
    #[error("{count} attestations; 1 to {ATTESTATIONS_MAX} are read")]
    Attestations { count: usize },
    #[error(transparent)]
    Extensions(Malformed),
}

impl From<BadSignature> for RequestError {
    fn from(bad: BadSignature) -> Self {
        match bad {
            BadSignature::Key(error) => Self::Key(error),
            BadSignature::Algorithm(oid) => Self::Algorithm(oid),
            BadSignature::Wrong => Self::Signature,
        }
    }
}

/// The attribute that asks for one extension.
fn asked_extensions(extension: &Extension) -> Vec<u8> {
    let extensions = tlv(SEQUENCE, &[&extension.to_der()]);
    let kind = tlv(OBJECT_IDENTIFIER, &[EXTENSION_REQUEST]);
    tlv(SEQUENCE, &[&kind, &tlv(SET, &[&extensions])])
}

/// The subject alternative names that a request asks for; none if it asks for none.
fn asked_names(body: &RequestBody<'_>) -> Result<AlternativeNames, RequestError> {
    let mut attributes =
        body.attributes.iter().filter(|attribute| attribute.kind.0 == EXTENSION_REQUEST);
    let Some(attribute) = attributes.next() else { return Ok(AlternativeNames::default()) };
    // RFC 2985 §5.4.2: extensionRequest is "SINGLE VALUE TRUE".
    let mut values = attribute.values.iter();
    let (Some(value), None, None) = (values.next(), values.next(), attributes.next()) else {
        return Err(RequestError::DuplicateAttribute);
    };
    let list: Vec<ExtensionSyntax<'_>> = value.decode_as().map_err(|_| RequestError::Encoding)?;
    let extensions = read_extensions(&list).map_err(RequestError::Extensions)?;
    match extensions.iter().find(|extension| extension.oid == Oid::SUBJECT_ALT_NAME) {
        Some(names) => AlternativeNames::read(&names.der).map_err(RequestError::Extensions),
        None => Ok(AlternativeNames::default()),
    }
}

/// The attribute that carries statements.
fn carried(attestations: &[Attestation]) -> Vec<u8> {
    let statements = attestations.iter().map(|one| {
        let kind = tlv(OBJECT_IDENTIFIER, &[one.kind.contents()]);
        tlv(SEQUENCE, &[&kind, &tlv(one.tag, &[&one.contents])])
    });
    let bundle = tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&statements.collect::<Vec<_>>().concat()])]);
    let kind = tlv(OBJECT_IDENTIFIER, &[ATTESTATION]);
    tlv(SEQUENCE, &[&kind, &tlv(SET, &[&bundle])])
}

/// The statements that a request carries.
fn attestations(body: &RequestBody<'_>) -> Result<Vec<Attestation>, RequestError> {
    let mut attributes = body.attributes.iter().filter(|one| one.kind.0 == ATTESTATION);
    let Some(attribute) = attributes.next() else { return Ok(Vec::new()) };
    // CSR attestation: "COUNTS MAX 1".
    let mut values = attribute.values.iter();
    let (Some(value), None, None) = (values.next(), values.next(), attributes.next()) else {
        return Err(RequestError::DuplicateAttribute);
    };
    let bundle: AttestationBundle<'_> = value.decode_as().map_err(|_| RequestError::Encoding)?;
    // "attestations SEQUENCE SIZE (1..MAX) OF AttestationStatement". Certificates beside them are
    // for statements that need some, which none that is appraised here does.
    let count = bundle.attestations.len();
    if !(1..=ATTESTATIONS_MAX).contains(&count) {
        return Err(RequestError::Attestations { count });
    }
    let read = |one: &AttestationStatement<'_>| {
        // The statement's own bytes begin with its tag; longer tags stand for nothing known here.
        let tag = *one.stmt.to_der().ok()?.first()?;
        Some(Attestation {
            kind: Oid::from_contents(one.kind.0)?,
            tag,
            contents: one.stmt.value().to_vec(),
        })
    };
    let read: Option<Vec<_>> = bundle.attestations.iter().map(read).collect();
    read.ok_or(RequestError::Encoding)
}
