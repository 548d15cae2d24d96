//! What ends before its time (OBS-10; docs/design.md §2, ideas 5 and 6): what ends a grant, and one
//! token with all that came of it.

use authorization::granted::Ended;
use authorization::presented::Presented;
use env::{Change, Clock, Expect, Recorded, Store, Unavailable, World, Write};
use monitoring::{Event, Record};
use time::UnixTime;

pub use basis::ends::{
    Ending, REMEMBERED, end_application, end_client, end_grant, end_of_user, first, keys, of_grant,
    row, told,
};

use crate::record::begin;
use crate::turns::overtaken;

/// The writes that end a token.
pub(crate) fn of_one(token: &Presented, ending: Ending<'_>, now: UnixTime) -> [Write; 1] {
    [Write::put(&row(token.jti(), ending.why, now), Expect::Any)]
}

/// Ends a token and all that came of it; other tokens of its grant live on.
pub async fn end_token<W: World>(
    world: &W,
    token: &Presented,
    ending: Ending<'_>,
) -> Result<Recorded<()>, Unavailable> {
    let now = world.clock().now();
    let records = vec![told_of_one(world, token, ending)];
    let writes = of_one(token, ending, now).into();
    let change = Change { writes, uses: Vec::new(), records };
    let receipt = crate::turns::settled(world.store().commit(change).await)?;
    Ok(Recorded::new((), &receipt.ok_or_else(overtaken)?))
}

/// Whether anything that this token came from ended before its time.
pub async fn of_token<W: World>(
    world: &W,
    token: &Presented,
) -> Result<Option<Ended>, Unavailable> {
    let ids = token.lineage();
    let wanted = keys(ids.iter().map(String::as_str));
    let rows = world.store().snapshot(&wanted).await?;
    first(&rows, ids.iter().map(String::as_str))
}

/// The record of a token's end.
pub(crate) fn told_of_one<W: World>(world: &W, token: &Presented, ending: Ending<'_>) -> Record {
    let mut record = begin(world, Event::GrantEnded);
    record.action = "token.end".to_owned();
    record.agent = Some(token.client_id().to_owned());
    record.subject = Some(token.subject().to_owned());
    record.root = Some(token.root().to_owned());
    record.parent = token.parent().map(str::to_owned);
    record.jti = Some(token.jti().to_owned());
    record.operator = ending.operator.map(str::to_owned);
    record.facts = serde_json::json!({ "by": ending.by, "why": ending.why });
    record
}
