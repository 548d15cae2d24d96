//! What a node holds for agents that are over is let go (PROV-04): short-lived agents come and go
//! by the thousand, and a key store has a bound.

use env::rows::{Held, Holding};
use env::{Change, Clock, Entity, Expect, Handle, Index, KeyFault, Keys, Store};
use env::{Unavailable, World, Write};
use registry::AgentRecord;
use time::UnixTime;

use crate::facts::one;
use crate::turns::settled;

/// How many are looked at together.
const PAGE: usize = 500;

/// Lets go what no agent can use any longer: what ended, and what is of agents that are not in
/// force or not known here. Returns of how many agents.
pub async fn sweep<W: World>(world: &W) -> Result<usize, Unavailable> {
    let (mut gone, mut after) = (0, None::<String>);
    loop {
        let last = after.as_deref();
        let page = world.store().scan(Holding::TABLE, Index::All, "", last, PAGE).await?;
        for row in &page.rows {
            let found = row.value::<Holding>().map_err(|why| Unavailable::of("store", why))?;
            let Some(holding) = found else { continue };
            if !is_over(world, &holding).await? {
                continue;
            }
            let writes =
                vec![Write::delete::<Holding>(&holding.agent, Expect::Version(row.version))];
            let change = Change { writes, uses: Vec::new(), records: Vec::new() };
            // One that changed meanwhile is in use.
            if settled(world.store().commit(change).await)?.is_some() {
                gone += 1;
                for key in keys(&holding) {
                    match world.keys().destroy(key).await {
                        Ok(()) | Err(KeyFault::Unknown(_)) => {}
                        Err(fault) => return Err(fault.into()),
                    }
                }
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(gone);
        }
    }
}

async fn is_over<W: World>(world: &W, holding: &Holding) -> Result<bool, Unavailable> {
    let agent = one::<W, AgentRecord>(world, &holding.agent).await?;
    if agent.is_none_or(|agent| agent.lifecycle.is_active().is_err()) {
        return Ok(true);
    }
    let now = world.clock().now();
    Ok(ended(holding.x509.as_ref(), now) && ended(holding.wit.as_ref(), now))
}

fn ended<T>(held: Option<&Held<T>>, now: UnixTime) -> bool {
    held.is_none_or(|held| held.until <= now)
}

fn keys(holding: &Holding) -> impl Iterator<Item = &Handle> {
    let x509 = holding.x509.iter().map(|held| &held.key);
    x509.chain(holding.wit.iter().map(|held| &held.key))
}
