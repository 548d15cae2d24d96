//! A scheduler of one thread whose order comes from the seed, and the time it runs in.
//!
//! Time stands still while anything can run, and then jumps to the next timer.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use time::Span;

use crate::rng::{Rng, Seed};

/// How often time may jump while the main task waits, before it counts as stuck.
const JUMPS_MAX: u64 = 5_000_000;

/// A future behind a pointer, as [`Sim::all`] takes them.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Puts a future behind a pointer.
pub fn boxed<'a, T>(future: impl Future<Output = T> + Send + 'a) -> Boxed<'a, T> {
    Box::pin(future)
}

/// The simulation: its choices, its time, its tasks. A clone is the same one.
#[derive(Clone)]
pub struct Sim {
    seed: Seed,
    rng: Rng,
    order: Rng,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Milliseconds since the simulation began: they only grow.
    elapsed: u64,
    timers: BTreeMap<(u64, u64), Waker>,
    timers_made: u64,
    spawned: Vec<Boxed<'static, ()>>,
}

impl Sim {
    /// The simulation of `seed`.
    pub fn new(seed: Seed) -> Self {
        let rng = Rng::new(seed);
        let order = rng.fork();
        Self { seed, rng, order, shared: Arc::default() }
    }

    /// Its seed.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The choices.
    pub fn rng(&self) -> &Rng {
        &self.rng
    }

    /// How long it has been running, in its own time, which no clock that is set changes.
    pub fn elapsed(&self) -> Span {
        Span::from_millis(self.lock().elapsed)
    }

