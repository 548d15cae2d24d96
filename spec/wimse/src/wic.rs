//! The workload identity certificate (workload-creds §6.1, wimse-mutual-tls §3), of which an
//! X.509-SVID is one kind: a chain that names `spiffe://…` is held to that profile, whole.

use spiffe::{SvidError, VerifiedX509Svid, X509Svid};
use time::UnixTime;
use x509::{Certificate, ChainError, KeyUsage, Purpose, Serial, verify_chain};

use crate::bundles::Bundles;
use crate::id::WimseId;
use crate::workload_id::{Origin, WorkloadId, WorkloadIdError};

/// The two questions that are asked of a chain, leaf first.
#[derive(Debug)]
pub struct Wic;

impl Wic {
    /// Whose the leaf claims to be, if the chain has the shape of a workload identity certificate.
    /// Says nothing of who signed it.
    pub fn check(chain: &[Certificate]) -> Result<WorkloadId, WicError> {
        let leaf = chain.first().ok_or(SvidError::NoCertificate)?;
        if !is_wimse(leaf) {
            return Ok(X509Svid::check(chain)?.spiffe_id().clone().into());
        }
        // workload-creds §6.1: "The certificate MUST NOT contain more than one URI SAN that carries
        // a Workload Identifier"; §4: no second identity of any kind.
        let [name] = leaf.uri_names() else {
            return Err(WicError::UriNames { count: leaf.uri_names().len() });
        };
        // wimse-identifier §7.1: "Structural and canonical validation MUST complete before issuer
        // selection, trust-anchor lookup, authorization".
        let id = WimseId::parse(name).map_err(WorkloadIdError::from)?;
        // wimse-mutual-tls §3.2: "Other PKIX path validation rules apply": RFC 5280 §4.2.1.9 has
        // `cA` for those that sign certificates, §4.2.1.3 the bits that a leaf's key may have.
        let usage = leaf.key_usage();
        if leaf.is_ca() || usage.contains(KeyUsage::KEY_CERT_SIGN) {
            return Err(WicError::Authority);
        }
        if !usage.contains(KeyUsage::DIGITAL_SIGNATURE) {
            return Err(WicError::NoDigitalSignature);
        }
        // RFC 5280 §4.1.2.6: "If subject naming information is present only in the subjectAltName
        // extension [...], then the subject name MUST be an empty sequence and the subjectAltName
        // extension MUST be critical."
        if leaf.subject_is_empty() && !leaf.san_is_critical() {
            return Err(WicError::NamesNotCritical);
        }
        Ok(id.into())
    }

    /// Whether the chain is a certificate that the origin in its leaf vouches for, at `now` and for
    /// this purpose.
    pub fn verify(
        chain: &[Certificate],
        bundles: &Bundles,
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<VerifiedWic, WicError> {
        let leaf = chain.first().ok_or(SvidError::NoCertificate)?;
        if !is_wimse(leaf) {
            return Ok(X509Svid::verify(chain, bundles.spiffe(), purpose, now)?.into());
        }
        let id = Self::check(chain)?;
        // wimse-mutual-tls §3.2: "the relying party MUST use the trust anchors configured for the
        // trust domain in the workload identity to validate the peer's certificate."
        let origin = id.origin();
        let bundle = bundles.get(&origin).ok_or(WicError::UnknownOrigin(origin))?;
        verify_chain(chain, bundle.x509_authorities(), purpose, now)?;
        let not_after = chain.iter().map(Certificate::not_after).min();
        let not_after = not_after.unwrap_or(leaf.not_after());
        Ok(VerifiedWic { id, leaf: leaf.clone(), not_after })
    }
}

/// Whether the leaf claims an identifier of the scheme `wimse`, beside whatever else. The scheme
/// decides which profile it is held to.
fn is_wimse(leaf: &Certificate) -> bool {
    leaf.uri_names().iter().any(|name| name.starts_with(crate::id::PREFIX))
}

/// A certificate that the origin of its identifier vouches for. Made by [`Wic::verify`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedWic {
    id: WorkloadId,
    leaf: Certificate,
    not_after: UnixTime,
}

impl VerifiedWic {
    /// Whose key it is.
    pub fn workload_id(&self) -> &WorkloadId {
        &self.id
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

impl From<VerifiedX509Svid> for VerifiedWic {
    fn from(svid: VerifiedX509Svid) -> Self {
        let (id, not_after) = (svid.spiffe_id().clone().into(), svid.not_after());
        Self { id, leaf: svid.leaf().clone(), not_after }
    }
}

/// Why a chain is no valid workload identity certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WicError {
    /// It names no identifier of `wimse`, and is no X.509-SVID.
    #[error(transparent)]
    Svid(#[from] SvidError),
    #[error("{count} uri names; a workload identity certificate has exactly one")]
    UriNames { count: usize },
    #[error("the uri name is no workload identifier: {0}")]
    Identifier(#[from] WorkloadIdError),
    #[error("the leaf may sign certificates")]
    Authority,
    #[error("the key may not make digital signatures")]
    NoDigitalSignature,
    #[error("an empty subject, and the alternative names are not critical")]
    NamesNotCritical,
    #[error("no bundle of the origin `{0}`")]
    UnknownOrigin(Origin),
    #[error(transparent)]
    Chain(#[from] ChainError),
}
