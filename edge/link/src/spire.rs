//! The part of SPIRE's server API that its agents call (SPIRE 1.15; `proto/spire`): joining,
//! renewing, entries, SVIDs and bundles (ATT-02, PROV-01, PROV-02, CRED-02, CRED-03;
//! docs/decisions/0014); and what servers below ours call, and we of one above (CRED-12).
//!
//! Not here: what an agent may get (`flow::spire`), and the calls of operators, of which SPIRE has
//! many: ours go to the operators' socket.

mod agent;
mod bundle;
mod convert;
mod entry;
mod status;
mod svid;
mod upstream;
mod wire;

pub use self::upstream::{ShownAbove, Source, Upstream};

use std::convert::Infallible;
use std::sync::Arc;

use env::World;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service as _;

use self::wire::agent::agent_server::AgentServer;
use self::wire::bundle::bundle_server::BundleServer;
use self::wire::entry::entry_server::EntryServer;
use self::wire::svid::svid_server::SvidServer;
use crate::caller::{self, Caller, Callers};
use crate::connection::Connection;
use crate::server::Shared;
use crate::service::unavailable;

/// The largest request of an agent that proved who it is, in bytes: as many requests for
/// certificates as it sends at once.
pub(crate) const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// The requests of one connection.
pub(crate) struct Spire<W> {
    shared: Arc<Shared<W>>,
    connection: Arc<Connection>,
}

impl<W: World> Spire<W> {
    /// Which agent asks, by the bundles and the time of this request, whether or not it stands.
    async fn caller(&self) -> Result<Caller, Status> {
        let world = &*self.shared.world;
        let proved = caller::caller(world, &self.connection.chain, Callers::SpireAgents).await;
        proved.map_err(unavailable)?.map_err(|unproved| {
            self.shared.count(self.connection.address, unproved.check());
            status::unproved(&unproved)
        })
    }

    /// The same, for requests whose flow does not say in which way it does not stand.
    async fn standing(&self) -> Result<Caller, Status> {
        let caller = self.caller().await?;
        let standing = flow::spire::standing(&*self.shared.world, &caller.id, caller.epoch).await;
        standing.map_err(unavailable)?.map_err(|why| self.not_admitted(&why))?;
        Ok(caller)
    }

    /// Which workload asks as a server below ours; `flow::nested` says whether it is one.
    async fn server(&self) -> Result<Caller, Status> {
        let world = &*self.shared.world;
        let proved = caller::caller(world, &self.connection.chain, Callers::Servers).await;
        proved.map_err(unavailable)?.map_err(|unproved| {
            self.shared.count(self.connection.address, unproved.check());
            status::unproved(&unproved)
        })
    }

    fn not_admitted(&self, why: &flow::spire::NotAdmitted) -> Status {
        self.shared.count(self.connection.address, why.check());
        status::not_admitted(why)
    }
}

/// The services of one connection.
pub(crate) struct Services<W: World> {
    agent: AgentServer<Spire<W>>,
    entry: EntryServer<Spire<W>>,
    svid: SvidServer<Spire<W>>,
    bundle: BundleServer<Spire<W>>,
}

impl<W: World> Clone for Services<W> {
    fn clone(&self) -> Self {
        Self {
            agent: self.agent.clone(),
            entry: self.entry.clone(),
            svid: self.svid.clone(),
            bundle: self.bundle.clone(),
        }
    }
}

impl<W: World> Services<W> {
    pub(crate) fn new(
        shared: Arc<Shared<W>>,
        connection: Arc<Connection>,
        bytes_max: usize,
    ) -> Self {
        let spire = Arc::new(Spire { shared, connection });
        let of = || Arc::clone(&spire);
        Self {
            agent: AgentServer::from_arc(of()).max_decoding_message_size(bytes_max),
            entry: EntryServer::from_arc(of()).max_decoding_message_size(bytes_max),
            svid: SvidServer::from_arc(of()).max_decoding_message_size(bytes_max),
            bundle: BundleServer::from_arc(of()).max_decoding_message_size(bytes_max),
        }
    }

    /// Answers what the path names.
    pub(crate) async fn call(
        &mut self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().trim_start_matches('/');
        match path.split('/').next().unwrap_or_default() {
            name if name == AgentServer::<Spire<W>>::NAME => self.agent.call(request).await,
            name if name == EntryServer::<Spire<W>>::NAME => self.entry.call(request).await,
            name if name == SvidServer::<Spire<W>>::NAME => self.svid.call(request).await,
            name if name == BundleServer::<Spire<W>>::NAME => self.bundle.call(request).await,
            _ => Ok(Status::unimplemented("no such service here").into_http()),
        }
    }
}
