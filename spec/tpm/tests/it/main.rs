//! Structures that a TPM made, and the same with something changed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod credential;
mod structures;

/// A vector of `vectors/tpm`.
fn vector(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    let hex = value.as_str().unwrap();
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn quote() -> serde_json::Value {
    vector(include_str!("../../../../vectors/tpm/quote.json"))
}
