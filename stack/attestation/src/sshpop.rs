//! `sshpop`: a host that has an OpenSSH host certificate proves that it has the key
//! (as SPIRE's plugin of that name: payload `{Certificate}`, a nonce each way, and a signature over
//! SHA-256(challenge nonce ‖ response nonce); ATT-02).
//!
//! Policy: `[node.sshpop]` with `cert_authorities`, lines as `ssh-keygen` writes public keys, and
//! perhaps `canonical_domain`, the domain that the names of such hosts end with.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use ssh::{Certificate, CertificateError, PublicKey, Signature};
use time::UnixTime;

use crate::mechanism::{self, Appraisal, EVIDENCE_BYTES_MAX, Facts, RESPONSE_BYTES_MAX, Step};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};

const NAME: &str = "sshpop";
/// The length of each side's nonce, in bytes.
pub const NONCE_BYTES: usize = 32;
/// Most authorities in policy.
const AUTHORITIES_MAX: usize = 64;

/// What the host sends first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Evidence {
    /// The certificate in wire form, in standard base64.
    pub certificate: String,
}

/// What the server sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Challenge {
    /// Its nonce, in standard base64.
    pub nonce: String,
}

/// What the host answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    /// The host's own nonce, in standard base64.
    pub nonce: String,
    /// Over [`signed`].
    pub signature: Signed,
}

/// A signature of SSH.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Signed {
    /// `ssh-ed25519`, `rsa-sha2-256`.
    pub format: String,
    /// What the format says, in standard base64.
    pub blob: String,
    /// Nothing, for the kinds of keys that are known.
    #[serde(default)]
    pub rest: Option<String>,
}

/// What the host signs: without a nonce of its own the server could have it sign what it likes.
pub fn signed(theirs: &[u8], ours: &[u8]) -> [u8; 32] {
    // attestation-and-audit §2: "sshpop signs the 32 bytes as message"
    let mut message = [0; 32];
    let both = [theirs, ours].concat();
    message.copy_from_slice(digest::digest(&digest::SHA256, &both).as_ref());
    message
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    cert_authorities: Vec<String>,
    #[serde(default)]
    canonical_domain: Option<String>,
}

impl Settings {
    fn authorities(&self) -> Result<Vec<PublicKey>, String> {
        let count = self.cert_authorities.len();
        if count == 0 || count > AUTHORITIES_MAX {
            return Err(format!("{count} authorities, 1 to {AUTHORITIES_MAX} are read"));
        }
        let read = |line: &String| PublicKey::parse_line(line).map_err(|error| error.to_string());
        self.cert_authorities.iter().map(read).collect()
    }

    /// Whether a host of these names may join: one of them is below the domain, if one is set.
    fn allows(&self, principals: &[String]) -> bool {
        let Some(domain) = &self.canonical_domain else { return true };
        let below = |name: &String| {
            name.strip_suffix(domain.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|host| !host.is_empty())
        };
        principals.iter().any(below)
    }
}

/// The mechanism `sshpop`.
#[derive(Debug)]
pub struct Mechanism;

impl mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        NAME
    }

    fn faults(&self, rule: &NodeRule) -> Vec<(String, String)> {
        match rule.settings::<Settings>() {
            Err(why) => vec![(String::new(), why)],
            Ok(settings) => {
                let authorities = settings.authorities().err();
                authorities.map(|why| ("cert_authorities".to_owned(), why)).into_iter().collect()
            }
        }
    }

    fn challenge(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        trusted(evidence, facts)?;
        let challenge = Challenge { nonce: STANDARD.encode(facts.nonce) };
        Ok(Some(serde_json::to_vec(&challenge).map_err(malformed)?))
    }

    fn takes_known_nonce(&self) -> bool {
        true
    }

    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, mechanism::Refusal> {
        let response = response.ok_or(mechanism::Refusal::NoResponse)?;
        mechanism::bounded(response, RESPONSE_BYTES_MAX)?;
        let (certificate, settings) = trusted(evidence, facts)?;
        let response: Response = serde_json::from_slice(response).map_err(malformed)?;
        let theirs = STANDARD.decode(&response.nonce).map_err(malformed)?;
        if theirs.len() != NONCE_BYTES {
            return Err(Refusal::Nonce { bytes: theirs.len() }.into());
        }
        let blob = STANDARD.decode(&response.signature.blob).map_err(malformed)?;
        let signature = Signature { format: response.signature.format, blob };
        let message = signed(facts.nonce, &theirs);
        certificate.key().verify(&message, &signature).map_err(|_| Refusal::Proof)?;
        if certificate.principals().is_empty() {
            return Err(Refusal::NoPrincipal.into());
        }
        if !settings.allows(certificate.principals()) {
            return Err(Refusal::Domain { principals: certificate.principals().join(", ") }.into());
        }
        appraisal(&certificate)
    }
}

