//! The time that something is issued at (docs/design.md §10: "A server clock that jumps back is
//! refused for issuing"). Under a clock that went back, what is issued would outlive its bound, and
//! what ended would begin anew.

use env::{Change, Clock, Store, Unavailable, World};
use monitoring::{Event, Record};
use time::{Span, UnixTime};

use crate::facts::Basis;
use crate::record::begin;
use crate::turns::{overtaken, settled};

/// Which door is said to be shut.
pub const PART: &str = "issuing";
/// What the record of [`take_clock`] calls it.
const CLOCK_TAKEN: &str = "clock.taken";

/// Now, if something may be issued.
pub fn now<W: World>(world: &W, facts: &Basis) -> Result<UnixTime, Unavailable> {
    now_within(world, facts.set().domain().bounds.clock_skew)
}

/// The same where the skew that policy allows is known alone.
pub fn now_within<W: World>(world: &W, skew: Span) -> Result<UnixTime, Unavailable> {
    // In this order: what others record meanwhile is no jump.
    let recorded = world.clock().recorded();
    let now = world.clock().now();
    match jumped_back(now, recorded, skew) {
        Ok(()) => Ok(now),
        Err(jumped) => Err(Unavailable::of(PART, jumped)),
    }
}

/// Whether a clock that shows `now` went back since `recorded`, by more than clocks may differ.
pub fn jumped_back(now: UnixTime, recorded: UnixTime, skew: Span) -> Result<(), JumpedBack> {
    if recorded <= now.plus(skew) { Ok(()) } else { Err(JumpedBack { now, recorded }) }
}

/// The clock shows less than it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock jumped back by {} s: it shows {now}, and there is a record of {recorded}",
    .recorded.since(*.now).seconds()
)]
pub struct JumpedBack {
    /// What it shows.
    pub now: UnixTime,
    /// The newest record.
    pub recorded: UnixTime,
}

/// The operator says that the clock was ahead and is right now: recorded, and from then on earlier
/// records do not count. Returns the time that does.
pub async fn take_clock<W: World>(world: &W) -> Result<UnixTime, Unavailable> {
    let mut record = begin(world, Event::Started);
    record.action = CLOCK_TAKEN.to_owned();
    record.facts = serde_json::json!({ "recorded": world.clock().recorded().to_string() });
    let time = record.time;
    settled(world.store().commit(Change::record(record)).await)?.ok_or_else(overtaken)?;
    Ok(time)
}

/// Whether this record is that of [`take_clock`].
pub fn is_taken(record: &Record) -> bool {
    record.event == Event::Started && record.action == CLOCK_TAKEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_as_far_behind_as_clocks_may_differ() {
        let at = UnixTime::from_seconds;
        let check = |now, back| {
            let skew = Span::from_seconds(5);
            let found = jumped_back(at(now), at(100), skew).err();
            assert_eq!(found.map(|jumped| jumped.to_string()), back, "{now}");
        };
        check(200, None);
        check(100, None);
        check(95, None);
        let said = "the clock jumped back by 6 s: it shows 1970-01-01T00:01:34.000Z, and there is \
                    a record of 1970-01-01T00:01:40.000Z";
        check(94, Some(said.to_owned()));
    }
}
