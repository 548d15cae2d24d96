//! Path validation (RFC 5280 §6): does a chain lead from a leaf to a trust anchor, now, for this
//! purpose? Built on `webpki`; what that library leaves to its caller is checked here.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor};
use time::UnixTime;
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage as Usage,
    VerifiedPath,
};

use crate::certificate::Certificate;
use crate::extension::KeyUsage;
use crate::oid::Oid;
use crate::{ANCHORS_MAX, CHAIN_CERTIFICATES_MAX};

/// Extensions whose meaning is enforced, so that they may be critical.
const PROCESSED: [Oid; 5] = [
    Oid::KEY_USAGE,
    Oid::SUBJECT_ALT_NAME,
    Oid::BASIC_CONSTRAINTS,
    Oid::NAME_CONSTRAINTS,
    Oid::EXTENDED_KEY_USAGE,
];

/// Signatures on certificates that count. RSA keys shorter than 2,048 bits do not.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ECDSA_P256_SHA384,
    webpki::aws_lc_rs::ECDSA_P384_SHA256,
    webpki::aws_lc_rs::ECDSA_P384_SHA384,
    webpki::aws_lc_rs::ECDSA_P521_SHA512,
    webpki::aws_lc_rs::ED25519,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA512,
    webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// What the leaf is presented for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// As the client of a TLS connection, or the signer of something else.
    Client,
    /// As the server of a TLS connection.
    Server,
    /// As the identity of a device: extended key usages are not looked at, since IEEE 802.1AR
    /// gives them no meaning there.
    Device,
    /// As the endorsement key of a TPM: it must say so (`tcg-kp-EKCertificate`).
    EndorsementKey,
    /// As the signer of code: it must say so (`id-kp-codeSigning`).
    CodeSigning,
    /// As the signer of time stamps: it must say so, and nothing else (`id-kp-timeStamping`).
    TimeStamping,
}

impl Purpose {
    /// The extended key usage that a leaf must name for this purpose.
    fn named_by(self) -> Option<Oid> {
        match self {
            // TCG EK Credential Profile 2.5 §3.2.16: the extension is there, and names this
            // purpose.
            Self::EndorsementKey => Oid::parse("2.23.133.8.1"),
            // RFC 5280 §4.2.1.12: "id-kp-codeSigning [...] Signing of downloadable executable
            // code".
            Self::CodeSigning => Some(Oid::CODE_SIGNING),
            Self::TimeStamping => Some(Oid::TIME_STAMPING),
            Self::Client | Self::Server | Self::Device => None,
        }
    }
}

/// Whether `chain`, leaf first, leads to one of `anchors` at `now`. Names are the caller's to
/// judge: this says only that the anchors vouch for the leaf.
///
/// Stricter than RFC 5280 demands: an anchor must be an authority, must be valid itself, and its
/// path length counts; every issuer in the chain, used or not, must be one.
pub fn verify_chain(
    chain: &[Certificate],
    anchors: &[Certificate],
    purpose: Purpose,
    now: UnixTime,
) -> Result<(), ChainError> {
    let Some((leaf, issuers)) = chain.split_first() else { return Err(ChainError::Empty) };
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        return Err(ChainError::TooLong { certificates: chain.len() });
    }
    if anchors.len() > ANCHORS_MAX {
        return Err(ChainError::TooManyAnchors { anchors: anchors.len() });
    }
    chain.iter().try_for_each(known_criticals)?;
    let usages = leaf.extended_key_usages();
    if purpose.named_by().is_some_and(|named| !usages.contains(&named)) {
        return Err(ChainError::NotForPurpose);
    }
    // RFC 3161 §2.3: "The corresponding certificate MUST contain only one instance of the extended
    // key usage field extension [...] with KeyPurposeID having value: id-kp-timeStamping. This
    // extension MUST be critical."
    let alone = usages.len() == 1 && leaf.is_critical(&Oid::EXTENDED_KEY_USAGE);
    if purpose == Purpose::TimeStamping && !alone {
        return Err(ChainError::NotForPurpose);
    }
    issuers.iter().try_for_each(may_issue)?;
    let usable: Vec<&Certificate> =
        anchors.iter().filter(|anchor| anchor.is_ca() && is_valid(anchor, now)).collect();
    let result = walk(leaf, issuers, &usable, purpose, now);
    result.map_err(|error| explain(error, chain, anchors, now))
}

