//! One audit record: who did what, for whom, under which rule (S1 §11; OBS-07).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::UnixTime;
use uuid::Uuid;

/// The longest encoded record, in bytes: what one entry of a tile log can hold.
/// C2SP tlog-tiles: "entry ... preceded by its length as a big-endian uint16".
pub const RECORD_BYTES_MAX: usize = 65_535;

/// The longest text of a record that is too long as a whole, and of any index term, in bytes: what
/// is longer loses its end.
pub const TEXT_BYTES_MAX: usize = 2_048;

/// The most entries of a list in a record that is too long as a whole.
pub const LIST_MAX: usize = 16;

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

    /// The instant that it was made of; none where somebody made it up otherwise.
    pub fn time(self) -> Option<UnixTime> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let millis = seconds.checked_mul(1_000)?.checked_add(u64::from(nanos / 1_000_000))?;
        Some(UnixTime::from_millis(millis))
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
    /// A node's lifecycle moved.
    NodeLifecycle,
    /// An agent's record was made.
    AgentRegistered,
    /// An agent's lifecycle moved.
    AgentLifecycle,
    /// A client was registered or disabled.
    ClientRegistered,
    /// A person was added.
    UserRegistered,
    /// A person was disabled, enabled or removed.
    UserLifecycle,
    /// What a person signs in with was changed: a passkey, an account, a code or link.
    UserChanged,
    /// Somebody signed in, or was refused.
    SignedIn,
    /// A session of a person ended, or a client was told so.
    SessionEnded,
    /// A grant, a token or a session ended before its time.
    GrantEnded,
    /// A human was asked to approve something.
    ApprovalAsked,
    /// Somebody allowed or denied what they were asked, or an answer was refused.
    ApprovalAnswered,
    /// What was asked is over: nobody answered, it was taken back, or what was allowed was done.
    ApprovalEnded,
    /// A client asked for a user: it pushed a request, or what it sent by a browser was refused.
    AuthorizationRequested,
    /// A user answered what a client asked for, or the server did by what they answered before.
    ConsentAnswered,
    /// A process was measured and matched to a record, or not.
    WorkloadAttested,
    /// Evidence about an agent, its process and its host was appraised.
    EvidenceAppraised,
    /// A document about an agent came, or was taken away.
    EvidenceChanged,
    /// A credential was issued, renewed or refused.
    CredentialIssued,
    /// Somebody asked which identifier to expect at a URL or host.
    IdentifierLookedUp,
    /// A token was issued or refused at the token endpoint.
    TokenIssued,
    /// A resource server asked about a token, or a client about its user.
    TokenRead,
    /// A call arrived at the gateway and was decided.
    CallDecided,
    /// What came of a call that was forwarded.
    CallFinished,
    /// Somebody else's gateway or service asked for a decision (AuthZEN).
    AccessDecided,
    /// A policy set was applied or refused.
    PolicyApplied,
    /// A signing key was made, put to use, or dropped.
    KeyRotated,
    /// A relation to another trust domain began or ended, or its bundle changed or could not be
    /// fetched.
    FederationChanged,
    /// Refusals of callers that proved nothing, counted over a window.
    StrangersRefused,
    /// The retention policy took the beginning off a log.
    LogCut,
    /// Something will end unless somebody mends what keeps it from being renewed; or that was
    /// mended.
    Alarm,
}

