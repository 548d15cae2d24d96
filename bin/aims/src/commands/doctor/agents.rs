//! Agents in force that stand in each other's way.

use api::client::{Client, Fault};
use identifier::AgentName;
use policy::PolicySet;
use provisioning::State as Life;
use registry::{AgentRecord, Overlap};

use crate::commands::doctor::Finding;

/// Agents of one page.
const PAGE: usize = 500;

/// Asks the server for all of them.
pub(crate) async fn look(server: &Client, set: &PolicySet) -> Result<Vec<Finding>, Fault> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = server.agents(after.as_deref(), Some(PAGE)).await?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(overlaps(&all, set));
        }
    }
}

/// Pairs of which a process matches both: it gets no identity.
fn overlaps(agents: &[AgentRecord], set: &PolicySet) -> Vec<Finding> {
    const CHECK: &str = "agents";
    let in_force = agents.iter().filter(|agent| agent.lifecycle.state == Life::Active);
    let in_force: Vec<_> = in_force.map(|agent| &agent.entry).collect();
    let by_name = |name: &AgentName| in_force.iter().find(|entry| entry.name == *name).copied();
    let stands = |pair: &Overlap| {
        let both = by_name(&pair.narrow).zip(by_name(&pair.broad));
        both.is_some_and(|(one, other)| !set.gives_all(one, other))
    };
    let pairs = Overlap::among(in_force.iter().copied()).into_iter().filter(stands);
    let mut found: Vec<_> = pairs
        .map(|Overlap { narrow, broad, .. }| {
            let todo = format!(
                "retire one, and register it by another name with a selector that tells it apart: \
                 aims agent retire {broad} --reason …"
            );
            let found =
                format!("each process of `{narrow}` is one of `{broad}`, too, so it gets nothing");
            Finding::wrong(CHECK, found, todo)
        })
        .collect();
    if found.is_empty() {
        found.push(Finding::ok(CHECK, "no rule in force contains another one"));
    }
    found
}

#[cfg(test)]
mod tests {
    use policy::Files;

    use super::*;
    use crate::commands::doctor::State;

    /// req: ATT-01 (part)
    #[test]
    fn s7_agents_that_stand_in_each_others_way_are_named() {
        let files = wiring::starter::files("spiffe://demo.example");
        let set = PolicySet::compile(Files::new(files).unwrap()).unwrap();
        let agent = |name: &str, state: &str, selectors: &[&str]| -> AgentRecord {
            serde_json::from_value(serde_json::json!({
                "id": format!("spiffe://demo.example/agent/{name}"), "name": name,
                "kind": "agent", "owner": "ada", "rule": { "selectors": selectors },
                "registered": 0,
                "lifecycle": { "state": state, "dead_before": 0, "since": 0, "reason": "" },
            }))
            .unwrap()
        };
        let node = ["unix:path:/bin/node", "unix:uid:7"];
        let script = ["unix:path:/bin/node", "unix:uid:7", "unix:argv_script:path:/a.mjs"];
        let found = |state: &str| {
            overlaps(&[agent("any", state, &node), agent("one", "active", &script)], &set)
        };
        let [wrong] = &found("active")[..] else { panic!() };
        assert_eq!(wrong.state, State::Wrong);
        assert!(wrong.found.starts_with("each process of `one` is one of `any`"));
        assert!(found("suspended").iter().all(|one| one.state == State::Ok));
    }
}
