//! A gateway: it joins, follows the server, gets leave to sign transaction tokens, and listens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use env::Clock;
use flow::call::{Delegate, Verdicts};
use flow::publish;
use proxy::{Doors, Gateway, Limits, Peer, Upstream};
use rustls::sign::CertifiedKey;
use time::Span;
use tls::{Certificates, Clients, server_config};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::gate::FlowGate;
use super::layout::{Layout, Settings};
use super::node::{ComponentWorld, Joined};
use super::prepare::Strangers;
use super::server::stopped;

/// How often a gateway looks whether its leave must be renewed.
const LEAVE_EVERY: Span = Span::from_seconds(20);
/// How long to wait when the store did not answer.
const STORE_AGAIN: Span = Span::from_millis(500);

/// Serves with these certificates at the listener given, of port N + 3.
pub async fn serve(
    joined: &mut Joined,
    settings: &Settings,
    (certificates, listener): (Arc<Certificates>, TcpListener),
    stop: &watch::Receiver<bool>,
) -> Result<(), String> {
    let world = Arc::clone(&joined.world);
    let delegate = Arc::new(Delegate::default());
    delegate.renew(world.as_ref()).await.map_err(|why| why.to_string())?;
    let strangers = Arc::new(Strangers::default());
    let gate = Arc::new(FlowGate {
        world: Arc::clone(&world),
        delegate: Arc::clone(&delegate),
        verdicts: Verdicts::default(),
        strangers: Arc::clone(&strangers),
        documents: Mutex::new(documents(&world).await),
    });
    let peer = Peer { plain_hosts: settings.plain_upstreams.clone(), ..Peer::default() };
    let upstream = Upstream::new(&peer).map_err(|error| error.to_string())?;
    let tls = server_config(certificates, Clients::Asked, tls::HTTP);
    let tls = tls.map_err(|error| error.to_string())?;
    let port = settings.port(3);
    let authorities =
        [&settings.host, &settings.listen].map(|host| format!("{host}:{port}")).to_vec();
    let counted = Arc::clone(&strangers);
    let gateway = Gateway {
        gate: Arc::clone(&gate),
        upstream,
        tls,
        doors: Doors { authorities, origins: settings.web_origins.clone() },
        limits: Limits::default(),
        on_refused: Arc::new(move |source, refused| counted.count(&source, refused.check())),
    };
    let end = stopped(stop);
    joined.tasks.spawn(async move { gateway.serve(listener, end).await });
    let (renewing, leave) = (Arc::clone(&world), Arc::clone(&delegate));
    joined.tasks.spawn(async move {
        loop {
            renewing.clock.sleep(LEAVE_EVERY).await;
            if let Err(error) = delegate.renew(renewing.as_ref()).await {
                tracing::error!(%error, "no leave to sign transaction tokens");
            }
            strangers.record(renewing.as_ref()).await;
        }
    });
    joined.tasks.spawn(async move {
        loop {
            let told = flow::feed::told(world.as_ref()).await;
            let now = documents(&world).await;
            *gate.documents.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
            if let Err(error) = leave.heard(world.as_ref()).await {
                tracing::warn!(%error, "no leave to sign transaction tokens");
            }
            let news = match told {
                Ok(told) => flow::feed::news(world.as_ref(), told).await,
                Err(why) => Err(why),
            };
            if news.is_err() {
                world.clock.sleep(STORE_AGAIN).await;
            }
        }
    });
    Ok(())
}

/// The certificate of a gateway that runs alone: `tls.pem` and `tls-key.pem` beside its settings,
/// which an operator puts there.
pub fn own_certificate(settings: &Settings, layout: &Layout) -> Result<Arc<Certificates>, String> {
    let read = |name: &str| {
        let path = layout.at(name);
        std::fs::read_to_string(&path).map_err(|error| {
            format!(
                "`{}` cannot be read: {error}\n  hint: a gateway that runs alone needs a \
                 certificate for `{}` in `tls.pem` beside its settings, and the key in \
                 `tls-key.pem`",
                path.display(),
                settings.host
            )
        })
    };
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(read("tls.pem")?.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("`tls.pem`: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(read("tls-key.pem")?.as_bytes())
        .map_err(|error| format!("`tls-key.pem`: {error}"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider);
    certified.map(Certificates::new).map_err(|error| error.to_string())
}

/// The metadata of every resource, by the path behind the well-known prefix.
async fn documents(world: &ComponentWorld) -> BTreeMap<String, Vec<u8>> {
    let mut documents = BTreeMap::new();
    let Ok(facts) = flow::facts::basis(world, Vec::new()).await else { return documents };
    for resource in facts.set().resources() {
        match publish::protected_resource(world, &resource.name).await {
            Ok(Some(document)) => {
                let bytes = serde_json::to_vec(&document).unwrap_or_default();
                documents.insert(format!("/{}", resource.name), bytes);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, resource = resource.name, "no metadata"),
        }
    }
    documents
}
