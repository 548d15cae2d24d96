//! What acts in somebody's name: the grants, for their owner and for operators.

use std::collections::{BTreeMap, BTreeSet};

use authorization::granted::GrantRecord;
use env::{Entity, Index, Key, Store, Stored, Unavailable, World};
use registry::{AgentRecord, ClientRecord, UserRecord};

/// Rows that are looked at in one go.
const PAGE: usize = 256;
/// Grants of one person that are looked at.
pub const GRANTS_MAX: usize = 4_096;

/// A grant, and what its client is called.
#[derive(Clone, Debug)]
pub struct Acting {
    /// The grant.
    pub grant: Stored<GrantRecord>,
    /// What its client calls itself.
    pub client: String,
    /// Whether that is an agent of the registry.
    pub is_agent: bool,
}

/// The grants in a person's name, the ended ones of the last days too, the newest first.
pub async fn of_user<W: World>(world: &W, user: &str) -> Result<Vec<Acting>, Unavailable> {
    let mut all = grants_of(world, user).await?;
    all.sort_by_key(|grant| std::cmp::Reverse(grant.created));
    named(world, all).await
}

/// One grant, for operators.
pub async fn one<W: World>(world: &W, id: &str) -> Result<Option<Acting>, Unavailable> {
    let found = crate::facts::one::<W, GrantRecord>(world, id).await?;
    Ok(named(world, found.into_iter().collect()).await?.pop())
}

/// A page of the grants of everybody, or of what this index finds, by id, and where the next
/// begins.
pub async fn page<W: World>(
    world: &W,
    (index, value): (Index, &str),
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Acting>, Option<String>), Unavailable> {
    let limit = limit.clamp(1, PAGE);
    let page = world.store().scan(GrantRecord::TABLE, index, value, after, limit).await?;
    let mut found = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let read = row.value::<GrantRecord>().map_err(|error| Unavailable::of("store", error))?;
        found.extend(read.map(|value| Stored { value, version: row.version }));
    }
    Ok((named(world, found).await?, page.next))
}

pub(crate) async fn grants_of<W: World>(
    world: &W,
    user: &str,
) -> Result<Vec<Stored<GrantRecord>>, Unavailable> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let (table, after_id) = (GrantRecord::TABLE, after.as_deref());
        let page = world.store().scan(table, Index::User, user, after_id, PAGE).await?;
        for row in &page.rows {
            let read =
                row.value::<GrantRecord>().map_err(|error| Unavailable::of("store", error))?;
            found.extend(read.map(|value| Stored { value, version: row.version }));
        }
        after = page.next;
        if after.is_none() || found.len() >= GRANTS_MAX {
            return Ok(found);
        }
    }
}

/// What agents, clients and people are called, by identifier: those that have a record and a name
/// of their own.
pub async fn names<W: World>(
    world: &W,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, Unavailable> {
    let mut keys = Vec::with_capacity(ids.len() * 3);
    for id in ids {
        keys.extend(crate::client::keys(id));
        keys.push(Key::of::<UserRecord>(id.as_str()));
    }
    let rows = world.store().snapshot(&keys).await?;
    let mut names = BTreeMap::new();
    for id in ids {
        let agent = rows.get::<AgentRecord>(id)?.map(|one| one.entry.name.to_string());
        let client = rows.get::<ClientRecord>(id)?;
        let user = rows.get::<UserRecord>(id)?.map(|one| one.display_name.clone());
        let client = client.and_then(|one| one.metadata.client_name.clone());
        let name = agent.or(client).or(user).filter(|name| !name.is_empty());
        names.extend(name.map(|name| (id.clone(), name)));
    }
    Ok(names)
}

async fn named<W: World>(
    world: &W,
    grants: Vec<Stored<GrantRecord>>,
) -> Result<Vec<Acting>, Unavailable> {
    let ids: std::collections::BTreeSet<_> =
        grants.iter().map(|grant| grant.client_id.clone()).collect();
    let keys: Vec<_> = ids.iter().flat_map(|id| crate::client::keys(id)).collect();
    let rows = world.store().snapshot(&keys).await?;
    let mut acting = Vec::with_capacity(grants.len());
    for grant in grants {
        let agent = rows.get::<AgentRecord>(&grant.client_id)?;
        let client = rows.get::<ClientRecord>(&grant.client_id)?;
        let is_agent = agent.is_some();
        let name = agent.map(|agent| agent.entry.name.to_string());
        let name = name.or_else(|| client.and_then(|one| one.metadata.client_name.clone()));
        let client = name.unwrap_or_else(|| grant.client_id.clone());
        acting.push(Acting { grant, client, is_agent });
    }
    Ok(acting)
}