/// Why a chain is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("an empty chain")]
    Empty,
    #[error("a chain of {certificates} certificates; at most {CHAIN_CERTIFICATES_MAX} are taken")]
    TooLong { certificates: usize },
    #[error("{anchors} trust anchors; at most {ANCHORS_MAX} are looked at")]
    TooManyAnchors { anchors: usize },
    #[error("expired at {not_after}, it is {now}")]
    Expired { not_after: UnixTime, now: UnixTime },
    #[error("not valid before {not_before}, it is {now}")]
    NotYetValid { not_before: UnixTime, now: UnixTime },
    #[error("no trust anchor has issued this chain")]
    UnknownIssuer,
    /// The anchor of that name is not valid now: the bundle is stale.
    #[error("the trust anchor is valid from {not_before} to {not_after}, it is {now}")]
    AnchorNotValid { not_before: UnixTime, not_after: UnixTime, now: UnixTime },
    #[error("a signature in the chain is wrong")]
    BadSignature,
    #[error("a signature algorithm or key in the chain is not supported")]
    UnsupportedAlgorithm,
    #[error("the certificate may not be used for this purpose")]
    NotForPurpose,
    #[error("the leaf is the certificate of an authority")]
    AuthorityAsLeaf,
    #[error("an issuer in the chain is no authority")]
    LeafAsAuthority,
    #[error("an issuer in the chain may not sign certificates")]
    NotForSigning,
    #[error("more authorities below an issuer than it allows")]
    PathLength,
    #[error("a name that an issuer's name constraints forbid")]
    NameConstraints,
    /// URI name constraints are not evaluated, so what is under them is refused.
    #[error("an issuer constrains uri names, which is not supported")]
    UriNameConstraints,
    #[error("unknown critical extension `{0}`")]
    CriticalExtension(Oid),
    /// A rule of the library that has no variant here; its own name for it.
    #[error("the chain is malformed: {0}")]
    Malformed(String),
}

/// RFC 5280 §4.2: "A certificate-using system MUST reject the certificate if it encounters a
/// critical extension it does not recognize".
fn known_criticals(certificate: &Certificate) -> Result<(), ChainError> {
    let unknown = |oid: &&Oid| !PROCESSED.contains(oid);
    let mut criticals = certificate.extensions().iter().filter(|it| it.critical).map(|it| &it.oid);
    match criticals.find(unknown) {
        Some(oid) => Err(ChainError::CriticalExtension(oid.clone())),
        None => Ok(()),
    }
}

fn may_issue(issuer: &Certificate) -> Result<(), ChainError> {
    // RFC 5280 §6.1.4 (k): "verify that the basicConstraints extension is present and that cA is
    // set to TRUE"
    if !issuer.is_ca() {
        return Err(ChainError::LeafAsAuthority);
    }
    // RFC 5280 §6.1.4 (n): "If a key usage extension is present, verify that the keyCertSign bit
    // is set."
    let usage = issuer.key_usage();
    if !usage.is_empty() && !usage.contains(KeyUsage::KEY_CERT_SIGN) {
        return Err(ChainError::NotForSigning);
    }
    Ok(())
}

/// RFC 5280 §4.1.2.5: "The validity period for a certificate is the period of time from notBefore
/// through notAfter, inclusive."
fn is_valid(certificate: &Certificate, now: UnixTime) -> bool {
    (certificate.not_before().seconds()..=certificate.not_after().seconds())
        .contains(&now.seconds())
}

/// The walk itself, by the library.
fn walk(
    leaf: &Certificate,
    issuers: &[Certificate],
    anchors: &[&Certificate],
    purpose: Purpose,
    now: UnixTime,
) -> Result<(), Error> {
    let leaf_der = CertificateDer::from(leaf.der());
    let end_entity = EndEntityCert::try_from(&leaf_der)?;
    let issuers: Vec<CertificateDer<'_>> =
        issuers.iter().map(|issuer| CertificateDer::from(issuer.der())).collect();
    let anchor_ders: Vec<CertificateDer<'_>> =
        anchors.iter().map(|anchor| CertificateDer::from(anchor.der())).collect();
    let trust: Vec<TrustAnchor<'_>> =
        anchor_ders.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<_, _>>()?;
    let now = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.seconds()));
    let in_reach = |path: &VerifiedPath<'_>| anchor_reaches(path, &trust, anchors);
    let usage = Usages(purpose);
    end_entity.verify_for_usage(ALGORITHMS, &trust, &issuers, now, usage, None, Some(&in_reach))?;
    Ok(())
}

