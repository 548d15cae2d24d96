//! The attestation facet of an agent's record: which evidence may claim it.

use serde::{Deserialize, Serialize};
use wimse::WorkloadId;

use crate::selector::{Selector, Selectors};

/// The most nodes that one rule names.
pub const NODES_MAX: usize = 64;

/// What a process must be, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Facts that a process must have, all of them.
    pub selectors: Selectors,
    /// The nodes that may measure it; none named: every node of the domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<WorkloadId>,
    /// Its risk class in `attestation.toml`.
    #[serde(default = "standard")]
    pub class: String,
}

/// The risk class of a record that names none.
pub const CLASS_DEFAULT: &str = "standard";

fn standard() -> String {
    CLASS_DEFAULT.to_owned()
}

impl Rule {
    /// Whether this node may host the agent.
    pub fn allows_node(&self, node: &WorkloadId) -> bool {
        self.nodes.is_empty() || self.nodes.contains(node)
    }

    /// The demanded selectors that `found` lacks.
    pub fn missing_from<'a>(&'a self, found: &Selectors) -> impl Iterator<Item = &'a Selector> {
        let found: std::collections::BTreeSet<_> = found.iter().cloned().collect();
        self.selectors.iter().filter(move |demanded| !found.contains(*demanded))
    }

    /// Whether a process with these facts is this agent. A rule without selectors matches nothing:
    /// an empty set would be part of every other.
    pub fn matches(&self, found: &Selectors) -> bool {
        !self.selectors.is_empty() && self.selectors.all_in(found)
    }

    /// What is wrong with the rule itself.
    pub fn faults(&self) -> Result<(), RuleError> {
        if self.selectors.is_empty() {
            return Err(RuleError::NoSelectors);
        }
        if self.nodes.len() > NODES_MAX {
            return Err(RuleError::TooManyNodes { count: self.nodes.len() });
        }
        Ok(())
    }
}

/// A rule that cannot stand in a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It would match every process.
    #[error("a rule needs at least one selector, such as `unix:uid:1000`")]
    NoSelectors,
    /// Over [`NODES_MAX`].
    #[error("{count} nodes in a rule, at most {NODES_MAX} are allowed")]
    TooManyNodes {
        /// How many.
        count: usize,
    },
}
