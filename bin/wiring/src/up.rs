//! `aims up`: server, node and gateway in one process, each what it is by itself.

use std::path::Path;

use attestation::mechanism::Role;
use flow::agents::Operator;
use flow::{boot, join_token};
use identifier::AgentName;
use time::Span;
use tokio::sync::watch;
use wimse::{Bundles, Scheme};

use super::evidence::Evidence;
use super::layout::{Layout, Settings, policy_files, unwritten};
use super::logs::Pulse;
use super::node::{Entrance, Joined};
use super::server::{Server, addresses};
use super::tls::certified;
use super::{gateway, node, server, starter};

/// A running installation.
pub struct Up {
    /// Its files.
    pub layout: Layout,
    /// Its settings.
    pub settings: Settings,
    /// What it knows of itself.
    pub pulse: Pulse,
    /// The server.
    pub server: Server,
    /// The node.
    pub node: Joined,
    /// The gateway.
    pub gateway: Joined,
    stop: watch::Sender<bool>,
}

/// What the ready line says.
#[derive(Debug, serde::Serialize)]
pub struct Ready {
    /// The issuer.
    pub issuer: String,
    /// Where people begin in the console.
    pub console: String,
    /// The gateway's base URL.
    pub gateway: String,
    /// The Workload API.
    pub workload_api: String,
    /// The file to trust.
    pub ca: String,
    /// The trust domain.
    pub trust_domain: String,
    /// The policy version in force.
    pub policy: String,
}

/// Why there are no settings and no policy to start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unprepared {
    /// What was asked for, or what lies there, makes no sense.
    Misused(String),
    /// Files cannot be made.
    Unavailable(String),
}

/// Settings and policy of an installation, made where they are not there yet.
pub fn prepare(
    dir: &Path,
    trust_domain: Option<&str>,
    port_base: Option<u16>,
    federation_port: Option<u16>,
    spire_port: Option<u16>,
) -> Result<(Layout, Settings, policy::Files), Unprepared> {
    use Unprepared::{Misused, Unavailable};
    let layout = Layout::make(dir).map_err(Unavailable)?;
    let path = layout.settings();
    let read = if path.exists() { Some(Settings::read(&path).map_err(Misused)?) } else { None };
    let mut settings = if let Some(settings) = read.clone() {
        settings
    } else {
        let (scheme, domain) = named(trust_domain.unwrap_or(super::layout::TRUST_DOMAIN));
        let port_base = port_base.unwrap_or(super::layout::PORT_BASE);
        Settings { scheme, ..Settings::new(domain, port_base) }
    };
    if let Some(asked) = trust_domain
        && named(asked) != (settings.scheme, settings.trust_domain.as_str())
    {
        let own = match settings.scheme {
            Scheme::Spiffe => settings.trust_domain.clone(),
            Scheme::Wimse => format!("{}://{}", settings.scheme, settings.trust_domain),
        };
        return Err(Misused(format!(
            "this installation is of the trust domain `{own}`, not `{asked}`\n  hint: give another \
             `--dir` for another trust domain"
        )));
    }
    if let Some(port_base) = port_base {
        settings.port_base = port_base;
    }
    if federation_port.is_some() {
        settings.federation_port = federation_port;
    }
    if spire_port.is_some() {
        settings.spire_port = spire_port;
    }
    settings.check().map_err(Misused)?;
    if read.as_ref() != Some(&settings) {
        let text = toml::to_string(&settings).map_err(|error| Misused(error.to_string()))?;
        layout.write("aims.toml", text.as_bytes(), 0o644).map_err(Unavailable)?;
    }
    let layout = layout.with(&settings);
    starter_policy(&layout, &settings).map_err(Unavailable)?;
    let files = policy_files(&layout.policy()).map_err(Misused)?;
    Ok((layout, settings, files))
}

/// A trust domain as it is asked for: a name, which is one of SPIFFE, or an origin.
pub fn named(asked: &str) -> (Scheme, &str) {
    let wimse = asked.strip_prefix("wimse://").map(|name| (Scheme::Wimse, name));
    wimse.unwrap_or((Scheme::Spiffe, asked.strip_prefix("spiffe://").unwrap_or(asked)))
}

/// Lays the starter policy where there is no policy folder: whole, or not at all.
pub fn starter_policy(layout: &Layout, settings: &Settings) -> Result<(), String> {
    let (policy, new) = (layout.policy(), layout.at(".policy.new"));
    if policy.exists() {
        return Ok(());
    }
    let fault = |error| unwritten(&policy, &error);
    if new.exists() {
        std::fs::remove_dir_all(&new).map_err(fault)?;
    }
    write_policy(&new, &starter::files(settings.origin()?.as_str()))?;
    std::fs::rename(&new, &policy).map_err(fault)
}

