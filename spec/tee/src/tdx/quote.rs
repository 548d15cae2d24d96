//! The quote (Intel TDX DCAP Quoting Library API, appendix A.3 for version 4 and A.4 for version
//! 5).

use crate::malformed::Malformed;
use crate::read::{Reader, zero};
use crate::tdx::QUOTE_BYTES_MAX;

/// The length of a measurement register, in bytes: SHA-384.
pub const REGISTER_BYTES: usize = 48;
/// The length of what the guest has signed, in bytes.
pub const REPORT_DATA_BYTES: usize = 64;
/// `Attestation Key Type`: ECDSA-256-with-P-256 curve.
const ECDSA_P256: u16 = 2;
/// `TEE Type`: TDX.
const TEE_TDX: u32 = 0x81;
/// `QE Vendor ID`: Intel's quoting enclave.
const INTEL_QE: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
/// The length of the header, in bytes.
const HEADER_BYTES: usize = 48;
/// `TD Report 1.0`: the length in bytes, and what a quote of version 5 calls it.
const TD_10: (usize, u16) = (584, 2);
/// `TD Report 1.5`.
const TD_15: (usize, u16) = (648, 3);
/// The length of the report of an enclave, in bytes.
const ENCLAVE_REPORT_BYTES: usize = 384;
/// `Certification Data Type`: the quoting enclave's report, and more certification data in it.
const QE_REPORT: u16 = 6;
/// `Certification Data Type`: the PCK certificates as PEM, leaf first.
const PCK_CHAIN: u16 = 5;

/// What a quote says. That it was read says nothing of who signed it: see [`crate::tdx::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// 4 or 5.
    pub version: u16,
    /// What the TDX module says of the guest.
    pub report: TdReport,
    /// What the attestation key signed: header and report.
    pub(super) signed: Vec<u8>,
    /// `r || s`, big-endian.
    pub(super) signature: [u8; 64],
    /// The attestation key: `x || y`, big-endian.
    pub(super) attestation_key: [u8; 64],
    /// The report of the quoting enclave.
    pub(super) enclave: [u8; ENCLAVE_REPORT_BYTES],
    /// Its signature by the platform: `r || s`, big-endian.
    pub(super) enclave_signature: [u8; 64],
    /// What the quoting enclave bound besides the attestation key.
    pub(super) authentication: Vec<u8>,
    /// The certificates of the platform, leaf first, as PEM.
    pub(super) certificates: String,
}

/// What the TDX module says of a guest (Intel TDX Module ABI, `TDREPORT_STRUCT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdReport {
    /// The versions of the module and of what loaded it.
    pub tee_tcb_svn: [u8; 16],
    /// The measurement of the module.
    pub mr_seam: [u8; REGISTER_BYTES],
    /// Who signed the module: zeros for Intel.
    pub mr_signer_seam: [u8; REGISTER_BYTES],
    /// The attributes of the module.
    pub seam_attributes: [u8; 8],
    /// The attributes of the guest.
    pub td_attributes: [u8; 8],
    /// Which extended features it has.
    pub xfam: [u8; 8],
    /// The launch measurement.
    pub mr_td: [u8; REGISTER_BYTES],
    /// What the host said at launch of the configuration.
    pub mr_config_id: [u8; REGISTER_BYTES],
    /// The owner.
    pub mr_owner: [u8; REGISTER_BYTES],
    /// The configuration as the owner has it.
    pub mr_owner_config: [u8; REGISTER_BYTES],
    /// The measurements at run time.
    pub rtmr: [[u8; REGISTER_BYTES]; 4],
    /// What the guest had signed.
    pub report_data: [u8; REPORT_DATA_BYTES],
    /// The service guests that are bound to it, from TDX 1.5 on.
    pub mr_service_td: Option<[u8; REGISTER_BYTES]>,
}

impl TdReport {
    /// Whether the guest is under debug: bits 0 to 7 of the attributes, of which bit 0 is `DEBUG`.
    /// Intel TDX Module Base Architecture, `ATTRIBUTES`, group TUD: "If any of the bits in this
    /// group are set to 1, the TD is untrusted."
    pub const fn is_debug(&self) -> bool {
        let [untrusted, ..] = self.td_attributes;
        untrusted != 0
    }

    /// Whether the guest may be moved to another platform: bit 29 of the attributes
    /// (`MIGRATABLE`), or a service guest that is bound to it.
    pub fn is_migratable(&self) -> bool {
        let [_, _, _, bits_24_to_31, ..] = self.td_attributes;
        bits_24_to_31 & (1 << 5) != 0 || self.mr_service_td.is_some_and(|mr| mr != [0; 48])
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let tee_tcb_svn = reader.array()?;
        let (mr_seam, mr_signer_seam) = (reader.array()?, reader.array()?);
        let (seam_attributes, td_attributes) = (reader.array()?, reader.array()?);
        let (xfam, mr_td, mr_config_id) = (reader.array()?, reader.array()?, reader.array()?);
        let (mr_owner, mr_owner_config) = (reader.array()?, reader.array()?);
        let rtmr = [reader.array()?, reader.array()?, reader.array()?, reader.array()?];
        let report_data = reader.array()?;
        let mr_service_td = if bytes.len() == TD_15.0 {
            let _tee_tcb_svn_2: [u8; 16] = reader.array()?;
            Some(reader.array()?)
        } else {
            None
        };
        reader.end()?;
        Ok(Self {
            tee_tcb_svn,
            mr_seam,
            mr_signer_seam,
            seam_attributes,
            td_attributes,
            xfam,
            mr_td,
            mr_config_id,
            mr_owner,
            mr_owner_config,
            rtmr,
            report_data,
            mr_service_td,
        })
    }
}

