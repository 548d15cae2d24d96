//! What most requests read first: the policy in force, the epoch, the bundles.

use std::sync::Arc;

use env::rows::{DomainEpoch, InForce, TrustRow};
use env::{Entity, Key, Snapshot, Store, Unavailable, World};
use policy::PolicySet;
use provisioning::Epoch;

/// The facts that hold for every request, as of one instant.
pub struct Basis {
    /// The policy row in force.
    pub policy: Arc<InForce>,
    /// The number of revocations so far.
    pub epoch: Epoch,
    /// Whom we trust.
    pub trust: Arc<TrustRow>,
    /// Which state of that row it is.
    pub trust_version: u64,
    /// The rows that were read beside.
    pub rows: Snapshot,
}

impl Basis {
    /// The policy set.
    pub fn set(&self) -> &PolicySet {
        &self.policy.set
    }

    /// Its version, as records name it.
    pub fn version(&self) -> String {
        self.policy.set.version().as_str().to_owned()
    }
}

/// Reads the basis and `others`, all as of one instant.
pub async fn basis<W: World>(world: &W, others: Vec<Key>) -> Result<Basis, Unavailable> {
    let mut keys = others;
    keys.push(Key::of::<InForce>(InForce::ID));
    keys.push(Key::of::<DomainEpoch>(DomainEpoch::ID));
    keys.push(Key::of::<TrustRow>(TrustRow::ID));
    let rows = world.store().snapshot(&keys).await?;
    let epoch = rows.get::<DomainEpoch>(DomainEpoch::ID)?.map_or(Epoch(0), |row| row.epoch);
    let policy = needed::<InForce>(&rows, InForce::ID)?;
    let trust = needed::<TrustRow>(&rows, TrustRow::ID)?;
    let trust_version = rows.get::<TrustRow>(TrustRow::ID)?.map_or(0, |row| row.version);
    Ok(Basis { policy, epoch, trust, trust_version, rows })
}

/// A row without which nothing can be decided.
fn needed<E: Entity>(rows: &Snapshot, id: &str) -> Result<Arc<E>, Unavailable> {
    let missing = || Unavailable::of("store", format!("the row `{id}` is not there yet"));
    rows.get::<E>(id)?.map(|row| row.value).ok_or_else(missing)
}

/// Reads one row.
pub async fn one<W: World, E: Entity>(
    world: &W,
    id: &str,
) -> Result<Option<env::Stored<E>>, Unavailable> {
    world.store().snapshot(&[Key::of::<E>(id)]).await?.get::<E>(id)
}
