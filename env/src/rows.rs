//! What is stored in which table, and under what it is found.

/// An entity that is stored as plain JSON: its table and its id; where it has some, the indexes
/// that it stands under, and when it may be swept.
macro_rules! entity {
    ($type:ty, $table:expr, $self:ident => $id:expr) => {
        entity!($type, $table, $self => $id, Vec::new(), None);
    };
    ($type:ty, $table:expr, $self:ident => $id:expr, $terms:expr, $expires:expr) => {
        impl $crate::store::Entity for $type {
            const TABLE: $crate::store::Table = $table;

            fn id(&self) -> String {
                let $self = self;
                $id
            }

            fn encode(&self) -> Vec<u8> {
                $crate::store::Unreadable::to_json(self)
            }

            fn decode(bytes: &[u8]) -> Result<Self, $crate::store::Unreadable> {
                $crate::store::Unreadable::from_json(bytes)
            }

            fn terms(&self) -> Vec<($crate::store::Index, String)> {
                let $self = self;
                let _ = $self;
                $terms
            }

            fn expires(&self) -> Option<time::UnixTime> {
                let $self = self;
                let _ = $self;
                $expires
            }
        }
    };
}

mod clients;
mod consent;
mod enrolment;
mod evidence;
mod people;
mod superior;
mod tokens;

use attestation::join_token::JoinToken;
use credential::federation::Relation;
use credential::{KeyRing, Purpose};
use identifier::Assignment;
use policy::{Files, PolicySet};
use provisioning::Epoch;
use provisioning::alarm::Alarm;
use provisioning::renewal::Trouble;
use registry::{AgentRecord, NodeRecord};
use serde::{Deserialize, Serialize};
use spiffe::{Bundle, TrustDomain};
use time::{Span, UnixTime};
use wimse::{Bundles, Origin};

use crate::keys::Handle;
use crate::store::{Entity, Index, Table, Unreadable};

pub use clients::{ClientDocument, ClientKeys};
pub use enrolment::Enrolment;
pub use evidence::{Documents, Given, KeptDocument, ResultRow, Standing};
pub use people::{
    TO_NOTIFY, account_handle, email_handle, passkey_handle, role_handle, upstream_handle,
    waits_handle,
};
pub use superior::{Failing, KeyAbove, RootTainted, SuperiorRow};
pub use tokens::{OpaqueToken, ServerSecret, StatusEntry};

/// How long a join token's row outlives the token, so that a late second use is told for what it
/// is.
const TOKEN_KEPT: Span = Span::from_seconds(86_400);

impl Entity for AgentRecord {
    const TABLE: Table = Table::Agents;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn encode(&self) -> Vec<u8> {
        Unreadable::to_json(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Unreadable::from_json(bytes)
    }

    fn terms(&self) -> Vec<(Index, String)> {
        let handles = self.entry.handles().map(|handle| (Index::Handle, handle.to_owned()));
        let mut terms = vec![
            (Index::Owner, self.entry.owner.clone()),
            (Index::State, self.lifecycle.state.name().to_owned()),
        ];
        terms.extend(handles);
        terms
    }
}

entity!(
    JoinToken, Table::JoinTokens, one => one.hash.clone(),
    Vec::new(),
    Some(one.expires.plus(TOKEN_KEPT))
);

entity!(
    Hosted, Table::Hosted, one => Self::id_of(&one.node, &one.agent),
    vec![(Index::Node, one.node.clone())],
    Some(one.until)
);

entity!(Assignment, Table::Names, one => one.name.to_string());
entity!(NodeRecord, Table::Nodes, one => one.id.to_string());
entity!(KeyRing, Table::Authorities, one => one.purpose.name().to_owned());
entity!(Relation, Table::Relations, one => one.terms.trust_domain.to_string());
entity!(Holding, Table::Holdings, one => one.agent.clone());
entity!(Documents, Table::Evidence, one => one.agent.clone());
entity!(DomainEpoch, Table::Singles, _one => Self::ID.to_owned());
entity!(Feed, Table::Singles, _one => Self::ID.to_owned());
entity!(Told, Table::Singles, _one => Self::ID.to_owned());
entity!(Taints, Table::Singles, _one => Self::ID.to_owned());
entity!(Discarded, Table::Singles, one => one.row().to_owned());
entity!(Alarms, Table::Singles, _one => Self::ID.to_owned());
entity!(Troubles, Table::Singles, _one => Self::ID.to_owned());
entity!(SuperiorRow, Table::Singles, _one => Self::ID.to_owned());
entity!(LogMark, Table::Singles, one => one.log.clone());

/// A policy set as stored: its files, and who applied it.
#[derive(Debug)]
pub struct PolicyRow {
    /// The set.
    pub set: PolicySet,
    /// When it was applied.
    pub applied: UnixTime,
    /// By whom.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct StoredPolicy {
    files: Files,
    applied: UnixTime,
    by: String,
    reason: String,
}

impl Entity for PolicyRow {
    const TABLE: Table = Table::Policies;

