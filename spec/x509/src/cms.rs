//! Signed data after the Cryptographic Message Syntax
//! ([RFC 5652](https://www.rfc-editor.org/rfc/rfc5652)), as platforms sign documents about their
//! hosts: one signer, the document inside.
//!
//! The document can be read only of the certificate that it was verified with, so that what is
//! believed is what was signed, and the signer is not just any certificate of the bag.

use aws_lc_rs::digest;
use der::Decode;

use crate::ber::Element;
use crate::certificate::Certificate;
use crate::encode::{
    CONTEXT, CONTEXT_CONSTRUCTED, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, tlv,
};
use crate::key::{self, BadSignature, KeyKind};
use crate::syntax::Algorithm;

/// Longest message that is read, in bytes.
pub const SIGNED_DATA_BYTES_MAX: usize = 64 * 1024;
/// Most certificates in one message.
const CERTIFICATES_MAX: usize = 8;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const STAMP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 0x10, 1, 4];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 0x10, 2, 0x2f];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// A hash: its own name, and those of its signatures with RSA and ECDSA.
struct Hash {
    id: &'static [u8],
    rsa: &'static [u8],
    ecdsa: &'static [u8],
    algorithm: &'static digest::Algorithm,
}

/// SHA-1 is not among them.
static HASHES: [Hash; 3] = [
    Hash {
        id: &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
        rsa: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11],
        ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
        algorithm: &digest::SHA256,
    },
    Hash {
        id: &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2],
        rsa: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12],
        ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
        algorithm: &digest::SHA384,
    },
    Hash {
        id: &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
        rsa: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13],
        ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4],
        algorithm: &digest::SHA512,
    },
];

/// What kind of content is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// `id-data`: a document.
    Data,
    /// `id-ct-TSTInfo`: a time stamp.
    Stamp,
}

impl Content {
    const fn oid(self) -> &'static [u8] {
        match self {
            Self::Data => DATA,
            Self::Stamp => STAMP,
        }
    }
}

/// A message that was read, and that nobody has verified.
pub struct SignedData {
    content: Vec<u8>,
    certificates: Vec<Certificate>,
    signer: Signer,
}

struct Signer {
    /// The issuer's name and the serial, or the key's id.
    issuer: Option<(Vec<u8>, Vec<u8>)>,
    key_id: Option<Vec<u8>>,
    hash: &'static Hash,
    /// The signed attributes as they are hashed, and the digest among them.
    attributes: Option<(Vec<u8>, Vec<u8>)>,
    /// SHA-256 of the signer's certificate, where a signed attribute says it.
    certificate: Option<Vec<u8>>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl SignedData {
    /// Reads a message, all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, CmsError> {
        Self::parse_content(bytes, Content::Data)
    }

    pub(crate) fn parse_content(bytes: &[u8], expected: Content) -> Result<Self, CmsError> {
        if bytes.len() > SIGNED_DATA_BYTES_MAX {
            return Err(CmsError::TooLong { bytes: bytes.len() });
        }
        let message = Element::parse(bytes).ok_or(CmsError::Malformed)?;
        // RFC 5652 §3: "ContentInfo ::= SEQUENCE { contentType ContentType, content [0] EXPLICIT
        // ANY DEFINED BY contentType }"
        let [kind, content] = message.inside(SEQUENCE).ok_or(CmsError::Malformed)? else {
            return Err(CmsError::Malformed);
        };
        if kind.bytes(OBJECT_IDENTIFIER) != Some(SIGNED_DATA) {
            return Err(CmsError::NotSignedData);
        }
        let [signed] = content.inside(CONTEXT_CONSTRUCTED).ok_or(CmsError::Malformed)? else {
            return Err(CmsError::Malformed);
        };
        Self::read(signed.inside(SEQUENCE).ok_or(CmsError::Malformed)?, expected)
    }