/// Writes a policy directory.
pub fn write_policy(
    dir: &Path,
    files: &std::collections::BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, text) in files {
        let path = dir.join(name);
        let fault = |error| unwritten(&path, &error);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fault)?;
        }
        std::fs::write(&path, text).map_err(fault)?;
    }
    Ok(())
}

impl Up {
    /// Starts everything. When it returns, everything serves.
    pub async fn start(
        layout: Layout,
        settings: Settings,
        files: policy::Files,
        pulse: Pulse,
    ) -> Result<Self, String> {
        let (stop, stopping) = watch::channel(false);
        let server = server::start(&layout, &settings, files, &pulse, &stopping).await?;
        let entrance = entrance(&server, &settings, Role::Node).await?;
        let node = node::join(&layout, &settings, Role::Node, &entrance, &pulse).await;
        let mut node = node.map_err(|why| cut_off(why, &layout))?;
        node::serve(&mut node, &layout, &settings, &entrance, &stopping).await?;
        let entrance = self::entrance(&server, &settings, Role::Gateway).await?;
        let gateway = node::join(&layout, &settings, Role::Gateway, &entrance, &pulse).await;
        let mut gateway = gateway.map_err(|why| cut_off(why, &layout))?;
        let names = vec![settings.host.clone()];
        let addresses = addresses(&settings)?;
        let web = boot::web_identity(server.world.as_ref(), &names, &addresses).await;
        let (web, _) = web.map_err(|why| why.to_string())?;
        let chain = web.chain.iter().map(|one| one.as_bytes().to_vec()).collect();
        let certificate = certified(chain, &server.world.keys, &web.key);
        gateway::serve(&mut gateway, &settings, certificate, &stopping).await?;
        pulse.set_ready();
        Ok(Self { layout, settings, pulse, server, node, gateway, stop })
    }

    /// What the ready line says.
    pub async fn ready(&self) -> Result<Ready, String> {
        let facts = flow::facts::basis(self.server.world.as_ref(), Vec::new()).await;
        let facts = facts.map_err(|why| why.to_string())?;
        let site = self.settings.site();
        let path = |path: std::path::PathBuf| path.display().to_string();
        Ok(Ready {
            console: format!("{}/console", site.issuer),
            issuer: site.issuer,
            gateway: site.gateway,
            workload_api: format!("unix://{}", path(self.layout.workload_socket())),
            ca: path(self.layout.ca()),
            trust_domain: self.settings.trust_domain.clone(),
            policy: facts.set().version().to_string(),
        })
    }

    /// Stops everything in good order.
    pub async fn close(self) {
        self.stop.send_replace(true);
        self.gateway.close().await;
        self.node.close().await;
        self.server.close().await;
    }
}

/// A part of this installation that an operator cut off does not join until he lets it: by the
/// server alone.
fn cut_off(why: String, layout: &Layout) -> String {
    if !why.contains("is not in force") {
        return why;
    }
    let settings = layout.settings();
    format!(
        "{why}\n  hint: start `aims server --config {}`, then `aims node resume` or `aims node \
         forget` it",
        settings.display()
    )
}

/// The way in for a component of the same process: a join token of its own, made now.
async fn entrance(server: &Server, settings: &Settings, role: Role) -> Result<Entrance, String> {
    let world = server.world.as_ref();
    let operator = Operator("aims up".to_owned());
    let name = AgentName::parse("local").map_err(|error| error.to_string())?;
    let life = Span::from_seconds(60);
    let made = join_token::create(world, &operator, role, Some(name), life).await;
    let token = made.map_err(|why| why.to_string())?.into_value();
    let facts = flow::facts::basis(world, Vec::new()).await.map_err(|why| why.to_string())?;
    let mut trust = Bundles::new();
    if let Some(bundle) = facts.trust.bundles.get(&facts.trust.own) {
        trust.insert(facts.trust.own.clone(), bundle.clone());
    }
    Ok(Entrance {
        address: format!("{}:{}", settings.listen, settings.port(2)),
        trust,
        evidence: Evidence::Token(token.expose().to_owned()),
        name: "local".to_owned(),
        ca: server.ca.clone(),
    })
}

/// Ends with the signal to stop. From the call on, not only when it is awaited, the signal ends
/// nothing by itself: to be called before anybody is told that we are ready.
pub fn signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    let told = |signal: std::io::Result<Signal>| async move {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::error!(%error, "a signal to stop cannot be waited for");
                std::future::pending::<()>().await;
            }
        }
    };
    let (terminate, interrupt) =
        (told(signal(SignalKind::terminate())), told(signal(SignalKind::interrupt())));
    async move {
        tokio::select! {
            () = terminate => {}
            () = interrupt => {}
        }
    }
}
