//! `tdx`: a guest of Intel TDX has its platform quote the nonce of this session with the key that
//! it asks a certificate for (ATT-03, ATT-08, ATT-12).
//!
//! What is proved, in this order: the quote is signed by a platform of Intel's, which policy's
//! anchors (Intel's root) vouch for and which is not revoked; the quote is of this session and of
//! this key; the guest is not under debug and cannot be moved; and then what policy allows: how
//! well the platform is kept, which guests, and where it names them configurations and owners.
//!
//! Evidence `{collateral}`, challenge 32 bytes, answer `{quote}`; all bytes in standard base64.
//! Collateral is what policy has of it, or what the host sends: Intel signs it either way.

mod settings;

use rats::{Claim, Vector};
use serde::{Deserialize, Serialize};
use tee::tdx::{Collateral, Part, Refusal as Unverified, Status, Verified};

use self::settings::{Danger, Settings};
use crate::chain;
use crate::confidential::{self, allows, is_bound, selector};
use crate::mechanism::{self, Appraisal, EVIDENCE_BYTES_MAX, Facts, RESPONSE_BYTES_MAX, Step};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};
use crate::tpm_devid::Bytes;

const NAME: &str = "tdx";

/// What the host sends first: what is known before the challenge.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Collateral of its platform: a JSON object with the fields of `sgx_ql_qve_collateral_t`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collateral: Option<Bytes>,
}

/// What the host answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// The quote.
    pub quote: Bytes,
}

/// The mechanism `tdx`.
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
        let appraisal = Appraisal::new(NAME, name(&found), selectors(&found)?);
        let vector = vector(appraisal.vector, found.tcb().status, found.report().is_debug());
        Ok(Appraisal { vector, ..appraisal })
    }
}

/// The quote, signed by a platform of Intel's: by the first collateral that is of it, policy's
/// before the host's.
fn verified(
    evidence: &Evidence,
    response: &Response,
    settings: &Settings,
    facts: &Facts<'_>,
) -> Result<Verified, mechanism::Refusal> {
    let unset = |why: String| mechanism::Refusal::Settings { mechanism: NAME, why };
    let roots = chain::anchors(&facts.rule.anchors).map_err(unset)?;
    let mut all = settings.collateral().map_err(unset)?;
    if let Some(sent) = &evidence.collateral {
        let sent = Collateral::parse(&sent.0);
        let malformed = |why: String| mechanism::Refusal::Malformed { why };
        all.push(sent.map_err(|why| malformed(format!("`collateral`: {why}")))?);
    }
    let mut refused = Refusal::NoCollateral;
    for collateral in &all {
        match tee::tdx::verify(&response.quote.0, collateral, &roots, facts.now) {
            Ok(found) => return Ok(found),
            Err(why) => refused = Refusal::Quote(why),
        }
    }
    Err(refused.into())
}

/// What holds of the quote: binding first, then what the guest is, then what policy names.
fn judge(found: &Verified, settings: &Settings, facts: &Facts<'_>) -> Result<(), Refusal> {
    let (report, tcb) = (found.report(), found.tcb());
    if !is_bound(&report.report_data, facts) {
        return Err(Refusal::ReportData);
    }
    if report.is_debug() && !settings.accepts(Danger::Debug) {
        return Err(Refusal::Debug);
    }
    if report.is_migratable() && !settings.accepts(Danger::Migratable) {
        return Err(Refusal::Migratable);
    }
    if !settings.tcb_statuses.contains(&tcb.status) || tcb.status == Status::Revoked {
        let advisories = tcb.advisories.join(", ");
        return Err(Refusal::Tcb { status: tcb.status, advisories });
    }
    if tcb.evaluation < settings.evaluation_least {
        let (found, least) = (tcb.evaluation, settings.evaluation_least);
        return Err(Refusal::Evaluation { found, least });
    }
    if !settings.guests.iter().any(|guest| guest.is(report)) {
        return Err(Refusal::Guest { mr_td: chain::hex(&report.mr_td) });
    }
    for (what, allowed) in [
        ("configuration", allows(&settings.mrconfigids, &report.mr_config_id)),
        ("owner", allows(&settings.mrowners, &report.mr_owner)),
        ("owner's configuration", allows(&settings.mrownerconfigs, &report.mr_owner_config)),
    ] {
        if !allowed {
            return Err(Refusal::Value { what });
        }
    }
    Ok(())
}

/// One name for a guest as long as platform, image and what its host and owner gave stay what they
/// are.
fn name(found: &Verified) -> String {
    let report = found.report();
    confidential::name(
        NAME,
        &[
            &found.platform().ppid,
            &report.mr_td,
            &report.mr_config_id,
            &report.mr_owner,
            &report.mr_owner_config,
        ],
    )
}

