//! The attestation report (56860 §7.3, `ATTESTATION_REPORT`).

use crate::malformed::Malformed;
use crate::read::{Reader, zero};
use crate::snp::tcb::{Tcb, TcbLayout};

/// The length of a report, in bytes.
pub const REPORT_BYTES: usize = 1184;
/// The length of what the guest has signed with it, in bytes.
pub const REPORT_DATA_BYTES: usize = 64;
/// The length of a measurement: SHA-384.
pub const MEASUREMENT_BYTES: usize = 48;
/// The signature is over all before it.
pub(super) const SIGNED_BYTES: usize = 672;
/// The bytes of a number of the signature, of which P-384 uses the first 48.
const SIGNATURE_NUMBER_BYTES: usize = 72;
/// The bytes of a number of P-384.
const FIELD_BYTES: usize = 48;
/// The versions that are read. From 3 on a report tells the model of the chip.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;
/// The first version that tells the model of the chip.
const VERSION_WITH_MODEL: u32 = 3;
/// The family of Turin, as `CPUID_FAM_ID` has it.
const FAMILY_TURIN: u8 = 0x1a;
/// `SIGNATURE_ALGO`: ECDSA P-384 with SHA-384 (56860 §10, table "Encodings for the SIGNATURE_ALGO
/// field").
const ECDSA_P384_SHA384: u32 = 1;

/// What a report says. That it was read says nothing of who signed it: see
/// [`crate::snp::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// 2 to 5.
    pub version: u32,
    /// The guest's own security version number.
    pub guest_svn: u32,
    /// Under which policy the guest was started.
    pub policy: GuestPolicy,
    /// The family of the image, as its owner calls it.
    pub family_id: [u8; 16],
    /// The image, as its owner calls it.
    pub image_id: [u8; 16],
    /// The privilege level that asked for the report: 0 is the highest.
    pub vmpl: u32,
    /// The firmware that runs.
    pub current_tcb: Tcb,
    /// Whose key signed.
    pub signing_key: SigningKey,
    /// Whether the chip hides which one it is.
    pub mask_chip_key: bool,
    /// Whether an author's key signed the key of the identity block.
    pub author_key: bool,
    /// What the guest had signed.
    pub report_data: [u8; REPORT_DATA_BYTES],
    /// The launch measurement.
    pub measurement: [u8; MEASUREMENT_BYTES],
    /// What the host gave at launch.
    pub host_data: [u8; 32],
    /// The digest of the key that signed the identity block.
    pub id_key_digest: [u8; 48],
    /// The digest of the author's key.
    pub author_key_digest: [u8; 48],
    /// Which guest: another at each launch.
    pub report_id: [u8; 32],
    /// Which migration agent has the guest, if one does.
    pub report_id_ma: [u8; 32],
    /// The firmware that the signing key was derived for.
    pub reported_tcb: Tcb,
    /// Where a `TCB_VERSION` of this chip has its numbers.
    pub layout: TcbLayout,
    /// Which chip, or zeros.
    pub chip_id: [u8; 64],
    /// The firmware below which the chip will not go.
    pub committed_tcb: Tcb,
    /// The firmware at launch.
    pub launch_tcb: Tcb,
    /// `r || s`, big-endian, of 48 bytes each.
    pub(super) signature: [u8; FIELD_BYTES * 2],
}

