//! One run: a domain that lives on in the background while things happen to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use attestation::mechanism::Role;
use identifier::Kind;
use provisioning::KeyHolding;
use testkit::fixture::{Domain, registration};
use testkit::{Faults, Host, LinkRates, Seed, Sim, StoreRates, boxed};
use time::Span;

use crate::acts::Act;
use crate::model::{Heard, Model};

/// The steps that a failure shows.
const STEPS_SHOWN: usize = 30;
/// How often a component renews its credential.
const RENEW_EVERY_MILLIS: u64 = 900_000;
/// How long a component is without the server before it joins again.
const REJOIN_AFTER_MILLIS: u64 = 120_000;
/// The agents of the town: what they may do, and who keeps their keys.
pub(crate) const AGENTS: [(&str, &[&str], KeyHolding); 4] = [
    ("reader", &["invoices"], KeyHolding::Handed),
    ("payer", &["invoices", "payments"], KeyHolding::Handed),
    ("planner", &["invoices"], KeyHolding::Handed),
    ("kept", &["invoices"], KeyHolding::Kept),
];
/// The batch job.
pub(crate) const BATCH: &str = "batch";

/// The domain, and what is known of it from outside.
pub(crate) struct Town {
    pub(crate) sim: Sim,
    pub(crate) domain: Domain,
    model: Mutex<Model>,
    trace: Mutex<Vec<String>>,
}

/// A node or a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Node,
    Gateway,
}

/// Runs `steps` steps of `seed`, and gives what happened.
pub(crate) fn run(seed: u64, steps: usize) -> Vec<String> {
    let sim = Sim::new(Seed(seed));
    sim.run(async {
        let town = Arc::new(Town::open(&sim).await);
        let _shown = ShownOnFailure(Arc::clone(&town));
        for which in [Which::Node, Which::Gateway] {
            sim.spawn(Arc::clone(&town).live(which));
        }
        town.watch_upstream();
        for step in 0..steps {
            town.step(step).await;
            town.check();
        }
        town.recover().await;
        town.check();
        town.trace().clone()
    })
}

/// Prints the seed and the last steps when a run fails, wherever it does.
struct ShownOnFailure(Arc<Town>);

impl Drop for ShownOnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let trace = self.0.trace();
            let from = trace.len().saturating_sub(STEPS_SHOWN);
            println!("seed {}, the last steps:\n{}", self.0.sim.seed(), trace[from..].join("\n"));
        }
    }
}

impl Town {
    async fn open(sim: &Sim) -> Self {
        let domain = Domain::start(sim).await;
        let mut batch = registration(BATCH, &[]);
        batch.kind = Kind::Service;
        domain.register(batch).await;
        for (name, capabilities, keys) in AGENTS {
            let mut entry = registration(name, capabilities);
            entry.keys = Some(keys);
            domain.register(entry).await;
        }
        let (model, trace) = (Mutex::default(), Mutex::default());
        Self { sim: sim.clone(), domain, model, trace }
    }

    /// One thing happens, or a few at once; then some time passes.
    async fn step(self: &Arc<Self>, step: usize) {
        let rng = self.sim.rng();
        let alone = Act::draw(rng);
        let told = if alone.is_alone() || rng.chance(600) {
            vec![self.act(alone).await]
        } else {
            let count = 2 + rng.index(4);
            let mut acts = vec![alone];
            while acts.len() < count {
                let next = Act::draw(rng);
                acts.extend((!next.is_alone()).then_some(next));
            }
            self.sim.all(acts.into_iter().map(|act| boxed(self.act(act))).collect()).await
        };
        let at = self.now();
        self.trace().push(format!("{step:4} {:>9.3} s  {}", at as f64 / 1e3, told.join(" | ")));
        let pause = match rng.below(20) {
            0 if rng.chance(400) => rng.below(1_200_000),
            0..=2 => rng.below(15_000),
            _ => rng.below(1_500),
        };
        self.sim.sleep(Span::from_millis(pause)).await;
    }

