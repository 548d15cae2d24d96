//! X.509-SVIDs: the profile of leaf and signing certificates, and validation against the bundle of
//! the leaf's own trust domain (X509-SVID §2 to §5).

use time::UnixTime;
use x509::{Certificate, ChainError, KeyUsage, Oid, Purpose, Serial, verify_chain};

use crate::bundle_set::BundleSet;
use crate::id::{SpiffeId, SpiffeIdError, TrustDomain};

/// The two questions that are asked of a chain, leaf first.
#[derive(Debug)]
pub struct X509Svid;

impl X509Svid {
    /// Whether the chain has the shape of an SVID: each certificate obeys its profile. Says
    /// nothing of who signed it.
    pub fn check(chain: &[Certificate]) -> Result<CheckedLeaf, SvidError> {
        let (leaf, issuers) = chain.split_first().ok_or(SvidError::NoCertificate)?;
        let spiffe_id = identifier(leaf)?;
        // X509-SVID §5.2: "the validator MUST ensure that the `cA` field in the basic constraints
        // extension is set to `false`"
        if leaf.is_ca() {
            return Err(SvidError::Authority);
        }
        leaf_usage(leaf)?;
        // X509-SVID §3.1: "the URI SAN extension MUST be marked as critical if Subject is omitted"
        if leaf.subject_is_empty() && !leaf.san_is_critical() {
            return Err(SvidError::NamesNotCritical);
        }
        for (index, issuer) in issuers.iter().enumerate() {
            check_authority(issuer)
                .map_err(|reason| SvidError::Issuer { index: index + 1, reason })?;
        }
        Ok(CheckedLeaf { spiffe_id })
    }

    /// Whether the chain is an SVID that the trust domain in its leaf vouches for, at `now` and for
    /// this purpose.
    pub fn verify(
        chain: &[Certificate],
        bundles: &BundleSet,
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<VerifiedX509Svid, SvidError> {
        let CheckedLeaf { spiffe_id } = Self::check(chain)?;
        // SPIFFE Bundle §3: "When validating an SVID, validators must choose the bundle
        // corresponding to the trust domain that the SVID resides in"
        let trust_domain = spiffe_id.trust_domain();
        let bundle = bundles
            .get(trust_domain)
            .ok_or_else(|| SvidError::UnknownTrustDomain(trust_domain.clone()))?;
        // X509-SVID §5.1: "standard X.509 path validation, and MUST follow RFC 5280 path
        // validation semantics."
        verify_chain(chain, bundle.x509_authorities(), purpose, now)?;
        let leaf = chain.first().ok_or(SvidError::NoCertificate)?;
        let not_after = chain.iter().map(Certificate::not_after).min();
        Ok(VerifiedX509Svid {
            spiffe_id,
            leaf: leaf.clone(),
            not_after: not_after.unwrap_or(leaf.not_after()),
        })
    }
}

/// A leaf that has the shape of an SVID; nobody has vouched for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedLeaf {
    spiffe_id: SpiffeId,
}

impl CheckedLeaf {
    /// What the leaf claims to be.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }
}

/// An SVID that its own trust domain vouches for. Made by [`X509Svid::verify`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedX509Svid {
    spiffe_id: SpiffeId,
    leaf: Certificate,
    not_after: UnixTime,
}

impl VerifiedX509Svid {
    /// Whose key it is.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The revocation epoch under which it was issued, if we issued it.
    pub fn epoch(&self) -> Option<u64> {
        self.leaf.epoch()
    }

    /// The last second in which every certificate of the chain is valid.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// DER of the `SubjectPublicKeyInfo` of the key that it binds.
    pub fn spki_der(&self) -> &[u8] {
        self.leaf.spki_der()
    }

    /// The serial number of the leaf.
    pub fn serial(&self) -> &Serial {
        self.leaf.serial()
    }

    /// The leaf.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }
}

