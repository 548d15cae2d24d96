//! Grants over real callers and real tokens: what each gives, and each of its refusals.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod edits;
mod facts;
mod grants;
mod lineage;
mod presented;
mod table;
