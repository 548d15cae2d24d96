//! Records at the pace of the requests that are measured: what one commit costs among others.

use std::sync::Arc;
use std::time::Duration;

use env::{Change, Store, World};
use flow::record::begin;
use monitoring::Event;

use crate::Failure;
use crate::load::{Load, Watch, count};

/// A second of them, `pace` in all, by so many tasks.
pub(crate) async fn group_commit<W: World>(
    world: &Arc<W>,
    tasks: usize,
    pace: u32,
) -> Result<Load, Failure> {
    let period = Duration::from_secs(1) * u32::try_from(tasks)? / pace;
    let (watch, begun) = (Watch::start(), tokio::time::Instant::now());
    let each = usize::try_from(pace)? / tasks;
    let mut under_way = Vec::new();
    for at in 0..tasks {
        let world = Arc::clone(world);
        let mut due = begun + period.mul_f64(count(at) / count(tasks));
        under_way.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(each);
            for _ in 0..each {
                tokio::time::sleep_until(due).await;
                due += period;
                let sent = tokio::time::Instant::now();
                let change = Change::record(begin(&*world, Event::CallDecided));
                world.store().commit(change).await.map_err(|fault| format!("{fault:?}"))?;
                times.push(sent.elapsed());
            }
            Ok::<_, Failure>(times)
        }));
    }
    let mut times = Vec::new();
    for task in under_way {
        times.extend(task.await??);
    }
    Ok(watch.stop(times))
}
