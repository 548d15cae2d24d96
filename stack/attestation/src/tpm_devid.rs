//! `tpm_devid`: a host whose device identity lives in a TPM that its manufacturer vouches for (as
//! SPIRE's plugin of that name: evidence, challenge and answer are its JSON; ATT-03, ATT-08).
//!
//! What is proved, in this order: the DevID certificate ends at policy's anchors; the endorsement
//! certificate at policy's endorsement anchors; the endorsement key is the certificate's; the
//! attestation key certifies that the DevID key is loaded beside it; the DevID key is the
//! certificate's and cannot leave its TPM. Then, by the answer: the DevID key signs our nonce, the
//! TPM of the endorsement key has the attestation key (credential activation), and, where policy
//! names PCRs, a fresh quote of them has allowed values.
//!
//! Beyond SPIRE: elliptic curves, the attributes of all three keys, the quote.

mod bytes;
mod pcrs;
mod quote;
mod refusal;
mod residency;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use rats::Claim;
use serde::{Deserialize, Serialize};
use x509::{Certificate, Purpose};

pub use bytes::Bytes;
pub use pcrs::{PcrError, PcrValues, fault};
pub use quote::{QuoteAnswer, QuoteQuestion};
pub use refusal::Refusal;

use self::residency::Resident;
use crate::chain::{self, hex};
use crate::mechanism::{self, Appraisal, Facts, RESPONSE_BYTES_MAX};
use crate::selector::{Selector, Selectors};

/// The most certificates of a DevID: path validation costs one signature each.
pub const CERTIFICATES_MAX: usize = 6;

/// What the host sends first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Certificates in DER, leaf first.
    #[serde(rename = "DevIDCert")]
    pub devid_certificates: Vec<Bytes>,
    /// The DevID key: TPMT_PUBLIC.
    #[serde(rename = "DevIDPub")]
    pub devid_public: Bytes,
    /// The certificate of the endorsement key, in DER.
    #[serde(rename = "EKCert")]
    pub endorsement_certificate: Bytes,
    /// The endorsement key: TPMT_PUBLIC.
    #[serde(rename = "EKPub")]
    pub endorsement_public: Bytes,
    /// The attestation key: TPMT_PUBLIC.
    #[serde(rename = "AKPub")]
    pub attestation_public: Bytes,
    /// TPMS_ATTEST: the attestation key certifies the DevID key.
    #[serde(rename = "CertifiedDevID")]
    pub certified: Bytes,
    /// TPMT_SIGNATURE over it.
    #[serde(rename = "CertificationSignature")]
    pub certification_signature: Bytes,
}

/// What the server sends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// A nonce for the DevID key to sign.
    #[serde(rename = "DevID")]
    pub devid: Bytes,
    /// A secret for the TPM to open.
    #[serde(rename = "CredActivation")]
    pub activation: Activation,
    /// The PCRs that policy wants to see.
    #[serde(rename = "Quote", default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteQuestion>,
}

/// The secret, wrapped: the contents of TPM2B_ID_OBJECT and of TPM2B_ENCRYPTED_SECRET.
#[derive(Debug, Serialize, Deserialize)]
pub struct Activation {
    /// The contents of TPM2B_ID_OBJECT.
    #[serde(rename = "Credential")]
    pub credential: Bytes,
    /// The contents of TPM2B_ENCRYPTED_SECRET.
    #[serde(rename = "Secret")]
    pub secret: Bytes,
}

/// What the host answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// The DevID key's signature over the nonce: RSASSA-PKCS1-v1_5, or ECDSA in DER.
    #[serde(rename = "DevID")]
    pub devid: Bytes,
    /// The secret, opened.
    #[serde(rename = "CredActivation")]
    pub activation: Bytes,
    /// The quote, where one was asked for.
    #[serde(rename = "Quote", default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteAnswer>,
}

/// The mechanism `tpm_devid`.
#[derive(Debug)]
pub struct Mechanism;

