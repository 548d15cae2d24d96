//! That nobody answered is an end too, and recorded.

use approval::{Approval, State};
use env::{Change, Clock, Entity, Expect, Index, Store, Unavailable, World, Write};
use monitoring::Event;

use crate::ask::describe;
use crate::notify;
use crate::record::begin;
use crate::turns::settled;

/// Rows that one page of the sweep looks at.
const BATCH: usize = 128;

/// Ends what nobody answered in time. How many ended.
pub async fn expire<W: World>(world: &W) -> Result<usize, Unavailable> {
    let (mut ended, mut after) = (0, None::<String>);
    loop {
        let (table, state) = (Approval::TABLE, State::Pending.name());
        let page = world.store().scan(table, Index::State, state, after.as_deref(), BATCH).await?;
        let now = world.clock().now();
        for row in &page.rows {
            let read = row.value::<Approval>().map_err(|error| Unavailable::of("store", error))?;
            let Some(over) = read.and_then(|one| one.expire(now)) else { continue };
            let mut record = begin(world, Event::ApprovalEnded);
            record.action = "approval.expire".to_owned();
            describe(&mut record, &over);
            let mut writes = vec![Write::put(&over, Expect::Version(row.version))];
            writes.extend(notify::of_answer(world, &over, now).await?);
            let change = Change { writes, uses: Vec::new(), records: vec![record] };
            // Whoever came first ended it too.
            ended += usize::from(settled(world.store().commit(change).await)?.is_some());
        }
        after = page.next;
        if after.is_none() {
            return Ok(ended);
        }
    }
}
