//! Attestation: evidence becomes a result that decides whether a credential is issued, which, and
//! with what in it (draft-klrc-aiagent-auth §7, held as S1 §7; roles after RFC 9334; requirements
//! ATT-01, ATT-02, ATT-12).
//!
//! In scope: the seam every mechanism fits ([`Mechanism`]), that of documents about an agent
//! ([`evidence`]), their pure halves, selectors, the verifier that makes one result of all of them,
//! the rule of an agent's record, and what policy demands. Not here: reading evidence from a kernel
//! or a socket (`edge/attestors`), and what is issued on a result (`provisioning`).

pub mod aibom;
pub mod aws_iid;
pub mod azure_imds;
pub mod background;
pub mod binding;
mod chain;
pub mod class;
pub mod confidential;
pub mod ear;
pub mod endorsement;
pub mod evidence;
pub mod http_challenge;
pub mod idevid;
pub mod issuer_keys;
pub mod join_token;
pub mod k8s_psat;
pub mod mechanism;
pub mod oidc;
pub mod operator;
pub mod platform_token;
pub mod policy;
pub mod provenance;
pub mod rule;
mod signer;
pub mod snp;
pub mod sshpop;
pub mod tdx;
pub mod tpm_devid;
pub mod verifier;
pub mod x509pop;

pub use mechanism::{Appraisal, Mechanism, Refusal};
pub use process::{cgroup, docker, form, kubernetes, script, selector, systemd, unix};
pub use rule::Rule;
pub use selector::{Selector, Selectors};
