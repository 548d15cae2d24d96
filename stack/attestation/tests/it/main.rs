//! Hosts that prove a certificate's key, and those that do not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod documents;
mod hosts;
mod mechanism;
mod sshpop;
mod tokens;
mod x509pop;
