//! `aims node`: runs one, or says which hosts and gateways joined and cuts one off.

use std::path::PathBuf;

use api::admin::messages::NodeShown;
use clap::{Args, Subcommand};
use provisioning::{NodeAct, State};
use wimse::WorkloadId;
use wiring::world::SystemClock;

use crate::cli::{ClockArgs, ConfigArgs};
use crate::commands::Context;
use crate::exit::Failure;
use crate::output::{Table, pairs, when};
use crate::{serve, span};

/// Records of one page.
const PAGE: usize = 500;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  aims node --config /etc/aims/node.toml\n  aims node list\n\n\
        With `--config` it runs a node. Its settings: trust_domain, host and port_base as on the\n\
        server, `server` (host:port of the node API), `name`, `bundle` (what GET /bundle gives),\n\
        `join_token` or `attest`; beside them the server's ca.pem. docs/joining.md has it whole."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The settings
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    clock: ClockArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the hosts and gateways that joined
    #[command(after_help = "Example:\n  aims node list")]
    List,
    /// Show one: how it joined, when it was heard, which agents are there
    #[command(after_help = "Example:\n  aims node show node/join_token/host-1")]
    Show {
        /// Its identifier, or what follows `/aims/` in it
        node: String,
    },
    /// Cut one off at once; it gets nothing until it is resumed
    #[command(after_help = "Example:\n  aims node suspend node/join_token/host-1 --reason \"odd\"")]
    Suspend(Moved),
    /// Let a suspended one join again by its evidence; what it had stays dead
    #[command(after_help = "Example:\n  aims node resume node/join_token/host-1 --reason \"fine\"")]
    Resume(Moved),
    /// Cut one off for a security reason: the credentials of agents there end too
    #[command(
        after_help = "Example:\n  aims node revoke node/join_token/host-1 --reason \"theft\""
    )]
    Revoke(Moved),
    /// Let a host that may join once join anew: one that was made anew, or that was revoked
    #[command(
        after_help = "Example:\n  aims node forget node/sshpop/9f86d0 --reason \"reinstalled\""
    )]
    Forget(Moved),
}

#[derive(Debug, Args)]
struct Moved {
    /// Its identifier, or what follows `/aims/` in it
    node: String,
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Does it.
pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, config, clock } = arguments;
    match (command, config) {
        (Some(Command::List), _) => list(context).await,
        (Some(Command::Show { node }), _) => {
            let id = id(context, &node).await?;
            let shown = context.server().node(&id).await?;
            context.output.show(&shown, || one(&shown))
        }
        (Some(Command::Suspend(moved)), _) => act(context, &moved, NodeAct::Suspend).await,
        (Some(Command::Resume(moved)), _) => act(context, &moved, NodeAct::Resume).await,
        (Some(Command::Revoke(moved)), _) => act(context, &moved, NodeAct::Revoke).await,
        (Some(Command::Forget(moved)), _) => act(context, &moved, NodeAct::Forget).await,
        (None, Some(config)) => serve::node(context, ConfigArgs { config, clock }).await,
        (None, None) => Err(Failure::misused("neither `--config FILE` nor a command")),
    }
}

/// The identifier that a text names: whole, or below the trust domain of the server.
async fn id(context: &Context, text: &str) -> Result<WorkloadId, Failure> {
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        let origin = context.server().status().await?.origin;
        let origin = origin.ok_or_else(|| Failure::misused("no policy is in force"))?;
        format!("{origin}/aims/{text}")
    };
    WorkloadId::parse(&whole).map_err(|error| Failure::misused(format!("`{whole}`: {error}")))
}

async fn act(context: &Context, moved: &Moved, act: NodeAct) -> Result<(), Failure> {
    let id = id(context, &moved.node).await?;
    let told = context.server().move_node(&id, act, &moved.reason).await?;
    context.told(&told, || {
        let NodeShown { id, lifecycle, ended, .. } = &told.value;
        let consequence = match act {
            NodeAct::Suspend => "; it is cut off, and what it has stays dead after a resume".into(),
            NodeAct::Resume => "; start it again: it joins anew by its evidence (one that may \
                join once needs `aims node forget` too, or a new join token)"
                .into(),
            NodeAct::Revoke => {
                format!("; it is cut off, and what {} agents had there is dead", ended.len())
            }
            NodeAct::Forget => "; its next evidence is taken for the first".to_owned(),
        };
        format!("{id} is {}{consequence}\n", lifecycle.state)
    })
}

/// All pages: whoever lists wants to see what there is.
async fn list(context: &Context) -> Result<(), Failure> {
    let server = context.server();
    let (mut after, mut nodes) = (None, Vec::new());
    loop {
        let page = server.nodes(after.as_deref(), Some(PAGE)).await?;
        nodes.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    context.output.show(&nodes, || {
        if nodes.is_empty() {
            return "no node; `aims join-token create` lets one join\n".to_owned();
        }
        let mut table = Table::new(&["NODE", "STATE", "HEARD", "CREDENTIAL ENDS"]);
        for node in &nodes {
            let name = node.id.split_once("/aims/").map_or(node.id.as_str(), |(_, name)| name);
            table.row([name.to_owned(), node.lifecycle.state.to_string(), heard(node), ends(node)]);
        }
        table.render(context.output)
    })
}

fn heard(node: &NodeShown) -> String {
    let ago = |at| format!("{} ago", span::show(SystemClock::read().since(at)));
    node.heard.map_or_else(|| "not since the server started".to_owned(), ago)
}

fn ends(node: &NodeShown) -> String {
    match node.ends {
        Some(_) if node.lifecycle.state != State::Active => "dead".to_owned(),
        Some(ends) => when(ends),
        None => "-".to_owned(),
    }
}

fn one(node: &NodeShown) -> String {
    let lines = |all: &[String]| if all.is_empty() { "-".to_owned() } else { all.join("\n") };
    let life = &node.lifecycle;
    let troubles = node.troubles.iter().map(|trouble| {
        let (subject, until) = (&trouble.subject, when(trouble.until));
        format!("{subject} since {}, ends {until}: {}", when(trouble.since), trouble.why)
    });
    let troubles: Vec<_> = troubles.collect();
    pairs([
        ("identifier", node.id.clone()),
        ("role", node.role.name().to_owned()),
        ("state", format!("{} since {}: {}", life.state, when(life.since), life.reason)),
        ("joined by", node.mechanism.clone()),
        ("selectors", lines(&node.selectors)),
        ("joined", when(node.joined)),
        ("renewed", when(node.renewed)),
        ("ends", ends(node)),
        ("heard", heard(node)),
        ("joins anew", if node.forgotten { "yes, once" } else { "no" }.to_owned()),
        ("agents", lines(node.agents.as_deref().unwrap_or_default())),
        ("failing", lines(&troubles)),
    ])
}
