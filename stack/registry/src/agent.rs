//! An agent's record: attestation rule, OAuth client and registry entry in one.

use std::collections::BTreeSet;

use attestation::form::NeverTold;
use attestation::policy::RiskClass;
use attestation::rule::RuleError;
use attestation::{Rule, evidence, mechanism};
use authorization::client::Facet;
use credential::Purpose;
use identifier::{AgentName, Assignment, Kind};
use jose::Algorithm;
use provisioning::{Epoch, KeyHolding, Lifecycle};
use serde::{Deserialize, Serialize};
use time::UnixTime;
use wimse::WorkloadId;
use x509::DnsName;

/// The most capabilities of one agent.
pub(crate) const CAPABILITIES_MAX: usize = 64;
/// The most names of hosts of one agent.
pub(crate) const DNS_NAMES_MAX: usize = 16;
/// The longest owner, capability or locator, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 256;
/// The longest handle of an agent, in bytes: a locator, or the name of a host, which is shorter.
pub const HANDLE_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// What an operator gives to register an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Its name; the identifier is made of it.
    pub name: AgentName,
    /// Agent or service.
    pub kind: Kind,
    /// Who answers for it: a team, a person.
    pub owner: String,
    /// What it is able to do, in the organisation's words.
    #[serde(default)]
    pub capabilities: BTreeSet<String>,
    /// Where it is called, if it is.
    #[serde(default)]
    pub locator: Option<String>,
    /// Names of hosts that its X.509-SVIDs have beside its identifier, for clients that connect by
    /// name (wimse-workload-creds §6.1).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dns_names: BTreeSet<DnsName>,
    /// Which evidence may claim it.
    pub rule: Rule,
    /// Who keeps its keys; by default the node for an agent, the process for a service (SEC-04).
    #[serde(default)]
    pub keys: Option<KeyHolding>,
    /// What it may do as an OAuth client.
    #[serde(default)]
    pub client: Facet,
    /// It is a server, whose authority may stand below ours.
    #[serde(default, skip_serializing_if = "is_off")]
    pub downstream: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
const fn is_off(switch: &bool) -> bool {
    !*switch
}

impl Registration {
    /// base64url(SHA-256) of what it is able to do: an array of strings in the order of their
    /// octets, as RFC 8785 writes it. Control characters, which would be escaped, are refused.
    pub fn capabilities_hash(&self) -> String {
        let array = serde_json::json!(self.capabilities).to_string();
        jose::TokenHash::of(&array).to_base64url()
    }

    /// What those who call know of it before they know its identifier: its locator, and the names
    /// of its hosts.
    pub fn handles(&self) -> impl Iterator<Item = &str> {
        // wimse-identifier §5, of a mapping from an external handle: it is configured, and an
        // identifier is not derived from a name, an address or a path. So each handle is as it was
        // registered, and no part of a locator is one.
        let names = self.dns_names.iter().map(DnsName::as_str);
        let locator = self
            .locator
            .as_deref()
            .filter(|locator| !self.dns_names.iter().any(|name| name.as_str() == *locator));
        locator.into_iter().chain(names)
    }

    /// What keeps this from becoming a record: what no record may be, and selectors that no
    /// attestor tells. Records of before that have some stay, and match nothing.
    pub fn check_new(&self, class: Option<&RiskClass>) -> Result<(), RegistrationRefusal> {
        self.check()?;
        let hosts = mechanism::ALL.iter().map(|one| one.name());
        let documents = evidence::KINDS.iter().map(|one| one.name());
        let others: Vec<_> = hosts.chain(documents).collect();
        for selector in self.rule.selectors.iter() {
            match selector.may_be_told(&others) {
                // A SPIRE agent may have attestors that we do not know.
                Err(NeverTold::Kind { .. } | NeverTold::Name { .. })
                    if class.is_some_and(|class| class.spire_agents) => {}
                told => told?,
            }
        }
        Ok(())
    }

    /// What keeps this from being a record.
    pub fn check(&self) -> Result<(), RegistrationRefusal> {
        self.rule.faults()?;
        let texts = [("owner", Some(&self.owner)), ("locator", self.locator.as_ref())];
        let capabilities = self.capabilities.iter().map(|one| ("capability", Some(one)));
        for (name, text) in texts.into_iter().chain(capabilities) {
            let Some(text) = text else { continue };
            if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control)
            {
                return Err(RegistrationRefusal::Text { name });
            }
        }
        if self.capabilities.len() > CAPABILITIES_MAX {
            return Err(RegistrationRefusal::Capabilities { count: self.capabilities.len() });
        }
        if self.dns_names.len() > DNS_NAMES_MAX {
            return Err(RegistrationRefusal::DnsNames { count: self.dns_names.len() });
        }
        let signed_by = self.client.id_token_signed_response_alg;
        if let Some(named) = signed_by.filter(|one| Purpose::for_clients(*one).is_none()) {
            return Err(RegistrationRefusal::SignedBy { named });
        }
        // A language model is never an authority (SEC-04), and a server has its own keys.
        let is_service = self.kind == Kind::Service && self.keys != Some(KeyHolding::Kept);
        if self.downstream && !is_service {
            return Err(RegistrationRefusal::Downstream);
        }
        Ok(())
    }
}

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationRefusal {
    /// The rule cannot stand.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The rule would match nothing.
    #[error(transparent)]
    Selector(#[from] NeverTold),
    /// A text is empty, too long or has control characters.
    #[error("`{name}` must be 1 to {TEXT_BYTES_MAX} bytes without control characters")]
    Text {
        /// Which.
        name: &'static str,
    },
    /// Over [`DNS_NAMES_MAX`].
    #[error("{count} names of hosts, at most {DNS_NAMES_MAX} are allowed")]
    DnsNames {
        /// How many.
        count: usize,
    },
    /// None of our algorithms.
    #[error(
        "`id_token_signed_response_alg`: what we sign is signed by ES256, RS256, PS256 or EdDSA, \
         not by `{named}`"
    )]
    SignedBy {
        /// What it says.
        named: Algorithm,
    },
    /// SEC-04: only a service with its own keys can be a server.
    #[error("`downstream` is for a service that gets its keys")]
    Downstream,
    /// Over [`CAPABILITIES_MAX`].
    #[error("{count} capabilities, at most {CAPABILITIES_MAX} are allowed")]
    Capabilities {
        /// How many.
        count: usize,
    },
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Its one identifier, for ever.
    pub id: WorkloadId,
    /// What was registered.
    #[serde(flatten)]
    pub entry: Registration,
    /// When.
    pub registered: UnixTime,
    /// Where it stands.
    pub lifecycle: Lifecycle,
}

impl AgentRecord {
    /// A new record under the domain's current epoch.
    pub fn new(assigned: &Assignment, entry: Registration, epoch: Epoch, now: UnixTime) -> Self {
        let lifecycle = Lifecycle::begin(epoch, now);
        Self { id: assigned.id.clone(), entry, registered: now, lifecycle }
    }

    /// Who keeps its keys.
    pub fn keys(&self) -> KeyHolding {
        self.entry.keys.unwrap_or(match self.entry.kind {
            Kind::Agent => KeyHolding::Kept,
            Kind::Service => KeyHolding::Handed,
        })
    }
}
