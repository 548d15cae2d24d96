//! The bundles of trust domains by origin, SPIFFE's and others, never in one pool
//! (workload-creds §3).

use std::collections::BTreeMap;

use spiffe::{Bundle, BundleSet};

use crate::workload_id::Origin;

/// The newest bundle of each origin that is trusted: what vouches for `spiffe://x` says nothing of
/// `wimse://x`.
///
/// workload-creds §3: "Consumers MUST bind each trust domain to an authorized issuer (or set of
/// issuers) and to the corresponding trust anchors."
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundles {
    spiffe: BundleSet,
    wimse: BTreeMap<Origin, Bundle>,
}

impl Bundles {
    /// Bundles that trust nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the bundle of an origin, whole: what it had before is gone.
    pub fn insert(&mut self, origin: impl Into<Origin>, bundle: Bundle) {
        let origin = origin.into();
        match origin.as_spiffe() {
            Some(domain) => self.spiffe.insert(domain, bundle),
            None => drop(self.wimse.insert(origin, bundle)),
        }
    }

    /// Ends the trust in an origin.
    pub fn remove(&mut self, origin: &Origin) {
        match origin.as_spiffe() {
            Some(domain) => self.spiffe.remove(&domain),
            None => drop(self.wimse.remove(origin)),
        }
    }

    /// The bundle of exactly this origin.
    pub fn get(&self, origin: &Origin) -> Option<&Bundle> {
        match origin.as_spiffe() {
            Some(domain) => self.spiffe.get(&domain),
            None => self.wimse.get(origin),
        }
    }

    /// Every origin with its bundle.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, &Bundle)> {
        let spiffe = self.spiffe.iter().map(|(domain, bundle)| (Origin::from(domain), bundle));
        spiffe.chain(self.wimse.iter().map(|(origin, bundle)| (origin.clone(), bundle)))
    }

    /// Those of SPIFFE trust domains: all that JWT-SVIDs, the Workload API and federation know.
    pub fn spiffe(&self) -> &BundleSet {
        &self.spiffe
    }
}

impl From<BundleSet> for Bundles {
    fn from(spiffe: BundleSet) -> Self {
        Self { spiffe, wimse: BTreeMap::new() }
    }
}
