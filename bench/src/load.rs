//! Many tasks that do the same, each one thing after the other, and how long it took.

use std::future::Future;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::Failure;

/// How many rounds a figure is the median of.
pub(crate) const ROUNDS: usize = 3;

/// What a load did.
#[derive(Debug)]
pub(crate) struct Load {
    /// How long the whole took.
    pub(crate) elapsed: Duration,
    /// What the process spent on it, on all cores.
    pub(crate) cpu: Duration,
    /// What everybody else spent meanwhile.
    pub(crate) others: Duration,
    /// How long each took, sorted.
    pub(crate) times: Vec<Duration>,
}

impl Load {
    /// How many a second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.times.len()) / self.elapsed.as_secs_f64()
    }

    /// Processor time of one, in microseconds.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count(self.times.len())
    }

    /// How many cores everybody else kept busy.
    pub(crate) fn others(&self) -> f64 {
        self.others.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// A percentile, in microseconds.
    pub(crate) fn at(&self, percent: usize) -> f64 {
        percentile(&self.times, percent).as_secs_f64() * 1e6
    }
}

/// One task a queue; each takes its jobs in order, as fast as it can.
pub(crate) async fn drive<J, F, R>(queues: Vec<Vec<J>>, each: F) -> Result<Load, Failure>
where
    J: Send + 'static,
    F: Fn(J) -> R + Clone + Send + 'static,
    R: Future<Output = Result<(), String>> + Send,
{
    let watch = Watch::start();
    let mut tasks = Vec::with_capacity(queues.len());
    for queue in queues {
        let each = each.clone();
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(queue.len());
            for job in queue {
                let begun = Instant::now();
                each(job).await?;
                times.push(begun.elapsed());
            }
            Ok::<_, String>(times)
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(watch.stop(times))
}

/// What a load costs from its start on.
#[derive(Debug)]
pub(crate) struct Watch {
    begun: Instant,
    cpu: Duration,
    machine: Duration,
}

impl Watch {
    /// From now on.
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), cpu: processor_time(), machine: machine_time() }
    }

    /// Until now; what was done in it took these times.
    pub(crate) fn stop(self, mut times: Vec<Duration>) -> Load {
        let elapsed = self.begun.elapsed();
        let cpu = processor_time().saturating_sub(self.cpu);
        let others = machine_time().saturating_sub(self.machine).saturating_sub(cpu);
        times.sort_unstable();
        Load { elapsed, cpu, others, times }
    }
}

/// `jobs` dealt to `tasks` queues.
pub(crate) fn deal<J>(jobs: Vec<J>, tasks: usize) -> Vec<Vec<J>> {
    let mut queues: Vec<Vec<J>> = (0..tasks).map(|_| Vec::new()).collect();
    for (at, job) in jobs.into_iter().enumerate() {
        if let Some(queue) = queues.get_mut(at % tasks.max(1)) {
            queue.push(job);
        }
    }
    queues
}

/// What all processes of the machine have spent so far (proc(5), `/proc/stat`), in ticks of a
/// hundredth of a second; nothing where that cannot be read.
fn machine_time() -> Duration {
    const BUSY: [usize; 5] = [1, 2, 3, 6, 7];
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<_> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    let ticks = BUSY.iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>().saturating_mul(10))
}

/// What the process has spent so far, user and system.
fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// How many threads run at once here.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The time at a percentile of sorted times.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(crate) const fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_dealt_in_turn_and_none_is_lost() {
        assert_eq!(deal(vec![1, 2, 3, 4, 5], 2), [vec![1, 3, 5], vec![2, 4]]);
        assert_eq!(deal(vec![1], 3).concat(), [1]);
    }

    #[test]
    fn percentiles_are_of_what_there_is() {
        let times: Vec<_> = (0..100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(50));
        assert_eq!(percentile(&times, 100), Duration::from_millis(99));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
