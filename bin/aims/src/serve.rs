//! The commands that serve: what `bin/wiring` puts together, started, told to be ready, stopped.

use std::io::IsTerminal as _;
use std::path::Path;

use attestation::mechanism::Role;
use tokio::sync::watch;

use crate::cli::{ConfigArgs, DemoArgs, UpArgs};
use crate::commands::Context;
use crate::exit::Failure;

use wiring::layout::{Layout, Settings, policy_files};
use wiring::lock::{self, Lock};
use wiring::logs::Pulse;
use wiring::{gateway, node, server, up};

/// `aims demo`.
pub(crate) async fn demo(context: &Context, arguments: DemoArgs) -> Result<(), Failure> {
    crate::demo::run(context, arguments).await
}

/// `aims up`: serves until it is told to stop.
pub(crate) async fn up(context: &Context, arguments: UpArgs) -> Result<(), Failure> {
    tell();
    let dir = context.place.dir();
    let asked = up::Asked {
        trust_domain: arguments.trust_domain.as_deref(),
        port_base: arguments.port_base,
        federation_port: arguments.federation_port,
        spire_port: arguments.spire_port,
    };
    let prepared = up::prepare(dir, asked).map_err(|why| match why {
        up::Unprepared::Misused(why) => misused(why),
        up::Unprepared::Unavailable(why) => unavailable(why),
    })?;
    first_policy(&prepared.layout, &prepared.files)?;
    let (layout, settings, files, mut held) = prepared.write().map_err(unavailable)?;
    let pulse = Pulse::default();
    pulse.set_clock_was_ahead(arguments.clock.clock_was_ahead);
    let running = up::Up::start(layout, settings, files, pulse).await.map_err(unavailable)?;
    for change in held.settle().map_err(unavailable)? {
        context.output.note(&change);
    }
    let ready = running.ready().await.map_err(unavailable)?;
    let line = serde_json::to_string(&ready).unwrap_or_default();
    let stopped = up::signal();
    context.output.text(&format!("ready {line}\n"))?;
    stopped.await;
    running.close().await;
    Ok(())
}

/// `aims server`: the server alone.
pub(crate) async fn server(context: &Context, arguments: ConfigArgs) -> Result<(), Failure> {
    tell();
    let (layout, settings, _held) = own(&arguments.config, "server")?;
    up::starter_policy(&layout, &settings).map_err(unavailable)?;
    let files = policy_files(&layout.policy()).map_err(misused)?;
    first_policy(&layout, &files)?;
    let pulse = Pulse::default();
    pulse.set_clock_was_ahead(arguments.clock.clock_was_ahead);
    let (stop, stopping) = watch::channel(false);
    let running = server::start(&layout, &settings, files, &pulse, &stopping).await;
    let running = running.map_err(unavailable)?;
    pulse.set_ready();
    let site = settings.site();
    let line = serde_json::json!({ "issuer": site.issuer, "ca": layout.ca() });
    let stopped = up::signal();
    context.output.text(&format!("ready {line}\n"))?;
    stopped.await;
    stop.send_replace(true);
    running.close().await;
    Ok(())
}

/// `aims node`: a node alone.
pub(crate) async fn node(context: &Context, arguments: ConfigArgs) -> Result<(), Failure> {
    tell();
    let (layout, settings, _held) = own(&arguments.config, Role::Node.name())?;
    let entrance = node::entrance(&settings, &layout.dir, Role::Node).map_err(misused)?;
    // What it joins by may serve once: all that is its own comes first.
    let doors = node::doors(&layout, &settings, &entrance.ca).map_err(unavailable)?;
    let (stop, stopping) = watch::channel(false);
    let pulse = Pulse::default();
    pulse.set_clock_was_ahead(arguments.clock.clock_was_ahead);
    let joined = node::join(&layout, &settings, Role::Node, &entrance, &pulse).await;
    let mut joined = joined.map_err(unavailable)?;
    node::serve(&mut joined, doors, &stopping).map_err(unavailable)?;
    let socket = format!("unix://{}", layout.workload_socket().display());
    let line = serde_json::json!({ "id": joined.id, "workload_api": socket });
    let stopped = up::signal();
    context.output.text(&format!("ready {line}\n"))?;
    stopped.await;
    stop.send_replace(true);
    joined.close().await;
    Ok(())
}

/// `aims gateway`: a gateway alone.
pub(crate) async fn gateway(context: &Context, arguments: ConfigArgs) -> Result<(), Failure> {
    tell();
    let role = Role::Gateway;
    let (layout, settings, _held) = own(&arguments.config, role.name())?;
    let entrance = node::entrance(&settings, &layout.dir, role).map_err(misused)?;
    let certificates = gateway::own_certificate(&settings, &layout).map_err(misused)?;
    let listener = server::bind(&settings, 3).await.map_err(unavailable)?;
    let (stop, stopping) = watch::channel(false);
    let pulse = Pulse::default();
    pulse.set_clock_was_ahead(arguments.clock.clock_was_ahead);
    let joined = node::join(&layout, &settings, role, &entrance, &pulse).await;
    let mut joined = joined.map_err(unavailable)?;
    let served = gateway::serve(&mut joined, &settings, (certificates, listener), &stopping).await;
    served.map_err(unavailable)?;
    let line = serde_json::json!({ "id": joined.id, "gateway": settings.site().gateway });
    let stopped = up::signal();
    context.output.text(&format!("ready {line}\n"))?;
    stopped.await;
    stop.send_replace(true);
    joined.close().await;
    Ok(())
}

/// What was not started, with its hint apart from it.
fn unavailable(why: String) -> Failure {
    hinted(Failure::unavailable, &why)
}

/// The same of what makes no sense as it was given.
fn misused(why: String) -> Failure {
    hinted(Failure::misused, &why)
}

fn hinted(failure: fn(String) -> Failure, why: &str) -> Failure {
    match why.split_once("\n  hint: ") {
        Some((message, hint)) => failure(message.to_owned()).hint(hint),
        None => failure(why.to_owned()),
    }
}

/// The policy of a first start must be one. Later the set in force counts, and the folder is what
/// an operator works on.
fn first_policy(layout: &Layout, files: &policy::Files) -> Result<(), Failure> {
    let Err(faults) = policy::PolicySet::compile(files.clone()) else { return Ok(()) };
    let folder = layout.policy();
    let check = format!("aims policy check {}", folder.display());
    if layout.at("state.db").exists() {
        tracing::warn!("the policy folder has faults, what is in force stays: `{check}`");
        return Ok(());
    }
    let count = faults.len();
    let what = if count == 1 { "a fault" } else { "faults" };
    let message = format!("the policy in `{}` has {what}", folder.display());
    Err(Failure::misused(message)
        .faults(&faults)
        .hint(format!("nothing was started; mend it, `{check}` looks again")))
}

/// The folder and settings of a component that has a configuration of its own, locked.
fn own(config: &Path, part: &str) -> Result<(Layout, Settings, Lock), Failure> {
    let settings = Settings::read(config).map_err(misused)?;
    let dir = config.parent().filter(|dir| !dir.as_os_str().is_empty());
    let layout = Layout::make(dir.unwrap_or(Path::new("."))).map_err(misused)?;
    let held = lock::lock(&layout, part).map_err(|why| unavailable(why.to_string()))?;
    Ok((layout.with(&settings), settings, held))
}

/// What goes wrong is told on stderr.
fn tell() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AIMS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A second subscriber in one process is refused, which is as well.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}