/// The certificate of the evidence, signed by an authority of policy for hosts, now.
fn trusted(
    evidence: &[u8],
    facts: &Facts<'_>,
) -> Result<(Certificate, Settings), mechanism::Refusal> {
    mechanism::bounded(evidence, EVIDENCE_BYTES_MAX)?;
    let unset = |why| mechanism::Refusal::Settings { mechanism: NAME, why };
    let settings: Settings = facts.rule.settings().map_err(unset)?;
    let evidence: Evidence = serde_json::from_slice(evidence).map_err(malformed)?;
    let bytes = STANDARD.decode(&evidence.certificate).map_err(malformed)?;
    let certificate = Certificate::parse(&bytes).map_err(Refusal::Certificate)?;
    // Whose key it is comes first: no signature is checked with a key that a stranger chose.
    if !settings.authorities().map_err(unset)?.contains(certificate.authority()) {
        let fingerprint = certificate.authority().fingerprint();
        return Err(Refusal::UnknownAuthority { fingerprint }.into());
    }
    certificate.verify().map_err(|_| Refusal::Signature)?;
    if certificate.role() != ssh::Role::Host {
        return Err(Refusal::NotForHosts.into());
    }
    if !certificate.is_valid_at(facts.now) {
        let from = UnixTime::from_seconds(certificate.valid_after());
        let until = UnixTime::from_seconds(certificate.valid_before());
        return Err(Refusal::NotValid { from, until, now: facts.now }.into());
    }
    // PROTOCOL.certkeys: "No critical options are defined for host certificates at present."
    if let Some(option) = certificate.critical_options().first() {
        return Err(Refusal::CriticalOption { option: option.clone() }.into());
    }
    Ok((certificate, settings))
}

/// SPIRE has no selectors here; the names and the authority are ours.
fn appraisal(certificate: &Certificate) -> Result<Appraisal, mechanism::Refusal> {
    let mut selectors = Vec::new();
    for principal in certificate.principals() {
        selectors.push(Selector::parse(&format!("sshpop:principal:{principal}"))?);
    }
    let authority = certificate.authority().fingerprint();
    selectors.push(Selector::parse(&format!("sshpop:ca:fingerprint:{authority}"))?);
    let name = URL_SAFE_NO_PAD.encode(certificate.sha256());
    Ok(Appraisal::new(NAME, name, Selectors::new(selectors)?))
}

fn malformed(why: impl ToString) -> mechanism::Refusal {
    mechanism::Refusal::Malformed { why: why.to_string() }
}

/// Why an SSH certificate, or the proof of its key, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not read.
    #[error("the certificate does not read: {0}")]
    Certificate(CertificateError),
    /// Policy names others.
    #[error("no authority of policy: {fingerprint}")]
    UnknownAuthority {
        /// The key that it names.
        fingerprint: String,
    },
    /// The authority did not sign it.
    #[error("the authority did not sign the certificate")]
    Signature,
    /// It is for users.
    #[error("the certificate is for users, not for hosts")]
    NotForHosts,
    /// It holds at another time.
    #[error("the certificate is valid from {from} to {until}, it is {now}")]
    NotValid {
        /// The first second.
        from: UnixTime,
        /// The first second after.
        until: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// It may be used under a condition that is not known.
    #[error("the certificate has the critical option `{option}`, which is not known")]
    CriticalOption {
        /// Its name.
        option: String,
    },
    /// The host's own nonce has another length.
    #[error("a nonce of {bytes} bytes instead of {NONCE_BYTES}")]
    Nonce {
        /// Its length.
        bytes: usize,
    },
    /// The host does not have the key of the certificate.
    #[error("the signature over both nonces is not of the certificate's key")]
    Proof,
    /// It would hold for every host.
    #[error("the certificate names no host")]
    NoPrincipal,
    /// Its names are of another domain.
    #[error("none of `{principals}` is below the domain that policy names")]
    Domain {
        /// Its names.
        principals: String,
    },
}

impl From<Refusal> for mechanism::Refusal {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::Certificate(_) => Step::Form,
            Refusal::UnknownAuthority { .. }
            | Refusal::Signature
            | Refusal::NotForHosts
            | Refusal::NotValid { .. }
            | Refusal::CriticalOption { .. } => Step::Chain,
            // A host's certificate is public: without its key it is anybody's.
            Refusal::Nonce { .. } | Refusal::Proof => Step::Signature,
            Refusal::NoPrincipal => Step::Content,
            Refusal::Domain { .. } => Step::Policy,
        };
        Self::Failed { mechanism: NAME, step, why: refusal.to_string() }
    }
}
