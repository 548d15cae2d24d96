//! What crosses the operators' socket: the same types at both ends. Times are milliseconds since
//! the epoch, as in the records.

use std::collections::BTreeSet;
use std::fmt;

use attestation::mechanism::Role;
use authorization::profile::Profile as ClientProfile;
use credential::federation::{Fetched, Keeper, LastFault, Relation, Standing, Terms};
use credential::{AuthorityKey, KeyRing};
use identifier::AgentName;
use jose::Jwk;
use policy::{Difference, Fault, Files};
use provisioning::Lifecycle;
use provisioning::renewal::{Heard, Trouble};
use registry::client::Origin;
use registry::{ClientRecord, ClientState, NodeRecord};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use spiffe::federation::{EndpointUrl, Profile};
use spiffe::{SpiffeId, TrustDomain};
use time::UnixTime;

mod approvals;
mod evidence;
mod people;
mod status;

pub use approvals::{ApprovalAnswer, ApprovalShown};
pub use evidence::{DocumentOrder, DocumentShown, EvidenceShown, ResultShown};
pub use people::{
    AccountShown, AskCode, AskCodeShown, GiveOrder, GivenShown, NewUser, PasskeyShown,
    SessionShown, SessionsEnded, UserAdded, UserChange, UserMoved, UserShown,
};
pub use status::{Status, SuperiorShown};

/// How long a join token lives unless the order says otherwise, in seconds.
pub const JOIN_TOKEN_SECONDS: u64 = 600;
/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 1_024;

/// `POST /v1/join-tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJoinToken {
    /// What may join by it.
    pub role: Role,
    /// The name that it gets; else one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<AgentName>,
    /// How long it lives; [`JOIN_TOKEN_SECONDS`] unless given, at most a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_seconds: Option<u64>,
}

/// Its answer: the only time that the token is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinTokenShown {
    /// The token. Whoever has it can join as a host.
    pub token: String,
    /// What may join by it.
    pub role: Role,
    /// The name that it gets.
    pub name: Option<String>,
    /// When it ends.
    pub expires: UnixTime,
}

impl fmt::Debug for JoinTokenShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = self.role.name();
        write!(f, "JoinTokenShown(for a {role}, until {})", self.expires)
    }
}

/// A page of a list, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows, in order.
    pub items: Vec<T>,
    /// `after` of the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `POST /v1/agents/{name}/{act}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why, in the operator's words; 1 to [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

/// `POST /v1/client-tokens`: an order for an initial access token (RFC 7591 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClientToken {
    /// How many clients may register with it; 1 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// How long it lives; a day unless given, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_seconds: Option<u64>,
}

/// Its answer: the only time that the token is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClientTokenShown {
    /// The token. Whoever has it can register clients.
    pub token: String,
    /// How many.
    pub uses: u32,
    /// When it ends.
    pub expires: UnixTime,
}

impl fmt::Debug for ClientTokenShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientTokenShown(for {}, until {})", self.uses, self.expires)
    }
}

/// A client as RFC 7591 §3.2.1 answers a registration, and whether it gets tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInformation {
    /// Its id.
    pub client_id: String,
    /// RFC 7591 §3.2.1: "the number of seconds from 1970-01-01T00:00:00Z as measured in UTC".
    pub client_id_issued_at: u64,
    /// RFC 7591 §3.2.1: "the authorization server MUST return all registered metadata about this
    /// client".
    #[serde(flatten)]
    pub metadata: Map<String, Value>,
    /// Its secret, where policy lets clients have one: shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// RFC 7591 §3.2.1: 0 where the secret does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_expires_at: Option<u64>,
    /// Who brought it.
    pub origin: Origin,
    /// What it must obey beside what everybody must.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub profiles: BTreeSet<ClientProfile>,
    /// Whether it gets tokens.
    pub state: ClientState,
    /// Since when.
    pub since: UnixTime,
}

impl fmt::Debug for ClientInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientInformation({})", self.client_id)
    }
}

impl From<ClientRecord> for ClientInformation {
    fn from(client: ClientRecord) -> Self {
        Self {
            client_id: client.client_id,
            client_id_issued_at: client.registered.seconds(),
            metadata: client.metadata.members().clone(),
            client_secret: None,
            client_secret_expires_at: None,
            origin: client.origin,
            profiles: client.profiles,
            state: client.state,
            since: client.since,
        }
    }
}

/// `POST /v1/policy/plan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    /// The files of the directory, by their path below it.
    pub files: Files,
}

