//! `snp`: a guest of AMD SEV-SNP has its processor sign the nonce of this session with the key that
//! it asks a certificate for (ATT-03, ATT-08, ATT-12).
//!
//! What is proved, in this order: a chip of AMD's signed the report, whose key policy's anchors
//! (ARKs) vouch for and have not revoked; the report is of this session and of this key; the guest
//! is not under debug and no migration agent has it; and then what policy allows: measurements,
//! firmware, privilege levels, and where it names them chips, clouds, host data and the keys of the
//! identity block.
//!
//! Evidence `{certificates, crls}`, challenge 32 bytes, answer `{report, certificates}`; all bytes
//! in standard base64.

mod settings;

use rats::{Claim, Vector};
use serde::{Deserialize, Serialize};
use tee::snp::{Given, Refusal as Unverified, Report, Tcb, Verified};
use x509::{Certificate, RevocationList};

use self::settings::{Danger, Settings};
use crate::chain;
use crate::confidential::{self, allows, is_bound, selector};
use crate::mechanism::{self, Appraisal, EVIDENCE_BYTES_MAX, Facts, RESPONSE_BYTES_MAX, Step};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};
use crate::tpm_devid::Bytes;

const NAME: &str = "snp";
/// The most revocation lists that a host may send.
const LISTS_MAX: usize = 4;

/// What the host sends first: what is known before the challenge.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Certificates in DER, in any order.
    #[serde(default)]
    pub certificates: Vec<Bytes>,
    /// Revocation lists of AMD's in DER.
    #[serde(default)]
    pub crls: Vec<Bytes>,
}

/// What the host answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// The attestation report.
    pub report: Bytes,
    /// Certificates in DER that the host of the guest gave with it.
    #[serde(default)]
    pub certificates: Vec<Bytes>,
}

/// The mechanism `snp`.
#[derive(Debug)]
pub struct Mechanism;

impl mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        NAME
    }

    fn faults(&self, rule: &NodeRule) -> Vec<(String, String)> {
        settings::faults(rule)
    }

    fn challenge(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        Settings::of(facts.rule)?;
        confidential::read::<Evidence>(evidence, EVIDENCE_BYTES_MAX)?;
        Ok(Some(facts.nonce.to_vec()))
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
        let settings = Settings::of(facts.rule)?;
        let evidence: Evidence = confidential::read(evidence, EVIDENCE_BYTES_MAX)?;
        let response: Response = confidential::read(response, RESPONSE_BYTES_MAX)?;
        let found = verified(&evidence, &response, &settings, facts)?;
        judge(&found, &settings, facts)?;
        let selectors = selectors(&found)?;
        let appraisal = Appraisal::new(NAME, name(found.report()), selectors);
        let vector = vector(appraisal.vector, found.report(), settings.tcb_current);
        Ok(Appraisal { vector, ..appraisal })
    }
}

/// The report, signed by a chip of AMD's.
fn verified(
    evidence: &Evidence,
    response: &Response,
    settings: &Settings,
    facts: &Facts<'_>,
) -> Result<Verified, mechanism::Refusal> {
    let malformed =
        |why: &dyn std::fmt::Display| mechanism::Refusal::Malformed { why: why.to_string() };
    let sent = evidence.certificates.iter().chain(&response.certificates);
    let count = sent.clone().count();
    if count > tee::snp::CERTIFICATES_MAX {
        return Err(Refusal::Report(Unverified::TooManyCertificates { count }).into());
    }
    if evidence.crls.len() > LISTS_MAX {
        return Err(malformed(&format!("{} revocation lists", evidence.crls.len())));
    }
    let certificates = sent
        .map(|der| Certificate::parse(&der.0).map_err(|why| malformed(&why)))
        .collect::<Result<Vec<_>, _>>()?;
    let unset = |why: String| mechanism::Refusal::Settings { mechanism: NAME, why };
    let roots = chain::anchors(&facts.rule.anchors).map_err(unset)?;
    let mut lists = settings.lists().map_err(unset)?;
    for der in &evidence.crls {
        lists.push(RevocationList::parse(&der.0).map_err(|why| malformed(&why))?);
    }
    let given = Given {
        certificates: &certificates,
        roots: &roots,
        lists: &lists,
        revocation: settings.revocation.into(),
    };
    let found = tee::snp::verify(&response.report.0, &given, facts.now);
    found.map_err(|why| Refusal::Report(why).into())
}

/// What holds of the report: binding first, then what the guest is, then what policy names.
fn judge(found: &Verified, settings: &Settings, facts: &Facts<'_>) -> Result<(), Refusal> {
    let report = found.report();
    if !is_bound(&report.report_data, facts) {
        return Err(Refusal::ReportData);
    }
    if report.policy.allows_debug() && !settings.accepts(Danger::Debug) {
        return Err(Refusal::Debug);
    }
    if report.policy.allows_migration_agent() && !settings.accepts(Danger::MigrationAgent) {
        return Err(Refusal::MigrationAgent);
    }
    if !settings.vmpls.contains(&report.vmpl) {
        return Err(Refusal::Vmpl { found: report.vmpl });
    }
    // The key is derived for the reported TCB; what runs must be no older than that.
    for found in [report.reported_tcb, report.current_tcb] {
        if !found.reaches(settings.tcb_least) {
            return Err(Refusal::Tcb { found, least: settings.tcb_least });
        }
    }
    if report.guest_svn < settings.guest_svn_least {
        let (found, least) = (report.guest_svn, settings.guest_svn_least);
        return Err(Refusal::GuestSvn { found, least });
    }
    if !settings.measurements.iter().any(|one| one.0 == report.measurement) {
        return Err(Refusal::Measurement { found: chain::hex(&report.measurement) });
    }
    for (what, allowed) in [
        ("host data", allows(&settings.host_data, &report.host_data)),
        ("digest of the identity key", allows(&settings.id_key_digests, &report.id_key_digest)),
        ("digest of the author key", author(report, settings)),
        ("chip", allows(&settings.chip_ids, &report.chip_id)),
    ] {
        if !allowed {
            return Err(Refusal::Value { what });
        }
    }
    match &found.endorsement().cloud {
        Some(cloud) if !settings.clouds.contains(cloud) => {
            Err(Refusal::Cloud { found: cloud.clone() })
        }
        _ => Ok(()),
    }
}

