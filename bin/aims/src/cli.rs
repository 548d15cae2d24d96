//! The command line as it is read: the commands of docs/design.md §4. Each group declares its own
//! arguments in its file below `commands/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    agent, approval, audit, authority, client, completions, doctor, enrol, federation, join_token,
    node, policy, run, session, svid, token, user,
};
use crate::output::Format;
use crate::place::Place;
use wiring::layout::PORT_BASE;

/// Agent identity management: the right agent reaches the right tools, and anyone can prove it
/// afterwards.
///
/// Exit codes: 0 done, 1 refused, 2 misused, 3 unavailable.
#[derive(Debug, Parser)]
#[command(
    name = "aims",
    version,
    disable_help_subcommand = true,
    after_help = "Begin with:\n  \
                  aims demo                     everything from nothing, in a few seconds\n  \
                  aims up                       start for good, in ./aims-data\n  \
                  aims doctor                   what is wrong here, and what to do"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where help lists what every command takes, and after what.
const COMMON: &str = "Common options";
const COMMON_ORDER: usize = 900;

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The installation: its sockets, keys, logs and settings
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = COMMON,
        display_order = COMMON_ORDER,
        env = Place::VARIABLE,
        hide_env_values = true,
        default_value = Place::DEFAULT
    )]
    pub(crate) dir: PathBuf,
    /// `human` for people, `json` for scripts
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        help_heading = COMMON,
        display_order = COMMON_ORDER,
        default_value = "human",
        hide_possible_values = true
    )]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything once: an agent's task from nothing to a verified log
    Demo(DemoArgs),
    /// Run server, node and gateway in one process, and stay up
    Up(UpArgs),
    /// Run the server alone
    #[command(after_help = "Example:\n  aims server --config /etc/aims/server.toml\n\n\
        The settings are those of the aims.toml that `aims up` leaves in its directory; every key\n\
        is in docs/settings.md.")]
    Server(ConfigArgs),
    /// Run a node, which attests processes and keeps a host's keys; or see to those that joined
    Node(node::Arguments),
    /// Run a gateway: it stands before tools and decides each call
    #[command(after_help = "Example:\n  aims gateway --config /etc/aims/gateway.toml\n\n\
        Its settings: trust_domain, host and port_base as on the server, `server` (host:port of\n\
        the node API), `name`, `bundle` (what GET /bundle gives), `join_token` or `attest`;\n\
        beside them tls.pem and tls-key.pem. docs/joining.md has it whole.")]
    Gateway(ConfigArgs),
    /// Start a program behind the agent proxy: it gets an identity and tools, and no secret
    Run(run::Arguments),
    /// Let a host or a gateway join, once
    #[command(subcommand)]
    JoinToken(join_token::Command),
    /// Agents and services: register them, list them, stop them
    #[command(subcommand)]
    Agent(agent::Command),
    /// OAuth clients that are not agents
    #[command(subcommand)]
    Client(client::Command),
    /// People: add them, let them in, stop them
    #[command(subcommand)]
    User(user::Command),
    /// Who is signed in, and ending that
    #[command(subcommand)]
    Session(session::Command),
    /// What people are asked to approve, and what they answered
    #[command(subcommand)]
    Approval(approval::Command),
    /// The server's signing keys: make a new one, let one go
    #[command(subcommand)]
    Authority(authority::Command),
    /// Other trust domains: whose bundles are believed
    #[command(subcommand)]
    Federation(federation::Command),
    /// Enrol an agent that lives on no host of ours, over HTTPS
    Enrol(Box<enrol::Arguments>),
    /// The caller's own credentials, from the Workload API
    #[command(subcommand)]
    Svid(svid::Command),
    /// Access tokens: get one, exchange one, look into one
    #[command(subcommand)]
    Token(token::Command),
    /// The policy set: check it, see what it would change, put it into force
    #[command(subcommand)]
    Policy(policy::Command),
    /// The audit log: watch it, follow a task, prove it
    #[command(subcommand)]
    Audit(audit::Command),
    /// Say what is wrong here, and what to do
    Doctor(doctor::Arguments),
    /// Let this user's browsers, or the system's tools, believe the HTTPS listeners
    Trust(reach::trust::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  aims demo")]
pub(crate) struct DemoArgs {
    /// Leave the directory of the demo for a look at it
    #[arg(long)]
    pub(crate) keep: bool,
    /// A process of the demo itself
    #[arg(long, hide = true, value_name = "PART")]
    pub(crate) part: Option<String>,
    /// What the part is told
    #[arg(hide = true, trailing_var_arg = true, requires = "part")]
    pub(crate) rest: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  aims up\n  \
    aims up --dir ./other --trust-domain other.example --port-base 9443\n\n\
    It prints `ready {json}` with the URLs, and leaves in DIR: aims.toml, ca.pem, workload.sock,\n\
    admin.sock, policy/, log/, state.db.")]
pub(crate) struct UpArgs {
    /// The trust domain of a new installation; `wimse://NAME` for identifiers of that scheme. It
    /// never changes afterwards
    #[arg(long, value_name = "NAME")]
    pub(crate) trust_domain: Option<String>,
    /// The first of four ports: issuer, mutual TLS, node API, gateway
    #[arg(
        long,
        value_name = "N",
        help = format!(
            "The first of four ports: issuer, mutual TLS, node API, gateway; an installation that \
             is there moves to them, and says so [default: as its aims.toml says, else {PORT_BASE}]"
        )
    )]
    pub(crate) port_base: Option<u16>,
    /// Serve the bundle in the profile `https_spiffe` too, at this port, from now on
    #[arg(long, value_name = "PORT")]
    pub(crate) federation_port: Option<u16>,
    /// Serve SPIRE's server API to SPIRE agents, at this port, from now on
    #[arg(long, value_name = "PORT")]
    pub(crate) spire_port: Option<u16>,
    #[command(flatten)]
    pub(crate) clock: ClockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The settings
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) clock: ClockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ClockArgs {
    /// Issue again, though there are later records: the clock was ahead, and is right now
    #[arg(long)]
    pub(crate) clock_was_ahead: bool,
}