    fn id(&self) -> String {
        self.set.version().as_str().to_owned()
    }

    fn encode(&self) -> Vec<u8> {
        let (files, by, reason) = (self.set.files().clone(), self.by.clone(), self.reason.clone());
        Unreadable::to_json(&StoredPolicy { files, applied: self.applied, by, reason })
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let StoredPolicy { files, applied, by, reason } = Unreadable::from_json(bytes)?;
        let set = PolicySet::compile(files).map_err(|faults| {
            let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
            Unreadable(format!("a stored policy set does not compile: {}", told.join("; ")))
        })?;
        Ok(Self { set, applied, by, reason })
    }
}

/// The number of revocations so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainEpoch {
    /// The number.
    pub epoch: Epoch,
}

impl DomainEpoch {
    /// Its row.
    pub const ID: &'static str = "epoch";
}

/// The policy set that is in force: the same contents as its row among the policies, in a row that
/// can be read without knowing its version.
#[derive(Debug)]
pub struct InForce(pub PolicyRow);

impl InForce {
    /// Its row.
    pub const ID: &'static str = "policy";
}

impl std::ops::Deref for InForce {
    type Target = PolicyRow;

    fn deref(&self) -> &PolicyRow {
        &self.0
    }
}

impl Entity for InForce {
    const TABLE: Table = Table::Singles;

    fn id(&self) -> String {
        Self::ID.to_owned()
    }

    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        PolicyRow::decode(bytes).map(Self)
    }
}

/// On a node or gateway: when the server was last heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// By our own clock.
    pub heard: UnixTime,
    /// The server's position that we have applied.
    pub seq: u64,
}

impl Feed {
    /// Its row.
    pub const ID: &'static str = "feed";
}

/// On a node or gateway: the last message of the feed that told something. Heartbeats pass it by,
/// so that its version says whether anything is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The server's position after it.
    pub seq: u64,
}

impl Told {
    /// Its row.
    pub const ID: &'static str = "told";
}

/// The signing keys of ours that sign no longer before their time, trusted on or revoked: what they
/// signed is to be replaced, by whoever still holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taints {
    /// The keys.
    pub keys: Vec<Taint>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// Of an X.509 authority the subject key identifier in hex, of tokens the `kid`.
    pub key: String,
    /// From then on all that it signed has ended by itself.
    pub until: UnixTime,
}

impl Taints {
    /// Its row.
    pub const ID: &'static str = "taints";

    /// Whether what `signer` signed is to be replaced.
    pub fn has(&self, signer: &str) -> bool {
        self.keys.iter().any(|taint| taint.key == signer)
    }
}

/// On the server: keys of ours that no ring has any longer, whose private halves are still to be
/// destroyed. Written with the ring, so that neither a stop nor a key device that fails leaves one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// The keys.
    pub keys: Vec<Handle>,
}

impl Discarded {
    /// Its row.
    pub const ID: &'static str = "discarded";
    /// The row of those whose rings are made on demand: a server of the version before reads the
    /// other one whole, and knows no such purpose.
    pub const ON_DEMAND: &'static str = "discarded-on-demand";
    /// Both.
    pub const ROWS: [&'static str; 2] = [Self::ID, Self::ON_DEMAND];

    /// The row of keys of `purpose`.
    pub const fn row_of(purpose: Purpose) -> &'static str {
        if purpose.is_on_demand() { Self::ON_DEMAND } else { Self::ID }
    }

    /// Where these stand. One without keys is not stored.
    fn row(&self) -> &'static str {
        self.keys.first().map_or(Self::ID, |handle| Self::row_of(handle.purpose))
    }
}

/// On the server: what is not renewed in time, as it was when somebody looked last. What is new in
/// it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarms {
    /// What is wrong.
    pub standing: Vec<Alarm>,
}

impl Alarms {
    /// Its row.
    pub const ID: &'static str = "alarms";
}

/// On a node or gateway: which renewals fail here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Troubles {
    /// One a credential.
    pub all: Vec<Trouble>,
}

