//! How those stand whom a token concerns, and whether anything that it came from has ended: looked
//! at on every call, and again while an answer flows (AUTHN-12, OBS-10).

use std::sync::Arc;

use authorization::presented::Presented;
use env::{Key, Snapshot, Store, Unavailable, World};
use gateway::Refusal;
use pdp::Principal;
use provisioning::Epoch;
use registry::{AgentRecord, ClientRecord, UserRecord};

use crate::ends;
use crate::token::principal;

/// How identifiers of ours begin: what has one of these forms and is not known is refused.
const OURS: &[&str] = &["spiffe://", "wimse://", "client-", registry::user::PREFIX];

/// Who calls.
pub(super) enum Calling {
    /// An agent or service.
    Agent(Arc<AgentRecord>),
    /// A client that is none.
    Client(Arc<ClientRecord>),
}

impl Calling {
    /// What a decision is told of it.
    pub(super) fn principal(&self, id: &str) -> Principal {
        match self {
            Self::Agent(agent) => principal(id, Some(agent), None),
            Self::Client(client) => principal(id, None, Some(client)),
        }
    }
}

/// The rows that say it.
pub fn keys<'a>(
    concerned: impl IntoIterator<Item = &'a String>,
    lineage: impl IntoIterator<Item = &'a String>,
) -> Vec<Key> {
    let mut keys = ends::keys(lineage.into_iter().map(String::as_str));
    for who in concerned {
        if who.starts_with(registry::user::PREFIX) {
            keys.push(Key::of::<UserRecord>(who));
        } else {
            keys.extend([Key::of::<AgentRecord>(who), Key::of::<ClientRecord>(who)]);
        }
    }
    keys
}

/// Refuses what was ended, and who is not in force.
pub fn check(
    rows: &Snapshot,
    concerned: &[String],
    lineage: &[String],
    lowest: impl Fn(&str) -> Epoch,
) -> Result<Result<(), Refusal>, Unavailable> {
    if let Some(ended) = ends::first(rows, lineage.iter().map(String::as_str))? {
        return Ok(Err(Refusal::Ended { id: ended.id, why: ended.why }));
    }
    for who in concerned {
        let agent = rows.get::<AgentRecord>(who)?;
        let user = rows.get::<UserRecord>(who)?;
        let client = rows.get::<ClientRecord>(who)?;
        let lifecycle = agent.as_ref().map(|agent| &agent.lifecycle);
        let lifecycle = lifecycle.or(user.as_ref().map(|user| &user.lifecycle));
        if let Some(lifecycle) = lifecycle {
            if let Err(why) = lifecycle.admits(Some(lowest(who))) {
                return Ok(Err(Refusal::NotInForce { who: who.clone(), why }));
            }
        } else if let Some(client) = client {
            if let Err(why) = client.is_enabled() {
                return Ok(Err(Refusal::Disabled { who: who.clone(), why: why.to_string() }));
            }
            if let Err(why) = client.admits(lowest(who)) {
                return Ok(Err(Refusal::NotInForce { who: who.clone(), why }));
            }
        } else if OURS.iter().any(|prefix| who.starts_with(prefix)) {
            return Ok(Err(Refusal::NotRegistered { who: who.clone() }));
        }
    }
    Ok(Ok(()))
}

/// How those stand whom the token concerns; who calls.
pub(super) async fn in_force<W: World>(
    world: &W,
    presented: &Presented,
    proved: Option<Epoch>,
) -> Result<Result<Calling, Refusal>, Unavailable> {
    let (concerned, lineage) = (presented.concerned(), presented.lineage());
    let rows = world.store().snapshot(&keys(&concerned, &lineage)).await?;
    let lowest = |who: &str| match proved {
        Some(proved) if who == presented.client_id() => presented.epoch().min(proved),
        _ => presented.epoch(),
    };
    if let Err(refusal) = check(&rows, &concerned, &lineage, lowest)? {
        return Ok(Err(refusal));
    }
    let client_id = presented.client_id();
    if let Some(agent) = rows.get::<AgentRecord>(client_id)? {
        return Ok(Ok(Calling::Agent(agent.value)));
    }
    let client = rows.get::<ClientRecord>(client_id)?.map(|client| client.value);
    let who = client_id.to_owned();
    Ok(client.map(Calling::Client).ok_or(Refusal::NotRegistered { who }))
}
