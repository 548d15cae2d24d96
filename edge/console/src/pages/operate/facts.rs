//! What a record of an agent, a client or a person says, as `aims … show` tells it.

use provisioning::{KeyHolding, State};
use registry::{AgentRecord, ClientRecord, ClientState, UserRecord};
use serde_json::Value;

use crate::words::moment;

/// What it is of, and its values.
pub(super) type Fact = (&'static str, Vec<String>);

pub(super) fn of_agent(agent: &AgentRecord) -> Vec<Fact> {
    let (entry, life) = (&agent.entry, &agent.lifecycle);
    let keys = match agent.keys() {
        KeyHolding::Kept => "kept by the node: it is started with aims run",
        KeyHolding::Handed => "handed out by the Workload API",
    };
    let nodes = &entry.rule.nodes;
    let scope = entry.client.scope_max.as_ref();
    vec![
        ("State", vec![format!("{} since {}: {}", life.state, moment(life.since), life.reason)]),
        ("Kind", vec![entry.kind.segment().to_owned()]),
        ("Run by", vec![entry.owner.clone()]),
        ("Able to", entry.capabilities.iter().cloned().collect()),
        ("Selectors", entry.rule.selectors.iter().map(ToString::to_string).collect()),
        ("Nodes", or(nodes.iter().map(ToString::to_string).collect(), "every node")),
        ("Risk class", vec![entry.rule.class.clone()]),
        ("Keys", vec![keys.to_owned()]),
        (
            "Widest scope",
            scope.map_or_else(
                || vec!["as policy says".to_owned()],
                |all| all.iter().map(ToString::to_string).collect(),
            ),
        ),
        ("Callable", vec![yes(entry.client.callable)]),
        ("Locator", entry.locator.iter().cloned().collect()),
        ("Names of hosts", entry.dns_names.iter().map(ToString::to_string).collect()),
        ("Downstream", vec![yes(entry.downstream)]),
        ("Registered", vec![moment(agent.registered)]),
    ]
}

/// `kind` is what the client is, and who vouches for its name.
pub(super) fn of_client(client: &ClientRecord, kind: String) -> Vec<Fact> {
    let members = client.metadata.members();
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str| -> Vec<String> {
        let values = members.get(name).and_then(Value::as_array).into_iter().flatten();
        values.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let here = members.get("jwks").and_then(|set| set.get("keys")).and_then(Value::as_array);
    let keys = here.map(|keys| format!("{} with its registration", keys.len()));
    let scope = text("scope").map(|scope| scope.split(' ').map(str::to_owned).collect());
    let state = match client.state {
        ClientState::Enabled => "enabled",
        ClientState::Disabled => "disabled",
    };
    vec![
        ("State", vec![format!("{state} since {}", moment(client.since))]),
        ("What it is", vec![kind]),
        ("Authenticates by", text("token_endpoint_auth_method").into_iter().collect()),
        ("Keys", or(keys.or(text("jwks_uri")).into_iter().collect(), "none")),
        ("Grants", list("grant_types")),
        ("Scope", or(scope.unwrap_or_default(), "as policy says")),
        ("Redirects", list("redirect_uris")),
        ("Profiles", client.profiles.iter().map(ToString::to_string).collect()),
        ("Registered", vec![moment(client.registered)]),
    ]
}

pub(super) fn of_user(user: &UserRecord) -> Vec<Fact> {
    let life = &user.lifecycle;
    let state = people::standing::state_name(life.state);
    let passkeys = user.passkeys.iter().map(|one| {
        let used =
            one.used.map_or("never used".to_owned(), |at| format!("last used {}", moment(at)));
        format!("{}, since {}, {used}", one.name, moment(one.added))
    });
    let accounts = user.accounts.iter().map(|one| format!("{} at {}", one.subject, one.issuer));
    vec![
        ("State", vec![format!("{state} since {}: {}", moment(life.since), life.reason)]),
        ("Called", vec![user.display_name.clone()]),
        ("E-mail", user.email.iter().cloned().collect()),
        ("Roles", user.roles.iter().cloned().collect()),
        ("Passkeys", or(passkeys.collect(), "none")),
        ("Accounts elsewhere", accounts.collect()),
        ("Added", vec![moment(user.registered)]),
    ]
}

/// Whether what ended can come back.
pub(super) const fn is_final(state: State) -> bool {
    matches!(state, State::Revoked | State::Retired)
}

fn or(all: Vec<String>, none: &str) -> Vec<String> {
    if all.is_empty() { vec![none.to_owned()] } else { all }
}

fn yes(it_is: bool) -> String {
    if it_is { "yes" } else { "no" }.to_owned()
}
