//! Which identifiers a rule means (wimse-identifier §7.6): one, or everything below one, by whole
//! segments, in one origin.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::workload_id::{Origin, WorkloadId, WorkloadIdError};

/// What follows the root of a pattern that means everything below it.
const BELOW: &str = "/*";

/// A rule about identifiers, as policy writes it.
///
/// wimse-identifier §7.6: "Consumers SHOULD NOT interpret Workload Identifiers using wildcard or
/// prefix matching unless explicitly specified by policy." So a bare identifier means itself alone,
/// and the wildcard is written out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// `wimse://trust.example/service/pay`: this identifier.
    Exactly(WorkloadId),
    /// `wimse://trust.example/service/pay/*`: what has these and more segments, in this origin.
    Below(WorkloadId),
    /// `wimse://trust.example/*`: every workload of this origin.
    Everything(Origin),
}

impl Pattern {
    /// Reads an identifier, or an identifier or origin with `/*` behind it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let Some(root) = text.strip_suffix(BELOW) else {
            return Ok(Self::Exactly(WorkloadId::parse(text)?));
        };
        if let Ok(origin) = Origin::parse(root) {
            return Ok(Self::Everything(origin));
        }
        Ok(Self::Below(WorkloadId::parse(root)?))
    }

    /// Whether the rule means this identifier.
    pub fn matches(&self, id: &WorkloadId) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == id,
            Self::Below(root) => {
                let mut segments = id.segments();
                root.origin() == id.origin()
                    && root.segments().all(|segment| segments.next() == Some(segment))
                    && segments.next().is_some()
            }
            // A SPIFFE ID without path names the trust domain, which is no workload.
            Self::Everything(origin) => *origin == id.origin() && !id.path().is_empty(),
        }
    }
}

impl WorkloadId {
    /// Whether a rule means this identifier: by whole segments, in the origin of the rule.
    pub fn matches_prefix(&self, pattern: &Pattern) -> bool {
        pattern.matches(self)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(id) => write!(f, "{id}"),
            Self::Below(root) => write!(f, "{root}{BELOW}"),
            Self::Everything(origin) => write!(f, "{origin}{BELOW}"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Neither with nor without the wildcard at its end.
    #[error("no identifier before the wildcard: {0}")]
    Identifier(#[from] WorkloadIdError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published counterexamples, each with the answer that is right.
    ///
    /// req: ID-02 (part)
    #[test]
    fn wimse_identifier_7_6_patterns_match_whole_segments_of_one_origin() {
        for (pattern, id, expect) in [
            // sibling suffix
            ("wimse://trust.example/service/pay/*", "wimse://trust.example/service/pay/w", true),
            ("wimse://trust.example/service/pay/*", "wimse://trust.example/service/pay/w/1", true),
            (
                "wimse://trust.example/service/pay/*",
                "wimse://trust.example/service/payroll-attacker",
                false,
            ),
            ("wimse://trust.example/service/pay/*", "wimse://trust.example/service/pay", false),
            ("wimse://trust.example/service/pay/*", "wimse://trust.example/service", false),
            // origin substitution
            (
                "wimse://trust.example/service/pay/*",
                "wimse://attacker.example/service/pay/worker",
                false,
            ),
            (
                "wimse://trust.example/service/pay/*",
                "spiffe://trust.example/service/pay/worker",
                false,
            ),
            // not enabled: no wildcard, no hierarchy
            ("wimse://trust.example/service/pay", "wimse://trust.example/service/pay", true),
            ("wimse://trust.example/service/pay", "wimse://trust.example/service/pay/w", false),
            // an empty policy means nothing, a written grant of the origin means all of it
            ("spiffe://trust.example", "spiffe://trust.example/service/pay/worker", false),
            ("spiffe://trust.example/*", "spiffe://trust.example/service/pay/worker", true),
            ("wimse://trust.example/*", "wimse://trust.example/service/pay/worker", true),
            ("wimse://trust.example/*", "wimse://trust.example.attacker.example/s", false),
            ("wimse://trust.example/*", "spiffe://trust.example/service/pay", false),
            ("spiffe://trust.example/*", "spiffe://trust.example", false),
            // case counts
            ("wimse://trust.example/a/*", "wimse://trust.example/A/b", false),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            let id = WorkloadId::parse(id).unwrap();
            assert_eq!(id.matches_prefix(&pattern), expect, "{pattern} {id}");
            let json = serde_json::to_string(&pattern).unwrap();
            assert_eq!(serde_json::from_str::<Pattern>(&json).unwrap(), pattern);
        }
    }

    #[test]
    fn wimse_identifier_7_6_other_wildcards_are_no_patterns() {
        for text in [
            "",
            "*",
            "/*",
            "wimse://trust.example",
            "wimse://trust.example/",
            "wimse://*/service/*",
            "wimse://trust.example/service/pay*",
            "wimse://trust.example/*/pay",
            "wimse://trust.example/service/*/*",
            "wimse://trust.example//*",
            "wimse://trust.example/service/pay/../*",
            "wimse://trust.example/service/%70ay/*",
            "spiffe://trust.example/**",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