impl Event {
    /// The name in records and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::JoinTokenCreated => "join_token_created",
            Self::NodeAttested => "node_attested",
            Self::NodeRenewed => "node_renewed",
            Self::NodeLifecycle => "node_lifecycle",
            Self::AgentRegistered => "agent_registered",
            Self::AgentLifecycle => "agent_lifecycle",
            Self::ClientRegistered => "client_registered",
            Self::UserRegistered => "user_registered",
            Self::UserLifecycle => "user_lifecycle",
            Self::UserChanged => "user_changed",
            Self::SignedIn => "signed_in",
            Self::SessionEnded => "session_ended",
            Self::GrantEnded => "grant_ended",
            Self::ApprovalAsked => "approval_asked",
            Self::ApprovalAnswered => "approval_answered",
            Self::ApprovalEnded => "approval_ended",
            Self::AuthorizationRequested => "authorization_requested",
            Self::ConsentAnswered => "consent_answered",
            Self::WorkloadAttested => "workload_attested",
            Self::EvidenceAppraised => "evidence_appraised",
            Self::EvidenceChanged => "evidence_changed",
            Self::CredentialIssued => "credential_issued",
            Self::IdentifierLookedUp => "identifier_looked_up",
            Self::TokenIssued => "token_issued",
            Self::TokenRead => "token_read",
            Self::CallDecided => "call_decided",
            Self::CallFinished => "call_finished",
            Self::AccessDecided => "access_decided",
            Self::PolicyApplied => "policy_applied",
            Self::KeyRotated => "key_rotated",
            Self::FederationChanged => "federation_changed",
            Self::StrangersRefused => "strangers_refused",
            Self::LogCut => "log_cut",
            Self::Alarm => "alarm",
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
    /// Hash and end (ms) of a single-use value accepted with it: replay windows are rebuilt from
    /// it.
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
    /// is too long loses its facts first (and says so) with its attestation, then the ends of its
    /// texts: a long input must not keep a decision out of the log.
    pub fn encode(&self) -> Vec<u8> {
        let whole = serde_json::to_vec(self).unwrap_or_default();
        if whole.len() <= RECORD_BYTES_MAX {
            return whole;
        }
        let mut short = self.clone();
        short.facts = serde_json::json!({ "omitted_bytes": whole.len() });
        short.attestation = BTreeMap::new();
        let mut bytes = serde_json::to_vec(&short).unwrap_or_default();
        // JSON may write six bytes for one, so one cut need not be enough; the last one is.
        for max in [TEXT_BYTES_MAX, TEXT_BYTES_MAX / 4, TEXT_BYTES_MAX / 16] {
            if bytes.len() <= RECORD_BYTES_MAX {
                break;
            }
            short.cut(max);
            bytes = serde_json::to_vec(&short).unwrap_or_default();
        }
        bytes
    }

