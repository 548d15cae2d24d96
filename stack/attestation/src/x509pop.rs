//! `x509pop`: a host that has a certificate proves that it has the key
//! (as SPIRE's plugin of that name: payload `{certificates}`, a 32-byte nonce each way, the signed
//! digest is SHA-256(challenge nonce ‖ response nonce); ATT-02, ATT-08).
//!
//! Our own nodes write challenge and response with members of their own, and sign with the hash
//! that fits their key; to a SPIRE agent both are as its plugin has them ([`spire`]).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use x509::{Certificate, KeyUsage, Purpose};

mod spire;

use crate::chain::{self, hex};
use crate::mechanism::{Appraisal, EVIDENCE_BYTES_MAX, Facts, RESPONSE_BYTES_MAX, Refusal, Role};
use crate::selector::{Selector, Selectors};

/// The most certificates in the evidence: path validation costs one signature each.
/// (SPIRE 1.14.2 fixed a denial of service by long chains here.)
pub const CERTIFICATES_MAX: usize = 6;
/// The length of each side's nonce, in bytes.
pub const NONCE_BYTES: usize = 32;

/// What the host sends first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Certificates in DER, leaf first, each in standard base64.
    pub certificates: Vec<String>,
}

/// What the server sends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// Its nonce, in standard base64.
    pub nonce: String,
}

/// What the host answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// The host's own nonce, in standard base64.
    pub nonce: String,
    /// The signature in DER over challenge nonce ‖ response nonce, in standard base64: ECDSA with
    /// the curve's hash, Ed25519, or RSASSA-PKCS1-v1_5 with SHA-256.
    pub signature: String,
}

/// The mechanism `x509pop`.
#[derive(Debug)]
pub struct Mechanism;

impl crate::mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        "x509pop"
    }

    fn challenge(&self, evidence: &[u8], facts: &Facts<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        challenge(evidence, facts).map(Some)
    }

    fn takes_known_nonce(&self) -> bool {
        true
    }

    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, Refusal> {
        let chain = proved(evidence, response, facts)?;
        let leaf = chain.first().ok_or_else(|| malformed("no certificate"))?;
        appraisal(leaf, &chain::issuers(&chain, Purpose::Client, facts.now))
    }
}

/// The nonce, for a host whose certificate policy trusts.
pub(crate) fn challenge(evidence: &[u8], facts: &Facts<'_>) -> Result<Vec<u8>, Refusal> {
    let chain = trusted_chain(evidence, facts)?;
    if facts.role == Role::SpireAgent {
        let leaf = chain.first().ok_or_else(|| malformed("no certificate"))?;
        return spire::challenge(leaf, facts.nonce);
    }
    let challenge = Challenge { nonce: STANDARD.encode(facts.nonce) };
    serde_json::to_vec(&challenge).map_err(malformed)
}

/// The chain of a host that has the key of its leaf.
pub(crate) fn proved(
    evidence: &[u8],
    response: Option<&[u8]>,
    facts: &Facts<'_>,
) -> Result<Vec<Certificate>, Refusal> {
    let response = response.ok_or(Refusal::NoResponse)?;
    crate::mechanism::bounded(response, RESPONSE_BYTES_MAX)?;
    let chain = trusted_chain(evidence, facts)?;
    let leaf = chain.first().ok_or_else(|| malformed("no certificate"))?;
    if facts.role == Role::SpireAgent {
        spire::prove(leaf, response, facts.nonce)?;
        return Ok(chain);
    }
    let response: Response = serde_json::from_slice(response).map_err(malformed)?;
    let message = both(facts.nonce, &response.nonce)?;
    let signature = STANDARD.decode(&response.signature).map_err(malformed)?;
    leaf.verify_signature(&message, &signature).map_err(|_| Refusal::Signature)?;
    Ok(chain)
}

/// What is signed: our nonce and the host's.
fn both(ours: &[u8; NONCE_BYTES], theirs: &str) -> Result<Vec<u8>, Refusal> {
    let theirs = STANDARD.decode(theirs).map_err(malformed)?;
    if theirs.len() != NONCE_BYTES {
        return Err(malformed(format!("a nonce of {} bytes", theirs.len())));
    }
    Ok([ours.as_slice(), &theirs].concat())
}

/// The certificates of the evidence, their chain checked to policy's anchors for this mechanism.
fn trusted_chain(evidence: &[u8], facts: &Facts<'_>) -> Result<Vec<Certificate>, Refusal> {
    crate::mechanism::bounded(evidence, EVIDENCE_BYTES_MAX)?;
    let evidence: Evidence = serde_json::from_slice(evidence).map_err(malformed)?;
    let count = evidence.certificates.len();
    if count == 0 || count > CERTIFICATES_MAX {
        return Err(malformed(format!("{count} certificates, 1 to {CERTIFICATES_MAX} are read")));
    }
    let chain = evidence
        .certificates
        .iter()
        .map(|text| {
            let der = STANDARD.decode(text).map_err(malformed)?;
            Certificate::parse(&der).map_err(malformed)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let anchors = chain::anchors(&facts.rule.anchors).map_err(|why| Refusal::Chain { why })?;
    x509::verify_chain(&chain, &anchors, Purpose::Client, facts.now)
        .map_err(|error| Refusal::Chain { why: error.to_string() })?;
    let signs =
        chain.first().is_some_and(|leaf| leaf.key_usage().contains(KeyUsage::DIGITAL_SIGNATURE));
    if signs { Ok(chain) } else { Err(Refusal::KeyUsage) }
}

fn appraisal(leaf: &Certificate, above: &[&Certificate]) -> Result<Appraisal, Refusal> {
    let fingerprint = hex(&leaf.fingerprint_sha256());
    let mut selectors = vec![
        Selector::parse(&format!("x509pop:fingerprint:{fingerprint}"))?,
        Selector::parse(&format!("x509pop:serialnumber:{}", leaf.serial()))?,
    ];
    for name in leaf.dns_names() {
        selectors.extend(Selector::parse(&format!("x509pop:san:dns:{name}")).ok());
    }
    for certificate in above {
        let fingerprint = hex(&certificate.fingerprint_sha256());
        selectors.push(Selector::parse(&format!("x509pop:ca:fingerprint:{fingerprint}"))?);
    }
    let selectors = Selectors::new(selectors)?;
    Ok(Appraisal::new("x509pop", fingerprint, selectors))
}

fn malformed(why: impl ToString) -> Refusal {
    Refusal::Malformed { why: why.to_string() }
}
