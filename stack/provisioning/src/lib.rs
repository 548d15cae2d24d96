//! Provisioning: when credentials are issued, renewed and ended
//! (draft-klrc-aiagent-auth §8 "Agent Credential Provisioning", held as S1 §8; requirements
//! PROV-01 to PROV-03, PROV-06, PROV-07).
//!
//! In scope: the lifecycles of agents and nodes and their transitions, what an issuance needs, when
//! a renewal is due and when it is late, who may hold a key, the revocation epoch. Not here:
//! evidence (`attestation`), the forms of credentials (`credential`), and the making of keys (the
//! node, behind `env::Keys`).

pub mod alarm;
pub mod issue;
pub mod lifecycle;
pub mod node_act;
pub mod policy;
pub mod renewal;

pub use issue::{CredentialKind, Demand, IssueRefusal};
pub use lifecycle::{Act, Epoch, KeyHolding, Lifecycle, NotInForce, State, TransitionRefusal};
pub use node_act::{NodeAct, NodeTransitionRefusal};
