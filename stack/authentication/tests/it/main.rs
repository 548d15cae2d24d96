//! Callers that prove themselves with real keys, and those that do not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod attested_client;
mod parties;
mod private_key_jwt;
mod spiffe_jwt;
mod spiffe_wit;
mod spiffe_x509;
mod tls_client;
mod wit_wpt;
