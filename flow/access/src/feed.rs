//! The feed: what a node or gateway must know, as it changes (docs/design.md §2, idea 6, §3).
//!
//! The server sends rows in the order of their commits; a component applies them to a store of its
//! own, so that both decide on the same kind of facts. A message without rows is a heartbeat.

use attestation::mechanism::Role;
use authorization::granted::Ended;
use credential::{KeyRing, Purpose};
use env::rows::{DomainEpoch, Feed, InForce, OpaqueToken, Taints, Told, TrustRow};
use env::{
    Change, Clock, Entity, Expect, Index, Key, Row, Seq, Store, Table, Unavailable, World, Write,
};
use policy::Domain;
use provisioning::{Epoch, NotInForce};
use registry::{AgentRecord, NodeRecord, UserRecord};
use time::UnixTime;
use wimse::WorkloadId;

use crate::turns::settled;

/// The most rows of one message.
pub const ROWS_MAX: usize = 256;
/// The pages that are looked at for what is on its way.
const PENDING_PAGES_MAX: usize = 16;
/// The tables that components follow.
const TABLES: [Table; 7] = [
    Table::Agents,
    Table::Authorities,
    Table::Singles,
    Table::Clients,
    Table::Users,
    Table::Ended,
    Table::Tokens,
];

/// One row on its way. `bytes` is `None` when the component is to forget it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its table.
    pub table: Table,
    /// Its id.
    pub id: String,
    /// Its contents.
    pub bytes: Option<Vec<u8>>,
}

/// One message of the feed.
#[derive(Clone, Debug)]
pub struct Message {
    /// Rows, in order.
    pub rows: Vec<Sent>,
    /// The server's position after them.
    pub seq: Seq,
    /// True when the rows begin anew: what is not among this and the following messages up to the
    /// first that is not full no longer exists.
    pub anew: bool,
}

/// Why a component is not fed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not in the registry.
    #[error("`{0}` is not in the registry; join again")]
    Unknown(WorkloadId),
    /// It is not in force.
    #[error(transparent)]
    NotInForce(#[from] NotInForce),
}

/// The next message for `caller` after `since`. Asked again and again; the right to be fed is
/// decided each time, so that a revoked component's stream ends.
pub async fn next<W: World>(
    world: &W,
    caller: &WorkloadId,
    proved: Option<u64>,
    since: Seq,
) -> Result<Result<Message, Refusal>, Unavailable> {
    let rows = world.store().snapshot(&[Key::of::<NodeRecord>(caller.to_string())]).await?;
    let Some(node) = rows.get::<NodeRecord>(&caller.to_string())? else {
        return Ok(Err(Refusal::Unknown(caller.clone())));
    };
    if let Err(why) = node.lifecycle.admits(proved.map(Epoch)) {
        return Ok(Err(Refusal::NotInForce(why)));
    }
    let page = world.store().changes(&TABLES, since, ROWS_MAX).await?;
    let mut sent = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        sent.extend(select(row, &node)?);
    }
    Ok(Ok(Message { rows: sent, seq: page.seq, anew: since == Seq(0) }))
}

