//! What a SPIRE agent asks of its server (SPIRE 1.15, `spire.api.server`; ATT-02, PROV-01 to
//! PROV-03, CRED-02, CRED-03; docs/decisions/0014): whether it still stands, which records it may
//! measure workloads for, a credential for one of them, and bundles.
//!
//! In scope: records of ours as SPIRE's entries. Not here: how it joins and renews
//! ([`crate::join`], [`crate::renew`]), what it may get ([`crate::issue`]), messages (`edge/link`).

use std::collections::BTreeMap;
use std::sync::Arc;

use attestation::Selectors;
use attestation::mechanism::Role;
use credential::{KeyRing, Purpose};
use env::rows::{SuperiorRow, Taint, Taints, TrustRow};
use env::{
    AssignedCredential, Change, Index, IssueKind, Key, Recorded, Store, Table, Unavailable, World,
};
use identifier::AgentName;
use jose::TokenHash;
use monitoring::Event;
use provisioning::{CredentialKind, Epoch, NotInForce, State};
use registry::{AgentRecord, NodeRecord};
use spiffe::{Bundle, SpiffeId, TrustDomain};
use time::{Span, UnixTime};
use wimse::WorkloadId;

use crate::agents::identifier_of;
use crate::facts::{Basis, basis};
use crate::issue::{self, claimed, issue_claimed};
use crate::record::{begin, refused};
use crate::superior;
use crate::turns::{overtaken, settled};
use crate::workload::hex;

/// The most records that are looked through for one agent.
const RECORDS_MAX: usize = 100_000;
/// Whose keys a bundle has beside the authorities.
const PURPOSES: [Purpose; 2] = [Purpose::JwtSvid, Purpose::Wit];
/// How much of an entry's number says what stands in it beside its record.
const REVISION_BITS: u32 = 20;

/// Why an agent is not heard. Its SPIRE half does as each says: attest anew, wait, or end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It is not in the registry, or no SPIRE agent: it attests anew.
    #[error("`{0}` is not attested")]
    NotAttested(WorkloadId),
    /// Its credential was issued before its last suspension: it attests anew.
    #[error(transparent)]
    Outdated(NotInForce),
    /// An operator stopped it for now: it waits.
    #[error("the agent is suspended since {since}")]
    Suspended {
        /// Since when.
        since: UnixTime,
    },
    /// An operator ended it, for good.
    #[error("the agent is {state} since {since}")]
    Ended {
        /// Revoked or retired.
        state: State,
        /// Since when.
        since: UnixTime,
    },
}

impl NotAdmitted {
    /// The variant's name: what is counted.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NotAttested(_) => "spire::NotAttested",
            Self::Outdated(_) => "spire::Outdated",
            Self::Suspended { .. } => "spire::Suspended",
            Self::Ended { .. } => "spire::Ended",
        }
    }
}

/// Whether the agent stands. `proved` is the epoch of the credential that its connection proved.
pub async fn standing<W: World>(
    world: &W,
    agent: &WorkloadId,
    proved: Option<u64>,
) -> Result<Result<(), NotAdmitted>, Unavailable> {
    let found = crate::facts::one::<W, NodeRecord>(world, &agent.to_string()).await?;
    Ok(admitted(found.as_deref(), agent, proved).map(|_| ()))
}

fn admitted<'a>(
    found: Option<&'a NodeRecord>,
    agent: &WorkloadId,
    proved: Option<u64>,
) -> Result<&'a NodeRecord, NotAdmitted> {
    let found = found.filter(|node| node.role == Role::SpireAgent);
    let node = found.ok_or_else(|| NotAdmitted::NotAttested(agent.clone()))?;
    match node.lifecycle.admits(proved.map(Epoch)) {
        Ok(()) => Ok(node),
        Err(why @ NotInForce::Epoch { .. }) => Err(NotAdmitted::Outdated(why)),
        Err(NotInForce::State { state: State::Suspended, since }) => {
            Err(NotAdmitted::Suspended { since })
        }
        Err(NotInForce::State { state, since }) => Err(NotAdmitted::Ended { state, since }),
    }
}

