//! Processors that do not exist: hierarchies of keys like AMD's and Intel's, and the evidence that
//! they would sign. What a test changes of it is a field.

mod der;
mod snp;
mod tdx;

pub use snp::{Chip, SnpReport};
pub use tdx::{Platform, TdQuote};
