//! Documents about agents, and what was found out about them.

use std::collections::BTreeMap;

use attestation::class::Grade;
use env::rows::{Documents, KeptDocument, ResultRow};
use rats::Tier;
use serde::{Deserialize, Serialize};
use time::UnixTime;

/// `POST /v1/evidence/{name}/{kind}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentOrder {
    /// The document, base64url without padding; `null`: the one that is there goes.
    pub document: Option<String>,
}

/// `GET /v1/evidence/{name}`: what was said about an agent, and what was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceShown {
    /// The agent's identifier.
    pub agent: String,
    /// Its documents.
    pub documents: Vec<DocumentShown>,
    /// The last result on each host.
    pub results: Vec<ResultShown>,
}

/// A document about an agent, without itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentShown {
    /// Its kind.
    pub kind: String,
    /// SHA-256 of it, hex.
    pub sha256: String,
    /// Since when it is there.
    pub since: UnixTime,
    /// Who brought it.
    pub by: String,
}

impl DocumentShown {
    pub(crate) fn all(kept: &Documents) -> Vec<Self> {
        let shown = |(kind, one): (&String, &KeptDocument)| Self {
            kind: kind.clone(),
            sha256: one.sha256.clone(),
            since: one.since,
            by: one.by.clone(),
        };
        kept.kinds.iter().map(shown).collect()
    }
}

/// An attestation result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultShown {
    /// The host that measured.
    pub host: String,
    /// The tier of the part trusted least.
    pub tier: Tier,
    /// How much of its risk class the agent gets: `full`, `warned`; `null`: nothing.
    pub grade: Option<Grade>,
    /// Each part in words.
    pub parts: BTreeMap<String, String>,
    /// When everything is appraised again at the latest.
    pub until: UnixTime,
    /// base64url(SHA-256) of the signed result: what credentials and records name it by.
    pub digest: String,
    /// The signed result itself, a JWT of the profile `tag:ietf.org,2026:rats/ear#04`.
    pub token: String,
}

impl ResultShown {
    pub(crate) fn of(row: &ResultRow) -> Self {
        Self {
            host: row.host.clone(),
            tier: row.summary.tier(),
            grade: row.grade,
            parts: row.told.clone(),
            until: row.until,
            digest: row.digest.clone(),
            token: row.token.clone(),
        }
    }
}
