//! What a TPM 2.0 says of itself: public areas, attestations, signatures, and the secret that only
//! one TPM can open, as
//! [TPM 2.0 Library, Parts 1 to 3](https://trustedcomputinggroup.org/resource/tpm-library-specification/)
//! define them.
//!
//! In scope: reading and writing of the structures that a verifier and an attester exchange
//! ([`Public`], [`Attest`], [`Signature`], [`PcrSelection`]), names, verification of a signature by
//! a key of a TPM, and [`make_credential`]. Of the algorithms those that the EK Credential Profile
//! and the DevID specification make usual: RSA 2048 to 4096, P-256, P-384, SHA-256 to SHA-512.
//!
//! Not here: commands and responses and how they reach a TPM (`edge/chip`), what evidence is
//! worth (`stack/attestation`), certificates (`x509`).

mod algorithm;
mod attest;
mod attributes;
mod credential;
mod malformed;
mod pcr;
mod public;
mod signature;
pub mod wire;

pub use algorithm::{Curve, Hash, Scheme, SchemeKind, Symmetric};
pub use attest::{Attest, Attested, ClockInfo};
pub use attributes::Attributes;
pub use credential::{Credential, CredentialError, POLICY_A_SHA256, make_credential};
pub use malformed::Malformed;
pub use pcr::{PCRS_MAX, PcrSelection, pcr_digest};
pub use public::{Key, Public};
pub use signature::{BadSignature, Signature};

/// The longest structure that is read, in bytes: what a TPM's own buffer holds.
pub const STRUCTURE_BYTES_MAX: usize = 4096;
/// The most banks in a selection of PCRs.
pub const SELECTIONS_MAX: usize = 8;
