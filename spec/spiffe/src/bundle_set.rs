//! Bundles by trust domain (SPIFFE Bundle §5): kept apart, never one pool.

use std::collections::BTreeMap;

use jose::json::NotStrict;
use serde_json::{Map, Value, json};

use crate::bundle::{Bundle, BundleError};
use crate::id::{SpiffeIdError, TrustDomain};

/// Most trust domains in one map.
const TRUST_DOMAINS_MAX: usize = 256;
/// Longest bundle map that is read, in bytes.
const MAP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The newest bundle of each trust domain that is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleSet(BTreeMap<TrustDomain, Bundle>);

impl BundleSet {
    /// A set that trusts nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the bundle of a trust domain, whole: what it had before is gone.
    pub fn insert(&mut self, trust_domain: TrustDomain, bundle: Bundle) {
        self.0.insert(trust_domain, bundle);
    }

    /// Ends the trust in a trust domain.
    pub fn remove(&mut self, trust_domain: &TrustDomain) {
        self.0.remove(trust_domain);
    }

    /// The bundle of a trust domain.
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(trust_domain)
    }

    /// Every trust domain with its bundle, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&TrustDomain, &Bundle)> {
        self.0.iter()
    }

    /// Reads a SPIFFE bundle map.
    pub fn parse_map(text: &str) -> Result<Self, BundleMapError> {
        if text.len() > MAP_BYTES_MAX {
            return Err(BundleMapError::TooLong { bytes: text.len() });
        }
        // SPIFFE Bundle §5.1.1: "Consumers MUST reject maps in which duplicate trust domain name
        // keys are detected": the strict reader refuses any name twice.
        let map: Map<String, Value> = jose::json::parse(text)?;
        // SPIFFE Bundle §5.1.1: "A static “trust_domains” key MUST be set, and MAY be empty."
        let Some(Value::Object(domains)) = map.get("trust_domains") else {
            return Err(BundleMapError::NoTrustDomains);
        };
        if domains.len() > TRUST_DOMAINS_MAX {
            return Err(BundleMapError::TooManyTrustDomains { count: domains.len() });
        }
        let mut set = Self::new();
        for (name, bundle) in domains {
            let domain = TrustDomain::parse(name)
                .map_err(|reason| BundleMapError::Name { name: name.clone(), reason })?;
            let bundle = Bundle::from_value(bundle)
                .map_err(|reason| BundleMapError::Bundle { domain: domain.clone(), reason })?;
            set.insert(domain, bundle);
        }
        Ok(set)
    }

    /// The SPIFFE bundle map.
    pub fn to_map(&self) -> Value {
        // SPIFFE Bundle §5.1.1: "Producers of SPIFFE Bundle Maps SHOULD omit the “refresh_hint” key
        // from bundles included in the map"
        let domains: Map<String, Value> =
            self.iter().map(|(name, bundle)| (name.to_string(), bundle.to_map_value())).collect();
        json!({ "trust_domains": domains })
    }
}

/// Why a text is no bundle map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleMapError {
    #[error("{bytes} bytes; at most {MAP_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("no object `trust_domains`")]
    NoTrustDomains,
    #[error("{count} trust domains; at most {TRUST_DOMAINS_MAX} are read")]
    TooManyTrustDomains { count: usize },
    #[error("`{name}` is no name of a trust domain: {reason}")]
    Name { name: String, reason: SpiffeIdError },
    #[error("the bundle of `{domain}`: {reason}")]
    Bundle { domain: TrustDomain, reason: BundleError },
}
