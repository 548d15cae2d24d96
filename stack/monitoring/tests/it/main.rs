//! The story of one task, as a person and as other systems read it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod ocsf;
mod story;
mod trace;