    // RFC 5652 §5.1: "SignedData ::= SEQUENCE { version CMSVersion, digestAlgorithms
    // DigestAlgorithmIdentifiers, encapContentInfo EncapsulatedContentInfo, certificates [0]
    // IMPLICIT CertificateSet OPTIONAL, crls [1] IMPLICIT RevocationInfoChoices OPTIONAL,
    // signerInfos SignerInfos }"
    fn read(fields: &[Element], expected: Content) -> Result<Self, CmsError> {
        let [_, _, encapsulated, optional @ .., signers] = fields else {
            return Err(CmsError::Malformed);
        };
        let [kind, content] = encapsulated.inside(SEQUENCE).ok_or(CmsError::Malformed)? else {
            return Err(CmsError::NoContent);
        };
        if kind.bytes(OBJECT_IDENTIFIER) != Some(expected.oid()) {
            return Err(CmsError::NotData);
        }
        let [content] = content.inside(CONTEXT_CONSTRUCTED).ok_or(CmsError::Malformed)? else {
            return Err(CmsError::Malformed);
        };
        let mut certificates = Vec::new();
        for field in optional {
            let bag = field.inside(CONTEXT_CONSTRUCTED).unwrap_or_default();
            if bag.len() > CERTIFICATES_MAX {
                return Err(CmsError::TooManyCertificates);
            }
            for one in bag {
                let read = Certificate::parse(&one.der());
                certificates.push(read.map_err(|_| CmsError::Certificate)?);
            }
        }
        let [signer] = signers.inside(SET).ok_or(CmsError::Malformed)? else {
            return Err(CmsError::Signers);
        };
        let content = content.octets().ok_or(CmsError::Malformed)?;
        Ok(Self { content, certificates, signer: Signer::read(signer, expected)? })
    }

    /// The certificates that came with it, in their order; any of them may be the signer's, or
    /// none.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether the message names this certificate as its signer's.
    pub fn names(&self, certificate: &Certificate) -> bool {
        let Signer { issuer, key_id, .. } = &self.signer;
        match (issuer, key_id) {
            (Some((issuer, serial)), _) => {
                issuer == certificate.issuer().der() && serial == certificate.serial().as_bytes()
            }
            (None, Some(id)) => certificate.subject_key_id() == Some(id),
            (None, None) => false,
        }
    }

    /// SHA-256 of the certificate that the signer says is its own, if it says so. It counts once
    /// the signature is verified.
    pub(crate) fn signing_certificate(&self) -> Option<&[u8]> {
        self.signer.certificate.as_deref()
    }

    /// The document, if the holder of this certificate's key signed it. Whether the certificate
    /// counts is for the caller to say, before.
    pub fn verify(&self, signer: &Certificate) -> Result<&[u8], CmsError> {
        if !self.names(signer) {
            return Err(CmsError::OtherSigner);
        }
        let Signer { hash, attributes, algorithm, signature, .. } = &self.signer;
        let message = match attributes {
            // RFC 5652 §5.4: "the result is the message digest of the complete DER encoding of the
            // SignedAttrs value contained in the signedAttrs field."
            Some((attributes, told)) => {
                if digest::digest(hash.algorithm, &self.content).as_ref() != told {
                    return Err(CmsError::Digest);
                }
                attributes.as_slice()
            }
            None => &self.content,
        };
        let kind = KeyKind::of_spki(signer.spki_der()).map_err(BadSignature::Key)?;
        let own = if matches!(kind, KeyKind::Rsa { .. }) { hash.rsa } else { hash.ecdsa };
        let is_rsa = algorithm == RSA_ENCRYPTION && own == hash.rsa;
        if algorithm != own && !is_rsa {
            return Err(CmsError::Algorithm);
        }
        let identifier = tlv(SEQUENCE, &[&tlv(OBJECT_IDENTIFIER, &[own])]);
        let identifier = Algorithm::from_der(&identifier).map_err(|_| CmsError::Malformed)?;
        key::verify(signer.spki_der(), &identifier, message, signature)?;
        Ok(&self.content)
    }
}

impl std::fmt::Debug for SignedData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedData")
            .field("bytes", &self.content.len())
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl Signer {
    // RFC 5652 §5.3: "SignerInfo ::= SEQUENCE { version CMSVersion, sid SignerIdentifier,
    // digestAlgorithm DigestAlgorithmIdentifier, signedAttrs [0] IMPLICIT SignedAttributes
    // OPTIONAL,
    // signatureAlgorithm SignatureAlgorithmIdentifier, signature SignatureValue, unsignedAttrs [1]
    // IMPLICIT UnsignedAttributes OPTIONAL }"
    fn read(signer: &Element, expected: Content) -> Result<Self, CmsError> {
        let fields = signer.inside(SEQUENCE).ok_or(CmsError::Malformed)?;
        let [_, sid, hash, rest @ ..] = fields else { return Err(CmsError::Malformed) };
        let hash_id = algorithm_id(hash).ok_or(CmsError::Malformed)?;
        let hash = HASHES.iter().find(|one| one.id == hash_id).ok_or(CmsError::Hash)?;
        let (attributes, certificate, rest) = match rest {
            [attributes, rest @ ..] if attributes.tag == CONTEXT_CONSTRUCTED => {
                let named = signing_certificate(attributes).map(<[u8]>::to_vec);
                (Some(read_attributes(attributes, expected)?), named, rest)
            }
            // RFC 5652 §5.3: the signed attributes "MUST be present if the content type of the
            // EncapsulatedContentInfo value being signed is not id-data."
            _ if expected != Content::Data => return Err(CmsError::Attributes),
            rest => (None, None, rest),
        };
        let [algorithm, signature, ..] = rest else { return Err(CmsError::Malformed) };
        let algorithm = algorithm_id(algorithm).ok_or(CmsError::Malformed)?.to_vec();
        let signature = signature.octets().ok_or(CmsError::Malformed)?;
        let issuer = match sid.inside(SEQUENCE) {
            Some([issuer, serial]) => {
                let serial = serial.bytes(INTEGER).ok_or(CmsError::Malformed)?;
                Some((issuer.der(), serial.to_vec()))
            }
            _ => None,
        };
        let key_id = sid.bytes(CONTEXT).map(<[u8]>::to_vec);
        Ok(Self { issuer, key_id, hash, attributes, certificate, algorithm, signature })
    }
}