/// A record of ours, as an agent of SPIRE knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record's name, which is never given out again.
    pub id: String,
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// What a process must have, all of it.
    pub selectors: Selectors,
    /// How long its X.509-SVID lives; `None` where policy gives it none.
    pub x509_life: Option<Span>,
    /// The same of its JWT-SVIDs.
    pub jwt_life: Option<Span>,
    /// The trust domains whose bundles it gets.
    pub federates_with: Vec<TrustDomain>,
    /// It is a server below ours: an agent is told, so that it hands it to nobody else.
    pub downstream: bool,
    /// Another number means another entry.
    pub revision: u64,
    /// When it was registered.
    pub created: UnixTime,
}

/// The records that the agent may measure workloads for, in the order of their names; none while it
/// is suspended. A read: what comes of it is recorded at each issuance.
pub async fn entries<W: World>(
    world: &W,
    agent: &WorkloadId,
    proved: Option<u64>,
) -> Result<Result<Vec<Entry>, NotAdmitted>, Unavailable> {
    let key = Key::of::<NodeRecord>(agent.to_string());
    let facts = basis(world, vec![key]).await?;
    let found = facts.rows.get::<NodeRecord>(&agent.to_string())?;
    let node = match admitted(found.as_deref(), agent, proved) {
        Ok(node) => node,
        // It lets go of what it holds for its workloads, and asks again.
        Err(NotAdmitted::Suspended { .. }) => return Ok(Ok(Vec::new())),
        Err(why) => return Ok(Err(why)),
    };
    let page = world.store().scan(Table::Agents, Index::All, "", None, RECORDS_MAX).await?;
    let mut entries = Vec::new();
    for row in &page.rows {
        let agent = row.value::<AgentRecord>().map_err(|error| Unavailable::of("store", error))?;
        entries.extend(agent.and_then(|agent| entry(&facts, node, &agent, row.version)));
    }
    entries.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Ok(entries))
}

/// The entry of a record, if the agent may get anything for it.
fn entry(facts: &Basis, node: &NodeRecord, agent: &AgentRecord, version: u64) -> Option<Entry> {
    let WorkloadId::Spiffe(spiffe_id) = &agent.id else { return None };
    let life = |kind| claimed(facts, node, agent, kind).ok();
    let (x509_life, jwt_life) = (life(CredentialKind::X509), life(CredentialKind::Jwt));
    if x509_life.is_none() && jwt_life.is_none() {
        return None;
    }
    let domains = facts.trust.bundles.spiffe().iter().map(|(domain, _)| domain);
    let own = facts.trust.own.as_spiffe();
    let federates_with: Vec<_> =
        domains.filter(|one| Some(*one) != own.as_ref()).cloned().collect();
    let revision = revision(version, &federates_with, x509_life.is_some());
    Some(Entry {
        id: agent.entry.name.to_string(),
        spiffe_id: spiffe_id.clone(),
        selectors: agent.entry.rule.selectors.clone(),
        x509_life,
        jwt_life,
        federates_with,
        downstream: agent.entry.downstream,
        revision,
        created: agent.registered,
    })
}

/// Grows with the record, and is another one when other bundles come with it.
fn revision(version: u64, federates_with: &[TrustDomain], has_x509: bool) -> u64 {
    let beside: Vec<_> = federates_with.iter().map(TrustDomain::as_str).collect();
    let hash = TokenHash::of(&format!("{has_x509} {}", beside.join(" ")));
    let [first, second, third, ..] = *hash.as_bytes();
    let beside = u32::from_be_bytes([0, first, second, third]) >> (24 - REVISION_BITS);
    (version << REVISION_BITS | u64::from(beside)) & i64::MAX.unsigned_abs()
}

/// What an agent gets for a workload.
#[derive(Debug)]
pub struct Claimed {
    /// The credential.
    pub credential: AssignedCredential,
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// When it was issued.
    pub issued: UnixTime,
}

/// Why it gets none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No record has that name.
    #[error("no entry of that id")]
    NoEntry,
    /// The record, policy, or the request says no.
    #[error(transparent)]
    Issue(#[from] issue::Refusal),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NoEntry => "spire::NoEntry",
            Self::Issue(refusal) => refusal.check(),
        }
    }
}

