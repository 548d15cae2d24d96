//! The policy decision point: who may do what (box AUTHZ, draft §10). Deny by default, with
//! reasons.
//!
//! In scope: access rules in [Cedar](https://docs.cedarpolicy.com) under our own schema
//! ([`SCHEMA`]), compiled once ([`Access`]), and one decision from the facts in a [`Question`].
//! Not here: gathering the facts (`flow`), HTTP (`edge/api`), enforcing (`stack/gateway`), the
//! other parts of a policy set (`stack/policy`).
//!
//! Trusting this crate means: a [`Permit`] exists only where a rule permitted and no rule forbade
//! or failed. An attacker who can change rules can permit anything; one who can choose the facts
//! of a question can choose its answer.

mod access;
mod compile;
mod decide;
mod decision;
mod question;
mod rule;
mod sanction;
mod shape;
mod slices;
mod unmatched;
mod wire;

pub use access::{Access, RuleInfo};
pub use compile::PolicyFault;
pub use decide::Pdp;
pub use decision::{Decision, Denial, Fault, Permit};
pub use question::{
    Circumstances, Fact, Facts, Principal, PrincipalKind, Question, Resource, ResourceKind,
};
pub use rule::{Effect, Obligation, PolicyVersion, VersionFault};
pub use sanction::Permitted;
pub use shape::FactKind;
pub use unmatched::{Named, Unmatched};
pub use wire::{ACTS, ARGUMENTS, Asked, Misfit, RELEVANT, What};

/// The schema that rules are checked against, in Cedar's own notation.
pub const SCHEMA: &str = include_str!("aims.cedarschema");

/// Largest file of rules, in bytes.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most rules in a policy set.
pub const RULES_MAX: usize = 20_000;
/// Longest `@id` of a rule, in bytes.
pub const RULE_ID_BYTES_MAX: usize = 128;
/// Longest other annotation of a rule, in bytes.
pub const ANNOTATION_BYTES_MAX: usize = 512;
/// Longest id or text among the facts of a question, in bytes.
pub const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Most facts, and most values in a set, of a question.
pub const FACTS_MAX: usize = 1_024;
