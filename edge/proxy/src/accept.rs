//! The loop that takes connections in, within the bounds, until the listener shuts down.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connect::tune;
use crate::limits::Limits;
use crate::refused::{OnRefused, Refused};

/// Pause after the kernel had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection that was let in.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Becomes true when the listener shuts down.
    pub(crate) closing: watch::Receiver<bool>,
}

/// Serves each connection with `serve` until `shutdown` resolves; then lets those under way finish,
/// for as long as the limits say.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    limits: &Limits,
    on_refused: &OnRefused,
    shutdown: impl Future<Output = ()>,
    serve: impl Fn(Arrival) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (close, closing) = watch::channel(false);
    let places = Places::default();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = shutdown.as_mut() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match places.take(peer.ip(), limits) {
            Err(refused) => on_refused(peer.ip(), refused),
            Ok(place) => {
                if let Err(error) = tune(&stream) {
                    tracing::debug!(%error, "a connection could not be tuned");
                }
                let serving = serve(Arrival { stream, peer, closing: closing.clone() });
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    close.send_replace(true);
    // Each connection ends itself after `drain_max`, and a handshake under way is not waited for.
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain_max, all).await.is_err() {
        tracing::info!("connections were cut at the end of the drain");
    }
}

/// Who has how many connections.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

impl Places {
    fn take(&self, source: IpAddr, limits: &Limits) -> Result<Place, Refused> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= limits.connections_max {
            return Err(Refused::Connections);
        }
        let here = taken.by_source.entry(source).or_default();
        if *here >= limits.connections_per_source_max {
            return Err(Refused::ConnectionsOfSource);
        }
        *here = here.saturating_add(1);
        taken.all = taken.all.saturating_add(1);
        Ok(Place { places: self.clone(), source })
    }
}

/// A place; given back when dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(here) = taken.by_source.get_mut(&self.source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_all_and_for_each() {
        let limits =
            Limits { connections_max: 3, connections_per_source_max: 2, ..Limits::default() };
        let places = Places::default();
        let of = |last| IpAddr::from([192, 0, 2, last]);
        let first = places.take(of(1), &limits).unwrap();
        let _second = places.take(of(1), &limits).unwrap();
        assert_eq!(places.take(of(1), &limits).unwrap_err(), Refused::ConnectionsOfSource);
        let _third = places.take(of(2), &limits).unwrap();
        assert_eq!(places.take(of(3), &limits).unwrap_err(), Refused::Connections);
        drop(first);
        let again = places.take(of(1), &limits).unwrap();
        drop(again);
        assert_eq!(places.0.lock().unwrap().by_source.get(&of(1)), Some(&1));
    }
}
