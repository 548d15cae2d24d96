//! Certification requests (PKCS #10, RFC 2986): made in two steps, and read only together with
//! the proof that the asker has the private key.

use der::{Decode, Tag};

use crate::CERTIFICATE_BYTES_MAX;
use crate::certificate::{AlternativeNames, Malformed, read_extensions, whole};
use crate::encode::{CONTEXT_CONSTRUCTED, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, SET, tlv};
use crate::extension::Extension;
use crate::key::{self, BadSignature, KeyError, KeyKind, SignatureAlgorithm};
use crate::name::Name;
use crate::oid::Oid;
use crate::syntax::{ExtensionSyntax, RequestBody, Signed};
use crate::template::{TemplateError, alternative_names, extension, signed};

/// `id-extensionRequest` of PKCS #9 (RFC 2985 §5.4.2).
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];

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
        if !algorithm.fits(KeyKind::of_spki(&self.spki_der)?) {
            return Err(TemplateError::WrongAlgorithm);
        }
        let attributes = match alternative_names(&self.uri_names, &self.dns_names, &[])? {
            Some(names) => asked_extensions(&extension(Oid::SUBJECT_ALT_NAME, false, names)),
            None => Vec::new(),
        };
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
        Ok(Self { spki_der, key, uri_names: names.uris, dns_names: names.hosts })
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
    #[error("the extension request is there twice")]
    DuplicateAttribute,
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
