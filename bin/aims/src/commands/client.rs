//! `aims client`: OAuth clients that are not agents, as RFC 7591 describes them.

use std::path::PathBuf;

use api::admin::messages::{ClientInformation, NewClientToken};
use authorization::Profile;
use clap::Subcommand;
use oauth::ScopeSet;
use oauth::registration::ClientAuthMethod;
use reach::registration;
use registry::ClientState;
use serde_json::Value;
use time::{Span, UnixTime};

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
        /// What it must obey besides: fapi2, fapi2-message-signing, fapi-ciba, mcp; may be repeated
        #[arg(long, value_name = "PROFILE")]
        profile: Vec<String>,
        /// Accept its assertions for any of our endpoints too: whoever sees one can use it here
        #[arg(long)]
        accept_assertions_that_can_be_replayed: bool,
    },
    /// Make a token with which clients register themselves (RFC 7591)
    #[command(after_help = "Example:\n  aims client token --uses 5 --expires 1d")]
    Token {
        /// How many clients may register with it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it lives, at most 30 days; a number alone is seconds [default: 1d]
        #[arg(long, value_name = "TIME", value_parser = crate::span::seconds_or_up_to_days(30))]
        expires: Option<Span>,
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
    /// Give a client tokens again
    #[command(after_help = "Example:\n  aims client enable client-0193…")]
    Enable {
        /// Its client id
        id: String,
    },
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Register { file, profile, accept_assertions_that_can_be_replayed } => {
            let text = files::read(&file)?;
            let metadata = serde_json::from_str(&text);
            let mut metadata: Value = metadata.map_err(|error| Failure::file(&file, error))?;
            is_served(&metadata)?;
            say_terms(&mut metadata, &profile, accept_assertions_that_can_be_replayed)?;
            let told = context.server().register_client(&metadata).await?;
            // RFC 7591 in, RFC 7591 out: whoever reads it, a person or a program.
            context.output.text(&format!("{}\n", crate::output::json(&told.value)))?;
            context.recorded(told.audit_id.as_deref());
            let scopes = metadata.get("scope").and_then(Value::as_str).map(ScopeSet::parse);
            let scopes = scopes.and_then(Result::ok).unwrap_or_default();
            if let Some(warning) = registration::undeclared(&context.server(), &scopes).await {
                context.output.note(&warning);
            }
            Ok(())
        }
        Command::List => list(context).await,
        Command::Show { id } => {
            let client = context.server().client(&id).await?;
            context.output.show(&client, || one(&client))
        }
        Command::Token { uses, expires } => {
            let life_seconds = expires.map(Span::seconds);
            let order = NewClientToken { uses: Some(uses), life_seconds };
            let told = context.server().client_token(&order).await?;
            context.told(&told, || format!("{}\n", told.value.token))
        }
        Command::Enable { id } => {
            let told = context.server().enable_client(&id).await?;
            context.told(&told, || format!("`{id}` gets tokens again\n"))
        }
        Command::Disable { id } => {
            let told = context.server().disable_client(&id).await?;
            context.told(&told, || format!("`{id}` gets no more tokens\n"))
        }
    }
}

/// What the operator says of the client, beside what it says of itself.
fn say_terms(metadata: &mut Value, profiles: &[String], replayable: bool) -> Result<(), Failure> {
    if let Some(name) = profiles.iter().find(|name| Profile::parse(name).is_none()) {
        let known = Profile::ALL.map(Profile::name).join(", ");
        return Err(Failure::refused("client::Profile", format!("no profile `{name}`"))
            .hint(format!("there are {known}")));
    }
    let Some(members) = metadata.as_object_mut() else { return Ok(()) };
    if !profiles.is_empty() {
        members.insert("aims_profiles".to_owned(), profiles.into());
    }
    if replayable {
        let audience = "any_of_ours_and_replayable_elsewhere";
        members.insert("aims_assertion_audience".to_owned(), audience.into());
    }
    Ok(())
}

/// Workloads have records of their own: a client with a SPIFFE identity is an agent or a service.
fn is_served(metadata: &Value) -> Result<(), Failure> {
    let method = metadata.get("token_endpoint_auth_method").and_then(Value::as_str);
    let of_workloads = |method: &ClientAuthMethod| {
        use ClientAuthMethod as Method;
        matches!(method, Method::SpiffeJwt | Method::SpiffeX509 | Method::SpiffeWit)
    };
    let workload = method.and_then(ClientAuthMethod::parse).filter(of_workloads);
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
                text(client, "client_name").unwrap_or_default(),
                state(client.state).to_owned(),
                when(client.since),
            ]);
        }
        table.render(context.output)
    })
}

fn one(client: &ClientInformation) -> String {
    let list = |name: &str| {
        let values = client.metadata.get(name).and_then(Value::as_array);
        let texts = values.into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join("\n")
    };
    let keys =
        client.metadata.get("jwks").and_then(|set| set.get("keys")).and_then(Value::as_array);
    let keys = match (keys, text(client, "jwks_uri")) {
        (Some(keys), _) => keys.len().to_string(),
        (None, Some(url)) => url,
        (None, None) => "0".to_owned(),
    };
    let profiles: Vec<_> = client.profiles.iter().map(ToString::to_string).collect();
    let method = text(client, "token_endpoint_auth_method");
    let scope = text(client, "scope").map(|scope| scope.replace(' ', "\n"));
    let mut shown = vec![
        ("client id", client.client_id.clone()),
        ("name", text(client, "client_name").unwrap_or_else(|| "-".to_owned())),
        ("state", format!("{} since {}", state(client.state), when(client.since))),
        ("authenticates by", method.unwrap_or_default()),
        ("keys", keys),
        ("grants", list("grant_types")),
        ("scope", scope.unwrap_or_else(|| "as policy says".to_owned())),
        ("registered", when(UnixTime::from_seconds(client.client_id_issued_at))),
    ];
    for (name, value) in [("redirects", list("redirect_uris")), ("profiles", profiles.join("\n"))] {
        if !value.is_empty() {
            shown.push((name, value));
        }
    }
    pairs(shown)
}

fn text(client: &ClientInformation, name: &str) -> Option<String> {
    client.metadata.get(name).and_then(Value::as_str).map(str::to_owned)
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