fn selectors(found: &Verified) -> Result<Selectors, mechanism::Refusal> {
    let (report, platform) = (found.report(), found.platform());
    let mut all = vec![
        format!("{NAME}:mrtd:{}", chain::hex(&report.mr_td)),
        format!("{NAME}:tcb:{}", found.tcb().status),
        format!("{NAME}:fmspc:{}", chain::hex(&platform.fmspc)),
        format!("{NAME}:platform:{}", confidential::name("tdx platform", &[&platform.ppid])),
        format!("{NAME}:attributes:{}", chain::hex(&report.td_attributes)),
        format!("{NAME}:xfam:{}", chain::hex(&report.xfam)),
        format!("{NAME}:debug:{}", report.is_debug()),
    ];
    for (index, value) in report.rtmr.iter().enumerate() {
        all.push(format!("{NAME}:rtmr{index}:{}", chain::hex(value)));
    }
    all.extend(selector("tdx:mrseam", &report.mr_seam));
    all.extend(selector("tdx:mrconfigid", &report.mr_config_id));
    all.extend(selector("tdx:mrowner", &report.mr_owner));
    all.extend(selector("tdx:mrownerconfig", &report.mr_owner_config));
    let all: Result<Vec<_>, _> = all.iter().map(|text| Selector::parse(text)).collect();
    Ok(Selectors::new(all?)?)
}

/// How far the guest is to be trusted (AR4SI §2.3.4).
fn vector(before: Vector, status: Status, is_debug: bool) -> Vector {
    let hardware = match status {
        Status::UpToDate => 2,
        Status::Revoked => 96,
        _ => 32,
    };
    let vector = before.with(Claim::Hardware, hardware);
    if is_debug {
        return vector.with(Claim::Configuration, 96).with(Claim::RuntimeOpaque, 96);
    }
    vector.with(Claim::RuntimeOpaque, 2)
}

/// Why a guest proves nothing: one variant a check, in the order of the checks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no collateral to judge by.
    #[error(
        "there is no collateral of the platform: neither policy has it nor did the host send it"
    )]
    NoCollateral,
    /// No platform of Intel's that is trusted signed the quote.
    #[error(transparent)]
    Quote(Unverified),
    /// It was made for another session, or for another key.
    #[error("the quote is of another challenge or of another key")]
    ReportData,
    /// The host may read the guest's memory.
    #[error("the guest is under debug: its host can read its memory")]
    Debug,
    /// The guest may be moved to another platform.
    #[error("the guest may be moved by a migration service, which sees its memory")]
    Migratable,
    /// The platform is not kept well enough.
    #[error("policy does not allow a platform whose tcb is `{status}` (advisories: {advisories})")]
    Tcb {
        /// What Intel says of it.
        status: Status,
        /// Intel's advisories.
        advisories: String,
    },
    /// The collateral knows too little.
    #[error("the collateral is of evaluation {found}, policy wants {least} or newer")]
    Evaluation {
        /// What it is of.
        found: u32,
        /// The bound.
        least: u32,
    },
    /// Another image, or another state of it.
    #[error("policy allows no guest of the mrtd `{mr_td}` with these rtmrs")]
    Guest {
        /// The launch measurement.
        mr_td: String,
    },
    /// Policy names other values.
    #[error("policy does not allow the guest's {what}")]
    Value {
        /// Of what.
        what: &'static str,
    },
}

impl From<Refusal> for mechanism::Refusal {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::Quote(Unverified::Quote(_)) | Refusal::NoCollateral => Step::Form,
            Refusal::Quote(
                Unverified::Signature { of: Part::Quote | Part::QuotingEnclave }
                | Unverified::OtherAttestationKey,
            ) => Step::Signature,
            // A platform of Intel's, which said the truth of itself.
            Refusal::Quote(
                Unverified::OtherEnclave
                | Unverified::OtherModule
                | Unverified::BelowAllLevels { .. },
            ) => Step::Content,
            Refusal::Quote(_) => Step::Chain,
            Refusal::ReportData => Step::Binding,
            Refusal::Debug | Refusal::Migratable => Step::Content,
            _ => Step::Policy,
        };
        Self::Failed { mechanism: NAME, step, why: refusal.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: ATT-04 (part)
    #[test]
    fn ar4si_2_3_4_the_vector_tells_how_a_platform_is_kept() {
        for (status, is_debug, expect) in [
            (Status::UpToDate, false, [2, 2, 0]),
            (Status::OutOfDate, false, [32, 2, 0]),
            (Status::SwHardeningNeeded, false, [32, 2, 0]),
            (Status::Revoked, false, [96, 2, 0]),
            (Status::UpToDate, true, [2, 96, 96]),
        ] {
            let found = vector(Vector::NONE, status, is_debug);
            let claims = [Claim::Hardware, Claim::RuntimeOpaque, Claim::Configuration];
            assert_eq!(claims.map(|claim| found.value(claim)), expect, "{status} {is_debug}");
        }
    }
}