impl Quote {
    /// Reads all of it. What follows the signature data is padding, and zero.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > QUOTE_BYTES_MAX {
            return Err(Malformed::TooLong { bytes: bytes.len(), max: QUOTE_BYTES_MAX });
        }
        let mut reader = Reader::new(bytes);
        let version = header(reader.bytes(HEADER_BYTES)?)?;
        let body = match version {
            4 => reader.bytes(TD_10.0)?,
            _ => {
                let kind = reader.u16()?;
                let body = reader.sized()?;
                if ![TD_10, TD_15].contains(&(body.len(), kind)) {
                    return Err(Malformed::Kind { what: "the body", found: kind.into() });
                }
                body
            }
        };
        let report = TdReport::read(body)?;
        let signed = bytes.get(..bytes.len() - reader.rest().len()).ok_or(Malformed::Short)?;
        let mut data = Reader::new(reader.sized()?);
        zero(reader.rest(), "the padding")?;
        let (signature, attestation_key) = (data.array()?, data.array()?);
        let mut qe = Reader::new(certification(&mut data, QE_REPORT)?);
        data.end()?;
        let (enclave, enclave_signature) = (qe.array()?, qe.array()?);
        let authentication_bytes = qe.u16()?;
        let authentication = qe.bytes(authentication_bytes.into())?.to_vec();
        let chain = certification(&mut qe, PCK_CHAIN)?;
        qe.end()?;
        let certificates = std::str::from_utf8(chain).map_err(|_| Malformed::Size {
            what: "the chain of certificates",
            bytes: chain.len(),
        })?;
        Ok(Self {
            version,
            report,
            signed: signed.to_vec(),
            signature,
            attestation_key,
            enclave,
            enclave_signature,
            authentication,
            certificates: certificates.trim_end_matches('\0').to_owned(),
        })
    }

    /// What the quoting enclave is.
    pub fn enclave(&self) -> Result<EnclaveReport, Malformed> {
        EnclaveReport::read(&self.enclave)
    }
}

/// The version, if the rest of the header is that of a TDX quote by Intel's quoting enclave.
fn header(bytes: &[u8]) -> Result<u16, Malformed> {
    let mut header = Reader::new(bytes);
    let version = header.u16()?;
    if ![4, 5].contains(&version) {
        return Err(Malformed::Kind { what: "the version", found: version.into() });
    }
    let key = header.u16()?;
    if key != ECDSA_P256 {
        return Err(Malformed::Kind { what: "the type of the attestation key", found: key.into() });
    }
    let tee = header.u32()?;
    if tee != TEE_TDX {
        return Err(Malformed::Kind { what: "the type of the tee", found: tee });
    }
    let _reserved = header.u32()?;
    let vendor: [u8; 16] = header.array()?;
    let [a, b, c, d, ..] = vendor;
    if vendor != INTEL_QE {
        let found = u32::from_be_bytes([a, b, c, d]);
        return Err(Malformed::Kind { what: "the vendor of the quoting enclave", found });
    }
    Ok(version)
}

/// Certification data, which must be of this type.
fn certification<'a>(reader: &mut Reader<'a>, kind: u16) -> Result<&'a [u8], Malformed> {
    let found = reader.u16()?;
    if found != kind {
        return Err(Malformed::Kind { what: "the certification data", found: found.into() });
    }
    reader.sized()
}

/// What a processor says of an enclave (Intel SDM volume 3D, `REPORT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnclaveReport {
    /// Which exceptions it sees.
    pub misc_select: u32,
    /// Its attributes.
    pub attributes: [u8; 16],
    /// Its measurement.
    pub mr_enclave: [u8; 32],
    /// Who signed it.
    pub mr_signer: [u8; 32],
    /// Which product of the signer's.
    pub isv_prod_id: u16,
    /// Which version.
    pub isv_svn: u16,
    /// What it had signed.
    pub report_data: [u8; REPORT_DATA_BYTES],
}

impl EnclaveReport {
    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let _cpu_svn: [u8; 16] = reader.array()?;
        let misc_select = reader.u32()?;
        let _reserved = reader.bytes(28)?;
        let (attributes, mr_enclave) = (reader.array()?, reader.array()?);
        let _reserved = reader.bytes(32)?;
        let mr_signer = reader.array()?;
        let _reserved = reader.bytes(96)?;
        let (isv_prod_id, isv_svn) = (reader.u16()?, reader.u16()?);
        let _reserved = reader.bytes(60)?;
        let report_data = reader.array()?;
        reader.end()?;
        Ok(Self {
            misc_select,
            attributes,
            mr_enclave,
            mr_signer,
            isv_prod_id,
            isv_svn,
            report_data,
        })
    }
}
