//! Federation with other trust domains (SPIFFE Federation §6; CRED-12): operators begin and end
//! relations, and a job of the server asks their endpoints.
//!
//! The job reads an agenda, fetches outside of any flow, and hands in what came. It needs no lease:
//! two servers that both ask do twice the work, and the version of the relation's row lets one
//! answer count.

use std::sync::Arc;

use credential::federation::{
    Keeper, RELATIONS_MAX, Refusal as AnswerRefusal, Relation, Terms, TermsFault,
};
use env::rows::TrustRow;
use env::{
    Change, Clock, Entity, Entropy, Expect, Index, Key, Recorded, Store, Stored, Unavailable,
    World, Write,
};
use monitoring::{Event, Outcome, Record, Why};
use spiffe::federation::EndpointUrl;
use spiffe::{Bundle, BundleSet, SpiffeId, TrustDomain};
use time::UnixTime;
use wimse::Origin;

use crate::facts::{basis, one};
use crate::record::{begin, refused};
use crate::turns::{Operator, overtaken, settled};
use crate::turns::{TRIES_MAX, pause};

/// Why an order about a relation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its terms make no sense.
    #[error(transparent)]
    Terms(#[from] TermsFault),
    /// There is one already.
    #[error("there is a relation to `{domain}` already")]
    Exists {
        /// The trust domain.
        domain: TrustDomain,
    },
    /// There is none.
    #[error("no relation to `{domain}`")]
    Unknown {
        /// The trust domain.
        domain: TrustDomain,
    },
    /// Policy keeps it.
    #[error("policy keeps the relation to `{domain}`")]
    Kept {
        /// The trust domain.
        domain: TrustDomain,
    },
    /// Over [`RELATIONS_MAX`].
    #[error("{count} relations; at most {RELATIONS_MAX} are kept")]
    TooMany {
        /// How many there would be.
        count: usize,
    },
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Terms(_) => "federation::Terms",
            Self::Exists { .. } => "federation::Exists",
            Self::Unknown { .. } => "federation::Unknown",
            Self::Kept { .. } => "federation::Kept",
            Self::TooMany { .. } => "federation::TooMany",
        }
    }
}

/// An order's end: what was done, or why not; recorded either way.
pub type Done = Result<Recorded<Result<Relation, Refusal>>, Unavailable>;

