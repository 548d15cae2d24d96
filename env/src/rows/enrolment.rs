//! Agents without a host of ours, as they are stored.

use std::collections::{BTreeMap, BTreeSet};

use attestation::Selectors;
use attestation::class::Grade;
use attestation::verifier::Summary;
use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::store::{Index, Table};

/// An instance of an agent that enrolled from no host of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// SHA-256 of the handle that it renews by.
    pub handle: String,
    /// The agent.
    pub agent: String,
    /// By which mechanism.
    pub mechanism: String,
    /// What that proved.
    pub selectors: Selectors,
    /// RFC 7638 thumbprint, base64url, of the key that its credentials bind now.
    pub key: String,
    /// SHA-256 of what else the result was made of: policy, and what an operator brought.
    pub basis: String,
    /// base64url(SHA-256) of the signed result.
    pub digest: String,
    /// The tier of each part of it.
    pub summary: Summary,
    /// Each part in words.
    pub told: BTreeMap<String, String>,
    /// SHA-256 of each document that was appraised, lower-case hex, by its kind.
    pub documents: BTreeMap<String, String>,
    /// When it enrolled.
    pub enrolled: UnixTime,
    /// When it was last given credentials.
    pub renewed: UnixTime,
    /// Until when the result counts: nothing issued on it lives longer.
    pub until: UnixTime,
    /// The key that it enrolled with, named alike: what documents are bound to.
    #[serde(default)]
    pub first: String,
    /// Kinds of documents that an operator had brought; the others the agent brought.
    #[serde(default)]
    pub kept: BTreeSet<String>,
    /// The best grade that anything it may still hold was issued at.
    #[serde(default)]
    pub held: Option<Grade>,
    /// When the last credential of each kind ends that it was given.
    #[serde(default)]
    pub given: BTreeMap<String, UnixTime>,
}

entity!(
    Enrolment, Table::Enrolments, one => one.handle.clone(),
    vec![(Index::Agent, one.agent.clone())],
    Some(one.until)
);
