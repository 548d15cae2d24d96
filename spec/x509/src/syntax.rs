//! The structures of RFC 5280 §4.1 and RFC 2986 §4, inwards: what is nested in what. Values are
//! borrowed as they stand, so that what is verified is what is used.

use der::asn1::{AnyRef, BitStringRef, IntRef, OctetStringRef, SetOfVec};
use der::{DecodeValue, EncodeValue, FixedTag, Header, Length, Reader, Sequence, Tag, Writer};
use x509_cert::Version;
use x509_cert::time::Validity;

/// `Certificate`, and `CertificationRequest` alike: something, and a signature over it.
#[derive(Sequence)]
pub(crate) struct Signed<'a> {
    pub(crate) body: AnyRef<'a>,
    pub(crate) algorithm: Algorithm<'a>,
    pub(crate) signature: BitStringRef<'a>,
}

/// `TBSCertificate`.
#[derive(Sequence)]
pub(crate) struct Body<'a> {
    #[asn1(context_specific = "0", default = "Default::default")]
    pub(crate) version: Version,
    pub(crate) serial: IntRef<'a>,
    pub(crate) algorithm: Algorithm<'a>,
    pub(crate) issuer: AnyRef<'a>,
    pub(crate) validity: Validity,
    pub(crate) subject: AnyRef<'a>,
    pub(crate) spki: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) issuer_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) subject_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) extensions: Option<Vec<ExtensionSyntax<'a>>>,
}

/// `CertificationRequestInfo`.
#[derive(Sequence)]
pub(crate) struct RequestBody<'a> {
    pub(crate) version: u8,
    pub(crate) subject: AnyRef<'a>,
    pub(crate) spki: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    pub(crate) attributes: SetOfVec<Attribute<'a>>,
}

/// `Attribute` of a request.
#[derive(Clone, Sequence, der::ValueOrd)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: OidSyntax<'a>,
    pub(crate) values: SetOfVec<AnyRef<'a>>,
}

/// `AttestationBundle` of a request (draft-ietf-lamps-csr-attestation).
#[derive(Clone, Sequence)]
pub(crate) struct AttestationBundle<'a> {
    pub(crate) attestations: Vec<AttestationStatement<'a>>,
    pub(crate) certs: Option<AnyRef<'a>>,
}

/// `AttestationStatement`.
#[derive(Clone, Sequence)]
pub(crate) struct AttestationStatement<'a> {
    pub(crate) kind: OidSyntax<'a>,
    pub(crate) stmt: AnyRef<'a>,
}

/// `Extension`.
#[derive(Clone, Sequence)]
pub(crate) struct ExtensionSyntax<'a> {
    pub(crate) id: OidSyntax<'a>,
    #[asn1(default = "Default::default")]
    pub(crate) critical: bool,
    pub(crate) value: &'a OctetStringRef,
}

/// `AlgorithmIdentifier`.
#[derive(Clone, Sequence)]
pub(crate) struct Algorithm<'a> {
    pub(crate) id: OidSyntax<'a>,
    pub(crate) parameters: Option<AnyRef<'a>>,
}

/// `SubjectPublicKeyInfo`.
#[derive(Sequence)]
pub(crate) struct Spki<'a> {
    pub(crate) algorithm: Algorithm<'a>,
    pub(crate) key: BitStringRef<'a>,
}

/// `RSAPublicKey` (RFC 8017 appendix A.1.1).
#[derive(Sequence)]
pub(crate) struct RsaKey<'a> {
    pub(crate) modulus: der::asn1::UintRef<'a>,
    pub(crate) exponent: der::asn1::UintRef<'a>,
}

/// `BasicConstraints`.
#[derive(Sequence)]
pub(crate) struct BasicConstraints {
    #[asn1(default = "Default::default")]
    pub(crate) authority: bool,
    pub(crate) path_len: Option<u8>,
}

/// `NameConstraints`.
#[derive(Sequence)]
pub(crate) struct NameConstraints<'a> {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) permitted: Option<Vec<Subtree<'a>>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) excluded: Option<Vec<Subtree<'a>>>,
}

/// `GeneralSubtree`. RFC 5280 §4.2.1.10: "the minimum MUST be zero, and maximum MUST be absent":
/// neither is ever encoded, so neither is a field.
#[derive(Sequence)]
pub(crate) struct Subtree<'a> {
    pub(crate) base: AnyRef<'a>,
}

/// The contents of an `OBJECT IDENTIFIER`, of any length, checked where an `Oid` is made of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct OidSyntax<'a>(pub(crate) &'a [u8]);

impl FixedTag for OidSyntax<'_> {
    const TAG: Tag = Tag::ObjectIdentifier;
}

impl<'a> DecodeValue<'a> for OidSyntax<'a> {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        reader.read_slice(header.length()).map(Self)
    }
}

impl EncodeValue for OidSyntax<'_> {
    fn value_len(&self) -> der::Result<Length> {
        self.0.len().try_into()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(self.0)
    }
}

impl der::ValueOrd for OidSyntax<'_> {
    fn value_cmp(&self, other: &Self) -> der::Result<std::cmp::Ordering> {
        Ok(self.0.cmp(other.0))
    }
}
