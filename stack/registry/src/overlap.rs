//! Records whose rules overlap: a process that matches several gets no identity (docs/design.md §3,
//! "One process, one agent"), so the broader of two such records stands in the way of the other.
//!
//! In scope: rules of which one contains the other, or that are equal. Not here: rules that some
//! process happens to match both of, which nobody can tell from the rules.

use std::collections::BTreeMap;

use attestation::{Rule, Selector, form};
use identifier::AgentName;

use crate::Registration;

/// Two records that a process matches both of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Each process of this record …
    pub narrow: AgentName,
    /// … is one of this.
    pub broad: AgentName,
    /// And the other way round.
    pub are_equal: bool,
}

impl Overlap {
    /// Whether each process of one record is one of the other.
    pub fn of(one: &Registration, other: &Registration) -> Option<Self> {
        let (within, around) = (covers(&other.rule, &one.rule), covers(&one.rule, &other.rule));
        let (narrow, broad) = if within { (one, other) } else { (other, one) };
        let (narrow, broad) = (narrow.name.clone(), broad.name.clone());
        (within || around).then_some(Self { narrow, broad, are_equal: within && around })
    }

    /// All there are among these.
    pub fn among<'a>(all: impl IntoIterator<Item = &'a Registration>) -> Vec<Self> {
        let all: Vec<_> = all.into_iter().collect();
        let mut by_first: BTreeMap<&Selector, Vec<&Registration>> = BTreeMap::new();
        for one in &all {
            if let Some(first) = one.rule.selectors.iter().next() {
                by_first.entry(first).or_default().push(one);
            }
        }
        let mut found = Vec::new();
        for narrow in &all {
            // What a broader rule begins with is among the selectors of the narrower.
            let broader = narrow.rule.selectors.iter().filter_map(|one| by_first.get(one));
            for broad in broader.flatten().filter(|broad| broad.name != narrow.name) {
                let overlap = Self::of(narrow, broad);
                // Two that are equal are found from both sides.
                let is_new = |overlap: &Self| {
                    overlap.broad == broad.name && (!overlap.are_equal || narrow.name < broad.name)
                };
                found.extend(overlap.filter(is_new));
            }
        }
        found
    }
}

/// Whether each process that is `narrow` is `broad`, too, on some node.
fn covers(broad: &Rule, narrow: &Rule) -> bool {
    // A rule that asks for what no process has is no process's: its agents enrol by their name.
    let is_of_processes =
        narrow.selectors.iter().all(|selector| form::KINDS.contains(&selector.kind()));
    // A node has the records alone that may run on it.
    let share_nodes = broad.nodes.is_empty()
        || narrow.nodes.is_empty()
        || broad.nodes.iter().any(|node| narrow.nodes.contains(node));
    is_of_processes
        && share_nodes
        && !broad.selectors.is_empty()
        && broad.selectors.all_in(&narrow.selectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [&str; 2] = ["spiffe://demo.example/n1", "spiffe://demo.example/n2"];

    fn entry(name: &str, selectors: &[&str], nodes: &[&str]) -> Registration {
        serde_json::from_value(serde_json::json!({
            "name": name, "kind": "agent", "owner": "ada",
            "rule": { "selectors": selectors, "nodes": nodes },
        }))
        .unwrap()
    }

    fn overlap(narrow: &str, broad: &str, are_equal: bool) -> Overlap {
        let name = |text: &str| AgentName::parse(text).unwrap();
        Overlap { narrow: name(narrow), broad: name(broad), are_equal }
    }

    /// req: ATT-01 (part)
    #[test]
    fn s7_one_rule_within_another_is_found() {
        let node = ["unix:path:/bin/node", "unix:uid:7"];
        let a = ["unix:path:/bin/node", "unix:uid:7", "unix:argv_script:path:/a.mjs"];
        let b = ["unix:path:/bin/node", "unix:uid:7", "unix:argv_script:path:/b.mjs"];
        let check = |one: &Registration, other: &Registration, expect: Option<Overlap>| {
            assert_eq!(Overlap::of(one, other), expect);
            let found = Overlap::among([one, other]);
            assert_eq!(found, expect.into_iter().collect::<Vec<_>>());
        };
        let any = entry("any", &node, &[]);
        check(&entry("one", &a, &[]), &any, Some(overlap("one", "any", false)));
        check(&any, &entry("one", &a, &[]), Some(overlap("one", "any", false)));
        check(&any, &entry("same", &node, &[]), Some(overlap("any", "same", true)));
        check(&entry("one", &a, &[]), &entry("two", &b, &[]), None);
        check(&any, &entry("other", &["unix:path:/bin/node", "unix:uid:8"], &[]), None);
        // Each on a node of its own; one of them on all.
        let at = |name: &str, nodes: &[&str]| entry(name, &node, nodes);
        check(&at("one", &NODES[..1]), &at("two", &NODES[1..]), None);
        check(&at("any", &[]), &at("two", &NODES[1..]), Some(overlap("any", "two", true)));
        check(&at("any", &NODES), &at("two", &NODES[1..]), Some(overlap("any", "two", true)));
        // What is no fact about a process is told of nobody that a node measures.
        let enrolled = ["unix:uid:7", "x509pop:ca:fingerprint:aa"];
        check(&entry("one", &enrolled, &[]), &entry("two", &enrolled, &[]), None);
        check(&entry("one", &enrolled, &[]), &entry("two", &["unix:uid:7"], &[]), None);
    }

    /// The one that is looked for by its first selector is found whichever that is.
    #[test]
    fn s7_all_pairs_are_found_once() {
        let all = [
            entry("a", &["unix:uid:7"], &[]),
            entry("b", &["unix:path:/b", "unix:uid:7"], &[]),
            entry("c", &["unix:gid:7", "unix:path:/b", "unix:uid:7"], &[]),
            entry("d", &["unix:path:/b", "unix:uid:7"], &[]),
            entry("e", &["unix:path:/e", "unix:uid:8"], &[]),
        ];
        let mut found = Overlap::among(&all);
        found.sort_by_key(|one| (one.narrow.to_string(), one.broad.to_string()));
        let expect = [
            overlap("b", "a", false),
            overlap("b", "d", true),
            overlap("c", "a", false),
            overlap("c", "b", false),
            overlap("c", "d", false),
            overlap("d", "a", false),
        ];
        assert_eq!(found, expect);
    }
}
