//! How a record is shown to people.

use clap::ValueEnum;
use provisioning::{Act, KeyHolding, State};
use registry::AgentRecord;

use crate::output::{Output, Table, pairs, when};

/// A state as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    /// It gets credentials.
    Active,
    /// It gets none for now.
    Suspended,
    /// It was ended for a security reason.
    Revoked,
    /// It was ended in good order.
    Retired,
}

impl From<StateName> for State {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Active => Self::Active,
            StateName::Suspended => Self::Suspended,
            StateName::Revoked => Self::Revoked,
            StateName::Retired => Self::Retired,
        }
    }
}

/// A row a record, or that there is none.
pub(crate) fn all(agents: &[AgentRecord], output: Output) -> String {
    if agents.is_empty() {
        return "no agent; `aims agent register` makes one\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "KIND", "STATE", "OWNER", "IDENTIFIER"]);
    for agent in agents {
        let entry = &agent.entry;
        table.row([
            entry.name.to_string(),
            entry.kind.segment().to_owned(),
            agent.lifecycle.state.to_string(),
            entry.owner.clone(),
            agent.id.to_string(),
        ]);
    }
    table.render(output)
}

/// The whole record.
pub(crate) fn one(agent: &AgentRecord) -> String {
    let (entry, life) = (&agent.entry, &agent.lifecycle);
    let lines = |all: Vec<String>| if all.is_empty() { "-".to_owned() } else { all.join("\n") };
    let keys = match agent.keys() {
        KeyHolding::Kept => "kept by the node: start it with `aims run`",
        KeyHolding::Handed => "handed out by the Workload API",
    };
    let scope = entry.client.scope_max.as_ref().map(|all| all.iter().map(ToString::to_string));
    let nodes = entry.rule.nodes.iter().map(ToString::to_string).collect::<Vec<_>>();
    pairs([
        ("identifier", agent.id.to_string()),
        ("kind", entry.kind.segment().to_owned()),
        ("state", format!("{} since {}: {}", life.state, when(life.since), life.reason)),
        ("owner", entry.owner.clone()),
        ("capabilities", lines(entry.capabilities.iter().cloned().collect())),
        ("selectors", lines(entry.rule.selectors.iter().map(ToString::to_string).collect())),
        ("nodes", if nodes.is_empty() { "every node".to_owned() } else { nodes.join("\n") }),
        ("risk class", entry.rule.class.clone()),
        ("keys", keys.to_owned()),
        ("widest scope", scope.map_or("as policy says".to_owned(), |all| lines(all.collect()))),
        ("callable", if entry.client.callable { "yes" } else { "no" }.to_owned()),
        ("locator", entry.locator.clone().unwrap_or_else(|| "-".to_owned())),
        ("host names", lines(entry.dns_names.iter().map(ToString::to_string).collect())),
        ("downstream", if entry.downstream { "yes" } else { "no" }.to_owned()),
        ("registered", when(agent.registered)),
    ])
}

/// What an act means for what the agent holds.
pub(crate) const fn consequence(act: Act) -> &'static str {
    match act {
        Act::Suspend => "; what it holds is dead until it gets new credentials after a resume",
        Act::Resume => "; it gets new credentials, and the old ones stay dead",
        Act::Revoke | Act::Retire => "; what it holds is dead, and its name is not given again",
    }
}
