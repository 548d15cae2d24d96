//! What every component needs before it starts: its folder, its keys, and a counter of strangers.

use std::sync::{Arc, Mutex};

use env::{Change, Clock, Keys, Purpose, Store, World};
use keys::{Devices, Disk, KeyStore, Place, SealingKey};
use monitoring::tally::{Closed, Tally};

use super::layout::{Layout, Settings};
use super::lock::make_private;
use super::world::SystemClock;

/// Keys that each start makes for itself.
const OF_ONE_LIFE: [Purpose; 3] = [Purpose::Component, Purpose::WebServer, Purpose::Agent];

/// Opens the keys of a component: in the device that the settings name, else in files; those sealed
/// where the settings say with what.
pub async fn keys(
    layout: &Layout,
    settings: &Settings,
    component: &str,
    devices: &Devices,
) -> Result<Arc<KeyStore>, String> {
    let folder = layout.keys(component);
    make_private(&layout.at("keys"))?;
    make_private(&folder)?;
    let sealing = match (&settings.seal_credential, &settings.seal_passphrase) {
        (Some(path), _) => Some(SealingKey::from_credential(path)),
        (None, Some(path)) => Some(SealingKey::from_passphrase(path, &folder)),
        (None, None) => None,
    };
    let sealing =
        sealing.transpose().map_err(|error| format!("{error}\n  hint: {}", error.hint()))?;
    let opened = Disk::open(&folder, sealing);
    let disk = opened.map_err(|error| format!("{error}\n  hint: {}", error.hint()))?;
    let place = settings.keys.as_ref().map_or(Ok(Place::Disk), |place| place.at(&layout.dir))?;
    let owner = owner(settings, component);
    let opened = KeyStore::open(disk, &place, devices, &owner, &folder).await;
    let keys = opened.map_err(|error| format!("{error}\n  hint: {}", error.hint()))?;
    // Those of an earlier life: nothing shows them any longer, and their number is bounded.
    for old in OF_ONE_LIFE.into_iter().flat_map(|purpose| keys.handles(purpose)) {
        keys.destroy(&old).await.map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(keys))
}

/// Whose keys they are, where several components share a token.
fn owner(settings: &Settings, component: &str) -> String {
    let domain = &settings.trust_domain;
    match &settings.name {
        Some(name) => format!("{domain}/{component}/{name}"),
        None => format!("{domain}/{component}"),
    }
}

/// Counts refusals of callers that proved nothing, per source and window: a stranger cannot fill
/// the log (docs/design.md §2, idea 3).
#[derive(Debug, Default)]
pub struct Strangers(Mutex<Tally>);

impl Strangers {
    /// One more.
    pub fn count(&self, source: &impl ToString, reason: &'static str) {
        self.lock().count(&source.to_string(), reason, SystemClock::read());
    }

    /// Records the window, if it is over.
    pub async fn record<W: World>(&self, world: &W) {
        let closed = self.lock().close(world.clock().now());
        record_all(world, closed).await;
    }

    /// Records what was counted so far, for a stop in good order.
    pub async fn drain<W: World>(&self, world: &W) {
        let closed = self.lock().drain();
        record_all(world, closed).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn record_all<W: World>(world: &W, closed: Vec<Closed>) {
    let now = world.clock().now();
    for one in closed {
        let id = flow::record::record_id(world, now);
        let record = one.record(id, now, world.component().clone());
        if let Err(error) = world.store().commit(Change::record(record)).await {
            tracing::warn!(%error, "refusals of strangers were not recorded");
        }
    }
}
