//! The record of a host or gateway that joined.

use attestation::Selectors;
use attestation::mechanism::Role;
use provisioning::{Epoch, Lifecycle};
use rats::Vector;
use serde::{Deserialize, Serialize};
use time::UnixTime;
use wimse::{Origin, WorkloadId, WorkloadIdError};

/// A host or gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its identifier: `spiffe://<domain>/aims/<role>/<mechanism>/<name>`, of a SPIRE agent
    /// `spiffe://<domain>/spire/agent/<mechanism>/<name>`.
    pub id: WorkloadId,
    /// What it is.
    pub role: Role,
    /// How it joined.
    pub mechanism: String,
    /// What was found out about it.
    pub selectors: Selectors,
    /// How far that lets it be trusted.
    #[serde(default)]
    pub vector: Vector,
    /// Until when that counts, where the evidence had an end; else until it joins again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<UnixTime>,
    /// True when what it joined by serves once: it renews, and cannot attest again.
    #[serde(default)]
    pub once: bool,
    /// When it joined first.
    pub joined: UnixTime,
    /// When its credential was last renewed, or it joined.
    pub renewed: UnixTime,
    /// The key it has now: SHA-256 of its SubjectPublicKeyInfo, hex.
    pub key: String,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// When the credential that it has now ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<UnixTime>,
    /// Its next evidence is taken for the first: an operator forgot how it joined.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
}

impl NodeRecord {
    /// The identifier of a host. The first path segments `aims` and `spire` are reserved: no agent
    /// or service has one, because their paths begin with their kind.
    pub fn identifier(
        origin: &Origin,
        role: Role,
        mechanism: &str,
        name: &str,
    ) -> Result<WorkloadId, WorkloadIdError> {
        origin.workload(&format!("/{}/{mechanism}/{name}", role.path()))
    }

    /// A host that joins now.
    pub fn new(
        id: WorkloadId,
        role: Role,
        found: &attestation::Appraisal,
        key: String,
        epoch: Epoch,
        now: UnixTime,
    ) -> Self {
        Self {
            id,
            role,
            mechanism: found.mechanism.to_owned(),
            selectors: found.selectors.clone(),
            vector: found.vector,
            counts: found.until,
            once: found.once,
            joined: now,
            renewed: now,
            key,
            lifecycle: Lifecycle::begin(epoch, now),
            ends: None,
            forgotten: false,
        }
    }
}
