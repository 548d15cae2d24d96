//! The SPIFFE Broker API of a node: flows say who is a broker, the kernel which process is meant.

use std::future::Future;
use std::sync::Arc;

use attestors::{Attestors, Peer};
use env::{Clock, World};
use flow::workload as flows;
use time::Span;
use workload::broker::{Brokers, NotAdmitted};
use x509::{CHAIN_CERTIFICATES_MAX, Certificate};

use super::workloads::Identities;

/// The longest time between two looks at the clock while a stream is open.
const LOOK_AGAIN: Span = Span::from_seconds(60);

/// The brokers of this node.
pub struct NodeBrokers<W> {
    world: Arc<W>,
    attestors: Arc<Attestors>,
}

impl<W: World> NodeBrokers<W> {
    /// Those that the policy of this world names.
    pub fn new(world: Arc<W>, attestors: Arc<Attestors>) -> Self {
        Self { world, attestors }
    }
}

impl<W: World> Brokers for NodeBrokers<W> {
    type Peer = Peer;
    type Answers = Identities<W>;

    async fn admit(&self, chain: &[Vec<u8>]) -> Result<Identities<W>, NotAdmitted> {
        if chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(NotAdmitted::Unproved(format!("{} certificates", chain.len())));
        }
        let read: Result<Vec<_>, _> = chain.iter().map(|der| Certificate::parse(der)).collect();
        let read = read.map_err(|error| NotAdmitted::Unproved(error.to_string()))?;
        let found = flows::broker(self.world.as_ref(), &read).await.map_err(|why| {
            tracing::warn!(%why, "broker api");
            NotAdmitted::Unavailable("the node cannot answer just now; try again".to_owned())
        })?;
        match found {
            Ok(broker) => {
                let (world, attestors) = (Arc::clone(&self.world), Arc::clone(&self.attestors));
                Ok(Identities::for_broker(world, attestors, broker))
            }
            Err(why @ flows::NotABroker::Svid(_)) => Err(NotAdmitted::Unproved(why.to_string())),
            Err(why @ flows::NotABroker::Unknown(_)) => {
                tracing::info!(%why, "broker api: refused");
                Err(NotAdmitted::NoBroker(why.to_string()))
            }
        }
    }

    fn expired(&self, chain: &[Vec<u8>]) -> impl Future<Output = ()> + Send + 'static {
        // What does not read was not admitted.
        let ends = chain.iter().filter_map(|der| Certificate::parse(der).ok());
        let end = ends.map(|one| one.not_after()).min().unwrap_or_default();
        let world = Arc::clone(&self.world);
        async move {
            loop {
                let left = end.since(world.clock().now());
                if left == Span::ZERO {
                    return;
                }
                // A clock that is set is noticed.
                world.clock().sleep(left.min(LOOK_AGAIN)).await;
            }
        }
    }

    fn find(&self, pid: i32) -> Result<Peer, String> {
        Peer::named(pid).map_err(|error| error.to_string())
    }

    fn exited(&self, peer: &Peer) -> impl Future<Output = ()> + Send + 'static {
        let exited = peer.exited();
        async move {
            // An error means that it can no longer be found out, which ends the stream as well.
            let _ = exited.await;
        }
    }
}
