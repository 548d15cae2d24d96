//! `aims up`: server, node and gateway in one process, each what it is by itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use attestation::mechanism::Role;
use flow::agents::Operator;
use flow::join_token;
use identifier::AgentName;
use time::Span;
use tokio::sync::watch;
use wimse::{Bundles, Scheme};

use super::evidence::Evidence;
use super::layout::{Layout, Settings, policy_files, unwritten};
use super::lock::{self, Lock};
use super::logs::Pulse;
use super::node::{Entrance, Joined};
use super::server::Server;
use super::web::Web;
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
    /// Files cannot be made, another process runs there, or a port is taken.
    Unavailable(String),
}

/// What `aims up` was asked for beside what the settings say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The trust domain.
    pub trust_domain: Option<&'a str>,
    /// The first of four ports.
    pub port_base: Option<u16>,
    /// The port of the bundle endpoint.
    pub federation_port: Option<u16>,
    /// The port of SPIRE's server API.
    pub spire_port: Option<u16>,
}

/// Settings and policy that an installation can start with. Until [`Prepared::write`] its folder is
/// as it was, but for the lock that keeps others out of it.
#[derive(Debug)]
pub struct Prepared {
    /// Its files.
    pub layout: Layout,
    /// Its settings.
    pub settings: Settings,
    /// Its policy.
    pub files: policy::Files,
    starter: Option<BTreeMap<String, String>>,
    read: Option<Settings>,
    locks: Vec<Lock>,
}

/// A folder that is ours as long as this lives, and what is to be written when it runs.
#[derive(Debug)]
pub struct Held {
    layout: Layout,
    changed: Option<(Settings, Vec<String>)>,
    _locks: Vec<Lock>,
}

/// Looks at what lies in `dir` and what was asked for, and locks the folder.
pub fn prepare(dir: &Path, asked: Asked<'_>) -> Result<Prepared, Unprepared> {
    use Unprepared::{Misused, Unavailable};
    let path = dir.join("aims.toml");
    // No folder is made for options that make no sense.
    settled(&path, asked).map_err(Misused)?;
    let layout = Layout::make(dir).map_err(Unavailable)?;
    let parts = ["server", Role::Node.name(), Role::Gateway.name()];
    let locks = parts.into_iter().map(|part| lock::lock(&layout, part)).collect::<Result<_, _>>();
    let locks = locks.map_err(|why| Unavailable(why.to_string()))?;
    // Another process may have changed them before it let go.
    let (settings, read) = settled(&path, asked).map_err(Misused)?;
    ports_are_free(&settings).map_err(Unavailable)?;
    let layout = layout.with(&settings);
    let starter = if layout.policy().exists() {
        None
    } else {
        Some(starter::files(settings.origin().map_err(Misused)?.as_str()))
    };
    let files = match &starter {
        Some(files) => policy::Files::new(files.clone()).map_err(|error| error.to_string()),
        None => policy_files(&layout.policy()),
    };
    let files = files.map_err(Misused)?;
    if !layout.at("state.db").exists() {
        same_origin(&settings, &files).map_err(Misused)?;
    }
    Ok(Prepared { layout, settings, files, starter, read, locks })
}

impl Prepared {
    /// Writes what a start needs and is not there yet.
    pub fn write(self) -> Result<(Layout, Settings, policy::Files, Held), String> {
        let Self { layout, settings, files, starter, read, locks } = self;
        let changed = match read {
            Some(read) if read != settings => Some((settings.clone(), changes(&read, &settings))),
            Some(_) => None,
            None => {
                write_settings(&layout, &settings)?;
                None
            }
        };
        if let Some(starter) = starter {
            lay_policy(&layout, &starter)?;
        }
        let held = Held { layout: layout.clone(), changed, _locks: locks };
        Ok((layout, settings, files, held))
    }
}

impl Held {
    /// It runs with what was asked for, so the settings say it from now on. What became another is
    /// to be told.
    pub fn settle(&mut self) -> Result<Vec<String>, String> {
        let Some((settings, changes)) = self.changed.take() else { return Ok(Vec::new()) };
        write_settings(&self.layout, &settings)?;
        Ok(changes)
    }
}

fn write_settings(layout: &Layout, settings: &Settings) -> Result<(), String> {
    let text = toml::to_string(settings).map_err(|error| error.to_string())?;
    layout.write("aims.toml", text.as_bytes(), 0o644)
}