impl Troubles {
    /// Its row.
    pub const ID: &'static str = "troubles";
}

/// The last checkpoint of a log that the state database knows: a log that is shorter was rolled
/// back (docs/design.md §7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMark {
    /// Which log, as `log:<component>`.
    pub log: String,
    /// How many records it had.
    pub size: u64,
    /// The root over them, base64.
    pub root: String,
}

/// That a node obtained credentials for an agent. It is written when it is new, and again only when
/// it nears its end: churn of short-lived processes writes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosted {
    /// The node.
    pub node: String,
    /// The agent.
    pub agent: String,
    /// From then on nothing that was issued by this row lives.
    pub until: UnixTime,
}

impl Hosted {
    /// The id of such a row: neither identifier has a space.
    pub fn id_of(node: &str, agent: &str) -> String {
        format!("{node} {agent}")
    }
}

/// On a node: what it holds for a workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holding {
    /// The agent.
    pub agent: String,
    /// Its X.509-SVID: certificates in DER, leaf first.
    pub x509: Option<Held<Vec<Vec<u8>>>>,
    /// Its WIT.
    pub wit: Option<Held<String>>,
}

/// A credential that a node holds.
#[derive(Clone, Serialize, Deserialize)]
pub struct Held<T> {
    /// The credential.
    pub credential: T,
    /// Its key.
    pub key: Handle,
    /// From when it is valid.
    pub from: UnixTime,
    /// Until when.
    pub until: UnixTime,
    /// When it is to be renewed.
    pub renew: UnixTime,
    /// The epoch that it was issued under.
    pub epoch: Epoch,
    /// The key that signed it, as [`Taints`] names keys.
    pub signer: String,
}

impl<T> std::fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held(key {}, until {})", self.key, self.until)
    }
}

/// The bundles of the trust domains that we know: our own, and those that we federate with. Kept by
/// origin, never in one pool.
#[derive(Clone, Debug)]
pub struct TrustRow {
    /// Our trust domain, under its scheme.
    pub own: Origin,
    /// The bundles.
    pub bundles: Bundles,
}

impl TrustRow {
    /// Its row.
    pub const ID: &'static str = "trust";

    /// Our own bundle alone.
    pub fn of_own(own: Origin, bundle: Bundle) -> Self {
        let mut bundles = Bundles::new();
        bundles.insert(own.clone(), bundle);
        Self { own, bundles }
    }

    /// The same with this bundle of this origin, whole.
    #[must_use]
    pub fn with(&self, origin: Origin, bundle: Bundle) -> Self {
        let mut changed = self.clone();
        changed.bundles.insert(origin, bundle);
        changed
    }

    /// The same without trust in an origin. Our own stays.
    #[must_use]
    pub fn without(&self, origin: &Origin) -> Self {
        let mut changed = self.clone();
        if *origin != self.own {
            changed.bundles.remove(origin);
        }
        changed
    }
}

#[derive(Serialize, Deserialize)]
struct StoredTrust {
    own: String,
    bundles: Vec<(String, serde_json::Value)>,
}

/// An origin as it is stored: that of SPIFFE by its name alone, as rows always had it.
fn origin_to_text(origin: &Origin) -> String {
    let text = if origin.is_spiffe() { origin.name() } else { origin.as_str() };
    text.to_owned()
}

fn origin_from_text(text: &str) -> Result<Origin, Unreadable> {
    let fault = |error: &dyn std::fmt::Display| Unreadable(format!("`{text}`: {error}"));
    if text.contains("://") {
        return Origin::parse(text).map_err(|error| fault(&error));
    }
    TrustDomain::parse(text).map(Origin::from).map_err(|error| fault(&error))
}

impl Entity for TrustRow {
    const TABLE: Table = Table::Singles;

    fn id(&self) -> String {
        Self::ID.to_owned()
    }

    fn encode(&self) -> Vec<u8> {
        let bundles = self
            .bundles
            .iter()
            .map(|(origin, bundle)| (origin_to_text(&origin), bundle.to_value()))
            .collect();
        Unreadable::to_json(&StoredTrust { own: origin_to_text(&self.own), bundles })
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let StoredTrust { own, bundles: stored } = Unreadable::from_json(bytes)?;
        let mut bundles = Bundles::new();
        for (origin, value) in stored {
            let bundle =
                Bundle::parse(&value.to_string()).map_err(|error| Unreadable(error.to_string()))?;
            bundles.insert(origin_from_text(&origin)?, bundle);
        }
        Ok(Self { own: origin_from_text(&own)?, bundles })
    }
}