    /// Runs `main` to its end, and what was spawned beside it as long.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        let mut flags = vec![Arc::new(Flag::default())];
        let mut tasks: Vec<Option<Boxed<'static, ()>>> = vec![None];
        let mut jumps = 0;
        loop {
            for spawned in std::mem::take(&mut self.lock().spawned) {
                tasks.push(Some(spawned));
                flags.push(Arc::new(Flag::default()));
            }
            let Some(at) = self.ready(&flags) else {
                assert!(self.jump(), "seed {}: nothing can run, and no timer is set", self.seed);
                jumps += 1;
                assert!(jumps < JUMPS_MAX, "seed {}: the main task waits for ever", self.seed);
                continue;
            };
            let Some(flag) = flags.get(at) else { continue };
            let waker = flag.taken();
            let mut context = Context::from_waker(&waker);
            if at == 0 {
                jumps = 0;
                if let Poll::Ready(end) = main.as_mut().poll(&mut context) {
                    return end;
                }
            } else if let Some(slot) = tasks.get_mut(at) {
                let over =
                    slot.as_mut().is_none_or(|task| task.as_mut().poll(&mut context).is_ready());
                if over {
                    *slot = None;
                }
            }
        }
    }

    /// Lets `task` run beside the main one.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().spawned.push(Box::pin(task));
    }

    /// Runs all of them at once, in an order that comes from the seed, one stretch from await to
    /// await at a time.
    pub async fn all<'a, T: Send>(&self, mut futures: Vec<Boxed<'a, T>>) -> Vec<T> {
        let flags: Vec<_> = futures.iter().map(|_| Arc::new(Flag::default())).collect();
        let mut ends: Vec<Option<T>> = futures.iter().map(|_| None).collect();
        poll_fn(|context| {
            flags.iter().for_each(|flag| flag.wakes(context.waker()));
            let Some(at) = self.ready(&flags) else { return Poll::Pending };
            if let (Some(flag), Some(future), Some(end)) =
                (flags.get(at), futures.get_mut(at), ends.get_mut(at))
            {
                let waker = flag.taken();
                let mut context = Context::from_waker(&waker);
                if end.is_none()
                    && let Poll::Ready(value) = future.as_mut().poll(&mut context)
                {
                    *end = Some(value);
                }
            }
            if ends.iter().all(Option::is_some) {
                return Poll::Ready(());
            }
            if flags.iter().any(|flag| flag.is_set()) {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        ends.into_iter().flatten().collect()
    }

    /// Lets others run first, a few times or not at all.
    pub async fn pause(&self) {
        for _ in 0..self.order.below(4) {
            let mut waited = false;
            poll_fn(|context| {
                if waited {
                    return Poll::Ready(());
                }
                waited = true;
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }

    /// Ends when `span` has passed in the simulation's own time.
    pub async fn sleep(&self, span: Span) {
        let until = self.elapsed().millis().saturating_add(span.millis());
        poll_fn(|context| {
            let mut shared = self.lock();
            if shared.elapsed >= until {
                return Poll::Ready(());
            }
            shared.timers_made += 1;
            let key = (until, shared.timers_made);
            shared.timers.insert(key, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// One of those that can run.
    fn ready(&self, flags: &[Arc<Flag>]) -> Option<usize> {
        let ready: Vec<usize> =
            flags.iter().enumerate().filter(|(_, flag)| flag.is_set()).map(|(at, _)| at).collect();
        self.order.pick(&ready).copied()
    }

    /// Goes to the next timer; false when there is none.
    fn jump(&self) -> bool {
        let mut due = Vec::new();
        {
            let mut shared = self.lock();
            let Some((&(next, _), _)) = shared.timers.first_key_value() else { return false };
            shared.elapsed = shared.elapsed.max(next);
            while let Some(first) = shared.timers.first_entry() {
                if first.key().0 > next {
                    break;
                }
                due.push(first.remove());
            }
        }
        due.into_iter().for_each(Waker::wake);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a future wants to be polled, and whom that wakes.
struct Flag {
    set: AtomicBool,
    parent: Mutex<Option<Waker>>,
}

impl Default for Flag {
    fn default() -> Self {
        Self { set: AtomicBool::new(true), parent: Mutex::default() }
    }
}

impl Flag {
    fn is_set(&self) -> bool {
        self.set.load(Ordering::SeqCst)
    }

    /// Takes the wish back, and gives the waker that sets it again.
    fn taken(self: &Arc<Self>) -> Waker {
        self.set.store(false, Ordering::SeqCst);
        Waker::from(Arc::clone(self))
    }

    fn wakes(&self, parent: &Waker) {
        *self.parent.lock().unwrap_or_else(PoisonError::into_inner) = Some(parent.clone());
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set.store(true, Ordering::SeqCst);
        let parent = self.parent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        parent.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn count(sim: Sim, log: Arc<Mutex<Vec<u64>>>, me: u64) -> u64 {
        for round in 0..3 {
            sim.pause().await;
            log.lock().unwrap().push(me * 10 + round);
        }
        me
    }

    fn order(seed: u64) -> Vec<u64> {
        let (sim, log) = (Sim::new(Seed(seed)), Arc::new(Mutex::new(Vec::new())));
        let tasks = (0..5).map(|me| boxed(count(sim.clone(), Arc::clone(&log), me))).collect();
        let ends = sim.run(sim.all(tasks));
        assert_eq!(ends, [0, 1, 2, 3, 4]);
        log.lock().unwrap().clone()
    }

    #[test]
    fn the_order_comes_from_the_seed_alone() {
        assert_eq!(order(3), order(3));
        let orders: std::collections::BTreeSet<_> = (0..20).map(order).collect();
        assert!(orders.len() > 10, "{}", orders.len());
    }

    #[test]
    fn time_passes_only_while_all_wait() {
        let sim = Sim::new(Seed(1));
        let ticks = Arc::new(Mutex::new(0));
        let (other, counted) = (sim.clone(), Arc::clone(&ticks));
        sim.spawn(async move {
            loop {
                other.sleep(Span::from_seconds(1)).await;
                *counted.lock().unwrap() += 1;
            }
        });
        sim.run(async {
            sim.sleep(Span::from_millis(3_500)).await;
            assert_eq!((sim.elapsed().millis(), *ticks.lock().unwrap()), (3_500, 3));
        });
    }

    #[test]
    #[should_panic(expected = "seed 9: nothing can run")]
    fn a_run_that_is_stuck_says_its_seed() {
        Sim::new(Seed(9)).run(std::future::pending::<()>());
    }
}