/// Begins a relation. Nothing of the other trust domain is believed before its endpoint answered.
pub async fn add<W: World>(world: &W, operator: &Operator, terms: Terms) -> Done {
    for turn in 0..TRIES_MAX {
        let count = all(world).await?.len();
        let key = Key::of::<Relation>(terms.trust_domain.as_str());
        let facts = basis(world, vec![key]).await?;
        let found = facts.rows.get::<Relation>(terms.trust_domain.as_str())?;
        let now = world.clock().now();
        let decided = decide_add(&terms, found.is_some(), count, &facts.trust.own)
            .map(|()| Relation::begin(terms.clone(), Keeper::Operator, now));
        let mut record = ordered(world, "federation.add", operator, &terms.trust_domain);
        record.policy = Some(facts.version());
        record.facts = told(&terms);
        let mut change = Change::default();
        match &decided {
            Ok(relation) => change.writes.push(Write::put(relation, Expect::Absent)),
            Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
        }
        change.records.push(record);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            return Ok(Recorded::new(decided, &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

fn decide_add(terms: &Terms, exists: bool, count: usize, own: &Origin) -> Result<(), Refusal> {
    terms.check(own)?;
    if exists {
        return Err(Refusal::Exists { domain: terms.trust_domain.clone() });
    }
    if count >= RELATIONS_MAX {
        return Err(Refusal::TooMany { count: count + 1 });
    }
    Ok(())
}

/// Ends a relation: its bundle goes with it, in one commit, and with the next message of the feed
/// from every node and gateway.
///
/// SPIFFE Federation §6.3: "Terminating a federation relationship is as simple as deleting the
/// local copy of the foreign trust domain's bundle, and ceasing to poll its bundle endpoint. Of
/// course, this must also be propagated to validators".
pub async fn remove<W: World>(world: &W, operator: &Operator, domain: &TrustDomain) -> Done {
    for turn in 0..TRIES_MAX {
        let (found, trust) = read(world, domain).await?;
        let decided = decide_held(found.as_ref(), domain);
        let mut record = ordered(world, "federation.remove", operator, domain);
        let mut change = Change::default();
        match (&decided, &found) {
            (Ok(_), Some(row)) => {
                let expect = Expect::Version(row.version);
                change.writes.push(Write::delete::<Relation>(domain.as_str(), expect));
                change.writes.extend(forgotten(trust.as_ref(), [domain]));
            }
            (Err(refusal), _) => refused(&mut record, refusal.check(), refusal, None),
            (Ok(_), None) => {}
        }
        change.records.push(record);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            return Ok(Recorded::new(decided, &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

fn decide_held(
    found: Option<&Stored<Relation>>,
    domain: &TrustDomain,
) -> Result<Relation, Refusal> {
    let domain = domain.clone();
    match found {
        None => Err(Refusal::Unknown { domain }),
        Some(row) if row.keeper == Keeper::Policy => Err(Refusal::Kept { domain }),
        Some(row) => Ok((*row.value).clone()),
    }
}

/// The trust without these domains, if it has one of them.
pub(crate) fn forgotten<'a>(
    trust: Option<&Stored<TrustRow>>,
    domains: impl IntoIterator<Item = &'a TrustDomain>,
) -> Option<Write> {
    let trust = trust?;
    let mut left = (*trust.value).clone();
    for domain in domains {
        left = left.without(&Origin::from(domain));
    }
    let unchanged = left.bundles == trust.bundles;
    (!unchanged).then(|| Write::put(&left, Expect::Version(trust.version)))
}

/// Has an endpoint asked now, and not when its bundle says.
pub async fn refresh<W: World>(world: &W, operator: &Operator, domain: &TrustDomain) -> Done {
    for turn in 0..TRIES_MAX {
        let (found, _) = read(world, domain).await?;
        let mut record = ordered(world, "federation.refresh", operator, domain);
        let mut change = Change::default();
        let decided = match &found {
            Some(row) => {
                let now = world.clock().now();
                let relation = Relation { next: now, ..(*row.value).clone() };
                change.writes.push(Write::put(&relation, Expect::Version(row.version)));
                Ok(relation)
            }
            None => Err(Refusal::Unknown { domain: domain.clone() }),
        };
        if let Err(refusal) = &decided {
            refused(&mut record, refusal.check(), refusal, None);
        }
        change.records.push(record);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            return Ok(Recorded::new(decided, &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// A relation, and what is believed by it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The relation.
    pub relation: Relation,
    /// How many authorities of X.509-SVIDs, keys of JWT-SVIDs and keys of WITs are believed.
    pub keys: Option<[usize; 3]>,
}

/// Every relation, by trust domain.
pub async fn list<W: World>(world: &W) -> Result<Vec<Shown>, Unavailable> {
    let trust = one::<W, TrustRow>(world, TrustRow::ID).await?;
    let relations = all(world).await?;
    let shown = relations.into_iter().map(|relation| {
        let domain = &relation.terms.trust_domain;
        let bundle = trust.as_ref().and_then(|trust| trust.bundles.spiffe().get(domain));
        let keys = bundle.map(|bundle| {
            [bundle.x509_authorities().len(), bundle.jwt_keys().len(), bundle.wit_keys().len()]
        });
        Shown { keys, relation: (*relation).clone() }
    });
    Ok(shown.collect())
}

/// One endpoint that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// The trust domain whose bundle it is.
    pub trust_domain: TrustDomain,
    /// Where.
    pub url: EndpointUrl,
    /// Who must answer, and by which bundle; none for the Web PKI.
    pub endpoint: Option<(SpiffeId, BundleSet)>,
    version: u64,
}

/// What the job is to do.
pub type Agenda = basis::agenda::Agenda<Due>;

/// Reads what is due.
pub async fn agenda<W: World>(world: &W) -> Result<Agenda, Unavailable> {
    let seq = world.store().snapshot(&[]).await?.seq;
    let trust = one::<W, TrustRow>(world, TrustRow::ID).await?;
    let nothing = BundleSet::new();
    let trusted = trust.as_ref().map_or(&nothing, |trust| trust.bundles.spiffe());
    let now = world.clock().now();
    let (mut due, mut next) = (Vec::new(), None::<UnixTime>);
    for relation in all(world).await? {
        if relation.next > now {
            next = Some(next.map_or(relation.next, |next| next.min(relation.next)));
            continue;
        }
        due.push(Due {
            trust_domain: relation.terms.trust_domain.clone(),
            url: relation.terms.url.clone(),
            endpoint: relation.endpoint(trusted),
            version: relation.version,
        });
    }
    Ok(Agenda { due, next, seq })
}

/// Why an endpoint gave no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFetched {
    /// The check that fired.
    pub check: String,
    /// In words.
    pub message: String,
}

impl From<&AnswerRefusal> for NotFetched {
    fn from(refusal: &AnswerRefusal) -> Self {
        Self { check: refusal.check().to_owned(), message: refusal.to_string() }
    }
}

/// What came of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// A bundle that differs: it is used from now on.
    Changed,
    /// The same as before.
    Same,
    /// None that is used; the one before stays.
    Failed,
    /// The relation changed meanwhile: what came says nothing about it.
    Overtaken,
}

/// Takes what an endpoint answered: the relation and the trust change together, or neither. What
/// changed and what begins to fail is recorded; that all is as it was is not.
pub async fn took<W: World>(
    world: &W,
    due: &Due,
    answer: Result<&str, &NotFetched>,
) -> Result<Came, Unavailable> {
    let domain = &due.trust_domain;
    for turn in 0..TRIES_MAX {
        let (found, trust) = read(world, domain).await?;
        let same = |row: &Stored<Relation>| row.version == due.version && row.terms.url == due.url;
        let (Some(found), Some(trust)) = (found.filter(same), trust) else {
            return Ok(Came::Overtaken);
        };
        let (now, random) = (world.clock().now(), world.entropy().public());
        let taken = answer.map_err(Clone::clone).and_then(|text| {
            found.take(text, random, now).map_err(|refusal| NotFetched::from(&refusal))
        });
        let expect = Expect::Version(found.version);
        let mut record = begin(world, Event::FederationChanged);
        record.action = "federation.fetch".to_owned();
        record.resource = Some(domain.to_string());
        let mut change = Change::default();
        let came = match taken {
            Ok((relation, bundle)) => {
                // As they are written: entries that nobody understands are no difference.
                let before = trust.bundles.spiffe().get(domain).map(Bundle::to_value);
                let changed = before != Some(bundle.to_value());
                record.facts = serde_json::json!({
                    "sequence": bundle.sequence(), "changed": changed, "url": due.url.as_str(),
                });
                if changed || found.fault.is_some() {
                    change.records.push(record);
                }
                if changed {
                    let row = trust.with(Origin::from(domain), bundle);
                    change.writes.push(Write::put(&row, Expect::Version(trust.version)));
                }
                change.writes.push(Write::put(&relation, expect));
                if changed { Came::Changed } else { Came::Same }
            }
            Err(NotFetched { check, message }) => {
                let relation = found.failed(&check, &message, random, now);
                if found.fault.as_ref().is_none_or(|last| last.check != check) {
                    record.outcome = Outcome::Failed;
                    record.facts = serde_json::json!({ "url": due.url.as_str() });
                    record.why = Some(Why { check, message, needs: None });
                    change.records.push(record);
                }
                change.writes.push(Write::put(&relation, expect));
                Came::Failed
            }
        };
        if settled(world.store().commit(change).await)?.is_some() {
            return Ok(came);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Every relation; [`RELATIONS_MAX`] bounds them.
pub(crate) async fn all<W: World>(world: &W) -> Result<Vec<Stored<Relation>>, Unavailable> {
    let limit = RELATIONS_MAX + 1;
    let page = world.store().scan(Relation::TABLE, Index::All, "", None, limit).await?;
    let mut relations = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let value = row.value::<Relation>().map_err(|error| Unavailable::of("store", error))?;
        relations
            .extend(value.map(|value| Stored { value: Arc::clone(&value), version: row.version }));
    }
    Ok(relations)
}

async fn read<W: World>(
    world: &W,
    domain: &TrustDomain,
) -> Result<(Option<Stored<Relation>>, Option<Stored<TrustRow>>), Unavailable> {
    let keys = [Key::of::<Relation>(domain.as_str()), Key::of::<TrustRow>(TrustRow::ID)];
    let rows = world.store().snapshot(&keys).await?;
    Ok((rows.get::<Relation>(domain.as_str())?, rows.get::<TrustRow>(TrustRow::ID)?))
}

fn ordered<W: World>(world: &W, action: &str, operator: &Operator, domain: &TrustDomain) -> Record {
    let mut record = begin(world, Event::FederationChanged);
    record.action = action.to_owned();
    record.operator = Some(operator.0.clone());
    record.resource = Some(domain.to_string());
    record
}

/// What records say of terms: all but a first bundle, of which its size is enough.
pub(crate) fn told(terms: &Terms) -> serde_json::Value {
    let given = terms.bundle.as_ref().map(|given| given.bundle().x509_authorities().len());
    serde_json::json!({
        "profile": terms.profile, "url": terms.url, "endpoint_id": terms.endpoint_id,
        "first_authorities": given, "wit": terms.wit,
    })
}
