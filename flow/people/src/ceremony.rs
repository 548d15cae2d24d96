//! Ceremonies, each of which serves once.

pub use authentication::ceremony::{Ceremonies, Ceremony, LIFE, NotOurs};

use env::SingleUse;
use monitoring::record::Used;

use crate::record::single_use;

/// What single-use values are told apart by.
const SPACE: &str = "people/ceremony";

/// The use of it, of which there is one.
pub(crate) fn once(ceremony: &Ceremony) -> (SingleUse, Used) {
    single_use(SPACE, ceremony.text(), ceremony.until())
}