/// The settings with what was asked for, and as they lie there.
fn settled(path: &Path, asked: Asked<'_>) -> Result<(Settings, Option<Settings>), String> {
    let read = if path.exists() { Some(Settings::read(path)?) } else { None };
    let mut settings = read.clone().unwrap_or_else(|| {
        let name = asked.trust_domain.unwrap_or(super::layout::TRUST_DOMAIN);
        let (scheme, domain) = named(name);
        Settings { scheme, ..Settings::new(domain, super::layout::PORT_BASE) }
    });
    if let Some(asked) = asked.trust_domain
        && named(asked) != (settings.scheme, settings.trust_domain.as_str())
    {
        let own = match settings.scheme {
            Scheme::Spiffe => settings.trust_domain.clone(),
            Scheme::Wimse => format!("{}://{}", settings.scheme, settings.trust_domain),
        };
        return Err(format!(
            "this installation is of the trust domain `{own}`, not `{asked}`\n  hint: give another \
             `--dir` for another trust domain"
        ));
    }
    settings.port_base = asked.port_base.unwrap_or(settings.port_base);
    settings.federation_port = asked.federation_port.or(settings.federation_port);
    settings.spire_port = asked.spire_port.or(settings.spire_port);
    settings.check()?;
    Ok((settings, read))
}

/// What becomes another, in words of those who have to know it.
fn changes(old: &Settings, new: &Settings) -> Vec<String> {
    let mut changes = Vec::new();
    if old.port_base != new.port_base {
        changes.push(format!(
            "`port_base` changes from {} to {}: the issuer was {} and is {} now; clients, \
             resources and nodes that know the old ports must be told",
            old.port_base,
            new.port_base,
            old.site().issuer,
            new.site().issuer
        ));
    }
    let ports = [
        ("federation_port", old.federation_port, new.federation_port),
        ("spire_port", old.spire_port, new.spire_port),
    ];
    for (name, old, new) in ports {
        match (old, new) {
            (Some(old), Some(new)) if old != new => {
                changes.push(format!("`{name}` changes from {old} to {new}"));
            }
            (None, Some(new)) => changes.push(format!("`{name}` is {new} from now on")),
            _ => {}
        }
    }
    changes
}

/// Each port can be had now: what is taken is told before anything is written.
fn ports_are_free(settings: &Settings) -> Result<(), String> {
    let own = (0..4).map(|offset| settings.port(offset));
    let ports: Vec<u16> = own.chain(settings.federation_port).chain(settings.spire_port).collect();
    let ip: std::net::IpAddr = super::server::listen(settings)?;
    for port in ports {
        let bound = std::net::TcpListener::bind((ip, port));
        bound.map_err(|error| super::server::unbound(settings, port, &error))?;
    }
    Ok(())
}

/// A first policy is of the same trust domain: the components would look for each other in vain.
fn same_origin(settings: &Settings, files: &policy::Files) -> Result<(), String> {
    // What does not compile is told with its lines.
    let Ok(set) = policy::PolicySet::compile(files.clone()) else { return Ok(()) };
    let origin = settings.origin()?;
    if *set.origin() == origin {
        return Ok(());
    }
    Err(format!(
        "the settings are of `{origin}`, and `policy/domain.toml` is of `{}`\n  hint: nothing was \
         written; give `--trust-domain` as that file has it, or mend the file",
        set.origin()
    ))
}

/// A trust domain as it is asked for: a name, which is one of SPIFFE, or an origin.
pub fn named(asked: &str) -> (Scheme, &str) {
    let wimse = asked.strip_prefix("wimse://").map(|name| (Scheme::Wimse, name));
    wimse.unwrap_or((Scheme::Spiffe, asked.strip_prefix("spiffe://").unwrap_or(asked)))
}

/// Lays the starter policy where there is no policy folder: whole, or not at all.
pub fn starter_policy(layout: &Layout, settings: &Settings) -> Result<(), String> {
    if layout.policy().exists() {
        return Ok(());
    }
    lay_policy(layout, &starter::files(settings.origin()?.as_str()))
}

fn lay_policy(layout: &Layout, files: &BTreeMap<String, String>) -> Result<(), String> {
    let (policy, new) = (layout.policy(), layout.at(".policy.new"));
    let fault = |error| unwritten(&policy, &error);
    if new.exists() {
        std::fs::remove_dir_all(&new).map_err(fault)?;
    }
    write_policy(&new, files)?;
    std::fs::rename(&new, &policy).map_err(fault)
}

