//! A running installation: server, node and gateway as `aims up` starts them, a tool server behind
//! the gateway, and two agents.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use env::World;
use flow::agents::{self, Operator};
use flow::token::{Call, End};
use flow::workload;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use time::UnixTime;
use tokio::net::TcpListener;
use wiring::layout::{Layout, Settings};
use wiring::logs::Pulse;
use wiring::node::ComponentWorld;
use wiring::server::ServerWorld;
use wiring::up::Up;
use wiring::world::SystemClock;

use crate::Failure;
use crate::party::{Party, credentials, process, registration};
use crate::policy_files::{DOMAIN, files};

/// How long a node may take to hear of an agent.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// The first port that is tried.
const PORT_FIRST: u16 = 21_000;
/// Ports of one installation.
const PORTS: u16 = 4;

/// The whole.
pub(crate) struct Installation {
    /// Server, node and gateway.
    pub(crate) up: Up,
    /// Where the tool server listens.
    pub(crate) upstream: SocketAddr,
    /// An agent.
    pub(crate) clerk: Party,
    /// Another, which calls the first.
    pub(crate) other: Party,
    port: u16,
    folder: TempDir,
}

impl Installation {
    /// Starts it in a new folder below `dir`.
    pub(crate) async fn start(dir: &Path) -> Result<Self, Failure> {
        let folder = tempfile::tempdir_in(dir)?;
        let upstream = upstream().await?;
        let layout = Layout::make(folder.path())?;
        let port = free_ports()?;
        let settings = Settings::new(DOMAIN, port);
        let up = Up::start(layout, settings, files(upstream)?, Pulse::default()).await?;
        let clerk = join(&up, "clerk").await?;
        let other = join(&up, "other").await?;
        Ok(Self { up, upstream, clerk, other, port, folder })
    }

    /// The first of its ports.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The server's world.
    pub(crate) fn server(&self) -> Arc<ServerWorld> {
        Arc::clone(&self.up.server.world)
    }

    /// The node's world.
    pub(crate) fn node(&self) -> &Arc<ComponentWorld> {
        &self.up.node.world
    }

    /// The issuer.
    pub(crate) fn issuer(&self) -> &str {
        &self.up.server.world.site.issuer
    }

    /// The tool server as clients of the gateway see it.
    pub(crate) fn tools(&self) -> String {
        format!("{}/tools", self.up.server.world.site.gateway)
    }

    /// A new agent with its credentials.
    pub(crate) async fn join(&self, name: &str) -> Result<Party, Failure> {
        join(&self.up, name).await
    }

    /// A token that `party` gets for itself.
    pub(crate) async fn token(
        &self,
        party: &Party,
        resource: &str,
        scope: &str,
    ) -> Result<String, Failure> {
        let call = party.by_wit(credentials(resource, scope)?, self.issuer(), now())?;
        Ok(ask(&self.server(), call).await?)
    }

    /// Stops it in good order and removes its folder.
    pub(crate) async fn close(self) {
        self.up.close().await;
        drop(self.folder);
    }
}

/// The token endpoint, in process: a token, or an end of the measurement.
pub(crate) async fn ask<W: World>(world: &Arc<W>, call: Call) -> Result<String, String> {
    match flow::token::answer(&**world, call).await {
        Ok(End::Decided(recorded)) => match recorded.into_value() {
            Ok(response) => Ok(response.access_token),
            Err(refusal) => Err(refusal.to_string()),
        },
        Ok(End::Stranger(refusal)) => Err(refusal.to_string()),
        Ok(End::Unproved(refusal)) => Err(refusal.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Now.
pub(crate) fn now() -> UnixTime {
    SystemClock::read()
}

/// Who orders.
pub(crate) fn operator() -> Operator {
    Operator("bench".to_owned())
}

async fn join(up: &Up, name: &str) -> Result<Party, Failure> {
    let world = up.server.world.as_ref();
    agents::register(world, &operator(), registration(name)?).await?.into_value()?;
    let (node, measured) = (&up.node.world, process(name));
    let heard = async {
        loop {
            let attested = workload::attest(&**node, measured.clone(), true).await?.into_value();
            match attested {
                Ok(attested) => return Ok::<_, Failure>(attested),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let attested = tokio::time::timeout(HEARD_WITHIN, heard).await??;
    Party::of(node, &attested).await
}

/// The first of four ports that nobody listens on.
pub(crate) fn free_ports() -> Result<u16, Failure> {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let bases = (PORT_FIRST..=u16::MAX - PORTS).step_by(PORTS.into());
    let free = bases.into_iter().find(|base| (*base..base.saturating_add(PORTS)).all(is_free));
    free.ok_or_else(|| "no four free ports in a row".into())
}

/// A tool server: it sends back what it gets.
async fn upstream() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request: Request<Incoming>| async {
                let body = request.into_body().collect().await.map(|body| body.to_bytes());
                let mut response = Response::new(Full::new(body.unwrap_or_default()));
                let json = http::HeaderValue::from_static("application/json");
                response.headers_mut().insert(http::header::CONTENT_TYPE, json);
                Ok::<Response<Full<Bytes>>, Infallible>(response)
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}
