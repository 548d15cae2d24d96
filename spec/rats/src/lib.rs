//! Remote attestation: the roles of [RFC 9334](https://www.rfc-editor.org/rfc/rfc9334), the
//! trustworthiness vector of
//! [draft-ietf-rats-ar4si](https://datatracker.ietf.org/doc/draft-ietf-rats-ar4si/), attestation
//! results of [draft-ietf-rats-ear-04](https://datatracker.ietf.org/doc/draft-ietf-rats-ear/) as
//! JWT, and the wrapper of [draft-ietf-rats-cmw](https://datatracker.ietf.org/doc/draft-ietf-rats-cmw/)
//! in JSON and CBOR.
//!
//! In scope: reading and making them; a tier that claims more than its vector is refused. Not
//! here: how evidence is appraised (`stack/attestation`), results as CWT (COSE), and evidence
//! itself (`spec/tpm`, `spec/tee`, `spec/provenance`).

mod cbor;
mod cmw;
mod ear;
mod vector;

pub use cbor::CborError;
pub use cmw::{
    CMW_BYTES_MAX, COLLECTION_DEPTH_MAX, COLLECTION_ENTRIES_MAX, Cmw, CmwError, Contents, Record,
};
pub use ear::{Appraisal, Ear, EarError, EarToken, Profile, SUBMODS_MAX, VerifierId};
pub use vector::{Claim, Tier, Vector, VectorError};
