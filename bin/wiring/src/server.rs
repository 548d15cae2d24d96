//! The server: state, log, keys, its four doors, and the jobs that keep it in order.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use api::Origin;
use api::admin::{self, Desk};
use env::rows::LogMark;
use env::{Change, Clock, Entity, Expect, Key, Store, Unavailable, World, Write};
use flow::apply_policy::describe;
use flow::{boot, issuing};
use link::{NoPeers, Presented, SpireWiring, Wiring};
use monitoring::Component;
use policy::Files;
use store::Sqlite;
use time::{Span, UnixTime};
use tls::{Clients, server_config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::journal::{self, LogJournal};
use super::layout::{Layout, Settings};
use super::logs::Pulse;
use super::outside::Outsiders;
use super::platforms::Asker;
use super::prepare::{self, Strangers};
use super::published::Reader;
use super::retention;
use super::tls::certified;
use super::web::Web;
use super::world::{SystemClock, SystemEntropy, Wired};

/// The server's world.
pub type ServerWorld = Wired<Sqlite, NoPeers>;

/// How often what ended is swept.
const SWEEP_EVERY: Span = Span::from_seconds(60);
/// How often the size and root of the log are remembered in the state database.
const MARK_EVERY: Span = Span::from_seconds(5);
/// How often what has to be renewed in time is looked over.
const WATCH_EVERY: Span = Span::from_seconds(5);
/// The longest pause between two looks at the key rings.
const ROTATE_EVERY: Span = Span::from_seconds(60);

/// What to do about a clock that jumped back.
pub const CLOCK_HINT: &str = "set the clock right (NTP) and start again; if it was ahead before \
                              and is right now, start once with `--clock-was-ahead`";

/// What to do where the first intermediate was not had.
const SUPERIOR_HINT: &str = "a server without an X.509 authority can issue nothing: mend what \
                             `[upstream_authority]` in aims.toml names, and start again";

/// A running server.
pub struct Server {
    /// Its world.
    pub world: Arc<ServerWorld>,
    /// Its log.
    pub journal: Arc<LogJournal>,
    /// PEM of the authority that the HTTPS listeners' certificates are of.
    pub ca: String,
    tasks: JoinSet<()>,
}

/// Starts a server. `files`: the policy set of a first start.
pub async fn start(
    layout: &Layout,
    settings: &Settings,
    files: Files,
    pulse: &Pulse,
    stop: &watch::Receiver<bool>,
) -> Result<Server, String> {
    let keys = prepare::keys(layout, settings, "server", &pulse.devices).await?;
    pulse.set_sealed(keys.is_sealed());
    let database = layout.at("state.db");
    let origin = format!("{}/log/server", settings.trust_domain);
    let mark = remembered(&database)?;
    let journal = journal::open(&layout.log("server"), origin.clone(), &keys, mark).await?;
    pulse.logs.add("server", Arc::clone(&journal));
    let store = open_store(&database, &journal).await?;
    let superior = match &settings.upstream_authority {
        Some(authority) => {
            let domain = &settings.trust_domain;
            Some(authority.open(&layout.dir, domain, &pulse.devices).await?)
        }
        None => None,
    };
    let world = Arc::new(ServerWorld {
        store,
        keys: Arc::clone(&keys),
        peers: NoPeers,
        clock: SystemClock { newest: journal.newest() },
        entropy: SystemEntropy::default(),
        component: Component("server".to_owned()),
        site: settings.site(),
        platforms: Some(Arc::new(Asker::new(settings, &layout.dir)?)),
        published: Some(Arc::new(Reader::new(settings)?)),
        outside: Some(Arc::new(Outsiders::new(settings, &layout.dir)?)),
        superior,
    });
    let names = vec![settings.host.clone()];
    if pulse.takes_clock() {
        journal.take_clock(world.as_ref()).await?;
    }
    let ready = boot::ready(world.as_ref(), files, &names).await.map_err(|why| not_ready(&why))?;
    ready.map_err(|refusal| describe(&refusal))?;
    let mut server = Server { world, journal, ca: String::new(), tasks: JoinSet::new() };
    server.listen(layout, settings, pulse, stop).await?;
    server.jobs(names, stop);
    server.watch(pulse.clone());
    let (world, log) = (Arc::clone(&server.world), server.journal.log.clone());
    server.tasks.spawn(retention::run(world, log, origin));
    Ok(server)
}

/// Why the state cannot be brought up to what a server needs.
fn not_ready(why: &Unavailable) -> String {
    if why.part == issuing::PART {
        return format!("{why}\n  hint: {CLOCK_HINT}");
    }
    if why.part == flow::superior::PART {
        return format!("{why}\n  hint: {SUPERIOR_HINT}");
    }
    why.to_string()
}

/// The size and root that the state database remembers of the log: a log that is shorter was rolled
/// back (docs/design.md §7).
fn remembered(database: &Path) -> Result<Option<(u64, tlog::Hash)>, String> {
    let key = Key::of::<LogMark>(MARK_ID);
    let bytes = Sqlite::peek(database, &key);
    let bytes = bytes.map_err(|error| format!("{error}\n  hint: {}", error.hint()))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let mark = LogMark::decode(&bytes).map_err(|error| error.to_string())?;
    let root = tlog::Hash::parse(&mark.root);
    let root = root.map_err(|_| "the remembered root of the log does not read".to_owned())?;
    Ok(Some((mark.size, root)))
}

/// How often the server looks at the clock for its own credential, which may be set.
const LOOK_AGAIN: Span = Span::from_seconds(60);
/// After how long it tries again where that one was not renewed.
const RENEW_AGAIN: Span = Span::from_seconds(30);
/// The row that remembers the server's log.
const MARK_ID: &str = "log:server";

async fn open_store(database: &Path, journal: &Arc<LogJournal>) -> Result<Sqlite, String> {
    let (path, sink) = (database.to_owned(), Arc::clone(journal));
    let opened = tokio::task::spawn_blocking(move || Sqlite::open(&path, sink)).await;
    let opened = opened.map_err(|error| error.to_string())?;
    let store = opened.map_err(|error| format!("{error}\n  hint: {}", error.hint()))?;
    let uses = journal::used(journal, SystemClock::read()).await?;
    store.restore(uses).map_err(|error| error.to_string())?;
    Ok(store)
}

impl Server {
    async fn listen(
        &mut self,
        layout: &Layout,
        settings: &Settings,
        pulse: &Pulse,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        let strangers = Arc::new(Strangers::default());
        let web = Web::new(&world, settings).await?;
        self.ca.clone_from(&web.ca);
        layout.write("ca.pem", self.ca.as_bytes(), 0o644)?;
        let certificates = Arc::clone(&web.certificates);
        self.tasks.spawn(web.follow(Some(layout.clone())));
        let counted = Arc::clone(&strangers);
        let refused: api::OnRefused = Arc::new(move |source, unread| {
            counted.count(source, unread.check());
        });
        let (of_pages, of_decisions) = (Arc::clone(&strangers), Arc::clone(&strangers));
        let decisions = decisions::router(decisions::Parts {
            world: Arc::clone(&world),
            on_refused: Arc::new(move |source, check| of_decisions.count(&source, check)),
        });
        let parts = api::Parts {
            world: Arc::clone(&world),
            tiles: Arc::new(pulse.logs.clone()),
            health: Arc::new(pulse.clone()),
            limits: api::Limits::default(),
            on_refused: Arc::clone(&refused),
            pages: console::router(console::Parts {
                world: Arc::clone(&world),
                on_refused: Arc::new(move |source, check| of_pages.count(&source, check)),
                stories: super::stories::of(pulse.logs.clone()),
            })
            .merge(decisions),
        };
        let origin = Origin::new(parts);
        let fault = |error: &dyn std::fmt::Display| error.to_string();
        for (offset, clients) in [(0, Clients::NotAsked), (1, Clients::Demanded)] {
            let tls = server_config(Arc::clone(&certificates) as _, clients, tls::HTTP);
            let tls = tls.map_err(|error| fault(&error))?;
            let listener = bind(settings, offset).await?;
            let (origin, stopped) = (origin.clone(), stopped(stop));
            self.tasks.spawn(async move { origin.serve(listener, tls, stopped).await });
        }
        self.node_api(settings, origin, &strangers, pulse, stop).await?;
        self.spire_api(settings, &strangers, stop).await?;
        let desk = Desk::new(admin::Parts {
            world,
            audit: Arc::new(pulse.logs.clone()),
            health: Arc::new(pulse.clone()),
            on_refused: refused,
            owner: admin::own_uid(),
        });
        let socket = admin::bind(&layout.admin_socket()).map_err(|error| fault(&error))?;
        let stopped = stopped(stop);
        self.tasks.spawn(async move { desk.serve(socket, stopped).await });
        self.tasks.spawn(super::reassessment::follow(Arc::clone(&self.world)));
        let world = Arc::clone(&self.world);
        self.tasks.spawn(async move {
            loop {
                world.clock.sleep(SWEEP_EVERY).await;
                strangers.record(world.as_ref()).await;
            }
        });
        Ok(())
    }

    /// The node API.
    async fn node_api(
        &mut self,
        settings: &Settings,
        origin: Origin<ServerWorld>,
        strangers: &Arc<Strangers>,
        pulse: &Pulse,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        let presented = self.shown(settings, Shown::ToNodes).await?;
        self.federation(settings, &presented, origin.clone(), stop).await?;
        let (counted, presence) = (Arc::clone(strangers), pulse.clone());
        let wiring = Wiring {
            presented,
            on_refused: Box::new(move |source, check| counted.count(&source, check)),
            on_heard: Box::new(move |id, troubles| {
                presence.heard_of(&id.to_string(), SystemClock::read(), troubles);
            }),
            token_endpoint: Box::new(move |call| {
                let origin = origin.clone();
                Box::pin(async move {
                    let component = call.component.to_string();
                    let fields: Vec<_> = call
                        .headers
                        .iter()
                        .map(|(name, value)| ((*name).to_owned(), value.expose().to_owned()))
                        .collect();
                    Ok(origin.token(&component, &call.form, &fields).await)
                })
            }),
        };
        let listener = bind(settings, 2).await?;
        let stopped = stopped(stop);
        self.tasks.spawn(async move {
            if let Err(error) = link::serve(listener, world, wiring, stopped).await {
                tracing::error!(%error, "node api");
            }
        });
        Ok(())
    }

    /// SPIRE's server API, for SPIRE agents, where the settings name a port for it.
    async fn spire_api(
        &mut self,
        settings: &Settings,
        strangers: &Arc<Strangers>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), String> {
        let Some(port) = settings.spire_port else { return Ok(()) };
        let world = Arc::clone(&self.world);
        let counted = Arc::clone(strangers);
        let wiring = SpireWiring {
            presented: self.shown(settings, Shown::ToSpireAgents).await?,
            on_refused: Box::new(move |source, check| counted.count(&source, check)),
        };
        let listener = bind_port(settings, port).await?;
        let stopped = stopped(stop);
        self.tasks.spawn(async move {
            if let Err(error) = link::serve_spire(listener, world, wiring, stopped).await {
                tracing::error!(%error, "spire api");
            }
        });
        Ok(())
    }

    /// A certificate of the server, renewed at half life.
    async fn shown(&mut self, settings: &Settings, shown: Shown) -> Result<Presented, String> {
        let world = Arc::clone(&self.world);
        let (names, addresses) = (vec![settings.host.clone()], addresses(settings)?);
        let own = shown.identity(world.as_ref(), &names, &addresses).await;
        let own = own.map_err(|why| why.to_string())?;
        let chain = |own: &boot::Identity| -> Vec<Vec<u8>> {
            own.chain.iter().map(|one| one.as_bytes().to_vec()).collect()
        };
        let presented = Presented::new(certified(chain(&own), &world.keys, &own.key));
        let renewed = presented.clone();
        self.tasks.spawn(async move {
            let mut own = own;
            loop {
                let pause = own.renew.since(SystemClock::read()).max(Span::from_seconds(1));
                let is_shown = chain(&own);
                let is_mistrusted = tokio::select! {
                    () = world.clock.sleep(pause.min(LOOK_AGAIN)) => false,
                    () = flow::authorities::until_mistrusted(world.as_ref(), &is_shown) => true,
                };
                if !is_mistrusted && SystemClock::read() < own.renew {
                    continue;
                }
                match shown.identity(world.as_ref(), &names, &addresses).await {
                    Ok(next) => {
                        renewed.replace(certified(chain(&next), &world.keys, &next.key));
                        forget(&world, &own).await;
                        own = next;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the server's own certificate was not renewed");
                        // Also where the old one is mistrusted: no loop without a pause.
                        world.clock.sleep(RENEW_AGAIN).await;
                        own.renew = SystemClock::read();
                    }
                }
            }
        });
        Ok(presented)
    }

    /// The bundle endpoint in the profile `https_spiffe`, and the client of the others' endpoints.
    ///
    /// SPIFFE Federation §5.2.2.3: "The server certificate MUST be a valid X509-SVID", and "servers
    /// MUST NOT require client authentication": so neither the issuer's port nor that of mutual
    /// TLS. It is the same origin there, shown by the certificate of the node API.
    async fn federation(
        &mut self,
        settings: &Settings,
        presented: &Presented,
        origin: Origin<ServerWorld>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), String> {
        let fetcher = super::federation::fetcher(settings)?;
        self.tasks.spawn(super::federation::follow(Arc::clone(&self.world), fetcher));
        self.tasks.spawn(super::outside::follow(Arc::clone(&self.world)));
        self.tasks.spawn(super::outside::follow_answers(Arc::clone(&self.world)));
        let Some(port) = settings.federation_port else { return Ok(()) };
        let tls = server_config(Arc::new(presented.clone()), Clients::NotAsked, tls::HTTP);
        let tls = tls.map_err(|error| error.to_string())?;
        let listener = bind_port(settings, port).await?;
        let stopped = stopped(stop);
        self.tasks.spawn(async move { origin.serve(listener, tls, stopped).await });
        Ok(())
    }

    /// Looks over what has to be renewed in time, its own and others'.
    fn watch(&mut self, pulse: Pulse) {
        let world = Arc::clone(&self.world);
        self.tasks.spawn(async move {
            loop {
                let begun = SystemClock::read();
                match flow::watch::look(world.as_ref(), &pulse.nodes()).await {
                    Ok(seen) => pulse.looked(seen, begun),
                    Err(error) => tracing::warn!(%error, "what must be renewed was not looked at"),
                }
                world.clock.sleep(WATCH_EVERY).await;
            }
        });
    }

    /// Rotation, sweeping, and remembering how far the log is.
    fn jobs(&mut self, names: Vec<String>, stop: &watch::Receiver<bool>) {
        let world = Arc::clone(&self.world);
        self.tasks.spawn(async move {
            loop {
                let next = match flow::rotate::step(world.as_ref(), &names).await {
                    Ok(next) => next.since(SystemClock::read()).min(ROTATE_EVERY),
                    Err(error) => {
                        tracing::error!(%error, "keys were not rotated");
                        Span::from_seconds(5)
                    }
                };
                if let Err(error) = flow::rotate::forget(world.as_ref()).await {
                    tracing::error!(%error, "a private key that signs no longer was not destroyed");
                }
                world.clock.sleep(next.max(Span::from_seconds(1))).await;
            }
        });
        let world = Arc::clone(&self.world);
        self.tasks.spawn(async move {
            loop {
                world.clock.sleep(SWEEP_EVERY).await;
                if let Err(error) = approve::expire::expire(world.as_ref()).await {
                    tracing::warn!(%error, "what nobody answered was not ended");
                }
                if let Err(error) = world.store.sweep(SystemClock::read()).await {
                    tracing::warn!(%error, "what ended was not swept");
                }
            }
        });
        let (world, log) = (Arc::clone(&self.world), self.journal.log.clone());
        let mut stopping = stop.clone();
        self.tasks.spawn(async move {
            let mut size = 0;
            loop {
                let last = tokio::select! {
                    () = world.clock.sleep(MARK_EVERY) => false,
                    _ = stopping.wait_for(|stop| *stop) => true,
                };
                let promised = log.promised();
                if promised.0 != size {
                    size = promised.0;
                    remember(&world, promised).await;
                }
                if last {
                    return;
                }
            }
        });
    }

    /// Lets what is under way finish, and closes the log.
    pub async fn close(mut self) {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        let Self { world, journal, .. } = self;
        // An older copy of the log is known by this at the next start.
        remember(&world, journal.log.promise_all().await).await;
        drop(world);
        journal.log.clone().close().await;
    }
}

/// Which certificate of the server: who asks for it looks for another name.
#[derive(Clone, Copy)]
enum Shown {
    ToNodes,
    ToSpireAgents,
}

impl Shown {
    async fn identity(
        self,
        world: &ServerWorld,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<boot::Identity, Unavailable> {
        match self {
            Self::ToNodes => boot::server_identity(world, names, addresses).await,
            Self::ToSpireAgents => boot::spire_identity(world, names, addresses).await,
        }
    }
}

/// A change without a record: it says nothing but what the log itself says.
async fn remember(world: &ServerWorld, (size, root): (u64, tlog::Hash)) {
    let mark = LogMark { log: MARK_ID.to_owned(), size, root: root.to_string() };
    let writes = vec![Write::put(&mark, Expect::Any)];
    let change = Change { writes, uses: Vec::new(), records: Vec::new() };
    if let Err(error) = world.store.commit(change).await {
        tracing::warn!(%error, "the size of the log was not remembered");
    }
}

pub(crate) async fn forget(world: &ServerWorld, old: &boot::Identity) {
    if let Err(error) = env::Keys::destroy(world.keys(), &old.key).await {
        tracing::warn!(%error, "an old key was not removed");
    }
}

/// The addresses that certificates of listeners name.
pub fn addresses(settings: &Settings) -> Result<Vec<IpAddr>, String> {
    let listen = listen(settings)?;
    Ok(if listen.is_unspecified() { Vec::new() } else { vec![listen] })
}

/// The address that is listened on.
pub fn listen(settings: &Settings) -> Result<IpAddr, String> {
    settings.listen.parse().map_err(|_| {
        format!("`listen` is `{}`; it must be an address such as 127.0.0.1", settings.listen)
    })
}

/// The listener of port N + `offset`.
pub async fn bind(settings: &Settings, offset: u16) -> Result<TcpListener, String> {
    bind_port(settings, settings.port(offset)).await
}

async fn bind_port(settings: &Settings, port: u16) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(SocketAddr::new(listen(settings)?, port)).await;
    bound.map_err(|error| unbound(settings, port, &error))
}

/// Why nothing listens at a port, and what to do about it.
pub fn unbound(settings: &Settings, port: u16, error: &std::io::Error) -> String {
    let option = match Some(port) {
        port if port == settings.federation_port => "`--federation-port`",
        port if port == settings.spire_port => "`--spire-port`",
        _ => "`--port-base`",
    };
    match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => format!(
            "`listen` is `{}`, which is no address of this machine\n  hint: in aims.toml, name one \
             of its own, or `0.0.0.0` for all of them",
            settings.listen
        ),
        _ => format!("port {port} cannot be used: {error}\n  hint: choose another with {option}"),
    }
}

/// Ends when the process is to stop.
pub fn stopped(stop: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut stop = stop.clone();
    async move {
        // A sender that is gone means the same.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

/// When a component is to be renewed, at half the life of its certificate.
pub fn half_life(chain: &[Vec<u8>], now: UnixTime) -> UnixTime {
    let leaf = chain.first().and_then(|der| x509::Certificate::parse(der).ok());
    let until = leaf.map_or(now, |leaf| leaf.not_after());
    now.plus(Span::from_millis(until.since(now).millis() / 2))
}
