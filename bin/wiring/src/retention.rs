//! Cutting the audit logs as policy says (`[audit]` of `domain.toml`): each process its own, off
//! the path of every request.

use std::sync::Arc;

use env::{Change, Clock, Store, World};
use log::Log;
use monitoring::policy::KEEP_SECONDS_MIN;
use monitoring::{Cut, Event, Record};
use time::Span;
use tlog::Hash;

use super::journal::WINDOW;

/// How often a process looks whether the beginning of its log is old enough.
pub const CUT_EVERY: Span = Span::from_seconds(3_600);

// What a start reads of the log is never cut.
const _: () = assert!(KEEP_SECONDS_MIN > WINDOW.seconds());

/// Cuts the log `origin` at once, and then each hour.
pub async fn run<W: World>(world: Arc<W>, log: Log, origin: String) {
    loop {
        match step(world.as_ref(), &log, &origin).await {
            Ok(None) => {}
            Ok(Some(cut)) => {
                let (begins, count, root) = (cut.minimum, cut.count(), cut.root);
                tracing::info!(log = origin, begins, count, root, "the audit log was cut");
            }
            Err(error) => tracing::warn!(log = origin, error, "the audit log was not cut"),
        }
        world.clock().sleep(CUT_EVERY).await;
    }
}

/// Cuts what is older than policy keeps, if that is a segment at least. The record of it is durable
/// before anything goes.
pub async fn step<W: World>(world: &W, log: &Log, origin: &str) -> Result<Option<Cut>, String> {
    let fault = |error: &dyn std::fmt::Display| error.to_string();
    let facts = flow::facts::basis(world, Vec::new()).await.map_err(|why| fault(&why))?;
    let Some(keep) = facts.set().domain().audit.keep else { return Ok(None) };
    let oldest = world.clock().now().minus(keep);
    let reader = log.clone();
    let planned = tokio::task::spawn_blocking(move || reader.plan_cut(oldest)).await;
    let planned = planned.map_err(|error| fault(&error))?.map_err(|error| fault(&error))?;
    let Some(plan) = planned else { return Ok(None) };
    let cut = Cut {
        log: origin.to_owned(),
        from: plan.from,
        minimum: plan.cut.minimum,
        root: plan.cut.root.to_string(),
        first: plan.times.0,
        last: plan.times.1,
    };
    let now = world.clock().now();
    let id = flow::record::record_id(world, now);
    let record = cut.record(id, now, world.component().clone(), facts.version());
    let change = Change { writes: Vec::new(), uses: Vec::new(), records: vec![record] };
    world.store().commit(change).await.map_err(|why| fault(&why))?;
    let writer = log.clone();
    let done = tokio::task::spawn_blocking(move || writer.cut(&plan, &id.bytes())).await;
    done.map_err(|error| fault(&error))?.map_err(|error| fault(&error))?;
    Ok(Some(cut))
}

/// The cut that an entry of a log is the record of.
pub fn read_cut(entry: &[u8]) -> Option<log::Cut> {
    // Few entries are; the others are not read.
    let name = Event::LogCut.name().as_bytes();
    if !entry.windows(name.len()).any(|part| part == name) {
        return None;
    }
    let cut = Cut::of(&Record::decode(entry).ok()?)?;
    Some(log::Cut { minimum: cut.minimum, root: Hash::parse(&cut.root).ok()? })
}
