//! What would change: the plan that is shown before a set is applied.

use std::collections::BTreeMap;
use std::fmt;

use crate::compile::PolicySet;

/// One thing that would change.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Difference {
    /// It is new.
    Added {
        /// What: `rule read-invoices`, `resource invoices`.
        what: String,
    },
    /// It is gone.
    Removed {
        /// What.
        what: String,
    },
    /// It reads otherwise.
    Changed {
        /// What.
        what: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { what } => write!(f, "+ {what}"),
            Self::Removed { what } => write!(f, "- {what}"),
            Self::Changed { what } => write!(f, "~ {what}"),
        }
    }
}

/// What differs from `old` in `new`, rules and resources by name, the rest by file.
pub fn difference(old: Option<&PolicySet>, new: &PolicySet) -> Vec<Difference> {
    let before = old.map(parts).unwrap_or_default();
    let after = parts(new);
    let removed = before
        .keys()
        .filter(|what| !after.contains_key(*what))
        .map(|what| Difference::Removed { what: what.clone() });
    let rest = after.iter().filter_map(|(what, text)| match before.get(what) {
        None => Some(Difference::Added { what: what.clone() }),
        Some(earlier) if earlier != text => Some(Difference::Changed { what: what.clone() }),
        Some(_) => None,
    });
    removed.chain(rest).collect()
}

/// The named parts of a set, each with a text to compare.
fn parts(set: &PolicySet) -> BTreeMap<String, String> {
    let access = set.pdp().access();
    let rules = access
        .rules()
        .into_iter()
        .map(|rule| (format!("rule {}", rule.id), access.rule_text(rule.id).unwrap_or_default()));
    let resources =
        set.resources().iter().map(|one| (format!("resource {}", one.name), format!("{one:?}")));
    let agents = set.agents().iter().map(|one| (format!("agent {}", one.name), format!("{one:?}")));
    let federation = set
        .federation()
        .iter()
        .map(|one| (format!("federation {}", one.trust_domain), format!("{one:?}")));
    let single = [
        ("domain".to_owned(), format!("{:?}", set.domain())),
        ("attestation".to_owned(), format!("{:?}", set.attestation())),
    ];
    // What is cut does not come back: the plan says it in full.
    let keep = set.domain().audit.keep;
    let keep = keep.map(|keep| format!("records kept {} seconds, then cut", keep.seconds()));
    let keep = keep.map(|what| (what, String::new()));
    rules.chain(resources).chain(agents).chain(federation).chain(single).chain(keep).collect()
}