impl Report {
    /// Reads all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > REPORT_BYTES {
            return Err(Malformed::Trailing { bytes: bytes.len() - REPORT_BYTES });
        }
        let signature = signature(bytes.get(SIGNED_BYTES..).ok_or(Malformed::Short)?)?;
        let mut reader = Reader::new(bytes);
        let version = reader.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(Malformed::Kind { what: "the version", found: version });
        }
        let layout = layout(version, bytes)?;
        let tcb = |bytes| Tcb::from_bytes(bytes, layout);
        let guest_svn = reader.u32()?;
        let policy = GuestPolicy(reader.u64()?);
        let (family_id, image_id) = (reader.array()?, reader.array()?);
        let vmpl = reader.u32()?;
        let algorithm = reader.u32()?;
        if algorithm != ECDSA_P384_SHA384 {
            return Err(Malformed::Kind { what: "the signature algorithm", found: algorithm });
        }
        let current_tcb = tcb(reader.array()?);
        let _platform_info = reader.u64()?;
        let flags = reader.u32()?;
        let _reserved = reader.u32()?;
        let report_data = reader.array()?;
        let measurement = reader.array()?;
        let host_data = reader.array()?;
        let (id_key_digest, author_key_digest) = (reader.array()?, reader.array()?);
        let (report_id, report_id_ma) = (reader.array()?, reader.array()?);
        let reported_tcb = tcb(reader.array()?);
        let _model_and_reserved: [u8; 24] = reader.array()?;
        let chip_id = reader.array()?;
        let committed_tcb = tcb(reader.array()?);
        let _versions_of_firmware = reader.u64()?;
        let launch_tcb = tcb(reader.array()?);
        Ok(Self {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            current_tcb,
            signing_key: SigningKey::of_flags(flags)?,
            mask_chip_key: flags & 0b10 != 0,
            author_key: flags & 1 != 0,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            layout,
            chip_id,
            committed_tcb,
            launch_tcb,
            signature,
        })
    }
}

/// The chip's generation. Reports of version 2 do not tell it; they are of Milan and Genoa, whose
/// layout is the same.
fn layout(version: u32, bytes: &[u8]) -> Result<TcbLayout, Malformed> {
    /// Where `CPUID_FAM_ID` is.
    const FAMILY_AT: usize = 0x188;
    let family = *bytes.get(FAMILY_AT).ok_or(Malformed::Short)?;
    let turin = version >= VERSION_WITH_MODEL && family == FAMILY_TURIN;
    Ok(if turin { TcbLayout::Turin } else { TcbLayout::Classic })
}

/// 56860 §10, table "Format for an ECDSA P-384 with SHA-384 Signature": R and S little-endian in
/// 72 bytes each, and the rest reserved. No signature covers them, so they must be zero.
fn signature(bytes: &[u8]) -> Result<[u8; FIELD_BYTES * 2], Malformed> {
    let mut reader = Reader::new(bytes);
    let mut fixed = [0; FIELD_BYTES * 2];
    for half in fixed.chunks_exact_mut(FIELD_BYTES) {
        let mut number = Reader::new(reader.bytes(SIGNATURE_NUMBER_BYTES)?);
        let little = number.bytes(FIELD_BYTES)?;
        zero(number.rest(), "the signature")?;
        for (to, from) in half.iter_mut().zip(little.iter().rev()) {
            *to = *from;
        }
    }
    zero(reader.bytes(REPORT_BYTES - SIGNED_BYTES - 2 * SIGNATURE_NUMBER_BYTES)?, "the signature")?;
    reader.end()?;
    Ok(fixed)
}

/// Whose key signed a report (56860 §7.3, bits 4:2 of the flags at 48h, `SIGNING_KEY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// The versioned chip endorsement key.
    Vcek,
    /// The versioned loaded endorsement key, which AMD gave a cloud for its chips.
    Vlek,
}

impl SigningKey {
    fn of_flags(flags: u32) -> Result<Self, Malformed> {
        match (flags >> 2) & 0b111 {
            0 => Ok(Self::Vcek),
            1 => Ok(Self::Vlek),
            // 7: "None", a report without a signature.
            found => Err(Malformed::Kind { what: "the signing key", found }),
        }
    }
}

/// Under which policy a guest was started (56860 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    /// The bit that lets a migration agent have the guest's memory.
    pub const MIGRATE_MA: u64 = 1 << 18;
    /// The bit that lets the host read the guest's memory.
    pub const DEBUG: u64 = 1 << 19;

    /// Whether the host may read the guest's memory.
    pub const fn allows_debug(self) -> bool {
        self.0 & Self::DEBUG != 0
    }

    /// Whether a migration agent may have it.
    pub const fn allows_migration_agent(self) -> bool {
        self.0 & Self::MIGRATE_MA != 0
    }
}
