//! The versions of what a guest has to trust on a chip (56860 §2.2, `TCB_VERSION`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Security version numbers of the firmware of a chip. A chip derives its VCEK from them, so that
/// older firmware cannot use the key of newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcb {
    /// The firmware management controller, which chips before Turin have not.
    #[serde(default)]
    pub fmc: u8,
    /// The boot loader of the security processor.
    pub boot_loader: u8,
    /// Its operating system.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// The microcode of the cores.
    pub microcode: u8,
}

/// Where a `TCB_VERSION` has its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcbLayout {
    /// Milan and Genoa.
    Classic,
    /// Turin.
    Turin,
}

impl Tcb {
    /// Reads the eight bytes of a `TCB_VERSION`.
    pub const fn from_bytes(bytes: [u8; 8], layout: TcbLayout) -> Self {
        match (layout, bytes) {
            (TcbLayout::Classic, [boot_loader, tee, _, _, _, _, snp, microcode]) => {
                Self { fmc: 0, boot_loader, tee, snp, microcode }
            }
            (TcbLayout::Turin, [fmc, boot_loader, tee, snp, _, _, _, microcode]) => {
                Self { fmc, boot_loader, tee, snp, microcode }
            }
        }
    }

    /// The eight bytes of a `TCB_VERSION`.
    pub const fn to_bytes(self, layout: TcbLayout) -> [u8; 8] {
        let Self { fmc, boot_loader, tee, snp, microcode } = self;
        match layout {
            TcbLayout::Classic => [boot_loader, tee, 0, 0, 0, 0, snp, microcode],
            TcbLayout::Turin => [fmc, boot_loader, tee, snp, 0, 0, 0, microcode],
        }
    }

    /// Whether no number is below that of `least`.
    pub const fn reaches(self, least: Self) -> bool {
        self.fmc >= least.fmc
            && self.boot_loader >= least.boot_loader
            && self.tee >= least.tee
            && self.snp >= least.snp
            && self.microcode >= least.microcode
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fmc, boot_loader, tee, snp, microcode } = self;
        write!(f, "{fmc}.{boot_loader}.{tee}.{snp}.{microcode}")
    }
}