/// Issues for the entry of that id; recorded, whatever the end.
pub async fn issue<W: World>(
    world: &W,
    agent: &WorkloadId,
    proved: Option<u64>,
    entry: &str,
    kind: &IssueKind,
) -> Result<Recorded<Result<Claimed, Refusal>>, Unavailable> {
    let id = match AgentName::parse(entry) {
        Ok(name) => identifier_of(world, &name).await?,
        Err(_) => None,
    };
    let id = id.and_then(|id| SpiffeId::parse(&id).ok());
    let Some(spiffe_id) = id else { return no_entry(world, agent).await };
    let id = WorkloadId::Spiffe(spiffe_id.clone());
    let (recorded, issued) = issue_claimed(world, agent, proved, &id, kind).await?;
    Ok(recorded.map(|made| {
        made.map(|credential| Claimed { credential, spiffe_id, issued }).map_err(Refusal::Issue)
    }))
}

async fn no_entry<W: World>(
    world: &W,
    agent: &WorkloadId,
) -> Result<Recorded<Result<Claimed, Refusal>>, Unavailable> {
    let mut record = begin(world, Event::CredentialIssued);
    record.transport = Some(agent.to_string());
    refused(&mut record, Refusal::NoEntry.check(), &Refusal::NoEntry, None);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(Err(Refusal::NoEntry), &receipt))
}

/// The bundle of a trust domain, and which keys in it are to be replaced.
#[derive(Debug)]
pub struct Trusted {
    /// Whose it is.
    pub domain: TrustDomain,
    trust: Arc<TrustRow>,
    /// Keys of ours that sign no longer.
    pub taints: Taints,
    /// When keys of tokens end, by their ids, where that is known.
    pub ends: BTreeMap<String, UnixTime>,
}

impl Trusted {
    /// The bundle.
    pub fn bundle(&self) -> Option<&Bundle> {
        self.trust.bundles.spiffe().get(&self.domain)
    }
}

/// The bundle of our own trust domain, or of one that we federate with. Anyone may read it, as at
/// the bundle endpoint.
pub async fn bundle<W: World>(
    world: &W,
    domain: Option<TrustDomain>,
) -> Result<Option<Trusted>, Unavailable> {
    let mut keys = vec![Key::of::<Taints>(Taints::ID), Key::of::<SuperiorRow>(SuperiorRow::ID)];
    keys.extend(PURPOSES.iter().map(|purpose| Key::of::<KeyRing>(purpose.name())));
    let facts = basis(world, keys).await?;
    let mut ends = BTreeMap::new();
    let above = facts.rows.get::<SuperiorRow>(SuperiorRow::ID)?;
    if let Some(row) = &above {
        let known = row.keys.iter();
        ends.extend(known.filter_map(|key| Some((key.kid.as_str().to_owned(), key.until?))));
    }
    for purpose in PURPOSES {
        let ring = facts.rows.get::<KeyRing>(purpose.name())?;
        let known = ring.iter().flat_map(|ring| &ring.keys);
        ends.extend(known.map(|key| (key.kid.as_str().to_owned(), key.kept_until)));
    }
    let taints = facts.rows.get::<Taints>(Taints::ID)?;
    let mut taints = taints.map(|row| (*row.value).clone()).unwrap_or_default();
    // What is mistrusted above ours is told on.
    let own = facts.trust.bundles.get(&facts.trust.own);
    for root in own.map(Bundle::x509_authorities).unwrap_or_default() {
        let id = superior::root_id(root);
        if above.as_ref().is_some_and(|row| row.tainted.iter().any(|one| one.root == id)) {
            let key = hex(root.subject_key_id().unwrap_or_default());
            taints.keys.push(Taint { key, until: root.not_after() });
        }
    }
    let Some(domain) = domain.or_else(|| facts.trust.own.as_spiffe()) else { return Ok(None) };
    let trusted = Trusted { domain, trust: facts.trust, taints, ends };
    Ok(Some(trusted).filter(|found| found.bundle().is_some()))
}
