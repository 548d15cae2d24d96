//! A compiled set of access rules.

use std::collections::HashMap;

use cedar_policy::{EntityTypeName, EntityUid, PolicyId, PolicySet};

use crate::compile::{self, PolicyFault};
use crate::question::{PrincipalKind, ResourceKind};
use crate::rule::{Effect, Rule};
use crate::shape::{Applies, Shapes};
use crate::slices::Slices;

/// Access rules that were parsed, checked against the schema and indexed.
#[derive(Debug, Clone)]
pub struct Access {
    pub(crate) names: Names,
    pub(crate) shapes: Shapes,
    /// By id.
    pub(crate) rules: HashMap<String, Rule>,
    /// By name of the action.
    pub(crate) actions: HashMap<String, Action>,
    /// All rules in one set; decisions are made on the slices.
    pub(crate) whole: PolicySet,
}

impl Access {
    /// Compiles files of rules, given as name and text. All faults are found, not the first alone.
    pub fn compile(files: &[(&str, &str)]) -> Result<Self, Vec<PolicyFault>> {
        compile::compile(files)
    }

    /// The rules, sorted by id.
    pub fn rules(&self) -> Vec<RuleInfo<'_>> {
        let mut rules: Vec<_> = self.rules.values().map(RuleInfo::of).collect();
        rules.sort_by_key(|rule| rule.id);
        rules
    }

    /// One rule as Cedar writes it.
    pub fn rule_text(&self, id: &str) -> Option<String> {
        self.whole.policy(&PolicyId::new(id)).map(ToString::to_string)
    }

    /// The rules as Cedar writes them.
    pub fn text(&self) -> String {
        self.whole.to_string()
    }
}

/// What to tell a person of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleInfo<'a> {
    pub id: &'a str,
    pub effect: Effect,
    pub file: &'a str,
    /// Counted from 1.
    pub line: usize,
    pub reason: Option<&'a str>,
    pub needs: Option<&'a str>,
}

impl<'a> RuleInfo<'a> {
    fn of(rule: &'a Rule) -> Self {
        Self {
            id: &rule.id,
            effect: rule.effect,
            file: &rule.file,
            line: rule.line,
            reason: rule.reason.as_deref(),
            needs: rule.needs.as_deref(),
        }
    }
}

/// An action of the schema.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) uid: EntityUid,
    pub(crate) applies: Applies,
    pub(crate) slices: Slices,
}

/// The schema's names of our kinds, parsed once.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) principals: HashMap<PrincipalKind, EntityTypeName>,
    pub(crate) resources: HashMap<ResourceKind, EntityTypeName>,
}
