//! Certificates and lists of Intel's, up to the pinned root.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use time::UnixTime;
use x509::{Certificate, CertificateDer, Purpose, RevocationList, ecdsa_der_from_fixed};

use super::collateral::{Collateral, Signed};
use super::refusal::{Part, Refusal};

/// Who signs TCB infos and identities of enclaves.
const TCB_SIGNER: &str = "Intel SGX TCB Signing";

/// The platform's certificate, which ends at a root and is not revoked.
pub(super) fn platform(
    pem: &str,
    collateral: &Collateral,
    roots: &[Certificate],
    now: UnixTime,
) -> Result<Certificate, Refusal> {
    let malformed = |why: String| Refusal::Chain { of: Part::Platform, why };
    let chain = CertificateDer::from_pem_many(pem).map_err(|why| malformed(why.to_string()))?;
    let chain = trusted(&chain, roots, Part::Platform, now)?;
    let [leaf, issuer, ..] = chain.as_slice() else {
        return Err(malformed("it has no issuer below the root".to_owned()));
    };
    // RFC 5280 §6.1: "the subject of certificate x is the issuer of certificate x+1", and the list
    // that could name the leaf is that of its issuer.
    if leaf.issuer() != issuer.subject() {
        return Err(malformed("the certificates are not leaf first".to_owned()));
    }
    let root = root_of(issuer, roots, Part::Platform)?;
    current(&collateral.root_list, root, "root_ca_crl", now)?;
    current(&collateral.pck_list, issuer, "pck_crl", now)?;
    if collateral.root_list.names(issuer) {
        return Err(Refusal::Revoked { of: Part::Issuer });
    }
    if collateral.pck_list.names(leaf) {
        return Err(Refusal::Revoked { of: Part::Platform });
    }
    Ok(leaf.clone())
}

/// The text, signed by Intel's signer.
pub(super) fn signed<'a>(
    signed: &'a Signed,
    part: Part,
    collateral: &Collateral,
    roots: &[Certificate],
    now: UnixTime,
) -> Result<&'a str, Refusal> {
    let chain = trusted(&signed.chain, roots, part, now)?;
    let signer = chain.first().ok_or(Refusal::OtherSigner { of: part })?;
    // A platform's key ends at the same root: it must not speak for Intel.
    if !signer.subject().common_names().iter().any(|name| name == TCB_SIGNER) {
        return Err(Refusal::OtherSigner { of: part });
    }
    let root = root_of(signer, roots, part)?;
    current(&collateral.root_list, root, "root_ca_crl", now)?;
    if collateral.root_list.names(signer) {
        return Err(Refusal::Revoked { of: part });
    }
    by(signer, signed.text.as_bytes(), &signed.signature, part)?;
    Ok(&signed.text)
}

/// Verifies `r || s` by the key of a certificate.
pub(super) fn by(
    certificate: &Certificate,
    message: &[u8],
    signature: &[u8; 64],
    part: Part,
) -> Result<(), Refusal> {
    let wrong = Refusal::Signature { of: part };
    // FIPS 186-5 §6.4.2: neither number is zero; else there is no signature to look at.
    let Ok(der) = ecdsa_der_from_fixed(signature) else { return Err(wrong) };
    certificate.verify_signature(message, &der).map_err(|_| wrong)
}

/// Verifies `r || s` by a bare key.
pub(super) fn by_key(
    key: &[u8; 64],
    message: &[u8],
    signature: &[u8; 64],
    part: Part,
) -> Result<(), Refusal> {
    // SEC 1 §2.3.3: an uncompressed point begins with 04.
    let mut point = vec![4];
    point.extend_from_slice(key);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(message, signature)
        .map_err(|_| Refusal::Signature { of: part })
}

/// The certificates, without the root if it is among them, checked to the roots.
fn trusted(
    chain: &[CertificateDer],
    roots: &[Certificate],
    of: Part,
    now: UnixTime,
) -> Result<Vec<Certificate>, Refusal> {
    let refused = |why: String| Refusal::Chain { of, why };
    let chain: Vec<Certificate> = chain
        .iter()
        .map(|der| der.parse().map_err(|why| refused(why.to_string())))
        .collect::<Result<_, _>>()?;
    let chain: Vec<_> = chain.into_iter().filter(|one| one.subject() != one.issuer()).collect();
    x509::verify_chain(&chain, roots, Purpose::Device, now).map_err(|why| match why {
        x509::ChainError::Expired { not_after, now } => {
            Refusal::Expired { of, until: not_after, now }
        }
        x509::ChainError::NotYetValid { not_before, now } => {
            Refusal::NotYet { of, from: not_before, now }
        }
        why => refused(why.to_string()),
    })?;
    Ok(chain)
}

/// The root that signed.
fn root_of<'a>(
    below: &Certificate,
    roots: &'a [Certificate],
    of: Part,
) -> Result<&'a Certificate, Refusal> {
    let mut named = roots.iter().filter(|root| root.subject() == below.issuer());
    let signed = named.find(|root| below.verify_signed_by(root).is_ok());
    signed.ok_or_else(|| Refusal::Chain { of, why: "no root has signed it".to_owned() })
}

fn current(
    list: &RevocationList,
    issuer: &Certificate,
    name: &'static str,
    now: UnixTime,
) -> Result<(), Refusal> {
    list.verify_signed_by(issuer).map_err(|why| Refusal::List { name, why })?;
    let of = Part::List(name);
    // RFC 5280 §5.1.2.5: "The next CRL could be issued before the indicated date, but it will not
    // be issued any later than the indicated date."
    if now.seconds() > list.next_update().seconds() {
        return Err(Refusal::Expired { of, until: list.next_update(), now });
    }
    if now.seconds() < list.this_update().seconds() {
        return Err(Refusal::NotYet { of, from: list.this_update(), now });
    }
    Ok(())
}
