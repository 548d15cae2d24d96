//! How well a platform is kept: Intel's levels of the TCB, and which of them a platform reaches
//! (PCS API 4.0, "Get TDX TCB Info" and "Get TDX QE Identity").

use std::fmt;

use serde::{Deserialize, Serialize};

use super::collateral::hex_array;
use super::pck::Pck;
use super::quote::{EnclaveReport, TdReport};
use super::refusal::Refusal;

/// What Intel says of a level, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Nothing is known against it.
    UpToDate,
    /// The software in it must help itself.
    #[serde(rename = "SWHardeningNeeded")]
    SwHardeningNeeded,
    /// The platform must be configured otherwise.
    ConfigurationNeeded,
    /// Both of these.
    #[serde(rename = "ConfigurationAndSWHardeningNeeded")]
    ConfigurationAndSwHardeningNeeded,
    /// It must be updated.
    OutOfDate,
    /// It must be updated and configured otherwise.
    OutOfDateConfigurationNeeded,
    /// It is not to be trusted.
    Revoked,
}

impl Status {
    /// As Intel writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::Revoked => "Revoked",
        }
    }

    /// The status of a platform with a part (module, quoting enclave) of this other status. A part
    /// that is out of date makes the platform so; what must be configured stays to be configured.
    const fn with(self, part: Self) -> Self {
        match (self, part) {
            (Self::Revoked, _) | (_, Self::Revoked) => Self::Revoked,
            (
                Self::ConfigurationNeeded
                | Self::ConfigurationAndSwHardeningNeeded
                | Self::OutOfDateConfigurationNeeded,
                Self::OutOfDate | Self::OutOfDateConfigurationNeeded,
            )
            | (_, Self::OutOfDateConfigurationNeeded) => Self::OutOfDateConfigurationNeeded,
            (_, Self::OutOfDate) => Self::OutOfDate,
            (Self::UpToDate, other) => other,
            (own, _) => own,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How well a platform was kept, at the time of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcb {
    /// The worst that is said of a part.
    pub status: Status,
    /// Which advisories concern it.
    pub advisories: Vec<String>,
    /// Which evaluation of Intel's this is by: newer ones know of more.
    pub evaluation: u32,
}

/// `tcbInfo`, as far as it is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TcbInfo {
    pub(super) id: String,
    pub(super) version: u32,
    pub(super) issue_date: String,
    pub(super) next_update: String,
    #[serde(deserialize_with = "hex_array")]
    pub(super) fmspc: [u8; 6],
    #[serde(deserialize_with = "hex_array")]
    pub(super) pce_id: [u8; 2],
    pub(super) tcb_evaluation_data_number: u32,
    tdx_module: Module,
    #[serde(default)]
    tdx_module_identities: Vec<ModuleIdentity>,
    tcb_levels: Vec<PlatformLevel>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    #[serde(deserialize_with = "hex_array")]
    mrsigner: [u8; 48],
    #[serde(deserialize_with = "hex_array")]
    attributes: [u8; 8],
    #[serde(deserialize_with = "hex_array")]
    attributes_mask: [u8; 8],
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModuleIdentity {
    id: String,
    #[serde(flatten)]
    module: Module,
    tcb_levels: Vec<Level<IsvSvn>>,
}

type PlatformLevel = Level<PlatformTcb>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Level<T> {
    tcb: T,
    tcb_status: Status,
    #[serde(default, rename = "advisoryIDs")]
    advisories: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct IsvSvn {
    isvsvn: u16,
}

#[derive(Debug, Deserialize)]
struct PlatformTcb {
    sgxtcbcomponents: [Component; 16],
    pcesvn: u16,
    tdxtcbcomponents: [Component; 16],
}

#[derive(Debug, Deserialize)]
struct Component {
    svn: u8,
}

/// `enclaveIdentity`, as far as it is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QeIdentity {
    pub(super) id: String,
    pub(super) version: u32,
    pub(super) issue_date: String,
    pub(super) next_update: String,
    pub(super) tcb_evaluation_data_number: u32,
    #[serde(deserialize_with = "hex_array")]
    miscselect: [u8; 4],
    #[serde(deserialize_with = "hex_array")]
    miscselect_mask: [u8; 4],
    #[serde(deserialize_with = "hex_array")]
    attributes: [u8; 16],
    #[serde(deserialize_with = "hex_array")]
    attributes_mask: [u8; 16],
    #[serde(deserialize_with = "hex_array")]
    mrsigner: [u8; 32],
    isvprodid: u16,
    tcb_levels: Vec<Level<IsvSvn>>,
}

impl TcbInfo {
    /// The level that the platform and the module reach.
    pub(super) fn level(&self, pck: &Pck, report: &TdReport) -> Result<Tcb, Refusal> {
        let [module_svn, module_version, ..] = report.tee_tcb_svn;
        // PCS API 4.0: from version 1 on the module is judged by its identity, and the first two
        // components of the platform's TDX TCB do not count.
        let passed_over = if module_version > 0 { 2 } else { 0 };
        let reached = self.tcb_levels.iter().find(|level| {
            let not_below = |least: &[Component; 16], own: &[u8; 16], from: usize| {
                own.iter().zip(least).skip(from).all(|(own, least)| *own >= least.svn)
            };
            not_below(&level.tcb.sgxtcbcomponents, &pck.components, 0)
                && pck.pce_svn >= level.tcb.pcesvn
                && not_below(&level.tcb.tdxtcbcomponents, &report.tee_tcb_svn, passed_over)
        });
        let reached = reached.ok_or(Refusal::BelowAllLevels { of: "the platform" })?;
        let mut tcb = Tcb {
            status: reached.tcb_status,
            advisories: reached.advisories.clone(),
            evaluation: self.tcb_evaluation_data_number,
        };
        if module_version == 0 {
            self.tdx_module.is_of(report)?;
            return Ok(tcb);
        }
        let id = format!("TDX_{module_version:02X}");
        let identity = self.tdx_module_identities.iter().find(|one| one.id == id);
        let identity = identity.ok_or(Refusal::OtherModule)?;
        identity.module.is_of(report)?;
        tcb.add(&identity.tcb_levels, module_svn.into(), "the tdx module")?;
        Ok(tcb)
    }
}

impl Module {
    fn is_of(&self, report: &TdReport) -> Result<(), Refusal> {
        let same = report.mr_signer_seam == self.mrsigner
            && masked(report.seam_attributes, self.attributes_mask) == self.attributes;
        if same { Ok(()) } else { Err(Refusal::OtherModule) }
    }
}

impl QeIdentity {
    /// Whether this is the quoting enclave, and what is said of its version.
    pub(super) fn judge(&self, enclave: &EnclaveReport, tcb: &mut Tcb) -> Result<(), Refusal> {
        let same = masked(enclave.misc_select.to_le_bytes(), self.miscselect_mask)
            == self.miscselect
            && masked(enclave.attributes, self.attributes_mask) == self.attributes
            && enclave.mr_signer == self.mrsigner
            && enclave.isv_prod_id == self.isvprodid;
        if !same {
            return Err(Refusal::OtherEnclave);
        }
        tcb.evaluation = tcb.evaluation.min(self.tcb_evaluation_data_number);
        tcb.add(&self.tcb_levels, enclave.isv_svn, "the quoting enclave")
    }
}

impl Tcb {
    /// Adds what is said of a part of this version.
    fn add(&mut self, all: &[Level<IsvSvn>], svn: u16, of: &'static str) -> Result<(), Refusal> {
        let reached = all.iter().find(|level| svn >= level.tcb.isvsvn);
        let reached = reached.ok_or(Refusal::BelowAllLevels { of })?;
        self.status = self.status.with(reached.tcb_status);
        for advisory in &reached.advisories {
            if !self.advisories.contains(advisory) {
                self.advisories.push(advisory.clone());
            }
        }
        Ok(())
    }
}

fn masked<const N: usize>(mut value: [u8; N], mask: [u8; N]) -> [u8; N] {
    for (byte, mask) in value.iter_mut().zip(mask) {
        *byte &= mask;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcs_a_part_makes_a_platform_no_better() {
        use Status::*;
        for (platform, part, expect) in [
            (UpToDate, UpToDate, UpToDate),
            (UpToDate, OutOfDate, OutOfDate),
            (SwHardeningNeeded, UpToDate, SwHardeningNeeded),
            (SwHardeningNeeded, OutOfDate, OutOfDate),
            (ConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded),
            (ConfigurationAndSwHardeningNeeded, OutOfDate, OutOfDateConfigurationNeeded),
            (OutOfDateConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded),
            (OutOfDate, UpToDate, OutOfDate),
            (UpToDate, Revoked, Revoked),
            (Revoked, UpToDate, Revoked),
        ] {
            assert_eq!(platform.with(part), expect, "{platform} with {part}");
        }
    }
}
