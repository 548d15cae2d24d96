//! One audit record: who did what, for whom, under which rule (S1 §11; OBS-07).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::UnixTime;
use uuid::Uuid;

/// The longest encoded record, in bytes: what one entry of a tile log can hold.
/// C2SP tlog-tiles: "entry ... preceded by its length as a big-endian uint16".
pub const RECORD_BYTES_MAX: usize = 65_535;

/// The longest text of any one field, in bytes; longer input is cut before it is recorded.
pub const TEXT_BYTES_MAX: usize = 2_048;

/// The identity of a record: a UUID version 7, so that it sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordId(Uuid);

impl RecordId {
    /// From the instant and ten random bytes (RFC 9562 §5.7).
    pub fn new(now: UnixTime, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.millis(), &random).into_uuid())
    }

    /// The sixteen bytes that a log keeps.
    pub fn bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id in an index or on a command line.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Which part of the system saw it: `server`, `node:<name>`, `gateway:<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Component(pub String);

/// What happened. The names are part of the contract: scripts and index terms use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A component started or stopped.
    Started,
    /// A join token was made.
    JoinTokenCreated,
    /// A host asked to join.
    NodeAttested,
    /// A node renewed its credential.
    NodeRenewed,
    /// An agent's record was made.
    AgentRegistered,
    /// An agent's lifecycle moved.
    AgentLifecycle,
    /// A client was registered or disabled.
    ClientRegistered,
    /// A process was measured and matched to a record, or not.
    WorkloadAttested,
    /// A credential was issued, renewed or refused.
    CredentialIssued,
    /// A token was issued or refused at the token endpoint.
    TokenIssued,
    /// A call arrived at the gateway and was decided.
    CallDecided,
    /// What came of a call that was forwarded.
    CallFinished,
    /// A policy set was applied or refused.
    PolicyApplied,
    /// A signing key was made, put to use, or dropped.
    KeyRotated,
    /// Refusals of callers that proved nothing, counted over a window.
    StrangersRefused,
}

impl Event {
    /// The name in records and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::JoinTokenCreated => "join_token_created",
            Self::NodeAttested => "node_attested",
            Self::NodeRenewed => "node_renewed",
            Self::AgentRegistered => "agent_registered",
            Self::AgentLifecycle => "agent_lifecycle",
            Self::ClientRegistered => "client_registered",
            Self::WorkloadAttested => "workload_attested",
            Self::CredentialIssued => "credential_issued",
            Self::TokenIssued => "token_issued",
            Self::CallDecided => "call_decided",
            Self::CallFinished => "call_finished",
            Self::PolicyApplied => "policy_applied",
            Self::KeyRotated => "key_rotated",
            Self::StrangersRefused => "strangers_refused",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Decided and allowed.
    Permitted,
    /// Decided and refused.
    Refused,
    /// Done (nothing was to be decided).
    Done,
    /// Tried, and failed on our side or upstream.
    Failed,
}

impl Outcome {
    /// The name in records and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Refused => "refused",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Why it was refused or failed, for the operator: more than the caller is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The variant that fired, as `box::Variant`.
    pub check: String,
    /// The evidence, in words.
    pub message: String,
    /// What would be needed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// One record. OBS-07: "agent identifier, delegated subject, resource or tool, action and
/// decision, time and correlation id, attestation or risk state, remediation and cause".
/// Whole tokens never stand in it: ids and hashes only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its identity, and the key by which a second append of it is known.
    pub id: RecordId,
    /// When, in milliseconds since the epoch, by the component's clock.
    pub time: UnixTime,
    /// Who wrote it.
    pub component: Component,
    /// What happened.
    pub event: Event,
    /// How it ended.
    pub outcome: Outcome,
    /// What was tried, in the words of the decision: `tool.call`, `token.exchange`.
    pub action: String,
    /// The agent concerned, by identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The user or system it acted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The chain of actors, current one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// The resource, tool or audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Who ordered it, where a person did: `uid:1000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The authenticated transport identity, which may differ from the agent (AUTHN-13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// How the caller proved itself: `wit+wpt`, `spiffe_x509`, `pidfd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The rules that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// The policy version that it was decided under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// The root of the lineage: every record of one task carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The transaction, where a transaction token exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn: Option<String>,
    /// The token or credential issued or presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The token that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The record that this one follows (a call's end follows its decision).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RecordId>,
    /// W3C trace id, where the caller sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The revocation epoch it was decided under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Attestation or risk state: mechanism, selectors, tier.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attestation: BTreeMap<String, String>,
    /// The facts that the decision used, so that it can be taken again under another policy.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub facts: serde_json::Value,
    /// Hash and end (ms) of a single-use value accepted with it: replay windows are rebuilt from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<Used>,
}

