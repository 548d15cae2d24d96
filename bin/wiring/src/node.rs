//! A node: it joins, follows the server, serves the Workload API and `aims run`.

use std::path::Path;
use std::sync::Arc;

use api::FeedState;
use attestation::mechanism::Role;
use env::{Clock, Entropy, Handle, Keys, PeerFault, Peers, Purpose, RenewOrder, World};
use flow::proxy::Tokens;
use flow::workload::requested;
use link::{Address, JoinOrder, Link, Presented};
use monitoring::Component;
use provisioning::renewal::{Trouble, retry_after, spread};
use proxy::{Peer, Upstream};
use socket::Socket;
use store::Memory;
use time::{Span, UnixTime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wimse::{Bundles, WorkloadId};
use workload::broker;
use workload::listener::Listener;
use workload::server::{Profiles, Server as WorkloadServer};

use super::brokers::NodeBrokers;
use super::evidence::Evidence;
use super::journal::{self, LogJournal};
use super::layout::{Layout, Settings};
use super::logs::Pulse;
use super::platform_attestors;
use super::prepare::{self, Strangers};
use super::retention;
use super::run_socket::{self, Runs};
use super::server::{half_life, stopped};
use super::tls::certified;
use super::workloads::{ByPidfd, Identities};
use super::world::{SystemClock, SystemEntropy, Wired};

/// The world of a node or gateway.
pub type ComponentWorld = Wired<Memory, Link>;

/// How often a component looks whether the key that signed its credential is mistrusted, though the
/// feed tells nothing.
const LOOK_AGAIN: Span = Span::from_seconds(60);
/// The shortest pause between two looks.
const LOOK_MIN: Span = Span::from_seconds(1);
/// How often a component looks whether it has something to tell of its renewals, and after how long
/// it tells the same again.
const TELL_EVERY: Span = Span::from_seconds(2);
const TELL_AGAIN: Span = Span::from_seconds(30);
/// How often what is over is recorded and let go.
const SWEEP_EVERY: Span = Span::from_seconds(10);
/// How long a component waits for the first message of the feed.
const FIRST_FEED: std::time::Duration = std::time::Duration::from_secs(10);

/// How a component gets in.
pub struct Entrance {
    /// The server's node API.
    pub address: String,
    /// What is known of the server before the first feed.
    pub trust: Bundles,
    /// The evidence.
    pub evidence: Evidence,
    /// Its name, for its log and its records.
    pub name: String,
    /// PEM of the authorities of the gateway's certificate.
    pub ca: String,
}

/// A component that has joined.
pub struct Joined {
    /// Its world.
    pub world: Arc<ComponentWorld>,
    /// Its log.
    pub journal: Arc<LogJournal>,
    /// Its identifier.
    pub id: String,
    /// The certificate that it shows now.
    pub presented: Presented,
    /// Its tasks: renewal and feed.
    pub tasks: JoinSet<()>,
}

/// Joins, and follows the server until the first facts are there.
pub async fn join(
    layout: &Layout,
    settings: &Settings,
    role: Role,
    entrance: &Entrance,
    pulse: &Pulse,
) -> Result<Joined, String> {
    let part = role.name();
    let keys = prepare::keys(layout, settings, part, &pulse.devices).await?;
    let origin = format!("{}/log/{part}/{}", settings.trust_domain, entrance.name);
    let journal = journal::open(&layout.log(part), origin.clone(), &keys, None).await?;
    pulse.logs.add(part, Arc::clone(&journal));
    let (store, component) = (
        Memory::open(Arc::clone(&journal) as Arc<dyn env::Journal>),
        Component(format!("{part}:{}", entrance.name)),
    );
    let uses = journal::used(&journal, SystemClock::read()).await?;
    store.restore(uses).map_err(|error| error.to_string())?;
    let server = settings.origin()?.workload("/aims/server").map_err(|error| error.to_string())?;
    let address = Address::parse(&entrance.address).map_err(|error| error.to_string())?;
    let (handle, chain, id) = enter(&keys, role, &address, &server, entrance).await?;
    let presented = Presented::new(certified(chain.clone(), &keys, &handle));
    let link =
        Link::new(address, server, presented.clone(), entrance.trust.clone(), SystemClock::read);
    let world = Arc::new(ComponentWorld {
        store,
        keys,
        peers: link,
        clock: SystemClock { newest: journal.newest() },
        entropy: SystemEntropy::default(),
        component,
        site: settings.site(),
        platforms: None,
        published: None,
        outside: None,
        superior: None,
    });
    if pulse.takes_clock() {
        journal.take_clock(world.as_ref()).await?;
    }
    let mut joined =
        Joined { world, journal, id, presented: presented.clone(), tasks: JoinSet::new() };
    joined.follow(pulse).await?;
    joined.renew(presented, handle, chain);
    joined.report();
    let (world, log) = (Arc::clone(&joined.world), joined.journal.log.clone());
    joined.tasks.spawn(retention::run(world, log, origin));
    Ok(joined)
}

/// A key, a request that proves it, and the server's answer.
async fn enter(
    keys: &Arc<keys::KeyStore>,
    role: Role,
    address: &Address,
    server: &WorkloadId,
    entrance: &Entrance,
) -> Result<(Handle, Vec<Vec<u8>>, String), String> {
    let made = requested(keys.as_ref(), Purpose::Component).await;
    let (handle, request) = made.map_err(|error| error.to_string())?;
    let public = keys.public(&handle).map_err(|error| error.to_string())?;
    match admitted(role, (address, server), entrance, (request, &public)).await {
        Ok(joined) => Ok((handle, joined.chain, joined.id.to_string())),
        Err(why) => {
            // Why it was not let in says more than that the key could not be removed either.
            let _ = keys.destroy(&handle).await;
            Err(why)
        }
    }
}

/// What the server says to the evidence.
async fn admitted(
    role: Role,
    (address, server): (&Address, &wimse::WorkloadId),
    entrance: &Entrance,
    (request, public): (Vec<u8>, &jose::PublicKey),
) -> Result<link::Joined, String> {
    let evidence = &entrance.evidence;
    let shown = evidence.show(server.origin().name(), public.spki_der()).await?;
    let mechanism = evidence.mechanism().to_owned();
    let order = JoinOrder { mechanism, role, evidence: shown, request };
    let answer = |challenge| evidence.answer(challenge, public.spki_der());
    let now = SystemClock::read();
    let trust = entrance.trust.clone();
    let joined = link::join(address, server, trust, now, order, answer).await;
    evidence.end().await;
    joined.map_err(|fault| not_joined(&fault, role, entrance))
}

/// Why the server did not let it in, and what to do where the host's own evidence is over.
fn not_joined(fault: &PeerFault, role: Role, entrance: &Entrance) -> String {
    let is_token = matches!(entrance.evidence, Evidence::Token(_));
    if !is_token || !matches!(fault, PeerFault::Refused { .. }) {
        return fault.to_string();
    }
    let (role, name) = (role.name(), &entrance.name);
    format!(
        "{fault}\n  hint: a join token serves once, and each start of a {role} needs its own: on \
         the server, `aims join-token create --role {role} --name {name} --write FILE`; put it \
         where `join_token` says, and start again. A host that is to come back by itself joins by \
         a certificate or its platform (docs/joining.md)"
    )
}

impl Joined {
    /// Follows the feed for ever; returns when the first facts are there.
    async fn follow(&mut self, pulse: &Pulse) -> Result<(), String> {
        let (first, mut heard) = watch::channel(false);
        let (world, pulse) = (Arc::clone(&self.world), pulse.clone());
        self.tasks.spawn(async move {
            let tell = {
                let (world, pulse) = (Arc::clone(&world), pulse.clone());
                move |seq: env::Seq| {
                    first.send_replace(true);
                    let (component, heard) = (world.component.0.clone(), SystemClock::read());
                    pulse.heard(FeedState { component, heard, seq: seq.0 });
                }
            };
            world.peers.follow(world.as_ref(), tell).await;
        });
        let ready = async {
            let _ = heard.wait_for(|heard| *heard).await;
            while flow::facts::basis(self.world.as_ref(), Vec::new()).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(FIRST_FEED, ready).await;
        waited.map_err(|_| "the server sent no facts within ten seconds".to_owned())
    }

    /// Renews the component's own credential at half life, each time with a new key (CRED-11).
    fn renew(&mut self, presented: Presented, handle: Handle, chain: Vec<Vec<u8>>) {
        let (world, id) = (Arc::clone(&self.world), self.id.clone());
        self.tasks.spawn(async move {
            let (mut handle, mut due) = (handle, half_life(&chain, SystemClock::read()));
            let (mut chain, mut failures, mut told) = (chain, 0_u32, 0);
            loop {
                world.clock.sleep(LOOK_MIN).await;
                let pause = due.since(SystemClock::read()).min(LOOK_AGAIN);
                tokio::select! {
                    () = world.clock.sleep(pause) => {}
                    () = news(world.as_ref(), &mut told) => {}
                }
                let is_due = SystemClock::read() >= due;
                if !is_due && !flow::authorities::is_mistrusted(world.as_ref(), &chain).await {
                    continue;
                }
                match renewed(&world).await {
                    Ok((next, renewed)) => {
                        note(flow::watch::mended(world.as_ref(), &id).await);
                        presented.replace(certified(renewed.clone(), &world.keys, &next));
                        due = half_life(&renewed, SystemClock::read());
                        failures = 0;
                        chain = renewed;
                        let old = std::mem::replace(&mut handle, next);
                        if let Err(error) = world.keys.destroy(&old).await {
                            tracing::warn!(%error, "an old key was not removed");
                        }
                    }
                    Err(error) => {
                        if failures == 0 {
                            tracing::error!(%error, "this component's credential was not renewed");
                        }
                        failures += 1;
                        let (now, until) = (SystemClock::read(), not_after(&chain));
                        note(flow::watch::fails(world.as_ref(), &id, until, &error).await);
                        let [high, low, ..] = world.entropy.public();
                        let random = u16::from_be_bytes([high, low]);
                        due = now.plus(spread(retry_after(failures, now, until), random));
                    }
                }
            }
        });
    }

    /// Tells the server which renewals fail here, as soon as it can: when that changes, and now and
    /// then as long as some do, since a server that started again does not know.
    fn report(&mut self) {
        let world = Arc::clone(&self.world);
        self.tasks.spawn(async move {
            let mut told = None;
            loop {
                let troubles = flow::watch::troubles(world.as_ref()).await.unwrap_or_default();
                let now = SystemClock::read();
                if is_news(told.as_ref(), &troubles, now)
                    && world.peers().report(troubles.clone()).await.is_ok()
                {
                    told = Some((troubles, now));
                }
                world.clock.sleep(TELL_EVERY).await;
            }
        });
    }

    /// Ends its tasks and closes its log.
    pub async fn close(mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.journal.log.clone().close().await;
    }
}

/// Whether the server is to hear it: what it was told last, and when, by this start. The first word
/// is always news, since the server may still have what was told before.
fn is_news(told: Option<&(Vec<Trouble>, UnixTime)>, now_is: &[Trouble], now: UnixTime) -> bool {
    told.is_none_or(|(before, at)| {
        before != now_is || (!now_is.is_empty() && now >= at.plus(TELL_AGAIN))
    })
}

/// Waits until the feed tells something that `told` has not; for ever where it cannot be read.
async fn news(world: &ComponentWorld, told: &mut u64) {
    match flow::feed::news(world, *told).await {
        Ok(()) => *told = flow::feed::told(world).await.unwrap_or(*told),
        Err(_) => std::future::pending().await,
    }
}

fn note(done: Result<(), env::Unavailable>) {
    if let Err(error) = done {
        tracing::warn!(%error, "whether renewals fail was not noted");
    }
}

/// When the leaf of a chain ends.
fn not_after(chain: &[Vec<u8>]) -> UnixTime {
    let leaf = chain.first().and_then(|der| x509::Certificate::parse(der).ok());
    leaf.map_or(UnixTime::EPOCH, |leaf| leaf.not_after())
}

async fn renewed(world: &ComponentWorld) -> Result<(Handle, Vec<Vec<u8>>), String> {
    let fault = |error: &dyn std::fmt::Display| error.to_string();
    let made = requested(world.keys.as_ref(), Purpose::Component).await;
    let (handle, request) = made.map_err(|error| fault(&error))?;
    match world.peers().renew(RenewOrder { request }).await {
        Ok(renewed) => Ok((handle, renewed.chain)),
        Err(error) => {
            let unused = world.keys.destroy(&handle).await;
            unused.map_err(|error| fault(&error))?;
            Err(fault(&error))
        }
    }
}

/// A node's doors, open before it joins: what it joins by may serve once, and is not shown as long
/// as anything of its own is not in order.
pub struct Doors {
    attestors: Arc<attestors::Attestors>,
    workload: Listener,
    broker: Option<broker::Listener>,
    run: Socket,
    upstream: Upstream,
}

/// Opens them. `ca`: PEM of the authorities of the gateway's certificate.
pub fn doors(layout: &Layout, settings: &Settings, ca: &str) -> Result<Doors, String> {
    layout.open_sockets()?;
    let attestors = Arc::new(platform_attestors::attestors(settings, &layout.dir)?);
    let broker = settings.broker.then(|| broker::Listener::bind(&layout.broker_socket()));
    let broker = broker.transpose().map_err(|error| error.to_string())?;
    let workload = Listener::bind(&layout.workload_socket()).map_err(|error| error.to_string())?;
    let run = run_socket::bind(&layout.run_socket())?;
    let roots = roots(ca).map_err(|error| format!("the gateway's authority: {error}"))?;
    let peer = Peer { roots, ..Peer::default() };
    let upstream = Upstream::new(&peer).map_err(|error| error.to_string())?;
    Ok(Doors { attestors, workload, broker, run, upstream })
}

fn roots(ca: &str) -> Result<Vec<Vec<u8>>, String> {
    let roots = x509::CertificateDer::from_pem_many(ca).map_err(|error| error.to_string())?;
    Ok(roots.into_iter().map(x509::CertificateDer::into_bytes).collect())
}

/// Serves the node's doors on a component that has joined.
pub fn serve(
    joined: &mut Joined,
    doors: Doors,
    stop: &watch::Receiver<bool>,
) -> Result<(), String> {
    let world = Arc::clone(&joined.world);
    let Doors { attestors, workload, broker, run, upstream } = doors;
    if let Some(listener) = broker {
        brokers(joined, listener, &attestors, stop)?;
    }
    let strangers = Arc::new(Strangers::default());
    let identities = Arc::new(Identities::new(Arc::clone(&world), Arc::clone(&attestors)));
    let server = WorkloadServer::new(Arc::new(ByPidfd), identities, Profiles::ALL);
    let end = stopped(stop);
    joined.tasks.spawn(async move {
        if let Err(error) = server.serve(workload, end).await {
            tracing::error!(%error, "workload api");
        }
    });
    let runs = Arc::new(Runs {
        world: Arc::clone(&world),
        attestors,
        upstream,
        tokens: Arc::new(Tokens::default()),
        strangers: Arc::clone(&strangers),
    });
    joined.tasks.spawn(run_socket::serve(runs, run));
    joined.tasks.spawn(async move {
        loop {
            world.clock.sleep(SWEEP_EVERY).await;
            strangers.record(world.as_ref()).await;
            if let Err(error) = flow::workload::sweep(world.as_ref()).await {
                tracing::warn!(%error, "what agents that ended had was not let go");
            }
        }
    });
    Ok(())
}

/// The Broker API, shown by the node's own certificate.
fn brokers(
    joined: &mut Joined,
    listener: broker::Listener,
    attestors: &Arc<attestors::Attestors>,
    stop: &watch::Receiver<bool>,
) -> Result<(), String> {
    let config = broker::config(Arc::new(joined.presented.clone()));
    let config = config.map_err(|error| error.to_string())?;
    let brokers = Arc::new(NodeBrokers::new(Arc::clone(&joined.world), Arc::clone(attestors)));
    let end = stopped(stop);
    joined.tasks.spawn(async move {
        if let Err(error) =
            broker::serve(listener, config, brokers, broker::IDLE_TIME_MAX, end).await
        {
            tracing::error!(%error, "broker api");
        }
    });
    Ok(())
}

/// How a component of its own gets in, by its settings; or all that is missing for that, at once.
pub fn entrance(settings: &Settings, dir: &Path, role: Role) -> Result<Entrance, String> {
    let mut faults = Vec::new();
    let keys = [
        ("server", settings.server.is_some()),
        ("name", settings.name.is_some()),
        ("bundle", settings.bundle.is_some()),
        ("join_token` or `attest", Evidence::is_named(settings)),
    ];
    let missing: Vec<_> =
        keys.iter().filter(|(_, is_there)| !is_there).map(|(key, _)| format!("`{key}`")).collect();
    if !missing.is_empty() {
        faults.push(format!("aims.toml of a {} lacks {}", role.name(), missing.join(", ")));
    }
    let trust = settings.bundle.as_ref().map(|path| bundle(settings, &dir.join(path)));
    let trust = trust.transpose().unwrap_or_else(|why| {
        faults.push(why);
        None
    });
    let ca = authorities(&dir.join("ca.pem"), role).unwrap_or_else(|why| {
        faults.push(why);
        String::new()
    });
    let evidence = Evidence::is_named(settings).then(|| Evidence::read(settings, dir));
    let evidence = evidence.transpose().unwrap_or_else(|why| {
        faults.push(why);
        None
    });
    match (&settings.server, &settings.name, trust, evidence) {
        (Some(server), Some(name), Some(trust), Some(evidence)) if faults.is_empty() => {
            Ok(Entrance { address: server.clone(), trust, evidence, name: name.clone(), ca })
        }
        _ => Err(told(&faults, role)),
    }
}

/// All of it, with a hint: that of the last one, if it has one.
fn told(faults: &[String], role: Role) -> String {
    let what = faults.join("; ");
    if what.contains("\n  hint: ") {
        return what;
    }
    let role = role.name();
    format!("{what}\n  hint: what a {role} on a host of its own needs: docs/joining.md")
}

/// What is known of the server before it is asked.
fn bundle(settings: &Settings, path: &Path) -> Result<Bundles, String> {
    let fault = |error: &dyn std::fmt::Display| {
        format!(
            "`bundle`: `{}` cannot be read: {error} (it is what `GET /bundle` of the issuer gives)",
            path.display()
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
    let bundle = spiffe::Bundle::parse(&text).map_err(|error| fault(&error))?;
    let mut trust = Bundles::new();
    trust.insert(settings.origin()?, bundle);
    Ok(trust)
}

/// Whose certificate the gateway shows; a gateway itself asks nobody.
fn authorities(path: &Path, role: Role) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    if role != Role::Node {
        return Ok(text.unwrap_or_default());
    }
    let text = text.map_err(|error| error.to_string());
    text.and_then(|text| roots(&text).map(|_| text)).map_err(|error| {
        format!(
            "`{}` cannot be read: {error} (it is `ca.pem` of the server's folder, or the authority \
             of the gateway's certificate)",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that started again holds nothing, and the server believes what it heard before.
    /// req: PROV-09 (part)
    #[test]
    fn s8_the_first_word_of_a_start_is_always_news() {
        let at = |seconds: u64| UnixTime::from_seconds(1_000 + seconds);
        let trouble = Trouble {
            subject: "spiffe://a/agent (x509)".to_owned(),
            since: at(0),
            until: at(100),
            why: "no route".to_owned(),
        };
        let some = std::slice::from_ref(&trouble);
        assert!(is_news(None, &[], at(0)), "none is a word too");
        assert!(is_news(None, some, at(0)));
        let none = (Vec::new(), at(0));
        assert!(!is_news(Some(&none), &[], at(1_000)));
        assert!(is_news(Some(&none), some, at(1)));
        let told = (some.to_vec(), at(0));
        assert!(!is_news(Some(&told), some, at(29)));
        assert!(is_news(Some(&told), some, at(30)), "a server that started again does not know");
        assert!(is_news(Some(&told), &[], at(1)));
    }

    /// What a host lacks is told at once and by name, before it shows what serves once.
    #[test]
    fn all_that_a_node_lacks_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let check = |settings: &Settings, role: Role, expect: &[&str]| {
            let found = entrance(settings, dir, role).err().unwrap_or_default();
            assert_eq!(found.is_empty(), expect.is_empty(), "{found}");
            for one in expect {
                assert!(found.contains(one), "{one}: {found}");
            }
            found
        };
        let mut settings = Settings::new("a.example", 8_443);
        let keys = "aims.toml of a node lacks `server`, `name`, `bundle`, `join_token` or `attest`";
        check(&settings, Role::Node, &[keys, "ca.pem` cannot be read", "hint: what a node on"]);
        let of_gateway =
            check(&settings, Role::Gateway, &["aims.toml of a gateway lacks `server`"]);
        assert!(!of_gateway.contains("ca.pem"), "{of_gateway}");
        settings.server = Some("aims.example:8445".to_owned());
        settings.name = Some("host-1".to_owned());
        settings.bundle = Some("bundle.json".into());
        settings.join_token = Some("token".into());
        let files = ["`bundle`: `", "bundle.json` cannot be read", "ca.pem` cannot", "token"];
        check(&settings, Role::Node, &files);
        std::fs::write(dir.join("bundle.json"), "{}").unwrap();
        std::fs::write(dir.join("ca.pem"), "no certificate").unwrap();
        check(&settings, Role::Node, &files);
        std::fs::write(dir.join("bundle.json"), "{\"keys\":[]}").unwrap();
        std::fs::write(dir.join("token"), "secret").unwrap();
        let found = check(&settings, Role::Node, &["ca.pem` cannot be read: ", "chmod 600"]);
        assert!(!found.contains("lacks") && !found.contains("bundle"), "{found}");
        settings.attest = Some("magic".to_owned());
        check(&settings, Role::Gateway, &["no such mechanism\n  hint: known are join_token, "]);
    }

    #[test]
    fn a_token_that_was_used_says_how_to_get_another() {
        let entrance = |evidence| Entrance {
            address: "127.0.0.1:1".to_owned(),
            trust: Bundles::new(),
            evidence,
            name: "host-1".to_owned(),
            ca: String::new(),
        };
        let of_token = entrance(Evidence::Token("secret".to_owned()));
        let message = "the token was used already".to_owned();
        let used = PeerFault::Refused { check: "attestation::TokenUsed".to_owned(), message };
        let said = not_joined(&used, Role::Node, &of_token);
        let command = "`aims join-token create --role node --name host-1 --write FILE`";
        assert!(said.starts_with(&format!("{used}\n  hint: ")) && said.contains(command), "{said}");
        let metadata = Evidence::Azure {
            metadata: attestors::metadata::Metadata(attestors::metadata::USUAL),
            domain: "a.example".to_owned(),
        };
        assert_eq!(not_joined(&used, Role::Node, &entrance(metadata)), used.to_string());
    }
}
