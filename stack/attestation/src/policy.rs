//! The attestation box's own policy: `attestation.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::Span;

use crate::mechanism::ALL;
use crate::selector::Selectors;

/// Which evidence, for whom, and what it may lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How hosts and gateways may join, by mechanism name.
    pub node: BTreeMap<String, NodeRule>,
    /// The risk classes of agents, by name.
    pub class: BTreeMap<String, RiskClass>,
}

/// What a host may join by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeRule {
    /// PEM certificates of the authorities that vouch, for mechanisms that need some.
    pub anchors: String,
}

/// What policy demands of agents of a class, and gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskClass {
    /// Selector names that a rule of this class must have: `unix:path`, `unix:sha256`.
    pub demands: Vec<String>,
    /// The credential kinds that it gets: `x509`, `wit`, `jwt`.
    pub issues: Vec<String>,
    /// An upper bound on their life, in seconds, below that of the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_max: Option<Span>,
}

/// The credential kinds that a class may name.
pub const KINDS: [&str; 3] = ["x509", "wit", "jwt"];

impl RiskClass {
    /// The first selector name that is demanded and that the rule's selectors lack.
    pub fn undemanded(&self, rule: &Selectors) -> Option<String> {
        let has = |name: &String| rule.iter().any(|selector| selector.name() == name);
        self.demands.iter().find(|name| !has(name)).cloned()
    }

    /// `None` when the kind is not issued; else the bound on its life, if there is one.
    pub fn issues(&self, kind: &str) -> Option<Option<Span>> {
        self.issues.iter().any(|one| one == kind).then_some(self.lifetime_max)
    }
}

impl Policy {
    /// What is wrong, as the key concerned and what to do.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for name in self.node.keys().filter(|name| ALL.iter().all(|one| one.name() != *name)) {
            let known: Vec<_> = ALL.iter().map(|one| one.name()).collect();
            let message = format!("no mechanism `{name}`; known are {}", known.join(", "));
            faults.push((format!("node.{name}"), message));
        }
        for (name, class) in &self.class {
            for kind in class.issues.iter().filter(|kind| !KINDS.contains(&kind.as_str())) {
                let message = format!("no credential `{kind}`; known are {}", KINDS.join(", "));
                faults.push((format!("class.{name}.issues"), message));
            }
        }
        faults
    }
}
