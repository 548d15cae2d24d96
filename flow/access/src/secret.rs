//! The secret of this installation: made once, by whoever needs it first, and never sent.

use env::rows::ServerSecret;
use env::{Change, Entropy, Expect, Key, Store, Unavailable, World, Write};
use monitoring::Event;

use crate::record::begin;
use crate::turns::{overtaken, settled};

/// What the record of its making calls it.
const MADE: &str = "secret.made";

/// The secret.
pub async fn of<W: World>(world: &W) -> Result<ServerSecret, Unavailable> {
    let keys = [Key::of::<ServerSecret>(ServerSecret::ID)];
    let found = world.store().snapshot(&keys).await?.get::<ServerSecret>(ServerSecret::ID)?;
    if let Some(found) = found {
        return Ok((*found.value).clone());
    }
    let made = ServerSecret::of(world.entropy().secret());
    let mut record = begin(world, Event::Started);
    record.action = MADE.to_owned();
    let writes = vec![Write::put(&made, Expect::Absent)];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    if settled(world.store().commit(change).await)?.is_some() {
        return Ok(made);
    }
    // Another came first: there is one secret.
    let found = world.store().snapshot(&keys).await?.get::<ServerSecret>(ServerSecret::ID)?;
    found.map(|found| (*found.value).clone()).ok_or_else(overtaken)
}