impl mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        "tpm_devid"
    }

    fn challenge(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        let resident = Resident::prove(evidence, facts)?;
        let (secret, seed) = (derived(facts, "activation"), derived(facts, "seed"));
        let name = resident.attestation.name();
        let made = tpm::make_credential(&resident.endorsement, &name, &secret, &seed);
        let made = made.map_err(Refusal::EkTemplate)?;
        let challenge = Challenge {
            devid: Bytes(derived(facts, "devid").to_vec()),
            activation: Activation {
                credential: Bytes(made.id_object),
                secret: Bytes(made.secret),
            },
            quote: QuoteQuestion::of(&facts.rule.pcrs, &derived(facts, "quote")),
        };
        serde_json::to_vec(&challenge).map(Some).map_err(malformed)
    }

    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, mechanism::Refusal> {
        let response = response.ok_or(mechanism::Refusal::NoResponse)?;
        mechanism::bounded(response, RESPONSE_BYTES_MAX)?;
        let resident = Resident::prove(evidence, facts)?;
        let response: Response = serde_json::from_slice(response).map_err(malformed)?;
        let leaf = resident.leaf();
        leaf.verify_signature(&derived(facts, "devid"), &response.devid.0)
            .map_err(|_| Refusal::DevidSignature)?;
        verify_slices_are_equal(&derived(facts, "activation"), &response.activation.0)
            .map_err(|_| Refusal::Activation)?;
        let quoted = quote::verify(
            response.quote.as_ref(),
            &facts.rule.pcrs,
            &derived(facts, "quote"),
            &resident.attestation,
        )?;
        let mut selectors = selectors(&resident, facts)?;
        for (index, value) in quoted {
            selectors.push(Selector::parse(&format!("tpm_devid:pcr:{index}:{}", hex(&value)))?);
        }
        let (name, selectors) = (hex(&leaf.fingerprint_sha256()), Selectors::new(selectors)?);
        let found = Appraisal::new("tpm_devid", name, selectors);
        // AR4SI §2.3.4: the TPM is genuine; what runs is known where PCRs had allowed values. It
        // hides nothing that the host computes or stores besides its own keys.
        let vector = found.vector.with(Claim::Hardware, 2);
        let measured = vector.with(Claim::Executables, 3).with(Claim::Configuration, 2);
        let vector = if facts.rule.pcrs.is_empty() { vector } else { measured };
        Ok(Appraisal { vector, ..found })
    }
}

/// One value of this session a purpose: the nonce itself goes nowhere, and what is sent in the
/// clear tells nothing of what is sent wrapped.
fn derived(facts: &Facts<'_>, purpose: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, facts.nonce);
    let mut value = [0; 32];
    value.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
    value
}

/// SPIRE's selectors with SPIRE's values (its fingerprints are SHA-1, of each certificate above the
/// leaf), and which TPM it is: SHA-256 of the endorsement key.
fn selectors(resident: &Resident, facts: &Facts<'_>) -> Result<Vec<Selector>, mechanism::Refusal> {
    let leaf = resident.leaf();
    let mut selectors = Vec::new();
    let mut named = |kind: &str, names: Vec<String>| {
        let names = names.into_iter().map(|name| format!("tpm_devid:{kind}:cn:{name}"));
        selectors.extend(names.filter_map(|text| Selector::parse(&text).ok()));
    };
    named("subject", leaf.subject().common_names());
    named("issuer", leaf.issuer().common_names());
    for issuer in vouching(resident, facts) {
        let fingerprint = hex(&issuer.fingerprint_sha1());
        selectors.push(Selector::parse(&format!("tpm_devid:fingerprint:{fingerprint}"))?);
    }
    let endorsement = hex(&tpm::Hash::Sha256.digest(&resident.endorsement_spki));
    selectors.push(Selector::parse(&format!("tpm_devid:endorsement:{endorsement}"))?);
    Ok(selectors)
}

/// The certificates above the leaf, and the anchors at which the chain ends.
fn vouching(resident: &Resident, facts: &Facts<'_>) -> Vec<Certificate> {
    let chain = &resident.chain;
    let issuers = chain::issuers(chain, Purpose::Device, facts.now).into_iter().cloned();
    let anchors = chain::anchors(&facts.rule.anchors).unwrap_or_default();
    let reached = anchors.into_iter().filter(|anchor| {
        let anchor = std::slice::from_ref(anchor);
        x509::verify_chain(chain, anchor, Purpose::Device, facts.now).is_ok()
    });
    issuers.chain(reached).collect()
}

fn malformed(why: impl ToString) -> mechanism::Refusal {
    mechanism::Refusal::Malformed { why: why.to_string() }
}
