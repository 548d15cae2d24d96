//! Authentication: who is calling, by which proof, on which channel
//! (draft-klrc-aiagent-auth §9, held as S1 §9; requirements AUTHN-01, AUTHN-02, AUTHN-05, AUTHN-13,
//! AUTHZ-23).
//!
//! In scope: one file a method, each from what the edge read to a [`Caller`] or a refusal with its
//! reason. Not here: whether the caller is in force (`provisioning` and `authorization`), and the
//! memory of what was used once (`env::Store`), which gets the values from here.

pub mod attested_client;
mod caller;
pub mod ceremony;
pub mod client_secret;
pub mod logout_token;
pub mod notice;
mod once;
pub mod own_assertion;
pub mod policy;
pub mod private_key_jwt;
mod proof;
pub mod public;
pub mod session;
pub mod spiffe_jwt;
pub mod spiffe_wit;
pub mod spiffe_x509;
pub mod tls_client;
pub mod user_agent;
pub mod wit_wpt;

pub use caller::{Caller, Method, Who};
pub use once::Once;
pub use proof::{ProofRefusal, Proved};
