//! Threads that serve a device, so that a slow one keeps nobody else waiting: orders queue up to a
//! bound, and whoever waits gives up after a while.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use env::Unavailable;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// How long an answer is waited for.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The most orders that wait for one device.
pub const ORDERS_MAX: usize = 1_024;
/// How long the end of the threads is waited for.
const END_TIME_MAX: Duration = Duration::from_secs(3);

/// Whether nobody waits for an answer any longer: what was made for it is to be undone.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    pub(crate) fn is_so(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Says so when it is dropped, unless an answer came.
struct Waiting(GivenUp);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

type Order<S> = Box<dyn FnOnce(&mut S) + Send>;

/// The threads of one device, each with a state of its own. They end with this, which waits for
/// them: a process must not end while a thread still closes its session, as the device's library
/// is taken down with the process.
pub(crate) struct Workers<S> {
    /// None while it is being dropped.
    orders: Option<SyncSender<Order<S>>>,
    /// Tells of an end: each thread holds the other half until its state is gone.
    ended: Mutex<Receiver<Infallible>>,
    patience: Duration,
}

impl<S> Drop for Workers<S> {
    fn drop(&mut self) {
        self.orders = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Disconnected: no thread is left. Timed out: the device hangs, and may be left hanging.
        let _ = ended.recv_timeout(END_TIME_MAX);
    }
}

impl<S: Send + 'static> Workers<S> {
    /// A thread for each of `states`.
    pub(crate) fn start(name: &str, states: Vec<S>, patience: Duration) -> io::Result<Self> {
        let (orders, queue) = sync_channel(ORDERS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let (ending, ended) = mpsc::channel();
        for mut state in states {
            let queue: Arc<Mutex<Receiver<Order<S>>>> = Arc::clone(&queue);
            let ending = ending.clone();
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(order) = next else { break };
                    order(&mut state);
                }
                drop(state);
                drop(ending);
            })?;
        }
        Ok(Self { orders: Some(orders), ended: Mutex::new(ended), patience })
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S, &GivenUp) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let given_up = GivenUp::default();
        let waiting = Waiting(given_up.clone());
        self.put(move |state| {
            if !given_up.is_so() {
                let _ = answer.send(work(state, &given_up));
            }
        })?;
        let waited = tokio::time::timeout(self.patience, answered).await;
        drop(waiting);
        waited.ok().and_then(Result::ok).ok_or_else(|| self.silent())
    }

    /// The same from where nothing can be awaited. A thread of the runtime hands over what else it
    /// has to do before it waits.
    pub(crate) fn ask_now<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (answer, answered) = mpsc::sync_channel(1);
        let given_up = GivenUp::default();
        let waiting = Waiting(given_up.clone());
        self.put(move |state| {
            if !given_up.is_so() {
                let _ = answer.send(work(state));
            }
        })?;
        let wait = || answered.recv_timeout(self.patience);
        let threads = Handle::try_current().map(|handle| handle.runtime_flavor());
        let waited = match threads {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
            _ => wait(),
        };
        drop(waiting);
        waited.map_err(|_| self.silent())
    }

    fn put(&self, order: impl FnOnce(&mut S) + Send + 'static) -> Result<(), Unavailable> {
        let over = || Unavailable::of("keys", "the device's thread ended");
        let orders = self.orders.as_ref().ok_or_else(over)?;
        orders.try_send(Box::new(order)).map_err(|why| match why {
            TrySendError::Full(_) => {
                let why = format!("{ORDERS_MAX} orders wait for the device already");
                Unavailable::of("keys", why)
            }
            TrySendError::Disconnected(_) => over(),
        })
    }

    fn silent(&self) -> Unavailable {
        let seconds = self.patience.as_secs_f32();
        Unavailable::of("keys", format!("the device did not answer within {seconds} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    /// A device that takes longer than anybody waits.
    fn slow(patience: Duration) -> Workers<Vec<u32>> {
        Workers::start("slow", vec![Vec::new()], patience).unwrap()
    }

    /// req: CRED-08 (part)
    #[tokio::test]
    async fn s6_a_slow_device_keeps_the_runtime_free() {
        let workers = Arc::new(slow(Duration::from_secs(5)));
        let asked = Arc::clone(&workers);
        let asking = tokio::spawn(async move {
            let work = |_: &mut Vec<u32>, _: &GivenUp| thread::sleep(Duration::from_millis(400));
            asked.ask(work).await
        });
        // This runtime has one thread: if the device held it, nothing would be counted here.
        let mut turns = 0;
        while !asking.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            turns += 1;
        }
        asking.await.unwrap().unwrap();
        assert!(turns >= 10, "{turns}");
    }

    #[tokio::test]
    async fn s6_nobody_waits_for_ever_and_what_nobody_waits_for_is_not_begun() {
        let workers = slow(SOON);
        let (release, held) = mpsc::channel::<()>();
        let first = workers.ask(move |_, _| held.recv().is_ok()).await;
        let silent = Unavailable::of("keys", "the device did not answer within 0.05 s");
        assert_eq!(first.err(), Some(silent.clone()));
        // The second waited in the queue only, and is dropped there.
        let second = workers.ask(|made: &mut Vec<u32>, _| made.push(2)).await;
        assert_eq!(second.err(), Some(silent.clone()));
        assert_eq!(workers.ask_now(|made: &mut Vec<u32>| made.push(3)).err(), Some(silent));
        release.send(()).unwrap();
        let made = loop {
            if let Ok(made) = workers.ask(|made: &mut Vec<u32>, _| made.clone()).await {
                break made;
            }
        };
        assert_eq!(made, Vec::<u32>::new());
    }

    #[tokio::test]
    async fn s6_what_is_under_way_hears_that_nobody_waits() {
        let workers = slow(SOON);
        let (told, heard) = mpsc::channel();
        let work = move |_: &mut Vec<u32>, given_up: &GivenUp| {
            let before = given_up.is_so();
            thread::sleep(SOON * 4);
            told.send((before, given_up.is_so()))
        };
        assert!(workers.ask(work).await.is_err());
        let heard = tokio::task::spawn_blocking(move || heard.recv()).await.unwrap();
        assert_eq!(heard, Ok((false, true)));
    }

    /// What a thread holds is given back before its owner goes on: SoftHSM's own end, which comes
    /// with the process, else meets a session that is being closed.
    #[test]
    fn s6_the_end_waits_for_what_the_threads_hold() {
        struct Slow(Arc<AtomicBool>);
        impl Drop for Slow {
            fn drop(&mut self) {
                thread::sleep(SOON * 4);
                self.0.store(true, Ordering::Release);
            }
        }
        let given_back = Arc::new(AtomicBool::new(false));
        drop(Workers::start("slow", vec![Slow(Arc::clone(&given_back))], SOON).unwrap());
        assert!(given_back.load(Ordering::Acquire));
    }

    #[test]
    fn s6_orders_that_wait_have_a_bound() {
        let workers = slow(SOON);
        let (release, held) = mpsc::channel::<()>();
        workers.put(move |_| assert!(held.recv().is_err())).unwrap();
        let full = (0..=ORDERS_MAX + 1).find_map(|_| workers.put(|_| {}).err());
        let why = "1024 orders wait for the device already";
        assert_eq!(full, Some(Unavailable::of("keys", why)));
        drop(release);
    }
}