    /// Leaves no text longer than `max` bytes, and no list longer than [`LIST_MAX`].
    fn cut(&mut self, max: usize) {
        for list in [&mut self.actors, &mut self.rules] {
            let more = list.len().saturating_sub(LIST_MAX);
            if more > 0 {
                list.truncate(LIST_MAX);
                list.push(format!("… and {more} more"));
            }
        }
        let named = [
            &mut self.agent,
            &mut self.subject,
            &mut self.resource,
            &mut self.operator,
            &mut self.transport,
            &mut self.proof,
            &mut self.policy,
            &mut self.root,
            &mut self.txn,
            &mut self.jti,
            &mut self.parent,
            &mut self.trace,
        ];
        let why = self
            .why
            .iter_mut()
            .flat_map(|why| [&mut why.check, &mut why.message].into_iter().chain(&mut why.needs));
        let texts = named.into_iter().flatten().chain(why).chain([&mut self.action]);
        for text in texts.chain(&mut self.actors).chain(&mut self.rules) {
            text.truncate(text.floor_char_boundary(max));
        }
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
        terms.extend(named.into_iter().filter_map(|(term, value)| {
            let value = value.as_ref()?;
            let cut = value.get(..value.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
            Some((term, cut.to_owned()))
        }));
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_220_013);

    fn record() -> Record {
        let id = RecordId::new(NOW, [7; 10]);
        Record::new(id, NOW, Component("server".to_owned()), Event::CallDecided)
    }

    fn full() -> Record {
        let text = |value: &str| Some(value.to_owned());
        Record {
            outcome: Outcome::Refused,
            action: "tool.call".to_owned(),
            agent: text("agent"),
            subject: text("subject"),
            actors: vec!["agent".to_owned()],
            resource: text("resource"),
            operator: text("uid:1000"),
            transport: text("transport"),
            proof: text("wit+wpt"),
            rules: vec!["rule".to_owned()],
            policy: text("sha256:00"),
            why: Some(Why {
                check: "gateway::Denied".to_owned(),
                message: "no".to_owned(),
                needs: text("an approval"),
            }),
            root: text("root"),
            txn: text("txn"),
            jti: text("jti"),
            parent: text("parent"),
            after: Some(RecordId::new(NOW, [1; 10])),
            trace: text("0af7651916cd43dd8448eb211c80319c"),
            epoch: Some(4),
            attestation: BTreeMap::from([("uid".to_owned(), "1000".to_owned())]),
            facts: serde_json::json!({ "context": { "depth": 1 } }),
            used: vec![Used { hash: "hash".to_owned(), until: NOW }],
            ..record()
        }
    }

    /// req: OBS-07 (part)
    #[test]
    fn s11_a_record_reads_back_as_it_was_written() {
        for record in [record(), full()] {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
        insta::assert_snapshot!(String::from_utf8(full().encode()).unwrap());
    }

    /// req: OBS-05 (part)
    #[test]
    fn s11_no_input_is_too_long_to_be_recorded() {
        let check = |edit: &dyn Fn(&mut Record)| {
            let mut long = full();
            edit(&mut long);
            let bytes = long.encode();
            assert!(bytes.len() <= RECORD_BYTES_MAX, "{} bytes", bytes.len());
            let read = Record::decode(&bytes).unwrap();
            assert_eq!((read.id, read.outcome, read.event), (long.id, long.outcome, long.event));
            assert_eq!(read.used, long.used, "what guards against replay is never lost");
            assert!(read.facts.get("omitted_bytes").is_some(), "it says so");
        };
        check(&|record| record.facts = serde_json::json!("x".repeat(RECORD_BYTES_MAX)));
        check(&|record| record.resource = Some("x".repeat(RECORD_BYTES_MAX)));
        // Each control character is six bytes of JSON.
        check(&|record| record.why.as_mut().unwrap().message = "\u{1}".repeat(RECORD_BYTES_MAX));
        check(&|record| record.rules = vec!["r".repeat(128); 20_000]);
        check(&|record| {
            let long = || Some("\u{1}".repeat(RECORD_BYTES_MAX));
            record.action = "\u{1}".repeat(RECORD_BYTES_MAX);
            record.actors = vec!["\u{1}".repeat(RECORD_BYTES_MAX); 99];
            record.rules = vec!["\u{1}".repeat(RECORD_BYTES_MAX); 99];
            (record.agent, record.subject, record.resource) = (long(), long(), long());
            (record.operator, record.transport, record.proof) = (long(), long(), long());
            (record.policy, record.root, record.txn) = (long(), long(), long());
            (record.jti, record.parent, record.trace) = (long(), long(), long());
            let check = "\u{1}".repeat(RECORD_BYTES_MAX);
            record.why = Some(Why { message: check.clone(), check, needs: long() });
        });
        // A cut falls between letters.
        check(&|record| record.resource = Some("€".repeat(RECORD_BYTES_MAX)));
    }

    /// req: OBS-09 (part)
    #[test]
    fn s11_a_record_is_found_by_whom_and_what_it_concerns() {
        let terms: Vec<_> = full()
            .terms()
            .into_iter()
            .map(|(term, text)| format!("{}={text}", term.name()))
            .collect();
        assert_eq!(
            terms.join(" "),
            "event=call_decided outcome=refused agent=agent subject=subject resource=resource \
             operator=uid:1000 root=root txn=txn jti=jti trace=0af7651916cd43dd8448eb211c80319c"
        );
        let long = Record { jti: Some("€".repeat(TEXT_BYTES_MAX)), ..full() };
        assert!(long.terms().iter().all(|(_, text)| text.len() <= TEXT_BYTES_MAX));
    }

    #[test]
    fn s11_names_are_the_same_in_records_terms_and_commands() {
        for term in Term::ALL {
            assert_eq!(Term::parse(term.name()), Some(term));
        }
        assert_eq!(Term::parse("Agent"), None);
        for event in [Event::Started, Event::CallFinished, Event::LogCut] {
            assert_eq!(serde_json::to_value(event).unwrap(), event.name());
        }
        for outcome in [Outcome::Permitted, Outcome::Refused, Outcome::Done, Outcome::Failed] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn rfc9562_5_7_ids_sort_by_time_and_read_back() {
        let ids = [(1, 9), (1, 10), (2, 0)]
            .map(|(millis, random)| RecordId::new(UnixTime::from_millis(millis), [random; 10]));
        assert!(ids.is_sorted());
        for id in ids {
            assert_eq!(RecordId::parse(&id.to_string()), Some(id));
        }
        assert_eq!(ids.map(|id| id.time().unwrap().millis()), [1, 1, 2]);
        assert_eq!(RecordId::parse("7"), None);
        assert!(Record::decode(b"{}").is_err(), "a record that lacks its parts does not read");
    }
}
