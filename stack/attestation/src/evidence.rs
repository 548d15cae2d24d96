//! Evidence about the agent itself: the seam that every kind of document fits (ATT-05, ATT-06,
//! ATT-09 to ATT-12). A document is kept with the agent's record or comes with a request; the
//! verifier ([`crate::verifier`]) knows only this file.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rats::Vector;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Span, UnixTime};
use wimse::WorkloadId;

use crate::chain::hex;
use crate::mechanism::{Step, Use};
use crate::selector::Selectors;

/// The largest document of any kind, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// The most selectors that one document may give.
pub const SELECTORS_MAX: usize = 64;

/// A document as it is kept in rows and messages of text: base64url without padding.
pub fn to_text(document: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(document)
}

/// The document that such a text is; `None` if it is none.
pub fn from_text(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256 of a document, lower-case hex.
pub fn sha256(document: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, document).as_ref())
}

/// What policy says of one kind of document: `[evidence.<kind>]` of `attestation.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EvidenceRule {
    /// The settings as they were written; the kind refuses what it does not know
    /// ([`AgentEvidence::faults`]).
    pub own: Map<String, Value>,
}

impl EvidenceRule {
    /// The kind's own settings.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, String> {
        T::deserialize(Value::Object(self.own.clone())).map_err(|error| error.to_string())
    }
}

/// The facts that a kind of document may look at, besides the document itself.
#[derive(Clone, Copy, Debug)]
pub struct AgentFacts<'a> {
    /// Whose document it is said to be.
    pub agent: &'a WorkloadId,
    /// SHA-256 of what runs, lower-case hex, as attestors measured it just now: the program, its
    /// script, its image. Empty where nothing was measured: then no document fits.
    pub measured: &'a BTreeSet<String>,
    /// RFC 7638 thumbprint, base64url, of the key that the credential will bind.
    pub key: Option<&'a str>,
    /// What policy says of this kind.
    pub rule: &'a EvidenceRule,
    /// Now.
    pub now: UnixTime,
    /// How far clocks may differ.
    pub skew: Span,
}

/// A kind of document about an agent.
///
/// Order as everywhere: form as far as it must be read, signature over the exact bytes, who signed
/// and whether policy names them, binding to this agent and to what was measured, and only then
/// what it says.
pub trait AgentEvidence: Sync {
    /// The name in policy, records, and of the submodule of the result: `aibom`.
    fn name(&self) -> &'static str;

    /// The media types that a wrapper gives it, without parameters; the first is ours.
    fn media_types(&self) -> &'static [&'static str];

    /// What is wrong in policy's table of this kind: the key below the table, and why.
    fn faults(&self, rule: &EvidenceRule) -> Vec<(String, String)>;

    /// What the document proves.
    fn appraise(&self, document: &[u8], facts: &AgentFacts<'_>) -> Result<Finding, Failure>;
}

/// Every kind there is. A new one is added here, and nowhere else.
pub const KINDS: &[&dyn AgentEvidence] = &[];

/// The kind of that name.
pub fn by_name(name: &str) -> Option<&'static dyn AgentEvidence> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

/// What a document proves. What is bad about an agent and truly said (a component with a known
/// vulnerability) is a finding too: its vector says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// How it counts.
    pub vector: Vector,
    /// Facts that rules and policy may name.
    pub selectors: Selectors,
    /// Until when it may count, where the document says so.
    pub until: Option<UnixTime>,
    /// Values of the document that may be accepted once.
    pub uses: Vec<Use>,
    /// What is worth showing to a person, small and without secrets.
    pub claims: Map<String, Value>,
}

/// Why a document proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", step.name())]
pub struct Failure {
    /// Which step of the order.
    pub step: Step,
    /// The check that fired, with its evidence.
    pub why: String,
}

impl Failure {
    /// A check of `step` that fired.
    pub fn new(step: Step, why: impl std::fmt::Display) -> Self {
        Self { step, why: why.to_string() }
    }
}

/// SHA-256 digests among selectors: those whose value is one, whatever measured it.
pub fn digests(selectors: &Selectors) -> BTreeSet<String> {
    let value = |text: &str| {
        let last = text.rsplit(':').next().unwrap_or_default();
        let is_digest = last.len() == SHA256_HEX
            && last.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_digest.then(|| last.to_owned())
    };
    let named = |text: &str| MEASURED.iter().any(|name| text.starts_with(name));
    let texts = selectors.iter().map(|selector| selector.as_str());
    texts.filter(|text| named(text)).filter_map(value).collect()
}

/// Characters of a SHA-256 digest in hex.
const SHA256_HEX: usize = 64;
/// Selectors whose value is the digest of what runs, and that an attestor measured itself: none
/// that says what a process, or whoever started it, claims (a label, an argument).
const MEASURED: [&str; 3] =
    ["unix:sha256:", "docker:image_config_digest:sha256:", "docker:image_id:sha256:"];
