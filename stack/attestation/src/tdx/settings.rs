//! `[node.tdx]` of policy.

use serde::Deserialize;
use tee::tdx::{Collateral, Status, TdReport};

use super::NAME;
use crate::chain;
use crate::confidential::{Hex, VALUES_MAX};
use crate::mechanism;
use crate::policy::NodeRule;

/// The most collateral that policy may have.
const COLLATERAL_MAX: usize = 16;

/// What policy says, besides `anchors`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Guests, one of which it must be.
    pub(super) guests: Vec<Guest>,
    /// How well a platform may be kept.
    #[serde(default = "up_to_date")]
    pub(super) tcb_statuses: Vec<Status>,
    /// The oldest evaluation of Intel's that may judge a platform.
    #[serde(default)]
    pub(super) evaluation_least: u32,
    /// Configurations that the host may have named at launch; none named: any.
    #[serde(default)]
    pub(super) mrconfigids: Vec<Hex<48>>,
    /// Owners; none named: any.
    #[serde(default)]
    pub(super) mrowners: Vec<Hex<48>>,
    /// Configurations that the owner may have named; none named: any.
    #[serde(default)]
    pub(super) mrownerconfigs: Vec<Hex<48>>,
    /// Collateral, as JSON.
    #[serde(default)]
    collateral: Vec<String>,
    /// What no guest should be.
    #[serde(default)]
    dangerously_accepts: Vec<Danger>,
}

/// A guest: its launch measurement, and where they are named what it measured since.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guest {
    mrtd: Hex<48>,
    #[serde(default)]
    rtmr0: Option<Hex<48>>,
    #[serde(default)]
    rtmr1: Option<Hex<48>>,
    #[serde(default)]
    rtmr2: Option<Hex<48>>,
    #[serde(default)]
    rtmr3: Option<Hex<48>>,
}

impl Guest {
    /// Whether the report is of such a guest.
    pub(super) fn is(&self, report: &TdReport) -> bool {
        let named = [&self.rtmr0, &self.rtmr1, &self.rtmr2, &self.rtmr3];
        let fits = |(named, found): (&Option<Hex<48>>, &[u8; 48])| {
            named.is_none_or(|named| named.0 == *found)
        };
        self.mrtd.0 == report.mr_td && named.into_iter().zip(&report.rtmr).all(fits)
    }
}

/// What makes a guest untrustworthy, and is accepted only by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Danger {
    /// The host reads its memory.
    Debug,
    /// A migration service does.
    Migratable,
}

fn up_to_date() -> Vec<Status> {
    vec![Status::UpToDate]
}

impl Settings {
    pub(super) fn of(rule: &NodeRule) -> Result<Self, mechanism::Refusal> {
        rule.settings_of(NAME)
    }

    /// The collateral of policy.
    pub(super) fn collateral(&self) -> Result<Vec<Collateral>, String> {
        let parse = |text: &String| {
            Collateral::parse(text.as_bytes()).map_err(|why| format!("`collateral`: {why}"))
        };
        self.collateral.iter().map(parse).collect()
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
    if let Err(why) = settings.collateral() {
        fault("collateral", why);
    }
    if settings.collateral.len() > COLLATERAL_MAX {
        let count = settings.collateral.len();
        fault("collateral", format!("{count} texts, at most {COLLATERAL_MAX} are read"));
    }
    if settings.guests.is_empty() || settings.guests.len() > VALUES_MAX {
        let why = format!("name the guests that may join, 1 to {VALUES_MAX}, each by its `mrtd`");
        fault("guests", why);
    }
    if settings.tcb_statuses.contains(&Status::Revoked) {
        fault("tcb_statuses", "a platform that is revoked joins nowhere".to_owned());
    }
    faults
}
