//! The job that looks again at attestation results: at once when a document or policy changed or a
//! result got worse, else when their time is up.

use std::sync::Arc;

use env::{Clock, Seq, Store, Table, World};
use flow::reassess::{self, Which};
use time::{Span, UnixTime};

/// The shortest pause between two looks, however often the state changes.
const LOOK_MIN: Span = Span::from_millis(200);
/// The longest: so late is seen at the latest that a result's time is up.
const LOOK_MAX: Span = Span::from_seconds(5);
/// How often everything is looked at, whatever changed: a document may end after another.
const ALL_EVERY: Span = Span::from_seconds(600);
/// Changed rows that are read at once.
const PAGE: usize = 500;

/// Looks, for ever.
pub async fn follow<W: World>(world: Arc<W>) {
    let mut seen = Seq::default();
    let mut looked = world.clock().now();
    let mut all = looked;
    loop {
        let now = world.clock().now();
        let mut which = vec![Which::Fallen, Which::Due { after: looked, before: now }];
        let mut position = seen;
        match changed(world.as_ref(), seen).await {
            Ok((read, found)) => (position, which) = (read, [which, found].concat()),
            Err(error) => tracing::warn!(%error, "attestation: changes cannot be read"),
        }
        let is_all = now.since(all) >= ALL_EVERY;
        if is_all {
            which = vec![Which::All];
        }
        // What was not looked at is looked at again: nothing is forgotten on the way.
        if let Some(at) = look(world.as_ref(), &which, now).await {
            (looked, seen) = (at, position);
            if is_all {
                all = now;
            }
        }
        world.clock().sleep(LOOK_MIN).await;
        tokio::select! {
            () = world.clock().sleep(LOOK_MAX) => {}
            _ = world.store().past(seen) => {}
        }
    }
}

/// Until when everything was looked at; `None`: something was not.
async fn look<W: World>(world: &W, which: &[Which], now: UnixTime) -> Option<UnixTime> {
    for which in which {
        let fell = match reassess::step(world, which).await {
            Ok(fell) => enrol::reassess::step(world, which).await.map(|more| fell + more),
            Err(error) => Err(error),
        };
        match fell {
            Ok(0) => {}
            Ok(fallen) => tracing::warn!(fallen, "attestation: results of agents got worse"),
            Err(error) => {
                tracing::warn!(%error, "attestation: results could not be looked at");
                return None;
            }
        }
    }
    Some(now)
}

async fn changed<W: World>(world: &W, seen: Seq) -> Result<(Seq, Vec<Which>), env::Unavailable> {
    let page =
        world.store().changes(&[Table::Evidence, Table::Nodes, Table::Singles], seen, PAGE).await?;
    let found = page.rows.iter().filter_map(|row| reassess::concerned(row));
    let found: Vec<_> = found.collect();
    // Everything covers each.
    let found = if found.contains(&Which::All) { vec![Which::All] } else { found };
    Ok((page.seq, found))
}
