//! Documents about an agent: an operator brings or takes away what is appraised with it (ATT-05,
//! ATT-06, ATT-09 to ATT-11). Nothing is appraised here: a document counts, or fails, when the
//! agent is measured next, because only then is known what runs.

use std::sync::Arc;

use attestation::evidence::{self as kinds, DOCUMENT_BYTES_MAX};
use env::rows::{Documents, KeptDocument, ResultRow};
use env::{Change, Clock, Entity, Expect, Index, Key, Recorded, Store, Unavailable, World, Write};
use identifier::AgentName;
use monitoring::Event;
use registry::AgentRecord;

use crate::agents::identifier_of;
use crate::facts::{Basis, basis};
use crate::record::{begin, refused};
use crate::turns::{Operator, overtaken, settled};
use crate::turns::{TRIES_MAX, pause};

/// What is to be done with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Keep this one, instead of the one of its kind that was there.
    Add {
        /// Its kind: `aibom`.
        kind: String,
        /// The document.
        document: Vec<u8>,
    },
    /// Take away the one of this kind.
    Remove {
        /// Its kind.
        kind: String,
    },
}

impl Order {
    const fn action(&self) -> &'static str {
        match self {
            Self::Add { .. } => "evidence.add",
            Self::Remove { .. } => "evidence.remove",
        }
    }

    fn kind(&self) -> &str {
        match self {
            Self::Add { kind, .. } | Self::Remove { kind } => kind,
        }
    }
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such agent.
    #[error("no agent `{name}`")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// No such kind.
    #[error("no evidence `{kind}`; known are {known}")]
    Kind {
        /// The kind asked for.
        kind: String,
        /// Those there are.
        known: String,
    },
    /// Policy says nothing about this kind, so that it could never count.
    #[error("policy has no table `evidence.{kind}`")]
    NoRule {
        /// The kind.
        kind: String,
    },
    /// Over the bound.
    #[error("a document of {bytes} bytes, at most {DOCUMENT_BYTES_MAX} are kept")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// There is none to take away.
    #[error("`{name}` has no document `{kind}`")]
    NoDocument {
        /// The agent.
        name: String,
        /// The kind.
        kind: String,
    },
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "registry::Unknown",
            Self::Kind { .. } => "evidence::Kind",
            Self::NoRule { .. } => "evidence::NoRule",
            Self::TooLarge { .. } => "evidence::TooLarge",
            Self::NoDocument { .. } => "evidence::NoDocument",
        }
    }
}

/// What an agent has now.
pub type Done = Result<Recorded<Result<Documents, Refusal>>, Unavailable>;

/// Does it, and records it.
pub async fn change<W: World>(
    world: &W,
    operator: &Operator,
    name: &AgentName,
    order: Order,
) -> Done {
    for turn in 0..TRIES_MAX {
        let id = identifier_of(world, name).await?.unwrap_or_default();
        let keys = vec![Key::of::<AgentRecord>(&id), Key::of::<Documents>(&id)];
        let facts = basis(world, keys).await?;
        let mut record = begin(world, Event::EvidenceChanged);
        record.action = order.action().to_owned();
        record.operator = Some(operator.0.clone());
        record.resource = Some(order.kind().to_owned());
        record.policy = Some(facts.version());
        let decided = decide(world, &facts, &id, name, operator, &order);
        let mut change = Change::default();
        match &decided {
            Ok((documents, expect)) => {
                record.agent = Some(documents.agent.clone());
                if let Some(kept) = documents.kinds.get(order.kind()) {
                    record.jti = Some(kept.sha256.clone());
                }
                change.writes.push(Write::put(documents, *expect));
            }
            Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
        }
        change.records.push(record);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            return Ok(Recorded::new(decided.map(|(documents, _)| documents), &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

fn decide<W: World>(
    world: &W,
    facts: &Basis,
    id: &str,
    name: &AgentName,
    operator: &Operator,
    order: &Order,
) -> Result<(Documents, Expect), Refusal> {
    let unknown = || Refusal::Unknown { name: name.to_string() };
    facts.rows.get::<AgentRecord>(id).ok().flatten().ok_or_else(unknown)?;
    let kept = facts.rows.get::<Documents>(id).ok().flatten();
    let expect = kept.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
    let mut documents = kept.map(|row| (*row.value).clone()).unwrap_or_default();
    documents.agent = id.to_owned();
    let kind = order.kind().to_owned();
    match order {
        Order::Remove { .. } => {
            let removed = documents.kinds.remove(&kind);
            let missing = || Refusal::NoDocument { name: name.to_string(), kind };
            documents.remember(&removed.ok_or_else(missing)?, world.clock().now());
        }
        Order::Add { document, .. } => {
            if kinds::by_name(&kind).is_none() {
                let known: Vec<_> = kinds::KINDS.iter().map(|kind| kind.name()).collect();
                return Err(Refusal::Kind { kind, known: known.join(", ") });
            }
            if !facts.set().attestation().evidence.contains_key(&kind) {
                return Err(Refusal::NoRule { kind });
            }
            if document.len() > DOCUMENT_BYTES_MAX {
                return Err(Refusal::TooLarge { bytes: document.len() });
            }
            let sha256 = kinds::sha256(document);
            // The same document brought again keeps its standing: its values were taken.
            let now = world.clock().now();
            if let Some(before) = documents.kinds.remove(&kind) {
                documents.remember(&before, now);
            }
            let same = documents.gone.remove(&sha256);
            let kept = KeptDocument {
                text: kinds::to_text(document),
                accepted: same.is_some_and(|kept| kept.accepted),
                spent: same.is_some_and(|kept| kept.spent),
                sha256,
                since: now,
                by: operator.0.clone(),
            };
            documents.kinds.insert(kind, kept);
        }
    }
    Ok((documents, expect))
}

/// Results of one page.
const PAGE: usize = 200;

/// The last result of an agent on each host that measured it.
pub async fn results<W: World>(world: &W, agent: &str) -> Result<Vec<Arc<ResultRow>>, Unavailable> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let (table, after_row) = (ResultRow::TABLE, after.as_deref());
        let page = world.store().scan(table, Index::Agent, agent, after_row, PAGE).await?;
        for row in &page.rows {
            let read = row.value::<ResultRow>();
            found.extend(read.map_err(|error| Unavailable::of("store", error))?);
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// The documents of an agent; `None`: there is no such agent.
pub async fn of<W: World>(world: &W, name: &AgentName) -> Result<Option<Documents>, Unavailable> {
    let Some(id) = identifier_of(world, name).await? else { return Ok(None) };
    let rows = world.store().snapshot(&[Key::of::<Documents>(&id)]).await?;
    let kept = rows.get::<Documents>(&id)?;
    Ok(Some(kept.map_or_else(
        || Documents { agent: id, ..Documents::default() },
        |row| (*row.value).clone(),
    )))
}