/// Without the flag the digest is none of a key that signed anything.
fn author(report: &Report, settings: &Settings) -> bool {
    settings.author_key_digests.is_empty()
        || (report.author_key && allows(&settings.author_key_digests, &report.author_key_digest))
}

/// One name for a guest as long as chip, image and what its host gave stay what they are. Where the
/// chip hides itself only the launch tells guests apart.
fn name(report: &Report) -> String {
    let masked = report.chip_id == [0; 64];
    let launch = if masked { report.report_id } else { [0; 32] };
    confidential::name(
        NAME,
        &[
            &report.chip_id,
            &report.measurement,
            &report.host_data,
            &report.family_id,
            &report.image_id,
            &launch,
        ],
    )
}

fn selectors(found: &Verified) -> Result<Selectors, mechanism::Refusal> {
    let (report, endorsement) = (found.report(), found.endorsement());
    let mut all = vec![
        format!("{NAME}:measurement:{}", chain::hex(&report.measurement)),
        format!("{NAME}:tcb:{}", report.reported_tcb),
        format!("{NAME}:vmpl:{}", report.vmpl),
        format!("{NAME}:guest_svn:{}", report.guest_svn),
        format!("{NAME}:product:{}", endorsement.product),
        format!("{NAME}:debug:{}", report.policy.allows_debug()),
    ];
    all.extend(endorsement.cloud.as_ref().map(|cloud| format!("{NAME}:cloud:{cloud}")));
    all.extend(selector("snp:chip_id", &report.chip_id));
    all.extend(selector("snp:host_data", &report.host_data));
    all.extend(selector("snp:family_id", &report.family_id));
    all.extend(selector("snp:image_id", &report.image_id));
    all.extend(selector("snp:id_key_digest", &report.id_key_digest));
    let author = selector("snp:author_key_digest", &report.author_key_digest);
    all.extend(author.filter(|_| report.author_key));
    let all: Result<Vec<_>, _> = all.iter().map(|text| Selector::parse(text)).collect();
    Ok(Selectors::new(all?)?)
}

/// How far the guest is to be trusted (AR4SI §2.3.4).
fn vector(before: Vector, report: &Report, current: Option<Tcb>) -> Vector {
    let behind = current.is_some_and(|current| !report.reported_tcb.reaches(current));
    let vector = before.with(Claim::Hardware, if behind { 32 } else { 2 });
    // Of runtime-opaque, 96 is "visible to the host"; a migration agent is what its author made it.
    if report.policy.allows_debug() {
        return vector.with(Claim::Configuration, 96).with(Claim::RuntimeOpaque, 96);
    }
    vector.with(Claim::RuntimeOpaque, 2)
}

/// Why a guest proves nothing: one variant a check, in the order of the checks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No chip of AMD's that is trusted signed the report.
    #[error(transparent)]
    Report(Unverified),
    /// It was made for another session, or for another key.
    #[error("the report is of another challenge or of another key")]
    ReportData,
    /// The host may read the guest's memory.
    #[error("the guest may be debugged: its host can read its memory")]
    Debug,
    /// A migration agent may have the guest's memory.
    #[error("the guest may be moved by a migration agent, which sees its memory")]
    MigrationAgent,
    /// The report was asked for at another privilege level.
    #[error("policy does not allow reports of vmpl {found}")]
    Vmpl {
        /// The level.
        found: u32,
    },
    /// The firmware is too old.
    #[error("the tcb `{found}` is below `{least}`, the least that policy allows")]
    Tcb {
        /// What the report says.
        found: Tcb,
        /// The bound.
        least: Tcb,
    },
    /// The guest is too old.
    #[error("the guest's version {found} is below {least}, the least that policy allows")]
    GuestSvn {
        /// What the report says.
        found: u32,
        /// The bound.
        least: u32,
    },
    /// Another image.
    #[error("policy does not allow the measurement `{found}`")]
    Measurement {
        /// The measurement.
        found: String,
    },
    /// Policy names other values.
    #[error("policy does not allow the guest's {what}")]
    Value {
        /// Of what.
        what: &'static str,
    },
    /// The report is signed by a key of a cloud that policy does not name.
    #[error("policy does not name the cloud `{found}`, whose key signed")]
    Cloud {
        /// The cloud.
        found: String,
    },
}

impl From<Refusal> for mechanism::Refusal {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::Report(
                Unverified::Report(_)
                | Unverified::TooManyCertificates { .. }
                | Unverified::NoSigner
                | Unverified::OtherKeyKind
                | Unverified::SeveralSigners
                | Unverified::Endorsement(_)
                | Unverified::SignerKey,
            ) => Step::Form,
            Refusal::Report(Unverified::Signature) => Step::Signature,
            Refusal::Report(_) => Step::Chain,
            Refusal::ReportData => Step::Binding,
            Refusal::Debug | Refusal::MigrationAgent => Step::Content,
            _ => Step::Policy,
        };
        Self::Failed { mechanism: NAME, step, why: refusal.to_string() }
    }
}