/// `POST /v1/policy/apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyOrder {
    /// The files of the directory, by their path below it.
    pub files: Files,
    /// Why.
    pub reason: String,
    /// The version that it replaces, where it was planned against one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// What a set changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPlan {
    /// The version in force before.
    pub from: Option<String>,
    /// The version of the set.
    pub to: String,
    /// What differs.
    pub changes: Vec<PolicyChange>,
    /// What it does to the agents that policy keeps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentStep>,
    /// What is likely a mistake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<FaultShown>,
}

/// What coming into force does to one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStep {
    /// Its identifier.
    pub agent: String,
    /// `register`, `change`, `renew`, `suspend` or `resume`.
    pub does: String,
    /// The same in words.
    pub told: String,
}

impl From<&flow::apply_policy::Step> for AgentStep {
    fn from(step: &flow::apply_policy::Step) -> Self {
        let (agent, does) = (step.agent.to_string(), step.does.name().to_owned());
        Self { agent, does, told: step.to_string() }
    }
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum PolicyChange {
    /// It is new.
    Added {
        /// What: `rule read-invoices`, `resource invoices`.
        what: String,
    },
    /// It is gone.
    Removed {
        /// What.
        what: String,
    },
    /// It reads otherwise.
    Changed {
        /// What.
        what: String,
    },
}

impl From<&Difference> for PolicyChange {
    fn from(difference: &Difference) -> Self {
        match difference.clone() {
            Difference::Added { what } => Self::Added { what },
            Difference::Removed { what } => Self::Removed { what },
            Difference::Changed { what } => Self::Changed { what },
        }
    }
}

impl From<flow::apply_policy::Plan> for PolicyPlan {
    fn from(plan: flow::apply_policy::Plan) -> Self {
        let changes = plan.changes.iter().map(PolicyChange::from).collect();
        let agents = plan.agents.iter().map(AgentStep::from).collect();
        let warnings = plan.warnings.iter().map(FaultShown::from).collect();
        Self { from: plan.from, to: plan.to, changes, agents, warnings }
    }
}

/// `GET /v1/policy/history`: a set that was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyApplied {
    /// Its version.
    pub version: String,
    /// When it was last applied: RFC 3339.
    pub applied: String,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether it is in force now.
    pub in_force: bool,
}

impl From<flow::apply_policy::Applied> for PolicyApplied {
    fn from(applied: flow::apply_policy::Applied) -> Self {
        let flow::apply_policy::Applied { version, applied, by, reason, in_force } = applied;
        Self { version, applied, by, reason, in_force }
    }
}

/// `GET /v1/policy/current`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInForce {
    /// Its version.
    pub version: String,
    /// When it was applied.
    pub applied: UnixTime,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Its files.
    pub files: Files,
}

/// `GET /v1/nodes`: a host or gateway that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeShown {
    /// Its identifier.
    pub id: String,
    /// What it is.
    pub role: Role,
    /// How it joined.
    pub mechanism: String,
    /// When it joined first.
    pub joined: UnixTime,
    /// When its credential was last renewed.
    pub renewed: UnixTime,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// What was found out about it.
    #[serde(default)]
    pub selectors: Vec<String>,
    /// When the credential that it has now ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<UnixTime>,
    /// Its next evidence is taken for the first.
    #[serde(default)]
    pub forgotten: bool,
    /// When this server last heard it, since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<UnixTime>,
    /// Which renewals fail there, as it tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
    /// The agents that obtained credentials there, of which some may live; of one node alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<String>>,
    /// The agents whose credentials ended with it, where it was just revoked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<String>,
}

impl NodeShown {
    /// A record, and what is heard.
    pub fn new(node: &NodeRecord, heard: Option<Heard>) -> Self {
        let (at, troubles) = heard.map(|heard| (heard.at, heard.troubles)).unzip();
        Self {
            id: node.id.to_string(),
            role: node.role,
            mechanism: node.mechanism.clone(),
            joined: node.joined,
            renewed: node.renewed,
            lifecycle: node.lifecycle.clone(),
            selectors: node.selectors.iter().map(ToString::to_string).collect(),
            ends: node.ends,
            forgotten: node.forgotten,
            heard: at,
            troubles: troubles.unwrap_or_default(),
            agents: None,
            ended: Vec::new(),
        }
    }
}

/// `GET /v1/keys`: the public side of our signing keys of one purpose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingShown {
    /// What they sign.
    pub purpose: String,
    /// The keys, oldest first.
    pub keys: Vec<KeyShown>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyShown {
    /// Its id.
    pub kid: String,
    /// The public half.
    pub public: Jwk,
    /// Since when it is published.
    pub published: UnixTime,
    /// From when it signs.
    pub signs_from: UnixTime,
    /// Until when it signs.
    pub signs_until: UnixTime,
    /// Until when it is published.
    pub kept_until: UnixTime,
    /// The component that holds the private half, where that is not the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Since when it is mistrusted: it signs no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted: Option<UnixTime>,
}

