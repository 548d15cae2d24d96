//! Whether a credential is issued, which kind and for how long: evidence decides
//! (S1 §7 "Agent Attestation", §8; ATT-01, PROV-03).

use attestation::policy::RiskClass;
use attestation::{Rule, Selectors};
use credential::policy::Lifetimes;
use serde::{Deserialize, Serialize};
use time::Span;
use wimse::WorkloadId;

use crate::lifecycle::{Lifecycle, NotInForce};

/// A kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// X.509-SVID.
    X509,
    /// Workload identity token.
    Wit,
    /// JWT-SVID: bearer.
    Jwt,
}

impl CredentialKind {
    /// The name in policy, records and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Wit => "wit",
            Self::Jwt => "jwt",
        }
    }

    /// The longest life that the domain gives it.
    pub const fn longest(self, lifetimes: &Lifetimes) -> Span {
        match self {
            Self::X509 => lifetimes.x509_svid,
            Self::Wit => lifetimes.wit,
            Self::Jwt => lifetimes.jwt_svid,
        }
    }
}

/// What is asked, and the facts it is decided by.
#[derive(Debug)]
pub struct Demand<'a> {
    /// The kind asked for.
    pub kind: CredentialKind,
    /// The node that measured.
    pub node: &'a WorkloadId,
    /// What it measured, now.
    pub found: &'a Selectors,
    /// The rule of the agent's record.
    pub rule: &'a Rule,
    /// The agent's standing.
    pub lifecycle: &'a Lifecycle,
    /// What policy says of the agent's risk class.
    pub class: &'a RiskClass,
    /// The domain's lifetimes.
    pub lifetimes: &'a Lifetimes,
}

impl Demand<'_> {
    /// The life that the credential gets, or why there is none.
    pub fn decide(&self) -> Result<Span, IssueRefusal> {
        self.lifecycle.is_active()?;
        if !self.rule.allows_node(self.node) {
            return Err(IssueRefusal::Node { node: self.node.clone() });
        }
        let missing: Vec<_> = self.rule.missing_from(self.found).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(IssueRefusal::Evidence { missing });
        }
        if let Some(name) = self.class.undemanded(&self.rule.selectors) {
            return Err(IssueRefusal::RuleTooWeak { name });
        }
        let Some(bound) = self.class.issues(self.kind.name()) else {
            return Err(IssueRefusal::Kind { kind: self.kind.name() });
        };
        Ok(bound.map_or(self.kind.longest(self.lifetimes), |bound| {
            bound.min(self.kind.longest(self.lifetimes))
        }))
    }
}

/// Why no credential is issued: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueRefusal {
    /// The agent is suspended, revoked or retired.
    #[error(transparent)]
    NotInForce(#[from] NotInForce),
    /// Another node than the record allows.
    #[error("the record does not allow the node `{node}`")]
    Node {
        /// The node that asked.
        node: WorkloadId,
    },
    /// The process lacks facts that the record's rule demands.
    #[error("the process lacks {}", .missing.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", "))]
    Evidence {
        /// The selectors of the rule that were not found.
        missing: Vec<String>,
    },
    /// The record's rule is weaker than policy demands of its risk class.
    #[error("the record's rule has no `{name}` selector, which policy demands of its risk class")]
    RuleTooWeak {
        /// The selector name that policy demands.
        name: String,
    },
    /// Policy gives the risk class no such credential.
    #[error("policy issues no `{kind}` credential to this risk class")]
    Kind {
        /// The kind asked for.
        kind: &'static str,
    },
}
