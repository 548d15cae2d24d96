//! Operators and hosts: what joined, and cutting one off (S1 §8, §11; PROV-06, OBS-10).
//!
//! A revoked node takes with it what was issued to agents there. Credentials do not name the node
//! that asked for them: the agents are known by rows ([`Hosted`]), and their epoch is raised, so
//! that elsewhere they get new ones within a second.

use attestation::mechanism::Role;
use credential::{KeyRing, Purpose};
use env::rows::{DomainEpoch, Hosted};
use env::{
    Change, Clock, Entity, Expect, Index, Key, Recorded, Snapshot, Store, Unavailable, World, Write,
};
use monitoring::{Event, Record};
use provisioning::{Epoch, NodeAct, NodeTransitionRefusal, State};
use registry::{AgentRecord, NodeRecord};
use wimse::WorkloadId;

use crate::agents::PAGE_MAX;
use crate::record::{begin, refused};
use crate::turns::{Operator, overtaken, settled};
use crate::turns::{TRIES_MAX, pause};

/// The agents of one node that end in one commit; more end in the next ones.
const AGENTS_MAX: usize = 500;

/// Why a node stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such node.
    #[error("no node `{0}`")]
    Unknown(WorkloadId),
    /// The act does not fit the state.
    #[error(transparent)]
    Transition(#[from] NodeTransitionRefusal),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "nodes::Unknown",
            Self::Transition(_) => "provisioning::NodeTransition",
        }
    }
}

/// A node that was moved, and what ended with it.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The node.
    pub node: NodeRecord,
    /// The agents whose credentials ended.
    pub ended: Vec<String>,
}

/// An order's end: what was done, or why not; recorded either way.
pub type Done = Result<Recorded<Result<Moved, Refusal>>, Unavailable>;

