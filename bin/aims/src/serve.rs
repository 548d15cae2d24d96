//! The commands that serve: what `bin/wiring` puts together, started, told to be ready, stopped.

use std::path::Path;

use attestation::mechanism::Role;
use tokio::sync::watch;

use crate::cli::{ConfigArgs, DemoArgs, UpArgs};
use crate::commands::Context;
use crate::exit::Failure;

use wiring::layout::{Layout, Settings, policy_files};
use wiring::logs::Pulse;
use wiring::{gateway, node, server, starter, up};

/// `aims demo`.
pub(crate) async fn demo(context: &Context, arguments: DemoArgs) -> Result<(), Failure> {
    crate::demo::run(context, arguments).await
}

/// `aims up`: serves until it is told to stop.
pub(crate) async fn up(context: &Context, arguments: UpArgs) -> Result<(), Failure> {
    tell();
    let dir = context.place.dir();
    let prepared = up::prepare(dir, arguments.trust_domain.as_deref(), arguments.port_base);
    let (layout, settings, files) = prepared.map_err(Failure::misused)?;
    let running = up::Up::start(layout, settings, files).await.map_err(Failure::unavailable)?;
    let ready = running.ready().await.map_err(Failure::unavailable)?;
    let line = serde_json::to_string(&ready).unwrap_or_default();
    context.output.text(&format!("ready {line}\n"))?;
    up::signal().await;
    running.close().await;
    Ok(())
}

/// `aims server`: the server alone.
pub(crate) async fn server(context: &Context, arguments: ConfigArgs) -> Result<(), Failure> {
    tell();
    let (layout, settings) = own(&arguments.config)?;
    let files = if layout.policy().exists() {
        policy_files(&layout.policy()).map_err(Failure::misused)?
    } else {
        let files = starter::files(&settings.trust_domain);
        up::write_policy(&layout.policy(), &files).map_err(Failure::unavailable)?;
        policy::Files::new(files).map_err(Failure::misused)?
    };
    let pulse = Pulse::default();
    let (stop, stopping) = watch::channel(false);
    let running = server::start(&layout, &settings, files, &pulse, &stopping).await;
    let running = running.map_err(Failure::unavailable)?;
    pulse.set_ready();
    let site = settings.site();
    let line = serde_json::json!({ "issuer": site.issuer, "ca": layout.ca() });
    context.output.text(&format!("ready {line}\n"))?;
    up::signal().await;
    stop.send_replace(true);
    running.close().await;
    Ok(())
}

/// `aims node`: a node alone.
pub(crate) async fn node(context: &Context, arguments: ConfigArgs) -> Result<(), Failure> {
    tell();
    let (layout, settings) = own(&arguments.config)?;
    let entrance = node::entrance(&settings, &layout.dir, Role::Node).map_err(Failure::misused)?;
    let (stop, stopping) = watch::channel(false);
    let pulse = Pulse::default();
    let joined = node::join(&layout, &settings, Role::Node, &entrance, &pulse).await;
    let mut joined = joined.map_err(Failure::unavailable)?;
    let served = node::serve(&mut joined, &layout, &entrance, &stopping).await;
    served.map_err(Failure::unavailable)?;
    let socket = format!("unix://{}", layout.workload_socket().display());
    let line = serde_json::json!({ "id": joined.id, "workload_api": socket });
    context.output.text(&format!("ready {line}\n"))?;
    up::signal().await;
    stop.send_replace(true);
    joined.close().await;
    Ok(())
}

/// `aims gateway`: a gateway alone.
pub(crate) async fn gateway(context: &Context, arguments: ConfigArgs) -> Result<(), Failure> {
    tell();
    let (layout, settings) = own(&arguments.config)?;
    let role = Role::Gateway;
    let entrance = node::entrance(&settings, &layout.dir, role).map_err(Failure::misused)?;
    let (stop, stopping) = watch::channel(false);
    let pulse = Pulse::default();
    let joined = node::join(&layout, &settings, role, &entrance, &pulse).await;
    let mut joined = joined.map_err(Failure::unavailable)?;
    let certificate = gateway::own_certificate(&settings, &layout).map_err(Failure::misused)?;
    let served = gateway::serve(&mut joined, &settings, certificate, &stopping).await;
    served.map_err(Failure::unavailable)?;
    let line = serde_json::json!({ "id": joined.id, "gateway": settings.site().gateway });
    context.output.text(&format!("ready {line}\n"))?;
    up::signal().await;
    stop.send_replace(true);
    joined.close().await;
    Ok(())
}

/// The folder and settings of a component that has a configuration of its own.
fn own(config: &Path) -> Result<(Layout, Settings), Failure> {
    let settings = Settings::read(config).map_err(Failure::misused)?;
    let dir = config.parent().filter(|dir| !dir.as_os_str().is_empty());
    let layout = Layout::make(dir.unwrap_or(Path::new("."))).map_err(Failure::misused)?;
    Ok((layout, settings))
}

/// What goes wrong is told on stderr.
fn tell() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AIMS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A second subscriber in one process is refused, which is as well.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
