//! Who signed a certificate or a revocation list, asked of one possible issuer: for hierarchies of
//! fixed shape, whose signatures a path builder does not take.

use der::asn1::{AnyRef, UintRef};
use der::{Decode, Encode, Sequence, SliceReader};

use crate::certificate::Certificate;
use crate::key::{self, BadSignature, KeyError, PssHash};
use crate::oid::Oid;
use crate::syntax::{Algorithm, OidSyntax, Signed};

/// `id-RSASSA-PSS`.
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
/// `id-mgf1`.
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
/// `id-sha256`, `id-sha384`, `id-sha512`, and what RFC 4055 makes of each.
const HASHES: [(&[u8], PssHash); 3] = [
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], PssHash::Sha256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], PssHash::Sha384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], PssHash::Sha512),
];

/// `RSASSA-PSS-params` (RFC 4055 §3.1). Defaults mean SHA-1, which counts for nothing, so only the
/// trailer may be absent; some authorities write it although it is the default.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: Algorithm<'a>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask: Algorithm<'a>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    salt: UintRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<UintRef<'a>>,
}

impl Certificate {
    /// Verifies that the key of `issuer` signed this certificate, by any algorithm of this crate or
    /// by RSASSA-PSS with one hash of SHA-2 throughout and a salt of its length. Neither names nor
    /// validity nor what `issuer` may sign are looked at: [`crate::verify_chain`] does.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), BadSignature> {
        verify(self.der(), 2, issuer)
    }
}

/// Verifies the signature on a signed structure whose body names the algorithm too, `at` so many
/// elements from its start.
pub(crate) fn verify(der: &[u8], at: usize, issuer: &Certificate) -> Result<(), BadSignature> {
    let malformed = BadSignature::Key(KeyError::Malformed);
    let Ok(signed) = Signed::from_der(der) else { return Err(malformed) };
    let Ok(message) = signed.body.to_der() else { return Err(malformed) };
    let Some(signature) = signed.signature.as_bytes() else { return Err(malformed) };
    // RFC 5280 §4.1.1.2: "This field MUST contain the same algorithm identifier as the signature
    // field in the sequence tbsCertificate".
    let inner = element(signed.body.value(), at).and_then(|it| it.to_der().ok());
    if inner.is_none() || inner != signed.algorithm.to_der().ok() {
        return Err(algorithm(&signed.algorithm));
    }
    if signed.algorithm.id.0 != RSASSA_PSS {
        return key::verify(issuer.spki_der(), &signed.algorithm, &message, signature).map(|_| ());
    }
    let hash = pss_hash(&signed.algorithm).ok_or_else(|| algorithm(&signed.algorithm))?;
    key::verify_pss(issuer.spki_der(), hash, &message, signature)
}

/// The hash of RSASSA-PSS parameters that are taken.
fn pss_hash(algorithm: &Algorithm<'_>) -> Option<PssHash> {
    let parameters: PssParameters<'_> = algorithm.parameters?.decode_as().ok()?;
    let hash = hash(&parameters.hash)?;
    // RFC 4055 §3.1: "it is RECOMMENDED that the underlying hash function be the same as the one
    // identified by hashAlgorithm", and "the recommended value of saltLength is the number of
    // octets in the hash value". trailerField: "the value MUST be 1".
    let masked: Algorithm<'_> =
        (parameters.mask.id.0 == MGF1).then_some(parameters.mask.parameters?)?.decode_as().ok()?;
    let one = |trailer: UintRef<'_>| trailer.as_bytes() == [1];
    let fits = self::hash(&masked)? == hash
        && parameters.salt.as_bytes() == [hash.bytes()]
        && parameters.trailer.is_none_or(one);
    fits.then_some(hash)
}

fn hash(algorithm: &Algorithm<'_>) -> Option<PssHash> {
    // RFC 4055 §2.1: "implementations MUST accept AlgorithmIdentifier with either NULL or absent
    // parameters".
    let plain = algorithm.parameters.is_none_or(AnyRef::is_null);
    let found = HASHES.iter().find(|(id, _)| OidSyntax(id) == algorithm.id).filter(|_| plain)?;
    Some(found.1)
}

/// The element `at` that place among the contents of a sequence.
fn element(contents: &[u8], at: usize) -> Option<AnyRef<'_>> {
    let mut reader = SliceReader::new(contents).ok()?;
    for _ in 0..at {
        AnyRef::decode(&mut reader).ok()?;
    }
    AnyRef::decode(&mut reader).ok()
}

fn algorithm(algorithm: &Algorithm<'_>) -> BadSignature {
    Oid::from_contents(algorithm.id.0)
        .map_or(BadSignature::Key(KeyError::Malformed), BadSignature::Algorithm)
}
