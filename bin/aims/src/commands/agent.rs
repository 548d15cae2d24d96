//! `aims agent`: the one record of an agent or service, through its life.

mod evidence;
mod explain;
mod show;

use clap::{Args, Subcommand};
use identifier::AgentName;
use provisioning::Act;
use reach::registration;

use crate::commands::Context;
use crate::exit::Failure;

/// Records of one page.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register an agent or a service
    #[command(after_help = registration::EXAMPLES)]
    Register(Box<registration::Arguments>),
    /// List agents and services
    #[command(after_help = "Example:\n  aims agent list --owner platform-team --state active")]
    List {
        /// Only those of this owner
        #[arg(long)]
        owner: Option<String>,
        /// Only those in this state: active, suspended, revoked, retired
        #[arg(long, value_enum, hide_possible_values = true)]
        state: Option<show::StateName>,
    },
    /// Show one record
    #[command(after_help = "Example:\n  aims agent show researcher")]
    Show {
        /// Its name
        #[arg(value_parser = AgentName::parse)]
        name: AgentName,
    },
    /// Say on what evidence, and by which rule of policy, an agent got what it has
    #[command(after_help = explain::EXAMPLES)]
    Explain {
        /// Its name
        #[arg(value_parser = AgentName::parse)]
        name: AgentName,
    },
    /// Documents about an agent: bills of materials, provenance, endorsements, bindings
    #[command(subcommand)]
    Evidence(evidence::Command),
    /// Stop an agent at once: what it holds is dead, and it gets nothing new
    #[command(after_help = "Example:\n  aims agent suspend researcher --reason \"odd calls\"")]
    Suspend(Moved),
    /// Let a suspended agent get new credentials; the old ones stay dead
    #[command(after_help = "Example:\n  aims agent resume researcher --reason \"looked into\"")]
    Resume(Moved),
    /// End an agent for a security reason, for good
    #[command(after_help = "Example:\n  aims agent revoke researcher --reason \"key was copied\"")]
    Revoke(Moved),
    /// End an agent in good order, for good
    #[command(after_help = "Example:\n  aims agent retire researcher --reason \"replaced\"")]
    Retire(Moved),
}

#[derive(Debug, Args)]
pub(crate) struct Moved {
    /// Its name
    #[arg(value_parser = AgentName::parse)]
    name: AgentName,
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Register(args) => register(context, *args).await,
        Command::List { owner, state } => list(context, owner.as_deref(), state).await,
        Command::Show { name } => {
            let agent = context.server().agent(&name).await?;
            context.output.show(&agent, || show::one(&agent))
        }
        Command::Explain { name } => explain::run(context, &name).await,
        Command::Evidence(command) => evidence::run(context, command).await,
        Command::Suspend(moved) => act(context, &moved, Act::Suspend).await,
        Command::Resume(moved) => act(context, &moved, Act::Resume).await,
        Command::Revoke(moved) => act(context, &moved, Act::Revoke).await,
        Command::Retire(moved) => act(context, &moved, Act::Retire).await,
    }
}

async fn register(context: &Context, args: registration::Arguments) -> Result<(), Failure> {
    let entry = args.read()?;
    let told = context.server().register_agent(&entry).await?;
    context.told(&told, || show::one(&told.value))?;
    let scopes = entry.client.scope_max.unwrap_or_default();
    if let Some(warning) = registration::undeclared(&context.server(), &scopes).await {
        context.output.note(&warning);
    }
    Ok(())
}

async fn act(context: &Context, moved: &Moved, act: Act) -> Result<(), Failure> {
    let told = context.server().move_agent(&moved.name, act, &moved.reason).await?;
    context.told(&told, || {
        let (id, state) = (&told.value.id, told.value.lifecycle.state);
        format!("{id} is {state}{}\n", show::consequence(act))
    })
}

/// All pages: whoever lists wants to see what there is.
async fn list(
    context: &Context,
    owner: Option<&str>,
    state: Option<show::StateName>,
) -> Result<(), Failure> {
    let server = context.server();
    let (mut after, mut agents) = (None, Vec::new());
    loop {
        let page = server.agents(after.as_deref(), Some(PAGE)).await?;
        let wanted = page.items.into_iter().filter(|agent| {
            owner.is_none_or(|owner| agent.entry.owner == owner)
                && state.is_none_or(|state| agent.lifecycle.state == state.into())
        });
        agents.extend(wanted);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    context.output.show(&agents, || show::all(&agents, context.output))
}
