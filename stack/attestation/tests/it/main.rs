//! Hosts that prove a certificate's key, and those that do not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod about;
mod documents;
mod ear;
mod hosts;
mod idevid;
mod issuer_keys;
mod mechanism;
mod snp;
mod soft_tpm;
mod sshpop;
mod tdx;
mod tokens;
mod tpm_devid;
mod tpm_recorded;
mod verifier;
mod x509pop;