/// Writes a policy directory.
pub fn write_policy(dir: &Path, files: &BTreeMap<String, String>) -> Result<(), String> {
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
        let doors = node::doors(&layout, &settings, &entrance.ca)?;
        let node = node::join(&layout, &settings, Role::Node, &entrance, &pulse).await;
        let mut node = node.map_err(|why| cut_off(why, &layout))?;
        node::serve(&mut node, doors, &stopping)?;
        let entrance = self::entrance(&server, &settings, Role::Gateway).await?;
        let gateway = node::join(&layout, &settings, Role::Gateway, &entrance, &pulse).await;
        let mut gateway = gateway.map_err(|why| cut_off(why, &layout))?;
        let web = Web::new(&server.world, &settings).await?;
        let certificates = Arc::clone(&web.certificates);
        let listener = server::bind(&settings, 3).await?;
        gateway::serve(&mut gateway, &settings, (certificates, listener), &stopping).await?;
        gateway.tasks.spawn(web.follow(None));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// All files below, by what is in them; but for what keeps others out.
    fn whole(dir: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("lock") {
                    found.insert(path.display().to_string(), std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    /// The first of four ports that are free now.
    fn free(begin: u16) -> u16 {
        let is_free = |base: &u16| {
            (0..4).all(|offset| std::net::TcpListener::bind(("127.0.0.1", base + offset)).is_ok())
        };
        (0..500).map(|step| begin + step * 4).find(is_free).unwrap()
    }

    fn refused(dir: &Path, asked: Asked<'_>) -> String {
        let before = whole(dir);
        let why = match prepare(dir, asked).expect_err("it is refused") {
            Unprepared::Misused(why) | Unprepared::Unavailable(why) => why,
        };
        assert_eq!(whole(dir), before, "{why}");
        why
    }

    #[test]
    fn what_is_refused_changes_nothing_and_what_is_changed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data");
        let of = |name| Asked { trust_domain: Some(name), ..Asked::default() };
        let at = |port| Asked { port_base: Some(port), ..Asked::default() };
        // Nothing is there, and nothing is made.
        for (asked, told) in [
            (of("Local_Example!"), "`trust_domain`: "),
            (at(0), "`port_base` is 0"),
            (at(65_534), "`port_base` is 65534"),
            (Asked { federation_port: Some(0), ..Asked::default() }, "`federation_port` is 0"),
        ] {
            let why = refused(&dir, asked);
            assert!(why.contains(told), "{why}");
            assert!(!dir.exists());
        }
        let port = free(21_000);
        let taken = std::net::TcpListener::bind(("127.0.0.1", port + 2)).unwrap();
        let why = refused(&dir, at(port));
        assert!(why.starts_with(&format!("port {} cannot be used", port + 2)), "{why}");
        assert!(why.ends_with("choose another with `--port-base`"), "{why}");
        drop(taken);
        // After all that, the first start gets what it asks for.
        let asked = Asked { trust_domain: Some("a.example"), ..at(port) };
        let (_, settings, _, mut held) = prepare(&dir, asked).unwrap().write().unwrap();
        assert_eq!(Settings::read(&dir.join("aims.toml")).unwrap(), settings);
        assert_eq!(held.settle().unwrap(), Vec::<String>::new());
        assert_eq!((settings.trust_domain.as_str(), settings.port_base), ("a.example", port));
        // While it runs.
        let next = free(24_000);
        for asked in [Asked::default(), at(next), of("a.example")] {
            let why = refused(&dir, asked);
            assert!(why.contains("another process runs its server"), "{why}");
        }
        drop(held);
        let why = refused(&dir, of("b.example"));
        assert!(why.starts_with("this installation is of the trust domain `a.example`"), "{why}");
        assert!(refused(&dir, at(0)).contains("`port_base` is 0"));
        // Where it does not come to run, nothing is changed.
        let asked = Asked { spire_port: Some(20_999), ..at(next) };
        let before = whole(&dir);
        drop(prepare(&dir, asked).unwrap().write().unwrap());
        assert_eq!(whole(&dir), before);
        // Changed, and told.
        let (_, settings, _, mut held) = prepare(&dir, asked).unwrap().write().unwrap();
        let changes = held.settle().unwrap();
        let [ports, spire] = changes.as_slice() else { panic!("{changes:?}") };
        let told = format!(
            "`port_base` changes from {port} to {next}: the issuer was https://localhost:{port} \
             and is https://localhost:{next} now; "
        );
        assert!(ports.starts_with(&told), "{ports}");
        assert_eq!(spire, "`spire_port` is 20999 from now on");
        assert_eq!((settings.port_base, settings.spire_port), (next, Some(20_999)));
        assert_eq!(Settings::read(&dir.join("aims.toml")).unwrap(), settings);
        drop(held);
        let (_, _, _, mut held) = prepare(&dir, Asked::default()).unwrap().write().unwrap();
        assert_eq!(held.settle().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_first_policy_of_another_trust_domain_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        write_policy(&folder.path().join("policy"), &starter::files("spiffe://a.example")).unwrap();
        let asked = |name| Asked {
            trust_domain: Some(name),
            port_base: Some(free(27_000)),
            ..Asked::default()
        };
        let why = refused(folder.path(), asked("b.example"));
        assert!(why.contains("`policy/domain.toml` is of `spiffe://a.example`"), "{why}");
        prepare(folder.path(), asked("a.example")).unwrap();
    }

    #[test]
    fn an_address_that_this_machine_has_not_is_told_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        // RFC 5737 §3: 192.0.2.0/24 is for documents.
        let text = format!(
            "trust_domain = \"a.example\"\nport_base = {}\nlisten = \"192.0.2.7\"\n",
            free(30_000)
        );
        std::fs::write(folder.path().join("aims.toml"), text).unwrap();
        let why = refused(folder.path(), Asked::default());
        assert!(why.starts_with("`listen` is `192.0.2.7`, which is no address of"), "{why}");
    }
}
