//! Processors and TPMs that do not exist: hierarchies of keys like AMD's and Intel's, and the
//! evidence that they would sign. What a test changes of it is a field.

mod der;
mod snp;
mod tdx;
mod tpm;

pub use snp::{Chip, SnpReport};
pub use tdx::{Platform, TdQuote};
pub use tpm::{AUTHORITY_KEY, HOST_KEY, PCR, TpmHost, attest, authority, issue, key, leaf, name};
