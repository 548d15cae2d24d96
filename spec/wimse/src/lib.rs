//! WIMSE: workload identifiers
//! ([draft-ietf-wimse-identifier](https://datatracker.ietf.org/doc/draft-ietf-wimse-identifier/)),
//! workload identity tokens
//! ([draft-ietf-wimse-workload-creds](https://datatracker.ietf.org/doc/draft-ietf-wimse-workload-creds/),
//! and their SPIFFE profile,
//! [WIT-SVID](https://github.com/spiffe/spiffe/blob/main/standards/WIT-SVID.md)) and the proof of
//! possession that goes with them
//! ([draft-ietf-wimse-wpt](https://datatracker.ietf.org/doc/draft-ietf-wimse-wpt/)), and workload
//! identity certificates over mutual TLS
//! ([draft-ietf-wimse-mutual-tls](https://datatracker.ietf.org/doc/draft-ietf-wimse-mutual-tls/)),
//! in the texts of August 2026 (identifier -03, workload-creds -03, wpt -02, mutual-tls -03).
//!
//! In scope: what is a canonical identifier and to which origin it belongs, whether a WIT or a
//! certificate is vouched for by the keys of its identifier's origin, whether a WPT proves the key
//! of that WIT for this message.
//!
//! Not here: HTTP message signatures as the other proof of possession, where keys come from
//! (`spiffe::Bundle`), remembering proofs that were used (`env::Store`).

mod bundles;
mod header;
mod id;
mod pattern;
mod wic;
mod wit;
mod workload_id;
mod wpt;

pub use bundles::Bundles;
pub use header::{
    HeaderError, WORKLOAD_IDENTITY_TOKEN, WORKLOAD_PROOF_TOKEN, check_token_syntax, exactly_one,
};
pub use id::{WimseId, WimseIdError};
pub use pattern::{Pattern, PatternError};
pub use wic::{VerifiedWic, Wic, WicError};
pub use wit::{
    Confirmation, TrustAnchors, VerifiedWit, WIT_SVID_ALGORITHMS, Wit, WitClaims, WitError,
    WitPolicy, WitSvidError, verify_wit,
};
pub use workload_id::{Origin, Scheme, WorkloadId, WorkloadIdError};
pub use wpt::{Expected, Proof, VerifiedWpt, Wpt, WptClaims, WptError, verify_wpt};
