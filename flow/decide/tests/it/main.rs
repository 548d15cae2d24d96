//! Decisions that others ask for, as stories over one world from one seed.

#[cfg(test)]
mod house;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod questions;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod shown;
