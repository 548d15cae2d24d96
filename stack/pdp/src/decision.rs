//! The answer: a permit, or a denial with its reasons.

use std::fmt;

use authentication::session::Acr;
use serde::Serialize;

use crate::question::{PrincipalKind, Question, ResourceKind};
use crate::rule::{Obligation, PolicyVersion, Rule};
use crate::shape::FactKind;

/// What the decision point says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Permit(Permit),
    Deny(Denial),
}

impl Decision {
    /// The decision with the duties gone that were done before: what a human approved, and how the
    /// user authenticated. All others stay.
    #[must_use]
    pub fn after(self, approved: bool, acr: Option<&str>) -> Self {
        let Self::Permit(mut permit) = self else { return self };
        permit.obligations.retain(|obligation| match obligation {
            Obligation::Approval => !approved,
            Obligation::StepUp(wanted) => !acr.is_some_and(|found| satisfies(found, wanted)),
            _ => true,
        });
        Self::Permit(permit)
    }

    /// The decision for who can meet no obligation: a permit with one is a denial.
    #[must_use]
    pub fn without_obligations(self) -> Self {
        let permit = match self {
            Self::Permit(permit) if !permit.obligations.is_empty() => permit,
            decided => return decided,
        };
        let needs = sorted(permit.obligations.iter().map(|one| format!("`{one}`")));
        let Permit { principal, action, resource, version, obligations, .. } = permit;
        let (rules, reasons, errors) = (Vec::new(), Vec::new(), Vec::new());
        let unmet = obligations;
        Self::Deny(Denial {
            principal,
            action,
            resource,
            rules,
            reasons,
            needs,
            errors,
            unmet,
            version,
        })
    }
}

/// Proof that a policy permits one action of one principal on one resource.
///
/// Made only by [`Pdp::decide`](crate::Pdp::decide).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permit {
    principal: String,
    action: String,
    resource: String,
    rules: Vec<String>,
    obligations: Vec<Obligation>,
    version: PolicyVersion,
}

impl Permit {
    /// INVARIANT: called by `Pdp::decide` alone, when a rule permitted, none forbade, none failed.
    pub(crate) fn new(question: &Question, rules: &[&Rule], version: &PolicyVersion) -> Self {
        // Each rule that permits adds its duties: a wide rule does not lift those of a narrow one.
        let mut obligations: Vec<_> =
            rules.iter().flat_map(|rule| rule.obligations.iter().cloned()).collect();
        obligations.sort();
        obligations.dedup();
        Self {
            principal: question.principal.id.clone(),
            action: question.action.clone(),
            resource: question.resource.id.clone(),
            rules: sorted(rules.iter().map(|rule| rule.id.clone())),
            obligations,
            version: version.clone(),
        }
    }

    /// Id of who may act.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// Name of what they may do.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Id of what they may do it to.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Ids of the rules that permit it, sorted; at least one.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }

    /// What must be done for the permit to hold.
    pub fn obligations(&self) -> &[Obligation] {
        &self.obligations
    }

    /// The policy set it was decided under.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }
}

/// Why nothing is permitted. Its text is for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denial {
    pub principal: String,
    pub action: String,
    pub resource: String,
    /// Ids of the rules that forbid it, sorted; empty when none does.
    pub rules: Vec<String>,
    /// What those rules say, in words.
    pub reasons: Vec<String>,
    /// What would be needed, in the words of the rules that came nearest to permitting it.
    pub needs: Vec<String>,
    /// What went wrong; then nothing is permitted, whatever the other rules say.
    pub errors: Vec<Fault>,
    /// The duties that it would be permitted with, and that were not done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<Obligation>,
    pub version: PolicyVersion,
}

impl Denial {
    pub(crate) fn new(question: &Question, version: &PolicyVersion) -> Self {
        Self {
            principal: question.principal.id.clone(),
            action: question.action.clone(),
            resource: question.resource.id.clone(),
            rules: Vec::new(),
            reasons: Vec::new(),
            needs: Vec::new(),
            errors: Vec::new(),
            unmet: Vec::new(),
            version: version.clone(),
        }
    }

    pub(crate) fn forbidden(self, rules: &[&Rule]) -> Self {
        Self {
            rules: sorted(rules.iter().map(|rule| rule.id.clone())),
            reasons: sorted(rules.iter().filter_map(|rule| rule.reason.clone())),
            ..self
        }
    }

    pub(crate) fn needing<'r>(self, rules: impl Iterator<Item = &'r Rule>) -> Self {
        Self { needs: sorted(rules.filter_map(|rule| rule.needs.clone())), ..self }
    }

    pub(crate) fn failed(self, mut errors: Vec<Fault>) -> Self {
        errors.sort_by_key(ToString::to_string);
        Self { errors, ..self }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, resource, version, .. } = self;
        if !self.rules.is_empty() {
            write!(f, "`{action}` on `{resource}` is forbidden by `{}`", self.rules.join("`, `"))?;
            if !self.reasons.is_empty() {
                write!(f, ": {}", self.reasons.join("; "))?;
            }
            return write!(f, " (policy {version})");
        }
        if let Some(error) = self.errors.first() {
            return write!(
                f,
                "`{action}` on `{resource}` could not be decided: {error} (policy {version})"
            );
        }
        if self.needs.is_empty() {
            return write!(f, "no rule of policy {version} permits `{action}` on `{resource}`");
        }
        write!(f, "`{action}` on `{resource}` needs {}", self.needs.join("; or "))?;
        write!(f, " (policy {version})")
    }
}

/// What can go wrong inside a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    #[error("there is no action `{action}`")]
    UnknownAction { action: String },
    #[error("`{action}` is no action of `{}` on `{}`", principal.name(), resource.name())]
    NotApplicable { action: String, principal: PrincipalKind, resource: ResourceKind },
    #[error("`{name}` of {of} is missing")]
    MissingFact { of: &'static str, name: String },
    #[error("{of} has no `{name}`")]
    UnknownFact { of: &'static str, name: String },
    #[error("`{name}` of {of} is not {expected}")]
    FactKind { of: &'static str, name: String, expected: FactKind },
    /// Facts that the engine refused although they fit: a defect of the program.
    #[error("the facts could not be read: {reason}")]
    Facts { reason: String },
    #[error("`{resource}` is not in the audience that it is said to be in")]
    Misplaced { resource: String },
    #[error("`{name}` of {bytes} bytes is longer than {max}")]
    TooLong { name: String, bytes: usize, max: usize },
    #[error("more than {max} facts")]
    TooManyFacts { max: usize },
    #[error("rule `{rule}` failed: {reason}")]
    Rule { rule: String, reason: String },
}

/// Whether who authenticated as `found` satisfies who asks for `wanted`: a stronger class does, and
/// a class that is not known is satisfied by itself alone.
fn satisfies(found: &str, wanted: &str) -> bool {
    match (Acr::parse(found), Acr::parse(wanted)) {
        (Some(found), Some(wanted)) => found.satisfies(wanted),
        _ => found == wanted,
    }
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<_> = texts.collect();
    texts.sort();
    texts.dedup();
    texts
}
