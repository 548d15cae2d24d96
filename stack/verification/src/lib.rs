//! A relying party has evidence appraised (RFC 9334 §5.2, background check; ATT-04): the sessions
//! and messages of Veraison's challenge-response API
//! (<https://github.com/veraison/docs/tree/main/api/challenge-response>), read.
//!
//! In scope: sessions that nobody has to keep, and what is submitted to one, taken apart. Not here:
//! the order of the checks (`flow/verify`), what evidence proves (`stack/attestation`), the wrapper
//! (`spec/rats`), HTTP (`edge/api`).

pub mod session;
pub mod submission;

pub use session::{Nonce, NotANonce, Refusal, Session, Sessions};
pub use submission::{Submission, Unfit, accepted, read};
