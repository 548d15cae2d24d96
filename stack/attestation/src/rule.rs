//! The attestation facet of an agent's record: which evidence may claim it.

use serde::{Deserialize, Serialize};
use wimse::WorkloadId;

use crate::selector::{Selector, Selectors};

/// The most nodes that one rule names.
pub const NODES_MAX: usize = 64;
/// The most selectors of one rule.
pub const RULE_SELECTORS_MAX: usize = 256;
/// Names of selectors whose value the process chooses itself: they tell agents of one user apart
/// that mean no harm, and prove nothing (decision 0017).
pub const FORGEABLE: &[&str] = &["unix:argv_script"];

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
    /// an empty set would be part of every other. Nor does one that only asks for what any process
    /// can say of itself.
    pub fn matches(&self, found: &Selectors) -> bool {
        self.proves() && self.selectors.all_in(found)
    }

    /// Whether any of its selectors is more than the word of the process.
    fn proves(&self) -> bool {
        self.selectors.iter().any(|selector| !FORGEABLE.contains(&selector.name()))
    }

    /// What is wrong with the rule itself.
    pub fn faults(&self) -> Result<(), RuleError> {
        if self.selectors.is_empty() {
            return Err(RuleError::NoSelectors);
        }
        if self.selectors.len() > RULE_SELECTORS_MAX {
            return Err(RuleError::TooManySelectors { count: self.selectors.len() });
        }
        if !self.proves() {
            return Err(RuleError::OnlyForgeable);
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
    /// Over [`RULE_SELECTORS_MAX`].
    #[error("{count} selectors in a rule, at most {RULE_SELECTORS_MAX} are allowed")]
    TooManySelectors {
        /// How many.
        count: usize,
    },
    /// Every process could say that of itself.
    #[error(
        "a rule needs a selector besides `{}`, which a process chooses itself; add `unix:uid:…`",
        FORGEABLE.join("`, `")
    )]
    OnlyForgeable,
    /// Over [`NODES_MAX`].
    #[error("{count} nodes in a rule, at most {NODES_MAX} are allowed")]
    TooManyNodes {
        /// How many.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(all: &[&str]) -> Selectors {
        Selectors::new(all.iter().map(|text| Selector::parse(text).unwrap())).unwrap()
    }

    fn rule(all: &[&str], nodes: &[&str]) -> Rule {
        let nodes = nodes.iter().map(|text| WorkloadId::parse(text).unwrap()).collect();
        Rule { selectors: selectors(all), nodes, class: CLASS_DEFAULT.to_owned() }
    }

    /// req: ATT-01 (part), ATT-07 (part)
    #[test]
    fn s7_a_process_matches_only_with_every_fact_that_is_demanded() {
        let check = |demanded: &[&str], found: &[&str], missing: &[&str]| {
            let (rule, found) = (rule(demanded, &[]), selectors(found));
            let lacks: Vec<_> = rule.missing_from(&found).map(Selector::as_str).collect();
            assert_eq!(lacks, missing);
            assert_eq!(rule.matches(&found), !demanded.is_empty() && missing.is_empty());
        };
        let both = ["unix:path:/opt/a", "unix:uid:1000"];
        check(&both, &both, &[]);
        check(&both, &["unix:gid:5", "unix:path:/opt/a", "unix:uid:1000"], &[]);
        check(&both, &["unix:uid:1000"], &["unix:path:/opt/a"]);
        check(&both, &[], &both);
        // A longer path, another user whose id begins alike.
        check(&both, &["unix:path:/opt/ab", "unix:uid:10001"], &both);
        // A rule that demands nothing would be every process.
        check(&[], &both, &[]);
        check(&[], &[], &[]);
    }

    #[test]
    fn s7_a_rule_may_name_its_nodes() {
        let (a, b) = ("spiffe://demo.example/aims/node/join_token/a", "spiffe://demo.example/b");
        let allows = |nodes: &[&str], node: &str| {
            rule(&["unix:uid:0"], nodes).allows_node(&WorkloadId::parse(node).unwrap())
        };
        assert!(allows(&[], a) && allows(&[a], a) && allows(&[b, a], a));
        assert!(!allows(&[b], a));
        assert!(!allows(&[a], "spiffe://other.example/aims/node/join_token/a"));
    }

    #[test]
    fn s7_a_rule_that_cannot_stand_is_refused() {
        assert_eq!(rule(&[], &[]).faults(), Err(RuleError::NoSelectors));
        let nodes: Vec<_> =
            (0..=NODES_MAX).map(|n| format!("spiffe://demo.example/n{n}")).collect();
        let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
        let many = rule(&["unix:uid:0"], &nodes).faults();
        assert_eq!(many, Err(RuleError::TooManyNodes { count: NODES_MAX + 1 }));
        assert_eq!(rule(&["unix:uid:0"], &nodes[1..]).faults(), Ok(()));
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_what_a_process_says_of_itself_is_never_enough() {
        let script = ["unix:argv_script:path:/opt/a.py", "unix:argv_script:sha256:00"];
        let found = selectors(&[script[0], script[1], "unix:uid:1000"]);
        for alone in [&script[..], &script[..1], &script[1..]] {
            assert_eq!(rule(alone, &[]).faults(), Err(RuleError::OnlyForgeable));
            assert!(!rule(alone, &[]).matches(&found), "{alone:?}");
        }
        let with = rule(&["unix:uid:1000", script[0]], &[]);
        assert_eq!((with.faults(), with.matches(&found)), (Ok(()), true));
        assert!(!with.matches(&selectors(&["unix:uid:1000"])));
    }

    #[test]
    fn s7_a_rule_has_a_bounded_number_of_selectors() {
        let many: Vec<_> = (0..=RULE_SELECTORS_MAX).map(|n| format!("unix:uid:{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let count = RULE_SELECTORS_MAX + 1;
        assert_eq!(rule(&many, &[]).faults(), Err(RuleError::TooManySelectors { count }));
        assert_eq!(rule(&many[1..], &[]).faults(), Ok(()));
    }

    #[test]
    fn s7_a_rule_in_a_document_has_a_class_and_nothing_unknown() {
        let read = serde_json::from_str::<Rule>;
        assert_eq!(read(r#"{"selectors":["unix:uid:0"]}"#).unwrap(), rule(&["unix:uid:0"], &[]));
        for bad in [
            r#"{"class":"standard"}"#,
            r#"{"selectors":["uid"]}"#,
            r#"{"selectors":["unix:uid:0"],"node":[]}"#,
            r#"{"selectors":["unix:uid:0"],"nodes":["https://a"]}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