/// A single-use value that was accepted: only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// base64url(SHA-256(space ‖ 0x00 ‖ value)).
    pub hash: String,
    /// After this instant the value is refused for its age anyway.
    pub until: UnixTime,
}

impl Record {
    /// A record with what every record has; the rest is filled in by name.
    pub fn new(id: RecordId, time: UnixTime, component: Component, event: Event) -> Self {
        Self {
            id,
            time,
            component,
            event,
            outcome: Outcome::Done,
            action: event.name().to_owned(),
            agent: None,
            subject: None,
            actors: Vec::new(),
            resource: None,
            operator: None,
            transport: None,
            proof: None,
            rules: Vec::new(),
            policy: None,
            why: None,
            root: None,
            txn: None,
            jti: None,
            parent: None,
            after: None,
            trace: None,
            epoch: None,
            attestation: BTreeMap::new(),
            facts: serde_json::Value::Null,
            used: Vec::new(),
        }
    }

    /// The bytes that go into the log: JSON in declaration order, which is stable. A record that
    /// is too long loses its facts first (and says so), then its attestation: a long input must
    /// not keep a decision out of the log.
    pub fn encode(&self) -> Vec<u8> {
        let whole = serde_json::to_vec(self).unwrap_or_default();
        if whole.len() <= RECORD_BYTES_MAX {
            return whole;
        }
        let mut short = self.clone();
        short.facts = serde_json::json!({ "omitted_bytes": whole.len() });
        short.attestation = BTreeMap::new();
        serde_json::to_vec(&short).unwrap_or_default()
    }

    /// Reads what [`Record::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(bytes).map_err(|error| Unreadable(error.to_string()))
    }

    /// The index terms: by these a record is found again.
    pub fn terms(&self) -> Vec<(Term, String)> {
        let mut terms = vec![
            (Term::Event, self.event.name().to_owned()),
            (Term::Outcome, self.outcome.name().to_owned()),
        ];
        let named = [
            (Term::Agent, &self.agent),
            (Term::Subject, &self.subject),
            (Term::Resource, &self.resource),
            (Term::Operator, &self.operator),
            (Term::Root, &self.root),
            (Term::Txn, &self.txn),
            (Term::Jti, &self.jti),
            (Term::Trace, &self.trace),
        ];
        terms.extend(
            named.into_iter().filter_map(|(term, value)| value.clone().map(|value| (term, value))),
        );
        terms
    }
}

/// A stored record that does not read: the log was written by a newer version, or is damaged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record does not read: {0}")]
pub struct Unreadable(pub String);

/// What the query index knows a record by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// Event name.
    Event,
    /// Outcome name.
    Outcome,
    /// Agent identifier.
    Agent,
    /// Subject.
    Subject,
    /// Resource.
    Resource,
    /// Operator.
    Operator,
    /// Root of the lineage.
    Root,
    /// Transaction.
    Txn,
    /// Token id.
    Jti,
    /// W3C trace id.
    Trace,
}

impl Term {
    /// All of them, for help texts and for reading a name.
    pub const ALL: [Self; 10] = [
        Self::Event,
        Self::Outcome,
        Self::Agent,
        Self::Subject,
        Self::Resource,
        Self::Operator,
        Self::Root,
        Self::Txn,
        Self::Jti,
        Self::Trace,
    ];

    /// The name in an index and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Outcome => "outcome",
            Self::Agent => "agent",
            Self::Subject => "subject",
            Self::Resource => "resource",
            Self::Operator => "operator",
            Self::Root => "root",
            Self::Txn => "txn",
            Self::Jti => "jti",
            Self::Trace => "trace",
        }
    }

    /// The term of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|term| term.name() == name)
    }
}