/// Why a chain is no valid X.509-SVID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    #[error("no certificate")]
    NoCertificate,
    #[error("{count} uri names; an svid has exactly one")]
    UriNames { count: usize },
    #[error("the uri name is no spiffe id: {0}")]
    NotSpiffeId(SpiffeIdError),
    #[error("`{0}` names a trust domain, not a workload")]
    NoPath(SpiffeId),
    #[error("the leaf is the certificate of an authority")]
    Authority,
    #[error("no key usage")]
    NoKeyUsage,
    #[error("the key usage is not critical")]
    KeyUsageNotCritical,
    #[error("the key may not make digital signatures")]
    NoDigitalSignature,
    #[error("the leaf may sign certificates")]
    SignsCertificates,
    #[error("the leaf may sign revocation lists")]
    SignsRevocationLists,
    #[error("an extended key usage without both server and client authentication")]
    ExtendedKeyUsage,
    #[error("an empty subject, and the alternative names are not critical")]
    NamesNotCritical,
    /// Counted from the leaf, which is 0.
    #[error("issuer {index} in the chain: {reason}")]
    Issuer { index: usize, reason: AuthorityError },
    #[error("no bundle of the trust domain `{0}`")]
    UnknownTrustDomain(TrustDomain),
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Whether a certificate obeys the profile of signing certificates.
pub fn check_authority(certificate: &Certificate) -> Result<(), AuthorityError> {
    // X509-SVID §4.1: "Signing certificates MUST set the `cA` field to `true`"
    if !certificate.is_ca() {
        return Err(AuthorityError::NotAuthority);
    }
    // X509-SVID §4.3: "The key usage extension MUST be set on all SVIDs, and MUST be marked
    // critical. SVID signing certificates MUST set `keyCertSign`."
    if certificate.key_usage().is_empty() {
        return Err(AuthorityError::NoKeyUsage);
    }
    if !certificate.is_critical(&Oid::KEY_USAGE) {
        return Err(AuthorityError::KeyUsageNotCritical);
    }
    if !certificate.key_usage().contains(KeyUsage::KEY_CERT_SIGN) {
        return Err(AuthorityError::SignsNoCertificates);
    }
    match certificate.uri_names() {
        // X509-SVID §3.2: "A signing certificate SHOULD itself be an SVID."
        [] => Ok(()),
        [name] => {
            // X509-SVID §3.2: "If present, the SPIFFE ID of a signing certificate MUST NOT have a
            // path component"
            let id = SpiffeId::parse(name).map_err(AuthorityError::NotSpiffeId)?;
            if id.path().is_empty() { Ok(()) } else { Err(AuthorityError::Path(id)) }
        }
        // X509-SVID §2: "Validators encountering an SVID containing more than one URI SAN MUST
        // reject the SVID."
        names => Err(AuthorityError::UriNames { count: names.len() }),
    }
}

/// Why a certificate is no signing certificate of SPIFFE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("not the certificate of an authority")]
    NotAuthority,
    #[error("no key usage")]
    NoKeyUsage,
    #[error("the key usage is not critical")]
    KeyUsageNotCritical,
    #[error("the key may not sign certificates")]
    SignsNoCertificates,
    #[error("{count} uri names; at most one is allowed")]
    UriNames { count: usize },
    #[error("the uri name is no spiffe id: {0}")]
    NotSpiffeId(SpiffeIdError),
    #[error("`{0}` has a path, so it names a workload")]
    Path(SpiffeId),
}

/// The one identifier of a leaf.
fn identifier(leaf: &Certificate) -> Result<SpiffeId, SvidError> {
    // X509-SVID §2: "An X.509 SVID MUST contain exactly one URI SAN, and by extension, exactly one
    // SPIFFE ID."
    let [name] = leaf.uri_names() else {
        return Err(SvidError::UriNames { count: leaf.uri_names().len() });
    };
    let id = SpiffeId::parse(name).map_err(SvidError::NotSpiffeId)?;
    // X509-SVID §5.2: "MUST ensure that the SPIFFE ID has a non-root path component."
    if id.path().is_empty() { Err(SvidError::NoPath(id)) } else { Ok(id) }
}

/// What the key of a leaf may and must be used for.
fn leaf_usage(leaf: &Certificate) -> Result<(), SvidError> {
    let usage = leaf.key_usage();
    // X509-SVID §4.3: "The key usage extension MUST be set on all SVIDs, and MUST be marked
    // critical."
    if usage.is_empty() {
        return Err(SvidError::NoKeyUsage);
    }
    if !leaf.is_critical(&Oid::KEY_USAGE) {
        return Err(SvidError::KeyUsageNotCritical);
    }
    // X509-SVID §4.3: "Leaf SVIDs MUST set `digitalSignature`."
    if !usage.contains(KeyUsage::DIGITAL_SIGNATURE) {
        return Err(SvidError::NoDigitalSignature);
    }
    // X509-SVID §5.2: "that `keyCertSign` and `cRLSign` are not set in the key usage extension."
    if usage.contains(KeyUsage::KEY_CERT_SIGN) {
        return Err(SvidError::SignsCertificates);
    }
    if usage.contains(KeyUsage::CRL_SIGN) {
        return Err(SvidError::SignsRevocationLists);
    }
    // X509-SVID §4.4: "When included, fields `id-kp-serverAuth` and `id-kp-clientAuth` MUST be
    // set."
    let extended = leaf.extended_key_usages();
    let both = [Oid::SERVER_AUTH, Oid::CLIENT_AUTH].iter().all(|oid| extended.contains(oid));
    if extended.is_empty() || both { Ok(()) } else { Err(SvidError::ExtendedKeyUsage) }
}
