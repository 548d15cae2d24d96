//! Who made an artifact, and of what: envelopes ([DSSE](https://github.com/secure-systems-lab/dsse)
//! 1.0.2), statements ([in-toto attestation v1](https://github.com/in-toto/attestation), as of
//! 051624ce466d), their predicates ([SLSA provenance v1](https://slsa.dev/spec/v1.1/provenance),
//! [verification summary v1](https://slsa.dev/spec/v1.1/verification_summary)) and
//! [Sigstore bundles](https://docs.sigstore.dev/about/bundle/) v0.3, verified offline.
//!
//! In scope: from bytes to an [`Envelope`], from there to what was signed ([`Opened`]), by keys
//! that the caller trusts or by the certificate of a bundle whose chain, log and time a trusted
//! root vouches for; from there to a [`Statement`] and its predicate. Not here: who may say what
//! (`stack/attestation`), bills of materials (`spec/bom`), fetching trusted roots (TUF) and log
//! entries (nothing is fetched), signing.
//!
//! Trusting it means: nothing of a payload is read before its signature was verified.

mod dsse;
mod hex;
pub mod sigstore;
mod slsa;
mod statement;

pub use dsse::{ENVELOPE_BYTES_MAX, Envelope, EnvelopeError, Opened, SIGNATURES_MAX, pae};
pub use hex::{from_hex, sha256, to_hex};
pub use slsa::{
    PROVENANCE, PredicateError, Provenance, Resource, SUMMARY, Summary, level_of_summary,
};
pub use statement::{
    DIGESTS_MAX, IN_TOTO, STATEMENT, SUBJECTS_MAX, Statement, StatementError, Subject,
};