/// Whether `caller` would be told something beyond `since`: a node asks before it says that a
/// process is nobody's, since a registration of a moment ago may be on its way to it.
pub async fn pending<W: World>(
    world: &W,
    caller: &WorkloadId,
    proved: Option<u64>,
    mut since: Seq,
) -> Result<Result<bool, Refusal>, Unavailable> {
    for _ in 0..PENDING_PAGES_MAX {
        match next(world, caller, proved, since).await? {
            Ok(message) if !message.rows.is_empty() => return Ok(Ok(true)),
            Ok(message) if message.seq == since => return Ok(Ok(false)),
            Ok(message) => since = message.seq,
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    // So far behind, there may be.
    Ok(Ok(true))
}

/// A row as this component may see it.
fn select(row: &Row, node: &NodeRecord) -> Result<Option<Sent>, Unavailable> {
    let sees = match row.key.table {
        Table::Agents => {
            let agent = row.value::<AgentRecord>().map_err(|e| Unavailable::of("store", e))?;
            node.role == Role::Gateway
                || agent.is_some_and(|agent| agent.entry.rule.allows_node(&node.id))
        }
        Table::Authorities => {
            let wanted = [Purpose::AccessToken.name(), Purpose::TxnToken.name()];
            if node.role != Role::Gateway || !wanted.contains(&row.key.id.as_str()) {
                return Ok(None);
            }
            true
        }
        Table::Singles => {
            let wanted = [InForce::ID, DomainEpoch::ID, TrustRow::ID, Taints::ID];
            if !wanted.contains(&row.key.id.as_str()) {
                return Ok(None);
            }
            true
        }
        Table::Users if node.role == Role::Gateway => return standing(row).map(Some),
        Table::Clients | Table::Ended | Table::Tokens => {
            if node.role != Role::Gateway {
                return Ok(None);
            }
            true
        }
        _ => return Ok(None),
    };
    // An agent that moved to other nodes is forgotten here.
    let bytes = row.bytes.clone().filter(|_| sees);
    Ok(Some(Sent { table: row.key.table, id: row.key.id.clone(), bytes }))
}

/// A person as a gateway sees them: whether they get anything. How they sign in, and where they are
/// written to, stays with the server.
fn standing(row: &Row) -> Result<Sent, Unavailable> {
    let user = row.value::<UserRecord>().map_err(|error| Unavailable::of("store", error))?;
    let bytes = user.map(|user| {
        let known = UserRecord {
            name: user.name.clone(),
            display_name: String::new(),
            email: None,
            email_said_by: None,
            roles: user.roles.clone(),
            lifecycle: user.lifecycle.clone(),
            registered: user.registered,
            passkeys: Vec::new(),
            accounts: Vec::new(),
            left: Vec::new(),
            user_code: None,
        };
        known.encode()
    });
    Ok(Sent { table: row.key.table, id: row.key.id.clone(), bytes })
}

/// Applies a message to the component's own store, and notes that the server was heard.
pub async fn apply<W: World>(world: &W, message: Message) -> Result<(), Unavailable> {
    if message.anew {
        forget(world).await?;
    }
    let mut writes = Vec::with_capacity(message.rows.len() + 2);
    if message.anew || !message.rows.is_empty() {
        writes.push(Write::put(&Told { seq: message.seq.0 }, Expect::Any));
    }
    for row in message.rows {
        let (terms, expires) = (Vec::new(), ends(&row)?);
        let key = Key::new(row.table, row.id);
        writes.push(Write { key, expect: Expect::Any, bytes: row.bytes, terms, expires });
    }
    let feed = Feed { heard: world.clock().now(), seq: message.seq.0 };
    writes.push(Write::put(&feed, Expect::Any));
    commit(world, writes).await
}

/// When the component may sweep a row by itself: nobody tells it that the server did.
fn ends(row: &Sent) -> Result<Option<UnixTime>, Unavailable> {
    let Some(bytes) = &row.bytes else { return Ok(None) };
    let read = match row.table {
        Table::Ended => Ended::decode(bytes).map(|row| row.expires()),
        Table::Tokens => OpaqueToken::decode(bytes).map(|row| row.expires()),
        _ => Ok(None),
    };
    read.map_err(|error| Unavailable::of("server", error))
}

/// Forgets everybody before a feed that begins anew tells them again: what it does not tell no
/// longer exists. In between they are unknown, and what is unknown is refused.
async fn forget<W: World>(world: &W) -> Result<(), Unavailable> {
    for table in [Table::Agents, Table::Clients, Table::Users, Table::Ended, Table::Tokens] {
        loop {
            let page = world.store().scan(table, Index::All, "", None, ROWS_MAX).await?;
            if page.rows.is_empty() {
                break;
            }
            let gone = page.rows.iter().map(|row| row.key.id.clone());
            let gone = gone.map(|id| Write {
                key: Key::new(table, id),
                expect: Expect::Any,
                bytes: None,
                terms: Vec::new(),
                expires: None,
            });
            commit(world, gone.collect()).await?;
        }
    }
    Ok(())
}

/// The server said that this component may not be fed: what was heard counts no longer, and whoever
/// waits for news learns of it. A revoked node does not hand out what it holds for its bound yet.
pub async fn cut<W: World>(world: &W) -> Result<(), Unavailable> {
    let seq = heard(world).await?.map_or(0, |feed| feed.seq);
    let writes = vec![
        Write::put(&Feed { heard: UnixTime::EPOCH, seq }, Expect::Any),
        Write::put(&Told { seq }, Expect::Any),
    ];
    commit(world, writes).await
}

/// Rows of a replica: what happened is recorded where it happened.
async fn commit<W: World>(world: &W, writes: Vec<Write>) -> Result<(), Unavailable> {
    let change = Change { writes, uses: Vec::new(), records: Vec::new() };
    settled(world.store().commit(change).await).map(|_| ())
}

/// Whether what was heard at `heard` may be decided on. Heard in the future means that the clock
/// went back: nobody knows how long ago that was.
pub fn is_fresh(heard: UnixTime, now: UnixTime, domain: &Domain) -> bool {
    let (bound, skew) = (domain.revocation.feed_lost_after, domain.bounds.clock_skew);
    now.since(heard) <= bound && heard.since(now) <= skew
}

/// What the feed told last, as a number that grows; for [`news`].
pub async fn told<W: World>(world: &W) -> Result<u64, Unavailable> {
    Ok(crate::facts::one::<W, Told>(world, Told::ID).await?.map_or(0, |row| row.version))
}

/// Waits until the feed has told something beyond `known`. Heartbeats, and what this component
/// writes itself, are no news.
pub async fn news<W: World>(world: &W, known: u64) -> Result<(), Unavailable> {
    loop {
        let rows = world.store().snapshot(&[Key::of::<Told>(Told::ID)]).await?;
        if rows.get::<Told>(Told::ID)?.map_or(0, |row| row.version) != known {
            return Ok(());
        }
        world.store().past(rows.seq).await;
    }
}

/// When the server was last heard, if ever.
pub async fn heard<W: World>(world: &W) -> Result<Option<Feed>, Unavailable> {
    let found = crate::facts::one::<W, Feed>(world, Feed::ID).await?;
    Ok(found.map(|feed| (*feed.value).clone()))
}

/// The ring of access token keys is among what a gateway follows.
pub const fn follows(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::AccessToken | Purpose::TxnToken)
}

/// A ring as a gateway knows it.
pub async fn ring<W: World>(world: &W, purpose: Purpose) -> Result<Option<KeyRing>, Unavailable> {
    let found = crate::facts::one::<W, KeyRing>(world, purpose.name()).await?;
    Ok(found.map(|ring| (*ring.value).clone()))
}