/// What the extended key usages of a path must allow.
struct Usages(Purpose);

impl ExtendedKeyUsageValidator for Usages {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        match self.0 {
            Purpose::Client => Usage::client_auth().validate(usages),
            Purpose::Server => Usage::server_auth().validate(usages),
            Purpose::Device => Ok(()),
            Purpose::EndorsementKey => Usage::required_if_present(EK_CERTIFICATE).validate(usages),
            Purpose::CodeSigning => Usage::required_if_present(CODE_SIGNING).validate(usages),
            Purpose::TimeStamping => Usage::required_if_present(TIME_STAMPING).validate(usages),
        }
    }
}

/// `tcg-kp-EKCertificate`, 2.23.133.8.1.
const EK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
/// `id-kp-codeSigning`, 1.3.6.1.5.5.7.3.3.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
/// `id-kp-timeStamping`, 1.3.6.1.5.5.7.3.8.
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// The library does not look at the constraints of the anchor itself: path length and key usage.
fn anchor_reaches(
    path: &VerifiedPath<'_>,
    trust: &[TrustAnchor<'_>],
    anchors: &[&Certificate],
) -> Result<(), Error> {
    let below = path.intermediate_certificates().count();
    let used = trust.iter().zip(anchors).find(|(trust, _)| *trust == path.anchor());
    let Some((_, anchor)) = used else { return Err(Error::UnknownIssuer) };
    if may_issue(anchor).is_err() {
        return Err(Error::EndEntityUsedAsCa);
    }
    match anchor.path_len() {
        Some(length) if below > usize::from(length) => Err(Error::PathLenConstraintViolated),
        _ => Ok(()),
    }
}

/// The library's error in our words, with the evidence.
fn explain(
    error: Error,
    chain: &[Certificate],
    anchors: &[Certificate],
    now: UnixTime,
) -> ChainError {
    let at = |time: rustls_pki_types::UnixTime| UnixTime::from_seconds(time.as_secs());
    match error {
        Error::CertExpired { not_after, .. } => {
            ChainError::Expired { not_after: at(not_after), now }
        }
        Error::CertNotValidYet { not_before, .. } => {
            ChainError::NotYetValid { not_before: at(not_before), now }
        }
        Error::UnknownIssuer => stale_anchor(chain, anchors, now),
        Error::InvalidSignatureForPublicKey => ChainError::BadSignature,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            ChainError::UnsupportedAlgorithm
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            ChainError::NotForPurpose
        }
        Error::CaUsedAsEndEntity => ChainError::AuthorityAsLeaf,
        Error::EndEntityUsedAsCa => ChainError::NotForSigning,
        Error::PathLenConstraintViolated => ChainError::PathLength,
        Error::NameConstraintViolation => constraint(chain, anchors),
        other => ChainError::Malformed(format!("{other:?}")),
    }
}

/// Which name constraint it was. Issuers count that are named in the chain.
fn constraint(chain: &[Certificate], anchors: &[Certificate]) -> ChainError {
    let issuers =
        chain.iter().skip(1).chain(anchors).filter(|issuer| {
            chain.iter().any(|certificate| certificate.issuer() == issuer.subject())
        });
    if issuers.into_iter().any(Certificate::has_uri_constraints) {
        ChainError::UriNameConstraints
    } else {
        ChainError::NameConstraints
    }
}

/// No anchor fits: perhaps one would that is not valid now.
fn stale_anchor(chain: &[Certificate], anchors: &[Certificate], now: UnixTime) -> ChainError {
    let stale = anchors.iter().find(|anchor| {
        let named = chain.iter().any(|certificate| certificate.issuer() == anchor.subject());
        named && anchor.is_ca() && !is_valid(anchor, now)
    });
    match stale {
        Some(anchor) => ChainError::AnchorNotValid {
            not_before: anchor.not_before(),
            not_after: anchor.not_after(),
            now,
        },
        None => ChainError::UnknownIssuer,
    }
}
