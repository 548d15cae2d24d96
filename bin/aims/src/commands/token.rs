//! `aims token`: tokens of the authorization server, as a client with an SVID gets them.

mod ask;
mod authenticate;
mod explain;
mod inspect;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use oauth::{AudienceName, Resource, Scope, TokenType};
use reach::at::AtArguments;

use crate::commands::Context;
use crate::commands::svid::Source;
use crate::exit::Failure;
use crate::https::Https;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get an access token on the caller's own behalf (client credentials), or on a person's
    #[command(after_help = "Examples:\n  aims token get --resource https://localhost:8446/files \
        --scope files:read\n  aims token get --user --client-id client-0193… --scope openid\n  \
        aims token get --device --client-id client-0193… --issuer https://as.example \
        --ca /etc/ssl/certs/ca-certificates.crt\n  \
        aims token get --at https://tools.example/mcp --save tokens.json\n\n\
        The caller proves who it is with its SVID from the Workload API. The token is on stdout.\n\
        With --user or --device a person allows it, to a public client that is registered at the\n\
        issuer with http://127.0.0.1/callback (--user) or the device grant (--device). The token\n\
        is bound to a key that ends with the command, where the server does that: --bearer\n\
        asks for one that is not. With --at the resource says itself who gives tokens (RFC 9728),\n\
        and a browser is asked as a client of MCP would: docs/clients.md has each step.")]
    Get(Box<GetArguments>),
    /// Exchange a token for one for somebody further down (RFC 8693)
    #[command(after_help = "Example:\n  aims token exchange --subject-token token.jwt \
        --resource https://localhost:8446/files\n\n\
        The caller becomes the actor. The new token never allows more than the old one.")]
    Exchange(Box<ExchangeArguments>),
    /// Decode a token, verify it, and explain what it says
    #[command(after_help = "Examples:\n  aims token get … | aims token inspect\n  \
        aims token inspect token.jwt --audience https://localhost:8446/files\n  \
        aims token inspect wit.jwt --bundle bundle.json\n\n\
        Exit code 1: it does not verify; it is shown all the same.")]
    Inspect(inspect::Arguments),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("asker").args(["client_id", "at"]).multiple(true))]
pub(crate) struct GetArguments {
    /// In the name of whoever signs in with a browser of this machine
    #[arg(long, requires = "asker", conflicts_with = "device")]
    user: bool,
    /// In the name of whoever allows it on another device
    #[arg(long, requires = "asker")]
    device: bool,
    /// The client that asks: a public one, unless it has a secret or a key
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    #[command(flatten)]
    at: AtArguments,
    /// Have the token bound to no key: whoever sees it can use it
    #[arg(long)]
    bearer: bool,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Args)]
pub(crate) struct ExchangeArguments {
    /// The token to exchange; `-` is stdin
    #[arg(long, value_name = "FILE")]
    subject_token: PathBuf,
    /// What it is: `access_token`, `txn_token` or `jwt`
    #[arg(
        long,
        value_enum,
        value_name = "TYPE",
        hide_possible_values = true,
        default_value = "access_token"
    )]
    subject_token_type: TypeName,
    /// What is wanted for it: `access_token` or `txn_token` [default: an access token]
    #[arg(long, value_enum, value_name = "TYPE", hide_possible_values = true)]
    requested_token_type: Option<TypeName>,
    /// Whom it is for, by another name than its URL; may be given several times
    #[arg(long = "audience", value_name = "NAME", value_parser = AudienceName::parse)]
    audiences: Vec<AudienceName>,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    wanted: Wanted,
}

/// What is asked for.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Whom the token is for, by URL (RFC 8707); may be given several times
    #[arg(long = "resource", value_name = "URL", value_parser = Resource::parse)]
    resources: Vec<Resource>,
    /// What it is to allow; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_parser = Scope::parse)]
    scopes: Vec<Scope>,
}

/// Who asks, and whom.
#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    /// How the caller proves who it is: with a JWT-SVID (`spiffe_jwt`), a WIT and a proof of its
    /// key (`spiffe_wit`), or an X.509-SVID over mutual TLS (`spiffe_x509`)
    #[arg(
        long,
        value_enum,
        value_name = "METHOD",
        hide_possible_values = true,
        default_value = "spiffe_jwt"
    )]
    auth: Auth,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    issuer: IssuerArguments,
}

/// Which authorization server.
#[derive(Clone, Debug, Args)]
pub(crate) struct IssuerArguments {
    /// The authorization server [default: that of DIR]
    #[arg(long, value_name = "URL", env = "AIMS_ISSUER", hide_env_values = true)]
    issuer: Option<String>,
    /// What its certificate is trusted by [default: DIR/ca.pem]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Methods of draft-ietf-oauth-spiffe-client-auth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Auth {
    /// A JWT-SVID whose one audience is the issuer
    SpiffeJwt,
    /// A WIT-SVID and a proof of its key
    SpiffeWit,
    /// An X.509-SVID over mutual TLS
    #[value(name = "spiffe_x509")]
    SpiffeX509,
}

/// Token types of RFC 8693 §3 that the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum TypeName {
    /// An access token
    AccessToken,
    /// A transaction token
    TxnToken,
    /// A JWT
    Jwt,
}

impl From<TypeName> for TokenType {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::AccessToken => Self::AccessToken,
            TypeName::TxnToken => Self::TxnToken,
            TypeName::Jwt => Self::Jwt,
        }
    }
}

impl IssuerArguments {
    /// A client that trusts the issuer's authority.
    fn https(&self, context: &Context) -> Result<Https, Failure> {
        Https::trusting(&self.ca.clone().unwrap_or_else(|| context.place.ca()))
    }
}

/// Does it.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Get(args) => ask::get(context, &args).await,
        Command::Exchange(args) => ask::exchange(context, &args).await,
        Command::Inspect(args) => inspect::run(context, &args).await,
    }
}
