//! Authorization: grants and the tokens they lead to (draft-klrc-aiagent-auth §10, held whole as
//! S4 §10; requirements AUTHZ-01 to AUTHZ-03, AUTHZ-07, AUTHZ-08, AUTHZ-11, AUTHZ-12, AUTHZ-23).
//!
//! In scope: each grant's pure decision, the table of checks every grant must pass, the templates
//! of access and transaction tokens and their checks, resources as policy describes them. Not here:
//! who the caller is (`authentication`), whether policy permits a proposal (`pdp`), the wire
//! (`oauth`).

pub mod access_token;
pub mod asked;
pub mod audience;
pub mod client;
pub mod granted;
pub mod grants;
pub mod id_token;
pub mod interaction;
pub mod introspection;
pub mod pairwise;
pub mod policy;
pub mod presented;
pub mod profile;
pub mod proposal;
pub mod signed_response;
pub mod status;
pub mod txn_token;

pub use audience::Audience;
pub use policy::{Action, Proof, Protocol, ResourcePolicy};
pub use profile::Profile;
pub use proposal::{Lineage, Proposal, Sanctioned, TokenKind};
