//! What a TPM attests (Part 2 §10.12, TPMS_ATTEST): a quote of PCRs, or that it has a key.

use crate::malformed::Malformed;
use crate::pcr::PcrSelection;
use crate::wire::{Reader, Writer};

/// Part 2 §6.2: "TPM_GENERATED_VALUE 0xff544347": a restricted key signs nothing from outside that
/// begins so.
const GENERATED: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_CERTIFY`.
const CERTIFY: u16 = 0x8017;
/// `TPM_ST_ATTEST_QUOTE`.
const QUOTE: u16 = 0x8018;

/// TPMS_ATTEST. That it was read says nothing of who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    /// The qualified name of the key that signs.
    pub qualified_signer: Vec<u8>,
    /// What the caller wanted in it: a nonce.
    pub extra_data: Vec<u8>,
    /// The TPM's clock and how often it was started.
    pub clock: ClockInfo,
    /// The version of its firmware.
    pub firmware: u64,
    /// What is attested.
    pub attested: Attested,
}

/// TPMS_CLOCK_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM was powered.
    pub clock: u64,
    /// Resets since the TPM was cleared.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// 1 when no higher clock was shown before.
    pub safe: u8,
}

/// What is attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attested {
    /// TPMS_CERTIFY_INFO: a key that is loaded in this TPM.
    Certify {
        /// Its name.
        name: Vec<u8>,
        /// Its name and those of all its parents.
        qualified_name: Vec<u8>,
    },
    /// TPMS_QUOTE_INFO: values of PCRs.
    Quote {
        /// Which.
        selection: Vec<PcrSelection>,
        /// The digest over them.
        digest: Vec<u8>,
    },
}

impl Attest {
    /// Reads all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes)?;
        match reader.u32()? {
            GENERATED => {}
            found => return Err(Malformed::Magic { found }),
        }
        let kind = reader.u16()?;
        if ![CERTIFY, QUOTE].contains(&kind) {
            return Err(Malformed::Kind { found: kind });
        }
        let (qualified_signer, extra_data) = (reader.sized()?.to_vec(), reader.sized()?.to_vec());
        let clock = ClockInfo {
            clock: reader.u64()?,
            reset_count: reader.u32()?,
            restart_count: reader.u32()?,
            safe: reader.u8()?,
        };
        let firmware = reader.u64()?;
        let attested = if kind == CERTIFY {
            let (name, qualified_name) = (reader.sized()?.to_vec(), reader.sized()?.to_vec());
            Attested::Certify { name, qualified_name }
        } else {
            let selection = PcrSelection::read_list(&mut reader)?;
            Attested::Quote { selection, digest: reader.sized()?.to_vec() }
        };
        reader.end()?;
        Ok(Self { qualified_signer, extra_data, clock, firmware, attested })
    }

    /// The structure.
    pub fn to_bytes(&self) -> Vec<u8> {
        let kind = match self.attested {
            Attested::Certify { .. } => CERTIFY,
            Attested::Quote { .. } => QUOTE,
        };
        let front = Writer::default()
            .u32(GENERATED)
            .u16(kind)
            .sized(&self.qualified_signer)
            .sized(&self.extra_data)
            .u64(self.clock.clock)
            .u32(self.clock.reset_count)
            .u32(self.clock.restart_count)
            .u8(self.clock.safe)
            .u64(self.firmware);
        match &self.attested {
            Attested::Certify { name, qualified_name } => front.sized(name).sized(qualified_name),
            Attested::Quote { selection, digest } => {
                PcrSelection::write_list(selection, front).sized(digest)
            }
        }
        .into_bytes()
    }
}
