//! Published evidence, verified at its own time; and each with one thing wrong, refused by name.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod snp;
mod tdx;

use x509::{Certificate, CertificateDer};

fn vector(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/");
    std::fs::read(format!("{path}{name}")).unwrap()
}

fn certificates(pem: &str) -> Vec<Certificate> {
    let pem = String::from_utf8(vector(pem)).unwrap();
    let all = CertificateDer::from_pem_many(&pem).unwrap();
    all.iter().map(|der| der.parse().unwrap()).collect()
}

/// The bytes with one bit turned.
fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}