/// Moves a node. Its link is closed by its feed, which looks after every commit.
pub async fn act<W: World>(
    world: &W,
    operator: &Operator,
    id: &WorkloadId,
    act: NodeAct,
    reason: String,
) -> Done {
    for turn in 0..TRIES_MAX {
        let hosted = match act {
            NodeAct::Revoke => hosted(world, id, AGENTS_MAX).await?,
            _ => Vec::new(),
        };
        let rows = read(world, id, &hosted).await?;
        let found = rows.get::<NodeRecord>(&id.to_string())?;
        let epoch = rows.get::<DomainEpoch>(DomainEpoch::ID)?;
        let current = epoch.as_ref().map_or(Epoch(0), |row| row.epoch);
        let next = if act.raises() { current.next() } else { current };
        let now = world.clock().now();
        let decided = match &found {
            None => Err(Refusal::Unknown(id.clone())),
            Some(node) => node
                .lifecycle
                .of_node_after(act, next, reason.clone(), now)
                .map_err(Refusal::Transition)
                .map(|lifecycle| NodeRecord {
                    lifecycle,
                    forgotten: node.forgotten || act == NodeAct::Forget,
                    ..(*node.value).clone()
                }),
        };
        let mut record = begin(world, Event::NodeLifecycle);
        record.action = format!("node.{act}");
        record.operator = Some(operator.0.clone());
        record.resource = Some(id.to_string());
        record.epoch = Some(next.0);
        let mut change = Change::default();
        let mut ended = Vec::new();
        match (&decided, &found) {
            (Ok(moved), Some(node)) => {
                change.writes.push(Write::put(moved, Expect::Version(node.version)));
                if next != current {
                    let expect = epoch.map_or(Expect::Absent, |row| Expect::Version(row.version));
                    change.writes.push(Write::put(&DomainEpoch { epoch: next }, expect));
                }
                let keys = keys(&rows, node, act, &mut change)?;
                record.facts = serde_json::json!({
                    "reason": reason, "was": node.lifecycle.state, "agents": hosted.len(),
                    "keys": keys,
                });
                ended = end(world, &rows, &hosted, next, operator, &mut change)?;
            }
            (Err(refusal), _) => refused(&mut record, refusal.check(), refusal, None),
            (Ok(_), None) => {}
        }
        change.records.insert(0, record);
        if let Some(receipt) = settled(world.store().commit(change).await)? {
            if decided.is_ok() && act == NodeAct::Revoke {
                // Whoever was being issued to meanwhile left a row before it was answered.
                ended.extend(settle_one(world, id).await?);
            }
            return Ok(Recorded::new(decided.map(|node| Moved { node, ended }), &receipt));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

async fn read<W: World>(
    world: &W,
    id: &WorkloadId,
    hosted: &[Hosted],
) -> Result<Snapshot, Unavailable> {
    let mut keys = vec![
        Key::of::<NodeRecord>(id.to_string()),
        Key::of::<DomainEpoch>(DomainEpoch::ID),
        Key::of::<KeyRing>(Purpose::TxnToken.name()),
    ];
    keys.extend(hosted.iter().map(|row| Key::of::<AgentRecord>(&row.agent)));
    world.store().snapshot(&keys).await
}

/// The keys that a gateway was given leave to sign with leave the key set; they do not come back.
fn keys(
    rows: &Snapshot,
    node: &NodeRecord,
    act: NodeAct,
    change: &mut Change,
) -> Result<Vec<String>, Unavailable> {
    if node.role != Role::Gateway || !act.raises() {
        return Ok(Vec::new());
    }
    let Some(ring) = rows.get::<KeyRing>(Purpose::TxnToken.name())? else { return Ok(Vec::new()) };
    let Some((left, gone)) = ring.without_holder(&node.id.to_string()) else {
        return Ok(Vec::new());
    };
    change.writes.push(Write::put(&left, Expect::Version(ring.version)));
    Ok(gone.iter().map(|kid| kid.as_str().to_owned()).collect())
}

/// Ends what was issued to these agents, and the rows that say so.
fn end<W: World>(
    world: &W,
    rows: &Snapshot,
    hosted: &[Hosted],
    epoch: Epoch,
    operator: &Operator,
    change: &mut Change,
) -> Result<Vec<String>, Unavailable> {
    let mut ended = Vec::new();
    for row in hosted {
        change.writes.push(Write::delete::<Hosted>(row.id(), Expect::Any));
        let Some(agent) = rows.get::<AgentRecord>(&row.agent)? else { continue };
        let lifecycle = agent.lifecycle.renewed(epoch);
        let cut = AgentRecord { lifecycle, ..(*agent.value).clone() };
        change.writes.push(Write::put(&cut, Expect::Version(agent.version)));
        let mut record: Record = begin(world, Event::AgentLifecycle);
        record.action = "agent.cut".to_owned();
        record.agent = Some(row.agent.clone());
        record.operator = Some(operator.0.clone());
        record.epoch = Some(epoch.0);
        record.facts = serde_json::json!({ "reason": "its node was revoked", "node": row.node });
        change.records.push(record);
        ended.push(row.agent.clone());
    }
    Ok(ended)
}

/// Ends what revoked nodes still have, after a server that stopped between two commits: at each
/// start.
pub async fn settle<W: World>(world: &W) -> Result<(), Unavailable> {
    let mut after = None;
    loop {
        let (nodes, next) = list(world, after.as_deref(), PAGE_MAX).await?;
        for node in nodes.iter().filter(|node| node.lifecycle.state == State::Revoked) {
            settle_one(world, &node.id).await?;
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// The same for one of them.
pub(crate) async fn settle_one<W: World>(
    world: &W,
    id: &WorkloadId,
) -> Result<Vec<String>, Unavailable> {
    let mut ended = Vec::new();
    let mut turn = 0;
    loop {
        let hosted = hosted(world, id, AGENTS_MAX).await?;
        if hosted.is_empty() {
            return Ok(ended);
        }
        let rows = read(world, id, &hosted).await?;
        let epoch = rows.get::<DomainEpoch>(DomainEpoch::ID)?.ok_or_else(overtaken)?;
        let (next, mut change) = (epoch.epoch.next(), Change::default());
        change
            .writes
            .push(Write::put(&DomainEpoch { epoch: next }, Expect::Version(epoch.version)));
        let operator = Operator("server".to_owned());
        let cut = end(world, &rows, &hosted, next, &operator, &mut change)?;
        if change.records.is_empty() {
            // Rows of agents that are gone: what they say is over.
            let mut record = begin(world, Event::NodeLifecycle);
            record.action = "node.settle".to_owned();
            record.resource = Some(id.to_string());
            change.records.push(record);
        }
        if settled(world.store().commit(change).await)?.is_some() {
            ended.extend(cut);
        } else if turn < TRIES_MAX {
            pause(world, turn).await;
            turn += 1;
        } else {
            return Err(overtaken());
        }
    }
}

/// The agents that obtained credentials through a node, of which some may live; at most `limit`.
pub async fn hosted<W: World>(
    world: &W,
    id: &WorkloadId,
    limit: usize,
) -> Result<Vec<Hosted>, Unavailable> {
    let node = id.to_string();
    let page = world.store().scan(Hosted::TABLE, Index::Node, &node, None, limit).await?;
    let rows = page.rows.iter().map(|row| row.value::<Hosted>());
    let rows = rows.collect::<Result<Vec<_>, _>>();
    let rows = rows.map_err(|error| Unavailable::of("store", error))?;
    Ok(rows.into_iter().flatten().map(|row| (*row).clone()).collect())
}

/// One node's record.
pub async fn show<W: World>(world: &W, id: &WorkloadId) -> Result<Option<NodeRecord>, Unavailable> {
    let found = crate::facts::one::<W, NodeRecord>(world, &id.to_string()).await?;
    Ok(found.map(|node| (*node.value).clone()))
}

/// A page of records, by identifier, and where the next begins.
pub async fn list<W: World>(
    world: &W,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<NodeRecord>, Option<String>), Unavailable> {
    crate::agents::page::<W, NodeRecord>(world, after, limit).await
}