/// The value of a signed attribute that is there once, with one value.
fn attribute<'a>(attributes: &'a Element, wanted: &[u8]) -> Option<&'a Element> {
    let all = attributes.inside(CONTEXT_CONSTRUCTED)?;
    // RFC 5652 §11.1 and §11.2: each "MUST NOT include multiple instances", with "a single
    // instance" of a value.
    let mut found = all.iter().filter_map(|attribute| match attribute.inside(SEQUENCE) {
        Some([kind, values]) if kind.bytes(OBJECT_IDENTIFIER) == Some(wanted) => values.inside(SET),
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some([value]), None) => Some(value),
        _ => None,
    }
}

/// The hash of the signer's certificate that a signed attribute tells, if it is by SHA-256.
fn signing_certificate(attributes: &Element) -> Option<&[u8]> {
    // RFC 5035 §3: "SigningCertificateV2 ::= SEQUENCE { certs SEQUENCE OF ESSCertIDv2, [...] }",
    // "ESSCertIDv2 ::= SEQUENCE { hashAlgorithm AlgorithmIdentifier DEFAULT {algorithm id-sha256},
    // certHash Hash, [...] }", and "the first certificate identified in the sequence of
    // certificate identifiers MUST be the certificate used to verify the signature."
    let value = attribute(attributes, SIGNING_CERTIFICATE_V2)?;
    let first = value.inside(SEQUENCE)?.first()?.inside(SEQUENCE)?.first()?;
    first.inside(SEQUENCE)?.first()?.bytes(OCTET_STRING)
}

/// The attributes as they are hashed, and the digest that they tell.
fn read_attributes(
    attributes: &Element,
    expected: Content,
) -> Result<(Vec<u8>, Vec<u8>), CmsError> {
    // RFC 5652 §11.1: "the content-type attribute value MUST match the encapContentInfo
    // eContentType value in the signed-data".
    let kind = attribute(attributes, CONTENT_TYPE);
    let kind = kind.and_then(|value| value.bytes(OBJECT_IDENTIFIER));
    let told = attribute(attributes, MESSAGE_DIGEST).and_then(|value| value.bytes(OCTET_STRING));
    match (kind, told) {
        // RFC 5652 §5.4: "a separate encoding of the signedAttrs field is performed for message
        // digest calculation. The IMPLICIT [0] tag [...] is not used for the DER encoding, rather
        // an EXPLICIT SET OF tag is used."
        (Some(kind), Some(told)) if kind == expected.oid() => {
            Ok((attributes.der_as(SET), told.to_vec()))
        }
        _ => Err(CmsError::Attributes),
    }
}

fn algorithm_id(identifier: &Element) -> Option<&[u8]> {
    identifier.inside(SEQUENCE)?.first()?.bytes(OBJECT_IDENTIFIER)
}

/// Why a message is not read, or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmsError {
    #[error("{bytes} bytes; at most {SIGNED_DATA_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("not the encoding of a signed message")]
    Malformed,
    #[error("a message of another kind than signed data")]
    NotSignedData,
    #[error("a signed message without the document")]
    NoContent,
    #[error("a signed message of another kind of content")]
    NotData,
    #[error("more than {CERTIFICATES_MAX} certificates")]
    TooManyCertificates,
    #[error("a certificate in the message does not read")]
    Certificate,
    #[error("not exactly one signer")]
    Signers,
    #[error("a hash other than sha-256, sha-384 and sha-512")]
    Hash,
    #[error("the signed attributes lack the content's type or digest, or say them twice")]
    Attributes,
    #[error("the message names another signer")]
    OtherSigner,
    #[error("the document is not the one that was signed")]
    Digest,
    #[error("the signature algorithm fits neither the key nor the hash")]
    Algorithm,
    #[error(transparent)]
    Signature(#[from] BadSignature),
}
