//! `aims demo`: everything from nothing, in a temporary directory, with real processes, sockets and
//! TLS, told step by step. It fails when a step does not end as it must.

mod actor;
mod part;
mod peer;
mod policy;
mod stage;
mod story;
mod tools;

use crate::cli::DemoArgs;
use crate::commands::Context;
use crate::exit::Failure;

/// Runs the demo, or one of its processes.
pub(crate) async fn run(context: &Context, arguments: DemoArgs) -> Result<(), Failure> {
    match arguments.part.as_deref() {
        None => story::tell(context, arguments.keep).await,
        Some("actor") => actor::run(&arguments.rest).await,
        Some("tools") => tools::run(&arguments.rest).await,
        Some(other) => Err(Failure::misused(format!("no part `{other}`"))),
    }
}
