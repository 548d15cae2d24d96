//! That the DevID key, the attestation key and the endorsement key claim the same TPM, and that it
//! is one which policy's authorities vouch for. The claim holds once the challenge is answered.

use tpm::{Attest, Attested, Attributes, POLICY_A_SHA256, Public, Signature};
use x509::{Certificate, KeyUsage, Purpose};

use super::{CERTIFICATES_MAX, Evidence, Refusal, malformed};
use crate::chain;
use crate::mechanism::{self, EVIDENCE_BYTES_MAX, Facts};

/// Evidence that holds in itself.
pub(super) struct Resident {
    /// The DevID's certificates, leaf first, never empty.
    pub(super) chain: Vec<Certificate>,
    pub(super) endorsement: Public,
    pub(super) endorsement_spki: Vec<u8>,
    pub(super) attestation: Public,
    leaf: Certificate,
}

impl Resident {
    /// Every step, in order. Nothing of a structure is used before what covers it was verified.
    pub(super) fn prove(evidence: &[u8], facts: &Facts<'_>) -> Result<Self, mechanism::Refusal> {
        mechanism::bounded(evidence, EVIDENCE_BYTES_MAX)?;
        let evidence: Evidence = serde_json::from_slice(evidence).map_err(malformed)?;
        let count = evidence.devid_certificates.len();
        if count == 0 || count > CERTIFICATES_MAX {
            let why = format!("{count} certificates, 1 to {CERTIFICATES_MAX} are read");
            return Err(malformed(why));
        }
        let chain = devid_chain(&evidence, facts)?;
        let leaf = chain.first().cloned().ok_or_else(|| malformed("no certificate"))?;
        let (endorsement, endorsement_spki) = endorsement(&evidence, facts)?;
        let attestation = attestation(&evidence)?;
        certified(&evidence, &attestation, &leaf)?;
        Ok(Self { chain, endorsement, endorsement_spki, attestation, leaf })
    }

    /// The DevID certificate.
    pub(super) const fn leaf(&self) -> &Certificate {
        &self.leaf
    }
}

fn devid_chain(evidence: &Evidence, facts: &Facts<'_>) -> Result<Vec<Certificate>, Refusal> {
    let sent = &evidence.devid_certificates;
    let chain = chain::trusted(sent, &facts.rule.anchors, Purpose::Device, facts.now)
        .map_err(|why| Refusal::DevidChain { why })?;
    let signs =
        chain.first().is_some_and(|leaf| leaf.key_usage().contains(KeyUsage::DIGITAL_SIGNATURE));
    if signs { Ok(chain) } else { Err(Refusal::DevidKeyUsage) }
}

/// The endorsement key, and that it is one: a credential made for any other key would be opened by
/// whoever made that key.
fn endorsement(evidence: &Evidence, facts: &Facts<'_>) -> Result<(Public, Vec<u8>), Refusal> {
    let sent = std::slice::from_ref(&evidence.endorsement_certificate);
    let anchors = &facts.rule.endorsement_anchors;
    let chain = chain::trusted(sent, anchors, Purpose::EndorsementKey, facts.now)
        .map_err(|why| Refusal::EkChain { why })?;
    let key = read("EKPub", &evidence.endorsement_public.0)?;
    let spki = key.spki_der().ok_or(Refusal::EkOtherKey)?;
    if chain.first().map(Certificate::spki_der) != Some(spki.as_slice()) {
        return Err(Refusal::EkOtherKey);
    }
    // EK Credential Profile 2.5 §B.3.3, templates L-1 and L-2: the attributes and PolicyA.
    if key.attributes != Attributes::ENDORSEMENT {
        return Err(Refusal::EkAttributes { found: key.attributes });
    }
    if key.policy != POLICY_A_SHA256 {
        return Err(Refusal::EkPolicy);
    }
    Ok((key, spki))
}

fn attestation(evidence: &Evidence) -> Result<Public, Refusal> {
    let key = read("AKPub", &evidence.attestation_public.0)?;
    // TPM 2.0 Part 1 §25.1.5: a restricted signing key signs a digest only if the TPM made it of
    // something that is not its own structure. Without the bit the key forges any attestation.
    if key.attributes != Attributes::ATTESTATION {
        return Err(Refusal::AkAttributes { found: key.attributes });
    }
    Ok(key)
}

/// The attestation key certifies the DevID key, which is the certificate's and stays in its TPM.
fn certified(evidence: &Evidence, attestation: &Public, leaf: &Certificate) -> Result<(), Refusal> {
    let signature = Signature::parse(&evidence.certification_signature.0)
        .map_err(|why| Refusal::Structure { field: "CertificationSignature", why })?;
    signature.verify(attestation, &evidence.certified.0).map_err(Refusal::Certification)?;
    let attest = Attest::parse(&evidence.certified.0)
        .map_err(|why| Refusal::Structure { field: "CertifiedDevID", why })?;
    let Attested::Certify { name, .. } = attest.attested else {
        return Err(Refusal::NotACertification);
    };
    let key = read("DevIDPub", &evidence.devid_public.0)?;
    if name != key.name() {
        return Err(Refusal::OtherKeyCertified);
    }
    // TPM2_Certify certifies any key that is loaded, also one that was imported or may be
    // duplicated: what it cannot do is lie about the attributes.
    let demanded = Attributes::FIXED_TPM
        .with(Attributes::FIXED_PARENT)
        .with(Attributes::SENSITIVE_DATA_ORIGIN)
        .with(Attributes::SIGN);
    if !key.attributes.contains(demanded) {
        return Err(Refusal::DevidAttributes { found: key.attributes });
    }
    if key.spki_der().as_deref() != Some(leaf.spki_der()) {
        return Err(Refusal::DevidOtherKey);
    }
    Ok(())
}

fn read(field: &'static str, bytes: &[u8]) -> Result<Public, Refusal> {
    Public::parse(bytes).map_err(|why| Refusal::Structure { field, why })
}
