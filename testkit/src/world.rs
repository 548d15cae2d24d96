//! A component's world, and the host that it runs on, which outlives its restarts.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use env::{Outside, Published, Site, Unavailable, World};
use monitoring::Component;

use crate::clock::{SimClock, SimEntropy};
use crate::faults::Faults;
use crate::journal::SimJournal;
use crate::keys::SimKeys;
use crate::peers::{SimLink, SimPeers};
use crate::sim::Sim;
use crate::store::{Disk, SimStore};

/// The world of one run of a component.
pub struct SimWorld {
    store: SimStore,
    keys: SimKeys,
    clock: SimClock,
    entropy: SimEntropy,
    peers: SimPeers,
    component: Component,
    site: Site,
    outside: OnceLock<Arc<dyn Outside>>,
    published: OnceLock<Arc<dyn Published>>,
}

impl SimWorld {
    /// Servers of somebody else are reached from now on: for one run there is one answer to who
    /// they are.
    pub fn reach(&self, outside: Arc<dyn Outside>) {
        self.outside.get_or_init(|| outside);
    }

    /// What clients publish is read there from now on.
    pub fn publish(&self, published: Arc<dyn Published>) {
        self.published.get_or_init(|| published);
    }
}

impl World for SimWorld {
    type Store = SimStore;
    type Keys = SimKeys;
    type Clock = SimClock;
    type Entropy = SimEntropy;
    type Peers = SimPeers;

    fn store(&self) -> &SimStore {
        &self.store
    }

    fn keys(&self) -> &SimKeys {
        &self.keys
    }

    fn clock(&self) -> &SimClock {
        &self.clock
    }

    fn entropy(&self) -> &SimEntropy {
        &self.entropy
    }

    fn peers(&self) -> &SimPeers {
        &self.peers
    }

    fn component(&self) -> &Component {
        &self.component
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn outside(&self) -> Option<&dyn Outside> {
        self.outside.get().map(AsRef::as_ref)
    }

    fn published(&self) -> Option<&dyn Published> {
        self.published.get().map(AsRef::as_ref)
    }
}

/// A host: its clock, its log, its keys on disk, the faults of its store, its link to the server.
/// A clone is the same host.
#[derive(Clone)]
pub struct Host {
    sim: Sim,
    clock: SimClock,
    entropy: SimEntropy,
    journal: SimJournal,
    keys: SimKeys,
    faults: Faults,
    link: SimLink,
    component: Component,
    site: Site,
    running: Arc<Mutex<Arc<SimWorld>>>,
}

impl Host {
    /// A new host on which `component` runs for the first time.
    pub fn start(sim: &Sim, component: &str, site: &Site) -> Self {
        let component = Component(component.to_owned());
        let entropy = SimEntropy::new(sim.rng());
        let (journal, keys) = (SimJournal::new(sim), SimKeys::new(sim));
        let clock = SimClock::beside(sim, journal.newest());
        let (faults, link) = (Faults::new(sim.rng()), SimLink::new(sim));
        let store = SimStore::open(sim, Disk::default(), journal.clone(), faults.clone());
        let first = SimWorld {
            store,
            keys: keys.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            peers: SimPeers(link.clone()),
            component: component.clone(),
            site: site.clone(),
            outside: OnceLock::new(),
            published: OnceLock::new(),
        };
        let (sim, site) = (sim.clone(), site.clone());
        let running = Arc::new(Mutex::new(Arc::new(first)));
        Self { sim, clock, entropy, journal, keys, faults, link, component, site, running }
    }

    /// The world of the run that goes on.
    pub fn world(&self) -> Arc<SimWorld> {
        Arc::clone(&self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The component ends and starts again: its memory is gone, its log is kept, and its rows too
    /// where `disk` is theirs.
    pub fn restart(&self, disk: Option<Disk>) {
        self.keys.restart();
        let (journal, faults) = (self.journal.clone(), self.faults.clone());
        let store = SimStore::open(&self.sim, disk.unwrap_or_default(), journal, faults);
        let next = SimWorld {
            store,
            keys: self.keys.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            peers: SimPeers(self.link.clone()),
            component: self.component.clone(),
            site: self.site.clone(),
            outside: OnceLock::new(),
            published: OnceLock::new(),
        };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// An operator says that its clock was ahead, and is right now.
    pub async fn take_clock(&self) -> Result<(), Unavailable> {
        let taken = flow::issuing::take_clock(&*self.world()).await?;
        self.journal.newest().begin_anew(taken);
        Ok(())
    }

    /// What lies below its store.
    pub fn disk(&self) -> Disk {
        self.world().store.disk()
    }

    /// Its clock.
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// Its log.
    pub fn journal(&self) -> &SimJournal {
        &self.journal
    }

    /// Its keys.
    pub fn keys(&self) -> &SimKeys {
        &self.keys
    }

    /// The faults of its store.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Its link to the server.
    pub fn link(&self) -> &SimLink {
        &self.link
    }
}
