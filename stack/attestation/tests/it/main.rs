//! Hosts that prove a certificate's key, and those that do not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod documents;
mod hosts;
mod idevid;
mod mechanism;
mod soft_tpm;
mod sshpop;
mod tokens;
mod tpm_devid;
mod tpm_recorded;
mod verifier;
mod x509pop;