impl From<&KeyRing> for RingShown {
    fn from(ring: &KeyRing) -> Self {
        let shown = |key: &AuthorityKey| KeyShown {
            kid: key.kid.as_str().to_owned(),
            public: key.public.clone(),
            published: key.published,
            signs_from: key.signs_from,
            signs_until: key.signs_until,
            kept_until: key.kept_until,
            holder: key.holder.clone(),
            tainted: key.tainted,
        };
        let keys = ring.keys.iter().map(shown).collect();
        Self { purpose: ring.purpose.name().to_owned(), keys }
    }
}

/// `POST /v1/authorities/{purpose}/rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateOrder {
    /// After how many seconds it begins to sign; as policy publishes keys ahead where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_seconds: Option<u64>,
    /// Why, in the operator's words; 1 to [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

/// `POST /v1/keys/{kid}/{act}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyOrder {
    /// Taint it although no other key is ready.
    #[serde(default)]
    pub urgent: bool,
    /// Why, in the operator's words; 1 to [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

/// `GET /v1/federation`: a relation to another trust domain. Of a first bundle only that it was
/// given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationShown {
    /// The trust domain whose bundle it is.
    pub trust_domain: TrustDomain,
    /// How its endpoint is authenticated.
    pub profile: Profile,
    /// Where its bundle is.
    pub url: EndpointUrl,
    /// With `https_spiffe`: who answers there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<SpiffeId>,
    /// Whether a first bundle was given.
    pub has_first_bundle: bool,
    /// Whether its WITs are believed.
    pub wit: bool,
    /// Who keeps it.
    pub keeper: Keeper,
    /// Since when these terms hold.
    pub since: UnixTime,
    /// How it stands.
    pub standing: Standing,
    /// The last good answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Fetched>,
    /// What is believed by it now; none before the first good answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysShown>,
    /// Failures since the last good answer.
    pub failures: u32,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<LastFault>,
    /// When its endpoint is asked next.
    pub next: UnixTime,
}

/// How many keys of a bundle are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysShown {
    /// Authorities of X.509-SVIDs.
    pub x509: usize,
    /// Keys of JWT-SVIDs.
    pub jwt: usize,
    /// Keys of WITs.
    pub wit: usize,
}

impl From<flow::federate::Shown> for RelationShown {
    fn from(shown: flow::federate::Shown) -> Self {
        let flow::federate::Shown { relation, keys } = shown;
        let standing = relation.standing();
        let Relation { terms, keeper, since, fetched, failures, fault, next, .. } = relation;
        let Terms { trust_domain, profile, url, endpoint_id, bundle, wit } = terms;
        Self {
            trust_domain,
            profile,
            url,
            endpoint_id,
            has_first_bundle: bundle.is_some(),
            wit,
            keeper,
            since,
            standing,
            fetched,
            keys: keys.map(|[x509, jwt, wit]| KeysShown { x509, jwt, wit }),
            failures,
            fault,
            next,
        }
    }
}

/// A record of a log, as it lies there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The log's name.
    pub log: String,
    /// Its place in it.
    pub index: u64,
    /// The record: the very bytes of the entry.
    pub record: Box<RawValue>,
}

/// `GET /v1/audit/trace/{root}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TraceShown {
    /// The root of the lineage.
    pub root: String,
    /// Its records, and what operators did meanwhile to whom they concern; by time.
    pub records: Vec<Line>,
    /// Whether there are more than are shown.
    pub cut: bool,
}

/// How an order ended that was not done: what the command line makes its exit code of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Decided against.
    Refused,
    /// It makes no sense as it was given.
    Misused,
    /// Nothing could be decided.
    Unavailable,
}

impl Ending {
    /// docs/design.md §4: "Exit code 0 done / 1 refused / 2 misused / 3 unavailable".
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Misused => 2,
            Self::Unavailable => 3,
        }
    }
}

/// What is answered when an order was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How it ended.
    pub outcome: Ending,
    /// The check that fired, or `not_found`, `misused`, `unavailable`, a code of RFC 7591.
    pub error: String,
    /// In words.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The record of the decision, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<String>,
    /// What is wrong in a policy set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultShown>,
}

/// One fault of a policy set. Lines and columns count from 1; 0 means the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultShown {
    /// The file, relative to the policy directory.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl From<&Fault> for FaultShown {
    fn from(fault: &Fault) -> Self {
        let Fault { file, line, column, message, fix } = fault.clone();
        Self { file, line, column, message, fix }
    }
}