    /// What a component does by itself: follows the feed, renews, joins again when it must.
    async fn live(self: Arc<Self>, which: Which) {
        let rng = self.sim.rng().fork();
        let mut renewed = self.now();
        let mut failing_since = None;
        loop {
            let (host, world, asked) = (self.host(which), self.host(which).world(), self.now());
            let fed = self.domain.feed(host).await;
            let applied = self.now();
            let is_same_run = Arc::ptr_eq(&world, &host.world());
            if fed.is_ok() && is_same_run {
                failing_since = None;
                self.heard_mut(which, |heard| {
                    (heard.asked, heard.applied, heard.set_back) = (asked, applied, 0);
                });
            } else {
                self.heard_mut(which, |heard| heard.steady_since = applied);
                failing_since.get_or_insert(applied);
            }
            if which == Which::Gateway {
                self.domain.renew_leave().await.unwrap_or_default();
            }
            if self.now() - renewed > RENEW_EVERY_MILLIS && self.domain.renew(host).await.is_ok() {
                renewed = self.now();
            }
            if failing_since.is_some_and(|since| self.now() - since > REJOIN_AFTER_MILLIS) {
                failing_since = None;
                let (role, name) = which.role();
                if let Ok(Ok(_)) = self.domain.try_join(host, role, name).await {
                    renewed = self.now();
                }
            }
            self.sim.sleep(Span::from_millis(100 + rng.below(200))).await;
        }
    }

    /// Everything is mended; then everything must work again.
    async fn recover(&self) {
        for host in [&self.domain.server, &self.domain.node, &self.domain.gateway] {
            host.clock().set_right();
            self.faults(host, StoreRates::default());
            host.keys().set_unavailable(0);
            host.link().set_rates(LinkRates::default());
            host.link().cut(false);
            host.take_clock().await.unwrap();
        }
        self.domain.restart_server().await.unwrap();
        self.sim.sleep(Span::from_seconds(130)).await;
        for which in [Which::Node, Which::Gateway] {
            let (role, name) = which.role();
            self.domain.join(self.host(which), role, name).await.unwrap();
        }
        let files = testkit::fixture::files();
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let applied = flow::apply_policy::apply(&*server, &operator, files, "end".into(), None);
        applied.await.unwrap().into_value().unwrap();
        self.model().frozen = None;
        self.domain.sync().await;
        let entry = registration("newcomer", &["invoices"]);
        self.domain.register(entry).await;
        let newcomer = self.domain.party("/opt/newcomer").await;
        let tools = format!("{}/invoices", testkit::fixture::GATEWAY);
        let asked = testkit::fixture::credentials(&tools, "invoices.read");
        let now = self.domain.now();
        let token = self.domain.token(testkit::fixture::by_wit(&newcomer, asked, now)).await;
        let now = env::Clock::now(self.domain.gateway.clock());
        let call = testkit::fixture::tool_call(&newcomer, &token, "invoices", "list_invoices", now);
        assert_eq!(self.domain.refusal_of(call).await, None, "all was mended");
    }

    /// From now on a host's store and log fail so often.
    pub(crate) fn faults(&self, host: &Host, rates: StoreRates) {
        let both: [&Faults; 2] = [host.faults(), host.journal().faults()];
        both.into_iter().for_each(|faults| faults.set_rates(rates));
    }

    /// Milliseconds of the run.
    pub(crate) fn now(&self) -> u64 {
        self.sim.elapsed().millis()
    }

    pub(crate) fn host(&self, which: Which) -> &Host {
        match which {
            Which::Node => &self.domain.node,
            Which::Gateway => &self.domain.gateway,
        }
    }

    pub(crate) fn heard_mut<T>(&self, which: Which, change: impl FnOnce(&mut Heard) -> T) -> T {
        let mut model = self.model();
        change(match which {
            Which::Node => &mut model.node,
            Which::Gateway => &mut model.gateway,
        })
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trace(&self) -> MutexGuard<'_, Vec<String>> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Which {
    fn role(self) -> (Role, &'static str) {
        match self {
            Self::Node => (Role::Node, "host-1"),
            Self::Gateway => (Role::Gateway, "edge"),
        }
    }
}
