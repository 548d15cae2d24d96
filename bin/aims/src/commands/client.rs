//! `aims client`: OAuth clients that are not agents, as RFC 7591 describes them.

use std::path::PathBuf;

use api::admin::messages::ClientInformation;
use clap::Subcommand;
use oauth::client_metadata::AuthMethod;
use registry::ClientState;
use serde_json::Value;
use time::UnixTime;

use crate::commands::Context;
use crate::exit::Failure;
use crate::files;
use crate::output::{Table, pairs, when};

/// Clients of one page.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a client: RFC 7591 metadata in, RFC 7591 answer out
    #[command(after_help = "Example:\n  aims client register client.json\n\n\
        client.json:\n  {\n    \"client_name\": \"Reporting\",\n    \
        \"token_endpoint_auth_method\": \"private_key_jwt\",\n    \
        \"grant_types\": [\"client_credentials\"],\n    \
        \"jwks\": { \"keys\": [ … the public key … ] }\n  }\n\n\
        A client has a key of its own and no secret.")]
    Register {
        /// The metadata as JSON; `-` is stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List clients
    #[command(after_help = "Example:\n  aims client list")]
    List,
    /// Show one client
    #[command(after_help = "Example:\n  aims client show client-0193…")]
    Show {
        /// Its client id
        id: String,
    },
    /// Give a client no more tokens
    #[command(after_help = "Example:\n  aims client disable client-0193…")]
    Disable {
        /// Its client id
        id: String,
    },
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Register { file } => {
            let text = files::read(&file)?;
            let metadata = serde_json::from_str(&text);
            let metadata: Value = metadata.map_err(|error| Failure::file(&file, error))?;
            is_served(&metadata)?;
            let told = context.server().register_client(&metadata).await?;
            // RFC 7591 in, RFC 7591 out: whoever reads it, a person or a program.
            context.output.text(&format!("{}\n", crate::output::json(&told.value)))?;
            context.recorded(told.audit_id.as_deref());
            Ok(())
        }
        Command::List => list(context).await,
        Command::Show { id } => {
            let client = context.server().client(&id).await?;
            context.output.show(&client, || one(&client))
        }
        Command::Disable { id } => {
            let told = context.server().disable_client(&id).await?;
            context.told(&told, || format!("`{id}` gets no more tokens\n"))
        }
    }
}

/// Workloads have records of their own: a client with a SPIFFE identity is an agent or a service.
fn is_served(metadata: &Value) -> Result<(), Failure> {
    let method = metadata.get("token_endpoint_auth_method").and_then(Value::as_str);
    let workload =
        method.and_then(AuthMethod::parse).filter(|one| *one != AuthMethod::PrivateKeyJwt);
    let Some(method) = workload else { return Ok(()) };
    let message = format!("a client that authenticates by `{method}` is a workload");
    Err(Failure::refused("client::Workload", message).hint(
        "register it with `aims agent register --kind service …`: its identifier is its client_id; \
         clients are registered with `private_key_jwt`",
    ))
}

async fn list(context: &Context) -> Result<(), Failure> {
    let server = context.server();
    let (mut after, mut clients) = (None, Vec::new());
    loop {
        let page = server.clients(after.as_deref(), Some(PAGE)).await?;
        clients.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    context.output.show(&clients, || {
        if clients.is_empty() {
            return "no client; `aims client register FILE` makes one\n".to_owned();
        }
        let mut table = Table::new(&["CLIENT ID", "NAME", "STATE", "SINCE"]);
        for client in &clients {
            table.row([
                client.client_id.clone(),
                client.metadata.client_name.clone().unwrap_or_default(),
                state(client.state).to_owned(),
                when(client.since),
            ]);
        }
        table.render(context.output)
    })
}

fn one(client: &ClientInformation) -> String {
    let metadata = &client.metadata;
    let scopes: Vec<_> = metadata.scope.iter().map(ToString::to_string).collect();
    let grants: Vec<_> = metadata.grant_types.iter().map(ToString::to_string).collect();
    let keys = metadata.jwks.as_ref().map_or(0, |set| set.keys().len());
    pairs([
        ("client id", client.client_id.clone()),
        ("name", metadata.client_name.clone().unwrap_or_else(|| "-".to_owned())),
        ("state", format!("{} since {}", state(client.state), when(client.since))),
        ("authenticates by", metadata.token_endpoint_auth_method.to_string()),
        ("keys", keys.to_string()),
        ("grants", grants.join("\n")),
        ("scope", if scopes.is_empty() { "as policy says".to_owned() } else { scopes.join("\n") }),
        ("registered", when(UnixTime::from_seconds(client.client_id_issued_at))),
    ])
}

const fn state(state: ClientState) -> &'static str {
    match state {
        ClientState::Enabled => "enabled",
        ClientState::Disabled => "disabled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_registered_as_agents() {
        for (method, served) in [
            ("private_key_jwt", true),
            ("spiffe_jwt", false),
            ("spiffe_x509", false),
            ("spiffe_wit", false),
            // What is unknown the server refuses, with the error code of RFC 7591.
            ("client_secret_basic", true),
        ] {
            let metadata = serde_json::json!({ "token_endpoint_auth_method": method });
            let told = is_served(&metadata);
            assert_eq!(told.is_ok(), served, "{method}");
            if let Err(failure) = told {
                assert_eq!(failure.problem().error, "client::Workload");
                assert!(failure.problem().hint.as_ref().unwrap().contains("aims agent register"));
            }
        }
    }
}
