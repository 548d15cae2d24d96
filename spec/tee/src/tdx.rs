//! Intel TDX: the quote, and who signed it.

mod chain;
mod collateral;
mod date;
mod level;
mod pck;
mod quote;
mod refusal;
mod verify;

pub use collateral::{Collateral, CollateralError};
pub use level::{Status, Tcb};
pub use pck::{Pck, PckError};
pub use quote::{EnclaveReport, Quote, REGISTER_BYTES, REPORT_DATA_BYTES, TdReport};
pub use refusal::{Part, Refusal};
pub use verify::{Verified, verify};

/// The longest quote that is read, in bytes. One with the three certificates of a platform has
/// some 5,000.
pub const QUOTE_BYTES_MAX: usize = 16 * 1024;
/// The longest collateral that is read, in bytes. One with the lists of Intel's has some 20,000.
pub const COLLATERAL_BYTES_MAX: usize = 64 * 1024;
