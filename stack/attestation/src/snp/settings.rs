//! `[node.snp]` of policy.

use serde::Deserialize;
use tee::snp::{Revocation, Tcb};
use x509::RevocationList;

use super::NAME;
use crate::chain;
use crate::confidential::{Hex, VALUES_MAX};
use crate::mechanism;
use crate::policy::NodeRule;

/// What policy says, besides `anchors`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Launch measurements, one of which a guest must have.
    pub(super) measurements: Vec<Hex<48>>,
    /// The oldest firmware.
    pub(super) tcb_least: Tcb,
    /// The firmware below which a chip is known to be vulnerable: its guests may join, and their
    /// hardware is told to be in need of an update.
    #[serde(default)]
    pub(super) tcb_current: Option<Tcb>,
    /// Privilege levels that may ask for reports.
    #[serde(default = "highest")]
    pub(super) vmpls: Vec<u32>,
    /// The oldest version of the guest itself.
    #[serde(default)]
    pub(super) guest_svn_least: u32,
    /// What the host may have given at launch; none named: anything.
    #[serde(default)]
    pub(super) host_data: Vec<Hex<32>>,
    /// Keys that may have signed the identity block; none named: any, or none.
    #[serde(default)]
    pub(super) id_key_digests: Vec<Hex<48>>,
    /// Keys that may have signed those; none named: any, or none.
    #[serde(default)]
    pub(super) author_key_digests: Vec<Hex<48>>,
    /// Chips; none named: every one of AMD's.
    #[serde(default)]
    pub(super) chip_ids: Vec<Hex<64>>,
    /// Clouds whose own keys (VLEK) may sign, as their certificates write them; none named: none.
    #[serde(default)]
    pub(super) clouds: Vec<String>,
    /// Revocation lists of AMD's, PEM, besides those that hosts send.
    #[serde(default)]
    crls: String,
    /// Whether there must be one.
    #[serde(default)]
    pub(super) revocation: Demand,
    /// What no guest should be.
    #[serde(default)]
    dangerously_accepts: Vec<Danger>,
}

/// Whether a revocation list must be there.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Demand {
    #[default]
    Required,
    Unchecked,
}

impl From<Demand> for Revocation {
    fn from(demand: Demand) -> Self {
        match demand {
            Demand::Required => Self::Required,
            Demand::Unchecked => Self::Unchecked,
        }
    }
}

/// What makes a guest untrustworthy, and is accepted only by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Danger {
    /// The host reads its memory.
    Debug,
    /// A migration agent does.
    MigrationAgent,
}

fn highest() -> Vec<u32> {
    vec![0]
}

impl Settings {
    pub(super) fn of(rule: &NodeRule) -> Result<Self, mechanism::Refusal> {
        rule.settings_of(NAME)
    }

    /// The lists of policy.
    pub(super) fn lists(&self) -> Result<Vec<RevocationList>, String> {
        RevocationList::from_pem_many(&self.crls).map_err(|why| format!("`crls`: {why}"))
    }

    pub(super) fn accepts(&self, danger: Danger) -> bool {
        self.dangerously_accepts.contains(&danger)
    }
}

/// What is wrong in policy's table.
pub(super) fn faults(rule: &NodeRule) -> Vec<(String, String)> {
    let settings: Settings = match rule.settings() {
        Ok(settings) => settings,
        Err(why) => return vec![(String::new(), why)],
    };
    let mut faults = Vec::new();
    let mut fault = |key: &str, why: String| faults.push((key.to_owned(), why));
    if let Err(why) = chain::anchors(&rule.anchors) {
        fault("anchors", why);
    }
    if let Err(why) = settings.lists() {
        fault("crls", why);
    }
    if settings.measurements.is_empty() {
        fault("measurements", "name the launch measurements of guests that may join".to_owned());
    }
    for (key, count) in [
        ("measurements", settings.measurements.len()),
        ("host_data", settings.host_data.len()),
        ("chip_ids", settings.chip_ids.len()),
    ] {
        if count > VALUES_MAX {
            fault(key, format!("{count} values, at most {VALUES_MAX} are read"));
        }
    }
    if let Some(current) = settings.tcb_current.filter(|it| !it.reaches(settings.tcb_least)) {
        let least = settings.tcb_least;
        fault("tcb_current", format!("`{current}` is below `tcb_least`, which is `{least}`"));
    }
    faults
}
