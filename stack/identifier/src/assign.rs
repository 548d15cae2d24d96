//! Giving an agent its one identifier.

use serde::{Deserialize, Serialize};
use spiffe::{SpiffeId, TrustDomain};
use time::UnixTime;
use wimse::WorkloadId;

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

/// Gives `name` its identifier in our trust domain. `taken` is what the registry knows of the name
/// and of the identifier, living or tombstone.
///
/// wimse-identifier §4.5: an identifier "SHOULD NOT be reassigned"; the catalogue makes it never.
pub fn assign(
    domain: &TrustDomain,
    kind: Kind,
    name: AgentName,
    taken: Option<&Assignment>,
    now: UnixTime,
) -> Result<Assignment, AssignRefusal> {
    if let Some(taken) = taken {
        return Err(AssignRefusal::Taken { name, id: taken.id.clone(), since: taken.assigned });
    }
    let text = format!("spiffe://{domain}/{}/{name}", kind.segment());
    let id = SpiffeId::parse(&text).map_err(|_| AssignRefusal::TooLong { text })?;
    Ok(Assignment { name, id: WorkloadId::Spiffe(id), assigned: now })
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

    fn name(text: &str) -> AgentName {
        AgentName::parse(text).unwrap()
    }

    /// req: ID-03 (part), ID-06 (part)
    #[test]
    fn s5_a_name_gets_one_identifier_and_never_a_second() {
        let domain = TrustDomain::parse("demo.example").unwrap();
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
        for domain in ["demo.example", "demo.example.org", "other.example"] {
            for kind in [Kind::Agent, Kind::Service] {
                for text in ["invoice", "invoice-2", "agent", "service"] {
                    let domain = TrustDomain::parse(domain).unwrap();
                    let made = assign(&domain, kind, name(text), None, UnixTime::EPOCH).unwrap();
                    assert!(seen.insert(made.id.to_string()), "{} twice", made.id);
                    assert!(made.id.path().starts_with(&format!("/{}/", kind.segment())));
                }
            }
        }
        assert_eq!(seen.len(), 24);
    }

    /// The longest name in the longest trust domain still is an identifier: no operator is told of
    /// a bound that no name can reach.
    #[test]
    fn s5_every_name_fits_into_every_trust_domain() {
        let domain = TrustDomain::parse(&format!("{}.example", "a".repeat(247))).unwrap();
        let long = name(&"n".repeat(63));
        let made = assign(&domain, Kind::Service, long.clone(), None, UnixTime::EPOCH).unwrap();
        assert_eq!(made.id.to_string(), format!("spiffe://{domain}/service/{long}"));
    }

    proptest::proptest! {
        /// req: ID-02 (part)
        #[test]
        fn s5_whatever_is_a_name_makes_an_identifier_that_reads_as_itself(text in "\\PC{0,70}") {
            let Ok(name) = AgentName::parse(&text) else { return Ok(()) };
            let domain = TrustDomain::parse("demo.example").unwrap();
            let made = assign(&domain, Kind::Agent, name, None, UnixTime::EPOCH).unwrap();
            proptest::prop_assert_eq!(WorkloadId::parse(made.id.as_str()), Ok(made.id));
        }
    }
}
