//! AMD SEV-SNP: the attestation report, and who signed it.

mod certificate;
mod chain;
mod report;
mod table;
mod tcb;

pub use certificate::{Endorsement, EndorsementError};
pub use chain::{Given, Refusal, Revocation, Verified, verify};
pub use report::{
    GuestPolicy, MEASUREMENT_BYTES, REPORT_BYTES, REPORT_DATA_BYTES, Report, SigningKey,
};
pub use table::certificate_table;
pub use tcb::{Tcb, TcbLayout};

/// The most certificates that one verification looks at.
pub const CERTIFICATES_MAX: usize = 16;
