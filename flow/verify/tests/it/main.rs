//! A relying party has evidence appraised, as stories over one world from one seed.

#[cfg(test)]
#[path = "../../../enrol/tests/it/maker.rs"]
mod maker;
#[cfg(test)]
mod verify;
