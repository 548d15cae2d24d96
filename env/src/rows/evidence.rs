//! What is known about agents, as it is stored: documents, and the results of appraisals.

use std::collections::BTreeMap;

use attestation::Selectors;
use attestation::class::Grade;
use attestation::verifier::Summary;
use jose::TokenHash;
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::store::{Entity, Index, Table, Unreadable};

/// What was said about an agent, and is appraised each time that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// The agent.
    pub agent: String,
    /// One document of each kind at most.
    pub kinds: BTreeMap<String, KeptDocument>,
    /// How documents stand that were taken away, the last ones, by their hash: who brings one back
    /// finds it as it was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gone: BTreeMap<String, Standing>,
}

/// How a document stands that was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// [`KeptDocument::accepted`].
    pub accepted: bool,
    /// [`KeptDocument::spent`].
    pub spent: bool,
    /// When it was taken away.
    pub gone: UnixTime,
}

impl Documents {
    /// The most documents whose standing is remembered after they were taken away.
    pub const GONE_MAX: usize = 16;

    /// Remembers how a document stood that is there no more; of too many the oldest is forgotten.
    pub fn remember(&mut self, document: &KeptDocument, now: UnixTime) {
        let KeptDocument { accepted, spent, .. } = *document;
        if !accepted && !spent {
            return;
        }
        self.gone.insert(document.sha256.clone(), Standing { accepted, spent, gone: now });
        if self.gone.len() > Self::GONE_MAX {
            let oldest = self.gone.iter().min_by_key(|(_, one)| one.gone);
            let oldest = oldest.map(|(sha256, _)| sha256.clone());
            oldest.and_then(|sha256| self.gone.remove(&sha256));
        }
    }
}

/// A document about an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDocument {
    /// The document, base64url without padding.
    pub text: String,
    /// SHA-256 of it, lower-case hex.
    pub sha256: String,
    /// Since when.
    pub since: UnixTime,
    /// Who brought it.
    pub by: String,
    /// Whether the values of it that serve once were taken: it is known again by its hash.
    pub accepted: bool,
    /// Whether such a value had been taken for another document: it counts for nothing.
    #[serde(default)]
    pub spent: bool,
}

/// The last attestation result of an agent on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRow {
    /// The agent.
    pub agent: String,
    /// The host that measured it.
    pub host: String,
    /// SHA-256 of all that it was made of: while that is the same, so is the result.
    pub basis: String,
    /// The signed result.
    pub token: String,
    /// base64url(SHA-256) of it.
    pub digest: String,
    /// The tier of each part.
    pub summary: Summary,
    /// Each part in words.
    pub told: BTreeMap<String, String>,
    /// What was measured.
    pub selectors: Selectors,
    /// base64url(SHA-256) of what was measured; empty where nothing was.
    #[serde(default)]
    pub measured: String,
    /// Until when it counts.
    pub until: UnixTime,
    /// How much of its class the agent gets; `None`: nothing.
    pub grade: Option<Grade>,
    /// The best grade that anything it may still hold was issued at.
    pub held: Option<Grade>,
    /// When a credential was last asked for, to [`ResultRow::ASKED_AGAIN`].
    pub asked: UnixTime,
    /// What was issued on it, by the kind of credential.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub given: BTreeMap<String, Given>,
}

/// What was issued of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The longest life.
    pub life: Span,
    /// When last, to [`ResultRow::ASKED_AGAIN`].
    pub last: UnixTime,
}

impl Given {
    /// When the last of them has ended at the latest.
    pub fn end(&self) -> UnixTime {
        self.last.plus(ResultRow::ASKED_AGAIN).plus(self.life)
    }
}

impl ResultRow {
    /// How far `asked` may be behind.
    pub const ASKED_AGAIN: Span = Span::from_seconds(600);
    /// How long after the last question the row is kept: whatever was issued has ended by then.
    const KEPT: Span = Span::from_seconds(2 * 86_400);
    /// The state of a row whose agent holds more than its result allows.
    pub const FALLEN: &'static str = "fallen";

    /// Its row: that of an agent on a host, of processes that are the same to the verifier.
    pub fn row(agent: &str, host: &str, measured: &str) -> String {
        let gap = if measured.is_empty() { "" } else { " " };
        format!("{agent} {host}{gap}{measured}")
    }

    /// What `measured` is of these selectors: processes of one agent that are made of other things
    /// have results of their own, and one that falls takes nothing from the others.
    pub fn measured(selectors: &Selectors) -> String {
        let all: Vec<_> = selectors.iter().map(attestation::Selector::as_str).collect();
        if all.is_empty() { String::new() } else { TokenHash::of(&all.join("\n")).to_base64url() }
    }

    /// Whether the agent may hold more than its result allows.
    pub fn has_fallen(&self) -> bool {
        self.grade < self.held
    }
}

impl Entity for ResultRow {
    const TABLE: Table = Table::Results;

    fn id(&self) -> String {
        Self::row(&self.agent, &self.host, &self.measured)
    }

    fn encode(&self) -> Vec<u8> {
        Unreadable::to_json(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Unreadable::from_json(bytes)
    }

    fn terms(&self) -> Vec<(Index, String)> {
        let fallen = self.has_fallen().then(|| (Index::State, Self::FALLEN.to_owned()));
        let of = [(Index::Agent, self.agent.clone()), (Index::Node, self.host.clone())];
        of.into_iter().chain(fallen).collect()
    }

    fn expires(&self) -> Option<UnixTime> {
        Some(self.asked.plus(Self::KEPT))
    }
}
