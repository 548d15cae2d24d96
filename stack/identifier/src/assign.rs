//! Giving an agent its one identifier.

use serde::{Deserialize, Serialize};
use time::UnixTime;
use wimse::{Origin, WorkloadId};

use crate::name::AgentName;

/// What stands behind an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Directed by a language model: holds no key unless its record says so (SEC-04).
    Agent,
    /// A workload without one: a batch job, a tool server.
    Service,
}

impl Kind {
    /// The first segment of its identifier's path.
    pub const fn segment(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Service => "service",
        }
    }
}

/// A name that was taken, for good: what a registry keeps even after the agent is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The name.
    pub name: AgentName,
    /// The identifier made of it.
    pub id: WorkloadId,
    /// When.
    pub assigned: UnixTime,
}

/// Gives `name` its identifier in our origin: trust domain and scheme. `taken` is what the registry
/// knows of the name and of the identifier, living or tombstone.
///
/// wimse-identifier §4.5: an identifier "SHOULD NOT be reassigned"; the catalogue makes it never.
pub fn assign(
    origin: &Origin,
    kind: Kind,
    name: AgentName,
    taken: Option<&Assignment>,
    now: UnixTime,
) -> Result<Assignment, AssignRefusal> {
    if let Some(taken) = taken {
        return Err(AssignRefusal::Taken { name, id: taken.id.clone(), since: taken.assigned });
    }
    let path = format!("/{}/{name}", kind.segment());
    let too_long = |_| AssignRefusal::TooLong { text: format!("{origin}{path}") };
    let id = origin.workload(&path).map_err(too_long)?;
    Ok(Assignment { name, id, assigned: now })
}

/// Why no identifier was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignRefusal {
    /// S1 §5: an agent has exactly one identifier, and an identifier one agent, for ever.
    #[error("`{name}` has the identifier `{id}` since {since}; it is never given out again")]
    Taken {
        /// The name asked for.
        name: AgentName,
        /// What it is taken by.
        id: WorkloadId,
        /// Since when.
        since: UnixTime,
    },
    /// Trust domain and name together are over the bound of an identifier.
    #[error("`{text}` is too long for an identifier")]
    TooLong {
        /// What it would have been.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    fn name(text: &str) -> AgentName {
        AgentName::parse(text).unwrap()
    }

    /// req: ID-03 (part), ID-06 (part)
    #[test]
    fn s5_a_name_gets_one_identifier_and_never_a_second() {
        let domain = origin("spiffe://demo.example");
        let now = UnixTime::from_seconds(7);
        let first = assign(&domain, Kind::Agent, name("invoice"), None, now).unwrap();
        assert_eq!(first.id.to_string(), "spiffe://demo.example/agent/invoice");
        for kind in [Kind::Agent, Kind::Service] {
            let again = assign(&domain, kind, name("invoice"), Some(&first), now);
            let id = first.id.clone();
            assert_eq!(again, Err(AssignRefusal::Taken { name: name("invoice"), id, since: now }));
        }
    }

    /// The kind is part of the identifier: an agent is never taken for a service of its name.
    /// req: ID-01 (part)
    #[test]
    fn s5_two_records_never_share_an_identifier() {
        let mut seen = std::collections::BTreeSet::new();
        for domain in [
            "spiffe://demo.example",
            "spiffe://demo.example.org",
            "spiffe://other.example",
            "wimse://demo.example",
        ] {
            for kind in [Kind::Agent, Kind::Service] {
                for text in ["invoice", "invoice-2", "agent", "service"] {
                    let domain = origin(domain);
                    let made = assign(&domain, kind, name(text), None, UnixTime::EPOCH).unwrap();
                    assert!(seen.insert(made.id.to_string()), "{} twice", made.id);
                    assert!(made.id.path().starts_with(&format!("/{}/", kind.segment())));
                }
            }
        }
        assert_eq!(seen.len(), 32);
    }

    /// The longest name in the longest trust domain still is an identifier: no operator is told of
    /// a bound that no name can reach.
    #[test]
    fn s5_every_name_fits_into_every_trust_domain() {
        let domain = origin(&format!("spiffe://{}.example", "a".repeat(247)));
        let long = name(&"n".repeat(63));
        let made = assign(&domain, Kind::Service, long.clone(), None, UnixTime::EPOCH).unwrap();
        assert_eq!(made.id.to_string(), format!("{domain}/service/{long}"));
    }

    proptest::proptest! {
        /// req: ID-02 (part)
        #[test]
        fn s5_whatever_is_a_name_makes_an_identifier_that_reads_as_itself(text in "\\PC{0,70}") {
            let Ok(name) = AgentName::parse(&text) else { return Ok(()) };
            for scheme in ["spiffe", "wimse"] {
                let (domain, now) = (origin(&format!("{scheme}://demo.example")), UnixTime::EPOCH);
                let made = assign(&domain, Kind::Agent, name.clone(), None, now).unwrap();
                proptest::prop_assert_eq!(WorkloadId::parse(made.id.as_str()), Ok(made.id));
            }
        }
    }
}
