//! `aims join-token`: a host or gateway joins by it, once.

use std::path::PathBuf;

use api::admin::messages::NewJoinToken;
use attestation::mechanism::Role;
use clap::{Subcommand, ValueEnum};
use identifier::AgentName;
use time::Span;
use zeroize::Zeroizing;

use crate::commands::Context;
use crate::exit::Failure;
use crate::files;
use crate::output::when;
use crate::span;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token that one host, gateway or SPIRE agent can join by, once
    #[command(
        after_help = "Example:\n  aims join-token create --name host-1 --ttl 10m --write token\n\n\
        The token is told this once. Carry the file to the host, with mode 0600, and name it as\n\
        `join_token` in the settings of `aims node` or `aims gateway`; a SPIRE agent takes the\n\
        token as `-joinToken`."
    )]
    Create {
        /// What joins by it: `node`, `gateway` or `spire-agent`
        #[arg(long, value_enum, hide_possible_values = true, default_value = "node")]
        role: JoinRole,
        /// The name that it gets; without one it is made up
        #[arg(long, value_parser = AgentName::parse)]
        name: Option<AgentName>,
        /// How long it can be used: at most a day
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span::up_to_days(1))]
        ttl: Span,
        /// Write it to this file, with mode 0600, and do not show it
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
}

/// What joins.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum JoinRole {
    /// A host.
    Node,
    /// A gateway.
    Gateway,
    /// A SPIRE agent.
    SpireAgent,
}

impl From<JoinRole> for Role {
    fn from(role: JoinRole) -> Self {
        match role {
            JoinRole::Node => Self::Node,
            JoinRole::Gateway => Self::Gateway,
            JoinRole::SpireAgent => Self::SpireAgent,
        }
    }
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::Create { role, name, ttl, write } = command;
    let order = NewJoinToken { role: role.into(), name, life_seconds: Some(ttl.seconds()) };
    let told = context.server().create_join_token(&order).await?;
    match &write {
        Some(path) => {
            let line = Zeroizing::new(format!("{}\n", told.value.token));
            files::write(path, line.as_bytes(), files::SECRET)?;
        }
        None => context.told(&told, || format!("{}\n", told.value.token))?,
    }
    let (role, expires) = (told.value.role.name(), when(told.value.expires));
    let named = told.value.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let place = write.map(|path| format!("`{}`: ", path.display())).unwrap_or_default();
    context.output.note(&format!("{place}for a {role}{named}, once, until {expires}"));
    Ok(())
}
