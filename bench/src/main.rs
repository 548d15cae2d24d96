//! What AIMS costs: each row of docs/design.md §9 that one machine can measure, against its target,
//! on the real parts.
//! `cargo build --release && cargo run --release -p bench [-- NAME… --output json]`.
//!
//! In scope: a running installation in a folder that goes away (real store, log, keys, listeners),
//! load, and one table. What is compared with signatures is compared with signatures that the same
//! library makes in the same run, on as many threads. Not here: whether anything is right (the
//! tests of each crate), other people's clients (`tests/peers`), many machines. A measurement
//! judges nothing: it prints, and a target that is missed is no failure of the process.
#![expect(clippy::print_stdout, reason = "it prints its table")]
#![expect(clippy::print_stderr, reason = "it tells what it is doing")]

mod authzen;
mod commits;
mod compare;
mod decisions;
mod exchange;
mod gateway;
mod grants;
mod herd;
mod https;
mod installation;
mod joining;
mod load;
mod paced;
mod party;
mod policy_files;
mod revocation;
mod rotation;
mod signatures;
mod start;
mod svid;
mod table;
mod token;
mod versus;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::installation::Installation;
use crate::table::{Measurement, Output};

/// Why something could not be measured.
type Failure = Box<dyn Error + Send + Sync>;
/// What a measurement gives.
type Measured = Result<Vec<Measurement>, Failure>;

/// Measures, and prints a table against the targets.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure; everything unless told.
    names: Vec<Name>,
    /// The form of the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Where the installation's folder is made: on the disk whose syncs count.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The command that starts the other server of `versus`.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Is the server of `versus` that is ours.
    #[arg(long, hide = true)]
    serve: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Signatures alone.
    Signatures,
    /// The token endpoint, client credentials.
    Token,
    /// Token exchange.
    Exchange,
    /// Each grant of users, introspection and the authorization endpoint, a thousand grants stored.
    Grants,
    /// The same with a million: not unless it is named.
    MillionGrants,
    /// Beside another authorization server (`--peer`): not unless it is named.
    Versus,
    /// X.509-SVIDs from requests.
    Svid,
    /// Policy decisions in process.
    Pdp,
    /// The same over AuthZEN.
    Authzen,
    /// The gateway against the same proxy with its checks off.
    Gateway,
    /// Durable commits.
    Commits,
    /// From a suspension to the refusal at the gateway.
    Revocation,
    /// Many workloads of one node: memory, and an authority that is replaced.
    Rotation,
    /// Many nodes: joining, registrations, issuing beside them, all coming back at once.
    Herd,
    /// Hosts that join, by each mechanism.
    Attestation,
    /// Cold start and idle memory.
    Start,
}

impl Name {
    /// Whether it wants a running installation.
    const fn needs_installation(self) -> bool {
        !matches!(self, Self::Signatures | Self::Pdp | Self::Start | Self::Versus)
    }

    /// What is measured where nothing is named.
    fn all() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|name| !matches!(name, Self::MillionGrants | Self::Versus)).collect()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::new("error");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    if arguments.serve {
        let served = runtime.block_on(versus::serve(&folder(&arguments)));
        return served.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS);
    }
    match runtime.block_on(measure(&arguments)) {
        Ok(found) => {
            println!("{}", table::render(&found, arguments.output));
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("bench: {error}");
    ExitCode::FAILURE
}

fn folder(arguments: &Arguments) -> PathBuf {
    arguments.dir.clone().unwrap_or_else(std::env::temp_dir)
}

/// All that was asked for; what cannot be measured is told, and the rest goes on.
async fn measure(arguments: &Arguments) -> Measured {
    let dir = folder(arguments);
    let names = match arguments.names.as_slice() {
        [] => Name::all(),
        some => some.to_vec(),
    };
    let installation = match names.iter().any(|name| name.needs_installation()) {
        true => Some(Installation::start(&dir).await?),
        false => None,
    };
    let mut found = Vec::new();
    for name in names {
        eprintln!("measuring {name:?} …");
        let measured = match name {
            Name::Versus => versus::measure(&dir, arguments.peer.as_deref()).await,
            name => one(name, installation.as_ref(), &dir).await,
        };
        match measured {
            Ok(measured) => found.extend(measured),
            Err(error) => eprintln!("bench: {name:?} was not measured: {error}"),
        }
    }
    if let Some(installation) = installation {
        installation.close().await;
    }
    Ok(found)
}

async fn one(name: Name, installation: Option<&Installation>, dir: &Path) -> Measured {
    match (name, installation) {
        (Name::Signatures, _) => signatures::measure(),
        (Name::Pdp, _) => decisions::measure(),
        (Name::Start, _) => start::measure(dir).await,
        (Name::Token, Some(all)) => token::measure(all).await,
        (Name::Exchange, Some(all)) => exchange::measure(all).await,
        (Name::Grants, Some(all)) => grants::measure(all, grants::FEW).await,
        (Name::MillionGrants, Some(all)) => grants::measure(all, grants::MANY).await,
        (Name::Svid, Some(all)) => svid::measure(all).await,
        (Name::Authzen, Some(all)) => authzen::measure(all).await,
        (Name::Gateway, Some(all)) => gateway::measure(all).await,
        (Name::Commits, Some(all)) => commits::measure(all, dir).await,
        (Name::Revocation, Some(all)) => revocation::measure(all).await,
        (Name::Rotation, Some(all)) => rotation::measure(all).await,
        (Name::Attestation, Some(all)) => joining::measure(all).await,
        (Name::Herd, Some(all)) => herd::measure(all).await,
        (Name::Versus, _) | (_, None) => Err("no installation was started".into()),
    }
}
