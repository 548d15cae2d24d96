//! Credentials: what binds an identifier to a key, made as template → check → sign
//! (draft-klrc-aiagent-auth §6 "Agent Credentials", held as S1 §6; requirements CRED-01 to CRED-06,
//! CRED-10, CRED-11).
//!
//! In scope: the profiles we issue, one module that builds each and one that checks it before it
//! may be signed; the windows in which our own signing keys are published, used and kept. Not
//! here: the formats (`x509`, `jose`, `spiffe`, `wimse`), who gets one (`provisioning`), and
//! private keys, which stay behind `env::Keys`.

pub mod authority;
pub mod checked;
pub mod federation;
pub mod jwt_svid;
pub mod policy;
pub mod token_text;
pub mod wit;
pub mod x509_authority;
pub mod x509_intermediate;
pub mod x509_svid;

pub use authority::{AuthorityKey, CannotMake, KeyRing, Purpose, Schedule, Step};
pub use checked::Checked;
pub use token_text::TokenText;
pub use x509_intermediate::Above;
